"""Reports in a real browser: without a network, and from the asset's page in Dagster."""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from dagmar.export.exporting import export as run_exports
from dagmar.export.request import ExportRequest, find_notebooks
from dagmar.project.settings import load
from moto.server import ThreadedMotoServer
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from playwright.sync_api import Request as RouteRequest
from support.dagster_server import DagsterServer
from support.export_project import assert_whole, export, export_project, ids, paired, write
from support.notebook_project import marimo_server
from support.project import Project

CELLS = (
    "parts():\nimport altair as alt\nimport marimo as mo\n\nreturn alt, mo",
    "table(mo):\nmo.ui.table([{'city': 'Tromso', 'n': 7}, {'city': 'Bergen', 'n': 9}])",
    "chart(alt):\nrows = alt.Data(values=[{'x': 'a', 'y': 1}, {'x': 'b', 'y': 3}])\n"
    "alt.Chart(rows).mark_bar().encode(x='x:N', y='y:Q')",
    "stat(mo):\nmo.hstack([mo.stat(42, label='answers'), mo.callout('careful', kind='warn')])",
    "text(mo):\nmo.md(f'# Heading {1 + 1}')",
)


def assert_shows_everything(page: Page) -> None:
    """Assert that table, chart, stat, callout and text are to be seen."""
    for text in ("Heading 2", "Bergen", "answers", "careful"):
        expect(page.get_by_text(text, exact=True).first).to_be_visible(timeout=60_000)
    chart = page.locator("marimo-vega, .vega-embed").locator("canvas, svg").first
    expect(chart).to_be_visible(timeout=30_000)
    box = chart.bounding_box()
    assert box is not None
    assert box["height"] > 50
    expect(page.get_by_text("Something went wrong")).to_have_count(0)


def test_an_offline_page_shows_tables_and_charts_from_the_disk(
    browser: Browser, tmp_path: Path
) -> None:
    project = export_project(tmp_path)
    write(tmp_path / "notebooks", *CELLS, name="rich")
    status, (one,), talk = export(project, "--notebook", "rich.py", "--offline")
    assert status == 0, talk
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 1600})
    page = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(one["url"])
    assert_shows_everything(page)
    assert wrong == []
    assert [url for url in asked if url.startswith("http")] == []
    context.close()


@pytest.mark.nightly
def test_an_offline_page_looks_as_it_does_with_marimos_own_files(
    browser: Browser, tmp_path: Path
) -> None:
    project = export_project(tmp_path)
    write(tmp_path / "notebooks", *CELLS, name="rich")
    settings = load(project.root)
    shots = []
    for offline in (True, False):
        request = ExportRequest(all=True, offline=offline)
        (one,) = run_exports(settings, request, find_notebooks(settings, request))
        context = browser.new_context(
            offline=offline, viewport={"width": 1200, "height": 1600}, reduced_motion="reduce"
        )
        page = context.new_page()
        if not offline:  # the CDN's files are those that came with marimo
            page.route("**/@marimo-team/frontend@*/dist/**", _from_marimo)
        page.goto((one.folder / one.manifest.page()).as_uri())
        assert_shows_everything(page)
        page.evaluate("document.fonts.ready")
        shots.append(page.locator("#App, #root").first.screenshot())
        context.close()
    assert _difference(*shots) < 0.01


def _from_marimo(route: Route, request: RouteRequest) -> None:
    """Answer for the CDN with the file that came with marimo."""
    import marimo

    file = Path(marimo.__file__).parent / "_static" / request.url.partition("/dist/")[2]
    route.fulfill(path=file, headers={"Access-Control-Allow-Origin": "*"})


def _difference(first: bytes, second: bytes) -> float:
    """Return the share of pixels that differ visibly."""
    import io

    from PIL import Image, ImageChops

    images = [Image.open(io.BytesIO(shot)).convert("L") for shot in (first, second)]
    assert images[0].size == images[1].size
    changed = ImageChops.difference(*images).point(lambda value: 255 if value > 32 else 0)
    return sum(changed.histogram()[255:]) / (changed.width * changed.height)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_the_link_on_the_assets_page_opens_the_report(
    browser: Browser, dagster: DagsterServer, dagster_home: Path, live: Project
) -> None:
    write(live.root / "notebooks", *CELLS[:1], "text(mo):\nmo.md(f'# Linked {1 + 1}')",
          name="linked", head=paired("orders"))  # fmt: skip
    exports = live.root / ".dagmar/exports"
    exports.mkdir(parents=True)
    handler = functools.partial(_Quiet, directory=str(exports))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    running = {"pid": os.getpid(), "reports_url": f"http://127.0.0.1:{server.server_port}"}
    (live.root / ".dagmar/tmp").mkdir()
    (live.root / ".dagmar/tmp/dev.json").write_text(json.dumps(running), "utf-8")
    flags = ("--notebook", "linked.py", "--attach", "orders")
    status, (one,), talk = export(live, *flags, environ={"DAGSTER_HOME": str(dagster_home)})
    assert status == 0, talk
    assert f"Attached to orders: {dagster.url}/assets/orders?view=events" in talk
    context = browser.new_context(viewport={"width": 1600, "height": 1400})
    opened = follow_link(context, f"{dagster.url}/assets/orders?view=events", one["url"])
    expect(opened.get_by_text("Linked 2")).to_be_visible(timeout=60_000)
    context.close()
    server.shutdown()
    server.server_close()


def follow_link(context: BrowserContext, address: str, link: str) -> Page:
    """Click a link on a page of Dagster, and return the page that it opens."""
    page = context.new_page()
    page.goto(address)
    found = page.locator(f"a[href='{link}']").first
    expect(found).to_be_visible(timeout=60_000)
    with context.expect_page(timeout=60_000) as opened:
        # Dagster greets new browsers with a dialog that would catch a click with the mouse.
        found.dispatch_event("click")
    return opened.value


@pytest.mark.nightly
def test_the_link_on_the_assets_page_opens_the_report_in_a_bucket(
    browser: Browser, dagster: DagsterServer, dagster_home: Path, live: Project
) -> None:
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environ = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "DAGSTER_HOME": str(dagster_home),
    }
    storage = boto3.client(
        "s3", endpoint_url=environ["AWS_ENDPOINT_URL"], region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    storage.create_bucket(Bucket="public")
    resource = "arn:aws:s3:::public/*"
    read = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": resource}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [read]})
    storage.put_bucket_policy(Bucket="public", Policy=policy)
    settings = f"export: {{public_url: 'http://{host}:{port}/public/reports'}}\n"
    with (live.root / "dagmar.yaml").open("a", encoding="utf-8") as file:
        file.write(settings)
    write(live.root / "notebooks", *CELLS, name="sent", head=paired("orders"))
    # Sent with the script that it needs: nothing but the bucket is asked.
    flags = ("--notebook", "sent.py", "--offline", "--upload", "s3://public/reports")
    status, (one,), talk = export(live, *flags, "--attach", "orders", environ=environ)
    assert status == 0, talk
    assert one["url"].startswith(f"http://{host}:{port}/public/reports/sent/")
    context = browser.new_context(viewport={"width": 1600, "height": 1400})
    report = follow_link(context, f"{dagster.url}/assets/orders?view=events", one["url"])
    assert_shows_everything(report)
    report.goto(f"http://{host}:{port}/public/reports/index.html")
    report.get_by_role("link", name="sent").click()
    report.locator(f"a[href='{one['id']}/sent.html']").first.click()
    assert_shows_everything(report)
    context.close()
    server.stop()


PLOTLY = (
    "plotly_chart():\nimport plotly.graph_objects as go\n\n"
    "go.Figure(go.Bar(x=['Oslo', 'Vardo'], y=[3, 4], name='sold'))"
)


@pytest.mark.nightly
def test_dagsters_own_view_of_a_notebook_shows_charts_tables_stats_and_callouts(
    browser: Browser, tmp_path: Path
) -> None:
    project = export_project(tmp_path / "project")
    write(project.root / "notebooks", *CELLS, PLOTLY, name="rich")
    status, (one,), talk = export(project, "--notebook", "rich.py", "--format", "ipynb")
    assert status == 0, talk
    (notebook,) = one["files"]
    definitions = "import dagster as dg\n\ndefs = dg.Definitions()\n"
    (project.root / "defs.py").write_text(definitions, "utf-8")
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    command = [sys.executable, "-W", "ignore", "-m", "dagster_webserver"]
    server = DagsterServer(
        [*command, "-f", "defs.py", "-d", str(project.root), "-p", "{port}"],
        project.root, tmp_path / "webserver.log", {"DAGSTER_HOME": str(home)},
    )  # fmt: skip
    with server, browser.new_context(viewport={"width": 1600, "height": 1400}) as context:
        server.wait()
        page = context.new_page()
        # What Dagster's button "View Notebook" shows in a frame.
        page.goto(f"{server.url}/notebook?repoLocName=defs.py&path={quote(notebook)}")
        for text in ("Heading 2", "Bergen", "answers", "42", "careful", "Vardo"):
            expect(page.get_by_text(text, exact=True).first).to_be_visible(timeout=60_000)
        chart = page.locator("svg, img[src^='data:image/svg']").first
        expect(chart).to_be_visible()
        box = chart.bounding_box()
        assert box is not None
        assert box["height"] > 50


@pytest.mark.nightly
def test_the_export_button_of_a_notebook_makes_one_whole_report_for_each_click(
    browser: Browser, tmp_path: Path
) -> None:
    project = export_project(tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        "[tool.marimo.runtime]\nauto_instantiate = true\n", "utf-8"
    )
    cell = "shows():\npair.export()"
    file = write(tmp_path / "notebooks", cell, name="orders", head=paired("orders"))
    exports = project.root / ".dagmar/exports"
    mine = {name: text for name, text in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    with (
        marimo_server("edit", file, mine, tmp_path / "marimo.log") as address,
        browser.new_context(viewport={"width": 1200, "height": 1400}) as context,
    ):
        page = context.new_page()
        page.goto(address)
        expect(page.get_by_text("There is no report of this notebook yet.")).to_be_visible()
        button = page.get_by_role("button", name="Export", exact=True)
        button.evaluate("button => { button.click(); button.click() }")
        expect(page.get_by_text("Newest report:")).to_be_visible()
        expect(button).to_be_visible()
        (first,) = ids(exports, "orders")
        assert assert_whole(exports) == 1
        button.click()
        expect(page.get_by_text("Exporting…")).to_be_visible()
        expect(page.get_by_text(f"{first}/orders.html")).to_have_count(0)
        expect(button).to_be_visible()
        assert len(ids(exports, "orders")) == assert_whole(exports) == 2
        assert not list((exports / "orders").glob(".*.partial"))
