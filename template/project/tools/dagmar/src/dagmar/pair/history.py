"""How long the last runs took and how they ended, as a chart."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from dagmar.pair import drawing
from dagmar.pair.context import Context

if TYPE_CHECKING:
    from dagmar.server.paired import PastRun

WIDTH, HEIGHT, GAP = 640, 140, 4


def read_history(context: Context, limit: int) -> list[PastRun]:
    """Return the last runs of what is paired, oldest first. Raises DagmarError."""
    with context.client() as client:
        from dagmar.server.paired import read_asset_history, read_job_history

        if context.asset:
            return read_asset_history(client, context.asset, limit)
        return read_job_history(client, context.job, limit)


def draw_history(runs: Sequence[PastRun], base: str) -> Any:
    """Return the runs as a chart: Altair's where it is installed, else one of our own."""
    import marimo as mo

    if not runs:
        return mo.Html(drawing.note("No runs yet."))
    if importlib.util.find_spec("altair") is None:
        return mo.Html(svg(runs, base))
    return mo.vstack([mo.Html(summary(runs)), _altair(runs, base)])


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


def svg(runs: Sequence[PastRun], base: str) -> str:
    """Return one bar for each run, as high as it took long, in the colour of its end."""
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


def _altair(runs: Sequence[PastRun], base: str) -> Any:
    import altair as alt

    rows = [
        {
            "run": number,
            "started": datetime.fromtimestamp(run.created).isoformat(),
            "seconds": round(run.seconds or 0, 2),
            "status": run.status,
            "partition": run.partition or "",
            "url": f"{base}/runs/{run.run_id}",
        }
        for number, run in enumerate(runs, 1)
    ]
    known = sorted({run.status for run in runs})
    colors = [drawing.COLORS.get(status, drawing.BUSY) for status in known]
    return (
        alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]
        .mark_bar(size=max(min(24, WIDTH // len(runs) - GAP), 2))
        .encode(
            x=alt.X("run:O", title="run, the last one on the right", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("seconds:Q", title="seconds"),
            color=alt.Color("status:N", scale=alt.Scale(domain=known, range=colors)),
            tooltip=["started:T", "status:N", "seconds:Q", "partition:N"],
            href="url:N",
        )
        .properties(height=HEIGHT, width="container")
    )
