"""The partition that a notebook is about, without a server."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import time
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

# Around the hour that came twice, and the one that never came.
BACK = dg.HourlyPartitionsDefinition(
    "2023-11-05-00:00", end_date="2023-11-05-04:00", timezone="America/Los_Angeles"
)
AHEAD = dg.TimeWindowPartitionsDefinition(
    start="2024-03-31T00:00", end="2024-03-31T04:00", cron_schedule="*/30 * * * *",
    fmt="%Y-%m-%dT%H:%M", timezone="Europe/Berlin",
)
OFFSETS = dg.TimeWindowPartitionsDefinition(
    start="05/11/2023 00h-0700", end="05/11/2023 04h-0800", cron_schedule="0 * * * *",
    fmt="%d/%m/%Y %Hh%z", timezone="America/Los_Angeles",
)
# The last one has not begun yet.
COMING = dg.MonthlyPartitionsDefinition("2026-01-01", timezone="Asia/Kathmandu", end_offset=2)

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
    asset("parts", dg.MultiPartitionsDefinition({"day": DAYS, "town": TOWNS})),
    asset("back", BACK),
    asset("ahead", AHEAD),
    asset("offsets", OFFSETS),
    asset("coming", COMING),
    asset("sized_hours", dg.MultiPartitionsDefinition({"a_size": SIZES, "z_hour": BACK})),
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


@pytest.fixture(params=["UTC", "America/Los_Angeles", "Asia/Tokyo", "Pacific/Kiritimati"])
def _time_zone(request: pytest.FixtureRequest) -> Iterator[None]:
    """The machine's own time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_time_zone")
@pytest.mark.parametrize("asset", ["back", "ahead", "offsets", "coming"])
def test_the_order_is_dagsters_own_wherever_the_machine_is(
    root: Path, asset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = definitions_of(root).with_asset(asset)[1].partitions_def.get_partition_keys()
    assert len(keys) >= 4
    assert [require_partition(root, asset, key) for key in keys] == keys
    for first, last in itertools.combinations(keys, 2):
        history = lambda *_, keys={first, last}: keys  # noqa: E731
        monkeypatch.setattr(type(instance(root)), "get_materialized_partitions", history)
        assert latest_partition(root, asset) == last


@pytest.mark.usefixtures("_time_zone")
def test_of_an_hour_that_comes_twice_the_second_is_later(root: Path) -> None:
    make(root, "back", "2023-11-05-01:00-0800")
    assert latest_partition(root, "back") == "2023-11-05-01:00-0800"
    make(root, "back", "2023-11-05-01:00")
    assert latest_partition(root, "back") == "2023-11-05-01:00-0800"
    make(root, "sized_hours", "large|2023-11-05-01:00", "small|2023-11-05-01:00-0800")
    assert latest_partition(root, "sized_hours") == "small|2023-11-05-01:00-0800"


BEFORE = {
    "grid": ["small", "01.01.2026", "04.01.2026|small", "small|1|04.01.2026", "small|2026-01-04"],
    "daily": ["small", "2026-01-02", "02.01.2026-0800", "31.12.2025", "01.02.2026", "a|02.01.2026"],
    "sized": ["tiny", "small|04.01.2026", "02.01.2026"],
    "back": ["2023-11-05", "2023-11-04-23:00", "2023-11-05-01:00-0700", "2023-11-05-04:00"],
    "towns": ["Paris", "axle|left"],
    "plain": ["small", "02.01.2026"],
}  # fmt: skip


@pytest.mark.parametrize("asset", BEFORE)
def test_partitions_from_before_the_definition_was_changed_are_ignored(
    root: Path, asset: str
) -> None:
    partitions = definitions_of(root).with_asset(asset)[1].partitions_def
    instance(root).add_dynamic_partitions("towns", ["Bern"])
    make(root, asset, *BEFORE[asset])
    assert latest_partition(root, asset) is None
    with pytest.raises(Invalid, match="never materialized"):
        load_value(root, asset)
    for key in BEFORE[asset]:
        with pytest.raises(Invalid, match="has no partition"):
            require_partition(root, asset, key)
    if partitions is not None:
        last = str(partitions.get_partition_keys(dynamic_partitions_store=instance(root))[-1])
        make(root, asset, last)
        assert latest_partition(root, asset) == last
        with pytest.raises(LoadFailed):  # it was only recorded
            load_value(root, asset)


def test_a_key_with_a_separator_is_a_partition_of_one_dimension_only(root: Path) -> None:
    keys = ["axle|left", "a,b", "x...y", "-lead", "数据", "it's"]
    instance(root).add_dynamic_partitions("towns", keys)
    for key in keys:
        assert require_partition(root, "towns", key) == key
        make(root, "towns", key)
        make(root, "parts", f"02.01.2026|{key}")
    assert latest_partition(root, "towns") == "it's"
    assert latest_partition(root, "parts") == "02.01.2026|it's"
    with pytest.raises(Invalid, match="no partition") as caught:
        require_partition(root, "parts", "02.01.2026|axle|left")
    assert "Dagster splits a key at each |" in caught.value.hint
    for key in keys:
        instance(root).delete_dynamic_partition("towns", key)


def test_a_partition_is_found_without_listing_all_of_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes of some years are millions."""
    import dagster as dg

    for kind in (dg.TimeWindowPartitionsDefinition, dg.MultiPartitionsDefinition):
        monkeypatch.setattr(kind, "get_partition_keys", None)
    assert require_partition(root, "daily", "31.01.2026") == "31.01.2026"
    assert require_partition(root, "grid", "1.10|31.01.2026") == "1.10|31.01.2026"


def test_the_inputs_count_if_only_partitions_from_before_are_materialized(root: Path) -> None:
    make(root, "next_day", "small", "31.12.2025")
    make(root, "daily", "02.01.2026", "small|02.01.2026")
    assert latest_partition(root, "next_day") == "02.01.2026"


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
    for text in ("time=04.01.2026|a_size=small", "04.01.2026|small"):
        with pytest.raises(Invalid, match=r"did you mean 'small\|04\.01\.2026'"):
            require_partition(root, "grid", text)
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
