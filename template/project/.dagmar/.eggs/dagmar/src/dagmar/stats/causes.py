"""Failures grouped by their cause: the same step or cell, exception and normalized message.

A message is normalized so that it is equal whenever the cause is: what differs from run to run is
replaced by a placeholder.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.server.runs import in_utc
from dagmar.stats.records import FailureRecord

LONGEST = 300
"""Characters of a normalized message."""
LONGEST_MESSAGE = 3000
"""Characters of a message as it was: what the cache and the document have of it."""
MOST_CAUSES = 200
MOST_NAMES = 100
"""Distinct partitions, and assets, that are kept of one cause."""
MOST_TO_RETRY = 10
"""Partitions, and assets, in one command."""
PLACEHOLDERS = ("partition", "url", "path", "time", "id", "value", "n")

_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_RULES = {
    "kept": rf"<(?:{'|'.join(PLACEHOLDERS)})>",
    "value": r"(?<!\w)'[^']*'(?!\w)|(?<!\w)\"[^\"]*\"(?!\w)|(?<!\w)`[^`]*`(?!\w)",
    "url": r"\b[a-z][a-z0-9+.]*://[^\s<>()'\"]+",
    "path": r"(?<![\w.])(?:[A-Za-z]:|~|\.{1,2})?(?:[\\/][\w.@%+~=-]+){2,}[\\/]?"
    r"|(?<![\w.\\/])[\w.-]+(?:[\\/][\w.=-]+)+\.[A-Za-z]\w*",
    "time": r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?"
    r"(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?)?"
    r"|\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?"
    rf"(?:\d{{1,2}} {_MONTH}|{_MONTH} \d{{1,2}})\b",
    "id": r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b0x[0-9a-fA-F]+\b"
    r"|\b(?=[a-fA-F]*\d)(?=\d*[a-fA-F])[0-9a-fA-F]{7,}\b|\b\w*[A-Za-z_]\w*\d{4,}\w*",
    "n": r"(?<![\w.])[-+]?\d+(?:[.,:_]\d+)*(?:[eE][-+]?\d+)?(?![A-Za-z_]{4}|[\d_])",
}
_VARYING = re.compile("|".join(f"(?P<{name}>{rule})" for name, rule in _RULES.items()), re.ASCII)
_KEPT = re.compile(f"({_RULES['kept']})")
_WORD = re.compile(r"\w")
_SEPARATOR = r"[/\\]"
_SPACE = re.compile(r"\s+")
# What Dagster logs of a run whose steps failed, and of a step whose upstream steps failed.
_UPSTREAM = re.compile(
    r"(?:Execution of run for .* failed\. )?Steps failed: \["
    r"|Dependencies for step \S+ (?:failed|were)"
)
# A frame of the user's below marimo's `app.run()` is in a cell; its traceback names the line.
_IN_CELL = re.compile(
    r'[/\\]marimo[/\\]_runtime[/\\].*\n(?:    .*\n)*  File "(?P<file>[^"\n]*?[^/\\"\n]+\.py)", '
    r"line (?P<line>\d+), in <module>"
)


def is_cause(failure: FailureRecord) -> bool:
    """Whether a failure is one by itself, and does not only report that another step failed."""
    return not _UPSTREAM.match(failure.message)


def cell_of(traceback: str) -> str | None:
    """Return the cell that failed in a notebook run by `app.run()`: `sales.py, line 14`.

    marimo's traceback has the line of the notebook's file, and not the cell's name.
    """
    frames = [*_IN_CELL.finditer(traceback[-20_000:])]
    if not frames:
        return None
    found = frames[-1]
    return f"{re.split(_SEPARATOR, found['file'])[-1]}, line {found['line']}"


def normalize(message: str, partition: str | None = None) -> str:
    """Return the first line of a message, with placeholders for what differs from run to run.

    A normalized message stays as it is: rules are applied until none fits. That ends, as each
    replacement leaves fewer characters outside of placeholders.
    """
    lines = (_SPACE.sub(" ", line).strip() for line in message[:LONGEST_MESSAGE].splitlines())
    text = next(filter(None, lines), "")
    before = None
    while text != before:
        before = text
        text = text[:LONGEST].rstrip()
        if partition:
            text = _without(partition, text)
        text = _VARYING.sub(_placeholder, text)
    return text


def _without(partition: str, text: str) -> str:
    """Replace a partition key, and the keys of its dimensions, where they are whole words."""
    for key in sorted({partition, *partition.split("|")}, key=len, reverse=True):
        if len(key) > 1 and key in text:
            pieces = _KEPT.split(text)
            pieces[::2] = (_without_word(key, piece) for piece in pieces[::2])
            text = "".join(pieces)
    return text


def _without_word(word: str, text: str) -> str:
    text, *others = text.split(word)
    for other in others:
        part = _WORD.match(text[-1:]) or _WORD.match(other)
        text += (word if part else "<partition>") + other
    return text


def _placeholder(match: re.Match[str]) -> str:
    kind = match.lastgroup
    return match[0] if kind == "kept" else f"<{kind}>"


@dataclass
class Cause:
    """Failures of one cause. Times are seconds since 1970; `newest` is the run to look at.

    `partitions` and `assets` are at most `MOST_NAMES` of them. `partitioned` is the number of
    failures that have a partition.
    """

    newest: FailureRecord
    message: str
    count: int = 0
    first: float = float("inf")
    partitioned: int = 0
    partitions: dict[str, None] = field(default_factory=dict)
    assets: dict[AssetKey, None] = field(default_factory=dict)

    def add(self, failure: FailureRecord) -> None:
        """Count a failure."""
        self.count += 1
        self.first = min(self.first, failure.at)
        if failure.at >= self.newest.at:
            self.newest = failure
        if failure.partition:
            self.partitioned += 1
            _keep(self.partitions, failure.partition)
        for key in failure.assets:
            _keep(self.assets, key)

    @property
    def shared_partition(self) -> str | None:
        """The partition of all these failures, if they share one."""
        if len(self.partitions) == 1 and self.partitioned == self.count:
            return next(iter(self.partitions))
        return None

    @property
    def retry(self) -> str:
        """What to type to do again what failed.

        It is the newest run if that is enough, else the assets with the partitions that failed.
        """
        assets = [shlex.quote(key) for key in self.assets]
        partitions = [] if self.partitioned < self.count else [*self.partitions]
        ranges = any("..." in key for key in partitions)
        several = len(partitions) > 1 and not ranges and 0 < len(assets) <= MOST_TO_RETRY
        if not several and not (self.newest.here and assets):
            return f"invoke run --retry {shlex.quote(self.newest.run_id)}"
        words = ["invoke run", *(f"--asset {key}" for key in assets[:MOST_TO_RETRY])]
        if not several:
            partitions = [self.newest.partition] if self.newest.partition else []
        if len(partitions) <= MOST_TO_RETRY:
            words += [f"--partition {shlex.quote(key)}" for key in partitions]
        else:
            words.append("--failed")
        return " ".join(words)

    @property
    def text(self) -> str:
        """The cause in one line: `14 × TimeoutError in step load, first on Tue 2026-11-24`."""
        newest, many = self.newest, len(self.partitions)
        step = f" in step {newest.step}" if newest.step else ""
        place = f" in cell {newest.cell}" if newest.cell else step
        parts = [
            f"{self.count} × {newest.error or 'failure'}{place}",
            f"first on {datetime.fromtimestamp(self.first, timezone.utc):%a %Y-%m-%d %H:%M} UTC",
            f"all of partition {self.shared_partition}" if self.shared_partition else "",
            f"in {'at least ' * (many == MOST_NAMES)}{many} partitions" if many > 1 else "",
        ]
        return ", ".join(filter(None, parts))

    def url(self, base: str) -> str:
        """Return the page of the run to look at; `base` is the server's URL."""
        return f"{base.rstrip('/')}/runs/{self.newest.run_id}"

    def as_document(self, base: str) -> dict[str, Any]:
        """Return the entry of `failures` in `invoke stats --json`; `base` is the server's URL."""
        newest = self.newest
        return {
            "count": self.count,
            "step": newest.step,
            "cell": newest.cell,
            "class": newest.error or None,
            "message": self.message,
            "example": newest.message[:LONGEST_MESSAGE],
            "first": in_utc(self.first),
            "last": in_utc(newest.at),
            "partitions": [*self.partitions],
            "assets": [*self.assets],
            "run_id": newest.run_id,
            "url": self.url(base),
            "retry": self.retry,
        }


def group(failures: Iterable[FailureRecord]) -> list[Cause]:
    """Return the causes of failures, the most frequent first.

    Memory does not grow with their number: as soon as there are twice `MOST_CAUSES`, the rarer half
    is left out, so of more causes than that the count of a rare one may be too low.
    """
    causes: dict[tuple[str, str, str], Cause] = {}
    for failure in filter(is_cause, failures):
        message = normalize(failure.message, failure.partition)
        place = f"cell {normalize(failure.cell)}" if failure.cell else failure.step or ""
        cause = causes.setdefault((place, failure.error, message), Cause(failure, message))
        cause.add(failure)
        if len(causes) > 2 * MOST_CAUSES:
            causes = dict(sorted(causes.items(), key=_frequency)[:MOST_CAUSES])
    return [cause for _, cause in sorted(causes.items(), key=_frequency)[:MOST_CAUSES]]


def _frequency(item: tuple[Any, Cause]) -> tuple[int, float]:
    return -item[1].count, -item[1].newest.at


def _keep(names: dict[Any, None], name: str) -> None:
    if len(names) < MOST_NAMES:
        names[name] = None
