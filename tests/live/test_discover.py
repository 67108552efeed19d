"""`invoke discover` against a real Dagster."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dagmar.server.catalog import read_catalog
from dagmar.server.client import DagsterClient
from support.dagster_server import DagsterServer
from support.project import Project


def found(live: Project, *flags: str) -> dict[str, Any]:
    done = live.invoke("discover", "--json", *flags)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def keys(document: dict[str, Any]) -> list[str]:
    return [asset["key"] for asset in document["assets"]]


def test_an_asset_is_shown_with_all_its_fields(live: Project) -> None:
    document = found(live)
    assets = {asset["key"]: asset for asset in document["assets"]}
    assert assets["raw/orders"] == {
        "key": "raw/orders",
        "group": "raw",
        "kinds": ["csv", "python"],
        "tags": {"tier": "gold"},
        "owners": ["team:data", "ann@example.com"],
        "description": "Orders as they arrive.\nOne row each.",
        "location": "pipelines",
        "repository": "__repository__",
        "materializable": True,
        "partitions": None,
        "dependencies": [],
        "jobs": ["sales_job"],
        "notebooks": [],
    }
    assert assets["orders"]["dependencies"] == ["raw/orders"]
    assert assets["lake/events"]["materializable"] is False
    assert assets["grid"]["partitions"] == {
        "type": "MULTIPARTITIONED",
        "dimensions": [
            {"name": "color", "type": "STATIC", "dynamic_name": None},
            {"name": "day", "type": "TIME_WINDOW", "dynamic_name": None},
        ],
    }
    assert assets["by_customer"]["partitions"]["dimensions"][0]["dynamic_name"] == "customers"
    assert sorted(document) == [
        "assets", "jobs", "locations", "resources", "schedules", "sensors",
    ]  # fmt: skip


def test_assets_are_known_by_the_paths_in_their_metadata(client: DagsterClient) -> None:
    catalog = read_catalog(client, ("assets",))
    assert catalog.texts
    assert catalog.texts()["s3://lake/dashed"].startswith("raw/dash-ed")


def test_jobs_schedules_sensors_and_resources_are_shown(live: Project) -> None:
    document = found(live)
    jobs = {job["name"]: job for job in document["jobs"]}
    assert {"counting", "daily_job", "greeting", "sales_job"} <= set(jobs)
    assert not any(name.startswith("__") for name in jobs)
    assert jobs["greeting"]["tags"] == {"team": "people"}
    assert jobs["sales_job"]["schedules"] == ["nightly"]
    assert jobs["counting"]["sensors"] == ["files"]
    (schedule,) = document["schedules"]
    assert (schedule["cron"], schedule["timezone"]) == ("0 2 * * *", "Europe/Berlin")
    assert (schedule["job"], schedule["status"]) == ("sales_job", "stopped")
    (sensor,) = document["sensors"]
    assert (sensor["name"], sensor["interval_s"], sensor["jobs"]) == ("files", 60, ["counting"])
    assert [resource["name"] for resource in document["resources"]] == ["warehouse"]


def test_a_broken_code_location_is_reported_and_the_rest_is_shown(live: Project) -> None:
    done = live.invoke("discover", "--json")
    document = json.loads(done.stdout)
    locations = {location["name"]: location for location in document["locations"]}
    assert {name: location["status"] for name, location in locations.items()} == {
        "pipelines": "loaded",
        "other": "loaded",
        "broken": "error",
    }
    error = locations["broken"]["error"]
    assert error["class"] == "RuntimeError"
    assert error["message"] == "the warehouse password is not set"
    assert "broken.py" in error["traceback"]
    assert "_grpc/server.py" not in error["traceback"]
    assert "the warehouse password is not set" in done.stderr
    assert "campaigns" in keys(document)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--match", "raw/*"), ["raw/dash-ed.key", "raw/orders"]),
        (("--group", "lake"), ["lake/events"]),
        (("--tag", "tier=silver"), ["campaigns", "orders"]),
        (
            ("--location", "other"),
            ["campaigns", "feed", "mailing", "shared", "shared_colors", "tinted"],
        ),
        (("--select", "+key:orders"), ["orders", "raw/orders"]),
        (("--select", "group:sales and kind:python"), ["orders"]),
        (("--select", 'key:"raw/*"', "--tag", "tier=gold"), ["raw/orders"]),
        (("--select", "group:lake"), ["lake/events"]),
        (("--group", "nothing-like-it"), []),
    ],
)
def test_filters_narrow_the_assets(
    live: Project, flags: tuple[str, ...], expected: list[str]
) -> None:
    assert keys(found(live, *flags)) == expected


@pytest.mark.parametrize("kind", ["assets", "jobs", "schedules", "sensors", "resources"])
def test_a_kind_shows_that_kind_alone(live: Project, kind: str) -> None:
    document = found(live, "--kind", kind)
    assert sorted(document) == sorted(["locations", kind])
    assert document[kind]


def test_kind_locations_lists_the_code_locations(live: Project) -> None:
    assert list(found(live, "--kind", "locations")) == ["locations"]
    table = live.invoke("discover", "--kind", "locations").stdout
    assert [line.split()[:2] for line in table.splitlines()[4:7]] == [
        ["pipelines", "loaded"],
        ["other", "loaded"],
        ["broken", "error"],
    ]


def test_a_paired_notebook_is_listed_with_its_asset(live: Project) -> None:
    folder = live.root / "notebooks"
    folder.mkdir()
    (folder / "orders.py").write_text('import dagmar\npair = dagmar.Pair(asset="raw/orders")\n')
    (folder / "count.py").write_text('import dagmar\npair = dagmar.Pair(job="counting")\n')
    document = found(live)
    paired = {a["key"]: a["notebooks"] for a in document["assets"] if a["notebooks"]}
    assert paired == {"raw/orders": ["notebooks/orders.py"]}
    jobs = {job["name"]: job["notebooks"] for job in document["jobs"] if job["notebooks"]}
    assert jobs == {"counting": ["notebooks/count.py"]}
    table = live.invoke("discover", "--kind", "assets", "--match", "raw/orders").stdout
    assert "notebooks/orders.py" in table


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (("--kind", "asets"), 2, "did you mean 'assets'"),
        (("--kind", "jobs", "--group", "raw"), 2, "--group"),
        (("--tag", "gold"), 2, "KEY=VALUE"),
        (("--location", "pipeline"), 7, "did you mean 'pipelines'"),
        (("--select", "status:FAILED"), 7, "status"),
        (("--select", "code_location:other"), 7, "--location"),
        (("--select", "group:(("), 7, "the selection 'group:(('"),
        (("--target", "prod"), 2, "no target 'prod'"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    live: Project, flags: tuple[str, ...], status: int, words: str
) -> None:
    done = live.invoke("discover", *flags)
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr.replace("Traceback (most recent call last):\n  File", "")


def test_assets_come_from_the_cache_until_refresh(live: Project) -> None:
    found(live)
    (file,) = (live.root / ".dagmar" / "cache").glob("assets-*.json")
    cached = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps([{**asset, "group": "from-cache"} for asset in cached]), "utf-8")
    assert {asset["group"] for asset in found(live)["assets"]} == {"from-cache"}
    assert "from-cache" not in {asset["group"] for asset in found(live, "--refresh")["assets"]}
    assert "from-cache" not in file.read_text("utf-8")


def test_a_damaged_cache_costs_only_time(live: Project) -> None:
    found(live)
    (file,) = (live.root / ".dagmar" / "cache").glob("assets-*.json")
    file.write_text("[{", "utf-8")
    assert "raw/orders" in keys(found(live))


def test_url_overrides_the_targets_address(live: Project, dagster: DagsterServer) -> None:
    (live.root / "dagmar.yaml").write_text("targets: {local: {url: 'http://127.0.0.1:9'}}")
    assert live.invoke("discover", "--kind", "jobs").returncode == 5
    assert "raw/orders" in keys(found(live, "--url", f"{dagster.url}/graphql"))
    again = live.invoke(
        "discover", "--kind", "jobs", environ={"DAGMAR_TARGETS__LOCAL__URL": dagster.url}
    )
    assert again.returncode == 0


def test_the_target_flag_picks_a_target(live: Project, dagster: DagsterServer) -> None:
    (live.root / "dagmar.yaml").write_text(
        f"target: away\ntargets:\n  away: {{url: 'http://127.0.0.1:9'}}\n"
        f"  here: {{url: '{dagster.url}'}}\n"
    )
    assert live.invoke("discover").returncode == 5
    assert live.invoke("discover", "--target", "here").returncode == 0
    assert live.invoke("discover", environ={"DAGMAR_TARGET": "here"}).returncode == 0


def test_a_running_dev_server_of_the_project_is_found(
    live: Project, dagster: DagsterServer
) -> None:
    import os

    (live.root / "dagmar.yaml").write_text("")
    (live.root / ".dagmar/tmp").mkdir(parents=True, exist_ok=True)
    running = {"pid": os.getpid(), "dagster_url": dagster.url}
    (live.root / ".dagmar" / "tmp" / "dev.json").write_text(json.dumps(running))
    assert "raw/orders" in keys(found(live))


def test_tasks_compose(live: Project) -> None:
    done = live.invoke("discover", "--kind", "jobs", "discover", "--kind", "sensors")
    assert done.returncode == 0
    assert "counting" in done.stdout
    assert "Sensors" in done.stdout
