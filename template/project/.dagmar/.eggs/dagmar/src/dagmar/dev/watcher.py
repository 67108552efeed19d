"""Notices changes of a project's code on disk, without loading any of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from dagmar.project import code

# A save of an editor, or a checkout of git, is a burst of changes with shorter gaps.
GAP_MS, LONGEST_MS = 200, 3000
# A look without a notification: what changes while watching begins is not reported.
LOOK_MS = 1000
POLL_MS = 1000
NETWORK = ("9p", "afs", "cifs", "fakeowner", "fuse", "nfs", "osxfs", "prl_fs", "smb", "vboxsf")
"""How the names of file systems begin that do not report changes from another machine."""


@dataclass(frozen=True)
class Files:
    """The files to watch with their states, and the folders that they are or may soon be in."""

    folders: frozenset[Path]
    stamps: dict[Path, code.Stamp]

    def changed(self, before: Files) -> set[Path]:
        """Return the files that were added, removed or saved since `before`."""
        return {path for path, _ in self.stamps.items() ^ before.stamps.items()}


def look(places: Iterable[Path], named: Iterable[Path]) -> Files:
    """Return the source files below these folders, and the named files, as they are now."""
    watched = {path.parent for path in named}
    files = set(named)
    for place in places:
        folders, found = _below(place, place)
        watched.update(folders)
        files.update(found)
    existing = frozenset(folder for folder in watched if folder.is_dir())
    return Files(existing, {file: code.stamp(file) for file in files})


def _below(folder: Path, place: Path, linked: bool = False) -> tuple[list[Path], list[Path]]:
    """Return the folders and the sources from a folder on down; of a folder with data, nothing.

    Code may still come into a folder that has no file at all, and into one with data in a folder
    with code. `linked` is whether a link leads to the folder; no further one is followed.
    """
    folders, found, data, empty = [folder], [], [], True
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return [], []
    for entry in entries:
        path = Path(entry.path)
        link = entry.is_symlink() and not linked and (path / "__init__.py").is_file()
        if link or entry.is_dir(follow_symlinks=False):
            if code.may_hold_code(path):
                below, sources = _below(path, place, linked or link)
                folders += below
                found += sources
                data += [] if below else [path]
                empty = empty and bool(below)
        elif path.suffix in code.SOURCES and code.may_be_imported(path, place):
            found.append(path)
        elif not entry.name.startswith("."):
            empty = False
    if found:
        return folders + data, found
    return (folders, found) if empty or folder == place else ([], [])


class Watcher:
    """Calls `changed` with the files of each burst of changes, from its own thread.

    `look` returns what there is now. If changes are not reported, it polls, and calls `polls` once
    with the reason.
    """

    def __init__(
        self,
        look: Callable[[], Files],
        changed: Callable[[set[Path]], None],
        polls: Callable[[str], None],
    ) -> None:
        """Keep what `start` needs."""
        self._look, self._changed, self._polls = look, changed, polls
        self._stopped = threading.Event()
        self._polling = False
        self._known = Files(frozenset(), {})
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Note the state of the files, and report changes from now on."""
        self._known = self._look()
        if kind := _unnotified(self._known.folders):
            self._poll(f"{kind} does not report changes")
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end, which takes GAP_MS at most."""
        self._stopped.set()

    def _poll(self, reason: str) -> None:
        self._polling = True
        self._polls(reason)

    def _watch(self) -> None:
        while not self._stopped.is_set():
            try:
                self._watch_folders()
            except FileNotFoundError:  # removed since
                self._compare()
            except (OSError, RuntimeError) as error:  # the latter is watchfiles' own
                if self._polling:
                    self._stopped.wait(POLL_MS / 1000)
                    self._compare()
                else:
                    self._poll(str(getattr(error, "strerror", None) or error))

    def _watch_folders(self) -> None:
        """Watch the folders that are known now, until there are others."""
        import watchfiles

        folders = self._known.folders
        if not folders:
            self._stopped.wait(POLL_MS / 1000)
            self._compare()
            return
        first = True
        for batch in watchfiles.watch(
            *folders,
            watch_filter=None,
            debounce=LONGEST_MS,
            step=GAP_MS,
            stop_event=self._stopped,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            force_polling=self._polling or None,
            poll_delay_ms=POLL_MS,
            recursive=False,
        ):
            if (first and not batch) or any(self._matters(Path(path)) for _, path in batch):
                self._compare()
            first = first and bool(batch)
            if self._known.folders != folders:
                return

    def _matters(self, path: Path) -> bool:
        """Whether a change may be one of a source: not of data that is written next to it."""
        return path.suffix in ("", *code.SOURCES) or path in self._known.stamps

    def _compare(self) -> None:
        before, self._known = self._known, self._look()
        if changed := self._known.changed(before):
            self._changed(changed)


def _unnotified(folders: Iterable[Path]) -> str:
    """Return the kind of the first file system that does not report all changes, or nothing."""
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    for folder in folders:
        mount = next((up for up in (folder, *folder.parents) if up in mounts), None)
        if mount and mounts[mount].startswith(NETWORK):
            return mounts[mount]
    return ""
