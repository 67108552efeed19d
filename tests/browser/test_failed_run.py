"""A failed run becomes a notebook, in a real browser."""

from __future__ import annotations

import re

import pytest
from dagmar.server.client import DagsterClient
from playwright.sync_api import Page, expect
from support.dagster_server import tags_of
from support.notebook_project import Open, choose


@pytest.mark.nightly
def test_a_failed_run_is_opened_with_its_values_and_retried_with_others(
    edit: Open, client: DagsterClient
) -> None:
    page = edit("daily_sales")

    def run_of(page: Page) -> str:
        group = page.get_by_role("group", name="Run", exact=True)
        expect(group.get_by_text("FAILURE", exact=True)).to_be_visible()
        return str(group.get_by_role("link").first.get_attribute("href")).rpartition("/")[2]

    page.get_by_role("button", name="Launch", exact=True).wait_for()
    choose(page, "2026-01-09")
    tags = page.get_by_placeholder("key=value, key=value")
    tags.fill("test=ninth")
    tags.press("Enter")
    expect(page.get_by_text(re.compile("saw.*2026-01-09.*test=ninth", re.DOTALL))).to_be_visible()
    page.get_by_role("button", name="Launch", exact=True).click()
    failed = run_of(page)
    page.get_by_role("button", name="Open as a notebook").click()
    link = page.get_by_role("link", name="with the values of this run")
    with page.context.expect_page() as opening:
        link.click()
    other = opening.value
    assert f"run={failed}" in other.url
    assert run_of(other) == failed
    tags = other.get_by_placeholder("key=value, key=value")
    expect(tags).to_have_value("test=ninth")
    tags.fill("test=again")
    tags.press("Enter")
    expect(other.get_by_text(re.compile("saw.*test=again", re.DOTALL))).to_be_visible()
    other.get_by_role("button", name="Retry with the config and tags of the controls").click()
    expect(other.get_by_role("link", name=failed[:8])).to_have_count(0)
    again = run_of(other)
    assert again != failed
    retried = tags_of(client, again)
    assert (retried["test"], retried["dagster/partition"]) == ("again", "2026-01-09")
    assert client.query("RunToRetry", id=again)["runOrError"]["rootRunId"] == failed
