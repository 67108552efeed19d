"""A Jupyter notebook's cells and outputs as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def as_markdown(notebook: dict[str, Any]) -> str:
    """Return a notebook of format 4 as Markdown, outputs included. Tables stay HTML."""
    parts: list[str] = []
    for cell in notebook["cells"]:
        source = _text(cell["source"]).strip("\n")
        if cell["cell_type"] != "code":
            parts.append(source)
            continue
        hidden = "remove-input" in cell["metadata"].get("tags", [])
        if source and not hidden:
            parts.append(_fenced(source, "python"))
        for output in cell.get("outputs", []):
            parts += _output(output)
    return "\n\n".join(part for part in parts if part.strip()) + "\n"


def _output(output: dict[str, Any]) -> Iterator[str]:
    kind = output["output_type"]
    if kind == "stream":
        yield _fenced(_text(output["text"]).rstrip("\n"))
    elif kind == "error":
        trace = "\n".join(output.get("traceback", []))
        yield _fenced(trace or f"{output['ename']}: {output['evalue']}")
    else:
        yield _shown(output.get("data", {}))


def _shown(data: dict[str, Any]) -> str:
    """Return the richest of an output's forms that Markdown can hold."""
    for mimetype in IMAGES:
        if mimetype in data:
            payload = "".join(_text(data[mimetype]).split())
            return f"![](data:{mimetype};base64,{payload})"
    for mimetype in ("image/svg+xml", "text/html", "text/markdown"):
        if mimetype in data:
            return _text(data[mimetype])
    if "application/json" in data:
        value = data["application/json"]
        return _fenced(json.dumps(value, indent=2, ensure_ascii=False), "json")
    return _fenced(_text(data["text/plain"])) if "text/plain" in data else ""


def _text(value: Any) -> str:
    return "".join(value) if isinstance(value, list) else str(value)


def _fenced(text: str, language: str = "") -> str:
    """Return text between fences that it cannot close."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
