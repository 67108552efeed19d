"""Reports by `marimo export`, for a version of marimo that dagmar is not tested with.

Only public interfaces are used. Each format is a separate run of the notebook, and marimo does
not return the values of `pair.report`, nor which cell failed with which traceback.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from dagmar.errors import Invalid, SetupError
from dagmar.files import write_atomically
from dagmar.notebook.cells import Source
from dagmar.notebook.commandline import read_command_line
from dagmar.notebook.compatibility import unsupported
from dagmar.notebook.fallbacks import add_fallbacks
from dagmar.notebook.inputs import bindings
from dagmar.notebook.nocode import Code
from dagmar.notebook.public import embed_in_notebook, embed_in_page
from dagmar.notebook.render import as_markdown, as_text

NAME = "marimo export"
MISSING = (
    "reports are written by `marimo export`: without the values of pair.report, the name and "
    "traceback of a failing cell, and values for the inputs cell; offline pages are not tested"
)
FLAGS = {"html": (), "ipynb": ("--include-outputs", "--sort", "top-down")}


def check_parameters(path: Path, source: Source, names: Collection[str]) -> None:
    """Raise SetupError for parameters that the notebook does not read from its command line."""
    found, line = bindings(source), read_command_line(source)
    for name in names:
        read = all(line.reads(binding.value, name) for binding in found.get(name, ()))
        if not (read and line.takes(name)):
            reason = f"{path.name} does not read '{name}' from its command line"
            reason += ", and values of the inputs cell cannot be replaced"
            raise unsupported(reason, "Read mo.cli_args() there")


def export(
    path: Path,
    folder: Path,
    formats: Collection[str],
    argv: Sequence[str],
    conceal: Code | None,
    finish_page: Callable[[str], str],
    on_step: Callable[[str], None],
    before: Callable[[], None] | None = None,
) -> str:
    """Write the files of a report, and return why cells failed, or an empty text.

    `argv` is the command line of the notebook; `conceal` is the code if the files must not contain
    it; `finish_page` may change the HTML; `before` is called in each process that is started.
    Raises Invalid for a notebook that marimo cannot read, SetupError if marimo lacks a flag.
    """
    needed = ["html"] if "html" in formats else []
    needed += ["ipynb"] if {"ipynb", "md"} & set(formats) else []
    failed = ""
    for format in needed:
        on_step(f"{NAME} {format}")
        flags = [*FLAGS[format], *(["--no-include-code"] if format == "html" and conceal else [])]
        text, message = _run(path, folder, format, flags, argv, before)
        failed = failed or message
        if format == "html":
            text = conceal.conceal_page(text) if conceal else text
            text = finish_page(embed_in_page(text, path.parent))
            write_atomically(folder / f"{path.stem}.html", text)
            continue
        notebook = json.loads(text)
        add_fallbacks(notebook)
        embed_in_notebook(notebook, path.parent)
        if conceal:
            conceal.conceal_notebook(notebook, _enabled(notebook))
        if "ipynb" in formats:
            write_atomically(folder / f"{path.stem}.ipynb", as_text(notebook))
        if "md" in formats:
            write_atomically(folder / f"{path.stem}.md", as_markdown(notebook))
    return failed


def _enabled(notebook: dict[str, Any]) -> set[str]:
    """Return the ids of the cells that are not disabled."""
    cells = ((cell["id"], cell["metadata"].get("marimo", {})) for cell in notebook["cells"])
    return {id for id, marimo in cells if not marimo.get("config", {}).get("disabled")}


def _run(
    path: Path,
    folder: Path,
    format: str,
    flags: Collection[str],
    argv: Sequence[str],
    before: Callable[[], None] | None,
) -> tuple[str, str]:
    """Run the command once, and return the file's text, and its message about failed cells."""
    file = folder / f".{path.stem}.{format}"
    command = [sys.executable, "-m", "marimo", "--quiet", "--yes", "export", format, str(path)]
    done = subprocess.run(
        [*command, "--output", str(file), "--force", "--no-sandbox", *flags, "--", *argv],
        env={**os.environ, "MARIMO_SKIP_UPDATE_CHECK": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        preexec_fn=before,
    )
    message = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    message = message.removeprefix("Error: ")
    if not file.is_file():
        if done.returncode in (0, 2):
            raise unsupported(f"`{NAME} {format}` does not work: {message}")
        if done.returncode < 0:
            killed = f"`{NAME} {format}` was killed by signal {-done.returncode}"
            raise SetupError(killed, "Try again.")
        nothing = f"`{NAME} {format}` wrote no file for {path.name}: {message}"
        raise Invalid(nothing, command=f"invoke check --path {shlex.quote(os.path.relpath(path))}")
    text = file.read_text("utf-8")
    file.unlink()
    return text, message if done.returncode else ""
