"""The history of a Dagster server: pages of its runs, and what the logs of single runs say.

A page costs the server a query; a run's log is one more for each run (see
`docs/decisions/0027-a-history-is-read-once.md`), so logs are read for few runs at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dagmar.server.catalog import Item
from dagmar.server.client import DagsterClient, member
from dagmar.server.runs import pages

PAGE = 500
"""Runs in one request."""
LOGS = 20
"""Runs whose logs are read in one request."""
IDS = 2000


def run_filter(
    created_after: float | None = None,
    created_before: float | None = None,
    updated_after: float | None = None,
    ids: Sequence[str] | None = None,
    job: str | None = None,
    statuses: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the filter of runs, as GraphQL takes it; times are seconds since 1970."""
    limits = {
        "createdAfter": created_after,
        "createdBefore": created_before,
        "updatedAfter": updated_after,
        "runIds": ids,
        "pipelineName": job,
        "statuses": statuses,
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def read_state(client: DagsterClient, chosen: Mapping[str, Any]) -> tuple[str, int]:
    """Return what the server says of its instance, and how many runs pass the filter."""
    answer = client.query("HistoryState", filter=chosen)
    return answer["instance"]["info"] or "", member(answer["runsOrError"], "Runs")["count"] or 0


def read_pages(client: DagsterClient, chosen: Mapping[str, Any]) -> Iterator[list[Item]]:
    """Yield the runs that pass the filter, a page at a time, those created last first."""
    return pages(client, "HistoryRuns", PAGE, filter=chosen)


def read_ids(client: DagsterClient, chosen: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the ids of the runs that pass the filter, a page at a time."""
    return pages(client, "HistoryRunIds", IDS, "RunIds", filter=chosen)


def read_steps(client: DagsterClient, ids: Sequence[str]) -> list[Item]:
    """Return the runs with their steps, and when they were queued and launched."""
    return _logged(client, "HistorySteps", ids)


def read_failures(client: DagsterClient, ids: Sequence[str]) -> list[Item]:
    """Return the runs with the events of their logs that say why they failed."""
    return _logged(client, "HistoryFailures", ids)


def _logged(client: DagsterClient, document: str, ids: Sequence[str]) -> list[Item]:
    answer = client.query(document, ids=list(ids), limit=len(ids))["runsOrError"]
    return list(member(answer, "Runs")["results"])
