"""What Dagster recorded before: the last runs as a chart, and earlier numbers as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from dagmar.console import format_duration, format_moment
from dagmar.errors import UsageError
from dagmar.pair import drawing
from dagmar.pair.context import Context

if TYPE_CHECKING:
    from dagmar.server.asset_history import PastNumbers
    from dagmar.server.paired import PastRun

HEIGHT = 140
MOST_NAMES = 8
EARLIER = 5


def read_history(context: Context, limit: int) -> list[PastRun]:
    """Return the last runs of the asset or job, oldest first. Raises DagmarError."""
    if context.select:
        raise UsageError(
            f"{context.what} has no history: one asset or job has one",
            "Use pair.list_runs(), pair.stats(), or a pair for one of its assets.",
        )
    with context.client() as client:
        from dagmar.server.paired import read_asset_history, read_job_history

        if context.asset:
            return read_asset_history(client, context.located(client), limit)
        return read_job_history(client, context.job, limit)


def summary(runs: Sequence[PastRun]) -> str:
    """Return the numbers in one line."""
    ended = [run for run in runs if run.status in ("SUCCESS", "FAILURE", "CANCELED")]
    good = sorted(run.seconds for run in ended if run.status == "SUCCESS" and run.seconds)
    typical = f", typically {format_duration(good[len(good) // 2])}" if good else ""
    succeeded = sum(run.status == "SUCCESS" for run in ended)
    unsound = sum(run.status == "SUCCESS" and bool(run.failed_checks) for run in ended)
    checks = f" ({unsound} with failed checks)" if unsound else ""
    on = f", {len(runs) - len(ended)} not finished yet" if len(ended) < len(runs) else ""
    return f"{succeeded} of {len(ended)} runs succeeded{checks}{typical}{on}"


def draw_history(runs: Sequence[PastRun], base: str) -> str:
    """Return a chart: a bar for each run, its height the duration, its color the status."""
    if not runs:
        return drawing.note("No runs yet.")
    longest = max(run.seconds or 0 for run in runs)
    bars = []
    for run in runs:
        duration = format_duration(run.seconds)
        moment = format_moment(run.created)
        checks = f"failed checks: {' '.join(run.failed_checks)}" if run.failed_checks else ""
        tooltip = ", ".join(filter(None, [moment, run.status, duration, run.partition, checks]))
        color = drawing.COLORS.get(run.status, drawing.BUSY)
        if run.status == "SUCCESS" and checks:
            color = drawing.UNSOUND
        height = max(HEIGHT * (run.seconds or 0) / (longest or 1), 3)
        bars.append(
            f'<a href="{escape(f"{base}/runs/{run.run_id}")}" target="_blank" rel="noopener" '
            f'title="{escape(tooltip)}" aria-label="{escape(tooltip)}" '
            f'style="flex:1;max-width:36px;height:{height:.0f}px;'
            f'background:{color}"></a>'
        )
    first, last = (datetime.fromtimestamp(run.created) for run in (runs[0], runs[-1]))
    return (
        f'<div style="{drawing.SMALL}">{summary(runs)}</div>'
        f'<div role="group" aria-label="Durations of the last runs" style="display:flex;gap:4px;'
        f'align-items:flex-end;margin:8px 0;height:{HEIGHT}px">{"".join(bars)}</div>'
        f'<div style="{drawing.SMALL}">{first:%b %d, %H:%M} to {last:%b %d, %H:%M}, '
        f"the longest {format_duration(longest)}</div>"
    )


def read_earlier(context: Context) -> list[PastNumbers]:
    """Return the numbers last recorded for the asset, newest first; nothing for a job.

    Raises DagmarError.
    """
    if not context.asset:
        return []
    with context.client() as client:
        from dagmar.server.asset_history import read_events

        ((_, events),) = read_events(client, {context.located(client).key: None}, limit=EARLIER)
        return list(events.numbers[:EARLIER])


def draw_metrics(values: Mapping[str, Any], earlier: Sequence[PastNumbers], base: str) -> str:
    """Return a table: a row for the numbers of now, and one for each time before."""
    others = (name for record in earlier for name in record.numbers)
    names = list(dict.fromkeys([*values, *others]))[: max(MOST_NAMES, len(values))]
    rows = [["", *(f"<b>{escape(name)}</b>" for name in names)]]
    rows.append(["<b>now</b>", *(_number(values.get(name)) for name in names)])
    for record in earlier:
        url = f"{base}/runs/{record.run_id}" if record.run_id else ""
        partition = f" · {escape(record.partition)}" if record.partition else ""
        numbers = (_number(record.numbers.get(name)) for name in names)
        rows.append([drawing.format_time(record.at, url) + partition, *numbers])
    return drawing.table(rows)


def _number(value: Any) -> str:
    if value is None:
        return ""
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))
