"""`invoke run` against a real Dagster: launched once, followed, explained."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import pytest
from dagmar.server.client import DagsterClient
from support.dagster_server import logged, runs_tagged, tags_of
from support.git import git
from support.project import Project, run


def test_an_asset_is_materialized_once_and_followed_to_success(
    live: Project, client: DagsterClient, tag: str
) -> None:
    status, document, talk = run(live, tag, "--asset", "raw/orders")
    assert status == 0, talk
    (ended,) = document["runs"]
    assert runs_tagged(client, tag) == [ended["run_id"]]
    assert ended["status"] == "SUCCESS"
    assert (ended["assets"], ended["location"]) == (["raw/orders"], "pipelines")
    assert ended["duration_s"] > 0
    assert ended["started_at"] < ended["ended_at"]
    assert ended["url"] in talk
    assert ended["error"] is None


@pytest.mark.parametrize(
    ("name", "job", "location"),
    [
        pytest.param("counting", "counting", "pipelines", marks=pytest.mark.nightly),
        ("tidy@other", "tidy", "other"),
    ],
)
def test_a_job_is_run(
    live: Project, client: DagsterClient, tag: str, name: str, job: str, location: str
) -> None:
    status, document, talk = run(live, tag, "--job", name, "--timeout", "auto")
    assert status == 0, talk
    assert "ime-out: " in talk
    (ended,) = document["runs"]
    assert (ended["job"], ended["location"]) == (job, location)
    assert (ended["status"], ended["assets"]) == ("SUCCESS", [])
    assert runs_tagged(client, tag) == [ended["run_id"]]


def test_the_executor_puts_all_steps_into_one_process(
    live: Project, client: DagsterClient, tag: str
) -> None:
    flags = ("--job", "counting_apart", "--executor", "in_process")
    status, document, talk = run(live, tag, *flags)
    assert status == 0, talk
    log = logged(client, document["runs"][0]["run_id"])
    assert log.count("Executing steps in process") == 1
    assert "subprocess" not in log


def test_runs_carry_who_launched_them_from_which_revision_and_with_which_versions(
    live: Project, client: DagsterClient, tag: str
) -> None:
    git(live.root, "init", "--quiet")
    git(live.root, "commit", "--quiet", "--allow-empty", "-m", "first")
    _, document, _ = run(live, tag, "--asset", "raw/orders", "--no-wait")
    (started,) = document["runs"]
    tags = tags_of(client, started["run_id"])
    assert tags["user"]
    assert len(tags["dagmar/launch-id"]) == 32
    assert tags["dagmar/git-revision"] == git(live.root, "rev-parse", "HEAD").strip()
    assert tags["dagmar/version.dagster"] == metadata.version("dagster")
    assert tags["dagmar/version.python"] == platform.python_version()


def test_assets_of_two_code_locations_become_two_runs(
    live: Project, client: DagsterClient, tag: str
) -> None:
    status, document, talk = run(live, tag, "--asset", "orders", "--asset", "campaigns")
    assert status == 0, talk
    assert sorted(run["location"] for run in document["runs"]) == ["other", "pipelines"]
    assert len(runs_tagged(client, tag)) == 2


def test_a_failing_step_is_explained_with_the_users_traceback(
    live: Project, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(live.root / "step.md"))
    status, document, talk = run(live, tag, "--asset", "failing", "--summary", "ours.md")
    assert status == 4
    summary = (live.root / "ours.md").read_text("utf-8")
    assert "invoke run: status 4" in summary
    assert "no such column" in summary
    assert document["runs"][0]["url"] in summary
    assert not (live.root / "step.md").exists()
    error = document["runs"][0]["error"]
    assert (error["step"], error["class"]) == ("failing", "KeyError")
    assert "no such column" in error["message"]
    assert "pipelines.py" in error["traceback"]
    assert "site-packages/dagster" not in error["traceback"]
    assert "no such column" in talk
    assert document["runs"][0]["url"] in talk


@pytest.mark.parametrize(
    ("asset", "words"),
    [
        pytest.param("needs_resource", "warehouse is not there", marks=pytest.mark.nightly),
        ("killed", "exit"),
    ],
)
def test_a_run_that_fails_outside_its_steps_is_explained(
    live: Project, tag: str, asset: str, words: str
) -> None:
    status, document, talk = run(live, tag, "--asset", asset)
    assert status == 4
    assert document["runs"][0]["status"] == "FAILURE"
    assert words in document["runs"][0]["error"]["message"]
    assert words in talk


def test_a_run_that_fails_at_import_is_explained(
    live: Project, tag: str, dagster_home: Path
) -> None:
    fails = dagster_home / "import-fails"
    fails.touch()
    try:
        status, document, talk = run(live, tag, "--asset", "campaigns")
    finally:
        fails.unlink()
    assert status == 4
    (ended,) = document["runs"]
    assert (ended["status"], ended["error"]["class"]) == ("FAILURE", "ImportError")
    assert "the driver of the warehouse is not there" in ended["error"]["message"]
    assert "other.py" in talk


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (("--asset", "raw/ordres"), 7, "did you mean 'raw/orders'"),
        (("--job", "countin"), 7, "did you mean 'counting'"),
        (("--job", "tidy"), 7, "--job tidy@other"),
        (("--asset", "in_broken"), 7, "The code location broken does not load"),
        (("--job", "in_broken"), 7, "The code location broken does not load"),
        (("--asset", "lake/events"), 7, "cannot be materialized"),
        (("--asset", "daily_sales"), 7, "partition"),
        (("--job", "greeting"), 7, "ops"),
        ((), 2, "--asset"),
        (("--asset", "orders", "--job", "counting"), 2, "choose one of --asset"),
        (("--select", "group:nothing"), 2, "selects no asset"),
        (("--select", "group:lake"), 2, "selects no asset"),
        (("--asset", "daily_sales", "--partition", "2026-02-30"), 7, "did you mean"),
        (("--asset", "raw/orders", "--partition", "2026-01-01"), 7, "has no partitions"),
        (("--asset", "grid", "--partition", "2026-01-05|red"), 7, "did you mean 'red|2026-01-05'"),
        (("--asset", "daily_sales", "--asset", "colored", "--latest"), 7, "differently"),
        (("--asset", "by_customer", "--latest"), 7, "no partitions yet"),
        (("--asset", "daily_sales", "--partition-range", "2026-01-03...2026-01-02"), 7, "after"),
        (("--asset", "daily_sales", "--partition-range", "2026-01-03"), 2, "FIRST...LAST"),
        (("--asset", "daily_sales", "--latest", "--missing"), 2, "exclude each other"),
        (("--job", "weekly_greeting"), 7, "is partitioned"),
        (("--job", "counting", "--latest"), 7, "has no partitions"),
        (("--asset", "limited", "--set", "ops.limited.config.rows=many"), 7, "config.rows"),
        (("--asset", "limited", "--set", "ops.limited.config.row=1"), 7, "did you mean 'rows'"),
        (("--asset", "limited", "--set", "rows"), 2, "PATH=VALUE"),
        (("--asset", "limited", "--set", "ops.limited.config.rows="), 2, "has no value"),
        (("--asset", "limited", "--set", "ops.limitd.config.rows=1"), 7, "did you mean 'limited'"),
        (("--asset", "raw/orders", "--set", "ops.x.config.rows=1"), 7, "ops.x is not an op of"),
        (("--asset", "limited", "--set", "ops.limited.config.rows=.nan"), 7, "config.rows: nan"),
        (
            ("--asset", "limited", "--asset", "mailing", "--set", "ops.limitd.config.rows=1"),
            7,
            "ops.limitd is not an op of limited, mailing — did you mean 'limited'",
        ),
        (
            (
                *("--asset", "dosed", "--asset", "tinted", "--all-partitions"),
                *("--set", "ops.dosed.config.rows=1"),
            ),
            7,
            "need different run config",
        ),
        (("--asset", ""), 2, "--asset is empty"),
        (("--asset", "orders", "--asset"), 2, "--asset needs a value"),
        (("--asset", "orders", "--target", ""), 2, "--target is empty"),
        (("--asset", "orders", "--url", ""), 2, "--url is empty"),
        (("--asset", "orders", "--timeout", ""), 2, "--timeout is empty"),
        (("--asset", "limited", "--config", "no-such.yaml"), 7, "no-such.yaml"),
        (("--asset", "orders", "--executor", "in_process"), 7, "cannot be chosen"),
        (("--asset", "orders", "--executor", "dask"), 2, "no executor"),
        (("--asset", "left"), 7, "invoke run --asset left --asset right"),
        (("--retry", "nope"), 7, "there is no run"),
        (("--retry", "41cac393"), 7, "Give the whole id, not its first letters"),
        (("--asset", "orders", "--timeout", "soon"), 2, "--timeout"),
        (("--asset", "orders", "--cancel-on-timeout"), 2, "needs --timeout"),
        (("--retry", "x", "--latest"), 2, "partitions"),
    ],
)
def test_what_would_fail_is_refused_before_a_launch(
    live: Project,
    client: DagsterClient,
    tag: str,
    flags: tuple[str, ...],
    status: int,
    words: str,
) -> None:
    code, document, talk = run(live, tag, *flags)
    assert (code, document) == (status, {})
    assert words in talk
    assert "Traceback" not in talk
    assert runs_tagged(client, tag) == []


def test_a_timeout_leaves_the_run_and_says_how_to_come_back(
    live: Project, client: DagsterClient, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(live.root / "step.md"))
    status, document, talk = run(live, tag, "--asset", "raw/orders", "--timeout", "0")
    assert status == 9
    assert "invoke run: status 9" in (live.root / "step.md").read_text("utf-8")
    (run_id,) = runs_tagged(client, tag)
    assert f"--follow {run_id}" in talk
    assert document["runs"][0]["run_id"] == run_id
    assert document["runs"][0]["ended_at"] is None


def test_a_read_only_target_launches_nothing(
    live: Project, client: DagsterClient, tag: str
) -> None:
    settings = live.root / "dagmar.yaml"
    settings.write_text(settings.read_text() + "    read_only: true\n")
    status, _, talk = run(live, tag, "--asset", "raw/orders")
    assert status == 6
    assert "read_only" in talk
    assert runs_tagged(client, tag) == []
