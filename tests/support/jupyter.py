"""Jupyter notebooks for tests of `invoke migrate`, their conversion, and both of them executed."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dagmar.migrate.convert import convert
from dagmar.migrate.model import Converted
from dagmar.migrate.reading import read_notebook

Cell = dict[str, Any]


def code(source: str, *tags: str, **fields: Any) -> Cell:
    """Return a code cell of nbformat 4."""
    return {"cell_type": "code", "source": source, "metadata": {"tags": [*tags]}, **fields}


def markdown(source: str, **fields: Any) -> Cell:
    """Return a Markdown cell of nbformat 4."""
    return {"cell_type": "markdown", "source": source, "metadata": {}, **fields}


def write_ipynb(file: Path, cells: Sequence[Cell | str]) -> Path:
    """Write a Jupyter notebook; a text is the source of a code cell."""
    whole = [code(cell) if isinstance(cell, str) else cell for cell in cells]
    document = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": whole}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document), "utf-8")
    return file


def converted(
    folder: Path, *cells: Cell | str, asset: str = "", outputs: bool = False, texts: Any = None
) -> Converted:
    """Convert cells; nothing is written but the Jupyter notebook `old.ipynb`."""
    source = read_notebook(write_ipynb(folder / "old.ipynb", cells))
    return convert(source, folder / "notebooks/old.py", asset, "", outputs, folder, lambda: texts)


def final_values(result: Converted) -> dict[str, Any]:
    """Execute the converted notebook; return what the names of the Jupyter notebook end with."""
    file = result.target
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(result.text, "utf-8")
    # Python takes the bytecode of another file of this second that has the same size.
    Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
    spec = importlib.util.spec_from_file_location("_migrated", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["_migrated"] = module
    try:
        spec.loader.exec_module(module)
        _, values = module.app.run()
        found = {**vars(module), **values}
    finally:
        del sys.modules["_migrated"]
    return {old: found[new] for old, new in result.names.items() if new in found}
