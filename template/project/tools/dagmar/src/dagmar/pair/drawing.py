"""Pieces of HTML. Text from Dagster is data: every piece escapes what it is given."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timezone
from html import escape

from dagmar.errors import DagmarError
from dagmar.failure import Failure
from dagmar.pair.context import live

COLORS = {
    "SUCCESS": "#2e7d32",
    "FAILURE": "#c62828",
    "CANCELED": "#ef6c00",
    "CANCELING": "#ef6c00",
}
BUSY = "#1565c0"
# Where marimo shows it, text has the colours of its theme, light or dark; elsewhere its own.
LINK, RED, ORANGE = "var(--link, #1565c0)", "var(--red-11, #c62828)", "var(--amber-11, #ef6c00)"
GREY = "#757575"
SMALL = "font-size:0.85em;opacity:0.75"
BOX = "border:1px solid #8884;border-radius:8px;padding:12px 16px;line-height:1.5"
PRE = "white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0"


def box(*parts: str, label: str = "") -> str:
    """Return the parts in a frame, called `label` for those who do not see it."""
    name = f' role="group" aria-label="{escape(label)}"' if label else ""
    return f'<div{name} style="{BOX}">{"".join(parts)}</div>'


def note(text: str, hint: str = "", color: str = GREY) -> str:
    """Return a remark, and what to type."""
    more = f'<div style="{PRE};{SMALL}">{escape(hint)}</div>' if hint else ""
    return (
        f'<div style="border-left:4px solid {color};padding:8px 14px;margin:4px 0">'
        f'<div style="{PRE}">{escape(text)}</div>{more}</div>'
    )


def refusal(error: DagmarError) -> str:
    """Return an error, and what to type next."""
    return note(error.message, error.hint, COLORS["FAILURE"])


def no_server(error: DagmarError, what: str) -> str:
    """Return what is shown instead of something that only a server knows."""
    return note(
        f"{error.message}: {what} cannot be shown.",
        f"{error.hint} Then run this cell again.",
        COLORS["CANCELED"],
    )


def link(url: str, text: str) -> str:
    """Return a link that opens beside the notebook; plain text where it is no web address."""
    if not url.startswith(("http://", "https://")):
        return escape(text)
    return (
        f'<a href="{escape(url)}" target="_blank" rel="noopener" '
        f'style="color:{LINK};text-decoration:underline">{escape(text)}</a>'
    )


def badge(status: str) -> str:
    """Return a run's status, in its colour."""
    color = COLORS.get(status, BUSY)
    return (
        f'<span style="background:{color};color:white;border-radius:4px;padding:1px 8px;'
        f'font-size:0.85em">{escape(status)}</span>'
    )


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return name and value pairs; the values are HTML, and empty ones are left out."""
    cells = "".join(
        f'<div style="opacity:0.65">{escape(name)}</div><div>{value}</div>'
        for name, value in rows
        if value
    )
    return (
        '<div style="display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;'
        f'margin-top:8px">{cells}</div>'
    )


def short_facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return the same in as many columns as there is room for: for values of few words."""
    cells = "".join(
        '<div style="display:flex;gap:12px;min-width:0">'
        f'<span style="opacity:0.65;flex:0 0 8.5em;overflow-wrap:anywhere">{escape(name)}</span>'
        f'<span style="overflow-wrap:anywhere">{value}</span></div>'
        for name, value in rows
        if value
    )
    return (
        '<div style="display:grid;grid-template-columns:repeat(auto-fill,minmax(22em,1fr));'
        f'gap:2px 24px;margin-top:8px">{cells}</div>'
    )


def failure(error: Failure) -> str:
    """Return why a run failed, with the user's traceback."""
    where = f"Step {error.place}: " if error.place else ""
    style = f"{PRE};font-size:0.8em;max-height:30em;overflow:auto"
    shown = f'<pre style="{style}">{escape(error.trace)}</pre>' if error.trace else ""
    return note(f"{where}{error.text}", color=COLORS["FAILURE"]) + shown


def when(moment: float, url: str = "") -> str:
    """Return when that was: as long ago where somebody looks on, as a date on a page that stays.

    With `url` it is a link. What is said in words tells the date to a mouse that stands on it.
    """
    date = f"{datetime.fromtimestamp(moment, timezone.utc):%Y-%m-%d %H:%M} UTC"
    return f'<span title="{date}">{link(url, ago(moment) if live() else date)}</span>'


def ago(moment: float, now: float | None = None) -> str:
    """Return how long ago that was, roughly."""
    seconds = max((time.time() if now is None else now) - moment, 0)
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"


def took(seconds: float | None) -> str:
    """Return a duration in words."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
