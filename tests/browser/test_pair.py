"""A paired notebook in a real browser: one click launches one run, and nothing else does."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from dagmar.server.client import DagsterClient
from dagmar.server.located import locate_asset
from dagmar.server.paired import read_asset_history
from dagmar.server.runconfig import read_yaml
from playwright.sync_api import Locator, Page, TimeoutError, expect
from support.dagster_server import DagsterServer, backfills_tagged, runs_tagged, tags_of
from support.fault_proxy import FaultProxy
from support.notebook_project import LOADING, Open, choose, render_notebooks, write_notebook

PATIENCE = 180.0
CLICK_MILLISECONDS = 1_000

# A cell that follows the controls, and keeps the kernel busy as long as there is a file.
BUSY = """\
@app.cell
def _(controls):
    import time
    from pathlib import Path

    while Path("notebooks/busy").exists():
        print("kept busy" if controls.value else "")
        time.sleep(0.1)
    return


"""


def runs(client: DagsterClient) -> set[str]:
    """Return every run on the server, of assets and of jobs."""
    answer = client.query("RunsByTag", tags=[])["runsOrError"]["results"]
    return {run["runId"] for run in answer}


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def sees(page: Page | Locator, text: str, exact: bool = False) -> None:
    expect(page.get_by_text(text, exact=exact).first).to_be_visible()


def run_shows(page: Page, text: str) -> str:
    """Wait until the watched run shows a text, and return the address of its page."""
    run = page.get_by_role("group", name="Run", exact=True)
    sees(run, text, exact=True)
    return str(run.get_by_role("link").first.get_attribute("href"))


def saw(page: Page, *chosen: str) -> None:
    """Wait until every cell has run with this choice; the last cell shows it."""
    texts = ".*".join(map(re.escape, chosen))
    expect(page.get_by_text(re.compile(f"saw.*{texts}", re.DOTALL)).first).to_be_visible()


def ready(page: Page) -> None:
    """Wait until every cell has run, and the buttons are there."""
    saw(page)
    button(page, "Launch").wait_for()


def type_tags(page: Page, text: str) -> None:
    tags = page.get_by_placeholder("key=value, key=value")
    tags.fill(text)
    tags.press("Enter")


def materialized_just_now(page: Page, run_id: str) -> None:
    """Wait until the card says that this run materialized the asset."""
    row = page.locator(
        "div:has(> a)", has_text=re.compile("(just now|minutes? ago).*" + run_id[:8])
    )
    expect(row.get_by_role("link").first).to_be_visible()


def type_config(page: Page, text: str) -> None:
    editor = page.locator("marimo-code-editor .cm-content")
    editor.click()
    expect(editor).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    expect(editor).to_have_text(text)


def test_as_many_runs_as_clicks_after_a_reload_and_after_every_change(
    edit: Open, client: DagsterClient, dagster_home: Path
) -> None:
    before = runs(client)
    page = edit("daily_sales", cells=LOADING)
    ready(page)
    sees(page, "orders")  # lineage
    sees(page, str(dagster_home))  # which instance
    assert runs(client) == before

    choose(page, "2026-01-05")
    type_tags(page, "test=first")
    saw(page, "2026-01-05", "test=first")
    button(page, "Launch").click()
    run_shows(page, "SUCCESS")
    (first,) = runs(client) - before
    tags = tags_of(client, first)
    assert (tags["dagster/partition"], tags["test"]) == ("2026-01-05", "first")
    sees(page, 'Finished execution of step "daily_sales"')  # its log
    materialized_just_now(page, first)  # its card is updated
    sees(page, "load 2: ")  # and a cell that loads it runs again
    past = [
        run.status for run in read_asset_history(client, locate_asset(client, "daily_sales"), 30)
    ]
    sees(page, f"{past.count('SUCCESS')} of {len(past)} runs succeeded")  # and its history

    page.reload()
    assert run_shows(page, "SUCCESS").endswith(first)
    sees(page, "1 selected")
    choose(page, "2026-01-06")
    type_tags(page, "test=second")
    type_config(page, "ops: {}")
    saw(page, "2026-01-06", "test=second", first)
    assert runs(client) - before == {first}

    page.keyboard.press("Control+k")
    page.keyboard.insert_text("Restart kernel")
    page.get_by_role("option", name="Restart kernel").first.click()
    # The notice of a reconnection may show a button with the same name.
    page.get_by_role("alertdialog").get_by_role("button", name="Restart").click()
    saw(page, "2026-01-05", "test=first", first)
    sees(page, "The last run launched from this notebook")
    assert run_shows(page, "SUCCESS").endswith(first)
    assert runs(client) - before == {first}


@pytest.mark.nightly
def test_a_slow_run_is_cancelled(edit: Open, client: DagsterClient) -> None:
    before = runs(client)
    page = edit("slow")
    button(page, "Launch").click()
    run_shows(page, "STARTED")
    button(page, "Cancel").click()
    run_shows(page, "CANCELED")
    assert len(runs(client) - before) == 1


@pytest.mark.nightly
def test_a_failure_shows_the_users_traceback(edit: Open, client: DagsterClient) -> None:
    before = runs(client)
    page = edit("failing")
    button(page, "Launch").click()
    run_shows(page, "FAILURE")
    sees(page, "no such column")
    sees(page, "pipelines.py")
    assert len(runs(client) - before) == 1


@pytest.mark.nightly
def test_a_second_tab_is_a_reader_and_takes_over_without_a_launch(
    edit: Open, client: DagsterClient
) -> None:
    before = runs(client)
    page = edit("colored")
    choose(page, "green")
    saw(page, "green")
    other = page.context.new_page()
    other.goto(page.url)
    sees(other, "You are currently connected as a reader.")
    saw(other, "green")
    button(other, "Take over").click()
    expect(button(other, "Take over")).to_have_count(0)
    ready(other)
    type_tags(other, "test=taken")
    saw(other, "green", "test=taken", "None")
    assert runs(client) == before
    button(other, "Launch").click()
    first = run_shows(other, "SUCCESS")[-36:]
    assert runs(client) - before == {first}


@pytest.mark.nightly
def test_a_warm_kernel_materializes_once_for_each_click(edit: Open, client: DagsterClient) -> None:
    before = runs(client)
    page = edit("raw/dash-ed.key")
    ready(page)
    for number in (1, 2):  # the second time, the kernel is warm
        known = runs(client)
        button(page, "Materialize here").click()
        (run_id,) = wait_for_more(client, known)
        assert tags_of(client, run_id)["dagmar/here"] == "true"
        materialized_just_now(page, run_id)
        expect(page.get_by_text("Materializing asset")).to_have_count(0)
        assert len(runs(client) - before) == number
    page.reload()
    ready(page)
    assert len(runs(client) - before) == 2


@pytest.mark.nightly
def test_what_runs_here_shows_that_it_does(
    edit: Open, client: DagsterClient, dagster_home: Path
) -> None:
    before = runs(client)
    page = edit("slow")
    ready(page)
    button(page, "Materialize here").click()
    sees(page, "Materializing asset slow here")
    expect(page.get_by_text(re.compile(r"^[23]\.\d s$")).first).to_be_visible()
    (run_id,) = wait_for_more(client, before)
    go_on = dagster_home / "go-on"
    go_on.touch()
    try:
        materialized_just_now(page, run_id)
        expect(page.get_by_text("Materializing asset slow here")).to_have_count(0)
    finally:
        go_on.unlink()
    assert runs(client) - before == {run_id}


@pytest.mark.nightly
def test_a_save_in_the_editor_changes_no_byte(editor: tuple[Path, str], page: Page) -> None:
    folder, address = editor
    (file,) = render_notebooks(
        folder.parent,
        {
            "name": "saved",
            "asset": "daily_sales",
            "partitioned": True,
            "inputs": [{"name": "stored", "asset": "stored", "partition": True}],
            "marimo": version("marimo"),
        },
    )
    before = file.read_bytes()
    page.goto(f"{address}&file={file.name}")
    code = page.locator(".cm-content", has_text="Your cells go here.")
    code.click()
    expect(code).to_be_focused()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text("# typed")
    page.keyboard.press("Control+s")
    wait_until(lambda: b"# typed" in file.read_bytes())
    for _ in "# typed":
        page.keyboard.press("Backspace")
    page.keyboard.press("Control+s")
    wait_until(lambda: b"# typed" not in file.read_bytes())
    assert file.read_bytes() == before


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_for_more(client: DagsterClient, known: set[str]) -> set[str]:
    """Wait until there are runs that are not known yet, and return them."""
    deadline = time.monotonic() + PATIENCE
    while not runs(client) - known:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return runs(client) - known


@pytest.mark.nightly
def test_a_failed_run_is_retried_once(edit: Open, client: DagsterClient) -> None:
    before = runs(client)
    page = edit("needs_resource")
    button(page, "Launch").click()
    failed = run_shows(page, "FAILURE")[-36:]
    assert runs(client) - before == {failed}
    button(page, "Retry").dblclick()
    (again,) = wait_for_more(client, before | {failed})
    assert tags_of(client, again)["dagster/is_resume_retry"] == "true"
    expect(page.locator(f"a[href$='{again}']").first).to_be_visible()
    run_shows(page, "FAILURE")
    type_tags(page, "the=cell runs again")
    saw(page, "the=cell runs again")
    assert run_shows(page, "FAILURE").endswith(again)
    assert runs(client) - before == {failed, again}


def field(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name=name, exact=True).get_by_role("textbox")


def test_what_is_typed_in_the_form_and_followed_at_once_by_a_click_is_launched(
    edit: Open, editor: tuple[Path, str], client: DagsterClient
) -> None:
    before = runs(client)
    page = edit("limited", cells=BUSY)
    expect(field(page, "limited.rows")).to_have_value("3")  # the schema's default
    ready(page)
    busy = editor[0] / "busy"
    busy.touch()
    try:
        type_tags(page, "test=first")
        sees(page, "kept busy")
        # marimo handles at once all changes that arrive from now on.
        field(page, "limited.rows").fill("7")
        field(page, "limited.label").fill("")
        field(page, "limited.label").press_sequentially("typed to the end")
        type_tags(page, "test=last")
        with page.expect_request(lambda request: '"values":[1]' in (request.post_data or "")):
            button(page, "Launch").click()
    finally:
        busy.unlink()
    run_id = run_shows(page, "SUCCESS")[-36:]
    assert runs(client) - before == {run_id}
    config = read_yaml(client.query("RunToRetry", id=run_id)["runOrError"]["runConfigYaml"])
    assert config == {"ops": {"limited": {"config": {"rows": 7, "label": "typed to the end"}}}}
    assert tags_of(client, run_id)["test"] == "last"


@pytest.mark.nightly
def test_what_is_not_valid_is_shown_while_it_is_typed(edit: Open, client: DagsterClient) -> None:
    before = runs(client)
    page = edit("limited")
    field(page, "limited.rows").fill("many")
    sees(page, "rows: 'many' is not of the type Int")
    button(page, "Launch").click()
    sees(page, "the run config of limited is not valid")
    field(page, "limited.rows").fill("8")
    expect(page.get_by_text("rows: 'many' is not of the type Int", exact=True)).to_have_count(0)
    page.locator("summary:visible", has_text="other config (YAML)").click()
    type_config(page, "ops: {unlimited: {}}")
    sees(page, "unlimited is not an op of limited")
    assert runs(client) == before


@pytest.mark.nightly
def test_a_lazy_notebook_does_not_launch_again_and_marks_what_follows_runs_as_stale(
    open_alone: Open, client: DagsterClient
) -> None:
    before = runs(client)
    page = open_alone("ranged", on_cell_change="lazy", cells=LOADING)
    ready(page)
    loaded, again = page.get_by_text("load 1:").first, page.get_by_text("load 2:").first
    expect(loaded).to_be_visible()
    button(page, "Launch").click()
    success = page.get_by_role("group", name="Run", exact=True).get_by_text("SUCCESS", exact=True)
    run_stale_cells(page, success.first)
    first = run_shows(page, "SUCCESS")[-36:]
    assert runs(client) - before == {first}
    run_stale_cells(page, again)  # the cell that loads what the run has materialized
    # marimo leaves the button's value true here.
    choose(page, "2026-01-03")
    chosen = re.compile(f"saw.*2026-01-03.*{first}", re.DOTALL)
    run_stale_cells(page, page.get_by_text(chosen).first)
    assert runs(client) - before == {first}


def run_stale_cells(page: Page, result: Locator) -> None:
    """Run cells whenever marimo says that some are stale, until one of them shows the result.

    Cells become stale one by one: a click may come before the last of them does.
    """
    # The notebook's own button is enabled only if a cell is stale.
    run = page.locator("[data-testid=run-button]:not(.marimo-cell *):enabled")
    while not result.is_visible():
        expect(run.or_(result).first).to_be_visible()
        with contextlib.suppress(TimeoutError):  # disabled again in the meantime
            run.click(timeout=CLICK_MILLISECONDS)


@pytest.mark.nightly
def test_two_tabs_of_an_app_launch_what_is_clicked_in_each(
    open_alone: Open, client: DagsterClient
) -> None:
    before = runs(client)
    page = open_alone("counting", pairing="job", command="run")
    ready(page)
    other = page.context.new_page()
    other.goto(page.url)
    ready(other)
    assert runs(client) == before
    button(page, "Launch").click()
    first = run_shows(page, "SUCCESS")[-36:]
    type_tags(other, "the=other")
    saw(other, "the=other", "None")
    assert runs(client) - before == {first}
    button(other, "Launch").click()
    second = run_shows(other, "SUCCESS")[-36:]
    assert runs(client) - before == {first, second}
    assert run_shows(page, "SUCCESS").endswith(first)


@pytest.mark.nightly
@pytest.mark.parametrize("command", ["edit", "run"])
def test_without_a_server_the_page_says_so(open_alone: Open, command: str) -> None:
    nobody = "http://127.0.0.1:9"
    page = open_alone("raw/orders", command=command, url=nobody)
    sees(page, f"Dagster did not answer at {nobody}")
    button(page, "Launch").click()
    sees(page, f"Dagster did not answer at {nobody}", exact=True)


@pytest.mark.nightly
def test_a_server_that_goes_away_is_waited_for(
    open_alone: Open, dagster: DagsterServer, client: DagsterClient
) -> None:
    before = runs(client)
    with FaultProxy(dagster.url, "with the commit delayed") as proxy:
        page = open_alone("slow", url=proxy.url)
        button(page, "Launch").click()
        sees(page, "Launching…")
        run_shows(page, "STARTED")
        expect(page.get_by_text("Launching…")).to_have_count(0)
        proxy.go_away()
        sees(page, "Still trying; the run may go on.")
        proxy.come_back()
        expect(page.get_by_text("Still trying; the run may go on.")).to_have_count(0)
        run_shows(page, "STARTED")
        button(page, "Cancel").click()
        run_shows(page, "CANCELED")
    assert len(runs(client) - before) == 1


def test_the_states_of_a_grid_follow_a_backfill_and_a_run_that_fails(
    editor: tuple[Path, str], page: Page, client: DagsterClient, tag: str
) -> None:
    folder, address = editor
    file = write_notebook(folder, "stored", probe=True)
    text = file.read_text("utf-8").replace("pair.controls()", "pair.controls(after=ended)")
    text = text.replace("    materialized = ", "    ended = pair.ended()\n    materialized = ")
    file.write_text(text, "utf-8")
    page.goto(f"{address}&file=stored.py")
    ready(page)
    days = page.locator("tr", has_text="2026-01")
    cells = [days.locator(f'td[data-cell-id$="_ {day}"]').last for day in ("04", "06")]
    for cell in cells:
        expect(cell).to_have_text("○")
    expect(page.get_by_text("10 missing").last).to_be_visible()
    choose(page, "2026-01-05")
    choose(page, "2026-01-04", "2026-01-06")
    sees(page, "2 selected")
    type_tags(page, f"test={tag}")
    saw(page, f"test={tag}")
    button(page, "Launch").click()
    run_shows(page, "COMPLETED_SUCCESS")
    for cell in cells:
        expect(cell).to_have_text("●")
    expect(page.get_by_text("2 materialized").last).to_be_visible()
    sees(page, "2 selected")  # what was entered is kept
    assert page.get_by_placeholder("key=value, key=value").input_value() == f"test={tag}"
    assert len(backfills_tagged(client, tag)) == 1
    assert len(runs_tagged(client, tag)) == 2
    choose(page, "2026-01-08")
    type_tags(page, f"test={tag}, fails=yes")
    saw(page, "2026-01-08", "fails=yes")
    button(page, "Launch").click()
    run_shows(page, "FAILURE")
    expect(days.locator('td[data-cell-id$="_ 08"]').last).to_have_text("✕")
    assert len(runs_tagged(client, tag)) == 3
