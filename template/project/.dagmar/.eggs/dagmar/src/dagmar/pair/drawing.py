"""Pieces of HTML. Text from Dagster is data: every piece escapes the text that it gets.

Remarks are callouts of marimo, which follow its theme. The rest is HTML: marimo has no element for
a badge, a frame, or a link that opens in another tab.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from typing import TYPE_CHECKING, Literal

from dagmar.errors import DagmarError, Interrupted, Unreachable, counted
from dagmar.failure import Failure
from dagmar.pair.context import live

if TYPE_CHECKING:
    from dagmar.server.checks import Check

COLORS = {"SUCCESS": "#2e7d32", "FAILURE": "#c62828", "CANCELED": "#ef6c00", "CANCELING": "#ef6c00"}
BUSY = "#1565c0"
UNSOUND = "#9e9d24"  # succeeded, but asset checks failed
# In marimo, text has the colors of its theme, light or dark; elsewhere these.
LINK, RED, ORANGE = "var(--link, #1565c0)", "var(--red-11, #c62828)", "var(--amber-11, #ef6c00)"
SMALL = "font-size:0.85em;opacity:0.75"
BOX = "border:1px solid #8884;border-radius:8px;padding:12px 16px;line-height:1.5"
PRE = "white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0"
CELL = "padding:2px 16px 2px 0;text-align:left;vertical-align:top;font-variant-numeric:tabular-nums"


def box(*parts: str, label: str = "") -> str:
    """Return the parts in a frame; `label` is its name for screen readers."""
    name = f' role="group" aria-label="{escape(label)}"' if label else ""
    return f'<div{name} style="{BOX}">{"".join(parts)}</div>'


def note(text: str, hint: str = "", kind: Literal["neutral", "warn", "danger"] = "neutral") -> str:
    """Return a remark, and what to type."""
    import marimo as mo

    more = f'<div style="{PRE};{SMALL}">{escape(hint)}</div>' if hint else ""
    return mo.callout(mo.Html(f'<div style="{PRE}">{escape(text)}</div>{more}'), kind).text


def refusal(error: DagmarError, missing: str = "") -> str:
    """Return an error and what to type next; `missing` is what only a server knows."""
    if missing and isinstance(error, Unreachable):
        hint = f"{error.suggestion} Then run this cell again."
        return note(f"{error.message}: {missing} cannot be shown.", hint, "warn")
    kind: Literal["neutral", "danger"] = "neutral" if isinstance(error, Interrupted) else "danger"
    return note(error.message, error.suggestion, kind) + _trace(_own_trace(error.__cause__))


def _own_trace(cause: BaseException | None) -> str:
    """Return the traceback of an exception of the user's code; empty if it came from elsewhere."""
    if cause is None:
        return ""
    failure = Failure.from_exception(cause)
    own = cause.__traceback__ or isinstance(cause, SyntaxError)
    return failure.trace.rstrip() if own else ""


def _trace(text: str) -> str:
    style = f"{PRE};font-size:0.8em;max-height:30em;overflow:auto"
    return f'<pre style="{style}">{escape(text)}</pre>' if text else ""


def link(url: str, text: str) -> str:
    """Return a link that opens in another tab; plain text if it is not a web address."""
    if not url.startswith(("http://", "https://")):
        return escape(text)
    return (
        f'<a href="{escape(url)}" target="_blank" rel="noopener" '
        f'style="color:{LINK};text-decoration:underline">{escape(text)}</a>'
    )


def badge(status: str, color: str = "") -> str:
    """Return a status; without `color` it is a run's, in its color."""
    color = color or COLORS.get(status, BUSY)
    return (
        f'<span style="background:{color};color:white;border-radius:4px;padding:1px 8px;'
        f'font-size:0.85em">{escape(status)}</span>'
    )


def facts(rows: Iterable[tuple[str, str]], width: str = "22em") -> str:
    """Return name and value pairs, in as many columns of this width as there is room for.

    The values are HTML; empty ones are left out.
    """
    cells = "".join(
        '<div style="display:flex;gap:12px;min-width:0">'
        f'<span style="opacity:0.65;flex:0 0 8.5em;overflow-wrap:anywhere">{escape(name)}</span>'
        f'<div style="overflow-wrap:anywhere;flex:1;min-width:0">{value}</div></div>'
        for name, value in rows
        if value
    )
    return (
        f'<div style="display:grid;grid-template-columns:repeat(auto-fill,minmax({width},1fr));'
        f'gap:2px 24px;margin-top:8px">{cells}</div>'
    )


def metadata(entries: Mapping[str, object]) -> str:
    """Return metadata as facts; a text of several lines, such as Markdown, is folded."""
    texts = {name: str(value).strip() for name, value in entries.items()}
    rows = [(name, escape(text)) for name, text in texts.items() if "\n" not in text]
    folded = (
        f'<details><summary style="cursor:pointer">{escape(name)}</summary>'
        f'<pre style="margin:0;overflow-x:auto">{escape(text)}</pre></details>'
        for name, text in texts.items()
        if "\n" in text
    )
    return (facts(rows) if rows else "") + "".join(folded)


def literal(text: str) -> str:
    """Return a text whose braces `mo.ui.batch` does not fill in."""
    return text.replace("{", "{{").replace("}", "}}")


def folded(title: str, inner: str) -> str:
    """Return a part, which is HTML, that is shown after a click on its title."""
    summary = f'<summary style="cursor:pointer;{SMALL}">{escape(title)}</summary>'
    return f'<details style="margin:8px 0 4px">{summary}{inner}</details>'


def table(rows: Iterable[Iterable[str]]) -> str:
    """Return rows of cells, which are HTML, as a table."""
    return rows_of("".join(f'<td style="{CELL}">{cell}</td>' for cell in row) for row in rows)


def rows_of(lines: Iterable[str]) -> str:
    """Return rows, each the HTML of its cells, as a table."""
    inner = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<table style="border-collapse:collapse">{inner}</table>'


def more(total: int, shown: int, noun: str) -> str:
    """Return how many there are in addition to those that are shown; empty if none are."""
    if total <= shown:
        return ""
    return f'<div style="{SMALL}">and {counted(total - shown, f"more {noun}")}</div>'


def failure(error: Failure) -> str:
    """Return why a run failed, with the user's traceback."""
    where = f"Step {error.place}: " if error.place else ""
    return note(f"{where}{error.text}", kind="danger") + _trace(error.trace)


def checks(results: Sequence[Check]) -> str:
    """Return the failed asset checks, and how many others there are.

    A blocking one is why the run failed, which is said elsewhere.
    """
    failed = [check for check in results if check.passed is False and not check.blocking]
    notes = (
        note(check.text, kind="warn" if check.severity == "WARN" else "danger") for check in failed
    )
    counts = Counter(check.result for check in results if check.passed is not False)
    rest = ", ".join(f"{counted(number, 'check')} {result}" for result, number in counts.items())
    return "".join(notes) + (f'<div style="{SMALL}">{rest}</div>' if rest else "")


def format_time(moment: float, url: str = "") -> str:
    """Return a time as an age for a viewer, and as a date on a page that is kept.

    With `url` it is a link. The tooltip is the date.
    """
    date = f"{datetime.fromtimestamp(moment, timezone.utc):%Y-%m-%d %H:%M} UTC"
    return f'<span title="{date}">{link(url, format_age(moment) if live() else date)}</span>'


def format_age(moment: float) -> str:
    """Return roughly how long ago a time was."""
    seconds = max(time.time() - moment, 0)
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"
