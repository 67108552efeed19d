"""Partitions of an asset or a job: their keys, those that are missing or failed, and a choice."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from dagmar.errors import Invalid, UnexpectedAnswer, UsageError, nearest
from dagmar.server.catalog import Item
from dagmar.server.client import DagsterClient, member
from dagmar.server.launch import PARTITION_TAG, Launch
from dagmar.server.shapes import RELOADED

RANGE = "..."
SEPARATOR = "|"
WORDS = {"MATERIALIZED": "materialized", "MATERIALIZING": "running", "FAILED": "failed"}
RUN_WORDS = {"SUCCESS": "materialized", "FAILURE": "failed", "CANCELED": "failed"}
DIMENSION_TAG = f"{PARTITION_TAG}/"


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
                "--missing/--failed exclude each other",
                "Use one of them.",
            )
        if self.range and not _ends(self.range):
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
    `missing` or `failed` is None if assets that are launched together differ in it. `states` are
    materialized, failed or running by key; a missing partition has none.
    """

    what: str
    dimensions: dict[str, list[str]]
    missing: list[str] | None = field(default_factory=list)
    failed: list[str] | None = field(default_factory=list)
    single_run: bool = False
    states: dict[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """All partition keys."""
        parts = [self.dimensions[name] for name in sorted(self.dimensions)]
        return [SEPARATOR.join(key) for key in itertools.product(*parts)]

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
            self.states if self.states == other.states else {},
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
            return self._between(*self._known_ends(choice.range, keys))
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

    def _known_ends(self, text: str, keys: Sequence[str]) -> tuple[str, str]:
        """Return the partition keys at both ends of a range. Raises Invalid."""
        readings = _ends(text)
        known = [(self._meant(first, keys), self._meant(last, keys)) for first, last in readings]
        both = [ends for ends in known if all(ends)]
        if len(both) > 1:
            raise Invalid(
                f"--partition-range '{text}' can be read in several ways: keys have dots, too",
                "Give each partition with --partition.",
            )
        if not both:
            likely = max(range(len(known)), key=lambda number: sum(map(bool, known[number])))
            first, last = readings[likely]
            return self._known(first, keys), self._known(last, keys)
        return both[0]

    def _between(self, first: str, last: str) -> list[str]:
        """Return the keys of a range: of each dimension those between its ends, as Dagster does.

        Raises Invalid if the ends of a dimension are in reverse order.
        """
        names = sorted(self.dimensions)
        ends = list(zip(names, self._parts(first), self._parts(last), strict=True))
        slices = [_slice(self.dimensions[name], start, end) for name, start, end in ends]
        if not all(slices):
            name, start, end = ends[slices.index([])]
            where = f"in the dimension '{name}', " if len(ends) > 1 else ""
            ordered = (sorted(pair, key=self.dimensions[name].index) for name, *pair in ends)
            corrected = RANGE.join(map(SEPARATOR.join, zip(*ordered, strict=True)))
            raise Invalid(
                f"--partition-range: {where}'{start}' comes after '{end}'",
                command=f"--partition-range {shlex.quote(corrected)}",
            )
        return [SEPARATOR.join(key) for key in itertools.product(*slices)]

    def _parts(self, key: str) -> list[str]:
        """Return the key of each dimension, in the order of their names."""
        return key.split(SEPARATOR) if len(self.dimensions) > 1 else [key]

    def _known(self, text: str, keys: Sequence[str]) -> str:
        """Return the partition key that `text` means. Raises Invalid if there is none."""
        if key := self._meant(text, keys):
            return key
        if any(all(self._meant(end, keys) for end in ends) for ends in _ends(text)):
            raise Invalid(
                f"'{text}' is a range of partitions, not one of them",
                f"Use --partition-range {shlex.quote(text)}",
            )
        raise no_such_partition(self.what, text, keys, sorted(self.dimensions))

    def _meant(self, text: str, keys: Sequence[str]) -> str:
        """Return the key that `text` means, maybe written `day=…|color=…`; else an empty text."""
        meant = (text, _joined_by_name(text, self.dimensions))
        return next((key for key in meant if key in keys), "")

    def tags(self, key: str) -> dict[str, str]:
        """Return the tags of a run for the partition `key`."""
        tags = {PARTITION_TAG: key}
        if len(self.dimensions) > 1:
            parts = zip(sorted(self.dimensions), self._parts(key), strict=True)
            tags.update({f"{DIMENSION_TAG}{name}": part for name, part in parts})
        return tags

    def is_range(self, chosen: Sequence[str]) -> bool:
        """Whether the chosen keys follow each other without a gap, in one dimension."""
        if len(self.dimensions) != 1 or not chosen:
            return False
        return self._between(chosen[0], chosen[-1]) == list(chosen)


def _ends(text: str) -> list[tuple[str, str]]:
    """Return every way to read a range as two keys, which may have dots themselves."""
    dots = [match.start() for match in re.finditer(f"(?={re.escape(RANGE)})", text)]
    return [
        (text[:start], text[start + len(RANGE) :])
        for start in dots
        if start and start + len(RANGE) < len(text)
    ]


def _joined_by_name(text: str, dimensions: Collection[str]) -> str:
    """Return the key that is written `day=…|color=…`; an empty text if it does not name them."""
    parts = dict(part.partition("=")[::2] for part in text.split(SEPARATOR))
    if len(dimensions) < 2 or sorted(parts) != sorted(dimensions):
        return ""
    return SEPARATOR.join(parts[name] for name in sorted(parts))


def no_such_partition(
    what: str, text: str, keys: Sequence[str], dimensions: Sequence[str] = ()
) -> Invalid:
    """Return the error for a partition that does not exist, with those that exist."""
    form = f", written {SEPARATOR.join(dimensions)}" if len(dimensions) > 1 else ""
    known = f"from {keys[0]} to {keys[-1]}" if len(keys) > 12 else ", ".join(keys) or "none"
    if 1 < len(dimensions) <= text.count(SEPARATOR):
        known += ". Dagster splits a key at each |, so no key of a dimension can have one."
    others = (SEPARATOR.join(reversed(text.split(SEPARATOR))), _joined_by_name(text, dimensions))
    near = next((key for key in others if key in keys), "") or nearest(text, keys)
    return Invalid(
        f"{what} has no partition '{text}'" + (f" — did you mean '{near}'?" if near else ""),
        f"Its partitions{form}: {known}",
        meant={text: near} if near else {},
    )


def dimensions_of(node: Item) -> dict[str, list[str]]:
    """Return the partition keys of an asset's node by dimension, in Dagster's order.

    Of several dimensions, keys with a separator are left out: to Dagster, no partition has them.
    """
    dimensions = node.get("partitionKeysByDimension") or ()
    return {
        dimension["name"]: [
            key
            for key in dimension["partitionKeys"]
            if len(dimensions) == 1 or SEPARATOR not in key
        ]
        for dimension in dimensions
    }


def of_asset(key: str, node: Item) -> Partitions:
    """Return the partitions of an asset from its node in `AssetsToLaunch`."""
    dimensions = dimensions_of(node)
    single = (node["backfillPolicy"] or {}).get("policyType") == "SINGLE_RUN"
    partitions = Partitions(f"the asset '{key}'", dimensions, single_run=single)
    if dimensions:
        states = _states(partitions, node["assetPartitionStatuses"])
        partitions.missing = [key for key in partitions.keys if key not in states]
        partitions.failed = [key for key in partitions.keys if states.get(key) == "FAILED"]
        partitions.states = {key: WORDS.get(state, state) for key, state in states.items()}
    return partitions


def _states(partitions: Partitions, statuses: Item) -> dict[str, str]:
    """Return MATERIALIZED, FAILED or MATERIALIZING by key; other partitions are left out."""
    several = statuses["__typename"] == "MultiPartitionStatuses"
    names = [*partitions.dimensions]
    primary = statuses["primaryDimensionName"] if several else names[0]
    if primary not in names or len(names) != 1 + several:
        raise UnexpectedAnswer(
            f"Dagster's answer has other dimensions in the states of {partitions.what}",
            RELOADED,
        )
    if not several:
        return _states_of(partitions.dimensions[primary], statuses)
    (secondary,) = set(names) - {primary}
    states = {}
    for ranges in statuses["ranges"]:
        inner = _states_of(partitions.dimensions[secondary], ranges["secondaryDim"])
        keys = partitions.dimensions[primary]
        outer = _slice(keys, ranges["primaryDimStartKey"], ranges["primaryDimEndKey"])
        for a, (b, state) in itertools.product(outer, inner.items()):
            parts = {primary: a, secondary: b}
            states[SEPARATOR.join(parts[name] for name in sorted(parts))] = state
    return states


def _states_of(keys: list[str], statuses: Item) -> dict[str, str]:
    if statuses["__typename"] == "TimePartitionStatuses":
        return {
            key: part["status"]
            for part in statuses["ranges"]
            for key in _slice(keys, part["startKey"], part["endKey"])
        }
    return {
        **dict.fromkeys(statuses["materializedPartitions"], "MATERIALIZED"),
        **dict.fromkeys(statuses["materializingPartitions"], "MATERIALIZING"),
        **dict.fromkeys(statuses["failedPartitions"], "FAILED"),
    }


def _slice(keys: list[str], first: str, last: str) -> list[str]:
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
        _dimensions_of_job(keys, partition_set["partitionsOrError"]),
        missing=[key for key in keys if not states.get(key)],
        failed=[key for key in keys if RUN_WORDS.get(states.get(key) or "") == "failed"],
        states={key: RUN_WORDS.get(state, "running") for key, state in states.items() if state},
    )


def _dimensions_of_job(keys: list[str], first: Item) -> dict[str, list[str]]:
    """Return the keys by dimension; Dagster names the dimensions only in a partition's tags."""
    # Code that fails to tag a partition is reported once the partition is to be launched.
    tags = [
        tag["key"]
        for partition in first.get("results", ())
        for tag in partition["tagsOrError"].get("results", ())
    ]
    names = [tag.removeprefix(DIMENSION_TAG) for tag in tags if tag.startswith(DIMENSION_TAG)]
    if not names:
        return {"default": keys}
    columns = zip(*(key.split(SEPARATOR) for key in keys), strict=True)
    return {
        name: list(dict.fromkeys(column))
        for name, column in zip(sorted(names), columns, strict=True)
    }
