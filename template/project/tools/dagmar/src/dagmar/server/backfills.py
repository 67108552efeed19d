"""Backfills on a Dagster server: how they stand, and how to stop one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dagmar.errors import Invalid
from dagmar.failure import Failure
from dagmar.server.client import DagsterClient, member

SUCCESS = "COMPLETED_SUCCESS"
BACKFILL_TAG = "dagster/backfill"
FINAL = (SUCCESS, "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED")


@dataclass
class Backfill:
    """One backfill, as it stood when it was last looked at."""

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
        """Whether it ended, and every partition of it was made; a retried run may have failed."""
        made = all(status == "SUCCESS" for status in self.runs.values())
        ended = self.status == SUCCESS or (self.status == "COMPLETED" and made)
        return ended and self.error is None

    def as_document(self) -> dict[str, Any]:
        """Return the backfill in the shape of `invoke run --json`."""
        return {"id": self.backfill_id, "status": self.status, "url": self.url}


def backfill_url(client: DagsterClient, backfill_id: str) -> str:
    """Return the backfill's page in the Dagster UI."""
    return f"{client.target.url}/runs/b/{backfill_id}"


def read_backfill(client: DagsterClient, backfill_id: str) -> Backfill:
    """Look at a backfill. Raises Invalid where there is no such backfill."""
    answer = client.query("BackfillState", id=backfill_id)
    unknown = {"BackfillNotFoundError": lambda error: Invalid(error["message"])}
    found = member(answer["partitionBackfillOrError"], "PartitionBackfill", unknown)
    results = member(answer["runsOrError"], "Runs")["results"]
    runs = {run["runId"]: run["status"] for run in reversed(results)}  # oldest first
    states = (found["assetBackfillData"] or {}).get("assetBackfillStatuses") or []
    if states:
        total = sum(state.get("numPartitionsTargeted", 1) for state in states)
        failed = sum(
            int(state.get("numPartitionsFailed", state.get("failed", 0))) for state in states
        )
        done = failed + sum(
            int(state.get("numPartitionsMaterialized", state.get("materialized", 0)))
            for state in states
        )
    else:
        total = found["numPartitions"] or len(runs)
        failed = sum(status in ("FAILURE", "CANCELED") for status in runs.values())
        done = failed + sum(status == "SUCCESS" for status in runs.values())
    return Backfill(
        backfill_id=found["id"],
        url=backfill_url(client, found["id"]),
        status=found["status"],
        total=total,
        done=done,
        failed=failed,
        runs=runs,
        error=Failure.from_graphql(found["error"]) if found["error"] else None,
    )


def cancel_backfill(client: DagsterClient, backfill_id: str) -> None:
    """Ask Dagster to stop a backfill and its runs. Raises NotAllowed, AnswerLost."""
    answer = client.mutate("CancelBackfill", id=backfill_id)["cancelPartitionBackfill"]
    member(answer, "CancelBackfillSuccess")
