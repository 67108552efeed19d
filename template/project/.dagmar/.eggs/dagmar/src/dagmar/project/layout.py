"""Where things are in a project: its root, and the content of `.dagmar`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from dagmar.errors import SetupError

OTHERS = 0o007
SETTINGS_FILE = "dagmar.yaml"
DAGMAR = Path(".dagmar")
RUNNER = DAGMAR / ".eggs" / "dagmar"
"""The copied runner: linters and formatters skip the folder `.eggs`."""
CACHE = DAGMAR / "cache"
LOGS = DAGMAR / "logs"
SCRATCH = DAGMAR / "tmp"
EXPORTS = DAGMAR / "exports"
WORKING = (CACHE, EXPORTS, LOGS, SCRATCH)
"""The folders that stay out of git."""
DEV_FILE = SCRATCH / "dev.json"
LOCAL_INSTANCE = DAGMAR / "dagster_home"
NOTEBOOK_ANSWERS = DAGMAR / "notebooks"
IGNORE = DAGMAR / ".gitignore"
SCHEMA = DAGMAR / "settings.schema.json"
SHARED_ASSETS = EXPORTS / "_marimo"
LOGIN_PAGE = SCRATCH / "marimo.html"
SESSION_NOTE = SCRATCH / "session"
STARTED_WITH = SCRATCH / "workspace.yaml"
"""What `invoke dev` starts Dagster with if no file that Dagster reads has it."""
UPDATE_ANSWERS = SCRATCH / "update.yml"
SCAFFOLD_PREFIX = "scaffold-"
"""The prefix of the folders in SCRATCH in which scaffolded notebooks are checked."""
OWN_IGNORE = ".gitignore"
_EVERYTHING = "# Written by dagmar. To commit what is here, add a line: !*\n*\n"
_KEPT_OUT = dict.fromkeys(WORKING, _EVERYTHING) | {
    LOCAL_INSTANCE: "# Written by dagmar.\n*\n!/dagster.yaml\n"
}
"""What each of these folders tells git, whether or not a file above it does."""


def make_folder(folder: Path) -> None:
    """Create a folder with all above it. What is in `.dagmar` is private to its owner.

    It has what a server knows: logs, run config, values. A folder that is there, as git creates
    it, is closed to others; it stays open to its group if that has been allowed. Raises OSError.
    """
    if DAGMAR.name not in folder.parts:
        folder.mkdir(parents=True, exist_ok=True)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    mode = folder.stat().st_mode & 0o7777
    if mode & OTHERS:
        # It may be another user's, who decides, or on a disk that is read-only or has no modes.
        with contextlib.suppress(OSError):
            folder.chmod(mode & ~OTHERS)
    if folder.parent.name == DAGMAR.name:
        keep_out_of_git(folder.parent.parent)


def keep_out_of_git(root: Path) -> list[Path]:
    """Hide the working folders that are there from git; return those that were not hidden yet."""
    names = unhidden(root)
    for name in names:
        _keep_out(root / name, _KEPT_OUT[name])
    return names


def unhidden(root: Path) -> list[Path]:
    """Return the working folders without a .gitignore; git sees them if no other file hides them.

    An empty one was not completed. The target of a link belongs to somebody else.
    """
    folders = [
        name for name in _KEPT_OUT if (root / name).is_dir() and not (root / name).is_symlink()
    ]
    files = {name: root / name / OWN_IGNORE for name in folders}
    return [name for name, file in files.items() if not (file.is_file() and file.stat().st_size)]


def _keep_out(folder: Path, text: str) -> None:
    with contextlib.suppress(OSError):  # the disk is full or read-only, or it is another user's
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with open(os.open(folder / OWN_IGNORE, flags, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)


def find_root(start: Path) -> Path:
    """Return the nearest folder upwards that holds dagmar.yaml. Raises SetupError if none does."""
    for folder in (start, *start.parents):
        if (folder / SETTINGS_FILE).is_file():
            return folder
    message = f"{start} is not in a project: no folder above it holds {SETTINGS_FILE}"
    raise SetupError(message, "Keep the notebook in the project's notebooks folder.")


def relative(file: Path, root: Path) -> str:
    """Return a path as the user would type it in the project, or whole if it is elsewhere."""
    for base in (root, root.resolve()):
        if file.is_relative_to(base):
            return file.relative_to(base).as_posix()
    return str(file)


def folder_of(file: object) -> Path:
    """Return the folder of a notebook's file, or the working directory without one."""
    if isinstance(file, str) and os.path.isfile(file):
        return Path(file).resolve().parent
    return Path.cwd()
