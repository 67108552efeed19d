"""Every flag of every task has a row in tested-flags.md that names a test which uses it."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/tested-flags.md"
ROW = re.compile(r"^\| `([a-z-]+)` \| (?:`(--[a-z-]+)`|—) \| `([^`]+)` \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str]]:
    """Return (task, flag, node id); the flag is empty for the task as such."""
    return ROW.findall(PAGE.read_text("utf-8"))


def test_the_page_holds_nothing_but_well_formed_rows() -> None:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    assert len(lines) - 2 == len(rows())
    assert len({(task, flag) for task, flag, _ in rows()}) == len(rows())


def test_every_task_and_every_flag_has_a_row(generate: ModuleType) -> None:
    there = {
        (name, flag)
        for name, (_, flags) in {**generate.project_tasks(), **generate.own_tasks()}.items()
        for flag in ("", *flags)
    }
    listed = {(task, flag) for task, flag, _ in rows()}
    missing = "".join(
        f"\n| `{task}` | {f'`{flag}`' if flag else '—'} | `tests/…::test_…` |"
        for task, flag in sorted(there - listed)
    )
    assert not missing, f"Rows to add to {PAGE.name}, each with its test:{missing}"
    gone = sorted(listed - there)
    assert not gone, f"Rows for flags that are gone from the tasks: {gone}"


def test_each_row_names_a_test_that_uses_its_flag() -> None:
    """Whether the test also asserts what the flag changes, only a reader can see."""
    wrong = []
    for task, flag, node in rows():
        file, _, name = node.partition("::")
        source = source_of(ROOT / file, name)
        if not source:
            wrong.append(f"there is no test {node}")
        elif task not in re.findall(r"[\w-]+", source):
            wrong.append(f"{node} does not name the task {task}")
        elif flag and not re.search(rf"{flag}(?![\w-])", source):
            wrong.append(f"{node} does not use {flag}")
    assert wrong == []


def source_of(file: Path, name: str) -> str:
    """Return a test's text, and that of the names that it uses, from any test module."""
    found: dict[tuple[Path, str], str] = {}
    waiting = [(file, name)] if name.startswith("test_") else []
    while waiting:
        file, name = waiting.pop()
        text, parts, imported = read_module(file)
        if name in imported:
            waiting.append((imported[name], name))
        if name not in parts or (file, name) in found:
            continue
        node = parts[name]
        segments = [*getattr(node, "decorator_list", []), node]
        found[file, name] = "\n".join(ast.get_source_segment(text, part) or "" for part in segments)
        waiting += [(file, part.id) for part in ast.walk(node) if isinstance(part, ast.Name)]
    return "\n".join(found.values())


@functools.cache
def read_module(file: Path) -> tuple[str, dict[str, ast.stmt], dict[str, Path]]:
    """Return a module's text, what it defines by name, and what it imports from tests/."""
    if not file.is_file():
        return "", {}, {}
    text = file.read_text("utf-8")
    parts: dict[str, ast.stmt] = {}
    imported: dict[str, Path] = {}
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            parts[node.name] = node
        elif isinstance(node, ast.ImportFrom):
            other = ROOT / "tests" / f"{(node.module or '').replace('.', '/')}.py"
            imported |= {alias.name: other for alias in node.names if other.is_file()}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    parts[target.id] = node
    return text, parts, imported
