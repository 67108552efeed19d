"""How long something usually takes, by its last runs, and the time-out that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import UsageError
from dagmar.project.settings import Target
from dagmar.runs.run import RunRequest, usual_timeout
from dagmar.runs.tracking import FollowOptions
from dagmar.server.client import DagsterClient
from dagmar.server.launch import RANGE_START_TAG, Launch
from dagmar.stats.usual import of_launch, read_usual
from support.http_server import asked, dagster, serve

ORDERS, SALES = AssetKey("raw/orders"), AssetKey("sales")


def past(*seconds: float, assets: Iterable[AssetKey] = (ORDERS,), **more: Any) -> list[Any]:
    """Return runs of these durations, as the server's answer has them; each waited for 10 s."""
    return [
        {
            "runId": f"r-{number}", "status": "SUCCESS", "jobName": "__ASSET_JOB",
            "creationTime": 100.0, "startTime": 110.0, "endTime": 110.0 + duration,
            "updateTime": 0.0, "parentRunId": None, "tags": [],
            "assetSelection": [{"path": key.parts} for key in assets] or None,
            "repositoryOrigin": {"repositoryLocationName": "shop"}, **more,
        }
        for number, duration in enumerate(seconds)
    ]  # fmt: skip


def launch(*assets: AssetKey, **more: Any) -> Launch:
    return Launch("shop", "__repository__", "__ASSET_JOB", assets, **more)


def answer(runs: list[Any]) -> Any:
    return dagster({"HistoryRuns": {"runsOrError": {"__typename": "Runs", "results": runs}}})


def timeout(runs: list[Any], *launches: Launch) -> float | None:
    with (
        serve(answer(runs)) as server,
        DagsterClient(Target("local", server.url)) as client,
    ):
        seconds = usual_timeout(client, launches)
    assert len(server.seen) == 1
    return seconds


def test_the_time_is_twice_the_p95_from_launch_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    runs = past(*range(100, 201))
    assert timeout(runs, launch(ORDERS)) == 2 * (10 + 195)
    assert "Time-out: 410 s, twice the usual time" in capsys.readouterr().err
    assert timeout(past(1, 1, 1, 1, 1), launch(ORDERS)) == 60


def test_only_whole_runs_of_the_same_on_the_server_count(
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = [{"key": "dagmar/here", "value": "true"}]
    ranged = [{"key": RANGE_START_TAG, "value": "a"}]
    others = [
        *past(*[1000] * 9, assets=[SALES]),
        *past(*[1000] * 9, assets=[]),
        *past(*[1000] * 9, parentRunId="r-9"),
        *past(*[1000] * 9, tags=here),
        *past(*[1000] * 9, tags=ranged),
        *past(*[1000] * 9, repositoryOrigin=None),
        *past(*[1000] * 9, repositoryOrigin={"repositoryLocationName": "other"}),
    ]
    assert timeout(others + past(90, 90, 90, 90), launch(ORDERS)) is None
    said = "No time-out: raw/orders has fewer than 5 successful runs in the last 30 days."
    assert said in capsys.readouterr().err
    assert timeout(others + past(90, 90, 90, 90, 90), launch(ORDERS)) == 200
    assert timeout(others, launch(ORDERS, tags={RANGE_START_TAG: "a", "x": "y"})) == 2020


def test_several_assets_take_as_long_as_together_or_else_as_their_sum() -> None:
    both = launch(ORDERS, SALES)
    alone = [*past(*[90] * 5), *past(*[190] * 5, assets=[SALES])]
    assert timeout(alone, both) == 2 * (100 + 200)
    assert timeout([*alone, *past(*[140] * 5, assets=[SALES, ORDERS])], both) == 300
    assert timeout(alone, launch(ORDERS), launch(SALES)) == 400  # at the same time
    assert timeout(past(*[90] * 5), both) is None


def test_partitions_of_a_backfill_may_run_one_after_the_other() -> None:
    assert timeout(past(*[90] * 5), launch(ORDERS, partitions=("a", "b", "c"))) == 600


def test_a_run_is_not_compared_with_itself() -> None:
    subject = of_launch(launch(ORDERS))
    with (
        serve(answer(past(1, 2, 3, 4, 5, 100))) as server,
        DagsterClient(Target("local", server.url)) as client,
    ):
        usual = read_usual(client, [subject], without=["r-5"])[subject]
    assert usual
    assert (usual.runs, usual.median) == (5, 3)


def test_a_server_that_does_not_say_gives_no_time_out(capsys: pytest.CaptureFixture[str]) -> None:
    with asked({"HistoryRuns": {"runsOrError": {"__typename": "PythonError"}}}) as (client, _):
        assert usual_timeout(client, [launch(ORDERS)]) is None
    assert "how long it usually takes cannot be read" in capsys.readouterr().err


def test_auto_is_for_what_is_launched() -> None:
    for flags in ({"follow": "r-1"}, {"cancel": "r-1"}):
        with pytest.raises(UsageError, match="--timeout auto"):
            RunRequest(options=FollowOptions(usual=True), **flags)
    FollowOptions(usual=True, cancel_on_timeout=True)
    with pytest.raises(UsageError, match="--no-wait"):
        FollowOptions(usual=True, wait=False)
