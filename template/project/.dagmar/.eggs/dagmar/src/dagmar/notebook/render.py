"""An execution as files: marimo's HTML page, a Jupyter notebook, Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from dagmar.errors import Invalid
from dagmar.files import encodable, reading
from dagmar.notebook.fallbacks import add_fallbacks, text_of
from dagmar.notebook.public import embed_in_notebook, embed_in_page

if TYPE_CHECKING:
    from dagmar.notebook.execute import Executed

FORMATS = ("html", "ipynb", "md")
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def render(executed: Executed, format: str, code: bool = True, asset_url: str | None = None) -> str:
    """Return the text of the file in one of FORMATS.

    `asset_url` is where the page finds marimo's scripts, instead of marimo's CDN.
    """
    if format == "html":
        return encodable(as_html(executed, code, asset_url))
    notebook = as_notebook(executed, code)
    return encodable(as_markdown(notebook) if format == "md" else as_text(notebook))


def as_html(executed: Executed, code: bool = True, asset_url: str | None = None) -> str:
    """Return marimo's static page."""
    from dagmar.notebook import internals

    app, view, config = executed.app, executed.capture.view, executed.app.config
    layout = None
    if config.layout_file:
        layout = internals.read_layout_config(executed.path.parent, config.layout_file)
        # As marimo's command does: a page that is opened elsewhere has no such file.
        uri = internals.layout_config_to_data_uri(layout) if layout else None
        config = replace(config, layout_file=uri)
    snapshot = internals.serialize_notebook_snapshot(
        app, view, drop_virtual_file_outputs=False, include_model_notifications=True
    )
    if not code:  # the exporter itself removes code and printed output
        raised = executed.capture.raised()
        for cell in snapshot.session["cells"]:
            outputs = cast("list[dict[str, Any]]", cell["outputs"])
            executed.code.conceal_errors(outputs, raised.get(cell["id"]))
    manager = internals.get_default_config_manager(current_path=str(executed.path))
    settings = manager.get_config()
    with reading("a file that the notebook's page includes", Invalid):
        html, _ = internals.Exporter().export_as_html(
            internals.HTMLExportRequest(
                # The page has only the name; files next to the notebook are found by the path.
                filename=str(executed.path),
                app_code=app.to_py(),
                app_config=config,
                snapshot=snapshot,
                display_config=settings["display"],
                options=internals.HTMLExportOptions(
                    files=(), include_code=code, asset_url=asset_url
                ),
                layout=layout,
                sharing_config=settings.get("sharing"),
            )
        )
    return embed_in_page(html, executed.path.parent)


def as_notebook(executed: Executed, code: bool = True) -> dict[str, Any]:
    """Return a Jupyter notebook whose outputs need no marimo to be shown."""
    from dagmar.notebook import internals

    options = internals.IPYNBExportOptions(sort_mode="top-down")
    request = internals.IPYNBExportRequest(
        app=executed.app, options=options, session_view=executed.capture.view
    )
    text = internals.Exporter().export_as_ipynb(request)
    notebook: dict[str, Any] = json.loads(text)
    add_fallbacks(notebook)
    embed_in_notebook(notebook, executed.path.parent)
    if not code:
        executed.code.conceal_notebook(notebook, executed.capture.shown())
    return notebook


def as_text(notebook: dict[str, Any]) -> str:
    """Return the text of a Jupyter notebook's file."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def as_markdown(notebook: dict[str, Any]) -> str:
    """Return a Jupyter notebook (format 4) as Markdown with its outputs. Tables stay HTML."""
    parts: list[str] = []
    for cell in notebook["cells"]:
        source = text_of(cell["source"]).strip("\n")
        if cell["cell_type"] != "code":
            parts.append(source)
            continue
        if source and "remove-input" not in cell["metadata"].get("tags", []):
            parts.append(_fenced(source, "python"))
        for output in cell.get("outputs", []):
            parts += _output(output)
    return "\n\n".join(part for part in parts if part.strip()) + "\n"


def _output(output: dict[str, Any]) -> Iterator[str]:
    kind = output["output_type"]
    if kind == "stream":
        yield _fenced(text_of(output["text"]).rstrip("\n"))
    elif kind == "error":
        trace = "\n".join(output.get("traceback", []))
        yield _fenced(trace or f"{output['ename']}: {output['evalue']}")
    else:
        yield _richest(output.get("data", {}))


def _richest(data: dict[str, Any]) -> str:
    """Return the richest form of an output that Markdown can hold."""
    for mimetype in IMAGES:
        if mimetype in data:
            payload = "".join(text_of(data[mimetype]).split())
            return f"![](data:{mimetype};base64,{payload})"
    for mimetype in ("image/svg+xml", "text/html", "text/markdown"):
        if mimetype in data:
            return text_of(data[mimetype])
    if "application/json" in data:
        value = data["application/json"]
        return _fenced(json.dumps(value, indent=2, ensure_ascii=False), "json")
    return _fenced(text_of(data["text/plain"])) if "text/plain" in data else ""


def _fenced(text: str, language: str = "") -> str:
    """Return a code block whose fence does not occur in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
