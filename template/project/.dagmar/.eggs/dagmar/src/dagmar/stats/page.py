"""One page of HTML from the document of `invoke stats --json`: for people, without a network.

The page forbids itself to load anything, and every text in it is escaped by its template.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.console import format_duration, tame
from dagmar.errors import Conflict, SetupError, counted, cut
from dagmar.files import encodable, write_atomically

if TYPE_CHECKING:
    from jinja2 import Environment

NAME = "page.html"
GENERATOR = '<meta name="generator" content="dagmar stats">'
MOST_ROWS = 2000
MOST_ENTRIES = 50
"""Failures, slowdowns and assets with numbers that are drawn; the JSON has all of them."""
MOST_TEXT = 500
WIDTH, HEIGHT = 600.0, 100.0
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
Number = float | int | None


@dataclass(frozen=True)
class Bar:
    """One bar of a chart, from the left top; the height of its part that failed is below.

    It is `late` if it is of the time since an onset.
    """

    x: float
    y: float
    width: float
    height: float
    failed: float
    late: bool
    label: str


def require_ours(file: Path) -> None:
    """Raise Conflict if a page would overwrite what is not an earlier page."""
    try:
        with file.open(encoding="utf-8") as stream:
            ours = GENERATOR in stream.read(1000)
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, UnicodeDecodeError):
        ours = False
    if not ours:
        hint = "Choose another name, or move it away."
        raise Conflict(f"{file} exists, and is not a page of `invoke stats`", hint)


def write(file: Path, document: Mapping[str, Any]) -> None:
    """Write the page of a document, only over an earlier page. Raises Conflict, SetupError."""
    require_ours(file)
    try:
        write_atomically(file, render(document))
    except OSError as error:
        message = f"{file} cannot be written: {error.strerror}"
        raise SetupError(message, "Choose another file: --html FILE") from None


def render(document: Mapping[str, Any]) -> str:
    """Return the page of exactly what `invoke stats --json` prints."""
    template = _environment().get_template(NAME)
    (script,) = _SCRIPT.findall(_source())
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = template.render(
        document=document,
        script_hash=f"sha256-{digest}",
        generator=GENERATOR,
        most=MOST_ENTRIES,
        most_rows=MOST_ROWS,
    )
    return encodable(page)


def fragment(document: Mapping[str, Any]) -> str:
    """Return the numbers, charts, slowdowns and failures of a document as a part of a page."""
    macros: Any = _environment().get_template(NAME).module
    return encodable(str(macros.fragment(document, MOST_ENTRIES)))


def bars(trend: Sequence[Mapping[str, Any]], of: str, since: str = "") -> list[Bar]:
    """Return the bars of a trend: runs with those that failed, medians, or values.

    `since` is the time of an onset, as the document has it.
    """
    values = [point.get(of) for point in trend]
    most = max((value for value in values if value is not None), default=0) or 1
    step = WIDTH / max(len(values), 8)
    found = []
    for i, (point, value) in enumerate(zip(trend, values, strict=True)):
        if value is None or value < 0:
            continue
        height = max(HEIGHT * value / most, 1.5 if value else 0)
        failed = HEIGHT * (point.get("failed") or 0) / most if of == "runs" else 0
        label = f"{moment(point.get('at'))}: {_described(point, of)}"
        late = bool(since) and str(point.get("at")) >= since
        place = (i * step, HEIGHT - height, 0.8 * step, height)
        found.append(Bar(*place, min(failed, height), late, label))
    return found


def _described(point: Mapping[str, Any], of: str) -> str:
    if of == "median_s":
        return f"median {seconds(point[of])}"
    if of == "value":
        partition = point.get("partition")
        return f"{number(point[of])}" + (f", partition {partition}" if partition else "")
    failed = point.get("failed")
    runs = counted(point[of], "run")
    return f"{runs}, {number(failed)} failed" if failed else runs


def number(value: Number) -> str:
    """Return a number with separators, `–` if there is none."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def share(value: Number) -> str:
    """Return a share as a percentage: 100 % only if it is all."""
    if value is None:
        return "–"
    return f"{min(100 * value, 99.9) if value < 1 else 100:.3g} %"


def seconds(value: Number) -> str:
    """Return a duration in one or two units."""
    return format_duration(value) or "–"


def moment(text: str | None) -> str:
    """Return a time of the document for people, in UTC; what is not a time stays as it is."""
    if not text:
        return "–"
    try:
        return f"{datetime.fromisoformat(text).astimezone(timezone.utc):%a %Y-%m-%d %H:%M}"
    except ValueError:
        return str(text)


def change(pair: Mapping[str, Any] | None, better: str = "less") -> tuple[str, str]:
    """Return by how much a number changed, and `better`, `worse` or nothing.

    `better` says what is: `less`, `more` (of a share, whose change is in points) or neither.
    """
    now, before = (pair or {}).get("now"), (pair or {}).get("before")
    if now is None or before is None or (not before and better != "more"):
        return "", ""
    difference = now - before if better == "more" else now / before - 1
    if abs(difference) < 0.005:
        return "=", ""
    sign = "▲" if difference > 0 else "▼"
    unit = "points" if better == "more" else "%"
    shown = f"{1 + difference:.1f} ×" if difference >= 10 else f"{abs(100 * difference):.0f} {unit}"
    if not better or (better == "less" and abs(difference) < 0.1):
        return f"{sign} {shown}", ""
    return f"{sign} {shown}", "better" if (difference > 0) == (better == "more") else "worse"


def spark(trend: Iterable[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the bars of a small chart as two paths: all runs, and those that failed."""
    found = bars([*trend], "runs")
    heights = ([(bar, bar.height) for bar in found], [(bar, bar.failed) for bar in found])
    everything, failed = (
        "".join(
            f"M{bar.x:.0f} {HEIGHT:.0f}v-{height:.0f}h{bar.width:.0f}v{height:.0f}z"
            for bar, height in pairs
            if height
        )
        for pairs in heights
    )
    return everything, failed


def web(url: object) -> str:
    """Return a web address, or nothing if it is another kind of text."""
    text = str(url or "")
    return text if text.startswith(("http://", "https://")) else ""


def short(text: object, most: int = MOST_TEXT) -> str:
    """Return text that is not longer than a page can have it, and cannot steer what is around."""
    return cut("none" if text is None else tame(str(text)), most)


@functools.cache
def _source() -> str:
    return Path(__file__).with_name(NAME).read_text("utf-8")


@functools.cache
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment

    environment = Environment(
        loader=DictLoader({NAME: _source()}), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    shown = (number, share, seconds, moment, change, spark, web, short)
    environment.filters |= {each.__name__: each for each in shown}
    environment.globals |= {"bars": bars, "HEIGHT": HEIGHT, "WIDTH": WIDTH}
    return environment
