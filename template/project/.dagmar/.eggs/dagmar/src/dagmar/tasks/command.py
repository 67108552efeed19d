"""What all tasks share: flags, errors as exit codes, the project, the server."""

from __future__ import annotations

import errno
import functools
import gc
import inspect
import itertools
import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast, get_origin

from invoke import Context, Exit, Task, task

from dagmar import console
from dagmar.errors import (
    DagmarError,
    Interrupted,
    SetupError,
    Terminated,
    Unreachable,
    UsageError,
    WrongServer,
)

if TYPE_CHECKING:
    from dagmar.project.settings import Settings
    from dagmar.server.catalog import Catalog
    from dagmar.server.client import DagsterClient

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
AT_A_LIMIT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
IN_USE = (errno.EBUSY, errno.ETXTBSY)
IN_THE_WAY = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ELOOP, errno.ENAMETOOLONG,
)  # fmt: skip
HINTS = {
    **dict.fromkeys(NO_ROOM, "Free some space."),
    **dict.fromkeys(AT_A_LIMIT, "End other programs, or raise the limits that `ulimit -a` shows."),
    **dict.fromkeys(IN_USE, "Another program is using it: end that one, and type this again."),
    **dict.fromkeys(
        IN_THE_WAY, "Check its permissions, and whether a file is in the place of a folder."
    ),
}
Many = Sequence[str]
Target = Annotated[str, "Target of dagmar.yaml to talk to."]
Url = Annotated[str, "Address of Dagster, instead of the target's."]
Json = Annotated[bool, "Print one JSON document on stdout."]


class Result(Protocol):
    """What a task returns: it knows its JSON document, what a person reads, and its status."""

    def as_document(self) -> Any:
        """Return what `--json` prints."""

    def show(self) -> None:
        """Print it for a person."""

    def raise_for_status(self) -> None:
        """Raise the DagmarError that is the exit status, or return."""


def command(function: Callable[..., Result | None]) -> Task[Any]:
    """Make an Invoke task of a function, print its result, turn errors into exit codes.

    The annotation of a flag has its help. A flag whose default is `()` may be repeated. The others
    are switches or text, even numbers. One that is given and empty (`--target "$UNSET"`) is
    refused, not treated as left out.
    """
    # To evaluate annotations takes longer, so our modules do not postpone them.
    signature = inspect.signature(function, eval_str=True)

    @functools.wraps(function)
    def body(context: Context, **flags: Any) -> None:
        with guarded(), sigterm_as_ctrl_c():
            _check_words(function.__name__, signature)
            result = function(context, **_given(flags))
            if result is None:
                return
            if flags.get("json"):
                console.document(result.as_document())
            else:
                result.show()
            result.raise_for_status()

    # With None as the default, a flag that was left out differs from an empty one.
    body.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[
            parameter.replace(default=None) if parameter.default in ("", ()) else parameter
            for parameter in signature.parameters.values()
        ]
    )
    flags = signature.parameters.items()
    hints = {flag: given.annotation for flag, given in flags}
    texts = {
        flag: hint.__metadata__[0] for flag, hint in hints.items() if get_origin(hint) is Annotated
    }
    repeated = [flag for flag, given in flags if given.default == ()]
    return cast("Task[Any]", task(body, auto_shortflags=False, iterable=repeated, help=texts))


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Let the garbage collector look less often in this block, which reads large answers.

    One with 10,000 assets is half a million objects, none of them garbage; to look through them
    again and again is a fifth of the processor time of `invoke discover`.
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the flags that were given. Raises UsageError for an empty one."""
    for name, value in flags.items():
        if value == "" or (isinstance(value, list) and "" in value):
            flag = name.strip("_").replace("_", "-")
            raise UsageError(f"--{flag} is empty", f"Give it a value, or leave --{flag} out.")
    return {name: value for name, value in flags.items() if value not in (None, [])}


@contextmanager
def guarded() -> Iterator[None]:
    """Turn what a user can cause into a message and an exit status."""
    try:
        yield
    except DagmarError as error:
        console.complain(error)
        raise Exit(code=error.exit_code) from None
    except KeyboardInterrupt:
        raise Exit(code=Interrupted.exit_code) from None
    except OSError as error:
        # Every number is a refusal of the operating system. What has none is our own mistake.
        if error.errno is None:
            raise
        logging.getLogger(__name__).debug("refused by the operating system", exc_info=True)
        with suppress(OSError):
            console.complain(_refusal(error))
        try:
            sys.stdout.flush()
        except OSError:  # it may be stdout that was refused, and Python would try again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Exit(code=SetupError.exit_code) from None


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end what is inside as Ctrl-C does, which cleans up; a second one kills."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # others cannot set a handler
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _refusal(error: OSError) -> SetupError:
    """Say what the operating system refused, and what helps."""
    if error.filename is not None:
        what = f"{error.filename} cannot be used"
    else:
        what = "cannot write" if error.errno in NO_ROOM else "the operating system refused"
    hint = HINTS.get(error.errno or 0, "`invoke --debug` with this task shows where it happened.")
    return SetupError(f"{what}: {error.strerror}", hint)


def _check_words(task: str, signature: inspect.Signature) -> None:
    """Raise UsageError for a second `--json`, and for `--asset a --asset`.

    Two documents on stdout cannot be parsed, and Invoke forgets a flag that was given before.
    """
    words = list(itertools.takewhile(lambda word: word != "--", sys.argv))
    if words.count("--json") > 1:
        raise UsageError("--json prints one document", "Give --json to one task only.")
    takes_value = {
        f"--{name.strip('_').replace('_', '-')}": not isinstance(parameter.default, bool)
        for name, parameter in signature.parameters.items()
    }
    names = [word.rpartition(".")[2] for word in words]  # it may be in a collection
    words = words[names.index(task) + 1 :] if task in names else []
    while words and words[0].startswith("-"):  # up to the next task
        word = words.pop(0)
        if takes_value.get(word):
            if not words or words[0] in takes_value:
                raise UsageError(f"{word} needs a value", f"Give it one, or leave {word} out.")
            words.pop(0)


def project_root(context: Context) -> Path:
    """Return the folder of the `tasks.py` that Invoke loaded."""
    return Path(context.config.dagmar.root)


@contextmanager
def open_server(
    context: Context, target: str, url: str
) -> Iterator[tuple[Settings, DagsterClient]]:
    """Yield the settings of the project, and a client of the target."""
    from dagmar.project.settings import load
    from dagmar.server.client import DagsterClient

    settings = load(project_root(context))
    flags = {"--target": target, "--url": url}
    given = " ".join(f"{flag} {shlex.quote(value)}" for flag, value in flags.items() if value)
    with DagsterClient(settings.target(target, url)) as client:
        console.server_is(given)  # once both are known to be valid
        yield settings, client


@contextmanager
def open_catalog(
    context: Context, target: str, url: str, absent: tuple[type[DagmarError], ...] = (Unreachable,)
) -> Iterator[tuple[Settings, Catalog]]:
    """Ask the running Dagster, or read the project's definitions if no target was named.

    The errors in `absent` mean that there is no Dagster to ask.
    """
    from dagmar.project.layout import CACHE
    from dagmar.server.catalog import read_catalog

    with open_server(context, target, url) as (settings, client):
        try:
            catalog = read_catalog(client, ("assets", "jobs"), settings.root / CACHE)
        except absent as error:
            if target or url:
                raise
            from dagmar.orchestration.definitions import read_definitions

            console.say(f"{error.message}; reading the project's definitions instead")
            catalog = read_definitions(settings.root)
        yield settings, catalog


@contextmanager
def catalog_if_any(context: Context, target: str, url: str) -> Iterator[Catalog | None]:
    """Read the catalog, or say why not; a server that was named must answer."""
    with ExitStack() as stack:
        try:
            absent = (Unreachable, WrongServer)
            _, catalog = stack.enter_context(open_catalog(context, target, url, absent))
        except DagmarError as error:
            if target or url:
                raise
            console.warn(f"assets and jobs are not looked up: {error.message}")
            catalog = None
        yield catalog
