"""`invoke migrate` and files that are not as they should be: refused by name, the others done."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dagmar.errors import DagmarError
from dagmar.migrate.migrating import MigrateRequest, migrate
from dagmar.migrate.report import Migrated, report_file
from dagmar.project.settings import load
from support.git import git
from support.jupyter import code, markdown, write_ipynb
from support.project import Project

PICTURE = {"a.png": {"image/png": "aGk="}}


def notebook(file: Path) -> None:
    write_ipynb(file, ["x = 1"])


def text(content: str | bytes) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda file: file.write_bytes(data)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "python": (text("print(1)"), "is not JSON"),
    "list": (text("[]"), "has no nbformat"),
    "r": (text('{"nbformat":4,"cells":[],"metadata":{"kernelspec":{"name":"ir"}}}'), "in R"),
    "old": (text('{"nbformat":3,"worksheets":[]}'), "has format 3"),
    "merge": (text('{\n<<<<<<< HEAD\n"a": 1\n=======\n>>>>>>> b\n}'), "conflict markers"),
    "lfs": (text("version https://git-lfs.github.com/spec/v1\n"), "pointer of Git LFS"),
    "empty": (text(""), "is empty"),
    "latin": (text('{"nbformat": 4, "cells": ["é"]}'.encode("latin-1")), "not UTF-8"),
    "folder": (lambda file: file.mkdir(), "cannot be read"),
    "deep": (text("[" * 100_000), "is not JSON"),
    "gone": (lambda file: file.symlink_to("nowhere"), "there is no"),
}


def test_what_cannot_be_read_is_refused_by_name_and_the_others_are_done(project: Project) -> None:
    folder = project.root / "jupyter"
    folder.mkdir()
    for name, (make, _) in BAD.items():
        make(folder / f"{name}.ipynb")
    notebook(folder / "zz_good.ipynb")
    names = [str(folder / f"{name}.ipynb") for name in [*BAD, "zz_good"] if name != "gone"]
    result = migrate(load(project.root), MigrateRequest(notebooks=names), None)
    errors = {each.source.stem: each.error for each in result.notebooks if each.error}
    for name, (_, message) in BAD.items():
        if name != "gone":
            error = errors[name]
            assert error is not None
            assert message in error.message, name
            assert f"{name}.ipynb" in error.message
            assert error.exit_code == 7
    assert (project.root / "notebooks/zz_good.py").is_file()
    with pytest.raises(DagmarError) as info:
        result.raise_for_status()
    assert info.value.exit_code == 7


def test_spaces_that_marimo_would_change_keep_their_values_and_prevent_nothing(
    project: Project,
) -> None:
    cells = [
        markdown("100\xa0%"),
        code('a = "1\xa0000\x0c"\nb = f"{a}\u2028"  # in\xa0words'),
        code("c = 1\xa0"),
    ]
    file = write_ipynb(project.root / "spaces.ipynb", cells)
    result = migrate(load(project.root), MigrateRequest(notebooks=[str(file)]), None)
    assert [each.error for each in result.notebooks] == [None]
    text = (project.root / "notebooks/spaces.py").read_text("utf-8")
    assert 'a = "1\\u00a0000\\u000c"\n' in text
    assert 'b = f"{a}\\u2028"  # in words\n' in text
    assert "100 %" in text
    assert "    c = 1 \n" in text  # Jupyter refuses this cell, too


def test_a_file_that_may_not_be_read_is_refused(project: Project) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    file = write_ipynb(project.root / "a.ipynb", ["x = 1"])
    file.chmod(0)
    result = migrate(load(project.root), MigrateRequest(notebooks=[str(file)]), None)
    assert "cannot be read" in str(result.notebooks[0].error)


def test_two_notebooks_of_one_name_in_two_folders_are_named_both(project: Project) -> None:
    notebook(project.root / "a/orders.ipynb")
    notebook(project.root / "b/orders.ipynb")
    result = migrate(load(project.root), MigrateRequest(everything=True), None)
    first, second = result.notebooks
    assert (first.status, second.status) == ("created", "failed")
    assert "a/orders.ipynb and b/orders.ipynb would both be" in str(second.error)
    with pytest.raises(DagmarError) as info:
        result.raise_for_status()
    assert info.value.exit_code == 8


def only(project: Project, force: bool = True) -> Migrated:
    request = MigrateRequest(notebooks=[str(project.root / "a.ipynb")], force=force)
    return migrate(load(project.root), request, None).notebooks[0]


def test_what_git_has_no_copy_of_is_not_overwritten(project: Project) -> None:
    root = project.root
    git(root, "init", "-q")
    source = write_ipynb(root / "a.ipynb", [markdown("![](attachment:a.png)", attachments=PICTURE)])
    made = only(project, force=False)
    assert made.error is None
    assert "exists" in str(only(project, force=False).error)
    assert only(project).error is None  # it would be the same
    for file in (made.target, root / "notebooks/public/a.png", report_file(made.target)):
        before = file.read_bytes()
        file.write_bytes(before + b"# edited\n")
        error = only(project).error
        assert error is not None
        assert f"{file.name}, and git has no copy of it" in error.message
        assert error.exit_code == 8
        assert file.read_bytes() == before + b"# edited\n"
        git(root, "add", "notebooks")
        assert only(project).error is None
        assert file.read_bytes() == before
        git(root, "rm", "-q", "-r", "-f", "--cached", "notebooks")
    assert source.is_file()


def test_an_attachment_overwrites_no_other_picture(project: Project) -> None:
    other = project.root / "notebooks/public/a.png"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"another")
    cell = markdown("![](attachment:a.png)", attachments=PICTURE)
    write_ipynb(project.root / "a.ipynb", [cell])
    assert "public/a.png exists, and is not the attachment" in str(only(project, False).error)
    assert other.read_bytes() == b"another"


SIZE = 50_000_000
SCRIPT = """
import resource, sys
from pathlib import Path
from dagmar.migrate.migrating import MigrateRequest, migrate
from dagmar.project.settings import load
small, big = sys.argv[1:]
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
migrate(load(Path.cwd()), MigrateRequest(notebooks=[small]), None).raise_for_status()
before = peak()
migrate(load(Path.cwd()), MigrateRequest(notebooks=[big]), None).raise_for_status()
print(peak() - before)
"""


@pytest.mark.nightly
def test_fifty_megabytes_of_outputs_take_a_few_times_their_size(project: Project) -> None:
    page = {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<p>" * 700_000}}
    cells = [code(f"x{number} = 1", outputs=[page]) for number in range(24)]
    big = write_ipynb(project.root / "big.ipynb", cells)
    assert big.stat().st_size > SIZE
    small = write_ipynb(project.root / "small.ipynb", ["x = 1"])
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(small), str(big)],
        cwd=project.root, check=True, capture_output=True, text=True,
    )  # fmt: skip
    spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - children.ru_utime
    assert int(done.stdout) < 5 * SIZE
    assert spent < 30
    assert (project.root / "notebooks/big.py").stat().st_size < 5_000
