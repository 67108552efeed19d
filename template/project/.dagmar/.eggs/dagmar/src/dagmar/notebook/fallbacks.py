"""Static forms of outputs that only marimo's own page can draw: tables, charts, stats, callouts.

Viewers of Jupyter notebooks, such as the Dagster UI, do not know marimo's elements.
"""

from __future__ import annotations

import array
import base64
import csv
import io
import json
from html import escape, unescape
from html.parser import HTMLParser
from itertools import zip_longest
from typing import Any

from dagmar.project.installing import add_command

ROWS = 50
"""Rows of a table that are shown; the page has them all."""
COLORS = {"info": "#0b68cb", "success": "#18794e", "warn": "#ad5700", "danger": "#ce2c31"}
GRAY = "#60646c"
BOX = "border-left: 4px solid {color}; padding: .4em .8em; margin: .4em 0"
CELL = "padding: .2em .6em; border-bottom: 1px solid #ddd; text-align: {align}"
VEGA = ("application/vnd.vegalite.", "application/vnd.vega.")
PLOTLY_CALL = "Plotly.newPlot("
COLUMNS = ("labels", "x", "y", "z", "values", "open", "high", "low", "close", "lat", "lon", "text")
NUMBERS = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q",
           "f4": "f", "f8": "d"}  # fmt: skip


def add_fallbacks(notebook: dict[str, Any]) -> None:
    """Give outputs of a Jupyter notebook (format 4) forms that any viewer shows."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if "data" in output:
                _improve(output["data"])


def _improve(data: dict[str, Any]) -> None:
    """Add to one output's forms, by MIME type."""
    for mimetype in list(data):
        if mimetype.startswith(VEGA) and not {"image/png", "image/svg+xml"} & set(data):
            _add_chart(data, mimetype)
    if "application/json" in data and "text/html" not in data:
        value = data["application/json"] = _json(data["application/json"])
        text = json.dumps(value, indent=2, ensure_ascii=False)
        data["text/html"] = f"<pre>{escape(text)}</pre>"
    for mimetype in ("text/html", "text/markdown"):
        text = text_of(data.get(mimetype, ""))
        if (figure := find_figure(text)) is not None:
            data[mimetype] = _figure(figure)
        if "<marimo-" in text:
            data[mimetype] = as_static(text)


def _add_chart(data: dict[str, Any], mimetype: str) -> None:
    """Draw a Vega or Vega-Lite chart as SVG, which needs no browser and no network."""
    # A viewer that draws charts itself needs an object, not text.
    spec = data[mimetype] = _json(data[mimetype])
    try:
        import vl_convert
    except ImportError:
        data["text/html"] = _note(
            "A chart, which cannot be drawn here without vl-convert: "
            f"`{add_command('vl-convert-python')}`"
        )
        return
    convert = vl_convert.vegalite_to_svg if "vegalite" in mimetype else vl_convert.vega_to_svg
    try:
        data["image/svg+xml"] = convert(spec)
    except ValueError as error:
        data["text/html"] = _note(f"A chart that cannot be drawn here: {error}")


def as_static(html: str) -> str:
    """Return HTML with marimo's elements replaced by plain ones."""
    parser = _Static()
    parser.feed(html)
    parser.close()
    return "".join(parser.parts)


class _Static(HTMLParser):
    """Copies HTML, and draws marimo's elements."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if not tag.startswith("marimo-"):
            self.parts.append(self.get_starttag_text() or "")
            return
        values = {
            name.removeprefix("data-").replace("-", "_"): _json(value)
            for name, value in attributes
            if name.startswith("data-")
        }
        self.parts.append(_draw(tag.removeprefix("marimo-"), values))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        if not tag.startswith("marimo-"):
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_entityref(self, name: str) -> None:
        self.parts.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.parts.append(f"&#{name};")


def _draw(kind: str, values: dict[str, Any]) -> str:
    """Return one of marimo's elements as plain HTML; an empty text if its content follows."""
    if kind == "table":
        return _table(values)
    if kind == "stat":
        caption = f"<div><small>{_plain(values.get('caption'))}</small></div>"
        return (
            '<div style="display: inline-block; padding: .3em 1em .3em 0">'
            f"<div><small>{_plain(values.get('label'))}</small></div>"
            f'<div style="font-size: 1.6em; font-weight: 600">{_plain(values.get("value"))}</div>'
            f"{caption if values.get('caption') else ''}</div>"
        )
    if kind == "callout-output":
        color = COLORS.get(str(values.get("kind")), GRAY)
        inner = as_static(str(values.get("html") or ""))
        return f'<div style="{BOX.format(color=color)}">{inner}</div>'
    if kind == "mermaid":
        return f"<pre>{_plain(values.get('diagram'))}</pre>"
    if kind == "json-output":
        text = json.dumps(values.get("json_data"), indent=2, ensure_ascii=False)
        return f"<pre>{escape(text)}</pre>"
    if kind == "plotly" and isinstance(values.get("figure"), dict):
        return _figure(values["figure"])
    if kind in ("plotly", "anywidget", "vega"):
        return _note(f"A chart or widget ({kind}) that only the HTML page shows.")
    if kind in ("tabs", "accordion"):
        labels = values.get("tabs") or values.get("labels") or []
        return "".join(f"<div><b>{as_static(str(label))}</b></div>" for label in labels)
    if "initial_value" in values and kind not in ("tex", "ui-element"):
        label = as_static(str(values.get("label") or kind))
        return f"<div>{label} <code>{_plain(values['initial_value'])}</code></div>"
    return ""


def _figure(figure: dict[str, Any]) -> str:
    """Return the numbers of a plotly figure, which a script draws."""
    parts = [_note("The numbers of a chart that only the HTML page draws.")]
    if title := _title((figure.get("layout") or {}).get("title")):
        parts.insert(0, f"<div><b>{escape(title)}</b></div>")
    for name, rows in traces(figure):
        table = _table({"data": rows, "total_rows": len(rows)})
        parts.append(f"<div><small>{escape(name)}</small></div>{table}")
    return "".join(parts)


def find_figure(html: str) -> dict[str, Any] | None:
    """Return the plotly figure that a page draws, or None if it draws none."""
    for text in (html, unescape(html)):
        _, _, call = text.partition(PLOTLY_CALL)
        arguments: list[Any] = []
        try:
            for _ in range(3):  # the id of its element, traces, layout
                call = call.lstrip(" \r\n\t,")
                argument, end = json.JSONDecoder().raw_decode(call)
                arguments.append(argument)
                call = call[end:]
        except ValueError:
            continue
        return {"data": arguments[1], "layout": arguments[2]}
    return None


def traces(figure: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return each trace of a figure: its name, and its points as rows."""
    layout = figure.get("layout") or {}
    axes = {axis: _title((layout.get(f"{axis}axis") or {}).get("title")) for axis in "xy"}
    named_rows = []
    for trace in figure.get("data") or []:
        columns = {name: _values(trace.get(name)) for name in COLUMNS}
        columns = {axes.get(name) or name: values for name, values in columns.items() if values}
        rows = [dict(zip(columns, row, strict=True)) for row in zip_longest(*columns.values())]
        named_rows.append((str(trace.get("name") or trace.get("type") or ""), rows))
    return named_rows


def _values(values: Any) -> list[Any]:
    """Return the values of a trace. Those of a numpy array are packed."""
    if isinstance(values, dict) and values.get("dtype") in NUMBERS and "shape" not in values:
        numbers = array.array(NUMBERS[values["dtype"]])
        try:
            numbers.frombytes(base64.b64decode(values.get("bdata") or ""))
        except ValueError:
            return []
        return list(numbers)
    return values if isinstance(values, list) else []


def _title(title: Any) -> str:
    return str((title.get("text") if isinstance(title, dict) else title) or "")


def _table(values: dict[str, Any]) -> str:
    """Return the first rows of a table."""
    rows = _rows(values.get("data"))
    if rows is None:
        return _note("A table that only the HTML page shows.")
    fields = [str(field[0]) for field in values.get("field_types") or []]
    fields = fields or [name for name in (rows[0] if rows else {}) if name != "_marimo_row_id"]
    total = values.get("total_rows")
    head = "".join(
        f'<th style="{CELL.format(align="left")}">{escape(name)}</th>' for name in fields
    )
    body = ""
    for row in rows[:ROWS]:
        cells = ""
        for name in fields:
            value = row.get(name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            style = CELL.format(align="right" if number else "left")
            cells += f'<td style="{style}">{_plain(value)}</td>'
        body += f"<tr>{cells}</tr>"
    shown = min(len(rows), ROWS)
    more = f"<p><small>{shown} of {total} rows</small></p>" if total not in (shown, None) else ""
    return (
        f'<table style="border-collapse: collapse"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>{more}"
    )


def _rows(data: Any) -> list[dict[str, Any]] | None:
    """Return the rows in a table's data: JSON, or a data URL of JSON or CSV."""
    if isinstance(data, str) and data.startswith("data:"):
        head, _, payload = data.partition(",")
        try:
            data = base64.b64decode(payload).decode()
        except ValueError:
            return None
        if "csv" in head:
            return list(csv.DictReader(io.StringIO(data)))
    data = _json(data)
    if isinstance(data, list) and all(isinstance(row, dict) for row in data):
        return data
    return None


def _json(value: Any) -> Any:
    """Return the value of JSON text, which may be a list of lines; other text unchanged."""
    lines = isinstance(value, list) and value and all(isinstance(line, str) for line in value)
    if not isinstance(value, str) and not lines:
        return value
    try:
        return json.loads(text_of(value))
    except ValueError:
        return text_of(value)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return escape(value)
    return "" if value is None else escape(json.dumps(value, ensure_ascii=False))


def _note(text: str) -> str:
    return f'<div style="{BOX.format(color=GRAY)}">{escape(text)}</div>'


def text_of(value: Any) -> str:
    """Return a text of a Jupyter notebook, which may be a list of lines."""
    return "".join(value) if isinstance(value, list) else str(value)
