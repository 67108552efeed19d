"""Takes the screenshots of the README, from the example project.

A paired notebook with a run that succeeded, and an asset's page in Dagster with its report.

    uv run python docs/screenshots.py

It needs `chromium` (`apt-get install chromium`), and rewrites the pictures in docs/images/.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests
from dagmar.errors import SetupError
from dagmar.files import write_atomically
from playwright.sync_api import Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from dagmar.dev.ports import free_port
from support.dagster_server import DagsterServer

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
NOTEBOOK, ASSET_PAGE = IMAGES / "paired-notebook.png", IMAGES / "asset-page.png"
ASSET, PARTITION, NAME = "daily_delays", "2013-01-09", "late_flights"
REPORT, REPORTED = "clean_flights", "clean/flights"
SIZE = {"width": 1200, "height": 2400}
PATIENCE = 120_000
# The runs before this one, for the history; no server takes part in them.
BEFORE = f"""
from pathlib import Path
from dagmar.orchestration import here

for key in ("raw/flights", "clean/flights"):
    assert here.materialize(Path.cwd(), key).success
for day in range(1, 9):
    assert here.materialize(Path.cwd(), "{ASSET}", partition=f"2013-01-{{day:02}}").success
"""
YOURS = re.compile(r"    # Your cells go here\.\n(?:    .*\n)*?(?=    return)")
MINE = """\
    import polars as pl

    late = flights.filter(pl.col("arrival_delay") >= 15)
    late.group_by("carrier").len("late flights").sort("late flights", descending=True).head(3)
"""


def make_project(folder: Path) -> None:
    """Render the template as it stands here, with its example."""
    from copier import run_copy

    # Out of git: uncommitted work belongs to it.
    template = folder.with_name("template")
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info", ".mypy_cache", ".ruff_cache")
    for part in ("template", "hooks"):
        shutil.copytree(ROOT / part, template / part, ignore=leave)
    shutil.copy(ROOT / "copier.yml", template)
    run_copy(str(template), folder, defaults=True, quiet=True, skip_tasks=True)


def run(folder: Path, environ: dict[str, str], *command: str) -> None:
    """Run Python in the project."""
    subprocess.run([sys.executable, "-W", "ignore", *command], cwd=folder, env=environ, check=True)


def take_notebook(page: Page, address: str) -> None:
    """Launch the run as a reader would, and take the picture when it has succeeded."""
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.get_by_role("button", name="Launch", exact=True).wait_for()
    month, _, day = PARTITION.rpartition("-")
    page.locator("tr", has_text=month).locator(f'td[data-cell-id$="_ {day}"]').last.click()
    page.get_by_role("button", name="Launch", exact=True).click()
    run = page.get_by_role("group", name="Run", exact=True)
    expect(run.get_by_text("SUCCESS", exact=True)).to_be_visible(timeout=PATIENCE)
    page.mouse.move(5, 700)
    ends = page.locator(".marimo-cell", has=run).bounding_box()
    assert ends is not None
    IMAGES.mkdir(exist_ok=True)
    height = ends["y"] + ends["height"] + 14
    page.screenshot(path=NOTEBOOK, clip={"x": 0, "y": 0, "width": SIZE["width"], "height": height})


def take_asset(page: Page, address: str) -> None:
    """Take the picture of an asset's events, the newest of which is its report's."""
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    # Dagster greets a new browser with a dialog over everything else.
    greeting = page.locator(".bp5-overlay-backdrop")
    page.add_locator_handler(greeting, lambda: page.keyboard.press("Escape"), no_wait_after=True)
    page.locator(f"a[href$='{REPORT}.html']").first.hover()
    page.screenshot(path=ASSET_PAGE)


def main() -> None:
    """Make the pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SetupError("chromium is not installed", "Type: apt-get install chromium")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "my-project"
        make_project(folder)
        home = folder / ".dagmar" / "dagster_home"
        environ = {
            **os.environ,
            "DAGSTER_HOME": str(home),
            "PYTHONPATH": str(folder / "src"),
            "MARIMO_SKIP_UPDATE_CHECK": "1",
        }
        package = next(path.parent.name for path in folder.glob("src/*/definitions.py"))
        run(folder, environ, "-c", BEFORE)
        dev = [sys.executable, "-m", "dagster", "dev", "-m", f"{package}.definitions"]
        server = DagsterServer(
            [*dev, "-p", "{port}"], folder, Path(scratch) / "dagster.log", environ, port=3000
        )
        with server, sync_playwright() as playwright:
            server.wait()
            running = {
                "pid": os.getpid(),
                "dagster_url": server.url,
                "reports_url": "http://127.0.0.1:2790",  # for the link; nobody follows it
            }
            write_atomically(folder / ".dagmar" / "tmp" / "dev.json", json.dumps(running))
            run(folder, environ, "-m", "invoke", "scaffold", "--asset", ASSET, "--name", NAME)
            notebook = folder / "notebooks" / f"{NAME}.py"
            text = notebook.read_text("utf-8")
            text, count = YOURS.subn(MINE, text)
            assert count == 1
            notebook.write_text(text, "utf-8")
            port = free_port()
            marimo = ["marimo", "-q", "edit", str(notebook.parent), "--headless", "--no-sandbox"]
            editor = subprocess.Popen(
                [sys.executable, "-m", *marimo, "--port", str(port), "--token-password", "picture"],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                while not answers(f"http://127.0.0.1:{port}/health"):
                    assert editor.poll() is None
                    time.sleep(0.2)
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"]
                )
                page = browser.new_page(viewport=SIZE, color_scheme="light")
                take_notebook(
                    page, f"http://127.0.0.1:{port}/?access_token=picture&file={notebook.name}"
                )
                report = ["--notebook", f"notebooks/{REPORT}.py", "--attach", REPORTED]
                run(folder, environ, "-m", "invoke", "export", *report)
                page = browser.new_page(viewport={"width": 1200, "height": 700})
                take_asset(page, f"{server.url}/assets/{REPORTED}?view=events")
                browser.close()
            finally:
                editor.terminate()
                editor.wait(10)
    for image in (NOTEBOOK, ASSET_PAGE):
        print(f"{image.relative_to(ROOT)}: {image.stat().st_size // 1024} kB")


def answers(url: str) -> bool:
    """Whether something answers at the address."""
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


if __name__ == "__main__":
    main()
