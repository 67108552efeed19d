"""Files that are never half-written, and text files that may be unreadable."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dagmar.errors import DagmarError, SetupError

# What PyYAML raises if a text is not what its tag says (`!!bool x`, `2020-13-45`), or too deep.
UNREADABLE = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)
UNUSABLE = "a null character, or half of a surrogate pair"
READABLE = "Check that it is text in UTF-8, and that you may read it."
CHECK_PATH = "Check its name, and the folder in which it is looked for."


@contextlib.contextmanager
def reading(name: object, kind: type[DagmarError]) -> Iterator[None]:
    """Read the text file `name` in this context, which raises `kind` if that cannot be done."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        hint = CHECK_PATH if missing else READABLE
        raise kind(f"{name} cannot be read: {reason}", hint) from None


def read_toml(file: Path) -> dict[str, Any]:
    """Return a TOML file; a missing one is empty. Raises SetupError for one that is not valid."""
    try:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
    except ModuleNotFoundError:  # a hook of the template, under Copier's Python 3.10
        version = ".".join(map(str, sys.version_info[:2]))
        message = f"{file.name} is not read: Python {version} has no tomllib"
        raise SetupError(message, "Run Copier with Python 3.11 or newer.") from None
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SetupError(f"{file} cannot be read: {error.strerror}", READABLE) from None
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or nested too deeply
        raise SetupError(f"{file} is not valid TOML: {error}", "Correct the file.") from None
    for path in unusable(document):
        raise SetupError(f"{file}: '{'.'.join(path)}' has {UNUSABLE}", "Correct the file.")
    return document


def unusable(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where a document has text that the system takes neither as a path nor as an argument.

    That is a null character, or half of a surrogate pair. Raises RecursionError for a cycle.
    """
    if isinstance(value, str):
        try:
            if b"\0" in os.fsencode(value):
                yield path
        except UnicodeEncodeError:
            yield path
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from unusable(str(key), (*path, str(key)))
            yield from unusable(inner, (*path, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from unusable(inner, (*path, str(index)))


def encodable(text: str) -> str:
    r"""Return text that a file can hold: half of a surrogate pair is escaped, as `\udce9`.

    Python has them in file names that are not UTF-8.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def expanded(path: str) -> Path:
    """Return a path with `~` as the home folder; without such a user it stays, as in a shell.

    `Path.expanduser` would raise RuntimeError then.
    """
    return Path(os.path.expanduser(path))


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes and threads that do the same with this folder waiting."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # NFS has no locks of folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def temporary_of(name: str) -> re.Pattern[str]:
    """Return the names of what is left where a process died while it wrote the file `name`."""
    return re.compile(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}")


def write_atomically(file: Path, text: str | bytes, mode: int | None = None) -> None:
    """Write `text` to `file`, which then holds either all of it or what it held before.

    Makes the folder; keeps the file's mode unless one is given, and the symlink that it may be
    reached by. Raises OSError.
    """
    file = file.resolve()
    with _beside(file, text, mode) as temporary:
        temporary.replace(file)


def write_all(texts: Mapping[Path, str | bytes]) -> None:
    """Write all these files or none: a disk that is full leaves what was there.

    Raises OSError.
    """
    before: dict[Path, Path | None] = {}
    with contextlib.ExitStack() as stack:
        files = {file.resolve(): text for file, text in texts.items()}
        ready = {file: stack.enter_context(_beside(file, text)) for file, text in files.items()}
        try:
            # From here on nothing needs room but names.
            for file, temporary in ready.items():
                before[file] = _kept(file)
                temporary.replace(file)
        except BaseException:
            for file, kept in before.items():
                with contextlib.suppress(OSError):
                    if kept:
                        kept.replace(file)
                    elif not ready[file].exists():
                        file.unlink(missing_ok=True)
            raise
    for kept in before.values():
        if kept:
            kept.unlink(missing_ok=True)


def _kept(file: Path) -> Path | None:
    """Return a second name of what a file holds now; None where there is no file."""
    if not file.exists():
        return None
    kept = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    os.link(file, kept)  # refuses a name that is taken
    return kept


@contextlib.contextmanager
def _beside(file: Path, text: str | bytes, mode: int | None = None) -> Iterator[Path]:
    """Write the text into a temporary file in the same folder, which goes with an error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode() if isinstance(text, str) else text)
        temporary.chmod(_mode(file) if mode is None else mode)
        yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _mode(file: Path) -> int:
    """Return the mode of `file`, or the one that a new file would get."""
    try:
        return file.stat().st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
