"""The partitions of an asset or a job as a grid with their states, to select some of them."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any

from dagmar.pair import drawing

if TYPE_CHECKING:
    import marimo as mo

# Symbol and color by state, in marimo's theme.
STATES = {
    "materialized": ("●", "var(--grass-11, #2e7d32)"),
    "failed": ("✕", drawing.RED),
    "running": ("◐", "var(--blue-11, #1565c0)"),
    "missing": ("○", "inherit"),
}
UNKNOWN = ("·", "inherit")
# A row and a column of partitions in time: a month of a year, a day of a month, an hour of a day.
TIMES = [
    re.compile(pattern)
    for pattern in (
        r"(\d{4})-(\d\d)(?:-01)?",
        r"(\d{4}-\d\d)-(\d\d)",
        r"(\d{4}-\d\d-\d\d)-(\d\d:\d\d)",
    )
]
DATE = re.compile(r"\d{4}-\d\d")
LEAST_FILLED = 0.3  # daily partitions fill rows of a month, weekly ones do not
LABEL = "\u2007"  # the header of the column that says what a row is: an invisible one
ROWS, LETTERS, MOST_COLUMNS = 12, 100, 60

Row = dict[str, str | None]


def arrange(dimensions: Mapping[str, Sequence[str]]) -> list[Row]:
    """Return the partition keys in rows and columns; those in time have the newest row first.

    Of two dimensions the longer one goes down, and the other one across.
    """
    if len(dimensions) > 1:
        from dagmar.server.partitions import SEPARATOR

        names = sorted(dimensions)
        across, down = sorted(names, key=lambda name: len(dimensions[name]))
        if len(dimensions[across]) <= MOST_COLUMNS:
            return [
                _row(a, {b: SEPARATOR.join([a, b] if down == names[0] else [b, a]) for b in keys})
                for keys in [dimensions[across]]
                for a in _newest_first(dimensions[down])
            ]
        first, second = (dimensions[name] for name in names)
        return _wrapped([SEPARATOR.join((a, b)) for a in first for b in second])
    (keys,) = dimensions.values()
    for pattern in TIMES:
        parts = [match.groups() for match in map(pattern.fullmatch, keys) if match]
        names, columns = sorted({row for row, _ in parts}), sorted({column for _, column in parts})
        if len(parts) == len(keys) >= LEAST_FILLED * len(names) * len(columns):
            by_part = dict(zip(parts, keys, strict=True))
            return [
                _row(name, {column: by_part.get((name, column)) for column in columns})
                for name in reversed(names)
            ]
    return _wrapped(_newest_first(keys))


def _row(label: str, cells: Mapping[str, str | None]) -> Row:
    # The space keeps the order of the columns: JavaScript sorts names that are numbers first.
    return {LABEL: label, **{f" {column}": key for column, key in cells.items()}}


def _wrapped(keys: Sequence[str]) -> list[Row]:
    """Return as many keys in a row as there is room for, in columns without a name."""
    width = min(max(LETTERS // (max(map(len, keys)) + 6), 1), 10, len(keys))
    padded = [*keys, *[None] * (-len(keys) % width)]
    return [
        {" " * (n + 1): key for n, key in enumerate(padded[start : start + width])}
        for start in range(0, len(padded), width)
    ]


def _newest_first(keys: Sequence[str]) -> Sequence[str]:
    return keys[::-1] if all(map(DATE.match, keys)) else keys


@dataclass
class Grid:
    """A grid of partitions, as it was drawn last.

    `states` are materialized, failed or running by key, None if they are not known. `numbers` are
    those of the metadata that is called `number`. `default` is chosen if no cell is selected.
    """

    number: str = ""
    keys: Sequence[str] = ()
    states: Mapping[str, str] | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    default: str = ""
    _rows: list[Row] = field(default_factory=list)
    _drawn: tuple[str, ...] = ()

    def arrange(
        self, dimensions: Mapping[str, Sequence[str]], keys: Sequence[str], default: str
    ) -> None:
        """Take these partitions, whose states are to follow."""
        self.keys, self.default, self._rows = keys, default, arrange(dimensions)
        self._drawn = ()

    def table(self) -> mo.ui.table:
        """Return the grid as an element, whose value are the selected cells."""
        import marimo as mo

        class Table(mo.ui.table):
            """A table that cannot be sorted: marimo would take the cells of other rows."""

            def _search(self, args: Any) -> Any:
                return super()._search(replace(args, sort=None))

        labelled = LABEL in self._rows[0]

        # Functions, not methods: marimo copies the element, and this grid with a method of it.
        def show(key: str | None) -> str:
            return self._show(key, labelled)

        def style(_: str, column: str, key: str | None) -> dict[str, str]:
            return self._style(column, key)

        def hover(_: str, column: str, key: str | None) -> str:
            return "" if key is None or column == LABEL else self._describe(key)

        columns = [column for column in self._rows[0] if column != LABEL]
        narrow = labelled and not self.numbers and all(len(column) < 4 for column in columns)
        label = 24 + 9 * max(len(row.get(LABEL) or "") for row in self._rows)
        return Table(
            self._rows,
            selection="multi-cell",
            page_size=ROWS,
            pagination=len(self._rows) > ROWS,
            show_search=False,
            show_download=False,
            show_column_summaries=False,
            show_data_types=False,
            max_columns=None,
            freeze_columns_left=[LABEL] if labelled else None,
            column_widths=dict.fromkeys(columns, 28) | {LABEL: label} if narrow else None,
            format_mapping=dict.fromkeys(columns, show),
            style_cell=style,
            hover_template=hover,
        )

    def _state(self, key: str) -> str:
        return "" if self.states is None else self.states.get(key, "missing")

    def _show(self, key: str | None, labelled: bool) -> str:
        if key is None:
            return ""
        symbol, _ = STATES.get(self._state(key), UNKNOWN)
        number = _format(self.numbers[key]) if key in self.numbers else ""
        return " ".join(filter(None, (symbol, "" if labelled else key, number)))

    def _style(self, column: str, key: str | None) -> dict[str, str]:
        if key is None or column == LABEL:
            return {}
        style = {"color": STATES.get(self._state(key), UNKNOWN)[1], "cursor": "pointer"}
        return style | (
            {"outline": "2px solid", "outlineOffset": "-2px"} if key == self.default else {}
        )

    def _describe(self, key: str) -> str:
        number = f", {self.number} {self.numbers[key]:,}" if key in self.numbers else ""
        return f"{key}: {self._state(key) or 'state not known'}{number}"

    def legend(self) -> str:
        """Return what the symbols mean, how many there are of each, and what is chosen."""
        counts = Counter(map(self._state, self.keys))
        shown = " · ".join(
            f'<span style="color:{color}">{symbol} {counts[state]} {state}</span>'
            for state, (symbol, color) in STATES.items()
            if counts[state]
        )
        if self.states is None:
            shown = "the states of the assets differ"
        number = f" · with {escape(self.number)} of the latest materialization"
        remark = (
            "Click on cells to select partitions; several are launched as a backfill. "
            f"With none selected, it is <b>{escape(self.default)}</b>, the one in the frame."
        )
        return (
            f"<div>{len(self.keys):,} partitions: {shown}{number if self.number else ''}</div>"
            f'<div style="{drawing.SMALL}">{remark}</div>'
        )

    def redraw(
        self,
        controls: mo.ui.batch,
        states: Mapping[str, str] | None,
        numbers: Mapping[str, float],
    ) -> None:
        """Show other states in controls that are on the page, which keep what was entered."""
        old = self.pieces()
        self.states, self.numbers = states, numbers
        self._drawn = ()
        text = controls.text
        for before, after in zip(old, self.pieces(), strict=True):
            text = text.replace(before, after)
        # The ids in it are the same, so a browser changes the cells that differ and nothing else.
        controls._text = text

    def pieces(self) -> tuple[str, ...]:
        """Return the legend and the inside of the table, as they are on the page."""
        if not self._drawn:
            inner = self.table().text.partition(">")[2].rpartition("<")[0]
            self._drawn = self.legend(), inner
        return self._drawn


def _format(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,.4g}"


def own_ids() -> Callable[[str], contextlib.AbstractContextManager[None]]:
    """Return a context, by name, whose elements have ids that no others of the cell get.

    marimo numbers the elements of each run of a cell from 0. Elements that stay on the page would
    share their ids with those that are created next to them when the cell runs again.
    """
    import marimo as mo

    place = mo.ui.text()  # it takes one number of the cell, in every run of it
    context = place._ctx
    if context is None:
        return lambda _: contextlib.nullcontext()
    return lambda name: context.provide_ui_ids(f"{place._id}-{name}")


def selected(cells: Iterable[Any]) -> list[str]:
    """Return the partition keys of the cells that are selected in a grid."""
    found = [cell for cell in cells if getattr(cell, "column", "") != LABEL]
    return [key for key in (getattr(cell, "value", cell) for cell in found) if key]
