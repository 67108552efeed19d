"""The variables that a project's Dagster sees: `.env`, the shell, and `invoke dev --env-file`."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dagmar.errors import UsageError
from dagmar.files import expanded, reading
from dagmar.project import devfile
from dagmar.project.layout import LOCAL_INSTANCE

if TYPE_CHECKING:
    from dotenv.parser import Binding

HOME = "DAGSTER_HOME"
# What was put into the environment, with the value that was there before.
_APPLIED: dict[str, tuple[str, str | None]] = {}


def read_environ(
    root: Path,
    env_file: str,
    environ: Mapping[str, str],
    warn: Callable[[str], None] | None = None,
) -> dict[str, str]:
    """Return the environment of the servers: `.env` over `environ` over `env_file`.

    Dagster itself reads the `.env` of the folder that it is started in, over everything else.
    Raises UsageError if `env_file` does not exist, or a file cannot be read or used.
    """
    if env_file and not Path(env_file).is_file():
        raise UsageError(f"there is no file {env_file}", "Give --env-file a file.")
    flag = _values(Path(env_file), warn) if env_file else {}
    dotenv = _values(root / ".env", warn)
    for name in sorted(flag.keys() & dotenv.keys()):
        if warn and flag[name] != dotenv[name]:
            warn(f"{name} is in {env_file} and in .env, which wins: Dagster reads it last")
    return {**flag, **environ, **dotenv}


def current_environ(root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what `read_environ` does, with the file and the home of a running `invoke dev`.

    Its DAGSTER_HOME may come from a shell that this process does not know, so it wins.
    """
    running = devfile.read(root)
    env_file = running.env_file if running else None
    found = read_environ(root, env_file if env_file and Path(env_file).is_file() else "", environ)
    if running and running.dagster_home:
        found[HOME] = running.dagster_home
    return found


def named_home(root: Path, environ: Mapping[str, str]) -> str:
    """Return the DAGSTER_HOME of the project's Dagster; empty means the project's own instance."""
    try:
        return current_environ(root, environ).get(HOME, "")
    except UsageError:  # `invoke dev` and `invoke doctor` report what is wrong with `.env`
        return environ.get(HOME, "")


def complete_environ(root: Path) -> None:
    """Add what this process lacks of the project's variables; a code location may have its own."""
    with contextlib.suppress(UsageError):
        # What has been set to another value since then is the process's again.
        applied = {
            name: value for name, (value, _) in _APPLIED.items() if os.environ.get(name) == value
        }
        apply_environ({**current_environ(root, own_environ()), **applied})


def instance_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """Return the folder of the project's Dagster instance, which may not exist."""
    named = named_home(root, environ)
    return expanded(named) if named else root / LOCAL_INSTANCE


def own_environ() -> dict[str, str]:
    """Return this process's environment as it was before `apply_environ`."""
    environ = dict(os.environ)
    for name, (value, before) in _APPLIED.items():
        if environ.get(name) == value:
            if before is None:
                del environ[name]
            else:
                environ[name] = before
    return environ


def apply_environ(environ: dict[str, str]) -> None:
    """Give this process the environment that the project's Dagster has."""
    before = own_environ()
    for name in _APPLIED.keys() - environ.keys():
        if name not in before:
            os.environ.pop(name, None)
    _APPLIED.clear()
    for name, value in environ.items():
        if before.get(name) != value:
            _APPLIED[name] = value, before.get(name)
        if os.environ.get(name) != value:
            os.environ[name] = value


def _values(file: Path, warn: Callable[[str], None] | None) -> dict[str, str]:
    if not file.is_file():
        return {}
    with reading(file, UsageError):
        state = file.stat()
        values = _read(file, state.st_mtime_ns, state.st_size)
        if warn:
            for binding, line in bindings(file):
                if binding.error:
                    warn(f"{file.name}:{line}: this is not a NAME=value line, and is ignored")
    return values


@functools.lru_cache(maxsize=8)
def _read(file: Path, changed_ns: int, size: int) -> dict[str, str]:
    from dotenv import dotenv_values

    # It would log each bad line, without the name of the file.
    log, silence = logging.getLogger("dotenv.main"), logging.Filter("another logger")
    log.addFilter(silence)
    try:
        lines = dotenv_values(file, encoding="utf-8")
    finally:
        log.removeFilter(silence)
    values = {name: value for name, value in lines.items() if value is not None}
    for name, value in values.items():
        # What the system refuses in an environment; the message never prints a value.
        if not name or "=" in name or "\0" in f"{name}{value}":
            shown = name.partition("=")[0].replace("\0", "")
            message = f"{file} sets a variable that cannot be passed to a program: '{shown}…'"
            hint = "A name has no '=' in it, and neither a name nor a value a null character."
            raise UsageError(message, hint)
    return values


def bindings(file: Path) -> Iterator[tuple[Binding, int]]:
    """Yield the entries of a `.env` file and their lines. Raises OSError, UnicodeDecodeError."""
    from dotenv.parser import parse_stream

    with file.open(encoding="utf-8") as stream:
        for binding in parse_stream(stream):
            # A binding starts with the blank lines and comments above it.
            text = binding.original.string
            blank = len(text) - len(text.lstrip())
            yield binding, binding.original.line + text[:blank].count("\n")
