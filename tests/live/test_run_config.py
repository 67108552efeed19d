"""`invoke run` with selections, run config and checks before a launch."""

from __future__ import annotations

import json

import pytest
from dagmar.server.client import DagsterClient
from support.dagster_server import logged, runs_tagged
from support.project import Project, run


def test_config_comes_from_files_then_set_and_the_later_wins(
    live: Project, client: DagsterClient, tag: str
) -> None:
    (live.root / "a.yaml").write_text("ops: {limited: {config: {rows: 5, label: from-a}}}\n")
    (live.root / "b.json").write_text('{"ops": {"limited": {"config": {"label": "from-b"}}}}')
    files = ("--config", "a.yaml", "--config", "b.json")
    flags = ("--asset", "limited", *files, "--set", "ops.limited.config.rows=7")
    status, document, talk = run(live, tag, *flags)
    assert status == 0, talk
    assert "rows=7 label=from-b" in logged(client, document["runs"][0]["run_id"])


def test_text_keeps_its_type(live: Project, client: DagsterClient, tag: str) -> None:
    typed = {"zip": "01067", "at": "10:30", "land": "NO", "code": "0815", "much": "1_000"}
    (live.root / "a.yaml").write_text("ops: {open_to_any: {config: {day: 2024-02-01, n: 0o17}}}")
    values = [f"--set=ops.open_to_any.config.{name}={text}" for name, text in typed.items()]
    limits = ("--set=ops.limited.config.rows=010", "--set=ops.limited.config.label=1.10")
    flags = ("--asset", "open_to_any", "--config", "a.yaml", *values, "--asset", "limited", *limits)
    status, document, talk = run(live, tag, *flags)
    assert status == 0, talk
    log = logged(client, document["runs"][0]["run_id"])
    config = dict(sorted({**typed, "day": "2024-02-01", "n": 15}.items()))
    assert f"config={config}" in log
    assert "rows=10 label=1.10" in log


def test_config_is_read_from_standard_input(live: Project, tag: str) -> None:
    import subprocess
    import sys

    flags = ["--job", "greeting", "--config", "-", "--validate-only", "--tag", f"test={tag}"]
    for name, status in (("ann", 0), ("[1]", 7)):
        done = subprocess.run(
            [sys.executable, "-m", "invoke", "run", *flags],
            cwd=live.root,
            input=f"ops: {{greet: {{config: {{name: {name}}}}}}}",
            capture_output=True,
            text=True,
        )
        assert done.returncode == status, done.stderr


@pytest.mark.nightly
def test_the_fixed_config_of_a_job_stays_under_what_is_set(
    live: Project, client: DagsterClient, tag: str
) -> None:
    flags = ("--job", "greeting_by_default", "--set", "ops.greet.config.times=2")
    status, document, talk = run(live, tag, *flags)
    assert status == 0, talk
    assert logged(client, document["runs"][0]["run_id"]).count("hello default") == 2


def test_validate_only_launches_nothing(live: Project, client: DagsterClient, tag: str) -> None:
    status, document, talk = run(live, tag, "--asset", "raw/orders", "--validate-only")
    assert (status, document) == (0, {"runs": []})
    assert "Valid: raw/orders" in talk
    assert runs_tagged(client, tag) == []


def test_a_selection_is_one_run_for_each_code_location(
    live: Project, client: DagsterClient, tag: str
) -> None:
    status, document, talk = run(live, tag, "--select", "tag:tier=silver")
    assert status == 0, talk
    places = {run["location"]: run["assets"] for run in document["runs"]}
    assert places == {"other": ["campaigns"], "pipelines": ["orders"]}
    assert len(runs_tagged(client, tag)) == 2
    assert "Launched campaigns in the code location other: " in talk


@pytest.mark.parametrize(
    ("flags", "valid"),
    [
        (
            ("--asset", "inspected", "--set", "ops.inspected_inspected_closely.config.label=x"),
            {"inspected"},
        ),
        (
            (
                *("--asset", "limited", "--set", "ops.limited.config.rows=7"),
                *("--asset", "mailing", "--set", "ops.mailing.config.people=8"),
            ),
            {"limited", "mailing"},
        ),
    ],
    ids=["of an asset's check", "for assets of two code locations"],
)
def test_config_is_taken_for_every_op_that_is_run(
    live: Project, tag: str, flags: tuple[str, ...], valid: set[str]
) -> None:
    status, _, talk = run(live, tag, *flags, "--validate-only")
    assert status == 0, talk
    assert {line.partition(".")[0] for line in talk.splitlines()} == {
        f"Valid: {name}" for name in valid
    }


def test_logs_are_printed_as_they_come_and_what_steps_print(live: Project, tag: str) -> None:
    status, _, talk = run(live, tag, "--asset", "raw/orders", "--logs")
    assert status == 0
    assert "orders were counted" in talk
    done = live.invoke("run", "--asset", "orders", "--logs")
    assert "cleaning orders" in done.stderr
    assert done.stdout.startswith("SUCCESS")


def test_an_error_in_the_config_names_the_field_and_not_the_schema(live: Project, tag: str) -> None:
    status, _, talk = run(live, tag, "--job", "greeting", "--set", "ops.greet.config.nam=x")
    assert status == 7
    assert "ops.greet.config.nam is not a field here — did you mean 'name'?" in talk
    assert "ops.greet.config.name is missing" in talk
    assert "Expected" not in talk
    _, _, talk = run(live, tag, "--job", "greeting", "--set", "name=x")
    assert "name is not a field here — did you mean 'ops.greet.config.name'?" in talk


@pytest.mark.parametrize(("flag", "status"), [("--asset", 2), ("--job", 1)])
def test_a_flag_without_a_value_selects_nothing(
    live: Project, client: DagsterClient, tag: str, flag: str, status: int
) -> None:
    done = live.invoke("run", "--tag", f"test={tag}", flag)
    assert done.returncode == status, done.stderr  # 1 is Invoke's own
    assert done.stdout == ""
    assert runs_tagged(client, tag) == []


def test_before_a_launch_there_are_at_most_four_requests(live: Project, tag: str) -> None:
    """Counted on the wire by a server in between.

    Three, and one that asks for the other places of an asset, because there are several.
    """
    from support.fault_proxy import FaultProxy

    settings = live.root / "dagmar.yaml"
    url = settings.read_text().split("url: ")[1].strip()
    for flags in (("--asset", "raw/orders"), ("--asset", "daily_sales", "--latest")):
        with FaultProxy(url) as proxy:
            settings.write_text(f"targets: {{local: {{url: '{proxy.url}'}}}}")
            status, _, talk = run(live, tag, *flags, "--no-wait")
            assert status == 0, talk
            names = [json.loads(body)["operationName"] for body in proxy.bodies]
            assert len(names[: names.index("LaunchRun")]) <= 4, names
            assert names.count("LaunchRun") == 1
