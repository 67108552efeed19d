"""The assets' side of a history, compared with what Dagster's own instance says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagmar.asset_key import AssetKey
from dagmar.server.asset_history import PartitionCounts
from dagmar.server.catalog import read_catalog
from dagmar.server.client import DagsterClient
from dagmar.stats.assets import AssetSide, read_asset_side
from dagmar.stats.cache import Cache
from dagmar.stats.scope import Scope, choose_assets
from dagmar.stats.window import Window
from support.dagster_server import DagsterServer
from support.project import Project

WATCHED, GRID, GONE = dg.AssetKey("watched"), dg.AssetKey("grid"), dg.AssetKey(["wh", "gone/a"])
HOUR = 3600.0


@pytest.fixture
def instance(dagster: DagsterServer, dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of the live server, opened here too."""
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        yield instance


def side_of(client: DagsterClient, folder: Path, now: float, *names: str) -> dict[str, AssetSide]:
    rows = choose_assets(client, read_catalog(client, ("assets",)), Scope(names))
    window, before = Window(now - HOUR, now), Window(now - 2 * HOUR, now - HOUR)
    with Cache(folder, client.target.url, "") as cache:
        found = read_asset_side(client, cache, rows.values(), window, before, now)
    return {name: found[asset] for name, asset in rows.items()}


def test_checks_numbers_partitions_and_ages_are_those_of_the_instance(
    client: DagsterClient, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    evaluations = [
        dg.AssetCheckEvaluation(WATCHED, "has_rows", passed, {}, severity=severity)
        for passed, severity in (
            (False, dg.AssetCheckSeverity.ERROR),
            (True, dg.AssetCheckSeverity.ERROR),
            (False, dg.AssetCheckSeverity.WARN),
        )
    ]
    keys = [
        dg.MultiPartitionKey({"day": day, "color": color})
        for day, color in (("2026-01-02", "red"), ("2026-01-03", "red"), ("2026-01-03", "blue"))
    ]
    for event in (
        dg.AssetObservation(WATCHED, metadata={"score": 0.5, "rows": 4, "note": "no number"}),
        *evaluations,
        # Newer than the checks: Dagster's own card of the asset then has no result of them.
        dg.AssetMaterialization(WATCHED, metadata={"rows": 5}),
        *(dg.AssetMaterialization(GRID, partition=key) for key in keys),
        dg.AssetMaterialization(GONE, metadata={"rows": 1}),
    ):
        instance.report_runless_asset_event(event)
    latest = instance.get_latest_materialization_event(GONE)
    assert latest
    now = latest.timestamp + 60
    gone = str(AssetKey.from_parts(GONE.path))
    sides = side_of(client, tmp_path, now, "watched", "grid", gone)

    watched = sides["watched"].as_document()
    (check,) = [each for each in watched["checks"] if each["name"] == "has_rows"]
    history = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(WATCHED, "has_rows"), limit=1000
    )
    results = [record.event.asset_check_evaluation for record in history if record.event]
    evaluated = [each for each in results if each]
    assert check["evaluated"] == {"now": len(evaluated), "before": 0}
    assert check["failed"]["now"] == sum(not each.passed for each in evaluated)
    assert sum(part["failed"] for part in check["trend"]) == check["failed"]["now"]
    assert (check["last"]["passed"], check["last"]["severity"]) == (False, "WARN")

    events = [
        *instance.fetch_materializations(WATCHED, limit=100).records,
        *instance.fetch_observations(WATCHED, limit=100).records,
    ]
    rows = sorted(
        (int(event.timestamp * 1000) / 1000, found.metadata["rows"].value)
        for event in events
        for found in (event.asset_materialization or event.event_log_entry.asset_observation,)
        if found and "rows" in found.metadata
    )
    points = sides["watched"].numbers["rows"]
    assert [(point.at, point.value) for point in points][-60:] == rows[-60:]

    materialized = len(instance.get_materialized_partitions(GRID))
    counts = sides["grid"].state and sides["grid"].state.partitions
    assert isinstance(counts, PartitionCounts)
    assert counts.materialized + counts.failed >= materialized >= 3
    assert counts.missing <= 30 - materialized

    assert sides[gone].state is None
    assert sides[gone].age == pytest.approx(60, abs=0.001)


def test_an_asset_of_two_code_locations_has_the_partitions_of_each(
    client: DagsterClient, tmp_path: Path
) -> None:
    sides = side_of(client, tmp_path, 2e9, "shared_colors", "shared")
    assert set(sides) >= {"shared@pipelines", "shared@other"}
    assert all(side.state is not None for side in sides.values())


def test_flags_choose_assets_also_those_that_never_ran(live: Project) -> None:
    flags = (
        "--group",
        "sales",
        "--select",
        'key:"shared*" or group:raw',
        "--location",
        "pipelines",
    )
    done = live.invoke("stats", *flags, "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    # A run in a kernel has no code location: it has a row of the key alone.
    names = {"shared@pipelines", "shared_colors@pipelines"}
    assert rows.keys() - {"shared", "shared_colors"} == names
    assert rows["shared_colors@pipelines"]["partitions"].keys() == {
        "materialized", "missing", "failed",
    }  # fmt: skip
    assert rows["shared@pipelines"]["fresh"].keys() == {"at", "age_s", "state"}
