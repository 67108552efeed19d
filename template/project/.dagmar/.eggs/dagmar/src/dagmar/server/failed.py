"""A run that failed: at which steps and assets, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Invalid
from dagmar.failure import Failure
from dagmar.server.backfills import read_backfill
from dagmar.server.catalog import IMPLICIT_JOB
from dagmar.server.client import DagsterClient
from dagmar.server.launchable import read_to_retry
from dagmar.server.runs import ID_LENGTH, events, explain, log_pages, partition_of


@dataclass(frozen=True)
class FailedRun:
    """A run, and where it failed.

    `steps` are its failed steps, the first to fail first, with the assets of each; both are empty
    if it failed before a step. `job` is empty for a run of assets alone, whose `assets` they are.
    """

    run_id: str
    location: str
    job: str
    assets: Sequence[AssetKey]
    steps: Mapping[str, Sequence[AssetKey]]
    partition: str | None
    reason: Failure | None = None


def read_failed(client: DagsterClient, run_id: str) -> FailedRun:
    """Return where a run failed.

    Raises Invalid for a run that is unknown or has not failed, and for the id of a backfill.
    """
    if len(run_id) < ID_LENGTH:
        _refuse_backfill(client, run_id)
    run = read_to_retry(client, run_id)
    if run["status"] != "FAILURE":
        raise Invalid(
            f"run {run_id} is {run['status'].lower()}: it has not failed",
            "To look at it, type:",
            command=f"invoke run --follow {run_id}",
        )
    failed = [step for step in run["stepStats"] if step["status"] == "FAILURE"]
    failed.sort(key=lambda step: step["endTime"] or 0)
    steps = [step["stepKey"] for step in failed]
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    job = run["jobName"]
    return FailedRun(
        run_id=run_id,
        location=(run["repositoryOrigin"] or {}).get("repositoryLocationName", ""),
        job="" if job.startswith(IMPLICIT_JOB) else job,
        assets=tuple(run["assetSelection"] or ()),
        steps=_with_assets(client, run_id, steps),
        partition=partition_of(tags),
        reason=None if steps else explain(events(client, run_id)),
    )


def _refuse_backfill(client: DagsterClient, id: str) -> None:
    """Raise Invalid with its failed runs if this is the id of a backfill."""
    try:
        runs = read_backfill(client, id).runs
    except DagmarError:
        return
    failed = [run_id for run_id, status in runs.items() if status == "FAILURE"]
    message = f"{id} is a backfill, not a run"
    if not failed:
        hint = "Give the id of a failed run, from the URL of its page in Dagster."
        raise Invalid(f"{message}, and none of its runs failed", hint)
    more = f", and {len(failed) - 5} more" if len(failed) > 5 else ""
    raise Invalid(
        message,
        f"Its failed runs: {', '.join(failed[:5])}{more}. For the first one, type:",
        command=f"invoke scaffold --run {failed[0]}",
    )


def _with_assets(
    client: DagsterClient, run_id: str, steps: Sequence[str]
) -> dict[str, Sequence[AssetKey]]:
    """Return the assets of each of these steps, which a run logs before it starts."""
    assets: dict[str, dict[AssetKey, None]] = {step: {} for step in steps}
    for page in log_pages(client, "PlannedAssets", run_id) if steps else ():
        planned = [
            (event["stepKey"], event.get("assetKey") or event["checked"])
            for event in page
            if event.get("assetKey") or event.get("checked")
        ]
        for step, key in planned:
            if step in assets:
                assets[step][key] = None
        if not planned or all(assets.values()):
            break
    return {step: tuple(keys) for step, keys in assets.items()}
