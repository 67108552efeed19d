"""Whole commands timed in interleaved pairs, reported as medians, spread and ratio."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
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
        if done.returncode:
            raise SystemExit(f"{self.name} failed ({done.returncode}):\n{done.stderr}")
        return took


@dataclass
class Pair:
    """Ours against a named peer: A B A B …, after one warm-up of each."""

    ours: Timed
    peer: Timed
    limit: float
    times: list[tuple[float, float]] = field(default_factory=list)

    def measure(self, count: int, warm_up: bool = True) -> Pair:
        """Time `count` pairs."""
        if warm_up:
            self.ours.seconds(), self.peer.seconds()
        self.times = [(self.ours.seconds(), self.peer.seconds()) for _ in range(count)]
        return self

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios: drift of the machine falls out."""
        return statistics.median(ours / peer for ours, peer in self.times)

    @property
    def kept(self) -> bool:
        """Whether the limit is kept."""
        return self.ratio <= self.limit

    def row(self) -> str:
        """Return one line: medians, the ratio with its spread, and whether it keeps the limit."""
        ratios = sorted(a / b for a, b in self.times)
        low, high = _quartiles(ratios)
        return (
            f"{self._medians()}   ratio {_figure(self.ratio)} ({_figure(low)}–{_figure(high)})   "
            f"at most {_figure(self.limit)}: {'kept' if self.kept else 'MISSED'}"
        )

    def _medians(self) -> str:
        ours, peer = (statistics.median(column) for column in zip(*self.times, strict=True))
        return f"{self.ours.name:34} {ours:8.3f} s   {self.peer.name:34} {peer:8.3f} s"


@dataclass
class Gap(Pair):
    """Ours may take `limit` seconds longer than the peer."""

    @property
    def more(self) -> float:
        """The median of the pairs' differences, in seconds."""
        return statistics.median(ours - peer for ours, peer in self.times)

    @property
    def kept(self) -> bool:
        """Whether the limit is kept."""
        return self.more <= self.limit

    def row(self) -> str:
        """Return one line: medians, ratio, the difference with its spread, and the verdict."""
        low, high = _quartiles(sorted(a - b for a, b in self.times))
        return (
            f"{self._medians()}   ratio {_figure(self.ratio)}   "
            f"{self.more:+.2f} s ({low:+.2f}–{high:+.2f})   "
            f"at most {self.limit:+.2f} s: {'kept' if self.kept else 'MISSED'}"
        )


def _quartiles(figures: Sequence[float]) -> tuple[float, float]:
    return figures[len(figures) // 4], figures[-1 - len(figures) // 4]


def _figure(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio > 0.5 else f"1/{1 / ratio:.1f}"


def report(pairs: Sequence[Pair]) -> int:
    """Print the rows; return a nonzero exit status if a limit was missed."""
    for pair in pairs:
        print(pair.row(), flush=True)
    return int(not all(pair.kept for pair in pairs))
