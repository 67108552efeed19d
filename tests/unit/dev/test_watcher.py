"""Which files of a project count as its code, and how changes of them are noticed."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagmar.dev import watcher
from dagmar.dev.watcher import Files, Watcher, look

SECONDS = 60.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "POLL_MS", 50)
    monkeypatch.setattr(watcher, "LOOK_MS", 200)
    monkeypatch.setattr(watcher, "GAP_MS", 100)


def write(root: Path, *names: str, text: str = "") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")


class Seen:
    """The bursts that a watcher reported for the code below a folder."""

    def __init__(self, root: Path, *named: Path) -> None:
        self.root = root
        self.bursts: queue.Queue[set[Path]] = queue.Queue()
        self.reasons: list[str] = []
        self.looks = 0
        self.watcher = Watcher(self.look, self.bursts.put, self.reasons.append)
        self._named = named

    def look(self) -> Files:
        files = look([self.root], self._named)
        self.looks += 1
        return files

    def next(self) -> set[str]:
        burst = self.bursts.get(timeout=SECONDS)
        return {path.relative_to(self.root).as_posix() for path in burst}

    def gather(self, *names: str) -> int:
        """Wait until exactly these files were reported; return in how many bursts."""
        missing, count = set(names), 0
        while missing:
            burst = self.next()
            assert burst <= missing
            missing -= burst
            count += 1
        return count


@contextlib.contextmanager
def watching(root: Path, *named: Path) -> Iterator[Seen]:
    seen = Seen(root, *named)
    seen.watcher.start()
    try:
        yield seen
    finally:
        seen.watcher.stop()


def test_sources_are_watched_but_no_tests_notebooks_libraries_or_data(tmp_path: Path) -> None:
    code = ("shop/__init__.py", "shop/defs/orders/defs.yaml", "helpers.py", "new/deep/x.py")
    write(tmp_path, *code)
    write(
        tmp_path, "shop/query.sql", "notebooks/a.py", "tests/test_a.py", "conftest.py",
        ".venv/x.py", ".dagmar/y.py", "env/pyvenv.cfg", "env/z.py", "shop/__pycache__/a.py",
        "data/2026/01/part.parquet", "data/readme.md",
    )  # fmt: skip
    (tmp_path / "shop/empty").mkdir()
    write(tmp_path.parent / "shared", "pricing/__init__.py", "table/part.parquet", "pricing/x.py")
    (tmp_path.parent / "shared/pricing/again").symlink_to(tmp_path)
    for name in ("pricing", "table"):
        (tmp_path / "shop" / name).symlink_to(tmp_path.parent / "shared" / name)
    code += ("shop/pricing/__init__.py", "shop/pricing/x.py")
    env = tmp_path / ".env"
    files = look([tmp_path], [env])
    assert set(files.stamps) == {env, *(tmp_path / name for name in code)}
    assert files.stamps[env] is None
    assert {folder.relative_to(tmp_path).as_posix() for folder in files.folders} == {
        ".", "data", "new", "new/deep", "shop", "shop/defs", "shop/defs/orders", "shop/empty",
        "shop/pricing",
    }  # fmt: skip


@pytest.mark.parametrize("polls", [False, True])
def test_a_save_a_new_package_and_a_removal_are_noticed(
    polls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if polls:
        monkeypatch.setattr(watcher, "_unnotified", lambda folders: "nfs4")
    write(tmp_path, "shop/__init__.py", "shop/data/orders.csv")
    with watching(tmp_path, tmp_path / ".env") as seen:
        write(tmp_path, "shop/__init__.py", text="x = 1\n")
        seen.gather("shop/__init__.py")
        write(tmp_path, ".env", "shop/inner/deep/a.py", "shop/data.csv")
        seen.gather(".env", "shop/inner/deep/a.py")
        write(tmp_path, "shop/inner/deep/a.py", text="x = 2\n")
        seen.gather("shop/inner/deep/a.py")
        (tmp_path / "shop/inner/deep/a.py").rename(tmp_path / "shop/b.py")
        seen.gather("shop/inner/deep/a.py", "shop/b.py")
        write(tmp_path, "shop/data/clean.py")
        seen.gather("shop/data/clean.py")
    assert seen.bursts.empty()
    assert seen.reasons == (["nfs4 does not report changes"] if polls else [])


def test_a_hundred_files_are_one_burst(tmp_path: Path) -> None:
    names = [f"shop/m{number}.py" for number in range(100)]
    write(tmp_path, *names)
    with watching(tmp_path) as seen:
        # After the first look: until then a change may be found by that.
        while seen.looks < 2:
            time.sleep(0.01)
        write(tmp_path, *names, text="x = 1\n")
        assert seen.gather(*names) == 1


def test_without_notifications_left_it_polls_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import watchfiles

    real = watchfiles.watch

    def full(*folders: Path, force_polling: bool | None, **options: object) -> object:
        if not force_polling:
            raise OSError(28, "OS file watch limit reached.")
        return real(*folders, force_polling=True, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(watchfiles, "watch", full)
    write(tmp_path, "a.py")
    with watching(tmp_path) as seen:
        write(tmp_path, "a.py", text="x = 1\n")
        seen.gather("a.py")
    assert seen.reasons == ["OS file watch limit reached."]


def test_folders_that_are_removed_and_come_back_are_watched_again(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write(root, "src/shop/a.py")
    with watching(root) as seen:
        root.rename(tmp_path / "away")
        seen.gather("src/shop/a.py")
        (tmp_path / "away").rename(root)
        seen.gather("src/shop/a.py")
        write(root, "src/shop/a.py", text="x = 1\n")
        seen.gather("src/shop/a.py")
