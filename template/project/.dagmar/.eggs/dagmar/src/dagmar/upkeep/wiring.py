"""The dependency on dagmar in a project's files, and these files without it.

What adoption changed is reverted as git reverts a commit, so the bytes are those from before, and
later edits of the team stay. If that is not possible, the entries are cut out of the text.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import Any

from dagmar.errors import SetupError
from dagmar.files import read_toml
from dagmar.project import templates
from dagmar.project.layout import RUNNER
from dagmar.project.worktree import read_file

NAME = "dagmar"
PLACES = (RUNNER.as_posix(), "tools/dagmar")
"""Where the runner is, and where it was before version 0.2.0."""
TABLES = (".toml", "Pipfile", ".lock")
OURS = (
    "dev", "tool.uv.sources", "dependency-groups", "tool.poetry.group.dev.dependencies",
    "tool.pdm.dev-dependencies", "pypi-dependencies", "tool.pixi.pypi-dependencies",
)  # fmt: skip
"""What adoption may add around the entries."""
LINES = re.compile(
    rf"^(?:.*(?:{'|'.join(map(re.escape, PLACES))}).*|{NAME}\s*(?:\[|[=<>!~@;]).*"
    r"|!/(?:\.dagmar/(?:\*\*)?|\.copier-answers\.yml|dagmar\.yaml|tasks\.py))\s*$"
)
"""What adoption may add to lists of requirements and to .gitignore."""
_WITH_US = re.compile(r"^(?:dagster-(?:webserver|dg-cli)\b.*|!/\.gitignore|\s*)$")
"""Lines and entries that came with them, if they came in the same commit."""
_MENTION = re.compile(rf"\b{NAME}\b")
# An element of an array, as `"dagmar[cli]>=1; marker",`, and the file that pdm and pip name.
_ELEMENT = (
    rf"""(?:"{NAME}(?:\[[^"]*)?(?:[ ;@<>=!~][^"]*)?"|'{NAME}(?:\[[^']*)?(?:[ ;@<>=!~][^']*)?'"""
    rf"""|"[^"\n]*(?:{"|".join(map(re.escape, PLACES))})[^"\n]*")"""
)
_ELEMENT_LINE = re.compile(rf"^[ \t]*{_ELEMENT}[ \t]*,?[ \t]*(?:#.*)?\n", re.MULTILINE)
_ELEMENT_AFTER = re.compile(rf",\s*{_ELEMENT}(?=\s*[],])")
_ELEMENT_FIRST = re.compile(rf"(?<=\[){_ELEMENT}\s*,?\s*(?=[^\s])")
_KEY_LINE = re.compile(rf"^[ \t]*{NAME}[ \t]*=.*\n", re.MULTILINE)
_OWN_TABLE = re.compile(rf"^\[[^]\n]*\.{NAME}\]\n(?:(?!\[).*\n?)*", re.MULTILINE)
_EMPTY_ARRAY = re.compile(r"^[ \t]*([\w.-]+)[ \t]*=[ \t]*\[\s*\][ \t]*\n", re.MULTILINE)
_EMPTY_TABLE = re.compile(r"\n*^\[([^]\n]+)\][ \t]*\n(?=\s*(?:^\[|\Z))", re.MULTILINE)


def before_dagmar(root: Path, name: str) -> tuple[bytes | None, bytes] | None:
    """Return a file before and after the commit in which dagmar came into it; None if none did."""
    done = templates.git(root, "log", "--format=%H", f"-S{NAME}", "--", name)
    for commit in done.stdout.split():
        before, after = (read_file(root, revision, name) for revision in (f"{commit}^", commit))
        if after and _MENTION.search(_text(after)) and not _MENTION.search(_text(before or b"")):
            return before, after
    return None


def without(name: str, now: bytes, change: tuple[bytes | None, bytes] | None) -> bytes:
    """Return what a file holds without dagmar. `change` is what `before_dagmar` returned."""
    before = change[0] if change else None
    there = _text(before) if before is not None else None
    cut = _cut(name, _text(now), there).encode("utf-8", "surrogateescape")
    if change is None or before is None:
        return cut
    # An update may have moved the entries since then: without them, only the team's changes differ.
    after = _cut(name, _text(change[1]), there).encode("utf-8", "surrogateescape")
    merged = before if after == cut else _revert(cut, after, before)
    return merged if merged is not None and _same(name, merged, cut) else cut


def _cut(name: str, text: str, before: str | None) -> str:
    """Cut the entries out of a text, and tables that are empty then and were not there before."""
    if not name.endswith(TABLES):
        return "".join(line for line in text.splitlines(True) if not LINES.match(line))
    if "\r\n" in text:
        plain = text.replace("\r\n", "\n")
        cut = _cut(name, plain, before)
        return text if cut == plain else cut.replace("\n", "\r\n")
    given = text
    for pattern in (_OWN_TABLE, _KEY_LINE, _ELEMENT_LINE, _ELEMENT_AFTER, _ELEMENT_FIRST):
        text = pattern.sub("", text)
    if text == given:
        return text
    for pattern, spelled in ((_EMPTY_ARRAY, r"^\s*{}\s*="), (_EMPTY_TABLE, r"^\[{}\]")):
        for name in OURS:
            there = re.compile(spelled.format(re.escape(name)), re.MULTILINE)
            while not (before and there.search(before)):
                empty = next((found for found in pattern.finditer(text) if found[1] == name), None)
                if empty is None:
                    break
                end = "\n" if empty[0].startswith("\n") else ""  # of the line above
                text = text[: empty.start()] + end + text[empty.end() :]
    return text.rstrip("\n") + "\n" if text.strip() else text


def _revert(now: bytes, after: bytes, before: bytes) -> bytes | None:
    """Merge the way back from `after` to `before` into `now`; None for a conflict."""
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch, name) for name in ("now", "after", "before")]
        for file, content in zip(files, (now, after, before), strict=True):
            file.write_bytes(content)
        done = templates.git(Path(scratch), "merge-file", *map(str, files))
        return files[0].read_bytes() if done.returncode == 0 else None


def _same(name: str, one: bytes, other: bytes) -> bool:
    """Whether two files mean the same, but for empty tables and what came with dagmar."""
    if not name.endswith(TABLES):
        if b"autogenerated by" in one:  # of what the list above requires
            return True
        lines = [[line for line in _text(each).splitlines() if not _WITH_US.match(line)]
                 for each in (one, other)]  # fmt: skip
        return lines[0] == lines[1]
    with tempfile.TemporaryDirectory() as scratch, contextlib.suppress(SetupError):
        values = []
        for number, content in enumerate((one, other)):
            file = Path(scratch, f"{number}.toml")
            file.write_bytes(content)
            values.append(_filled(read_toml(file)))
        return bool(values[0] == values[1])
    return False


def _filled(value: Any) -> Any:
    """Return a value of TOML without what is empty, and without what came with dagmar."""
    if isinstance(value, dict):
        inner = {key: _filled(each) for key, each in value.items() if not _WITH_US.match(key)}
        return {key: each for key, each in inner.items() if each not in ({}, [])}
    if isinstance(value, list):
        return [each for each in value if not (isinstance(each, str) and _WITH_US.match(each))]
    return value


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "surrogateescape")
