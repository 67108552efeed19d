"""What dagmar adds to opening a notebook: the time until every cell has run once.

A notebook of the default template next to a marimo notebook with the same user cells and
no dagmar; then one that loads an asset next to one that imports the project's definitions and loads
it with Dagster's own call. No server runs. A kernel runs each as the editor does: `marimo export`
starts it, and adds the same to both.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from example import PACKAGE, environment, make_project, program
from pairs import Command, Count, Row, gap

USER_CELLS = """

@app.cell
def _():
    import polars as pl

    source = pl.read_csv(mo.notebook_dir().parent / "data" / "flights.csv", null_values="NA")
    source
    return pl, source


@app.cell
def _(pl, source):
    late = source.group_by("carrier").agg(late=(pl.col("arr_delay") >= 15).mean()).sort("late")
    late
    return
"""
LOADED_CELL = """

@app.cell
def _(flights):
    flights.describe()
    return
"""
PLAIN = """\
import marimo

app = marimo.App(width="medium")

with app.setup:
    import marimo as mo
"""
DAGSTERS_OWN = f"""

@app.cell
def inputs():
    import signal

    import dagster as dg
    from {PACKAGE}.definitions import defs

    # Dagster puts SIGINT's handler there and leaves it: the export would never end.
    before = signal.getsignal(signal.SIGTERM)
    flights = defs().load_asset_value(["raw", "flights"], instance=dg.DagsterInstance.get())
    signal.signal(signal.SIGTERM, before)
    return (flights,)
"""
END = """

if __name__ == "__main__":
    app.run()
"""
YOURS = "    # Your cells go here.\n"


def write_notebooks(project: Path) -> list[tuple[str, str, str, str]]:
    """Scaffold two notebooks, give them the user's cells, and write each one's plain peer.

    Returns (name, file, name of the peer, its file) for both.
    """
    environ = environment(project)
    for asset, name in (("raw/flights", "without"), ("clean/flights", "loading")):
        flags = ["--asset", asset, "--name", name]
        Command(
            "invoke scaffold",
            [sys.executable, "-m", "invoke", "scaffold", *flags],
            project,
            environ,
        ).seconds()
    folder = project / "notebooks"
    cells = {"without": USER_CELLS, "loading": USER_CELLS + LOADED_CELL}
    for name, text in cells.items():
        file = folder / f"{name}.py"
        paired = file.read_text("utf-8")
        assert paired.count(YOURS) == 1
        file.write_text(paired.replace(END, text + END), "utf-8")
    (folder / "plain.py").write_text(PLAIN + cells["without"] + END, "utf-8")
    (folder / "own.py").write_text(PLAIN + DAGSTERS_OWN + cells["loading"] + END, "utf-8")
    return [
        ("paired, default template", "without", "same cells, no dagmar", "plain"),
        ("paired, loads an asset", "loading", "same, Dagster's own call", "own"),
    ]


def rows(count: Count) -> Iterator[Row]:
    """Time 5 pairs of each."""
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder))
        (project / "dagmar.yaml").write_text("targets: {local: {url: 'http://127.0.0.1:9'}}\n")
        environ = environment(project)
        launch = [program("dg"), "launch", "--assets", 'key:"raw/flights"']
        Command("dg launch", launch, project, environ).seconds()

        def opening(name: str, file: str) -> Command:
            page = str(Path(folder) / f"{file}.html")
            export = [
                sys.executable,
                "-m",
                "marimo",
                "-q",
                "export",
                "html",
                f"notebooks/{file}.py",
            ]
            return Command(name, [*export, "--no-sandbox", "-f", "-o", page], project, environ)

        for name, file, peer, plain in write_notebooks(project):
            yield gap(opening(name, file), opening(peer, plain), 0.5, count(5))
