"""A real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.dagster_server import DagsterServer
from support.notebook_project import Open, make_notebooks, marimo_server, write_notebook

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 180_000
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a file.

    Playwright keeps an event loop running in this thread until it stops, and code under test in
    other files starts another.
    """
    program = shutil.which("chromium") or CHROMIUM
    if not Path(program).exists():
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def environ(dagster_home: Path) -> dict[str, str]:
    """Return the environment of a user who starts marimo."""
    mine = {name: text for name, text in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return {**mine, "DAGSTER_HOME": str(dagster_home), "SLOW_UNTIL": str(dagster_home / "go-on")}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page."""
    with browser.new_context(viewport={"width": 1200, "height": 2400}) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        yield page


@pytest.fixture(scope="session")
def editor(
    dagster: DagsterServer, dagster_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """One `marimo edit` over a folder: the folder, and the editor's address."""
    root = tmp_path_factory.mktemp("editor")
    folder = make_notebooks(root / "project", dagster.url)
    log = root / "marimo.log"
    with marimo_server("edit", folder, environ(dagster_home), log) as address:
        yield folder, address


@pytest.fixture
def edit(editor: tuple[Path, str], page: Page) -> Iterator[Open]:
    """Open the default notebook of an asset or job in the shared `marimo edit`.

    Its name is new, because marimo keeps the kernel of a file after its page was closed.
    """
    folder, address = editor
    files = []

    def open_it(key: str, pairing: str = "asset", cells: str = "") -> Page:
        written = write_notebook(folder, key, pairing, probe=True, cells=cells)
        files.append(written.rename(folder / f"{written.stem}_{uuid4().hex[:8]}.py"))
        page.goto(f"{address}&file={files[-1].name}")
        return page

    yield open_it
    for file in files:
        file.unlink(missing_ok=True)


@pytest.fixture
def open_alone(
    page: Page, dagster: DagsterServer, dagster_home: Path, tmp_path: Path
) -> Iterator[Open]:
    """Open the default notebook of an asset or job in a new marimo and a new project."""
    with ExitStack() as stack:

        def open_it(
            key: str,
            pairing: str = "asset",
            command: str = "edit",
            on_cell_change: str = "autorun",
            url: str = "",
            cells: str = "",
        ) -> Page:
            folder = make_notebooks(tmp_path / "project", url or dagster.url, on_cell_change)
            file = write_notebook(folder, key, pairing, probe=True, cells=cells)
            server = marimo_server(command, file, environ(dagster_home), tmp_path / "marimo.log")
            page.goto(stack.enter_context(server))
            return page

        yield open_it
