"""`pair.export()`: the newest report of a notebook, and a button that makes another."""

from __future__ import annotations

import threading
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.errors import DagmarError
from dagmar.export import exporting, folders, manifests
from dagmar.export.request import ExportRequest
from dagmar.pair import drawing
from dagmar.pair.context import Context, may_act

if TYPE_CHECKING:
    import marimo as mo

IDLE_SECONDS = 0.5


class Exporter:
    """Exports one notebook when its button is clicked; nothing is run by itself."""

    def __init__(self, context: Context, notebook: Path) -> None:
        self._context, self._notebook = context, notebook
        self._wanted = threading.Event()
        self._told = ""

    def page(self, button: str = "") -> str:
        """Return what is to be seen: the newest report, what is being done, and the button."""
        settings = self._context.settings
        place = folders.place_of(settings, self._notebook)
        newest = next(iter(manifests.read_all(place.folder)), None)
        parts = [drawing.note("There is no report of this notebook yet.")]
        if newest is not None:
            home, told = newest
            url = exporting.url_of(settings, home, told)
            when = told.started.strftime("%Y-%m-%d %H:%M:%S UTC")
            shown = drawing.link(url, url) if url else escape(str(home))
            parts = [f"<div>Newest report: {when}, {told.status}</div><div>{shown}</div>"]
        return drawing.box(*parts, self._told, f"<div>{button}</div>" if button else "")

    def export(self) -> None:
        """Export the notebook as it is saved, as `invoke export` does."""
        try:
            settings = self._context.settings
            request = ExportRequest(notebooks=(str(self._notebook),))
            (made,) = exporting.export(settings, request, [self._notebook])
            error = made.error
            self._told = ""
            if error:
                cell = manifests.cell_of(error).replace("cell", "Cell", 1)
                where = f"{cell}: " if cell else ""
                self._told = drawing.note(f"{where}{error.text}")
        except DagmarError as refused:
            self._told = drawing.refusal(refused)

    def show(self) -> mo.Html:
        """Return the report as it stands, and keep it up to date where somebody looks on."""
        import marimo as mo

        if not may_act():
            return mo.Html(self.page())
        button = mo.ui.button(label="Export", on_change=lambda _: self._wanted.set())
        mo.Thread(target=lambda: self._follow(button), daemon=True).start()
        return mo.Html(self.page(button.text))

    def _follow(self, button: Any) -> None:
        """Wait for clicks until the cell is run again."""
        import marimo as mo

        thread = mo.current_thread()
        while not thread.should_exit:
            if not self._wanted.wait(IDLE_SECONDS):
                continue
            self._told = drawing.note("Exporting…")
            mo.output.replace(mo.Html(self.page()))
            self.export()
            self._wanted.clear()  # clicks meanwhile asked for this one
            if not thread.should_exit:
                mo.output.replace(mo.Html(self.page(button.text)))
