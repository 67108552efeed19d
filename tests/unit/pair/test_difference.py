"""How a difference is drawn."""

from __future__ import annotations

import re

import polars as pl
from dagmar.diff.compare import compare
from dagmar.diff.model import Difference
from dagmar.pair.difference import draw


def test_a_frame_shows_rows_columns_and_cells_side_by_side() -> None:
    old = pl.DataFrame({"id": [1, 2, 3], "price": [1.0, 2.0, 3.0], "same": ["a", "b", "c"]})
    new = pl.DataFrame({"id": [2, 3, 4], "price": [2.0, 3.5, 4.0], "same": ["b", "c", "d"]})
    text = _text(draw(compare(old, new)))
    assert "3 rows · 1 added · 1 removed · 1 changed" in text
    assert "Rows are matched by id." in text
    assert "price Float64 50.0% (1)" in text
    assert "mean 2 → 3.16667" in text
    assert "2 columns without a change." in text
    assert "Changed rows id price 3 3 → 3.5" in text
    assert "Added rows id price same 4 4 d" in text
    assert "Removed rows id price same 1 1 a" in text


def test_rows_without_a_key_are_counted_and_their_cells_are_not() -> None:
    old = pl.DataFrame({"carrier": ["UA", "AA"] * 1500, "delay": [1, 2] * 1500})
    new = old.filter(pl.col("carrier") == "AA").head(1400)
    text = _text(draw(compare(old, new)))
    assert "3,000 → 1,400 rows · 1,600 removed" in text
    assert "Equal rows are matched: no column is unique in both." in text
    assert "carrier String Unknown: no key matches the rows." in text


def test_no_difference_is_said() -> None:
    frame = pl.DataFrame({"id": [1], "x": [2]})
    assert _text(draw(compare(frame, frame.clone()))) == "No difference. Rows are matched by id."
    assert _text(draw(compare([1], [1]))) == "No difference."
    assert _text(draw(compare(41, 41))) == "No difference."


def test_what_cannot_be_compared_says_why() -> None:
    page = draw(Difference("other", equal=False, reason="it was never <materialized>"))
    assert "It cannot be compared: it was never" in page
    assert "it was never" in page
    assert "<materialized" not in page


def test_numbers_texts_and_mappings() -> None:
    assert "200 250 +50 (+25.00%)" in _text(draw(compare(200, 250)))
    assert "-b +c" in _text(draw(compare("a\nb", "a\nc")))
    assert "a.b 1 2" in _text(draw(compare({"a": {"b": 1}}, {"a": {"b": 2}})))


def test_text_from_values_is_escaped() -> None:
    nasty = "<script>alert(1)</script>"
    frames = [
        pl.DataFrame({"k": [1, 2], nasty: ["a", "b"]}),
        pl.DataFrame({"k": [1, 3], nasty: [nasty, nasty]}),
    ]
    pages = [
        draw(compare(*frames)),
        draw(compare("a", nasty)),
        draw(compare({nasty: 1}, {nasty: nasty})),
    ]
    assert not any("<script" in page for page in pages)
    assert all("&lt;script" in page for page in pages)


def test_the_page_is_bounded() -> None:
    wide = {f"column {number}": ["x" * 5000] * 100 for number in range(500)}
    page = draw(compare(pl.DataFrame(wide), pl.DataFrame(wide).with_columns(pl.all() + "y")))
    assert len(page) < 200_000
    assert "and 440 more columns" in _text(page)
    assert "and 488 more columns" in _text(page)
    lines = "\n".join("x" * 1000 for _ in range(5000))
    assert len(draw(compare(lines, lines.replace("x", "y")))) < 200_000


def _text(page: str) -> str:
    """Return the text of a page, without its elements."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())
