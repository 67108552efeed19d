"""The window of time that is asked for, and the one before it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from dagmar.errors import UsageError
from dagmar.server.runs import in_utc

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SINCE = re.compile(r"(\d{1,6})([mhdw])")
_BUCKETS = tuple(60.0 * minutes for minutes in (1, 5, 15, 60, 180, 360, 720, 1440, 2880, 10080))
MOST_BUCKETS = 24
LONGEST = 3650 * 86400.0


@dataclass(frozen=True)
class Window:
    """From when, and up to but not with when: seconds since 1970."""

    start: float
    end: float

    def as_document(self) -> dict[str, str | None]:
        """Return the window in JSON."""
        return {"from": in_utc(self.start), "to": in_utc(self.end)}

    @property
    def bucket(self) -> float:
        """The seconds of one point of a trend: there are at most `MOST_BUCKETS` of them."""
        length = self.end - self.start
        fitting = (size for size in _BUCKETS if size * MOST_BUCKETS >= length)
        return next(fitting, length / MOST_BUCKETS)

    @property
    def parts(self) -> int:
        """How many points a trend has."""
        return max(math.ceil((self.end - self.start) / self.bucket - 1e-9), 1)


def windows(since: str, first: str, last: str, now: float) -> tuple[Window, Window]:
    """Return the window that the flags mean, and the one before; `now` is the server's clock.

    Raises UsageError for what is not a time, and for a window without an end after its start.
    """
    if since and (first or last):
        raise UsageError("--since is up to now", "Use --since, or --from and --to.")
    if last and not first:
        raise UsageError("--to needs --from", "For example: --from 2026-03-01 --to 2026-03-08")
    if not first:
        seconds = _seconds(since or "7d")
        return Window(now - seconds, now), Window(now - 2 * seconds, now - seconds)
    start, end = _moment("--from", first), _moment("--to", last, True) if last else None
    if start.timestamp() >= (now if end is None else end.timestamp()):
        raise UsageError(
            "there is no time between --from and --to" if end else f"--from {first} is not past",
            "For example: --from 2026-03-01 --to 2026-03-08",
        )
    window = Window(start.timestamp(), now if end is None else end.timestamp())
    before = start.timestamp() - (window.end - window.start)
    if end and start.time() == end.time() == time():
        # As many days by the calendar: one of them may have 23 or 25 hours.
        days = (end.date() - start.date()).days
        zone = start.tzinfo if _has_zone(first) else None
        midnight = datetime.combine(start.date() - timedelta(days=days), time(), zone)
        before = midnight.timestamp()
    return window, Window(before, window.start)


def _seconds(text: str) -> float:
    match = _SINCE.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= LONGEST:
        raise UsageError(
            f"--since takes a number of minutes, hours, days or weeks, not '{text}'",
            "For example: --since 90m, --since 12h, --since 7d, --since 4w",
        )
    return float(seconds)


def _has_zone(text: str) -> bool:
    return datetime.fromisoformat(_isoformat(text)).tzinfo is not None


def _isoformat(text: str) -> str:
    return text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text


def _moment(flag: str, text: str, closing: bool = False) -> datetime:
    """Return a time with its zone: this machine's, if it names none.

    A date alone is its midnight; with `closing`, that of the day after it.
    """
    try:
        moment = datetime.fromisoformat(_isoformat(text))
        if closing and re.fullmatch(r"\d{4}-?\d\d-?\d\d", text):
            moment += timedelta(days=1)
        moment = moment if moment.tzinfo else moment.astimezone()
        if not 0 <= moment.timestamp() < 2**33:
            raise OverflowError(text)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{flag} takes a date or a time, not '{text}'",
            f"For example: {flag} 2026-03-01, {flag} 2026-03-01T06:00+01:00",
        ) from None
    return moment
