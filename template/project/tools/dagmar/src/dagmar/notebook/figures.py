"""Plotly's figures as rows of a table, for viewers that cannot run its script."""

from __future__ import annotations

import array
import base64
import binascii
import json
from html import unescape
from itertools import zip_longest
from typing import Any

CALL = "Plotly.newPlot("
COLUMNS = ("labels", "x", "y", "z", "values", "open", "high", "low", "close", "lat", "lon", "text")
NUMBERS = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q",
           "f4": "f", "f8": "d"}  # fmt: skip


def find(html: str) -> dict[str, Any] | None:
    """Return the figure that a page draws, or None where it draws none."""
    for text in (html, unescape(html)):
        _, found, call = text.partition(CALL)
        if not found:
            continue
        read = json.JSONDecoder()
        parts: list[Any] = []
        try:
            for _ in range(3):  # its place in the page, traces, layout
                value, end = read.raw_decode(call.lstrip(" \r\n\t,"))
                parts.append(value)
                call = call.lstrip(" \r\n\t,")[end:]
        except ValueError:
            continue
        return {"data": parts[1], "layout": parts[2]}
    return None


def title(figure: dict[str, Any]) -> str:
    """Return what stands above a figure."""
    return _text((figure.get("layout") or {}).get("title"))


def traces(figure: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return each trace of a figure: its name, and its points as rows."""
    layout = figure.get("layout") or {}
    named = {axis: _text((layout.get(f"{axis}axis") or {}).get("title")) for axis in "xy"}
    found = []
    for trace in figure.get("data") or []:
        columns = {name: _values(trace[name]) for name in COLUMNS if name in trace}
        columns = {name: values for name, values in columns.items() if values}
        titles = [named.get(name) or name for name in columns]
        rows = [dict(zip(titles, row, strict=True)) for row in zip_longest(*columns.values())]
        found.append((str(trace.get("name") or trace.get("type") or ""), rows))
    return found


def _values(given: Any) -> list[Any]:
    """Return the values of a trace, which may be packed as binary numbers."""
    if isinstance(given, list):
        return given
    if isinstance(given, dict) and given.get("dtype") in NUMBERS and "shape" not in given:
        numbers = array.array(NUMBERS[given["dtype"]])
        try:
            numbers.frombytes(base64.b64decode(given.get("bdata") or ""))
        except (binascii.Error, ValueError):
            return []
        return list(numbers)
    return []


def _text(title: Any) -> str:
    return str((title.get("text") if isinstance(title, dict) else title) or "")
