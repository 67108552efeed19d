"""What `invoke dev` prints, opened in a browser."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from support.dev_process import make_dev_project, running_dev

PATIENCE = 180_000
NOTEBOOK = """\
import marimo

__generated_with = "0.25.2"
app = marimo.App()


@app.cell
def _():
    import os

    print("kernel", os.getpid())
    return (os,)


@app.cell
def _():
    mine = "mine-1"
    mine
    return


@app.cell
def _():
    other = "other-1"
    other
    return


if __name__ == "__main__":
    app.run()
"""
CARD = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import dagmar

    dagmar.Pair(asset="orders").card()
    return


if __name__ == "__main__":
    app.run()
"""


@pytest.mark.nightly
def test_both_addresses_open_as_printed(browser: Browser, tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    with running_dev(root, "--notebook", "notebooks/orders.py") as dev:
        ready = dev.until("ready")
        context = browser.new_context()
        try:
            page = context.new_page()
            page.set_default_timeout(PATIENCE)

            page.goto(ready["marimo_page"])
            page.wait_for_url(f"{ready['marimo_url']}/**")
            home = root / ".dagmar/dagster_home"
            expect(page.get_by_text(f"Home is {home}", exact=True)).to_be_visible(timeout=PATIENCE)

            page.goto(ready["dagster_url"])
            page.get_by_role("link", name="Lineage").first.click()
            for asset in ("orders", "slow"):
                expect(page.get_by_text(asset, exact=True).first).to_be_visible(timeout=PATIENCE)

            answer = page.goto(ready["reports_url"])
            assert answer is not None
            assert answer.ok
        finally:
            context.close()


@pytest.mark.nightly
def test_a_change_on_disk_is_shown_beside_unsaved_edits_and_runs_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    root = make_dev_project(tmp_path / "shop")
    file = root / "notebooks/orders.py"
    file.write_text(NOTEBOOK, "utf-8")
    with running_dev(root, "--notebook", "notebooks/orders.py") as dev:
        ready = dev.until("ready")
        assert "interfere with auto-save" not in "".join(dev.talk)
        with browser.new_context() as context:
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(ready["marimo_page"])
            printed = page.get_by_test_id("console-output-area").get_by_text("kernel")
            kernel = printed.inner_text()
            code, output = page.locator(".cm-content"), page.locator(".output-area")
            expect(output).to_have_text(["'mine-1'", "'other-1'"])

            code.nth(1).click()
            page.keyboard.press("Control+End")
            page.keyboard.type("\n# unsaved")
            file.write_text(file.read_text("utf-8").replace("other-1", "other-2"), "utf-8")
            expect(code.nth(2)).to_contain_text("other-2")
            expect(code.nth(1)).to_contain_text("# unsaved")
            expect(output).to_have_text(["'mine-1'", "'other-1'"])
            # marimo saves both.
            while "# unsaved" not in file.read_text("utf-8"):
                page.wait_for_timeout(50)
            assert "other-2" in file.read_text("utf-8")

            os.kill(dev.pid_of("dagster"), signal.SIGKILL)
            dev.until("restarting")
            dev.until("server_ready", server="dagster")
            code.nth(0).click()
            page.keyboard.press("Control+Enter")
            expect(printed).to_have_text(re.compile(kernel))
            expect(output).to_have_text(["'mine-1'", "'other-1'"])


@pytest.mark.nightly
def test_an_open_card_follows_what_is_saved(browser: Browser, tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    (root / "notebooks/orders.py").write_text(CARD, "utf-8")
    code = root / "src/shop/definitions.py"
    before = code.read_text("utf-8")
    with running_dev(root, "--notebook", "notebooks/orders.py") as dev:
        ready = dev.until("ready")
        with browser.new_context() as context:
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(ready["marimo_page"])
            card = page.locator(".output-area")
            expect(card).to_contain_text("asset page")
            for old, new, text in (
                (
                    "@dg.asset\ndef orders",
                    "@dg.asset(group_name='sales')\ndef orders",
                    "has changed: ",
                ),
                ("orders", "order", "is gone"),
                ("def orders():", "def orders(:", "is gone: its code does not load"),
            ):
                code.write_text(before.replace(old, new), "utf-8")
                expect(card).to_contain_text(f"The asset 'orders' {text}")
            code.write_text(before, "utf-8")
            expect(card).not_to_contain_text("The asset 'orders'")
