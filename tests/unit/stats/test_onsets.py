"""The first run since which an asset is slower: rates over 100 seeds, as decision 0029 has them."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator

import pytest
from dagmar.stats.onsets import Change, find_onset, what_changed
from dagmar.stats.records import RunRecord

HOUR = 3600.0
SEEDS = 100
Points = list[tuple[float, float]]


def durations(kind: str, rng: random.Random) -> Iterator[float]:
    """Yield durations around a minute; `kind` is the noise."""
    before = 0.0
    while True:
        normal = rng.gauss(0, 1)
        if kind == "normal":
            yield max(60 + 9 * normal, 1)
        elif kind == "lognormal":
            yield 60 * math.exp(0.3 * normal)
        elif kind == "heavy":  # t with 2 degrees of freedom
            t = normal / math.sqrt(rng.gammavariate(1, 1))
            yield 60 * math.exp(0.15 * max(min(t, 8), -8))
        elif kind == "outliers":
            yield 50 + 10 * rng.paretovariate(1.2)
        elif kind == "ties":
            yield float(rng.choice([60, 61, 61, 62]))
        else:  # correlated 0.5
            correlation = float(kind.split()[1])
            before = correlation * before + math.sqrt(1 - correlation**2) * normal
            yield 60 * math.exp(0.3 * before)


def series(
    kind: str, number: int, seed: int, every: float = 2 * HOUR, step: float = 1, at: int = 0
) -> Points:
    rng = random.Random(seed)
    values = durations(kind, rng)
    start = 1.79e9 + rng.random() * 24 * HOUR
    return [(start + i * every, next(values) * (step if i >= at else 1)) for i in range(number)]


def by_day_and_night(points: Points) -> Points:
    return [(at, s * (1.8 if at % (24 * HOUR) < 12 * HOUR else 1)) for at, s in points]


def drifting(points: Points) -> Points:
    return [(at, s * (1 + i / len(points))) for i, (at, s) in enumerate(points)]


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("normal", 0),
        ("lognormal", 0),
        ("heavy", 0),
        ("outliers", 0),
        ("ties", 0),
        ("correlated 0.5", 2),
        ("correlated 0.8", 3),
    ],
)
@pytest.mark.parametrize(("number", "every"), [(20, 24 * HOUR), (100, 2 * HOUR)])
def test_noise_is_no_onset(kind: str, most: int, number: int, every: float) -> None:
    claims = [find_onset(series(kind, number, seed, every)) for seed in range(SEEDS)]
    assert sum(claim is not None for claim in claims) <= most


@pytest.mark.parametrize(("number", "every"), [(12, 24.0), (30, 1.0), (60, 1.0), (100, 2.0)])
def test_day_and_night_are_no_onset(number: int, every: float) -> None:
    claims = [
        find_onset(by_day_and_night(series("normal", number, seed, every * HOUR)))
        for seed in range(SEEDS)
    ]
    assert claims == [None] * SEEDS


@pytest.mark.parametrize(("number", "most"), [(20, 9), (60, 1), (100, 1)])
def test_a_drift_has_no_first_run(number: int, most: int) -> None:
    claims = [find_onset(drifting(series("normal", number, seed))) for seed in range(SEEDS)]
    assert sum(claim is not None for claim in claims) <= most


@pytest.mark.parametrize(
    ("kind", "since", "fewest"),
    [
        ("normal", 10, 94),
        ("normal", 20, 99),
        ("heavy", 20, 90),
        ("outliers", 20, 85),
        ("ties", 10, 98),
        ("lognormal", 30, 83),
    ],
)
def test_a_step_is_found_within_a_few_runs(kind: str, since: int, fewest: int) -> None:
    onsets = [find_onset(series(kind, 60 + since, seed, step=1.5, at=60)) for seed in range(SEEDS)]
    near = [onset for onset in onsets if onset and abs(onset.index - 60) <= 5]
    assert len(near) >= fewest


def test_a_step_is_found_behind_day_and_night() -> None:
    onsets = [
        find_onset(by_day_and_night(series("normal", 168, seed, 2 * HOUR, 1.5, 130)))
        for seed in range(SEEDS)
    ]
    assert sum(bool(onset and abs(onset.index - 130) <= 5) for onset in onsets) >= 85


def test_a_claim_names_its_run_and_the_usual_durations() -> None:
    points = [(i * 6 * HOUR, 10.0 + i % 3) for i in range(40)]
    points += [(at + 240 * HOUR, 2 * seconds) for at, seconds in points[:15]]
    onset = find_onset(points)
    assert onset
    assert (onset.index, onset.at, onset.before_s, onset.after_s) == (40, 240 * HOUR, 11, 22)
    assert onset.factor == 2
    assert onset.p < 0.001


def test_many_assets_need_more_evidence() -> None:
    points = series("normal", 68, 3, step=1.5, at=60)
    assert find_onset(points)
    assert find_onset(points, series=1000) is None


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(0.0, 1.0)] * 11,
        [(0.0, 1.0)] * 1000,
        [(float(i), 0.0) for i in range(50)],
        [(i * HOUR, 0.1 if i < 30 else 0.4) for i in range(60)],  # too short to matter
        [(i * 24 * HOUR, 60.0 if i < 30 else 63.0) for i in range(60)],  # too little
        [(i * 24 * HOUR, 90.0 if i < 30 else 60.0) for i in range(60)],  # faster
        [(i * 24 * HOUR, 90.0 if 20 < i < 40 else 60.0) for i in range(60)],  # it is over
        [(i * HOUR, 60.0 if i < 6 else 90.0) for i in range(14)],  # is it the time of day?
    ],
)
def test_what_is_no_onset(points: Points) -> None:
    assert find_onset(points) is None


def test_a_long_series_is_quick() -> None:
    points = series("lognormal", 3_000, 1, HOUR / 6, 1.5, 2500)
    began = time.process_time()
    assert find_onset(points)
    assert time.process_time() - began < 1


def run(**more: object) -> RunRecord:
    values = {"created": 0, "started": 0, "ended": 1, "updated": 1, "job": "j", "status": "SUCCESS"}
    return RunRecord(**{"run_id": "1", "location": "shop", "assets": (), **values, **more})  # type: ignore[arg-type]


def test_what_changed_is_what_both_runs_recorded() -> None:
    before = run(revision="a" * 40, versions={"dagster": "1.12", "polars": "1", "numpy": "2"})
    after = run(revision="b" * 40, versions={"dagster": "1.13", "polars": "1", "pandas": "3"})
    assert what_changed(before, after) == [
        Change("git revision", "a" * 40, "b" * 40, f"git log {'a' * 12}..{'b' * 12}"),
        Change("dagster", "1.12", "1.13"),
    ]
    assert what_changed(before, run()) == []
    assert what_changed(before, before) == []
    (moved,) = what_changed(run(), run(location="shop2"))
    assert moved.as_document() == {"what": "code location", "from": "shop", "to": "shop2"}


def test_a_revision_that_is_none_is_in_no_command() -> None:
    (change,) = what_changed(run(revision="$(rm -rf /)"), run(revision="a" * 40))
    assert change.command == ""
