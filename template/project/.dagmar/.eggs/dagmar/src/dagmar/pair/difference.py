"""The difference between two values, drawn: old and new side by side.

Text from the values is data, and escaped. The page has at most a few hundred lines of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from dagmar.diff.model import Change, Column, Difference, Row, Rows
from dagmar.errors import counted
from dagmar.pair import drawing

MOST_COLUMNS = 60
MOST_CELLS = 12
# Translucent, so that text has its contrast on a light and on a dark page.
ADDED, REMOVED, BAR = "#2e7d3233", "#c6282833", "#1565c066"
SCROLL = "overflow-x:auto;max-height:40em;overflow-y:auto;margin-top:8px"
HEAD = f"{drawing.CELL};{drawing.SMALL};white-space:nowrap"


def draw(difference: Difference) -> str:
    """Return what differs as HTML."""
    if difference.reason:
        body = drawing.note(f"It cannot be compared: {difference.reason}.", kind="warn")
    elif difference.equal:
        body = "<div>No difference.</div>"
    elif difference.kind == "frame":
        body = _frame(difference)
    elif difference.kind == "text":
        body = _lines(difference.lines)
        body += drawing.more(difference.total, len(difference.lines), "line")
    else:
        body = _changes(difference.changes)
        body += drawing.more(difference.total, len(difference.changes), "change")
    if difference.equal and difference.rows:
        body += f'<div style="{drawing.SMALL}">{_matched(difference.rows)}</div>'
    remarks = "".join(
        f'<div style="{drawing.SMALL}">{escape(remark)}</div>' for remark in difference.remarks
    )
    return drawing.box(body, remarks, label="Difference")


def _frame(difference: Difference) -> str:
    rows = difference.rows or Rows(0, 0)
    columns = sorted(difference.columns, key=lambda column: column.equal)
    changed = [column for column in columns if not column.equal]
    was = f"{rows.before:,} → " if rows.before != rows.after else ""
    numbers = {"added": rows.added, "removed": rows.removed, "changed": rows.changed}
    counts = [was + counted(rows.after, "row")]
    counts += [f"{number:,} {kind}" for kind, number in numbers.items() if number]
    head = f"<div><b>{' · '.join(counts)}</b></div>"
    head += f'<div style="{drawing.SMALL}">{_matched(rows)}</div>'
    body = ""
    if changed:
        body += _columns(changed[:MOST_COLUMNS], rows)
        body += drawing.more(len(changed), min(len(changed), MOST_COLUMNS), "column")
    if same := len(columns) - len(changed):
        body += f'<div style="{drawing.SMALL}">{counted(same, "column")} without a change.</div>'
    return (
        head
        + body
        + _rows("Changed rows", rows.changes, rows.changed)
        + _rows("Added rows", rows.additions, rows.added)
        + _rows("Removed rows", rows.removals, rows.removed)
    )


def _matched(rows: Rows) -> str:
    if rows.by == "keys":
        return f"Rows are matched by {escape(', '.join(rows.keys))}."
    if rows.by == "position":
        return "Rows are matched by position: no column is unique in both."
    if rows.by == "content":
        return "Equal rows are matched: no column is unique in both."
    return ""


def _columns(columns: Iterable[Column], rows: Rows) -> str:
    """Return a table of the columns: what changed, and their numbers before and after."""
    lines = []
    for column in columns:
        name = escape(column.name)
        if column.renamed_from:
            name += f'<div style="{drawing.SMALL}">was {escape(column.renamed_from)}</div>'
        types = dict.fromkeys(filter(None, (column.before_type, column.after_type)))
        figures = dict.fromkeys([*column.before, *column.after])
        numbers = " ".join(
            _named(figure, column.before.get(figure), column.after.get(figure))
            for figure in figures
        )
        cells = (name, escape(" → ".join(types)), _share(column, rows), numbers)
        lines.append("".join(map(_cell, cells)))
    return _table(("column", "type", "changed cells", "before and after"), lines)


def _share(column: Column, rows: Rows) -> str:
    """Return which share of the cells changed, with a bar."""
    if not column.before_type:
        return f'<span style="background:{ADDED};padding:0 6px">added</span>'
    if not column.after_type:
        return f'<span style="background:{REMOVED};padding:0 6px">removed</span>'
    if column.changed is None:
        return f'<span style="{drawing.SMALL}">{escape(column.reason)}</span>'
    share = column.changed / max(rows.compared, 1)
    bar = (
        f'<div style="width:8em;border:1px solid #8884;height:0.5em">'
        f'<div style="width:{100 * share:.1f}%;background:{BAR};height:100%"></div></div>'
    )
    slightly = f'<div style="{drawing.SMALL}">last digits only</div>' if column.slightly else ""
    return f"{_percent(share)} ({column.changed:,}){bar}{slightly}"


def _rows(title: str, rows: Sequence[Row], total: int) -> str:
    """Return the first rows as a table: what identifies each, and its cells, old → new."""
    if not rows:
        return ""
    columns = list(dict.fromkeys(change.place for row in rows for change in row.cells))
    shown = columns[:MOST_CELLS]
    lines = []
    for row in rows:
        cells = {change.place: _pair(change.before, change.after) for change in row.cells}
        texts = [*map(escape, row.name.values()), *(cells.get(column, "") for column in shown)]
        lines.append("".join(map(_cell, texts)))
    table = _table((*rows[0].name, *shown), lines)
    first = f", the first {len(rows)} of {total:,}" if total > len(rows) else ""
    more = drawing.more(len(columns), len(shown), "column")
    return f'<div style="margin-top:12px"><b>{title}</b>{first}</div>{table}{more}'


def _named(name: str, before: str | None, after: str | None) -> str:
    """Return a number of a column; one that is the same before and after stands back."""
    text = f'<span style="{drawing.SMALL}">{escape(name)}</span> '
    same = f'<span style="opacity:0.75">{escape(after or "")}</span>'
    text += same if before == after else _pair(before, after)
    return f'<span style="display:inline-block;margin-right:12px">{text}</span>'


def _pair(before: str | None, after: str | None) -> str:
    """Return what was and what is."""
    return " → ".join(
        f'<span style="background:{color};padding:0 4px;overflow-wrap:anywhere">{escape(text)}'
        "</span>"
        for text, color in ((before, REMOVED), (after, ADDED))
        if text is not None
    )


def _changes(changes: Iterable[Change]) -> str:
    """Return places that are different, old and new side by side."""
    lines = (
        _cell(escape(change.place)) + _side(change.before, REMOVED) + _side(change.after, ADDED)
        for change in changes
    )
    return _table(("", "before", "after"), lines)


def _lines(lines: Iterable[str]) -> str:
    """Return the lines of a unified diff, without its names of files."""
    colors = {"+": ADDED, "-": REMOVED}
    text = "".join(
        f'<div style="background:{colors.get(line[:1], "none")}">{escape(line) or " "}</div>'
        for line in lines
        if not line.startswith(("--- ", "+++ "))
    )
    return f'<pre style="{drawing.PRE};font-size:0.85em;{SCROLL}">{text}</pre>'


def _side(text: str | None, color: str) -> str:
    return _cell("" if text is None else escape(text), f"{drawing.CELL};background:{color}")


def _cell(inner: str, style: str = drawing.CELL) -> str:
    return f'<td style="{style}">{inner}</td>'


def _table(titles: Iterable[str], lines: Iterable[str]) -> str:
    """Return rows, which are HTML, below their titles."""
    head = "".join(_cell(escape(title), HEAD) for title in titles)
    return f'<div style="{SCROLL}">{drawing.rows_of((head, *lines))}</div>'


def _percent(share: float) -> str:
    """Return a share; one that is not zero, or not all, does not look as if it were."""
    if 0 < share < 0.001:
        return "under 0.1%"
    if 0.999 < share < 1:
        return "over 99.9%"
    return f"{share:.1%}"
