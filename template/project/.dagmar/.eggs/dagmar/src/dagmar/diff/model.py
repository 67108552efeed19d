"""What a comparison of two values says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dagmar.errors import cut

Kind = Literal["frame", "number", "text", "mapping", "other"]
MOST_CHARACTERS = 200


@dataclass(frozen=True)
class Change:
    """One place that is different: a path within a mapping or list; empty for the value itself.

    `before` is None for what was added, `after` for what was removed.
    """

    place: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Column:
    """A column, before and after.

    A type is empty where there is no such column. `changed` is how many of the compared cells
    differ, None if they were not compared: `reason` says why. `slightly` is whether all that differ
    are floats that differ in the last digits only. `before` and `after` are summaries, by names
    such as `mean`; those of a column without a change are empty.
    """

    name: str
    before_type: str
    after_type: str
    changed: int | None = None
    slightly: bool = False
    reason: str = ""
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    renamed_from: str = ""

    @property
    def equal(self) -> bool:
        """Whether neither its name, its type nor a cell is different."""
        return self.changed == 0 and self.before_type == self.after_type and not self.renamed_from


@dataclass(frozen=True)
class Row:
    """A row that is different: what identifies it, and cells by column.

    It has all cells of a row that was added or removed, and the changed ones of another.
    """

    name: Mapping[str, str]
    cells: Sequence[Change]


@dataclass(frozen=True)
class Rows:
    """How many rows there are, and how they were compared.

    `by` is how a row was found in the other frame: `keys`, by these columns; `position`; `content`,
    which finds equal rows only; or nothing, if they were not compared. `every` is 1, or n if only
    one row in n was looked at: then `added`, `removed`, `compared` and `changed` are of these.
    The first rows of each kind are in `additions`, `removals` and `changes`.
    """

    before: int
    after: int
    by: Literal["keys", "position", "content", ""] = ""
    keys: Sequence[str] = ()
    every: int = 1
    compared: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    additions: Sequence[Row] = ()
    removals: Sequence[Row] = ()
    changes: Sequence[Row] = ()


@dataclass(frozen=True)
class Difference:
    """How a value differs from an earlier one.

    `kind` is what was compared: frame, number, text, mapping or other.
    `reason` is why it cannot be compared, else empty. `remarks` are sentences about how it was
    compared. A frame has `rows` and `columns`, a text the `lines` of a unified diff, and everything
    else `changes`; `total` is how many lines or changes there are, when the first ones are given.
    """

    kind: Kind
    equal: bool
    reason: str = ""
    remarks: Sequence[str] = ()
    rows: Rows | None = None
    columns: Sequence[Column] = ()
    lines: Sequence[str] = ()
    changes: Sequence[Change] = ()
    total: int = 0

    @property
    def sampled(self) -> bool:
        """Whether only a part of the rows was compared."""
        return self.rows is not None and self.rows.every > 1


def in_words(value: object) -> str:
    """Return a short text for a value."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception as error:  # whatever a user's class raises
        text = f"<{type(value).__name__}: {type(error).__name__}>"
    return cut(text, MOST_CHARACTERS)


def type_name(value: object) -> str:
    """Return the name of a value's type, with the library that it is from."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    return kind.__name__ if library == "builtins" else f"{library}.{kind.__name__}"
