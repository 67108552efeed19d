"""The fenced blocks of the documentation, and what the comments above them say about them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
IN_A_NOTEBOOK = {
    "README.md": "clean/flights",
    "docs/how-to/preview-a-change.md": "clean/flights",
    "docs/how-to/make-notebooks.md": "daily_delays",
}
"""Pages whose Python is run as the cells of a notebook, and the asset that the notebook is of."""
_FENCE = re.compile(
    r"(?:^ *<!-- (?P<said>[^\n]*) -->\n+)?^(?P<indent> *)```(?P<language>\w*)\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_SESSION = re.compile(r"^<!-- executed in: (.+) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, its line, its language and text, and the comment above it."""

    page: str
    line: int
    language: str
    text: str
    said: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def says(self, what: str) -> str:
        """Return what follows `what: ` in the comment, or an empty text."""
        before, _, rest = self.said.partition(": ")
        return rest if before == what else ""


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, without the indentation that a list gives them."""
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        said = match["said"] or ""
        if said.startswith("executed in: "):  # of the whole page
            said = ""
        line = text.count("\n", 0, match.start("language")) + 1
        body = match["text"]
        if match["indent"]:
            body = textwrap.dedent(body)
        name = str(page.relative_to(ROOT))
        found.append(Block(name, line, match["language"], body, said))
    return found


def session(page: Path) -> str:
    """Return in what the commands of a page are executed, or an empty text."""
    found = _SESSION.findall(page.read_text("utf-8"))
    assert len(found) <= 1
    return found[0] if found else ""


ALL = [block for page in PAGES for block in blocks(page)]
