"""Which exports may go, and their removal.

What may go is decided for one notebook at a time, from its manifests: the newest successful
export always stays, the newest that an asset's page links to, and what no manifest of ours names.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import shutil
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

from dagmar.errors import Conflict
from dagmar.export import manifests
from dagmar.export.folders import LOCK, is_held, locked, writable
from dagmar.export.manifests import REMOVING, UPLOADING, Manifest
from dagmar.files import temporary_of

P = TypeVar("P")
ABANDONED = timedelta(days=1)
"""An upload that was begun so long ago, and never ended, is nobody's work any more."""


def expired(
    exports: Sequence[tuple[P, Manifest]],
    days: float | None = None,
    keep: int | None = None,
    now: datetime | None = None,
) -> list[tuple[P, Manifest]]:
    """Return the exports that may go: older than `days`, or beyond the newest `keep`.

    Each notebook is looked at for itself, also where several share a folder. Whatever the order
    that they come in, the newest `keep` are counted, failed ones too. What was half removed goes
    as well, and what was half sent more than a day ago.
    """
    now = now or datetime.now(timezone.utc)
    oldest = now - timedelta(days=days or 0)
    ordered = sorted(exports, key=lambda one: one[1].id, reverse=True)
    gone = [one for one in ordered if not one[1].whole and not _is_at_work(one[1], now)]
    for notebook in dict.fromkeys(manifest.notebook for _, manifest in ordered):
        whole = [one for one in ordered if one[1].whole and one[1].notebook == notebook]
        stays = {
            next((manifest.id for _, manifest in whole if manifest.ok), None),
            newest_linked(whole),
        }
        for number, one in enumerate(whole):
            old = days is not None and one[1].started < oldest
            beyond = keep is not None and number >= keep
            if (old or beyond) and one[1].id not in stays:
                gone.append(one)
    return gone


def newest_linked(exports: Iterable[tuple[Any, Manifest]]) -> str | None:
    """Return the id of the first export, of those from new to old, that an asset links to."""
    return next((manifest.id for _, manifest in exports if manifest.attached), None)


@dataclass(frozen=True)
class Policy:
    """What may go of one notebook: older than `days`, or beyond the newest `keep`.

    `done_for` is the id of the export after which old ones go: it stays, and counts as a good one
    where it is still to come. `linked` is the id of the newest that an asset links to, and stays
    too: manifests that were uploaded do not tell.
    """

    notebook: str
    days: float | None = None
    keep: int | None = None
    done_for: str = ""
    linked: str | None = None

    def choose(self, exports: Iterable[tuple[Any, Manifest]]) -> list[tuple[Any, Manifest]]:
        """Return the exports that may go, of those in a folder."""
        found = [one for one in exports if one[1].notebook == self.notebook]
        if self.done_for and all(manifest.id != self.done_for for _, manifest in found):
            coming = Manifest(self.notebook, "", "", self.done_for, manifests.OK, "", "", 0.0)
            if self.linked == self.done_for:
                coming.attached.append({"asset": ""})
            found.append((None, coming))
        gone = expired(found, self.days, self.keep)
        return [one for one in gone if one[1].id not in (self.done_for, self.linked)]


def expire(exports: Path, name: str, policy: Policy, dry_run: bool = False) -> list[Path]:
    """Remove the exports of this machine that may go, and return their folders.

    What another process is sending stays. Raises NotAllowed or SetupError.
    """
    if dry_run or not exports.is_dir():
        return [folder for folder, _ in policy.choose(manifests.read_all(exports / name))]
    with locked(exports):
        found = policy.choose(manifests.read_all(exports / name))
        gone = [(folder, manifest) for folder, manifest in found if not is_held(folder)]
        for folder, manifest in gone:
            remove(folder, manifest)
    return [folder for folder, _ in gone]


def _is_at_work(manifest: Manifest, now: datetime) -> bool:
    """Whether somebody may be sending the files of an export that is not whole."""
    if manifest.status != UPLOADING:
        return False
    try:
        return datetime.fromisoformat(manifest.uploaded[-1]["since"]) > now - ABANDONED
    except (LookupError, TypeError, ValueError):
        return True  # no marker of ours looks so


def prove(folder: Path) -> tuple[Manifest | None, str]:
    """Return the manifest of an export that is as it was made, or None and why it is not."""
    name = manifests.NAME
    if folder.is_symlink() or not folder.is_dir():
        return None, "dagmar did not make it"
    file = folder / name
    if file.is_symlink() or (file.exists() and not file.is_file()):
        return None, f"its {name} is no file"
    if not file.exists():
        return None, f"it has no {name}; it may be an export at work"
    manifest = manifests.read(folder)
    if manifest is None:
        return None, f"its {name} cannot be read, or is of another export"
    named = {one.name: one for one in manifest.files}
    half_written = _half_written(manifest)
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            return None, "it holds a symlink, which dagmar does not make"
        if not path.is_file():
            return None, f"{path.name} is no file"
        if path.name in (name, LOCK) or half_written(path.name):
            continue
        if path.name not in named:
            return None, f"its {name} does not name {path.name}"
        if not _is_as_made(folder, named[path.name]):
            return None, f"{path.name} was changed since"
    return manifest, ""


def remove(folder: Path, manifest: Manifest) -> None:
    """Remove an export of this machine: the files that its manifest names, as it names them.

    Files that were added or changed since are left, and what is gone already is well. The caller
    holds the lock of all exports. Raises NotAllowed or SetupError.
    """
    with writable(folder), contextlib.suppress(FileNotFoundError):
        ours = {file.name for file in manifest.files if _is_as_made(folder, file)}
        half_written = _half_written(manifest)
        there = {file.name for file in folder.iterdir() if not half_written(file.name)}
        if there <= {*ours, manifests.NAME, LOCK}:
            _remove_at_once(folder)
            return
        (folder / manifests.NAME).unlink()
        for name in ours:
            (folder / name).unlink()


def _half_written(manifest: Manifest) -> Callable[[str], bool]:
    """Return what knows the names that are left where a process died at work on an own file."""
    names = (manifests.NAME, *(file.name for file in manifest.files))
    patterns = [temporary_of(name) for name in names]
    return lambda name: any(pattern.fullmatch(name) for pattern in patterns)


def remove_whole(folder: Path) -> None:
    """Remove an export's folder. Raises Conflict where another process is at work on it."""
    with locked(folder.parent.parent):
        if is_held(folder):
            raise Conflict(f"{folder} is being sent or linked", "Try again when that is done.")
        _remove_at_once(folder)


def _remove_at_once(folder: Path) -> None:
    """Hide a folder, so that it goes at once, and then remove what is in it.

    Where this process dies in between, the next export sweeps it up.
    """
    hidden = folder.with_name(f".{folder.name}.partial")
    folder.rename(hidden)
    shutil.rmtree(hidden)


def _is_as_made(folder: Path, file: manifests.File) -> bool:
    path = folder / file.name
    with contextlib.suppress(OSError):
        return not path.is_symlink() and manifests.describe(path) == file
    return False


def remove_remote(folder: Any, manifest: Manifest) -> None:
    """Remove an export that was uploaded: first its manifest says so, and goes last.

    Files that were changed since are left, and what is gone already is well.
    """
    file = folder / manifests.NAME
    removing = replace(manifest, status=REMOVING)
    with contextlib.suppress(FileNotFoundError):
        file.write_text(removing.as_text(), encoding="utf-8")
    for one in manifest.files:
        with contextlib.suppress(FileNotFoundError):
            if _is_as_sent(folder / one.name, one):
                (folder / one.name).unlink()
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    with contextlib.suppress(OSError, NotImplementedError):
        # A bucket has no folders. UPath's own rmdir would remove what others put there, too.
        if folder.is_dir() and not any(folder.iterdir()):
            folder.fs.rmdir(folder.path)


def _is_as_sent(path: Any, file: manifests.File) -> bool:
    """Whether a file holds what was sent, which may have been packed."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() == file.sha256:
        return True
    with contextlib.suppress(OSError, EOFError, zlib.error):
        return hashlib.sha256(gzip.decompress(data)).hexdigest() == file.sha256
    return False
