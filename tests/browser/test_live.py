"""Edit, click, see, in a real browser: what a change does to the data, before it is kept."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from html import escape
from io import BytesIO
from pathlib import Path

import pytest
from dagmar.server.client import DagsterClient
from dagmar.server.located import locate_asset
from dagmar.server.paired import read_asset_history
from playwright.sync_api import Locator, Page, expect
from support.dagster_server import tags_of
from support.notebook_project import Open

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PICTURE = IMAGES / "preview.png"
LOOP = IMAGES / "loop.webp"
LARGEST = 2_000_000
# An asset of the live server, which has a value in the file on this disk.
ASSET = '''

import polars as pl


@dg.asset(group_name="sales", deps=[raw_orders])
def orders() -> pl.DataFrame:
    """Orders with what the customer pays."""
    number = pl.int_range(1, 501)
    orders = pl.select(
        order_id=1000 + number,
        customer=pl.format("C{}", 100 + number * 37 % 89),
        amount=(number * 7919 % 19901) / 100,
        discount=pl.when(number % 9 == 0).then((number * 31 % 400) / 10).otherwise(0.0),
    )
    return orders.with_columns(total=(pl.col("amount") - pl.col("discount")).round(2))


defs = dg.Definitions(assets=[raw_orders, orders], asset_checks=[orders_are_there])
'''
OLD = 'total=(pl.col("amount") - pl.col("discount")).round(2)'
NEW = 'total=(pl.col("amount") - pl.col("discount")).clip(0).round(2)'
SUM = """\
@app.cell
def _():
    try:
        _sum = pair.load("orders", after=materialized)["total"].sum()
    except Exception as _error:
        _sum = -1
    mo.plain_text(f"All orders: {_sum:.2f} EUR")
    return


"""


@pytest.fixture
def code(editor: tuple[Path, str]) -> Iterator[Path]:
    """The file of the asset, which is as it was after the test."""
    file = editor[0].parent / "pipelines.py"
    before = file.read_text("utf-8")
    file.write_text(before + ASSET, "utf-8")
    yield file
    file.write_text(before, "utf-8")


def stored(home: Path) -> dict[str, str]:
    """Return a hash of each file of an instance; of a database, of what is in it.

    Beside its folders, it has the log that the server writes.
    """
    return {
        str(file.relative_to(home)): hashlib.sha256(_content(file)).hexdigest()
        for file in home.glob("*/**/*")
        if file.is_file() and not file.name.endswith(("-wal", "-shm", "-journal"))
    }


def _content(file: Path) -> bytes:
    if file.suffix != ".db":
        return file.read_bytes()
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        lines = database.iterdump()
        # The daemon says there, again and again, that it is alive.
        return "\n".join(line for line in lines if "daemon_heartbeats" not in line).encode()


def test_a_change_is_shown_before_it_is_kept_and_leaves_no_trace_until_then(
    edit: Open,
    code: Path,
    client: DagsterClient,
    dagster_home: Path,
    pytestconfig: pytest.Config,
) -> None:
    page = edit("orders", cells=SUM)
    page.get_by_role("button", name="Materialize here", exact=True).click()
    sees(page, "All orders: 48913.62 EUR")
    recorded, runs = stored(dagster_home), runs_of(client)
    film = Film(page, code) if pytestconfig.option.pictures else None

    if film:
        film.take("The asset orders")
    code.write_text(code.read_text("utf-8").replace(OLD, NEW), "utf-8")
    if film:
        film.take("Edit and save")
    page.get_by_role("button", name="Preview", exact=True).click()
    difference = page.get_by_role("group", name="Difference", exact=True)
    expect(difference).to_be_visible()
    for text in ("500 rows · 6 changed", "1.2% (6)", "-22.29 → 0", "4 columns without a change."):
        expect(difference).to_contain_text(text)
    if film:
        take_picture(page, difference)
        film.take("Click Preview: 6 rows would change, nothing is stored", long=True)
    assert stored(dagster_home) == recorded
    assert runs_of(client) == runs
    sees(page, "All orders: 48913.62 EUR")
    # A change in the controls runs the cell again, which shows the same table on the same page.
    next_page = page.get_by_test_id("next-page-button")
    next_page.click()
    sees(page, "1,011")
    tags = page.get_by_placeholder("key=value, key=value")
    tags.fill("typed=yes")
    tags.press("Enter")
    expect(page.get_by_text(re.compile("saw.*typed=yes", re.DOTALL)).first).to_be_visible()
    sees(page, "1,011")
    next_page.click()
    sees(page, "1,021")

    page.get_by_role("button", name="Keep", exact=True).click()
    sees(page, "is kept: its value is the one that was shown")
    sees(page, "All orders: 48985.52 EUR")
    if film:
        film.take("Click Keep: stored, and a run is recorded", long=True)
        film.save()
    (kept,) = runs_of(client) - runs
    assert tags_of(client, kept)["dagmar/here"] == "true"
    newest = read_asset_history(client, locate_asset(client, "orders"), 1)
    assert [run.run_id for run in newest] == [kept]


def sees(page: Page, text: str) -> None:
    expect(page.get_by_text(text).first).to_be_visible()


def runs_of(client: DagsterClient) -> set[str]:
    return {run["runId"] for run in client.query("RunsByTag", tags=[])["runsOrError"]["results"]}


class Film:
    """Frames of a loop: the lines of the asset as they are in its file, and the page below them."""

    def __init__(self, page: Page, code: Path) -> None:
        self._page, self._code = page, code
        self._frames: list[tuple[bytes, int]] = []
        browser = page.context.browser
        assert browser is not None
        self._editor = browser.new_page(viewport={"width": 1000, "height": 150})

    def take(self, title: str, long: bool = False) -> None:
        """Add a frame, with a title."""
        text = self._code.read_text("utf-8")
        (line,) = [line for line in text.splitlines() if "return orders.with_columns" in line]
        shown = escape(line.strip()).replace(".clip(0)", "<mark>.clip(0)</mark>")
        self._editor.set_content(
            "<body style='margin:0;padding:14px 18px;font:17px sans-serif;background:#f6f8fa'>"
            f"<b>{escape(title)}</b><pre style='background:#fff;border:1px solid #d1d9e0;"
            "padding:12px;border-radius:6px;font-size:14px'>"
            f"<span style='color:#57606a'>def orders() -&gt; pl.DataFrame:</span>\n    {shown}"
            "</pre>"
        )
        self._page.mouse.move(5, 700)
        cells = self._page.locator(".marimo-cell")
        button = self._page.get_by_role("button", name="Preview", exact=True)
        cell = cells.filter(has=button)
        cell.scroll_into_view_if_needed()
        top = cell.bounding_box()
        assert top is not None
        size = self._page.viewport_size
        assert size is not None
        place = {**top, "height": min(560.0, size["height"] - top["y"])}
        for picture in (self._editor.screenshot(), self._page.screenshot(clip=place)):
            self._frames.append((picture, 4200 if long else 2200))

    def save(self) -> None:
        """Write the moving picture, which repeats."""
        from PIL import Image

        pairs = zip(self._frames[::2], self._frames[1::2], strict=True)
        frames, lasting = [], []
        for (above, duration), (below, _) in pairs:
            parts = [Image.open(BytesIO(part)).convert("RGB") for part in (above, below)]
            scaled = parts[0].resize(
                (parts[1].width, parts[0].height * parts[1].width // parts[0].width)
            )
            frame = Image.new("RGB", (parts[1].width, scaled.height + 560), "white")
            frame.paste(scaled, (0, 0))
            frame.paste(parts[1], (0, scaled.height))
            frames.append(frame)
            lasting.append(duration)
        more = {"save_all": True, "append_images": frames[1:], "duration": lasting, "loop": 0}
        frames[0].save(LOOP, quality=82, method=6, **more)
        self._editor.close()
        assert len(frames) == 4
        assert 10_000 < LOOP.stat().st_size < LARGEST


def take_picture(page: Page, difference: Locator) -> None:
    """Take the picture, from the buttons to the end of the difference."""
    page.mouse.move(5, 700)
    cells = page.locator(".marimo-cell")
    top = cells.filter(has=page.get_by_role("button", name="Preview", exact=True)).bounding_box()
    bottom = difference.bounding_box()
    assert top is not None
    assert bottom is not None
    height = bottom["y"] + bottom["height"] + 14 - top["y"]
    page.screenshot(path=PICTURE, clip={**top, "height": height})
