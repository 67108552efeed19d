"""Linters, formatters and type checkers find the same in a repository before and after dagmar."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dagmar.scaffold.folder import files_for
from support.template_releases import ORDERS, SALES, Project, Template, write

THEIRS = {
    ".gitignore": "__pycache__/\n.eggs/\n",
    "pyproject.toml": '[project]\nname = "etl"\nversion = "1"\nrequires-python = ">=3.10"\n',
    "src/etl/__init__.py": "import os\n",
    "src/etl/definitions.py": 'import  os\nx: int = "text"\ny = undefined\nassert x\n',
    "tests/test_etl.py": "def test_it() -> None:\n    assert 1 == 2\n",
}
FILE = re.compile(r"[\w./-]+\.(?:py|toml|ya?ml)\b")
# What is installed runs in CI; the others are fetched in the nightly profile.
INSTALLED = {
    "ruff check": "ruff check --no-cache --output-format concise .",
    "ruff check --select ALL": "ruff check --no-cache --output-format concise --select ALL .",
    "ruff format": "ruff format --no-cache --check .",
}
FETCHED = {
    "mypy": "mypy --no-incremental --no-site-packages --ignore-missing-imports .",
    "black": "black --check .",
    "isort": "isort --check .",
    "flake8": "flake8 .",
    "pyright": f"pyright --level error --pythonpath {sys.executable}",
    "ty": f"ty check --output-format concise --python {sys.prefix}",
    "pytest": f"pytest -q -p no:cacheprovider -c {os.devnull} --rootdir .",
}
# These see `tasks.py`, the file that has to be in the root.
KNOWN = {"ruff check --select ALL": {"tasks.py"}}


@pytest.fixture(scope="module")
def stages(released: Template, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The repository as it was, adopted, and with notebooks of two templates."""
    names = ("before", "adopted", "scaffolded")
    before, adopted, scaffolded = (tmp_path_factory.mktemp(name) / "etl" for name in names)
    write(before, THEIRS)
    shutil.copytree(before, adopted)
    released.copy(adopted)
    shutil.copytree(adopted, scaffolded)
    notebooks = [scaffolded / "notebooks" / f"{each['name']}.py" for each in (ORDERS, SALES)]
    for file, text in files_for(notebooks).items():
        write(scaffolded, {file.relative_to(scaffolded).as_posix(): text})
    Project(scaffolded, released).scaffold({**ORDERS, "template": "ml"}, SALES)
    assert all(file.is_file() for file in notebooks)
    return [before, adopted, scaffolded]


def findings(command: str, folder: Path) -> tuple[int, set[str]]:
    """Return the status of a tool, and the files that it names."""
    program, _, rest = command.partition(" ")
    if command in INSTALLED.values():
        words = [sys.executable, "-m", program, *rest.split()]
    else:
        words = ["uvx", program, *rest.split()]
    environ = {**os.environ, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True)
    text = (done.stdout + done.stderr).replace(f"{folder}/", "")
    return done.returncode, {name.removeprefix("./") for name in FILE.findall(text)}


def check_same(tool: str, stages: list[Path]) -> None:
    command = {**INSTALLED, **FETCHED}[tool]
    status, named = findings(command, stages[0])
    assert named, "the repository itself has findings"
    for stage in stages[1:]:
        now, names = findings(command, stage)
        assert (now, names - KNOWN.get(tool, set())) == (status, named), stage.parent.name


@pytest.mark.parametrize("tool", INSTALLED)
def test_an_installed_tool_finds_the_same(tool: str, stages: list[Path]):
    check_same(tool, stages)


@pytest.mark.nightly
@pytest.mark.parametrize("tool", FETCHED)
def test_a_fetched_tool_finds_the_same(tool: str, stages: list[Path]):
    check_same(tool, stages)
