"""What a notebook measured, beside what was recorded of the same asset before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from dagmar.pair import drawing
from dagmar.pair.context import Context

if TYPE_CHECKING:
    from dagmar.server.paired import PastNumbers

MOST_NAMES = 8
EARLIER = 5
CELL = "padding:2px 16px 2px 0;text-align:left;font-variant-numeric:tabular-nums"


def read_earlier(context: Context) -> list[PastNumbers]:
    """Return what was recorded of the asset last, newest first; nothing for a job.

    Raises DagmarError.
    """
    if not context.asset:
        return []
    with context.client() as client:
        from dagmar.server.paired import read_numbers

        return read_numbers(client, context.asset, EARLIER)


def draw_metrics(values: Mapping[str, Any], earlier: Sequence[PastNumbers], base: str) -> str:
    """Return a table: a row for what is measured now, and one for each time before."""
    others = (name for one in earlier for name in one.numbers)
    names = list(dict.fromkeys([*values, *others]))[: max(MOST_NAMES, len(values))]
    rows = [_row("th", ["", *map(escape, names)])]
    rows.append(_row("td", ["<b>now</b>", *(_shown(values.get(name)) for name in names)]))
    for one in earlier:
        when = drawing.when(one.at, f"{base}/runs/{one.run_id}" if one.run_id else "")
        part = f" · {escape(one.partition)}" if one.partition else ""
        rows.append(_row("td", [when + part, *(_shown(one.numbers.get(name)) for name in names)]))
    return f'<table style="border-collapse:collapse">{"".join(rows)}</table>'


def _row(tag: str, cells: Sequence[str]) -> str:
    inner = "".join(f'<{tag} style="{CELL}">{cell}</{tag}>' for cell in cells)
    return f"<tr>{inner}</tr>"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))
