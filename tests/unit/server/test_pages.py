"""Answers that come in pages: each page is read once, and a server that repeats one is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from dagmar.errors import UnexpectedAnswer
from dagmar.project.settings import Target
from dagmar.server import history, runs
from dagmar.server.client import DagsterClient

Reader = Callable[[DagsterClient], Iterator[Any]]
READERS: dict[str, Reader] = {
    "the log of a run": lambda client: runs.events(client, "some-run"),
    "the runs of a history": lambda client: history.read_pages(client, {}),
    "the ids of a history": lambda client: history.read_ids(client, {}),
    "the runs in progress": lambda client: iter(runs.read_active_runs(client)),
}
RUN = {
    **dict.fromkeys(("repositoryOrigin", "assetSelection", "startTime", "endTime")),
    "status": "STARTED",
    "jobName": "daily",
    "creationTime": 0.0,
    "tags": [],
}


class Server:
    """Answers with one of its pages for each cursor, and with the last one for ever."""

    target = Target("local", "http://localhost:3000")

    def __init__(self, pages: int, ends: bool) -> None:
        self.pages, self.ends = pages, ends
        self.asked: list[int] = []

    def query(
        self,
        document: str,
        cursor: str | None,
        limit: int = 1,
        statuses: tuple[str, ...] = (),
        **_: Any,
    ) -> dict[str, Any]:
        if statuses == ("QUEUED",):
            return {"runsOrError": {"__typename": "Runs", "results": []}}
        number = min(int(cursor or 0) + 1, self.pages)
        self.asked.append(number)
        more = not (self.ends and number == self.pages)
        ids = [str(number)] * (limit if more else limit - 1)
        results = [{**RUN, "runId": each} for each in ids]
        return {
            "logsForRun": {
                "__typename": "EventConnection",
                "events": ids,
                "cursor": str(number),
                "hasMore": more,
            },
            "runsOrError": {"__typename": "Runs", "results": results},
            "runIdsOrError": {"__typename": "RunIds", "results": ids},
        }


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_each_page_is_read_once(reader: Reader) -> None:
    server = Server(pages=3, ends=True)
    list(reader(cast("DagsterClient", server)))
    assert server.asked == [1, 2, 3]


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_server_that_repeats_a_page_is_not_asked_for_ever(reader: Reader) -> None:
    server = Server(pages=2, ends=False)
    with pytest.raises(UnexpectedAnswer, match="the same page") as caught:
        list(reader(cast("DagsterClient", server)))
    assert server.asked == [1, 2, 2]
    assert caught.value.hint
