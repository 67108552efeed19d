"""Which failed asset checks fail `invoke run`, and what is reported of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import RunFailed, UsageError
from dagmar.failure import Failure
from dagmar.project.settings import Target, load
from dagmar.runs.run import RunRequest, run
from dagmar.runs.tracking import FollowOptions, RunResult
from dagmar.server.backfills import Backfill
from dagmar.server.checks import BLOCKED, Check, in_words, with_results
from dagmar.server.client import DagsterClient
from dagmar.server.runs import Run
from support.http_server import data, serve
from support.project import Project

from .test_tracking import play, run_of, state

ORDERS = AssetKey("orders")
HANDLE = {"name": "rows", "assetKey": {"path": ["orders"]}}


def failed(severity: str, name: str = "rows") -> Check:
    return Check(name, ORDERS, False, severity)


def result(checks: Sequence[Check], fail_on: str = "error", **more: Any) -> RunResult:
    ended = Run("r-1", "http://x/runs/r-1", "SUCCESS", checks=list(checks))
    return RunResult([ended], fail_on_checks=fail_on, **more)


def evaluation(success: bool, description: str = "") -> dict[str, Any]:
    return {
        "__typename": "AssetCheckEvaluationEvent",
        "evaluation": {
            "checkName": "rows", "assetKey": {"path": ["orders"]}, "success": success,
            "severity": "ERROR", "description": description or None,
            "metadataEntries": [
                {"__typename": "IntMetadataEntry", "label": "rows", "intRepr": "3"},
                {"__typename": "TableMetadataEntry", "label": "sample"},
            ],
        },
    }  # fmt: skip


def log(*events: dict[str, Any]) -> Any:
    page = {"__typename": "EventConnection", "cursor": "1", "hasMore": False}
    return data(logsForRun={**page, "events": list(events)})


@pytest.mark.parametrize(
    ("check", "fail_on", "fails"),
    [
        (failed("ERROR"), "error", True),
        (failed("ERROR"), "warn", True),
        (failed("ERROR"), "never", False),
        (failed("WARN"), "error", False),
        (failed("WARN"), "warn", True),
        (failed("WARN"), "never", False),
        (Check("rows", ORDERS, True, "ERROR"), "warn", False),
        (Check("rows", ORDERS), "warn", False),
    ],
)
def test_severity_and_setting_decide_whether_a_failed_check_fails_the_task(
    check: Check, fail_on: str, fails: bool
) -> None:
    if not fails:
        result([check], fail_on).raise_for_status()
        return
    with pytest.raises(RunFailed, match="run r-1: check 'rows' of the asset 'orders' failed"):
        result([check], fail_on).raise_for_status()


def test_a_failed_check_counts_for_each_run_of_a_backfill() -> None:
    runs = {"r-0": "FAILURE", "r-1": "SUCCESS"}
    backfill = Backfill("b", "http://x/runs/b/b", "COMPLETED", 1, 1, 0, runs)
    done = result([failed("ERROR")], backfill=backfill)
    with pytest.raises(RunFailed, match="run r-1: check 'rows'"):
        done.raise_for_status()
    # The checks of a run that was cancelled on purpose do not count.
    cancelled = Run("r-1", "http://x", "CANCELED", checks=[failed("ERROR")])
    RunResult([cancelled], goal="CANCELED").raise_for_status()


def test_the_setting_and_the_flag_choose(project: Project) -> None:
    answers = play(
        RunState=[state("SUCCESS")],
        RunChecks=[data(runOrError={"__typename": "Run", "assetChecks": [HANDLE]})],
        RunEvents=[log(evaluation(False, "Too\nfew."))],
    )
    for setting, flag, status in (
        ("", "", 4), ("never", "", 0), ("never", "error", 4), ("warn", "never", 0),
    ):  # fmt: skip
        chosen = f"run: {{fail_on_checks: {setting}}}\n" if setting else ""
        with serve(answers) as server:
            (project.root / "dagmar.yaml").write_text(chosen, "utf-8")
            request = RunRequest(follow="r-1", options=FollowOptions(fail_on_checks=flag))
            with DagsterClient(Target("local", server.url)) as client:
                done = run(load(project.root), client, request)
        (check,) = done.as_document()["runs"][0]["checks"]
        assert check["metadata"] == {"rows": 3}
        if not status:
            done.raise_for_status()
            continue
        with pytest.raises(RunFailed, match=r"failed \(ERROR\): Too few\. \(rows=3\)") as caught:
            done.raise_for_status()
        assert "--fail-on-checks never" in caught.value.hint


def test_a_run_without_checks_costs_one_request_more(project: Project) -> None:
    answers = play(RunState=[data(runOrError=run_of("SUCCESS"))])
    with serve(answers) as server, DagsterClient(Target("local", server.url)) as client:
        run(load(project.root), client, RunRequest(follow="r-1"))
    asked = [seen.sent["operationName"] for seen in server.seen]
    assert asked[-1] == "RunChecks"
    assert "RunEvents" not in asked


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(UsageError, match="takes error, warn, never, not 'warning'"):
        FollowOptions(fail_on_checks="warning")


def test_the_last_result_of_a_check_that_was_evaluated_again_counts() -> None:
    planned = [Check("rows", ORDERS), Check("fresh", ORDERS)]
    checks = with_results(planned, [failed("ERROR"), Check("rows", ORDERS, True, "ERROR")], None)
    assert {check.name: check.passed for check in checks} == {"fresh": None, "rows": True}


def test_a_blocking_check_is_told_from_one_that_failed_beside_it() -> None:
    key = AssetKey.from_parts(["wh", "a/b"])
    message = "2 blocking asset checks failed with ERROR severity:\nwh/a/b: rows,fresh\n"
    failure = Failure(message, BLOCKED, "a traceback of Dagster's", "step")
    found = [Check(name, key, False, "ERROR") for name in ("fresh", "other", "rows")]
    checks = with_results([], found, failure)
    assert [check.name for check in checks if check.blocking] == ["fresh", "rows"]
    words = in_words(failure, checks)
    assert "blocking check 'rows' of the asset 'wh/a\\/b' failed (ERROR)" in words.message
    assert (words.traceback, words.place) == (None, "step")


def test_checks_that_passed_are_counted_if_there_are_many(
    capsys: pytest.CaptureFixture[str],
) -> None:
    passed = [Check(f"c{number}", ORDERS, True, "ERROR") for number in range(11)]
    result([*passed, failed("WARN")]).show()
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  check 'rows' of the asset 'orders' failed (WARN)",
        "  11 checks passed",
    ]
