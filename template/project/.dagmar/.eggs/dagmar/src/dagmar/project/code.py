"""Which files of a project are code that its definitions may come from."""

from __future__ import annotations

import functools
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dagmar.failure import Failure

Stamp = tuple[int, int] | frozenset[str] | None
"""When a file was last changed, in nanoseconds, and its size; of a folder, its source files.

None if there is neither.
"""

SOURCES = (".py", ".yaml", ".yml")
# Folders in the project that its definitions are not imported from.
ELSEWHERE = {"__marimo__", "__pycache__", "node_modules", "notebooks", "site-packages", "tests"}
_FRAME = re.compile(r'^ *File "([^"\n]+)", line (\d+)', re.M)


def stamp(path: Path) -> Stamp:
    """Return the state of a file or a folder, to compare with a later one."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    if stat.S_ISDIR(state.st_mode):
        return _names(path, state.st_mtime_ns)
    return state.st_mtime_ns, state.st_size


@functools.lru_cache(maxsize=4096)
def _names(folder: Path, changed: int) -> frozenset[str]:
    """Return the names of a folder's sources and folders; data may be written next to the code."""
    inner = [path for path in folder.glob("*") if path.is_dir() and may_hold_code(path)]
    return frozenset(path.name for path in (*sources_in(folder), *inner))


def sources_in(folder: Path) -> list[Path]:
    """Return the sources of a folder, without those further down."""
    return [path for path in folder.glob("*") if path.suffix in SOURCES and path.is_file()]


def folders(package: Path) -> Iterator[Path]:
    """Yield a package's folder and the folders in it that code may be imported from."""
    for folder, inner, _ in os.walk(package):
        inner[:] = [name for name in inner if may_hold_code(Path(folder, name))]
        yield Path(folder)


def may_hold_code(folder: Path) -> bool:
    """Return whether code may be imported from a folder, as its name and content show."""
    name = folder.name
    return not (name in ELSEWHERE or name.startswith(".") or (folder / "pyvenv.cfg").exists())


def sources(package: Path) -> Iterator[Path]:
    """Yield the sources of a package's folder and of the folders in it."""
    for folder in folders(package):
        yield from sources_in(folder)


def may_be_imported(file: Path, folder: Path) -> bool:
    """Return whether a file in the folder is project code: not a test, a notebook or a library."""
    *parts, name = file.relative_to(folder).parts
    if ELSEWHERE & set(parts) or any(part.startswith(".") for part in parts):
        return False
    if name == "conftest.py" or name.startswith("test_"):
        return False
    environments = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    return not any(
        place != folder and place.is_relative_to(folder) and file.is_relative_to(place)
        for place in environments
    )


def last_place(root: Path, traceback: str, others: Sequence[Path] = ()) -> str:
    """Return the last place in the project that a traceback names: `src/shop/x.py, line 3`.

    A file in one of the `others` counts as well, and is named with its folder.
    An empty text if it names none.
    """
    for name, line in reversed(_FRAME.findall(traceback)):
        file = Path(name)
        for folder in (root, *others):
            if file.is_relative_to(folder) and may_be_imported(file, folder):
                return f"{file.relative_to(root) if folder == root else file}, line {line}"
    return ""


def not_loaded(root: Path, name: str, failure: Failure) -> str:
    """Return in one line that a code location does not load, and why; see `last_place`."""
    if failure.kind is None:  # it was loaded in this process, whose message says all of it
        return failure.message
    where = last_place(root.resolve(), failure.trace)
    return f"the code location '{name}' does not load: {failure.line}" + f" ({where})" * bool(where)
