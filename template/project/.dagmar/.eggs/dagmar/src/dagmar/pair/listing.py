"""What a cell can query: assets, jobs, partitions and active runs, as plain rows.

Times are in UTC. Each function raises Unreachable without a server.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import UsageError
from dagmar.pair.context import Context
from dagmar.project.layout import CACHE

if TYPE_CHECKING:
    from dagmar.server.catalog import Item


def list_assets(context: Context, expression: str = "") -> list[Item]:
    """Return a row for each asset that `expression` selects; by default the pair's own selection.

    Raises Invalid for a selection that is not valid.
    """
    from dagmar.orchestration.selection import select
    from dagmar.server.catalog import read_catalog
    from dagmar.server.names import distinct_names
    from dagmar.server.states import read_states

    with context.client() as client:
        chosen = assets = read_catalog(client, ("assets",), context.root / CACHE).assets
        if expression := expression or context.select:
            chosen = select(expression, assets)
        states = read_states(client, distinct_names(chosen, assets))
    rows = []
    for asset, state in zip(chosen, states, strict=True):
        count, materialized = state.partitions or (None, None)
        rows.append(
            {
                "asset": str(asset["key"]),
                "state": state.state or None,
                "materialized_at": _moment(state.at),
                "run_id": state.run_id or None,
                "partitions": count,
                "partitions_materialized": materialized,
                "group": asset["group"],
                "kinds": asset["kinds"],
                "owners": asset["owners"],
                "dependencies": [str(key) for key in asset["dependencies"]],
                "location": asset["location"],
                "description": asset["description"],
            }
        )
    return rows


def list_jobs(context: Context) -> list[Item]:
    """Return a row for each job of the server."""
    from dagmar.server.catalog import read_catalog

    fields = ("name", "asset_job", "schedules", "sensors", "location", "description")
    with context.client() as client:
        jobs = read_catalog(client, ("jobs",)).jobs
    return [{name: dict(job).get(name) for name in fields} for job in jobs]


def list_partitions(context: Context, asset: AssetKey) -> list[Item]:
    """Return a row for each partition of an asset; by default of the paired asset or job.

    It has the key of each dimension if there are several. Raises Invalid for an unknown asset or
    job, and UsageError if a selection is paired and no asset is named.
    """
    from dagmar.server.launchable import locate_job
    from dagmar.server.located import locate_asset
    from dagmar.server.paired import read_partitions
    from dagmar.server.partitions import SEPARATOR, of_job

    name = asset or context.asset
    if context.select and not name:
        raise UsageError(
            f"{context.what} has no partitions: its assets have",
            'Name one of them: pair.list_partitions("raw/orders")',
        )
    with context.client() as client:
        if name:
            partitions = read_partitions(client, locate_asset(client, name))
        else:
            job = locate_job(client, context.job)
            partitions = of_job(client, job) if job.partition_set else None
    if partitions is None:
        return []
    dimensions = sorted(partitions.dimensions)
    rows = []
    for key in partitions.keys:
        row = {"partition": key, "state": partitions.states.get(key, "missing")}
        parts = zip(dimensions, key.split(SEPARATOR), strict=True) if dimensions[1:] else ()
        rows.append(row | dict(parts))
    return rows


def list_runs(context: Context) -> list[Item]:
    """Return a row for each run in progress, then for each queued one in the queue's order."""
    from dagmar.server.runs import read_active_runs

    with context.client() as client:
        runs = read_active_runs(client)
    position = 0
    rows: list[dict[str, Any]] = []
    for run in runs:
        position += run.status == "QUEUED"
        rows.append(
            {
                "run_id": run.run_id,
                "status": run.status,
                "position": position if run.status == "QUEUED" else None,
                "job": run.job,
                "assets": [str(key) for key in run.assets],
                "partition": run.partition,
                "created_at": _moment(run.created),
                "started_at": _moment(run.started),
                "location": run.location,
                "url": run.url,
            }
        )
    return rows


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
