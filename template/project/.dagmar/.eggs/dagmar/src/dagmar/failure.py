"""Why a step of a run, a cell of a notebook or a code location failed."""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

_DAGSTER_FRAME = re.compile(
    r'File ".*(-packages|\.whl)[/\\](dagster|dagster_shared|dagster_graphql)[/\\]|File "<frozen |'
    r'File ".*[/\\]dagmar[/\\]orchestration[/\\](steps|isolated)\.py"'
)
_IMPORTS = re.compile(
    r'File "<frozen |File ".*[/\\]([Ll]ib|python3[^/\\]*)[/\\]importlib[/\\]__init__\.py"'
)
# Of Python, of libraries, and of dagmar.
_PACKAGES = {"site-packages", "dist-packages"}
_OTHERS = (sysconfig.get_path("stdlib"), str(Path(__file__).parent), "<frozen ")


@dataclass(frozen=True)
class Failure:
    """The exception that the user's code raised, or what is known instead.

    `place` is the step or the cell; a code location has none, nor has what failed outside of
    steps. `kind` is the class of the exception.
    """

    message: str
    kind: str | None = None
    traceback: str | None = None
    place: str | None = None

    @classmethod
    def from_exception(cls, error: BaseException) -> Failure:
        """Return the failure that an exception is.

        Frames that are not the user's are removed from the exception and from what led to it.
        """
        raised, seen = [error], dict[int, BaseException]()
        while raised:
            each = raised.pop()
            if id(each) not in seen:
                seen[id(each)] = each
                each.__traceback__ = user_frames(each.__traceback__)
                raised += filter(None, (each.__cause__, each.__context__))
        for each in seen.values():
            while _repeats(each, each.__context__):  # as Dagster raises a SyntaxError again
                each.__context__ = each.__context__ and each.__context__.__context__
        trace = "".join(traceback.format_exception(error))
        return cls(str(error), type(error).__name__, trace)

    @classmethod
    def from_graphql(cls, error: Mapping[str, Any], place: str | None = None) -> Failure:
        """Return the user's own exception out of a GraphQL `PythonError`.

        Dagster wraps what user code raises; the first link of its chain is what was raised,
        the further ones are what that was raised from. Dagster's own frames above the user's
        are left out.
        """
        chain = [link["error"] for link in error.get("errorChain") or []] or [error]
        raised = chain[0]
        kind = raised.get("className") or "Error"
        # That of a syntax error begins with its place and its line.
        where = r'(File "[^"\n]*", line \d+\n(.*\n)*)?'
        message = re.sub(rf"^{where}([\w.]+\.)?{re.escape(kind)}: ", "", raised["message"].strip())
        traces = [_traceback(link) for link in reversed(chain)]
        return cls(message, kind, "\nwhich led to:\n\n".join(traces), place)

    @classmethod
    def from_document(cls, document: Mapping[str, Any], place: str = "") -> Failure:
        """Return the failure that `as_document` wrote. Raises KeyError, TypeError."""
        texts = (document["message"], document["class"], document["traceback"])
        failure = cls(*texts, document[place] if place else None)
        if not isinstance(failure.message, str) or not all(
            isinstance(text, str | None) for text in vars(failure).values()
        ):
            raise TypeError(document)
        return failure

    def as_document(self, place: str = "") -> dict[str, str | None]:
        """Return the JSON document; `place` is what it calls the place: `step` or `cell`."""
        where = {place: self.place} if place else {}
        return {**where, "class": self.kind, "message": self.message, "traceback": self.traceback}

    @property
    def text(self) -> str:
        """The exception as Python prints it: `ValueError: no such table`."""
        return f"{self.kind}: {self.message}" if self.kind else self.message

    @property
    def line(self) -> str:
        """The class, and the first line of the message that is not blank."""
        lines = (line.strip() for line in self.message.splitlines())
        return Failure(next(filter(None, lines), ""), self.kind).text

    @property
    def trace(self) -> str:
        """The traceback without its last newline; empty if there is none."""
        return (self.traceback or "").rstrip()


def _traceback(error: Mapping[str, Any]) -> str:
    frames, message = list(error["stack"]), error["message"].strip()
    patterns = (_DAGSTER_FRAME, _IMPORTS)
    theirs = [
        i for i, frame in enumerate(frames) if not any(each.search(frame) for each in patterns)
    ]
    if message.startswith('File "'):  # that of a syntax error is the last place of the user
        theirs.append(len(frames))
    shown = [
        frame
        for i, frame in enumerate(frames)
        if not theirs or (i >= theirs[0] and not (i < theirs[-1] and _IMPORTS.search(frame)))
    ]
    return "".join([*shown, message, "\n"])


def _repeats(error: BaseException, earlier: BaseException | None) -> bool:
    """Whether what was raised earlier says no more than the error, and has no frames."""
    if earlier is None or earlier is error or earlier.__traceback__:
        return False
    return type(earlier) is type(error) and str(earlier) == str(error)


def user_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of dagmar, of Python and of installed packages."""
    frames, kept = [], None
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(_OTHERS) and _PACKAGES.isdisjoint(Path(file).parts):
            frames.append(trace)
        trace = trace.tb_next
    for own in reversed(frames):
        kept = TracebackType(kept, own.tb_frame, own.tb_lasti, own.tb_lineno)
    return kept
