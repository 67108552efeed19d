"""Which partitions the flags of `invoke run` choose, compared with Dagster's own definitions."""

from __future__ import annotations

import itertools
import re
import shlex
from typing import Any
from unittest.mock import create_autospec

import dagster as dg
import pytest
from dagmar.errors import Invalid, UsageError
from dagmar.server.partitions import Choice, Partitions, dimensions_of, of_asset
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.instance import DynamicPartitionsStore

COLORS = dg.StaticPartitionsDefinition(["blue", "green", "red"])
DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-06")
# On this day clocks went back: an hour came twice.
HOURS = dg.HourlyPartitionsDefinition(
    "2023-11-05-00:00", end_date="2023-11-05-03:00", timezone="America/Los_Angeles"
)
WORKDAYS = dg.TimeWindowPartitionsDefinition(
    start="2026-01-01", end="2026-01-10", fmt="%Y-%m-%d", cron_schedule="0 3 * * *",
    exclusions=["0 3 * * 0", "0 3 * * 6"],
)  # fmt: skip
TOWNS = dg.DynamicPartitionsDefinition(name="towns")
DEFINITIONS: dict[str, Any] = {
    "static": COLORS,
    "dynamic": TOWNS,
    "an hour twice": HOURS,
    "excluded days": WORKDAYS,
    "static and days": dg.MultiPartitionsDefinition({"color": COLORS, "day": DAYS}),
    "days and dynamic": dg.MultiPartitionsDefinition({"day": DAYS, "town": TOWNS}),
    "hours before colors": dg.MultiPartitionsDefinition({"a_hour": HOURS, "color": COLORS}),
}


STORE = create_autospec(DynamicPartitionsStore, instance=True)
STORE.get_dynamic_partitions.return_value = added = ["Ulm", "axle|left", "St. Ives", "a,b"]
STORE.has_dynamic_partition.side_effect = lambda partitions_def_name, partition_key: (
    partition_key in added
)


def partitions_of(definition: Any) -> Partitions:
    """Return the partitions as a server describes them."""
    parts = {"default": definition}
    if isinstance(definition, dg.MultiPartitionsDefinition):
        parts = {part.name: part.partitions_def for part in definition.partitions_defs}
    dimensions = [
        {"name": name, "partitionKeys": part.get_partition_keys(dynamic_partitions_store=STORE)}
        for name, part in parts.items()
    ]
    return Partitions("the asset 'grid'", dimensions_of({"partitionKeysByDimension": dimensions}))


def in_range(definition: Any, first: str, last: str) -> list[str]:
    """Return the keys of a range as Dagster counts them; none if its ends are reversed."""
    # Dagster looks up windows by their local times, which the two equal hours share.
    dg.TimeWindowPartitionsDefinition.get_partition_keys_in_time_window.cache_clear()
    with partition_loading_context(dynamic_partitions_store=STORE):
        keys = definition.get_partition_keys_in_range(dg.PartitionKeyRange(first, last))
        # It does not look up what is between the ends.
        known = definition.get_partition_keys()
        return [key for key in keys if key in known]


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_a_range_has_the_partitions_that_dagster_counts_in_it(kind: str) -> None:
    definition = DEFINITIONS[kind]
    partitions = partitions_of(definition)
    keys = list(definition.get_partition_keys(dynamic_partitions_store=STORE))
    assert partitions.keys == keys
    assert partitions.choose(Choice(latest=True)) == keys[-1:]
    for first, last in itertools.product(keys, keys):
        expected = in_range(definition, first, last)
        if expected:
            assert partitions.choose(Choice(range=f"{first}...{last}")) == expected
            continue
        with pytest.raises(Invalid, match="comes after") as caught:
            partitions.choose(Choice(range=f"{first}...{last}"))
        flag, corrected = shlex.split(caught.value.command)
        assert flag == "--partition-range"
        assert partitions.choose(Choice(range=corrected)) == in_range(
            definition, *corrected.split("...")
        )


def test_a_range_over_two_dimensions_is_a_rectangle() -> None:
    partitions = partitions_of(DEFINITIONS["static and days"])
    rectangle = ["blue|2026-01-02", "blue|2026-01-03", "green|2026-01-02", "green|2026-01-03"]
    for text in (
        "blue|2026-01-02...green|2026-01-03",
        "day=2026-01-02|color=blue...color=green|day=2026-01-03",
    ):
        assert partitions.choose(Choice(range=text)) == rectangle
    with pytest.raises(Invalid, match="in the dimension 'day', '2026-01-03' comes after"):
        partitions.choose(Choice(range="blue|2026-01-03...green|2026-01-02"))
    with pytest.raises(Invalid, match=r"no partition 'green\|2026-01-06' — did you mean"):
        partitions.choose(Choice(range="blue|2026-01-02...green|2026-01-06"))


def test_a_key_with_a_separator_is_a_partition_of_one_dimension_only() -> None:
    towns = partitions_of(TOWNS)
    assert towns.choose(Choice(keys=("a,b", "axle|left"))) == ["axle|left", "a,b"]
    assert towns.tags("axle|left") == {"dagster/partition": "axle|left"}
    days = partitions_of(DEFINITIONS["days and dynamic"])
    assert days.tags("2026-01-02|a,b") == {
        "dagster/partition": "2026-01-02|a,b",
        "dagster/partition/day": "2026-01-02",
        "dagster/partition/town": "a,b",
    }
    for text in ("2026-01-02|axle|left", "town=axle|left|day=2026-01-02"):
        with pytest.raises(Invalid, match=re.escape(f"no partition '{text}'")) as caught:
            days.choose(Choice(keys=(text,)))
        assert "Dagster splits a key at each |" in caught.value.hint


def states(kind: str, **states: Any) -> dict[str, Any]:
    """Return the statuses of partitions as a server answers them."""
    empty = dict.fromkeys(
        ("materializedPartitions", "materializingPartitions", "failedPartitions"), ()
    )
    return {"__typename": kind, **(empty if kind == "DefaultPartitionStatuses" else {}), **states}


def ranges(*ranges: tuple[str, str, str]) -> dict[str, Any]:
    """Return the statuses of partitions in time."""
    names = ("startKey", "endKey", "status")
    return states(
        "TimePartitionStatuses", ranges=[dict(zip(names, part, strict=True)) for part in ranges]
    )


@pytest.mark.parametrize(
    ("kind", "statuses", "missing", "failed"),
    [
        (
            "an hour twice",
            ranges(
                ("2023-11-05-01:00-0800", "2023-11-05-01:00-0800", "MATERIALIZED"),
                ("2023-11-05-02:00", "2023-11-05-02:00", "FAILED"),
                ("2022-11-05-02:00", "2022-11-05-02:00", "FAILED"),
            ),
            ["2023-11-05-00:00", "2023-11-05-01:00"],
            ["2023-11-05-02:00"],
        ),
        (
            "static",
            states(
                "DefaultPartitionStatuses",
                materializedPartitions=["red", "2026-01-01", "red|2026-01-01"],
                failedPartitions=["green", "tiny"],
            ),
            ["blue"],
            ["green"],
        ),
        (
            "hours before colors",
            states(
                "MultiPartitionStatuses",
                primaryDimensionName="a_hour",
                ranges=[
                    {
                        "primaryDimStartKey": "2023-11-05-00:00",
                        "primaryDimEndKey": "2023-11-05-01:00",
                        "secondaryDim": states(
                            "DefaultPartitionStatuses",
                            materializedPartitions=["red", "green", "tiny"],
                            failedPartitions=["blue"],
                        ),
                    }
                ],
            ),
            [f"2023-11-05-{hour}|{color}" for hour in ("01:00-0800", "02:00")
             for color in ("blue", "green", "red")],
            ["2023-11-05-00:00|blue", "2023-11-05-01:00|blue"],
        ),
    ],
)  # fmt: skip
def test_what_is_missing_or_failed_is_in_the_definition(
    kind: str, statuses: dict[str, Any], missing: list[str], failed: list[str]
) -> None:
    partitions = of_asset(
        "grid",
        {
            "partitionKeysByDimension": [
                {"name": name, "partitionKeys": keys}
                for name, keys in partitions_of(DEFINITIONS[kind]).dimensions.items()
            ],
            "backfillPolicy": None,
            "assetPartitionStatuses": statuses,
        },
    )
    assert partitions.choose(Choice(missing=True)) == missing
    assert partitions.choose(Choice(failed=True)) == failed


def test_a_range_given_as_one_partition_is_refused_with_the_flag_for_it() -> None:
    days = Partitions("the asset 'a'", {"default": ["01", "02", "03"]})
    with pytest.raises(Invalid, match="is a range of partitions") as refused:
        days.choose(Choice(keys=["01...03"]))
    assert refused.value.hint == "Use --partition-range 01...03"


def test_the_keys_of_a_range_may_have_dots() -> None:
    partitions = Partitions("the asset 'parts'", {"default": ["a", "b...c", ".d", "...", "e"]})
    for text, chosen in {
        "a...b...c": ["a", "b...c"],
        "b...c....d": ["b...c", ".d"],
        "......e": ["...", "e"],
    }.items():
        assert partitions.choose(Choice(range=text)) == chosen
    with pytest.raises(Invalid, match="no partition 'f'"):
        partitions.choose(Choice(range="b...c...f"))
    doubtful = Partitions("the asset 'parts'", {"default": ["a", "a...b", "b...c", "c"]})
    with pytest.raises(Invalid, match="can be read in several ways"):
        doubtful.choose(Choice(range="a...b...c"))
    for text in ("a", "a..c", "...c", "a..."):
        with pytest.raises(UsageError, match=r"FIRST\.\.\.LAST"):
            Choice(range=text)
