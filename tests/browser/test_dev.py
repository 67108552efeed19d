"""What `invoke dev` prints, opened in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from support.dev_process import make_dev_project, running_dev

PATIENCE = 180_000


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
