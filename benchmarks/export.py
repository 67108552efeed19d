"""`invoke export` against marimo's own commands.

Twenty small notebooks with two workers, against `marimo export html` for one after the other;
and one notebook as html and ipynb, against marimo's two commands for that.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path

from pairs import Command, Pair, report

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


def main() -> int:
    """Time 3 pairs of the twenty, and 7 of the one."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
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
        pairs = [
            Pair(
                Command(f"export --all, {COUNT}, 2 workers", [*invoke, "--all", "--workers", "2"],
                        root, environ),
                Command("marimo export html, in a loop",
                        shell([peer("html", name) for name in names]), root, environ),
                limit=0.4,
            ).measure(3),
            Pair(
                Command("export, html and ipynb", both, root, environ),
                Command("marimo export html, ipynb",
                        shell([peer("html", one), peer("ipynb", one)]), root, environ),
                limit=0.6,
            ).measure(7),
        ]  # fmt: skip
        return report(pairs)


if __name__ == "__main__":
    raise SystemExit(main())
