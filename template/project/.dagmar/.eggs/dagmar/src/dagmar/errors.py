"""Everything that a user can cause or meet, and the exit status of each.

    DagmarError
    ├── UsageError           2   flags that do not go together, or a value that one does not take
    ├── SetupError           3   something is not installed or not set up
    │   ├── UnknownDagster   3   the installed Dagster lacks an internal that dagmar uses
    │   └── NotHere          3   no definitions can be loaded here, though no file is wrong
    ├── RunFailed            4   a run (or a notebook) failed or was cancelled
    ├── LoadFailed           4   an IO manager failed to load a value
    ├── Unreachable          5   Dagster does not answer
    │   ├── ServerEnded      5   a server of `invoke dev` ended by itself
    │   ├── UnexpectedAnswer 5   something answers, but not a Dagster version that dagmar supports
    │   ├── AnswerLost       5   a launch was sent and its answer is lost
    │   └── StorageFailed    5   a storage that exports are sent to does not answer
    ├── NotAllowed           6   refused by the server, the target's settings, or dagmar itself
    ├── Invalid              7   invalid settings, run config or notebook, or an unknown name
    │   ├── SettingsError    7   dagmar.yaml or an environment variable
    │   └── InvalidConfig    7   Dagster refuses the run config
    ├── Conflict             8   a port, a file, a merge or a task's name conflicts
    │   ├── WrongServer      8   the server on the default port has another project's code
    │   └── Unfinished       8   a migrated notebook has places that need a hand
    ├── TimedOut             9   `--timeout` has passed
    └── Interrupted        130   Ctrl-C, or SIGTERM

Status 1 is left to Invoke itself and to bugs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


class DagmarError(Exception):
    """What went wrong, what to do next, and the exit status.

    `command` is what to type, without `uv run`; `hint` is prose, with further commands in
    backticks; `meant` is the known name that each unknown one may stand for.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        hint: str = "",
        command: str = "",
        *,
        meant: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.command = command
        self.meant = dict(meant or {})

    def __str__(self) -> str:
        return "\n".join(filter(None, [self.message, self.suggestion]))

    @property
    def suggestion(self) -> str:
        """The hint and the command as one text, without `uv run`."""
        return suggestion(self.hint, self.command)


class UsageError(DagmarError):
    """The flags do not fit together, or one of them has a value that it does not take."""

    exit_code = 2


class SetupError(DagmarError):
    """Something is not installed or not set up."""

    exit_code = 3


class UnknownDagster(SetupError):
    """The installed Dagster lacks a name of its private API that dagmar uses."""


class NotHere(SetupError):
    """No definitions can be loaded here, though no file is wrong."""


class RunFailed(DagmarError):
    """A run failed, was cancelled, or could not be started."""

    exit_code = 4


class LoadFailed(DagmarError):
    """An IO manager failed to load a value; its own exception is the cause."""

    exit_code = 4


class Unreachable(DagmarError):
    """Dagster does not answer."""

    exit_code = 5


class ServerEnded(Unreachable):
    """A server that `invoke dev` had started ended by itself."""


class UnexpectedAnswer(Unreachable):
    """Something answers, but not as a Dagster that dagmar knows."""


class AnswerLost(Unreachable):
    """A request that changes something was sent, and its answer is lost."""


class StorageFailed(Unreachable):
    """A storage that exports are sent to does not answer, or the connection broke."""


class NotAllowed(DagmarError):
    """The server, the target's settings or a rule of dagmar forbids it."""

    exit_code = 6


class Invalid(DagmarError):
    """Settings, run config, a notebook or a name is not valid."""

    exit_code = 7


class SettingsError(Invalid):
    """`dagmar.yaml`, the user's configuration or an environment variable is not valid."""


class InvalidConfig(Invalid):
    """Dagster refuses a run config; `lines` has one for each problem."""

    lines: Sequence[str] = ()


class Conflict(DagmarError):
    """A port, a file, a merge or a name is in the way."""

    exit_code = 8


class WrongServer(Conflict):
    """The server that was found, and that nobody named, does not have this project's code."""


class Unfinished(Conflict):
    """A migrated notebook was written, and has places that somebody has to complete."""


class TimedOut(DagmarError):
    """It takes longer than allowed."""

    exit_code = 9


class Interrupted(DagmarError):
    """The user pressed Ctrl-C, or a CI sent SIGTERM."""

    exit_code = 130


class Terminated(KeyboardInterrupt):
    """SIGTERM, which a CI sends when it cancels a job; nobody is there to be asked."""


def all_of(errors: Sequence[DagmarError], total: int) -> DagmarError:
    """Return one error for those of several notebooks, of `total`.

    It has the status that they share, or that of RunFailed.
    """
    hint = "The reason for each is printed above."
    error = RunFailed(f"{len(errors)} of {total} notebooks failed", hint)
    if len(codes := {each.exit_code for each in errors}) == 1:
        error.exit_code = codes.pop()
    return error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like this one, or an empty string."""
    import difflib

    spelled = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), spelled)
    return spelled[near[0]] if near else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `" — did you mean 'x'?"` for the nearest known name, or an empty string."""
    near = nearest(name, known)
    return f" — did you mean '{near}'?" if near else ""


def some(names: list[str]) -> str:
    """Return the first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def cut(text: str, most: int) -> str:
    """Return text of at most this many characters, the last one an ellipsis if more follow."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def counted(number: int, what: str) -> str:
    """Return a number of things as text: `1 run`, `2,000 runs`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def suggestion(hint: str, command: str) -> str:
    """Join a hint and a command (a line for each): a hint ending with a colon leads to it."""
    if not command:
        return hint
    if "\n" in command:
        return f"{hint}\n    " + command.replace("\n", "\n    ")
    if hint.endswith(":"):
        return f"{hint} {command}"
    return "\n  ".join(filter(None, [f"Type: {command}", hint]))
