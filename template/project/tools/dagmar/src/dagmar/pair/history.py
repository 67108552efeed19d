"""What Dagster recorded before: the last runs as a chart, and earlier numbers as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from dagmar.pair import drawing
from dagmar.pair.context import Context

if TYPE_CHECKING:
    from dagmar.server.paired import PastNumbers, PastRun

WIDTH, HEIGHT, GAP = 640, 140, 4
MOST_NAMES = 8
EARLIER = 5
CELL = "padding:2px 16px 2px 0;text-align:left;font-variant-numeric:tabular-nums"


def read_history(context: Context, limit: int) -> list[PastRun]:
    """Return the last runs of what is paired, oldest first. Raises DagmarError."""
    with context.client() as client:
        from dagmar.server.paired import read_asset_history, read_job_history

        if context.asset:
            return read_asset_history(client, context.asset, limit)
        return read_job_history(client, context.job, limit)


def summary(runs: Sequence[PastRun]) -> str:
    """Return the numbers in one line."""
    ended = [run for run in runs if run.status in ("SUCCESS", "FAILURE", "CANCELED")]
    good = sorted(run.seconds for run in ended if run.status == "SUCCESS" and run.seconds)
    typical = f", typically {drawing.took(good[len(good) // 2])}" if good else ""
    succeeded = sum(run.status == "SUCCESS" for run in ended)
    on = f", {len(runs) - len(ended)} not over yet" if len(ended) < len(runs) else ""
    return (
        f'<div style="{drawing.SMALL}">{succeeded} of {len(ended)} runs succeeded{typical}{on}'
        "</div>"
    )


def _tooltip(run: PastRun) -> str:
    moment = datetime.fromtimestamp(run.created)
    parts = [f"{moment:%Y-%m-%d %H:%M}", run.status, drawing.took(run.seconds), run.partition]
    return ", ".join(part for part in parts if part)


def draw_history(runs: Sequence[PastRun], base: str) -> str:
    """Return a chart: a bar for each run, as high as it took long, in the colour of its status."""
    if not runs:
        return drawing.note("No runs yet.")
    longest = max((run.seconds or 0 for run in runs), default=0) or 1.0
    step = min(WIDTH / len(runs), 40)
    bars = []
    for number, run in enumerate(runs):
        tall = max((run.seconds or 0) / longest * HEIGHT, 3)
        bar = (
            f'<rect x="{number * step + 44:.1f}" y="{HEIGHT - tall + 10:.1f}" '
            f'width="{max(step - GAP, 2):.1f}" height="{tall:.1f}" '
            f'fill="{drawing.COLORS.get(run.status, drawing.BUSY)}">'
            f"<title>{escape(_tooltip(run))}</title></rect>"
        )
        url = escape(f"{base}/runs/{run.run_id}")
        bars.append(f'<a href="{url}" target="_blank" rel="noopener">{bar}</a>')
    texts = (
        f'<text x="0" y="18" font-size="11" fill="currentColor">{drawing.took(longest)}</text>'
        f'<text x="0" y="{HEIGHT + 10}" font-size="11" fill="currentColor">0 s</text>'
        f'<text x="44" y="{HEIGHT + 26}" font-size="11" fill="currentColor">'
        f"{datetime.fromtimestamp(runs[0].created):%b %d, %H:%M}"
        f" to {datetime.fromtimestamp(runs[-1].created):%b %d, %H:%M}</text>"
    )
    return (
        summary(runs) + f'<svg role="img" aria-label="Durations of the last runs" '
        f'viewBox="0 0 {WIDTH + 48} {HEIGHT + 32}" style="max-width:{WIDTH + 48}px;width:100%">'
        f"{''.join(bars)}{texts}</svg>"
    )


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
