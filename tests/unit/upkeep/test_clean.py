"""What `invoke clean` proves to be dagmar's and removes, and what stays; in this process."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from dagmar.errors import SetupError, UsageError
from dagmar.export import index
from dagmar.migrate import report
from dagmar.scaffold.rendering import Renderer
from dagmar.upkeep import clean
from dagmar.upkeep.checking import Project
from rich.filesize import decimal
from support.git import git
from support.leftovers import CACHED, LOGS, OLD, age, export, fill, id_of, make

EVERYTHING = clean.choose()


def removed(root: Path, *kinds: str, days: float = 0) -> list[str]:
    """Plan, remove, and return the names of what went."""
    plan = clean.look(root, clean.choose(**dict.fromkeys(kinds, True)), days)
    clean.remove(plan)
    return [plan.name(path) for item in plan.items for path in item.paths]


def kept(root: Path, *kinds: str) -> dict[str, str]:
    return dict(clean.look(root, clean.choose(**dict.fromkeys(kinds, True))).kept)


@pytest.fixture
def full(sound: Project) -> Project:
    """A project with exports, cache and logs, and with files of the user next to them."""
    fill(sound.root)
    return sound


def test_an_export_is_proven_once_more_when_its_turn_comes(full: Project) -> None:
    plan = clean.look(full.root, EVERYTHING)
    page = full.root / OLD[0] / "a.html"
    page.write_text("mine")
    with pytest.raises(SetupError, match=r"the first is .*: a\.html was changed since"):
        clean.remove(plan)
    assert page.read_text() == "mine"
    assert not (full.root / OLD[1]).exists()


def test_the_newest_good_export_of_each_notebook_stays_and_is_listed(sound: Project) -> None:
    root = sound.root
    exports = root / ".dagmar/exports"
    export(root, "orders", id_of(1))
    export(root, "orders", id_of(2), status="failed")
    export(root, "sales", id_of(1), status="failed")
    for name in ("orders", "sales"):
        index.write(exports, name)
    assert removed(root, "exports") == [
        f".dagmar/exports/orders/{id_of(2)}",
        f".dagmar/exports/sales/{id_of(1)}",
    ]
    assert [path.name for path in exports.iterdir() if path.is_dir()] == ["orders"]
    listed = (exports / "orders/index.html").read_text("utf-8")
    assert id_of(1) in listed
    assert id_of(2) not in listed
    assert "sales" not in (exports / "index.html").read_text("utf-8")
    assert removed(root, "exports") == []


def test_an_export_that_assets_link_to_is_marked_and_the_newest_stays(
    sound: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assets = ("raw/orders", "sales")
    for number, linked in enumerate((assets, assets[:1], ()), 1):
        export(sound.root, "orders", id_of(number), assets=linked)
    clean.clean(sound.root, clean.CleanRequest(frozenset({"exports"}), dry_run=True))
    going = f".dagmar/exports/orders/{id_of(1)}  (export, by its manifest)"
    assert f"{going}  (linked on raw/orders, sales)" in capsys.readouterr().out
    assert kept(sound.root, "exports") == {
        f".dagmar/exports/orders/{id_of(2)}": "the newest of its notebook that is linked on "
        "raw/orders",
        f".dagmar/exports/orders/{id_of(3)}": "the newest good export of its notebook",
    }
    assert removed(sound.root, "exports") == [f".dagmar/exports/orders/{id_of(1)}"]


def test_an_export_is_only_what_its_manifest_proves(sound: Project) -> None:
    root = sound.root
    export(root, "orders", id_of(9))
    make(export(root, "orders", id_of(1)), "notes.txt")
    make(export(root, "orders", id_of(2)), "manifest.json", "{")
    make(export(root, "orders", id_of(3)), "manifest.json", "[]")
    (export(root, "orders", id_of(4)) / "manifest.json").unlink()
    (export(root, "orders", id_of(5)) / "a.html").unlink()
    (root / f".dagmar/exports/orders/{id_of(5)}/a.html").symlink_to(root / "tasks.py")
    export(root, "orders", id_of(6), files=("a.html", "a.ipynb"))
    make(export(root, "orders", id_of(7)), "a.html", "mine")
    # Nobody ever writes to it: to read it would wait forever.
    pipe = export(root, "orders", id_of(10)) / "a.html"
    pipe.unlink()
    os.mkfifo(pipe)
    other = export(root, "orders", id_of(8)) / "manifest.json"
    other.write_text(other.read_text().replace(id_of(8), id_of(6)))
    make(root, f".dagmar/exports/orders/{id_of(6)}/.lock", "")
    make(root, f".dagmar/exports/orders/{id_of(6)}/.manifest.json.a_b1c2d3", "{")
    make(root, ".dagmar/exports/orders/.2-work.partial/a.html")
    make(root, ".dagmar/exports/readme.txt")
    make(root, ".dagmar/exports/mine/1/page.html")
    assert removed(root, "exports") == [f".dagmar/exports/orders/{id_of(6)}"]
    reasons = {name.rpartition("/")[2]: reason for name, reason in kept(root, "exports").items()}
    unread = "its manifest.json cannot be read, or is of another export"
    assert reasons == {
        id_of(9): "the newest good export of its notebook",
        id_of(1): "its manifest.json does not name notes.txt",
        id_of(2): unread,
        id_of(3): unread,
        id_of(4): "it has no manifest.json; it may be an export in progress",
        id_of(5): "it contains a symlink, which dagmar does not create",
        id_of(7): "a.html was changed since",
        id_of(8): unread,
        id_of(10): "a.html is not a file",
        "readme.txt": "dagmar did not write it",
        "1": "it has no manifest.json; it may be an export in progress",
    }


@pytest.mark.parametrize("place", [".dagmar", ".dagmar/exports", ".dagmar/exports/orders"])
def test_a_symlink_is_never_followed(place: str, sound: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    export(elsewhere, "orders", id_of(1))
    export(elsewhere, "orders", id_of(2))
    link = sound.root / place
    if link.exists():
        link.rename(tmp_path / "gone")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere / place)
    assert removed(sound.root) == []
    assert (elsewhere / ".dagmar/exports/orders" / id_of(1) / "a.html").exists()
    assert link.is_symlink()


def test_a_symlink_in_the_cache_stays_with_what_it_leads_to(sound: Project, tmp_path: Path) -> None:
    mine = make(tmp_path, "mine.json")
    link = sound.root / CACHED
    link.parent.mkdir(parents=True)
    link.symlink_to(mine)
    assert removed(sound.root, "cache") == []
    assert mine.exists()
    assert link.is_symlink()


def test_what_git_tracks_stays(full: Project) -> None:
    git(full.root, "add", "--force", f"{OLD[0]}/a.html", CACHED)
    assert removed(full.root) == [OLD[1], *LOGS]
    assert kept(full.root)[CACHED] == f"git tracks {CACHED}"


def test_a_page_that_git_tracks_is_not_written_or_removed(sound: Project) -> None:
    exports = sound.root / ".dagmar/exports"
    pages = ("index.html", "orders/index.html", "sales/index.html")
    for name in ("orders", "sales"):
        export(sound.root, name, id_of(1), status="failed")
        make(exports, f"{name}/index.html", "mine")
    make(exports, "index.html", "mine")
    git(sound.root, "add", "--force", *(f".dagmar/exports/{name}" for name in pages))
    assert len(removed(sound.root, "exports")) == 2
    assert [(exports / name).read_text() for name in pages] == ["mine"] * 3


def test_where_git_cannot_tell_nothing_is_removed(full: Project) -> None:
    (full.root / ".git/index").write_bytes(b"not an index")
    with pytest.raises(SetupError, match="git cannot list the tracked files"):
        clean.look(full.root, EVERYTHING)


def test_what_is_not_dagmars_stays_in_cache_and_logs(full: Project) -> None:
    mine = [
        make(full.root, f".dagmar/{name}")
        for name in (
            *("cache/mine.json", "cache/assets.json", "cache/assets-fedcba9876543210.json/a"),
            *("logs/notes.txt", "logs/mine.log", "tmp/mine/a"),
        )
    ]
    removed(full.root)
    assert all(file.exists() for file in mine)
    assert kept(full.root, "logs") == {
        f".dagmar/logs/{name}": "dagmar did not write it" for name in ("mine.log", "notes.txt")
    }


def test_each_file_is_listed_with_what_it_is_or_with_why_it_stays(
    sound: Project, tmp_path: Path
) -> None:
    root = sound.root
    make(root, CACHED)
    make(root, LOGS[0])
    age(make(root, ".dagmar/tmp/update.yml"), 1)
    make(root, ".dagmar/cache/mine.json")
    make(root, ".dagmar/cache/template-0123456789ab.git/mine")
    make(root, ".dagmar/cache/assets-fedcba9876543210.json/mine")
    make(root, ".dagmar/tmp/mine")
    (root / LOGS[1]).symlink_to(make(tmp_path, "mine.log"))
    plan = clean.look(root, EVERYTHING)
    assert [(plan.name(item.paths[0]), item.what) for item in plan.items] == [
        (CACHED, "cache"),
        (".dagmar/tmp/update.yml", "left over"),
        (LOGS[0], "log"),
    ]
    assert dict(plan.kept) == {
        ".dagmar/cache/mine.json": "dagmar did not write it",
        ".dagmar/cache/template-0123456789ab.git": "it is not a clone of the template",
        ".dagmar/cache/assets-fedcba9876543210.json": "it is not a file",
        ".dagmar/tmp/mine": "dagmar did not write it",
        LOGS[1]: "dagmar did not write it",
    }


def test_only_what_is_older_than_the_days_goes_with_all_that_is_in_it(sound: Project) -> None:
    root = sound.root
    make(root, CACHED)
    old = make(root, CACHED.replace("0123", "4567"), "[]")
    files = ("a.html", "b.html")
    folder = export(root, "orders", id_of(1), files=files)
    export(root, "orders", id_of(2))
    size = sum(file.stat().st_size for file in folder.iterdir())
    for path in (old, *folder.iterdir()):
        age(path, 10)
    plan = clean.look(root, EVERYTHING, days=5)
    assert {plan.name(item.paths[0]): item.size for item in plan.items} == {
        plan.name(folder): size,
        plan.name(old): 2,
    }
    assert size > 2000
    assert clean.look(root, EVERYTHING, days=11).items == []


def test_a_half_written_page_of_exports_goes_once_nobody_can_be_at_work_on_it(
    sound: Project,
) -> None:
    root, name = sound.root, ".index.html.a1b2_3c4"
    export(root, "orders", id_of(1))
    for folder in ("", "orders/"):
        make(root, f".dagmar/exports/{folder}{name}", "<!doctype")
        make(root, f".dagmar/exports/{folder}.index.html.mine", "<!doctype")
    assert removed(root, "exports") == []
    for folder in ("", "orders/"):
        os.utime(root / f".dagmar/exports/{folder}{name}", (1, 1))
    # What follows in the folder is looked at as well, and exports go whatever their age.
    now = datetime.now(timezone.utc)
    recent, _ = (
        export(root, "orders", f"{now - timedelta(seconds=ago):%Y%m%dT%H%M%SZ}-00000000")
        for ago in (20, 10)
    )
    assert removed(root, "exports") == [
        f".dagmar/exports/{name}",
        f".dagmar/exports/orders/{name}",
        f".dagmar/exports/orders/{id_of(1)}",
        f".dagmar/exports/orders/{recent.name}",
    ]
    for folder in ("", "orders/"):
        make(root, f".dagmar/exports/{folder}{name}", "<!doctype")
    index.write(root / ".dagmar/exports", "orders")  # which holds the lock: nobody else can be
    left = sorted(path.name for path in (root / ".dagmar/exports").rglob(".index.html.*"))
    assert left == [".index.html.mine", ".index.html.mine"]


def test_what_exports_share_stays(sound: Project) -> None:
    make(sound.root, ".dagmar/exports/_marimo/0.25.2/marimo.js")
    assert removed(sound.root, "exports") == []
    why = {".dagmar/exports/_marimo": "marimo's files, for the pages of all exports"}
    assert kept(sound.root, "exports") == why


def test_the_page_that_logs_in_stays_while_invoke_dev_runs(sound: Project) -> None:
    page = make(sound.root, ".dagmar/tmp/marimo.html")
    age(page, 1)
    running = make(sound.root, ".dagmar/tmp/dev.json", json.dumps({"pid": os.getpid()}))
    assert removed(sound.root, "cache") == []
    why = f"`invoke dev` is running (process {os.getpid()}), and needs it"
    assert kept(sound.root, "cache") == {
        ".dagmar/tmp/dev.json": why,
        ".dagmar/tmp/marimo.html": why,
    }
    running.unlink()
    assert removed(sound.root, "cache") == [".dagmar/tmp/marimo.html"]


def test_half_made_things_go_when_nobody_is_at_work_on_them(sound: Project) -> None:
    cached = CACHED.rpartition("/")[2]
    old = [
        *(".dagmar/cache/.template-a1b2_3c4/HEAD", f".dagmar/cache/.{cached}.a1b2_3c4"),
        *(".dagmar/tmp/.marimo.html.a1b2_3c4", ".dagmar/tmp/.session.a1b2_3c4"),
        *(".dagmar/tmp/.update.yml.a1b2_3c4", ".dagmar/tmp/scaffold-a1b2_3c4/out"),
    ]
    # The same kind of names, and others that no process of dagmar's gives.
    mine = [
        *(".dagmar/cache/.notes.markdown", ".dagmar/cache/.template-project/HEAD"),
        *(".dagmar/cache/.mine.json.a1b2_3c4", ".dagmar/cache/scaffold-a1b2_3c4/a"),
        *(".dagmar/tmp/.notes.markdown", ".dagmar/tmp/scaffold-mine/out"),
        *(".dagmar/tmp/.template-a1b2_3c4/HEAD", ".dagmar/tmp/scaffold-new_one_/out"),
    ]
    for name in (*old, *mine):
        file = make(sound.root, name)
        age(file if file.parent.name in ("cache", "tmp") else file.parent, 1)
    make(sound.root, ".dagmar/tmp/scaffold-new_one_/b")  # as new as can be
    gone = [name.removesuffix("/HEAD").removesuffix("/out") for name in old]
    assert sorted(removed(sound.root, "cache")) == sorted(gone)
    assert all((sound.root / name).exists() for name in mine)


def test_the_note_of_a_session_stays_for_the_next_invoke_dev(sound: Project) -> None:
    age(make(sound.root, ".dagmar/tmp/session"), 1)
    assert removed(sound.root, "cache") == []
    (why,) = kept(sound.root, "cache").values()
    assert why == "`invoke dev` needs it to clean up at its next start"


CLONE = ".dagmar/cache/template-0123456789ab.git"


def test_the_last_copy_of_the_template_stays(sound: Project) -> None:
    make(sound.root, f"{CLONE}/HEAD", "ref: refs/heads/main\n")
    make(sound.root, ".copier-answers.yml", "_commit: v1\n_src_path: /nowhere/template\n")
    assert removed(sound.root, "cache") == []
    assert "this is its last copy" in kept(sound.root, "cache")[CLONE]
    make(sound.root, ".copier-answers.yml", "_commit: v1\n_src_path: gh:us/template\n")
    assert removed(sound.root, "cache") == [CLONE]


def test_logs_of_a_running_invoke_dev_stay(full: Project) -> None:
    make(full.root, ".dagmar/tmp/dev.json", json.dumps({"pid": os.getpid()}))
    assert removed(full.root) == [*OLD, CACHED]
    (reason,) = (why for name, why in kept(full.root, "logs").items() if name == ".dagmar/logs")
    assert reason == f"`invoke dev` is running (process {os.getpid()}), and writes there"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    make(full.root, ".dagmar/tmp/dev.json", json.dumps({"pid": gone.pid}))
    assert removed(full.root, "logs") == LOGS


def test_what_cannot_be_removed_is_told_after_the_rest_is_gone(
    full: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = clean.look(full.root, EVERYTHING)
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == "dagster.log":
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    index.write(full.root / ".dagmar/exports", "orders")
    with pytest.raises(SetupError) as error:
        clean.remove(plan)
    assert error.value.message.endswith(
        "1 could not be removed, the first is .dagmar/logs/dagster.log: Permission denied"
    )
    assert error.value.command == "ls -ld .dagmar/logs"
    # The pages no longer list what has gone.
    assert Path(OLD[0]).name not in (full.root / ".dagmar/exports/orders/index.html").read_text()
    assert not (full.root / OLD[0]).exists()
    assert not (full.root / LOGS[1]).exists()


def test_a_file_whose_facts_cannot_be_read_is_an_error_of_the_machine(
    full: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    lstat = Path.lstat

    def refuse(path: Path) -> os.stat_result:
        if path.name == Path(CACHED).name:
            raise PermissionError(13, "Permission denied", str(path))
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", refuse)
    with pytest.raises(SetupError) as error:
        clean.look(full.root, EVERYTHING)
    assert error.value.message == f"{full.root / CACHED} cannot be read: Permission denied"
    assert error.value.command == "invoke doctor"


def test_a_folder_that_cannot_be_read_is_reported_after_the_rest_is_gone(
    full: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterdir = Path.iterdir

    def refuse(path: Path) -> Iterator[Path]:
        if path.name == "cache":
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    request = clean.CleanRequest(clean.choose(), yes=True)
    with pytest.raises(SetupError, match=r"cannot be read, and stays: \.dagmar/cache") as caught:
        clean.clean(full.root, request)
    assert caught.value.command == "invoke doctor"
    assert not (full.root / OLD[0]).exists()
    assert not (full.root / LOGS[1]).exists()


def test_a_project_without_git_or_dagmar_has_nothing_to_remove(tmp_path: Path) -> None:
    assert clean.look(tmp_path, EVERYTHING).items == []


class Terminal(io.StringIO):
    """What a user types, and what is printed for them."""

    def isatty(self) -> bool:
        return True


def type_in(monkeypatch: pytest.MonkeyPatch, answer: str) -> Terminal:
    """Put this process on a terminal on which the answer is typed; return what it shows."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


@pytest.mark.parametrize(
    ("answer", "yes"),
    [("y\n", True), (" Yes \n", True), ("n\n", False), ("\n", False), ("", False), ("yo", False)],
)
def test_only_a_yes_is_one(answer: str, yes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = type_in(monkeypatch, answer)
    assert clean.confirm() is yes
    assert shown.getvalue() == "Remove this? [y/N] "


@pytest.mark.parametrize("stream", ["stdin", "stderr"])
def test_without_a_terminal_nothing_is_asked(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, "y\n")
    monkeypatch.setattr(sys, stream, io.StringIO("y\n"))
    with pytest.raises(UsageError, match="there is no terminal to ask") as caught:
        clean.confirm()
    assert caught.value.hint == "To remove the listed files, add --yes."


def test_what_is_listed_is_removed_if_the_answer_is_yes_and_it_is_still_so(
    full: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (OLD[0], CACHED, LOGS[0]):
        age(full.root / name, 40)
    for name in (OLD[0], OLD[1]):
        age(full.root / name / "manifest.json", 40)
    request = clean.CleanRequest(EVERYTHING, days=30)
    there = (full.root / OLD[1] / "a.html", full.root / OLD[0], full.root / CACHED)

    def answer() -> bool:
        there[0].write_text("mine")
        make(full.root, LOGS[0], "it goes on")
        (full.root / CACHED).touch()  # of the same size, but in use again
        return True

    monkeypatch.setattr(clean, "confirm", answer)
    clean.clean(full.root, request)
    shown = capsys.readouterr()
    assert [path.exists() for path in there] == [True, False, True]
    assert (full.root / LOGS[0]).exists()
    assert (full.root / LOGS[1]).exists()  # it is newer
    listed = [line.split()[2] for line in shown.out.splitlines()]
    assert listed == [OLD[0], OLD[1], CACHED, LOGS[0]]
    assert f"stays: {OLD[1]}: a.html was changed since\n" in shown.err
    for name in (CACHED, LOGS[0]):
        assert f"stays: {name}: it was changed since it was listed\n" in shown.err


def test_a_no_and_a_dry_run_say_that_nothing_was_removed(
    full: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clean, "confirm", lambda: False)
    for request, said in (
        (clean.CleanRequest(EVERYTHING), "Nothing was removed."),
        (clean.CleanRequest(EVERYTHING, dry_run=True, yes=True), "Nothing was removed: --dry-run."),
    ):
        clean.clean(full.root, request)
        assert capsys.readouterr().err.splitlines()[-1] == said
    assert all((full.root / name).exists() for name in (*OLD, CACHED, *LOGS))
    monkeypatch.setattr(clean, "confirm", None)  # nothing is asked if there is nothing
    clean.clean(full.root, clean.CleanRequest(EVERYTHING, days=1))
    assert capsys.readouterr().err.splitlines()[-1] == "There is nothing to remove."


def scaffolded(root: Path, name: str, **more: Any) -> tuple[Path, Path]:
    """Write a notebook and its answers, as `invoke scaffold` does."""
    answers = {"name": name, "asset": f"raw/{name}", "marimo": "0.25.2", "template": "minimal"}
    answers |= {"folder": "notebooks", "materializable": True, **more}
    text = Renderer().notebook(answers)
    file = make(root, f"{answers['folder'] or 'notebooks'}/{name}.py", text)
    document = {"_commit": "v1", "_src_path": "/nowhere", "notebooks": [answers]}
    return file, make(root, f".dagmar/notebooks/{name}.yml", json.dumps(document))


def test_a_notebook_goes_with_its_answers_and_is_measured_with_them(
    sound: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    scaffolded(sound.root, "_gone")[0].unlink()
    pairs = [scaffolded(sound.root, "a"), scaffolded(sound.root, "b", folder="")]
    git(sound.root, "add", "-A")  # git has them
    plan = clean.look(sound.root, frozenset({"notebooks"}))
    assert [item.paths for item in plan.items] == pairs
    sizes = [sum(path.stat().st_size for path in pair) for pair in pairs]
    assert [item.size for item in plan.items] == sizes
    clean.show(plan)
    lines = capsys.readouterr().out.splitlines()
    names = [plan.name(path) for pair in pairs for path in pair]
    assert [line[11:] for line in lines] == [f"{name}  (notebook, unchanged)" for name in names]
    assert [line[:9].strip() for line in lines] == [decimal(sizes[0]), "", decimal(sizes[1]), ""]
    clean.remove(plan)
    assert not any(path.exists() for pair in pairs for path in pair)


def test_a_notebook_that_may_be_the_users_stays(sound: Project, tmp_path: Path) -> None:
    root = sound.root
    reasons = {}
    for answers in (root / ".dagmar/notebooks").iterdir():
        answers.unlink()
    file, _ = scaffolded(root, "edited")
    file.write_text(file.read_text() + "\n# mine\n")
    reasons[file] = "it or its template was changed since it was scaffolded"
    file, _ = scaffolded(root, "linked")
    file.rename(tmp_path / "linked.py")
    file.symlink_to(tmp_path / "linked.py")
    reasons[file] = "it is reached by a symlink, which is not followed"
    file, _ = scaffolded(root, "inside", folder="work/inner")
    (root / "work").rename(tmp_path / "work")
    (root / "work").symlink_to(tmp_path / "work")
    reasons[file] = "it is reached by a symlink, which is not followed"
    file, answers = scaffolded(root, "answered")
    answers.rename(tmp_path / "answered.yml")
    answers.symlink_to(tmp_path / "answered.yml")
    reasons[file] = "it is reached by a symlink, which is not followed"
    for name in ("folder", "pipe"):
        file, _ = scaffolded(root, name)
        file.unlink()
        (Path.mkdir if name == "folder" else os.mkfifo)(file)
        reasons[file] = "it is not a file"
    for name, document in (
        ("many", {"notebooks": [{"name": "a"}, {"name": "b"}]}),
        ("none", {"_commit": "v1"}),
        ("text", {"notebooks": ["a"]}),
        ("number", {"notebooks": 3}),
        ("unnamed", {"notebooks": [{"folder": "x"}]}),
    ):
        answers = make(root, f".dagmar/notebooks/{name}.yml", json.dumps(document))
        reasons[answers] = "it is not the answers file of one notebook"
    file, answers = scaffolded(root, "out")
    answers.write_text(answers.read_text().replace('"notebooks", "mat', '"../..", "mat'))
    reasons[answers] = "it names a file outside the project"
    plan = clean.look(root, frozenset({"notebooks"}))
    assert plan.items == []
    assert dict(plan.kept) == {plan.name(path): reason for path, reason in reasons.items()}


def test_reports_of_migrations_go_unless_they_were_edited(sound: Project, tmp_path: Path) -> None:
    text = "# a.ipynb\n"
    text += report._signature(text)
    written = make(sound.root, "notebooks/a.migration.md", text)
    mine = make(sound.root, "notebooks/sub/b.migration.md", f"mine\n{text}")
    hidden = make(sound.root, ".venv/c.migration.md", text)
    other = make(sound.root, "notebooks/a.md", text)
    elsewhere = make(tmp_path, "d.migration.md", text)
    (sound.root / "d.migration.md").symlink_to(elsewhere)
    os.mkfifo(sound.root / "e.migration.md")
    plan = clean.look(sound.root, frozenset({"notebooks"}))
    assert [(item.paths, item.what) for item in plan.items] == [
        ((written,), "report of a migration, unchanged")
    ]
    clean.remove(plan)
    assert [file.exists() for file in (written, mine, hidden, other, elsewhere)] == [
        False, True, True, True, True,
    ]  # fmt: skip
