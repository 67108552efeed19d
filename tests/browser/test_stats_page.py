"""The page of `invoke stats` in a browser that has no network."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagmar.stats import page as stats_page
from playwright.sync_api import Browser, expect
from support.stats_document import document


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.nightly)])
def test_the_page_is_read_with_mouse_and_keyboard_and_asks_for_nothing(
    browser: Browser, tmp_path: Path, scheme: str
) -> None:
    file = tmp_path / "history.html"
    stats_page.write(file, document(3, "</script><script>window.hacked = true</script>"))
    with browser.new_context(color_scheme=scheme, offline=True) as context:  # type: ignore[arg-type]
        page = context.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(file.as_uri())

        chart = page.get_by_role("group", name="Runs", exact=False)
        bars = chart.get_by_role("img")
        label = str(bars.nth(3).get_attribute("aria-label"))
        bars.nth(3).locator(".hit").hover()
        expect(bars.nth(3).locator("text")).to_be_visible()
        expect(bars.nth(3).locator("text")).to_have_text(label)
        bars.nth(4).focus()
        page.keyboard.press("Tab")
        expect(bars.nth(5).locator("text")).to_be_visible()

        names = page.locator("tbody th")
        page.get_by_role("button", name="median").click()
        expect(names.first).to_contain_text("asset_2")  # the slowest first
        expect(page.get_by_role("columnheader", name="median")).to_have_attribute(
            "aria-sort", "descending"
        )

        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert back == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(17, 17, 19)")
        assert page.evaluate("window.hacked") is None
        assert asked == [file.as_uri()]
        assert complaints == []
