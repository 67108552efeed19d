"""Names, descriptions and metadata that somebody wrote to be run: on every page they stay text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from dagmar.export import index, manifests
from dagmar.export.manifests import Manifest
from dagmar.failure import Failure
from dagmar.pair import cards, drawing
from dagmar.pair.backfilling import draw_backfill
from dagmar.server.backfills import Backfill

HOSTILE = (
    "</div></script><script>run()</script><img src=x onerror=run()>"
    "\"'><a href='javascript:run()'>{x}\n```\n"
)


class Seen(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    @property
    def runs(self) -> list[str]:
        """What would run something that is not the page's."""
        handlers = [f"{name}={value}" for name, value in self.attributes if name.startswith("on")]
        links = [value for name, value in self.attributes if name in ("href", "src", "action")]
        scripts = [value for value in links if not re.match(r"https?://|[^:]*$", value)]
        tags = self.tags & {"script", "img", "iframe", "object", "embed", "form"}
        return [*handlers, *scripts, *tags]


COLUMNS = [{"name": HOSTILE, "type": HOSTILE, "description": HOSTILE}]
LATEST = {"partition": HOSTILE, "run_id": HOSTILE, "at": 0.0}
DRAWN: dict[str, Callable[[], str]] = {
    "a description": lambda: cards._description({"description": HOSTILE}),
    "columns": lambda: cards._columns(COLUMNS),
    "a partition": lambda: cards.latest_materialization("http://a", {"latest": LATEST}),
    "an address": lambda: drawing.link("javascript:run()", HOSTILE),
    "an address after another": lambda: drawing.link(f"http://a/{HOSTILE}", HOSTILE),
    "metadata": lambda: drawing.metadata({HOSTILE: HOSTILE, "b": "javascript:run()"}),
    "a status": lambda: drawing.badge(HOSTILE),
    "a failure": lambda: drawing.failure(Failure(HOSTILE, HOSTILE, HOSTILE)),
    "a title": lambda: drawing.folded(HOSTILE, ""),
    "a note": lambda: drawing.note(HOSTILE, HOSTILE),
    "a backfill": lambda: draw_backfill(
        Backfill(HOSTILE, f"http://a/b/{HOSTILE}", HOSTILE, 1, 0, 1, {HOSTILE: "FAILURE"})
    ),
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_no_text_is_markup_in_a_notebook(draw: Callable[[], str]) -> None:
    page = draw()
    assert page
    assert Seen(page).runs == []


def test_a_key_is_a_label_in_a_diagram_and_ends_none() -> None:
    drawn = cards.mermaid({HOSTILE: [HOSTILE + "2"], "b": [HOSTILE]}, here=HOSTILE)
    assert "<script" not in drawn
    assert len(drawn.splitlines()) == 6
    # One line for each node and edge: nothing of the text begins a statement.
    for line in drawn.splitlines():
        assert not line.lstrip().startswith(("click", "```", "call", "href"))


def test_no_text_is_markup_on_the_pages_of_reports(tmp_path: Path) -> None:
    name, id = "orders", "20260101T000000Z-00000000"
    folder = tmp_path / name / id
    folder.mkdir(parents=True)
    manifest = Manifest(
        notebook=HOSTILE, notebook_sha256="0" * 64, name=name, id=id, status="failed",
        started_at="2026-01-01T00:00:00+00:00", ended_at="2026-01-01T00:00:01+00:00",
        duration_s=1.0, title=HOSTILE, asset=HOSTILE, partition=HOSTILE,
        parameters={HOSTILE: HOSTILE}, reported={HOSTILE: HOSTILE},
        error=Failure(HOSTILE, HOSTILE, HOSTILE),
    )  # fmt: skip
    (folder / manifests.NAME).write_text(manifest.as_text())
    assert json.loads(manifest.as_text())["title"] == HOSTILE
    pages = index.pages(tmp_path, name)
    assert len(pages) == 2
    for page in pages.values():
        assert "run()" in page, "the text itself is there"
        assert Seen(page).runs == []
