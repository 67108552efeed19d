"""Idioms that keep coming back, and that no colleague would write; see CONTRIBUTING, Language."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = (
    "README.md", "RELEASING.md", "CONTRIBUTING.md", "copier.yml", "tasks.py", "docs", "hooks",
    "template", "benchmarks", "release", "tests",
)  # fmt: skip
# The glossary in CONTRIBUTING names them, and so does this file.
LEFT_OUT = ("CONTRIBUTING.md", "tests/docs/test_language.py")
INSTEAD = {
    r"(?<![Tt]here )\b(?:is|are|was|were) no (?!longer\b|more\b)[a-z]+": "is not a …",
    r"\b(?:told|tells? of)\b": "reported, says, the message",
    r"\bwhat (?:comes?|came) of\b": "the result",
    r"\banew\b": "again",
    r"\bmeanwhile\b": "in the meantime",
    r"\bpass(?:es|ed) over\b": "ignored, skipped",
    r"\bof (?:our|its|his|their|one's) own\b": "its own …, separate",
    r"\b(?:of|rule of) ours\b": "our",
    r"\bmend(?:s|ed|ing)?\b": "fix, repair",
    r"\bbeside\b": "next to, in addition to",
    r"\b(?:lies|lie) (?:in|on|beside|there|inside|outside)\b": "is",
    r"\bstands? (?:in|on|there|before|above|below)\b": "is",
    r"\bRaises? [\w, ]+ where\b": "Raises … if",
    r"\bso many\b": "this many",
}


@pytest.mark.parametrize("idiom", INSTEAD)
def test_nobody_writes(idiom: str) -> None:
    pattern = re.compile(idiom)
    found = [
        f"{path}:{number}: {match.group()}"
        for path in _files()
        for number, line in enumerate((ROOT / path).read_text("utf-8").splitlines(), 1)
        if (match := pattern.search(line))
    ]
    assert not found, f"Write: {INSTEAD[idiom]}\n" + "\n".join(found)


def _files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *PLACES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    endings = (".py", ".md", ".jinja", ".yml", ".yaml", ".json", ".toml", ".graphql")
    return [
        path
        for path in listed.stdout.split("\0")
        if path.endswith(endings)
        and path not in LEFT_OUT
        and "/schemas/" not in path
        and (ROOT / path).is_file()
    ]
