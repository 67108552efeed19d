"""An execution as files: marimo's HTML page, a Jupyter notebook, Markdown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagmar.notebook.execute import Executed

FORMATS = ("html", "ipynb", "md")


def render(executed: Executed, format: str, code: bool = True, asset_url: str | None = None) -> str:
    """Return the text of the file in one of FORMATS.

    `asset_url` is where the page finds marimo's scripts; a CDN of marimo's otherwise.
    """
    if format == "html":
        return as_html(executed, code, asset_url)
    notebook = as_notebook(executed, code)
    if format == "md":
        from dagmar.notebook.markdown import as_markdown

        return as_markdown(notebook)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def as_html(executed: Executed, code: bool = True, asset_url: str | None = None) -> str:
    """Return marimo's static page."""
    from dagmar.notebook.internals import (
        Exporter,
        HTMLExportOptions,
        HTMLExportRequest,
        get_default_config_manager,
        read_layout_config,
        serialize_notebook_snapshot,
    )

    app = executed.app
    layout = app.config.layout_file
    snapshot = serialize_notebook_snapshot(
        app,
        executed.capture.view,
        drop_virtual_file_outputs=False,
        include_model_notifications=True,
    )
    config = get_default_config_manager(current_path=str(executed.path)).get_config()
    html, _ = Exporter().export_as_html(
        HTMLExportRequest(
            # Only the name: the folders of this machine are nobody's business.
            filename=executed.path.name,
            app_code=app.to_py(),
            app_config=app.config,
            snapshot=snapshot,
            display_config=config["display"],
            options=HTMLExportOptions(files=(), include_code=code, asset_url=asset_url),
            layout=read_layout_config(executed.path.parent, layout) if layout else None,
        )
    )
    return html


def as_notebook(executed: Executed, code: bool = True) -> dict[str, Any]:
    """Return a Jupyter notebook whose outputs show in viewers that know nothing of marimo."""
    from dagmar.notebook.internals import Exporter, IPYNBExportOptions, IPYNBExportRequest

    text = Exporter().export_as_ipynb(
        IPYNBExportRequest(
            app=executed.app,
            options=IPYNBExportOptions(sort_mode="top-down"),
            session_view=executed.capture.view,
        )
    )
    return finish_notebook(json.loads(text), code)


def finish_notebook(notebook: dict[str, Any], code: bool = True) -> dict[str, Any]:
    """Give marimo's Jupyter notebook outputs that any viewer shows, and hide its code if asked."""
    from dagmar.notebook.fallbacks import add_fallbacks

    add_fallbacks(notebook)
    if not code:
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell["source"] = ""
                tags = cell["metadata"].setdefault("tags", [])
                if "remove-input" not in tags:
                    tags.append("remove-input")
    return notebook
