"""Whole commands timed in interleaved pairs: medians, spread, ratio, and the limit that is kept."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Timed(Protocol):
    """What can be timed, again and again."""

    @property
    def name(self) -> str:
        """What the row calls it."""

    def seconds(self) -> float:
        """Do it once and return how long it took."""


@dataclass(frozen=True)
class Command:
    """A command line and where it runs."""

    name: str
    arguments: Sequence[str]
    folder: Path
    environ: dict[str, str] | None = None
    statuses: tuple[int, ...] = (0,)

    def seconds(self) -> float:
        """Run it once and return its wall time. A failing command ends the benchmark."""
        started = time.perf_counter()
        done = subprocess.run(
            self.arguments,
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=600,
        )
        took = time.perf_counter() - started
        if done.returncode not in self.statuses:
            raise SystemExit(f"{self.name} failed ({done.returncode}):\n{done.stderr}")
        return took


@dataclass(frozen=True)
class Count:
    """How often things are timed, and how large they are."""

    quick: bool = False

    def __call__(self, full: int, quick: int = 1) -> int:
        """Return the one or the other."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Row:
    """One comparison: medians, what is judged, with the middle half of its samples, and the limit.

    `unit` is `×` for a ratio, else that of `value`. Without a peer, `peer` is empty.
    """

    ours: str
    peer: str
    ours_seconds: float | None
    peer_seconds: float | None
    value: float
    low: float
    high: float
    limit: float
    unit: str = "×"

    @property
    def kept(self) -> bool:
        """Whether the limit is kept."""
        return self.value <= self.limit

    def cells(self) -> list[str]:
        """Return the cells of its line in a table."""
        figure = ratio if self.unit == "×" else "{:.2f}".format
        return [
            self.ours,
            _seconds(self.ours_seconds),
            self.peer or "—",
            _seconds(self.peer_seconds),
            f"{figure(self.value)} {self.unit}",
            f"{figure(self.low)}–{figure(self.high)}",
            f"{figure(self.limit)} {self.unit}",
            "kept" if self.kept else "**missed**",
        ]


COLUMNS = ["ours", "median", "peer", "median", "result", "middle half", "limit", ""]


def pair(ours: Timed, peer: Timed, limit: float, count: int, warm_up: bool = True) -> Row:
    """Time ours against a named peer, A B A B …; the ratio is judged.

    The ratio is the median of the pairs' ratios, so that drift of the machine falls out.
    """
    times = _times(ours, peer, count, warm_up)
    return _row(ours, peer, times, [a / b for a, b in times], limit, "×")


def gap(ours: Timed, peer: Timed, limit: float, count: int) -> Row:
    """Time the same pairs; ours may take `limit` seconds longer."""
    times = _times(ours, peer, count, warm_up=True)
    return _row(ours, peer, times, [a - b for a, b in times], limit, "s more")


def value(
    name: str,
    samples: Sequence[float],
    limit: float,
    unit: str = "s",
    judged: Callable[[Sequence[float]], float] = statistics.median,
) -> Row:
    """Judge samples alone: their median, or with `max` each of them."""
    return Row(name, "", None, None, judged(samples), *_middle(samples), limit, unit)


def ratio(number: float) -> str:
    """Return a ratio as text; a small one as a fraction."""
    return f"{number:.2f}" if number > 0.5 or not number else f"1/{1 / number:.1f}"


def _times(ours: Timed, peer: Timed, count: int, warm_up: bool) -> list[tuple[float, float]]:
    if warm_up:
        ours.seconds(), peer.seconds()
    return [(ours.seconds(), peer.seconds()) for _ in range(count)]


def _row(
    ours: Timed,
    peer: Timed,
    times: list[tuple[float, float]],
    judged: list[float],
    limit: float,
    unit: str,
) -> Row:
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    middle = _middle(judged)
    return Row(ours.name, peer.name, *medians, statistics.median(judged), *middle, limit, unit)


def _middle(samples: Sequence[float]) -> tuple[float, float]:
    figures = sorted(samples)
    return figures[len(figures) // 4], figures[-1 - len(figures) // 4]


def _seconds(number: float | None) -> str:
    return "" if number is None else f"{number:.3f} s"
