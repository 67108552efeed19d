"""The difference between two frames, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dagmar.diff.cells import differ_slightly, in_cells, summarize, unequal
from dagmar.diff.matching import FIRST, Matching, match
from dagmar.diff.model import Change, Column, Difference, Row, Rows, in_words
from dagmar.diff.tables import Table, convert, new_positions, without_lone_index

if TYPE_CHECKING:
    import narwhals.stable.v2 as nw

PROBE = 1000
NO_ROWS = "Unknown: no key matches the rows."


def compare_frames(before: Table, after: Table, keys: Sequence[str] = ()) -> Difference:
    """Compare two frames: their columns, and the cells of the rows that are in both.

    A column at a time, so that little is in memory beyond the two frames.
    """
    before, after = without_lone_index(before, after), without_lone_index(after, before)
    remarks = [*before.remarks, *after.remarks]
    if before.kind != after.kind:
        remarks.append(f"The type changed from {before.kind} to {after.kind}.")
    types = {name: str(series.dtype) for name, series in after.columns.items()}
    if before.columns:
        backend = next(iter(before.columns.values())).implementation
        converted = {name: convert(series, backend) for name, series in after.columns.items()}
        after = replace(after, columns=converted)
    matching = match(before, after, keys)
    renamed = _renamed(before, after, matching)
    changed: nw.Series[Any] | None = None
    columns = []
    for name in dict.fromkeys([*before.columns, *after.columns]):
        if name in renamed.values():
            continue  # it is with its new name
        old = before.columns.get(renamed.get(name, name))
        new = after.columns.get(name)
        column = Column(
            name,
            str(old.dtype) if old is not None else "",
            types.get(name, ""),
            renamed_from=renamed.get(name, ""),
        )
        if old is not None and new is not None:
            column, differ = _compare_cells(column, old, new, matching)
            if differ is not None:
                changed = differ if changed is None else changed | differ
        columns.append(_with_summaries(column, old, new))
    rows = Rows(
        before.rows,
        after.rows,
        matching.by,
        matching.keys,
        matching.every,
        matching.pairs,
        matching.added,
        matching.removed,
        0 if changed is None else int(changed.sum()),
        _whole_rows(after, matching.keys, matching.first_added, added=True),
        _whole_rows(before, matching.keys, matching.first_removed, added=False),
        () if changed is None else _changed_rows(before, after, columns, matching, changed),
    )
    moved = list(before.columns) != list(after.columns)
    if moved and set(before.columns) == set(after.columns):
        remarks.append("The columns are in another order.")
    if matching.after is not None and matching.every == 1 and not matching.after.is_sorted():
        remarks.append("The rows are in another order.")
    if matching.every > 1:
        remarks.append(f"There are too many cells: 1 row in {matching.every} was compared.")
    equal = not (
        moved
        or before.kind != after.kind
        or before.rows != after.rows
        or rows.added
        or rows.removed
        or not all(column.equal for column in columns)
    )
    remarks += matching.remarks
    return Difference("frame", equal, remarks=remarks, rows=rows, columns=columns)


def _compare_cells(
    column: Column, old: nw.Series[Any], new: nw.Series[Any], matching: Matching
) -> tuple[Column, nw.Series[Any] | None]:
    """Return the column with how many cells changed, and which if any did."""
    if not matching.cells:
        # Rows that have an equal one in the other frame are all that could be compared.
        alike = matching.by == "content" and not (matching.added or matching.removed)
        return replace(column, changed=0 if alike else None, reason="" if alike else NO_ROWS), None
    try:
        old, new = matching.pair(old, new)
        differ = unequal(old, new)
        changed = int(differ.sum()) if len(differ) else 0
        if not changed:
            return replace(column, changed=0), None
        slightly = differ_slightly(old, new, differ)
        return replace(column, changed=changed, slightly=slightly), differ
    except Exception as error:  # whatever a library or a cell's class raises
        return replace(column, reason=in_words(" ".join(str(error).split()))), None


def _with_summaries(
    column: Column, old: nw.Series[Any] | None, new: nw.Series[Any] | None
) -> Column:
    """Add the numbers of a column that is different; those of others would be twice the same."""
    if column.equal:
        return column
    before, after = summarize(old, new)
    return replace(column, before=before, after=after)


def _renamed(before: Table, after: Table, matching: Matching) -> dict[str, str]:
    """Return the old name of each new column that has the cells of one that is gone."""
    gone = {name: each for name, each in before.columns.items() if name not in after.columns}
    renamed: dict[str, str] = {}
    for name, new in after.columns.items():
        if name in before.columns or not matching.cells or not matching.pairs:
            continue
        for was, old in gone.items():
            if old.dtype != new.dtype or was in renamed.values():
                continue
            old_cells, new_cells = matching.pair(old, new)
            first = unequal(old_cells.head(PROBE), new_cells.head(PROBE))
            if not first.any() and not unequal(old_cells, new_cells).any():
                renamed[name] = was
                break
    return renamed


def _changed_rows(
    before: Table,
    after: Table,
    columns: Iterable[Column],
    matching: Matching,
    changed: nw.Series[Any],
) -> list[Row]:
    """Return the first rows of which a cell changed: what identifies them, and those cells."""
    at = changed.arg_true().head(FIRST)
    where, there = matching.positions(at)
    names = _names(before, matching.keys, where)
    cells: list[list[Change]] = [[] for _ in names]
    for column in columns:
        if not column.changed:
            continue
        old = before.columns[column.renamed_from or column.name][where]
        new = after.columns[column.name][there]
        found = zip(unequal(old, new).to_list(), in_cells(old), in_cells(new), strict=True)
        for row, (differs, was, now) in zip(cells, found, strict=True):
            if differs:
                row.append(Change(column.name, was, now))
    return [Row(name, row) for name, row in zip(names, cells, strict=True)]


def _whole_rows(
    table: Table, keys: Sequence[str], positions: Sequence[int], *, added: bool
) -> list[Row]:
    """Return these rows with all their cells."""
    if not positions:
        return []
    backend = next(iter(table.columns.values())).implementation
    at = new_positions(positions, backend)
    names = _names(table, keys, at)
    texts = {
        name: in_cells(series[at]) for name, series in table.columns.items() if name not in keys
    }
    return [
        Row(
            name,
            [
                Change(column, None, cells[i]) if added else Change(column, cells[i], None)
                for column, cells in texts.items()
            ],
        )
        for i, name in enumerate(names)
    ]


def _names(table: Table, keys: Sequence[str], at: nw.Series[Any]) -> list[dict[str, str]]:
    if not keys:
        return [{"row": str(position)} for position in at.to_list()]
    cells = [in_cells(table.columns[key][at]) for key in keys]
    return [dict(zip(keys, row, strict=True)) for row in zip(*cells, strict=True)]
