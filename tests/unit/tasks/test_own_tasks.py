"""The user's own tasks stay, next to dagmar's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dagmar import console
from invoke import Collection, Context, Exit
from invoke.loader import FilesystemLoader
from support.pages import blocks
from support.project import make_project

ROOT = Path(__file__).parents[3]
HOOK = ROOT / "hooks" / "after_copy.py"
PASTED = HOOK.read_text("utf-8").partition('OWN_TASKS = """\\\n')[2].partition('"""')[0]
"""The lines that are added to a tasks.py, as the hook prints them."""

OURS = {
    "discover",
    "run",
    "stats",
    "migrate",
    "scaffold",
    "dev",
    "check",
    "export",
    "doctor",
    "clean",
    "update",
    "leave",
}
TASKS = """\
from invoke import Collection, task


@task(aliases=["t"], default=True)
def test_all(c):
    \"\"\"Test everything.\"\"\"


@task(pre=[test_all])
def release(c, tag="v1"):
    \"\"\"Release.\"\"\"
"""
EXPLICIT = TASKS + """
@task
def hidden(c): ...

{name} = Collection(test_all, release, db=Collection("db", migrate=test_all))
{name}.configure({{"color": "red"}})
"""  # fmt: skip

Load = Callable[..., Collection]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_project(tmp_path).root


@pytest.fixture
def load(root: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write a tasks file of a project, and load it as Invoke does."""

    def load(text: str, file: str = "tasks.py", auto_dash_names: bool = True) -> Collection:
        path = root / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        name = path.parent.name if path.stem == "__init__" else path.stem
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.delitem(sys.modules, name, raising=False)
        module, parent = FilesystemLoader(start=str(root)).load(name)
        monkeypatch.setitem(sys.modules, name, module)
        return Collection.from_module(module, loaded_from=parent, auto_dash_names=auto_dash_names)

    monkeypatch.setattr(console, "_collection", "")
    return load


def names(collection: Collection) -> set[str]:
    return set(collection.task_names)


@pytest.mark.parametrize("text", [TASKS + PASTED, PASTED + "\n" + TASKS], ids=["below", "above"])
def test_a_file_with_tasks_alone_keeps_them_all(text: str, load: Load, root: Path) -> None:
    collection = load(text)
    assert names(collection) == {*OURS, "test-all", "release"}
    assert collection["t"] is collection["test-all"] is collection[None]
    assert collection.configuration()["dagmar"] == {"root": str(root)}


@pytest.mark.parametrize("name", ["ns", "namespace"])
def test_a_collection_of_their_own_keeps_its_tasks_and_settings(name: str, load: Load) -> None:
    collection = load(EXPLICIT.format(name=name) + PASTED)
    assert names(collection) == {*OURS, "test-all", "release", "db.migrate"}
    assert collection["t"] is collection[None]
    assert collection.configuration()["color"] == "red"


def test_names_keep_their_underscores_if_invoke_is_told_so(load: Load) -> None:
    collection = load(TASKS + PASTED, auto_dash_names=False)
    assert names(collection) == {*OURS, "test_all", "release"}


def test_a_task_that_was_added_by_hand_is_there_once(load: Load) -> None:
    added = "\nns.add_task(release, name='ship')\nns.add_collection(Collection('all', test_all))\n"
    assert names(load(TASKS + PASTED + added)) == {*OURS, "ship", "all.test-all"}
    imported = "from dagmar.tasks import check, namespace\n" + TASKS + "ns = namespace(__file__)\n"
    assert names(load(imported)) == {*OURS, "test-all", "release"}


CONFLICTS = {
    "a task": ("@task\ndef run(c): ...\n", "", "yours (tasks.py:13)"),
    "a named task": ("@task(name='run')\ndef mine(c): ...\n", "", "yours (tasks.py:13)"),
    "an alias": ("@task(aliases=['run'])\ndef mine(c): ...\n", "", "yours (tasks.py:13)"),
    "a task added later": (
        "def mine(c): ...\n", "ns.add_task(task(mine), 'run')\n", "yours (tasks.py:13)"
    ),
    "a collection": (
        "inner = Collection(release)\n", "ns.add_collection(inner, 'run')\n", "yours (a collection)"
    ),
    "a task of their collection": (
        "ns = Collection(run=release)\n", "", "yours (tasks.py:9)"
    ),
    "an addition to their collection": (
        "root = ns = Collection(release)\n", "root.add_task(test_all, 'run')\n",
        "yours (tasks.py:4)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("above", "below", "place"), CONFLICTS.values(), ids=CONFLICTS)
def test_a_name_given_twice_names_both(
    above: str, below: str, place: str, load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exit) as ended:
        load(TASKS + "\n" + above + PASTED + "\n" + below)
    assert ended.value.code == 8
    said = capsys.readouterr().err
    assert f"error: two tasks are called 'run': {place} and dagmar's (" in said
    assert "dagmar/tasks/runs.py:" in said
    assert '@task(name="my-run")' in said
    assert 'namespace(__file__, "dagmar")' in said


def test_dagmars_tasks_may_have_a_name_of_their_own(load: Load, root: Path) -> None:
    text = TASKS + "\n@task\ndef run(c): ...\n" + PASTED.replace("__file__", '__file__, "dagmar"')
    collection = load(text)
    below = {f"dagmar.{name}" for name in OURS}
    assert names(collection) == {*below, "test-all", "release", "run"}
    assert collection.configuration("dagmar.run")["dagmar"] == {"root": str(root)}
    shown = console.pasteable("Start it with `invoke dev`.", "invoke run --follow x\ngit add .")
    assert "`invoke dagmar.dev`" in shown
    assert "invoke dagmar.run --follow x\n" in shown


def test_a_task_below_a_name_checks_its_flags(
    load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["invoke", "dagmar.run", "--asset"])
    collection = load(PASTED.replace("__file__", '__file__, "dagmar"'))
    with pytest.raises(Exit) as ended:
        collection["dagmar.run"](Context())
    assert ended.value.code == 2
    assert "--asset needs a value" in capsys.readouterr().err


def test_a_package_of_tasks_and_another_file_belong_to_the_project(load: Load, root: Path) -> None:
    (root / "tasks.py").unlink()
    collection = load(TASKS + PASTED, "tasks/__init__.py")
    assert names(collection) == {*OURS, "test-all", "release"}
    assert collection.configuration()["dagmar"] == {"root": str(root)}
    other = load(TASKS + PASTED, "other.py")
    assert names(other) == {*OURS, "test-all", "release"}
    assert other.configuration()["dagmar"] == {"root": str(root)}
    (root / "dagmar.yaml").unlink()
    collection = load(TASKS + PASTED, "tasks/__init__.py")
    assert collection.configuration()["dagmar"] == {"root": str(root)}


def test_without_dagmar_their_tasks_stay(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagmar.tasks", None)
    monkeypatch.delattr("dagmar.tasks")
    assert names(load(TASKS + PASTED)) == {"test-all", "release"}
    assert names(load(EXPLICIT.format(name="ns") + PASTED)) == {
        "test-all", "release", "db.migrate",
    }  # fmt: skip


def test_a_package_that_their_tasks_miss_is_reported_by_its_name(load: Load) -> None:
    with pytest.raises(ModuleNotFoundError, match="'not_installed'"):
        load("import not_installed\n" + TASKS + PASTED)


def test_the_page_about_adopting_has_the_lines_that_are_printed() -> None:
    page = blocks(ROOT / "docs/how-to/adopt-a-repository.md")
    assert [block.text for block in page if block.language == "python"] == [PASTED + "\n"]


def test_the_lines_to_add_please_linters(tmp_path: Path) -> None:
    text = TASKS.replace("Collection, ", "")
    (tmp_path / "tasks.py").write_text(f"{text}\n\n{PASTED}\n")
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "tasks.py"]
    done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "All checks passed!\n")
