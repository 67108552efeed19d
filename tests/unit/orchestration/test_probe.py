"""Whether definitions load is tried in another process, which nothing in them can harm."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dagmar.orchestration.probe import find_broken
from dagmar.project.locations import read_workspace
from dagmar.upkeep.checking import FAIL, WARN, Project
from dagmar.upkeep.checks.notebooks import definitions
from support.layouts import defs

PATIENCE = 240  # seconds: other tests keep the machine busy
MODULES = {
    "good.py": f"print('to stdout')\n{defs()}",
    "raises.py": "import helper\n",
    "helper.py": "\n\nraise RuntimeError('no table\\nand more')\n",
    "leaves.py": "import sys\nsys.exit(3)\n",
    "refused.py": "import dagster as dg\n\n@dg.asset\ndef a(context: int): ...\n",
    "validates.py": f"import os\nos.environ['DAGSTER_IS_DEFS_VALIDATION_CLI']\n{defs('b')}",
    "dies.py": "import os\nos._exit(5)\n",
    "hangs.py": "import threading\nthreading.Event().wait()\n",
    "never.py": defs("c"),
}


def write(root: Path, *names: str, python: str = "") -> None:
    for name, text in MODULES.items():
        (root / name).write_text(text, "utf-8")
    own = f", executable_path: {python}" if python else ""
    entries = [f"- python_file: {{relative_path: {name}.py{own}}}\n" for name in names]
    (root / "workspace.yaml").write_text("load_from:\n" + "".join(entries), "utf-8")


def test_what_does_not_load_is_reported_with_the_user_s_own_exception(tmp_path: Path) -> None:
    write(tmp_path, "good", "raises", "leaves", "refused", "validates", "dies", "never")
    broken = find_broken(tmp_path, read_workspace(tmp_path), os.environ, PATIENCE)
    said = {name: text.partition("does not load: ")[2] for name, text in broken.errors.items()}
    assert said.pop("refused.py").startswith("DagsterInvalidDefinitionError: ")
    ended = "its process ended with status 5: to stdout"
    assert said.pop("raises.py") == "RuntimeError: no table (helper.py, line 3)"
    assert said == {
        "leaves.py": "SystemExit: 3 (leaves.py, line 2)",
        "dies.py": ended,
        "never.py": ended,
    }


def test_what_hangs_is_given_up(tmp_path: Path) -> None:
    write(tmp_path, "hangs")
    broken = find_broken(tmp_path, read_workspace(tmp_path), os.environ, seconds=1)
    assert broken == ({}, ["hangs.py"])
    # A machine may be busy, so it is not a failure.
    found = definitions(Project(tmp_path, {}, find_broken=lambda *_: broken))
    assert (found.status, found.command) == (WARN, "dagster definitions validate")


def test_another_python_needs_no_dagmar(tmp_path: Path) -> None:
    """A project of a workspace has its own environment, often without psutil too."""
    place = tmp_path / "bin"
    place.mkdir()
    hidden = "import sys; sys.modules['psutil'] = None; sys.modules['dagmar'] = None\n"
    (place / "sitecustomize.py").write_text(hidden, "utf-8")
    python = place / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={place} exec {sys.executable} "$@"\n', "utf-8")
    python.chmod(0o755)
    write(tmp_path, "good", "raises", python=str(python))
    broken = find_broken(tmp_path, read_workspace(tmp_path), os.environ, PATIENCE)
    assert list(broken.errors) == ["raises.py"]


def test_a_python_that_is_not_there_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "good", python="/nowhere/python")
    found = definitions(Project(tmp_path, dict(os.environ)))
    assert found.status == FAIL
    assert "/nowhere/python, which runs it, does not start: No such file" in found.message
