"""How long something usually takes: its last successful runs on the server."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.project.provenance import HERE_TAG
from dagmar.server.client import DagsterClient
from dagmar.server.history import read_pages, run_filter
from dagmar.server.launch import RANGE_START_TAG, Launch
from dagmar.server.runs import SUCCESS, Run

DAYS = 30
PAGES = 4
"""Pages of a job's runs that are looked at: assets that no job has share one."""
LEAST = 5
"""Runs without which nothing is usual."""


@dataclass(frozen=True)
class Subject:
    """What is run: a job, with the assets that are selected; `ranged` for a range in one run."""

    location: str
    job: str
    assets: frozenset[AssetKey] = frozenset()
    ranged: bool = False


def of_launch(launch: Launch) -> Subject:
    """Return what a launch runs, for each partition of a backfill."""
    ranged = RANGE_START_TAG in launch.tags
    return Subject(launch.location, launch.job, frozenset(launch.assets), ranged)


def of_run(run: Run) -> Subject:
    """Return what a run on the server runs."""
    return Subject(run.location, run.job, frozenset(run.assets), "..." in (run.partition or ""))


@dataclass(frozen=True)
class Usual:
    """The median from a run's start to its end, and the p95 from its creation; both in seconds."""

    runs: int
    median: float
    p95: float


def read_usual(
    client: DagsterClient, subjects: Iterable[Subject], without: Sequence[str] = ()
) -> dict[Subject, Usual | None]:
    """Return what is usual for each, or None if too few runs say so; `without` leaves runs out.

    Only whole runs on the server count. Assets that were not run together before take as long as
    all of them take alone: they may run one after the other.
    """
    read: dict[str, list[Mapping[str, Any]]] = {}
    found = {}
    for subject in subjects:
        if subject.job not in read:
            chosen = run_filter(time.time() - DAYS * 86400, job=subject.job, statuses=[SUCCESS])
            pages = itertools.islice(read_pages(client, chosen), PAGES)
            runs = itertools.chain.from_iterable(pages)
            read[subject.job] = [run for run in runs if run["runId"] not in without]
        found[subject] = _usual(read[subject.job], subject)
    return found


def _usual(runs: Sequence[Mapping[str, Any]], subject: Subject) -> Usual | None:
    from dagmar.stats.figures import quantiles

    same = [run for run in runs if _is_of(run, subject)]
    if len(same) >= LEAST:
        took, waited = (
            dict(enumerate(sorted(run["endTime"] - run[begin] for run in same)))
            for begin in ("startTime", "creationTime")
        )
        median = quantiles({"median": 0.5}, len(same), took)["median"]
        return Usual(len(same), median, quantiles({"p95": 0.95}, len(same), waited)["p95"])
    alone = [
        _usual(runs, Subject(subject.location, subject.job, frozenset([key]), subject.ranged))
        for key in (subject.assets if len(subject.assets) > 1 else ())
    ]
    if not alone or not all(alone):
        return None
    each = [usual for usual in alone if usual]
    return Usual(
        min(usual.runs for usual in each),
        sum(usual.median for usual in each),
        sum(usual.p95 for usual in each),
    )


def _is_of(run: Mapping[str, Any], subject: Subject) -> bool:
    tags = {tag["key"] for tag in run["tags"]}
    location = (run["repositoryOrigin"] or {}).get("repositoryLocationName")
    return (
        frozenset(run["assetSelection"] or ()) == subject.assets
        and location == subject.location
        and (RANGE_START_TAG in tags) == subject.ranged
        # A retry runs only some of the steps; in a kernel nothing has to start.
        and not (run["parentRunId"] or HERE_TAG in tags)
        and None not in (run["startTime"], run["endTime"])
    )
