"""What one run of a notebook ends with, described for a comparison.

A paired notebook is observed by the worker that runs it, a Jupyter notebook by its kernel.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.files import encodable, write_atomically
from dagmar.notebook.fingerprints import Description, describe, figures_of

if TYPE_CHECKING:
    from dagmar.notebook.execute import Executed


class Observer:
    """Keeps what each cell shows and draws, and at the end describes the variables too."""

    def __init__(self) -> None:
        self._figures: list[Any] = []
        self._shown: list[tuple[str, Description | None, list[Description]]] = []
        figures_of(self._figures)

    def after(self, cell: str, value: Any) -> None:
        """Keep what a cell shows, now: a later cell may change it."""
        figures = [describe(figure) for figure in self._figures]
        self._figures.clear()
        self._shown.append((str(cell), None if value is None else describe(value), figures))

    def as_text(self, executed: Executed) -> str:
        """Return the JSON document of a paired notebook that was run."""
        cells = [str(cell) for cell in executed.app.cell_manager.cell_ids()]
        shown = {cell: (value, figures) for cell, value, figures in self._shown}
        printed = dict.fromkeys(cells, "")
        for cell, notification in executed.capture.view.cell_notifications.items():
            console = notification.console or []
            for output in console if isinstance(console, list) else [console]:
                if output.channel.value == "stdout" and output.mimetype == "text/plain":
                    printed[str(cell)] += str(output.data)
        return _text(
            executed.values,
            [(*shown.get(cell, (None, [])), printed[cell]) for cell in cells],
        )

    def in_kernel(self, shell: Any, names: list[str], file: str) -> None:
        """Write the JSON document of what ran in this kernel of IPython."""
        values = {name: shell.user_ns[name] for name in names if name in shell.user_ns}
        cells = [(value, figures, "") for _, value, figures in self._shown]
        write_atomically(Path(file), _text(values, cells), 0o600)


def observe(shell: Any) -> None:
    """Observe the cells that this kernel of IPython runs from now on."""
    observer = shell.dagmar_observer = Observer()

    def after(result: Any) -> None:
        if result.info.store_history:  # neither ours, nor what a magic runs inside of a cell
            observer.after("", result.result)

    shell.events.register("post_run_cell", after)


def _text(
    values: Mapping[str, Any], cells: list[tuple[Description | None, list[Description], str]]
) -> str:
    document = {
        "values": {name: describe(value) for name, value in values.items() if _counts(value)},
        "cells": [
            {"shown": shown, "figures": figures, "printed": encodable(printed)}
            for shown, figures, printed in cells
        ],
    }
    return encodable(json.dumps(document))


def _counts(value: Any) -> bool:
    """Whether a variable is a result of the notebook, and not what it has imported."""
    if isinstance(value, types.ModuleType):
        return False
    named = isinstance(value, type | types.FunctionType | types.BuiltinFunctionType)
    return not named or value.__module__ == "__main__"
