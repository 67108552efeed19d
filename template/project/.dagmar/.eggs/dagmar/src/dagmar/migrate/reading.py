"""Jupyter notebooks as they are in files, and why some cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dagmar.errors import Invalid
from dagmar.files import encodable, reading
from dagmar.migrate.model import SourceCell, SourceNotebook
from dagmar.notebook.cells import CONFLICT

POINTER = "version https://git-lfs.github.com/spec/"
LEAVE_OUT = "Leave it out with --notebook, which names the others."
RESTORE = "Restore it from git, or leave it out: name the others with --notebook."
UPGRADE = "jupyter nbconvert --to notebook --output UPGRADED.ipynb"


def read_notebook(file: Path) -> SourceNotebook:
    """Read a Jupyter notebook of nbformat 4 in Python; the file is only read.

    Raises Invalid.
    """
    with reading(file.name, Invalid):
        text = file.read_bytes().decode("utf-8-sig")
    cells = enumerate(_document(text, file.name), 1)
    return SourceNotebook(file, [_cell(number, cell) for number, cell in cells])


def _document(text: str, name: str) -> Sequence[Any]:
    """Return the cells of a notebook's JSON. Raises Invalid."""
    if not text.strip():
        raise Invalid(f"{name} is empty", RESTORE)
    if text.startswith(POINTER):
        message = f"{name} is a pointer of Git LFS, not the notebook"
        raise Invalid(message, command="git lfs pull")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        if conflict := CONFLICT.search(text):
            line = text.count("\n", 0, conflict.start()) + 1
            message = f"{name} has conflict markers of a merge, line {line}"
            raise Invalid(message, "Resolve the merge, then migrate it.") from None
        message = f"{name} is not a Jupyter notebook: it is not JSON ({error})"
        raise Invalid(message, RESTORE) from None
    version = document.get("nbformat") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise Invalid(f"{name} is not a Jupyter notebook: it has no nbformat", RESTORE)
    if version != 4:
        message = f"{name} has format {version} of Jupyter notebooks, and dagmar reads format 4"
        hint = "Let Jupyter convert a copy:" if version < 4 else "Save it as format 4."
        raise Invalid(message, hint, f"{UPGRADE} {name}" if version < 4 else "")
    if (language := _language(document)) != "python":
        message = f"{name} is a notebook in {language}, and a marimo notebook is Python"
        raise Invalid(message, LEAVE_OUT)
    cells = document.get("cells")
    if not isinstance(cells, list):
        raise Invalid(f"{name} is not a Jupyter notebook: it has no list of cells", RESTORE)
    return cells


def _language(document: Mapping[str, Any]) -> str:
    """Return the language of the kernel; a notebook that does not say it is taken as Python."""
    metadata = _mapping(document.get("metadata"))
    kernel = _mapping(metadata.get("kernelspec"))
    language = _mapping(metadata.get("language_info")).get("name") or kernel.get("language")
    if not language and (name := str(kernel.get("name") or "")):
        return "R" if name == "ir" else "python"
    return "python" if str(language or "").lower() in ("", "python", "ipython") else str(language)


def _cell(number: int, cell: object) -> SourceCell:
    """Return one cell; what is not as nbformat says is taken as absent."""
    cell = _mapping(cell)
    kind = cell.get("cell_type")
    outputs = cell.get("outputs")
    attachments = _mapping(cell.get("attachments"))
    tags = _mapping(cell.get("metadata")).get("tags")
    return SourceCell(
        number,
        kind if kind in ("code", "markdown") else "raw",
        _text(cell.get("source")),
        frozenset(map(str, tags)) if isinstance(tags, list) else frozenset(),
        [*map(_mapping, outputs)] if isinstance(outputs, list) else (),
        {name: _mapping(bundle) for name, bundle in attachments.items()},
    )


def _text(value: object) -> str:
    """Return a text of nbformat, which may be a list of lines."""
    text = "".join(map(str, value)) if isinstance(value, list) else str(value or "")
    return encodable(text.replace("\r\n", "\n"))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
