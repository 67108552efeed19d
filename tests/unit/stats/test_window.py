"""The window that flags mean, and the one before: dates, zones, clocks that are put back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

import pytest
from dagmar.stats.window import MOST_BUCKETS, Window, windows

NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc).timestamp()
HOUR = 3600.0


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Change this machine's zone."""

    def change(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield change
    monkeypatch.undo()
    time.tzset()


def test_since_is_up_to_now_by_the_servers_clock() -> None:
    window, before = windows("7d", "", "", NOW)
    assert window == Window(NOW - 7 * 24 * HOUR, NOW)
    assert before == Window(NOW - 14 * 24 * HOUR, NOW - 7 * 24 * HOUR)
    assert windows("90m", "", "", NOW)[0].start == NOW - 1.5 * HOUR
    assert windows("", "", "", NOW) == (window, before)


def test_a_date_alone_is_a_local_day_and_the_last_one_is_included(
    zone: Callable[[str], None],
) -> None:
    zone("Europe/Berlin")
    window, before = windows("", "2026-03-02", "2026-03-03", NOW)
    assert window.as_document() == {
        "from": "2026-03-01T23:00:00+00:00",
        "to": "2026-03-03T23:00:00+00:00",
    }
    assert before.end == window.start == before.start + 48 * HOUR


@pytest.mark.parametrize(("first", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_a_day_on_which_clocks_change_has_23_or_25_hours(
    zone: Callable[[str], None], first: str, hours: int
) -> None:
    zone("Europe/Berlin")
    window, before = windows("", first, first, NOW)
    assert window.end - window.start == hours * HOUR
    assert before.end - before.start == 24 * HOUR  # the day before, as people count


def test_a_zone_in_the_time_is_used_whatever_this_machine_has(
    zone: Callable[[str], None],
) -> None:
    zone("America/New_York")
    window, before = windows("", "2026-03-01T06:00+01:00", "2026-03-01T12:00Z", NOW)
    assert (window.end - window.start, before.end - before.start) == (7 * HOUR, 7 * HOUR)
    assert window.as_document()["from"] == "2026-03-01T05:00:00+00:00"


@pytest.mark.parametrize("seconds", [60.0, HOUR, 24 * HOUR, 7 * 24 * HOUR, 28 * 24 * HOUR, 1e8])
def test_a_trend_has_few_points_whatever_the_window(seconds: float) -> None:
    assert seconds / Window(0, seconds).bucket <= MOST_BUCKETS
