"""`invoke stats` against histories whose numbers are computed from Dagster's records, too."""

from __future__ import annotations

import json
import sqlite3
import stat
import statistics
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, Unreachable, UsageError
from dagmar.project.settings import Target, load
from dagmar.server.client import DagsterClient
from dagmar.stats.cache import Cache
from dagmar.stats.records import DetailRecord, RunRecord, StepRecord
from dagmar.stats.scope import Scope
from dagmar.stats.stats import Stats, StatsRequest, read_stats
from dagster import DagsterInstance
from support import history
from support.history import DAY, Past, PastStep, Served
from support.project import Project, make_project

END = 1_790_000_000.0
RUNS = 80
STEPS: dict[DagsterInstance, dict[str, Any]] = {}  # to read a log takes long


@pytest.fixture(scope="module")
def past() -> list[Past]:
    runs = history.plan(RUNS, seed=3, end=END, days=28)
    odd = Past("0" * 8 + "-0000-4000-8000-000000000001", "__ASSET_JOB", "sales", "STARTED",
               END - 5 * DAY, started=END - 5 * DAY + 1, assets=("sales/orders",))  # fmt: skip
    return sorted([*runs, odd], key=lambda run: run.created)


@pytest.fixture(scope="module")
def instance(past: list[Past], tmp_path_factory: pytest.TempPathFactory) -> DagsterInstance:
    instance = history.open_instance(tmp_path_factory.mktemp("history"))
    history.generate(instance, past)
    return instance


@pytest.fixture(scope="module")
def served(instance: DagsterInstance) -> Iterator[Served]:
    with history.serve(instance, END) as served:
        yield served


@pytest.fixture(scope="module")
def here(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose cache the tests share."""
    folder = tmp_path_factory.mktemp("project")
    return make_project(folder, f"targets: {{local: {{url: '{served.url}'}}}}\n")


@pytest.fixture
def fresh(served: Served, tmp_path: Path) -> Project:
    """A project without a cache."""
    return make_project(tmp_path / "project", f"targets: {{local: {{url: '{served.url}'}}}}\n")


def ask(project: Project, url: str, **request: Any) -> Stats:
    with DagsterClient(Target("local", url)) as client:
        return read_stats(load(project.root), client, StatsRequest(**request))


def quantile(values: list[float], share: float) -> float | None:
    """Python's own: `inclusive` is definition 7."""
    if len(values) < 2:
        return round(values[0], 3) if values else None
    return round(statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1], 3)


def plain_reading(
    instance: DagsterInstance, by: str, start: float, end: float
) -> dict[str | None, dict[str, Any]]:
    """Compute the figures of one window from Dagster's records, one run at a time."""
    from_log = STEPS.setdefault(instance, {})
    seconds, counts = defaultdict(list), defaultdict(lambda: defaultdict(int))
    for record in instance.get_run_records():
        run, created = record.dagster_run, record.create_timestamp.timestamp()
        if not start <= created < end or not run.is_finished:
            continue
        units: list[tuple[str | None, str, float | None]] = []
        took = record.end_time - record.start_time
        origin = run.remote_job_origin
        if by in ("asset", "step"):
            if run.run_id not in from_log:
                from_log[run.run_id] = instance.get_run_step_stats(run.run_id)
            steps = {step.step_key: step for step in from_log[run.run_id]}
            if by == "asset" and run.asset_selection and len(run.asset_selection) == 1:
                units = [("/".join(next(iter(run.asset_selection)).path), run.status.value, took)]
            else:
                for key, step in steps.items():
                    status = step.status.value if step.status else ""
                    status = run.status.value if status == "IN_PROGRESS" else status
                    of_job = "" if run.job_name == history.IMPLICIT_JOB else f"@{run.job_name}"
                    name = key.replace("__", "/") if by == "asset" else key + of_job
                    if by == "step" or "/" in name:
                        length = step.end_time and step.end_time - step.start_time
                        units.append((name, status, length))
        else:
            name = {
                "job": None if run.job_name == history.IMPLICIT_JOB else run.job_name,
                "location": origin.location_name if origin else None,
                "user": run.tags.get("user"),
                "revision": run.tags.get("dagmar/git-revision"),
            }[by]
            if by != "job" or name:
                units = [(name, run.status.value, took)]
        for name, status, length in units:
            counts[name][status] += 1
            counts[name]["retries"] += bool(run.parent_run_id)
            counts[name]["here"] += "dagmar/here" in run.tags
            if status == "SUCCESS":
                seconds[name].append(length)
    return {
        name: {
            "runs": of["SUCCESS"] + of["FAILURE"] + of["CANCELED"],
            "failed": of["FAILURE"],
            "cancelled": of["CANCELED"],
            "retries": of["retries"],
            "here": of["here"],
            "median_s": quantile(seconds[name], 0.5),
            "p95_s": quantile(seconds[name], 0.95),
        }
        for name, of in counts.items()
    }


@pytest.mark.parametrize(
    ("by", "days"),
    [
        ("asset", 14),
        pytest.param("asset", 7, marks=pytest.mark.nightly),
        *((by, 14) for by in ("job", "step", "user")),
        *(pytest.param(by, 14, marks=pytest.mark.nightly) for by in ("location", "revision")),
    ],
)
def test_numbers_are_those_of_a_plain_reading_of_the_database(
    here: Project, served: Served, instance: DagsterInstance, by: str, days: int
) -> None:
    document = ask(here, served.url, since=f"{days}d", by=by).as_document()
    rows = {row["name"]: row for row in document["rows"]}
    for which, shift in (("now", 0), ("before", days * DAY)):
        expected = plain_reading(instance, by, END - shift - days * DAY, END - shift)
        assert expected
        found = {
            name: {figure: row[figure][which] for figure in next(iter(expected.values()))}
            for name, row in rows.items()
        }
        none = {"runs": 0, "failed": 0, "cancelled": 0, "retries": 0, "here": 0}
        empty = {**none, "median_s": None, "p95_s": None}
        assert found == {name: expected.get(name, empty) for name in rows}
        assert set(expected) <= set(rows)


def test_totals_success_and_times_before_a_run_starts(
    here: Project, served: Served, past: list[Past]
) -> None:
    document = ask(here, served.url, by="location").as_document()
    total = document["totals"]
    ended = [run for run in past if run.created >= END - 7 * DAY and run.ended]
    good = [run for run in ended if run.status == "SUCCESS"]
    bad = [run for run in ended if run.status == "FAILURE"]
    assert total["runs"]["now"] == len(ended)
    assert total["success"]["now"] == round(len(good) / (len(good) + len(bad)), 6)
    assert 0 < total["queued_s"]["now"] < total["starting_s"]["now"] * 10
    assert sum(point["runs"] for point in total["trend"]) == len(ended)
    assert [run["status"] for run in document["in_progress"]] == ["STARTED"]


def test_the_second_call_asks_only_for_what_is_new(
    instance: DagsterInstance, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "project")
    clock = [END]
    with Served(instance, lambda: clock[0]) as served:
        first = ask(project, served.url, by="step")
        pages = len(served.requests)
        clock[0] += 600
        second = ask(project, served.url, by="step")
        again = served.requests[pages:]
    assert first.totals.pair("runs")[0] >= second.totals.pair("runs")[0] > 0
    assert {request["operationName"] for request in again} == {"HistoryState", "HistoryRuns"}
    filters = [each["variables"]["filter"] for each in again if "cursor" in each["variables"]]
    changed, busy, new = filters
    assert changed["updatedAfter"] == END - 120
    assert len(busy["runIds"]) == 1
    assert new["createdAfter"] > END - 200


def test_the_second_call_by_asset_asks_for_new_events_alone(tmp_path: Path) -> None:
    def one(number: int, age: float) -> Past:
        step = PastStep(
            "a", END - age, END - age + 9, "SUCCESS", ("a",), metadata={"rows": float(number)}
        )
        return Past(f"{number:08}-0000-4000-8000-000000000000", "__ASSET_JOB", "sales", "SUCCESS",
                    END - age, started=END - age, ended=END - age + 9, assets=("a",),
                    steps=(step,))  # fmt: skip

    def rows(project: Project) -> tuple[list[Any], list[dict[str, Any]]]:
        asked = len(served.requests)
        stats = ask(project, served.url, whole=True)
        events = [
            each for each in served.requests[asked:] if each["operationName"] == "AssetEvents"
        ]
        return stats.as_document()["rows"], [each["variables"] for each in events]

    instance = history.open_instance(tmp_path / "home")
    history.generate(instance, [one(1, 9000), one(2, 8000)])
    project = make_project(tmp_path / "project")
    clock = [END]
    with Served(instance, lambda: clock[0]) as served:
        first, _ = rows(project)
        clock[0] += 900
        again, (asked,) = rows(project)
        assert (asked["made_0"], asked["after_0"]) == (False, str(round((END - 120) * 1000)))
        assert again[0]["numbers"] == first[0]["numbers"]
        # The clock of its worker is slow.
        history.generate(instance, [one(3, 300)])
        clock[0] += 900
        new, (asked,) = rows(project)
        assert asked["made_0"]
        assert [point["value"] for point in new[0]["numbers"]["rows"]] == [1, 2, 3]
        assert new == rows(make_project(tmp_path / "other"))[0]


def test_changes_new_runs_and_deleted_ones_are_seen(tmp_path: Path) -> None:
    def one(number: int, status: str, age: float) -> Past:
        ended = None if status == "STARTED" else END - age + 30
        step = PastStep("a", END - age + 1, ended)
        return Past(f"{number:08}-0000-4000-8000-000000000000", "__ASSET_JOB", "sales", status,
                    END - age, started=END - age + 1, ended=ended, assets=("a",),
                    steps=(step,))  # fmt: skip

    instance = history.open_instance(tmp_path / "home")
    history.generate(instance, [one(1, "SUCCESS", 3000), one(2, "STARTED", 2000)])
    project = make_project(tmp_path / "project")
    clock = [END]
    with Served(instance, lambda: clock[0]) as served:
        before = ask(project, served.url)
        assert (before.totals.pair("runs")[0], len(before.in_progress)) == (1, 1)
        instance.delete_run(one(1, "SUCCESS", 0).run_id)
        instance.delete_run(one(2, "SUCCESS", 0).run_id)
        # Its worker's clock is half an hour slow.
        history.generate(instance, [one(2, "SUCCESS", 2000), one(3, "FAILURE", -300)])
        clock[0] += 900
        after = ask(project, served.url)
        clock[0] += DAY
        ask(project, served.url, since="1m")
        ask(project, served.url, first="2099-01-01", last="2099-01-02")
    (file,) = (project.root / ".dagmar/cache").glob("history-*.db")
    assert sqlite3.connect(file).execute("SELECT count(*) FROM runs").fetchone() == (2,)
    assert after.totals.pair("runs")[0] == 2
    assert after.totals.pair("failed")[0] == 1
    assert after.in_progress == []


def test_a_step_that_failed_is_of_the_assets_that_the_run_selects(tmp_path: Path) -> None:
    a, b, c = map(AssetKey, "abc")
    with Cache(tmp_path, "http://dagster", "") as cache:
        for number, (status, selected, made) in enumerate(
            (("SUCCESS", (a, b, c), (a, b, c)), ("FAILURE", (a, b), ()), ("FAILURE", None, ()))
        ):
            run_id = str(number)
            step = StepRecord(run_id, "several", made, status, 1.0, 2.0)
            cache.add([RunRecord(run_id, status, "job", "shop", selected, 1.0, 1.0, 2.0, 2.0)])
            cache.add_details([run_id], [DetailRecord(run_id, None, None, (step,))])
        cache.attribute()
        found = list(cache.query("SELECT run_id, asset FROM step_assets ORDER BY run_id, asset"))
    assert [asset for run_id, asset in found if run_id == "1"] == ["a", "b"]
    assert [asset for run_id, asset in found if run_id == "2"] == ["a", "b", "c"]


def test_another_instance_at_the_same_address_is_not_mixed(
    fresh: Project, served: Served, tmp_path: Path
) -> None:
    full = ask(fresh, served.url, by="user", since="3d")
    empty = history.open_instance(tmp_path / "home")
    kept = served._context.instance
    with history.serve(empty, END) as other:
        context, served._context = served._context, other._context
        try:
            none = ask(fresh, served.url, by="user", since="3d")
        finally:
            served._context = context
    assert served._context.instance is kept
    assert full.totals.pair("runs")[0] > 0
    assert none.totals.pair("runs")[0] == 0


@pytest.mark.parametrize("broken", ["text", "another version", "a table is missing"])
def test_a_cache_that_cannot_be_used_is_thrown_away_with_a_line(
    here: Project, served: Served, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    import sqlite3

    expected = ask(here, served.url, by="user", since="3d").as_document()
    (file,) = (here.root / ".dagmar/cache").glob("history-*.db")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    if broken == "text":
        file.write_text("not a database, but long enough to look at " * 50)
    else:
        with sqlite3.connect(file) as connection:
            version = "PRAGMA user_version = 99"
            connection.execute(version if broken == "another version" else "DROP TABLE runs")
        connection.close()
    assert ask(here, served.url, by="user", since="3d").as_document() == expected
    assert "the history is read again" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to_costs_only_speed(
    fresh: Project, served: Served
) -> None:
    (fresh.root / ".dagmar").mkdir()
    (fresh.root / ".dagmar/cache").write_text("in the way")
    assert ask(fresh, served.url, by="user", since="3d").totals.pair("runs")[0] > 0


def test_what_was_read_before_a_server_died_is_kept(
    instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagmar.server.history.PAGE", 10)
    project = make_project(tmp_path / "project")
    with history.serve(instance, END) as served:
        served.broken = 5
        with pytest.raises(Unreachable) as error:
            ask(project, served.url)
        assert (
            "30 runs that were read are kept: the same command continues there" in error.value.hint
        )
        served.broken = None
        asked = len(served.requests)
        whole = ask(project, served.url).as_document()
        pages = [r for r in served.requests[asked:] if r["operationName"] == "HistoryRuns"]
        other = make_project(tmp_path / "other")
        assert ask(other, served.url).as_document() == whole
        fresh = [r for r in served.requests if r["operationName"] == "HistoryRuns"]
    assert len(pages) < len(fresh) - len(pages) - 3


def test_what_was_read_before_a_server_timed_out_is_kept(
    instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagmar.server.history.PAGE", 10)
    project = make_project(tmp_path / "project")
    with history.serve(instance, END) as served:
        served.stuck_after = 5
        target = Target("local", served.url, timeouts=(5, 2))
        with DagsterClient(target) as client, pytest.raises(Unreachable) as error:
            read_stats(load(project.root), client, StatsRequest(by="user"))
        assert error.value.hint == (
            "Try again, or raise targets.local.read_timeout in dagmar.yaml. "
            "30 runs that were read are kept: the same command continues there."
        )
        served.go_on()
        whole = ask(project, served.url, by="user").as_document()
        other = make_project(tmp_path / "other")
        assert ask(other, served.url, by="user").as_document() == whole


def test_two_calls_at_once_share_the_cache(fresh: Project, served: Served) -> None:
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(ask, fresh, served.url, since="3d", whole=True) for _ in range(2)]
        answers = [call.result(60).as_document() for call in calls]
    assert answers[0] == answers[1] == ask(fresh, served.url, since="3d", whole=True).as_document()


def test_filters_by_asset_job_and_location(here: Project, served: Served) -> None:
    whole = {row["name"]: row for row in ask(here, served.url, since="14d").as_document()["rows"]}
    # These depend on how many logs were read until then.
    sampled = {"queued_s": None, "starting_s": None, "step_retries": None}
    flags = ("--asset", "sales/orders", "--asset", "ml/daily", "--since", "14d", "--json")
    done = here.invoke("stats", *flags, "--url", served.url)
    assert (done.returncode, done.stderr) == (0, "")
    one = json.loads(done.stdout)
    assert {row["name"]: {**row, **sampled} for row in one["rows"]} == {
        name: {**whole[name], **sampled} for name in ("sales/orders", "ml/daily")
    }
    assert one["totals"]["runs"]["now"] == sum(row["runs"]["now"] for row in one["rows"])
    place = ask(here, served.url, since="14d", scope=Scope(location="sales")).as_document()
    assert {row["name"].split("/")[0] for row in place["rows"]} == {"sales"}
    flags = ("--by", "job", "--job", "nightly", "--location", "sales", "--since", "14d", "--json")
    done = here.invoke("stats", *flags, "--url", served.url)
    assert (done.returncode, done.stderr) == (0, "")
    job = json.loads(done.stdout)
    assert [row["name"] for row in job["rows"]] == ["nightly"]
    anywhere = ask(here, served.url, since="14d", by="job", jobs=("nightly",)).as_document()
    runs, all_runs = (each["totals"]["runs"]["now"] for each in (job, anywhere))
    assert 0 < runs == job["rows"][0]["runs"]["now"] < all_runs


@pytest.mark.parametrize(
    "request_",
    [
        {"scope": Scope(("sales/order",))},
        {"jobs": ("nightl",)},
        {"scope": Scope(location="sale")},
        {"scope": Scope(location="sale"), "by": "job"},
    ],
)
def test_a_name_without_history_is_refused_with_the_one_that_may_be_meant(
    here: Project, served: Served, request_: dict[str, Any]
) -> None:
    with pytest.raises(Invalid, match="did you mean"):
        ask(here, served.url, **request_)


def test_a_window_without_runs_is_no_error(here: Project, served: Served) -> None:
    done = here.invoke("stats", "--from", "2020-01-01", "--to", "2020-01-02", "--target", "local")
    assert done.returncode == 0
    assert done.stdout == ""
    assert "no run has ended" in done.stderr
    document = ask(here, served.url, first="2020-01-01", last="2020-01-02").as_document()
    assert document["rows"] == []
    assert document["totals"]["median_s"] == {"now": None, "before": None}


def test_the_table_fits_80_columns_and_hostile_text_is_tamed(here: Project, served: Served) -> None:
    done = here.invoke("stats", "--since", "28d")
    rows = [line for line in done.stdout.splitlines() if line.split()[:1] == ["sales/orders"]]
    assert rows
    assert max(map(len, rows)) <= 80
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    "request_",
    [
        {"since": "7"}, {"since": "0d"}, {"since": "-1d"}, {"since": "7d", "first": "2026-01-01"},
        {"last": "2026-01-01"}, {"first": "yesterday"}, {"first": "2026-13-01"},
        {"first": "2026-02-01", "last": "2026-01-01"}, {"first": "2999-01-01"}, {"by": "assets"},
    ],
)  # fmt: skip
def test_a_window_or_flag_that_is_not_one_is_wrong_usage(
    here: Project, served: Served, request_: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as error:
        ask(here, served.url, **request_)
    assert error.value.hint
