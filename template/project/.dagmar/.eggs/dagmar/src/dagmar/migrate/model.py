"""What passes between the steps of a migration: the Jupyter notebook, remarks, and the result.

Cells and lines are counted as people count them: the first is 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Level = Literal["converted", "by hand", "dropped"]
INJECTED = "injected-parameters"
"""papermill's tag of a cell that it has added."""


@dataclass(frozen=True)
class SourceCell:
    """One cell of a Jupyter notebook; `outputs` and `attachments` are as in nbformat 4."""

    number: int
    kind: Literal["code", "markdown", "raw"]
    source: str
    tags: frozenset[str] = frozenset()
    outputs: Sequence[Mapping[str, Any]] = ()
    attachments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """The lines of the source."""
        return self.source.split("\n")


@dataclass(frozen=True)
class SourceNotebook:
    """A Jupyter notebook whose language is Python."""

    path: Path
    cells: Sequence[SourceCell]


@dataclass(frozen=True)
class Remark:
    """What was done with a line of a cell, and what is left to do.

    `cell` is 0 for the whole notebook, `line` is None for the whole cell; `last` is the last of
    several lines. `todo` is empty unless the level is "by hand". Lines that are converted are
    named one by one: that a cell was converted does not cover its lines.
    """

    cell: int
    line: int | None
    level: Level
    rule: str
    message: str
    todo: str = ""
    last: int | None = None

    def covers(self, cell: int, line: int) -> bool:
        """Whether it names this line."""
        if self.cell != cell:
            return False
        if self.line is None:
            return self.level != "converted"
        return self.line <= line <= (self.last or self.line)


@dataclass(frozen=True)
class Lost:
    """A line that is neither in the result nor in a remark."""

    cell: int
    line: int
    text: str


@dataclass(frozen=True)
class Converted:
    """A notebook that was converted, and is not written yet.

    `origins` are for each cell of the result, in the order of the file, the numbers of the cells
    that it is from; a cell that the conversion adds has none. `names` are the globals that the
    Jupyter notebook ends with, by their name there, and their name in the result. `files` are
    further files to write, such as attachments, by their path.
    """

    source: SourceNotebook
    target: Path
    text: str
    remarks: Sequence[Remark] = ()
    origins: Sequence[tuple[int, ...]] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[Path, bytes] = field(default_factory=dict)

    @property
    def by_hand(self) -> list[Remark]:
        """The remarks that somebody has to act on."""
        return [remark for remark in self.remarks if remark.level == "by hand"]


def lost_lines(source: SourceNotebook, text: str, remarks: Sequence[Remark]) -> list[Lost]:
    """Return the lines of the source that are neither in the result nor named by a remark.

    Indentation does not count. A line that is there twice has to be in the result twice.
    """
    there = Counter(line.strip() for line in text.splitlines())
    lost = []
    for cell, line, content in _lines(source):
        if any(remark.covers(cell, line) for remark in remarks):
            continue
        if there[content]:
            there[content] -= 1
        else:
            lost.append(Lost(cell, line, content))
    return lost


def _lines(source: SourceNotebook) -> Iterator[tuple[int, int, str]]:
    for cell in source.cells:
        for number, line in enumerate(cell.lines, 1):
            if content := line.strip():
                yield cell.number, number, content
