"""Where exports are, and how one appears there at once and whole.

`<exports>/<notebook>/<timestamp>-<id>/` is renamed into place when all of it is written. Until
then it is a hidden folder next to it, whose lock its process holds: a hidden folder that nobody
has locked was left behind by a process that died.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from dagmar.errors import Conflict, DagmarError, Invalid, NotAllowed, SetupError
from dagmar.export.manifests import FOLDER
from dagmar.files import expanded
from dagmar.project.layout import EXPORTS, make_folder
from dagmar.project.settings import Settings

UNFINISHED = ".partial"
"""The end of the name of an export in progress."""
PARTIAL = re.compile(rf"\.{FOLDER.pattern}{re.escape(UNFINISHED)}")
LOCK = ".lock"


@dataclass(frozen=True)
class Place:
    """The folder of one notebook's exports."""

    exports: Path
    name: str

    @property
    def folder(self) -> Path:
        """The folder that holds one folder for each export."""
        return self.exports / self.name


def exports_of(settings: Settings, output: str = "") -> Path:
    """Return the folder of all exports: `output`, or the project's own."""
    return expanded(output).absolute() if output else settings.root / EXPORTS


def place_of(settings: Settings, notebook: Path, output: str = "") -> Place:
    """Return where a notebook's exports go; one in a subfolder is called `sub.name`."""
    exports = exports_of(settings, output)
    for base in (settings.notebooks, settings.root):
        if notebook.is_relative_to(base.resolve()):
            parts = notebook.relative_to(base.resolve()).with_suffix("").parts
            return Place(exports, ".".join(parts))
    return Place(exports, notebook.stem)


def new_id() -> str:
    """Return the name of a new export: its time in UTC, in the order of which names sort.

    Eight hexadecimal digits follow the second: five of the microsecond, and three random ones.
    """
    now = datetime.now(timezone.utc)
    return f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{secrets.randbelow(0x1000):03x}"


@contextlib.contextmanager
def staged(place: Place, id: str) -> Iterator[Path]:
    """Yield a new hidden folder for the export `id`; `publish` makes it visible.

    It is removed at the end unless it was published. Raises NotAllowed or SetupError if the folder
    cannot be written.
    """
    with writable(place.folder):
        make_folder(place.exports)
    folder = place.folder / f".{id}{UNFINISHED}"
    with contextlib.ExitStack() as stack:
        # Another process must not find the new folder before its lock is held.
        with locked(place.exports), writable(place.folder):
            place.folder.mkdir(exist_ok=True)
            _sweep(place.folder)
            folder.mkdir()
            stack.enter_context(_flock(folder / LOCK, fcntl.LOCK_EX))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError, DagmarError), locked(place.exports):
                place.folder.rmdir()  # unless other exports are in it


def publish(place: Place, folder: Path, id: str) -> Path:
    """Make a staged folder visible under its final name, and return that."""
    with locked(place.exports), writable(place.folder):
        (folder / LOCK).unlink()
        final = place.folder / id
        folder.rename(final)
        return final


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Protect an export, staged or published, from retention.

    Raises Conflict if it was removed before.
    """
    with contextlib.ExitStack() as stack:
        with locked(folder.parent.parent):
            try:
                stack.enter_context(_flock(folder, fcntl.LOCK_SH, os.O_RDONLY))
            except FileNotFoundError:
                message = f"{folder} was removed in the meantime"
                raise Conflict(message, "Export it again.") from None
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
                    raise  # but not every network file system has locks
        yield


def is_held(folder: Path) -> bool:
    """Whether a process works on an export; call it with the lock of all exports held."""
    try:
        with _flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB, os.O_RDONLY):
            return False
    except OSError as error:
        return isinstance(error, BlockingIOError)


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn an OSError from writing a folder into an error with a hint."""
    try:
        yield
    except OSError as error:
        message = f"{folder} cannot be written: {error.strerror or error}"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise NotAllowed(message, "Choose another folder: --output DIR") from None
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            hint = "Free some space, for example with --retention-days 30, or use --output."
            raise SetupError(message, hint) from None
        if isinstance(error, (NotADirectoryError, FileExistsError)):
            message = f"{folder} is not a folder, and in the way"
            raise Invalid(message, "Move it away, or choose another folder: --output DIR") from None
        raise SetupError(message, "Try again, or choose another folder: --output DIR") from None


def _sweep(folder: Path) -> None:
    """Remove what dead processes left half-written; call it with the lock of all exports held."""
    for partial in folder.iterdir():
        if not PARTIAL.fullmatch(partial.name) or partial.is_symlink():
            continue
        # There is no lock file if the process died early, or late.
        with contextlib.suppress(OSError), _flock(partial / LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def locked(exports: Path) -> Iterator[None]:
    """Hold the lock of the exports folder: index pages are written by one process at a time."""
    with contextlib.ExitStack() as stack:
        with writable(exports):
            stack.enter_context(_flock(exports / LOCK, fcntl.LOCK_EX))
        yield


@contextlib.contextmanager
def _flock(path: Path, kind: int, flags: int = os.O_CREAT | os.O_RDWR) -> Iterator[None]:
    """Hold a lock of a file or a folder. Raises OSError."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
