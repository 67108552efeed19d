"""Backfills on a Dagster server: their status, and how to cancel one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.failure import Failure
from dagmar.server.client import DagsterClient, member
from dagmar.server.runs import materialized_by
from dagmar.server.shapes import portions

SUCCESS = "COMPLETED_SUCCESS"
RUNS_AT_ONCE = 100
FINAL = (SUCCESS, "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED")


@dataclass
class Backfill:
    """One backfill, as it was when it was last read."""

    backfill_id: str
    url: str
    status: str
    total: int
    done: int
    failed: int
    runs: dict[str, str]
    error: Failure | None = None

    @property
    def final(self) -> bool:
        """Whether the backfill has ended."""
        return self.status in FINAL

    @property
    def succeeded(self) -> bool:
        """Whether it materialized all its partitions; a run that was retried may have failed."""
        complete = all(status == "SUCCESS" for status in self.runs.values())
        ended = self.status == SUCCESS or (self.status == "COMPLETED" and complete)
        return ended and self.error is None

    def as_document(self) -> dict[str, Any]:
        """Return the backfill in the shape of `invoke run --json`."""
        return {"id": self.backfill_id, "status": self.status, "url": self.url}


def backfill_url(client: DagsterClient, backfill_id: str) -> str:
    """Return the backfill's page in the Dagster UI."""
    return f"{client.target.url}/runs/b/{backfill_id}"


def read_backfill(client: DagsterClient, backfill_id: str) -> Backfill:
    """Return a backfill. Raises Invalid if it does not exist."""
    answer = client.query("BackfillState", id=backfill_id)
    backfill = member(answer["partitionBackfillOrError"], "PartitionBackfill")
    results = member(answer["runsOrError"], "Runs")["results"]
    runs = {run["runId"]: run["status"] for run in reversed(results)}  # oldest first
    states = (backfill["assetBackfillData"] or {}).get("assetBackfillStatuses") or []
    if states:
        total = sum(state.get("numPartitionsTargeted", 1) for state in states)
        failed, materialized = (
            sum(int(part.get(f"numPartitions{kind.title()}", part.get(kind, 0))) for part in states)
            for kind in ("failed", "materialized")
        )
    else:
        total = backfill["numPartitions"] or len(runs)
        failed = sum(status in ("FAILURE", "CANCELED") for status in runs.values())
        materialized = sum(status == "SUCCESS" for status in runs.values())
    return Backfill(
        backfill_id=backfill["id"],
        url=backfill_url(client, backfill["id"]),
        status=backfill["status"],
        total=total,
        done=failed + materialized,
        failed=failed,
        runs=runs,
        error=Failure.from_graphql(backfill["error"]) if backfill["error"] else None,
    )


def read_materialized(client: DagsterClient, backfill_id: str) -> set[AssetKey]:
    """Return the assets that the runs of a backfill have materialized."""
    keys: set[AssetKey] = set()
    ids = [{"id": run_id} for run_id in read_backfill(client, backfill_id).runs]
    for some in portions(ids, RUNS_AT_ONCE):
        for answer in client.query_each("RunMaterialized", some):
            keys.update(materialized_by(answer))
    return keys


def cancel_backfill(client: DagsterClient, backfill_id: str) -> None:
    """Cancel a backfill and its runs. Raises NotAllowed, AnswerLost."""
    answer = client.mutate("CancelBackfill", id=backfill_id)["cancelPartitionBackfill"]
    member(answer, "CancelBackfillSuccess")
