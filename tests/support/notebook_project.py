"""A project with notebooks, for tests: its definitions are those that the live server runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
from dagmar.dev.ports import free_port
from dagmar.scaffold.rendering import Renderer
from playwright.sync_api import Page, expect
from support.dagster_server import LOCATIONS

Open = Callable[..., Page]

# A cell after all others tells what the kernel has run with: a test can wait for that.
PROBE = """\
@app.cell
def _(controls, run):
    mo.plain_text(" ".join(["saw", *map(str, controls.value.values()), str(run and run.run_id)]))
    return


if __name__ == "__main__":
"""
# A cell that counts how often it loads the asset that the notebook is paired with.
LOADING = """\
@app.cell
def _():
    loads = iter(range(1, 100))
    return (loads,)


@app.cell
def _(loads):
    try:
        _value = pair.load(pair.asset, after=materialized)
    except Exception as _error:
        _value = type(_error).__name__
    mo.plain_text(f"load {next(loads)}: {_value}")
    return


"""

PYPROJECT = """\
[tool.dagster]
module_name = "pipelines"

[tool.marimo.runtime]
auto_instantiate = true
on_cell_change = "{on_cell_change}"
"""


def make_notebooks(root: Path, url: str, on_cell_change: str = "autorun") -> Path:
    """Write a project whose target is the server at `url`, and return its notebooks folder."""
    folder = root / "notebooks"
    folder.mkdir(parents=True)
    (root / "dagmar.yaml").write_text(f"targets:\n  local:\n    url: {url}\n", "utf-8")
    (root / "pyproject.toml").write_text(PYPROJECT.format(on_cell_change=on_cell_change), "utf-8")
    shutil.copy(LOCATIONS / "pipelines.py", root / "pipelines.py")
    return folder


def render_notebooks(root: Path, *notebooks: Mapping[str, Any]) -> list[Path]:
    """Write notebooks of these answers, without the version of marimo, and return their files."""
    files = [root / "notebooks" / f"{answers['name']}.py" for answers in notebooks]
    for file, answers in zip(files, notebooks, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Renderer().notebook({"marimo": "0.25.2", **answers}), "utf-8")
    return files


def write_notebook(
    folder: Path, key: str, pairing: str = "asset", probe: bool = False, cells: str = ""
) -> Path:
    """Write the default template's notebook of an asset or a job; `probe` adds that cell."""
    text = Renderer().notebook({"marimo": "0.25.2", pairing: key})
    if probe:
        text = text.replace('if __name__ == "__main__":\n', cells + PROBE)
    file = folder / f"{key.replace('/', '_')}.py"
    file.write_text(text, "utf-8")
    return file


def end_kernels(server: int) -> None:
    """Let the kernels of a marimo server end.

    They kill themselves once it is gone, maybe before they have saved what they covered.
    """
    kernels = [
        child
        for child in psutil.Process(server).children()
        if "--multiprocessing-fork" in child.cmdline()
    ]
    for kernel in kernels:
        kernel.terminate()
    psutil.wait_procs(kernels, timeout=30)


@contextmanager
def marimo_server(command: str, file: Path, environ: Mapping[str, str], log: Path) -> Iterator[str]:
    """Serve a notebook, or a folder of them, with `marimo edit` or `marimo run`.

    Yields its address, which a file in the folder is asked from with `&file=`.
    """
    port = free_port()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "marimo", "--quiet", command, str(file)),
                *("--headless", "--no-sandbox", "--port", str(port)),
                *("--token-password", "test"),
            ],
            cwd=(file if file.is_dir() else file.parent).parent,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                if requests.get(f"{address}/health", timeout=2).ok:
                    break
            except requests.RequestException:
                pass
            assert time.monotonic() < deadline, log.read_text("utf-8")
            assert process.poll() is None, log.read_text("utf-8")
            time.sleep(0.1)
        yield f"{address}/?access_token=test"
    finally:
        if process.poll() is None:
            end_kernels(process.pid)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def choose(page: Page, *partitions: str) -> None:
    """Select these partitions in the grid, and no others."""
    clear = page.get_by_role("button", name="Clear selection", exact=True)
    if clear.is_visible():
        clear.click()
        expect(clear).to_have_count(0)
    for partition in partitions:
        month, _, day = partition.rpartition("-")  # a row for each month, or the key in the cell
        cells = page.locator("tr", has_text=month) if month else page
        by_name = cells.locator(f'td[data-cell-id$="_ {day}"]')
        (by_name if month else cells.get_by_role("cell", name=f"○ {day}")).last.click()
