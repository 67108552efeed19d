"""The page of `invoke stats`: from its document, whatever text is in it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from dagmar.errors import Conflict, SetupError
from dagmar.stats import page
from hypothesis import given
from hypothesis import strategies as st
from support.stats_document import SERVER, document

HOSTILE = "'\"></title></script><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"


class Tags(HTMLParser):
    """The tags of a page, its addresses and handlers, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: set[str] = set()
        self.handlers: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "action"):
                self.links.add(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_shows_the_document() -> None:
    text = " ".join(Tags(page.render(document(3))).text.split())
    for shown in (
        "Tue 2026-11-17 00:00 to Tue 2026-11-24 00:00 UTC",
        "▼ 3 points 98 % before",
        "raw/asset_0 takes 1 min 32 s since Fri 2026-11-20 00:00, 1.5 times as long as before",
        "git revision: aaaaaaa → bbbbbbb git log aaaaaaa..bbbbbbb",
        "14 × TimeoutError in step load, partition eu",
        "invoke run --retry 4c0ffee",
        "x breaks p95 > +50%",
        "90 8 missing 2 failed",
        "not_empty failed",
        "1 h 6 min ago warn",
    ):
        assert shown in text


def test_hostile_text_stays_text() -> None:
    clean, hostile = Tags(page.render(document(3))), Tags(page.render(document(3, HOSTILE)))
    assert sorted(set(hostile.tags)) == sorted(set(clean.tags))
    assert hostile.tags.count("script") == 1
    assert hostile.handlers == []
    assert hostile.links == clean.links == {f"{SERVER}/runs/4c0ffee"}
    assert "{{ 7 * 7 }}" in hostile.text


@given(st.text())
def test_any_text_stays_text(text: str) -> None:
    tags = Tags(page.render(document(1, text)))
    assert tags.tags.count("script") == 1
    assert tags.links <= {f"{SERVER}/runs/4c0ffee"}


def test_a_page_may_load_nothing_and_run_only_its_own_script() -> None:
    text = page.render(document(1))
    policy = text.partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[0]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].startswith("'sha256-")


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"rows": [], "totals": None, "failures": [], "window": None},
        {"rows": [{"name": "a"}], "totals": {"runs": {"now": 0, "before": None}}},
        {"rows": [{"name": "a", "runs": None, "trend": [{"at": "x", "runs": 0}], "checks": None}]},
        {"rows": [{"name": "a", "partitions": None, "fresh": None, "numbers": None}]},
        {"rows": [{"name": "a", "numbers": {"rows": [{"at": None, "value": None}]}}]},
    ],
)
def test_what_is_unknown_is_left_out(found: dict[str, object]) -> None:
    text = page.render(found)
    assert "None" not in text
    assert "nan" not in text


def test_a_page_of_a_thousand_assets_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(page.render(document(1000))) < 3_000_000
    monkeypatch.setattr(page, "MOST_ROWS", 5)
    assert "2 more are in" in page.render(document(7))


def test_a_page_is_rendered_from_what_json_prints() -> None:
    printed = json.loads(json.dumps(document(2)))
    assert page.render(printed) == page.render(document(2))


def test_only_an_earlier_page_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "history.html"
    page.write(file, document(1))
    page.write(file, document(2))
    assert "raw/asset_1" in file.read_text("utf-8")
    for other in (b"<html>mine</html>", b"\xff\xfe"):
        file.write_bytes(other)
        with pytest.raises(Conflict) as raised:
            page.write(file, document(1))
        assert "is not a page of" in raised.value.message
        assert file.read_bytes() == other
    with pytest.raises(Conflict):
        page.require_ours(tmp_path)


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError):
        page.write(tmp_path / "file" / "history.html", document(1))


@pytest.mark.parametrize(
    ("pair", "better", "shown"),
    [
        ((90, 60), "less", ("▲ 50 %", "worse")),
        ((61, 60), "less", ("▲ 2 %", "")),
        ((30, 60), "less", ("▼ 50 %", "better")),
        ((0.9, 0.95), "more", ("▼ 5 points", "worse")),
        ((1.0, 0.0), "more", ("▲ 100 points", "better")),
        ((5, 10), "", ("▼ 50 %", "")),
        ((1000, 10), "less", ("▲ 100.0 ×", "worse")),
        ((60, 60), "less", ("=", "")),
        ((5, 0), "less", ("", "")),
        ((None, 5), "less", ("", "")),
        ((5, None), "more", ("", "")),
    ],
)
def test_a_change_has_its_direction(
    pair: tuple[float, float], better: str, shown: tuple[str, str]
) -> None:
    assert page.change(dict(zip(("now", "before"), pair, strict=True)), better) == shown


def test_numbers_are_for_people() -> None:
    assert [page.seconds(s) for s in (None, 0.04, 59.96, 61, 7300, 200_000)] == [
        "–", "0.0 s", "60.0 s", "1 min 1 s", "2 h 1 min", "2.3 days",
    ]  # fmt: skip
    assert [page.share(s) for s in (None, 1, 0.99999, 0.5, 0)] == [
        "–", "100 %", "99.9 %", "50 %", "0 %",
    ]  # fmt: skip
    assert [page.number(n) for n in (None, 12345, 0.123456)] == ["–", "12,345", "0.1235"]
