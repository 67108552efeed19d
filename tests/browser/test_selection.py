"""A notebook for a selection of assets, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagmar.server.client import DagsterClient
from playwright.sync_api import Page, expect
from support.dagster_server import runs_tagged
from support.notebook_project import render_notebooks


@pytest.mark.nightly
def test_each_asset_of_a_selection_shows_what_becomes_of_it_in_one_run(
    editor: tuple[Path, str], page: Page, client: DagsterClient, tag: str
) -> None:
    folder, address = editor
    select = "key:limited or key:failing"
    answers = {"name": "both", "select": select, "template": "selection"}
    render_notebooks(folder.parent, answers)
    page.goto(f"{address}&file=both.py")
    cards = [page.get_by_role("group", name=name, exact=True) for name in ("limited", "failing")]
    for card in cards:
        expect(card).to_be_visible()
    tags = page.get_by_placeholder("key=value, key=value")
    tags.fill(f"test={tag}")
    tags.press("Enter")
    page.get_by_role("button", name="Launch", exact=True).click()
    expect(page.get_by_role("group", name="Run", exact=True).get_by_text("FAILURE")).to_be_visible()
    expect(cards[0]).to_contain_text("materialized")
    expect(cards[1]).to_contain_text("failed")
    expect(page.locator("marimo-mermaid")).to_contain_text("failed")
    assert len(runs_tagged(client, tag)) == 1
