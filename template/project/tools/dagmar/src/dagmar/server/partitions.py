"""Partitions of an asset or a job: their keys, those that are missing or failed, and a choice."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from dagmar.errors import Invalid, UsageError, nearest
from dagmar.server.catalog import Item
from dagmar.server.client import DagsterClient, member
from dagmar.server.launch import PARTITION_TAG, Launch

RANGE = "..."


@dataclass(frozen=True)
class Choice:
    """The partitions that the flags of `invoke run` choose."""

    keys: Sequence[str] = ()
    range: str = ""
    all: bool = False
    missing: bool = False
    failed: bool = False
    latest: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError if the flags contradict each other."""
        flags = [bool(self.keys), bool(self.range), self.all, self.latest]
        if sum([*flags, self.missing or self.failed]) > 1:
            raise UsageError(
                "--partition, --partition-range, --all-partitions, --latest and "
                "--missing/--failed exclude each other"
            )
        if self.range and self.range.count(RANGE) != 1:
            raise UsageError(
                f"--partition-range takes FIRST...LAST, not '{self.range}'",
                "For example: --partition-range '2026-01-01...2026-01-31'",
            )

    def __bool__(self) -> bool:
        """Whether partitions are chosen."""
        return any(vars(self).values())


@dataclass
class Partitions:
    """The partitions of what is launched, in Dagster's order.

    `dimensions` has each dimension's keys by name; a single dimension is called `default`.
    A key of several dimensions joins theirs with `|`, in alphabetical order of the names.
    `missing` or `failed` is None if assets that are launched together differ in it.
    """

    what: str
    dimensions: dict[str, list[str]]
    missing: list[str] | None = field(default_factory=list)
    failed: list[str] | None = field(default_factory=list)
    single_run: bool = False

    @property
    def keys(self) -> list[str]:
        """All partition keys."""
        parts = [self.dimensions[name] for name in sorted(self.dimensions)]
        return ["|".join(key) for key in itertools.product(*parts)]

    def joined(self, other: Partitions) -> Partitions:
        """Return the partitions of both. Raises Invalid if they differ."""
        if self.dimensions != other.dimensions:
            raise Invalid(
                f"{self.what} and {other.what} are partitioned differently: "
                "they cannot be launched together",
                "Launch them one after the other.",
            )
        return Partitions(
            f"{self.what}, {other.what}",
            self.dimensions,
            self.missing if self.missing == other.missing else None,
            self.failed if self.failed == other.failed else None,
            self.single_run and other.single_run,
        )

    def choose(self, choice: Choice) -> list[str]:
        """Return the chosen keys, in order; none if nothing is missing or failed.

        Raises Invalid for a key that does not exist, or if assets that are launched together
        miss different partitions.
        """
        keys = self.keys
        if choice.keys:
            wanted = {self._known(key, keys) for key in choice.keys}
        elif choice.range:
            first, last = (self._known(key, keys) for key in choice.range.split(RANGE))
            start, end = keys.index(first), keys.index(last)
            if start > end:
                raise Invalid(
                    f"--partition-range: '{first}' comes after '{last}'",
                    command=f"--partition-range '{last}{RANGE}{first}'",
                )
            return keys[start : end + 1]
        elif choice.missing or choice.failed:
            wanted = set()
            for flag in ("missing", "failed"):
                matching = getattr(self, flag) if getattr(choice, flag) else ()
                if matching is None:
                    raise Invalid(
                        f"{self.what} do not have the same {flag} partitions",
                        f"Launch them one after the other with --{flag}.",
                    )
                wanted |= set(matching)
        elif not keys:
            raise Invalid(f"{self.what} has no partitions yet", "Add one in the Dagster UI first.")
        else:
            return keys if choice.all else keys[-1:]
        return [key for key in keys if key in wanted]

    def _known(self, text: str, keys: Sequence[str]) -> str:
        """Return the partition key that `text` means, which may be written `day=…|color=…`."""
        if text in keys:
            return text
        parts = dict(part.partition("=")[::2] for part in text.split("|"))
        if len(self.dimensions) > 1 and sorted(parts) == sorted(self.dimensions):
            key = "|".join(parts[name] for name in sorted(parts))
            if key in keys:
                return key
        raise no_such_partition(self.what, text, keys, sorted(self.dimensions))

    def tags(self, key: str) -> dict[str, str]:
        """Return the tags of a run for the partition `key`."""
        tags = {PARTITION_TAG: key}
        if len(self.dimensions) > 1:
            parts = zip(sorted(self.dimensions), key.split("|"), strict=True)
            tags.update({f"{PARTITION_TAG}/{name}": part for name, part in parts})
        return tags

    def is_range(self, chosen: Sequence[str]) -> bool:
        """Whether the chosen keys follow each other without a gap, in one dimension."""
        if len(self.dimensions) != 1 or not chosen:
            return False
        keys = self.keys
        start = keys.index(chosen[0])
        return keys[start : start + len(chosen)] == list(chosen)


def no_such_partition(
    what: str, text: str, keys: Sequence[str], dimensions: Sequence[str] = ()
) -> Invalid:
    """Return the error for a partition that does not exist, with those that exist."""
    form = f", written {'|'.join(dimensions)}" if len(dimensions) > 1 else ""
    known = f"from {keys[0]} to {keys[-1]}" if len(keys) > 12 else ", ".join(keys) or "none"
    reverse = "|".join(reversed(text.split("|")))
    near = reverse if reverse in keys else nearest(text, keys)
    return Invalid(
        f"{what} has no partition '{text}'" + (f" — did you mean '{near}'?" if near else ""),
        f"Its partitions{form}: {known}",
        meant={text: near} if near else {},
    )


def of_asset(key: str, node: Item) -> Partitions:
    """Return the partitions of an asset from its node in `AssetsToLaunch`."""
    dimensions = {
        dimension["name"]: dimension["partitionKeys"]
        for dimension in node.get("partitionKeysByDimension") or []
    }
    single = (node["backfillPolicy"] or {}).get("policyType") == "SINGLE_RUN"
    partitions = Partitions(f"the asset '{key}'", dimensions, single_run=single)
    if dimensions:
        states = _states(partitions, node["assetPartitionStatuses"])
        partitions.missing = [key for key in partitions.keys if key not in states]
        partitions.failed = [key for key in partitions.keys if states.get(key) == "FAILED"]
    return partitions


def _states(partitions: Partitions, statuses: Item) -> dict[str, str]:
    """Return MATERIALIZED, FAILED or MATERIALIZING by key; other partitions are left out."""
    if statuses["__typename"] != "MultiPartitionStatuses":
        (keys,) = partitions.dimensions.values()
        return _states_of(keys, statuses)
    primary = statuses["primaryDimensionName"]
    (secondary,) = set(partitions.dimensions) - {primary}
    states = {}
    for ranges in statuses["ranges"]:
        inner = _states_of(partitions.dimensions[secondary], ranges["secondaryDim"])
        keys = partitions.dimensions[primary]
        outer = _between(keys, ranges["primaryDimStartKey"], ranges["primaryDimEndKey"])
        for a, (b, state) in itertools.product(outer, inner.items()):
            parts = {primary: a, secondary: b}
            states["|".join(parts[name] for name in sorted(parts))] = state
    return states


def _states_of(keys: Sequence[str], statuses: Item) -> dict[str, str]:
    if statuses["__typename"] == "TimePartitionStatuses":
        return {
            key: part["status"]
            for part in statuses["ranges"]
            for key in _between(keys, part["startKey"], part["endKey"])
        }
    return {
        **dict.fromkeys(statuses["materializedPartitions"], "MATERIALIZED"),
        **dict.fromkeys(statuses["materializingPartitions"], "MATERIALIZING"),
        **dict.fromkeys(statuses["failedPartitions"], "FAILED"),
    }


def _between(keys: Sequence[str], first: str, last: str) -> Sequence[str]:
    if first not in keys or last not in keys:  # no longer part of the definition
        return []
    return keys[keys.index(first) : keys.index(last) + 1]


def of_job(client: DagsterClient, job: Launch) -> Partitions:
    """Return the partitions of a partitioned job."""
    answer = client.query(
        "JobPartitions",
        selector=job.selector("pipelineName"),
        repository=job.repository_selector,
        partition_set=job.partition_set,
    )
    pipeline = member(answer["pipelineOrError"], "Pipeline")
    keys = pipeline["partitionKeysOrError"]["partitionKeys"]
    partition_set = member(answer["partitionSetOrError"], "PartitionSet")
    results = member(partition_set["partitionStatusesOrError"], "PartitionStatuses")["results"]
    states = {result["partitionName"]: result["runStatus"] for result in results}
    return Partitions(
        f"the job '{job.job}'",
        {"default": keys},
        missing=[key for key in keys if not states.get(key)],
        failed=[key for key in keys if states.get(key) in ("FAILURE", "CANCELED")],
    )
