"""Which exports may go, and their removal.

What may go is decided for each notebook, from its manifests: the newest successful export always
stays, the newest that an asset's page links to, and everything that no manifest of dagmar names.
"""

from __future__ import annotations

import contextlib
import gzip
import shutil
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

from dagmar.errors import Conflict
from dagmar.export import manifests
from dagmar.export.folders import LOCK, UNFINISHED, is_held, locked, writable
from dagmar.export.manifests import REMOVING, UPLOADING, Manifest
from dagmar.files import temporary_of

P = TypeVar("P")
ABANDONED = timedelta(days=1)
"""An upload that began so long ago and is not complete is not at work any more."""


def expired(
    exports: Sequence[tuple[P, Manifest]], days: float | None = None, keep: int | None = None
) -> list[tuple[P, Manifest]]:
    """Return the exports that may go: older than `days`, or beyond the newest `keep`.

    They may come in any order, and be of several notebooks, each of which is judged by itself.
    The newest `keep` are counted with failed ones. Half-removed exports go as well, and uploads
    that were interrupted more than a day ago.
    """
    now = datetime.now(timezone.utc)
    oldest = now - timedelta(days=days or 0)
    ordered = sorted(exports, key=lambda export: export[1].id, reverse=True)
    gone = [export for export in ordered if not export[1].whole and not _is_sent(export[1], now)]
    for notebook in dict.fromkeys(manifest.notebook for _, manifest in ordered):
        whole = [export for export in ordered if export[1].whole and export[1].notebook == notebook]
        newest_good = next((manifest.id for _, manifest in whole if manifest.ok), None)
        stays = {newest_good, newest_linked(whole)}
        for number, export in enumerate(whole):
            old = days is not None and export[1].started < oldest
            beyond = keep is not None and number >= keep
            if (old or beyond) and export[1].id not in stays:
                gone.append(export)
    return gone


def newest_linked(exports: Iterable[tuple[Any, Manifest]]) -> str | None:
    """Return the id of the first export, of those from new to old, that an asset links to."""
    return next((manifest.id for _, manifest in exports if manifest.attached), None)


@dataclass(frozen=True)
class Policy:
    """What may go of one notebook: older than `days`, or beyond the newest `keep`.

    `done_for` is the id of the export after which old ones go: it stays, and counts as a good one
    if it does not exist yet. `linked` is the id of the newest that an asset links to, and stays
    too: uploaded manifests do not know.
    """

    notebook: str
    days: float | None = None
    keep: int | None = None
    done_for: str = ""
    linked: str | None = None

    def choose(self, folder: Any) -> list[tuple[Any, Manifest]]:
        """Return the exports that may go, of those in a notebook's folder."""
        exports = [
            export for export in manifests.read_all(folder) if export[1].notebook == self.notebook
        ]
        if self.done_for and all(manifest.id != self.done_for for _, manifest in exports):
            planned = manifests.unwritten(self.notebook, manifests.OK, self.done_for)
            if self.linked == self.done_for:
                planned.attached.append({"asset": ""})
            exports.append((None, planned))
        gone = expired(exports, self.days, self.keep)
        return [export for export in gone if export[1].id not in (self.done_for, self.linked)]


def expire(exports: Path, name: str, policy: Policy, dry_run: bool = False) -> list[Path]:
    """Remove the exports on this machine that may go, and return their folders.

    What another process sends or links stays. Raises NotAllowed or SetupError.
    """
    if dry_run or not exports.is_dir():
        return [folder for folder, _ in policy.choose(exports / name)]
    with locked(exports):
        gone = [export for export in policy.choose(exports / name) if not is_held(export[0])]
        for folder, manifest in gone:
            remove(folder, manifest)
    return [folder for folder, _ in gone]


def expire_uploaded(exports: Any, name: str, policy: Policy, dry_run: bool = False) -> list[Any]:
    """Remove the exports in a bucket that may go, and return their folders."""
    gone = policy.choose(exports / name)
    for folder, manifest in () if dry_run else gone:
        _remove_uploaded(folder, manifest)
    return [folder for folder, _ in gone]


def _is_sent(manifest: Manifest, now: datetime) -> bool:
    """Whether a process may still be sending the files of an export that is not whole."""
    if manifest.status != UPLOADING:
        return False
    try:
        return datetime.fromisoformat(manifest.uploaded[-1]["since"]) > now - ABANDONED
    except (LookupError, TypeError, ValueError):
        return True  # dagmar does not write such a marker


def prove(folder: Path) -> tuple[Manifest | None, str]:
    """Return the manifest of an export that is unchanged, or None and the reason."""
    name = manifests.NAME
    if folder.is_symlink() or not folder.is_dir():
        return None, "it was not created by dagmar"
    file = folder / name
    if file.is_symlink() or (file.exists() and not file.is_file()):
        return None, f"its {name} is not a file"
    if not file.exists():
        return None, f"it has no {name}; it may be an export in progress"
    manifest = manifests.read(folder)
    if manifest is None:
        return None, f"its {name} cannot be read, or is of another export"
    named = {file.name: file for file in manifest.files}
    half_written = [temporary_of(known) for known in (name, *named)]
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            return None, "it contains a symlink, which dagmar does not create"
        if not path.is_file():
            return None, f"{path.name} is not a file"
        if path.name in (name, LOCK) or any(known.fullmatch(path.name) for known in half_written):
            continue
        if path.name not in named:
            return None, f"its {name} does not name {path.name}"
        if not _is_unchanged(folder, named[path.name]):
            return None, f"{path.name} was changed since"
    return manifest, ""


def remove(folder: Path, manifest: Manifest) -> None:
    """Remove an export on this machine: the files that its manifest names, as it names them.

    Files that were added or changed since stay, and missing ones are not an error. The caller
    holds the lock of all exports. Raises NotAllowed or SetupError.
    """
    with writable(folder), contextlib.suppress(FileNotFoundError):
        if prove(folder)[0]:
            _remove_at_once(folder)
            return
        (folder / manifests.NAME).unlink()
        for file in manifest.files:
            if _is_unchanged(folder, file):
                (folder / file.name).unlink()


def remove_whole(folder: Path) -> None:
    """Remove an export's folder. Raises Conflict if another process works on it."""
    with locked(folder.parent.parent):
        if is_held(folder):
            raise Conflict(f"{folder} is being sent or linked", "Try again when that is done.")
        _remove_at_once(folder)


def _remove_at_once(folder: Path) -> None:
    """Hide a folder, so that it goes at once, and then remove what is in it.

    If this process dies in between, the next export removes the rest.
    """
    hidden = folder.with_name(f".{folder.name}{UNFINISHED}")
    folder.rename(hidden)
    shutil.rmtree(hidden)


def _is_unchanged(folder: Path, file: manifests.File) -> bool:
    path = folder / file.name
    with contextlib.suppress(OSError):
        return not path.is_symlink() and manifests.describe(path) == file
    return False


def _remove_uploaded(folder: Any, manifest: Manifest) -> None:
    """Remove an uploaded export: first its manifest says so, and goes last.

    Files that were changed since stay, and missing ones are not an error.
    """
    file = folder / manifests.NAME
    removing = replace(manifest, status=REMOVING)
    with contextlib.suppress(FileNotFoundError):
        file.write_text(removing.as_text(), encoding="utf-8")
    for sent in manifest.files:
        with contextlib.suppress(FileNotFoundError):
            if _is_as_sent(folder / sent.name, sent):
                (folder / sent.name).unlink()
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    with contextlib.suppress(OSError, NotImplementedError):
        # A bucket has no folders. UPath's own rmdir would also remove what others put there.
        if folder.is_dir() and not any(folder.iterdir()):
            folder.fs.rmdir(folder.path)


def _is_as_sent(path: Any, file: manifests.File) -> bool:
    """Whether a file holds what was sent, which may have been compressed."""
    data = path.read_bytes()
    if manifests.digest(data) == file.sha256:
        return True
    with contextlib.suppress(OSError, EOFError, zlib.error):
        return manifests.digest(gzip.decompress(data)) == file.sha256
    return False
