"""The threat model: each line of defence names tests, and they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/security.md").read_text("utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_test_of_the_threat_model_exists() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) > 30
    missing = [f"{file}::{test}" for file, test in named if test not in _tests(ROOT / file)]
    assert missing == []


def _tests(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8")) if file.is_file() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_line_of_defence_has_a_test() -> None:
    """Except those where the page says that nothing stops it."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 4]
    rows = [row for row in rows if not row.startswith(("| could", "| ---"))]
    assert len(rows) > 25
    assert [
        row for row in rows if not NAMED.search(row) and "| nothing, see above" not in row
    ] == []


def test_every_file_of_the_room_stands_in_the_model() -> None:
    files = {f"tests/security/{file.name}" for file in (ROOT / "tests/security").glob("test_*.py")}
    assert files == {file for file, _ in NAMED.findall(PAGE) if file.startswith("tests/security/")}
