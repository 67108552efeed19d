"""The partition that a notebook is about, without a server."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, LoadFailed
from dagmar.orchestration.definitions import inputs_of
from dagmar.orchestration.instance import instance
from dagmar.orchestration.loader import definitions_of
from dagmar.orchestration.partitions import latest_partition, require_partition
from dagmar.orchestration.values import load_value

DEFINITIONS = """
import dagster as dg

DAYS = dg.DailyPartitionsDefinition("01.01.2026", end_date="01.02.2026", fmt="%d.%m.%Y")
SIZES = dg.StaticPartitionsDefinition(["small", "medium", "large", "1.10"])
TOWNS = dg.DynamicPartitionsDefinition(name="towns")
# In Dagster's own order of keys, the size comes before the time.
GRID = dg.MultiPartitionsDefinition({"a_size": SIZES, "time": DAYS})


def asset(name, partitions, *upstream, **more):
    ins = {f"v{number}": dg.AssetIn(key) for number, key in enumerate(upstream)}

    @dg.asset(name=name, partitions_def=partitions, ins=ins, **more)
    def made(context, **values):
        return str(context.partition_key) if partitions else name

    return made


defs = dg.Definitions([
    asset("plain", None),
    asset("daily", DAYS, "plain"),
    asset("grid", GRID),
    asset("sized", SIZES),
    asset("towns", TOWNS),
    asset("next_day", DAYS, "daily", deps=["grid"]),
    asset("next_size", SIZES, "daily", "sized"),
    asset("whole", DAYS, "lake", deps=[dg.AssetDep("daily")]),
    dg.AssetSpec("lake", partitions_def=DAYS),
])
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with its own instance, which takes a while to create."""
    root = tmp_path_factory.mktemp("parts")
    module = f"parts_{os.path.basename(root)}".replace("-", "_")
    (root / f"{module}.py").write_text(DEFINITIONS, "utf-8")
    (root / "dagmar.yaml").write_text("targets: {local: {url: 'http://127.0.0.1:9'}}\n")
    settings = f'[tool.dagster]\nmodule_name = "{module}"\n'
    (root / "pyproject.toml").write_text(settings, "utf-8")
    home = root / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setattr(sys, "path", [*sys.path])
        yield root
        instance(root).dispose()
        gc.collect()  # what ends here runs code, which must not happen while pytest parses


@pytest.fixture(autouse=True)
def _nothing_is_materialized(root: Path) -> None:
    store = instance(root)
    store.wipe_assets(store.all_asset_keys())


def make(root: Path, asset: str, *partitions: str) -> None:
    """Record that partitions of an asset were materialized."""
    import dagster as dg

    for partition in partitions:
        event = dg.AssetMaterialization(asset, partition=partition)
        instance(root).report_runless_asset_event(event)


def test_it_is_the_newest_time_not_the_last_materialized_or_the_greatest_text(root: Path) -> None:
    assert latest_partition(root, "plain") is None
    assert latest_partition(root, "daily") is None
    make(root, "daily", "02.01.2026", "20.01.2026", "03.01.2026", "19.01.2026")
    assert latest_partition(root, "daily") == "20.01.2026"
    make(root, "grid", "small|04.01.2026", "large|03.01.2026", "medium|04.01.2026")
    assert latest_partition(root, "grid") == "medium|04.01.2026"
    make(root, "sized", "medium", "large", "small")
    assert latest_partition(root, "sized") == "large"
    instance(root).add_dynamic_partitions("towns", ["Rome", "Bern", "Ulm"])
    make(root, "towns", "Bern", "Rome")
    assert latest_partition(root, "towns") == "Bern"
    instance(root).delete_dynamic_partition("towns", "Bern")
    assert latest_partition(root, "towns") == "Rome"


def test_before_the_first_time_it_is_the_latest_that_the_inputs_have(root: Path) -> None:
    assert latest_partition(root, "next_day") is None
    make(root, "daily", "02.01.2026", "01.01.2026")
    assert latest_partition(root, "next_day") == "02.01.2026"
    make(root, "next_day", "01.01.2026")
    assert latest_partition(root, "next_day") == "01.01.2026"
    assert latest_partition(root, "next_size") is None


def test_an_unknown_partition_is_refused_with_a_suggestion(root: Path) -> None:
    assert require_partition(root, "sized", "small") == "small"
    with pytest.raises(Invalid, match="no partition 'smal' — did you mean 'small'"):
        require_partition(root, "sized", "smal")
    with pytest.raises(Invalid, match="did you mean 'daily'"):
        latest_partition(root, "dayly")


def test_inputs_are_distinguished_from_dependencies_without_a_value(root: Path) -> None:
    graph = definitions_of(root).with_asset("lake")[0].asset_graph
    inputs = {
        key: inputs_of(graph, AssetKey(key)) for key in ("next_day", "next_size", "whole", "lake")
    }
    assert {key: (ins.partitioned, ins.values, set(ins.alike)) for key, ins in inputs.items()} == {
        "next_day": (True, ("daily",), {"daily"}),
        "next_size": (True, ("daily", "sized"), {"sized"}),
        "whole": (True, ("lake",), {"lake"}),
        "lake": (True, (), set()),
    }


def test_an_asset_that_dagster_does_not_materialize_says_so_if_it_cannot_be_loaded(
    root: Path,
) -> None:
    with pytest.raises(LoadFailed, match="'lake' is not materialized by Dagster") as caught:
        load_value(root, "lake", "02.01.2026")
    assert "invoke run" not in caught.value.suggestion


SCRIPT = """
import marimo

app = marimo.App()

with app.setup:
    import dagmar

    pair = dagmar.Pair(asset="sized")


@app.cell
def inputs():
    partition_key = pair.partition_key()
    return (partition_key,)


@app.cell
def _(partition_key):
    print(repr(partition_key))
    return


if __name__ == "__main__":
    app.run()
"""


RUN = """
import runpy, sys

for arguments in ([], ["--partition_key", "small"], ["--partition-key=1.10"], ["--partition_key="]):
    sys.argv[1:] = arguments
    runpy.run_path(sys.argv[0], run_name="__main__")
sys.argv[1:] = ["--partition_key=smal"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_script_is_about_the_latest_partition_or_that_of_its_flag(root: Path) -> None:
    file = root / "notebooks" / "sized.py"
    file.parent.mkdir()
    file.write_text(SCRIPT, "utf-8")
    make(root, "sized", "medium")
    code = f"import sys; sys.argv = [{str(file)!r}]; {RUN}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=root, capture_output=True, text=True
    )
    # A key that looks like a number stays text.
    assert done.stdout.split() == ["'medium'", "'small'", "'1.10'", "'medium'"]
    assert "has no partition 'smal' — did you mean 'small'" in done.stderr
