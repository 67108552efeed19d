"""`invoke export` against marimo's own commands.

Twenty small notebooks with two workers, against `marimo export html` for one after the other;
and one notebook as html and ipynb, against marimo's two commands for that.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pairs import Command, Count, Row, pair

TASKS = "from dagmar.tasks import namespace\n\nns = namespace(__file__)\n"
NOTEBOOK = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    return (mo,)


@app.cell
def inputs():
    rows = [{{"n": n, "square": n * n}} for n in range({number}, {number} + 50)]
    return (rows,)


@app.cell
def _(mo, rows):
    mo.ui.table(rows)
    return


@app.cell
def _(mo, rows):
    mo.md(f"**{{sum(row['square'] for row in rows)}}** in all")
    return
"""
COUNT = 20
JUPYTER = ("nbconvert>=7", "ipykernel>=6")
MARIMO = [sys.executable, "-m", "marimo", "-q", "export"]


def shell(commands: list[list[str]]) -> list[str]:
    """Return a command line that runs others, one after the other."""
    return ["sh", "-ec", "\n".join(shlex.join(command) for command in commands)]


def write_notebooks(root: Path) -> list[str]:
    """Write a project with COUNT small notebooks, and return their names."""
    (root / "notebooks").mkdir(parents=True)
    (root / "tasks.py").write_text(TASKS)
    (root / "dagmar.yaml").touch()
    names = [f"small_{number:02d}" for number in range(COUNT)]
    for number, name in enumerate(names):
        (root / f"notebooks/{name}.py").write_text(NOTEBOOK.format(number=number))
    return names


def rows(count: Count) -> Iterator[Row]:
    """Time 3 pairs of the twenty, and 5 of the one with each of its peers."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "project")
        names = write_notebooks(root)
        environ = {**os.environ, "MARIMO_SKIP_UPDATE_CHECK": "1"}
        invoke = [sys.executable, "-m", "invoke", "export"]

        def peer(format: str, name: str) -> list[str]:
            outputs = ["--include-outputs"] if format == "ipynb" else []
            return [
                *MARIMO, format, f"notebooks/{name}.py", *outputs, "--no-sandbox", "-f",
                "-o", f"{name}.{format}",
            ]  # fmt: skip

        one = names[0]
        both = [*invoke, "--notebook", f"{one}.py", "--format", "html", "--format", "ipynb"]
        if not count.quick:
            yield pair(
                Command(f"export --all, {COUNT}, 2 workers", [*invoke, "--all", "--workers", "2"],
                        root, environ),
                Command("marimo export html, in a loop",
                        shell([peer("html", name) for name in names]), root, environ),
                limit=0.4, count=3,
            )  # fmt: skip
        yield pair(
            Command("export, html and ipynb", both, root, environ),
            Command("marimo export html, ipynb",
                    shell([peer("html", one), peer("ipynb", one)]), root, environ),
            limit=0.6, count=count(5, 3),
        )  # fmt: skip
        if not count.quick:
            yield pair(
                Command("export, html", [*invoke, "--notebook", f"{one}.py"], root, environ),
                nbconvert(root, Path(scratch, "jupyter")),
                limit=1, count=5,
            )  # fmt: skip


def nbconvert(root: Path, place: Path) -> Command:
    """Return Jupyter's way to a page of the same cells, in an environment that is made for it."""
    python, program = str(place / "bin/python"), str(place / "bin/jupyter")
    install = ["uv", "pip", "install", "--quiet", "--python", python, *JUPYTER]
    for command in (["uv", "venv", "--quiet", "--python", sys.executable, str(place)], install):
        subprocess.run(command, check=True)
    code = "rows = [{'n': n, 'square': n * n} for n in range(50)]"
    cells = [code, "rows", "print(sum(row['square'] for row in rows), 'in all')"]
    notebook = {
        "cells": [
            {"cell_type": "code", "execution_count": None, "id": f"c{number}", "metadata": {},
             "outputs": [], "source": cell}
            for number, cell in enumerate(cells)
        ],
        "metadata": {}, "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    (root / "peer.ipynb").write_text(json.dumps(notebook))
    convert = [program, "nbconvert", "--execute", "--to", "html", "peer.ipynb"]
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return Command("jupyter nbconvert --execute", convert, root, {**os.environ, "PATH": path})
