"""`pair.export()`: the newest report of a notebook, and a button that writes another."""

from __future__ import annotations

import threading
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from dagmar.errors import DagmarError
from dagmar.export import exporting, folders, manifests
from dagmar.export.request import ExportRequest
from dagmar.pair import drawing
from dagmar.pair.context import Context, may_act

if TYPE_CHECKING:
    import marimo as mo

IDLE_SECONDS = 0.5


class Exporter:
    """Exports one notebook when its button is clicked."""

    def __init__(self, context: Context, notebook: Path) -> None:
        self._context, self._notebook = context, notebook
        self._clicked = threading.Event()
        self._remark = ""

    def page(self, button: str = "") -> str:
        """Return the newest report, the state or result of the export, and the button."""
        settings = self._context.settings
        place = folders.place_of(settings, self._notebook)
        newest = next(iter(manifests.read_all(place.folder)), None)
        parts = ["<div>There is no report of this notebook yet.</div>"]
        if newest is not None:
            folder, manifest = newest
            url = exporting.url_of(settings, folder, manifest)
            started = manifest.started.strftime("%Y-%m-%d %H:%M:%S UTC")
            shown = drawing.link(url, url) if url else escape(str(folder))
            parts = [f"<div>Newest report: {started}, {manifest.status}</div><div>{shown}</div>"]
        return drawing.box(*parts, self._remark, f"<div>{button}</div>" if button else "")

    def export(self) -> None:
        """Export the notebook as it is saved, as `invoke export` does."""
        try:
            request = ExportRequest(notebooks=(str(self._notebook),))
            (report,) = exporting.export(self._context.settings, request, [self._notebook])
            self._remark = ""
            if error := report.manifest.error:
                cell = manifests.cell_of(error).replace("cell", "Cell", 1)
                text = f"{cell}: {error.text}" if cell else error.text
                self._remark = drawing.note(text, kind="danger")
        except DagmarError as error:
            self._remark = drawing.refusal(error)

    def show(self) -> mo.Html:
        """Return the newest report, and wait for clicks if somebody can click."""
        import marimo as mo

        if not may_act():
            return mo.Html(self.page())
        button = mo.ui.button(label="Export", on_change=lambda _: self._clicked.set())
        mo.Thread(target=lambda: self._follow(button), daemon=True).start()
        return mo.Html(self.page(button.text))

    def _follow(self, button: mo.Html) -> None:
        """Wait for clicks until the cell runs again."""
        import marimo as mo

        thread = mo.current_thread()
        while not thread.should_exit:
            if not self._clicked.wait(IDLE_SECONDS):
                continue
            self._remark = drawing.note("Exporting…")
            mo.output.replace(mo.Html(self.page()))
            self.export()
            self._clicked.clear()  # further clicks asked for this same export
            if not thread.should_exit:
                mo.output.replace(mo.Html(self.page(button.text)))
