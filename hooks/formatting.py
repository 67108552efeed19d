"""Undoes what a formatter did to a file, and keeps what a person changed.

A file is read as units: logical lines of Python, and lines of anything else. Units that mean the
same in both texts are replaced by those of the text before; what is left is the user's.
"""

from __future__ import annotations

import ast
import difflib
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

INDENT = " " * 4
BLOCKS = frozenset({"body", "orelse", "finalbody", "handlers", "cases", "decorator_list"})
FREE = frozenset({".css", ".graphql", ".html", ".js", ".json", ".md", ".toml"})
"""Files in which line ends and indentation mean nothing."""
Key = tuple[str, ...]


@dataclass
class Unit:
    """A piece of a file: its text, and what it means whatever its layout."""

    text: str
    key: Key
    depth: int = 0
    names: tuple[str, ...] = ()
    """What it imports, as statements, if it imports and does nothing else."""
    parts: list[Unit] = field(default_factory=list)
    """The imports that were joined in this one."""


def undo_formatting(name: str, before: str, text: str) -> str:
    """Return `text` with the layout of `before`, wherever it means the same."""
    try:
        old, new = list(read_units(name, before)), list(read_units(name, text))
    except (SyntaxError, ValueError, RecursionError):
        return text  # it is merged line by line
    between = "" if PurePosixPath(name).suffix in FREE else "\n"
    if between.join(_flat(old)) == between.join(_flat(new)):
        return before
    matcher = difflib.SequenceMatcher(
        None, [unit.key for unit in old], [unit.key for unit in new], autojunk=False
    )
    parts: list[str] = []
    for change, start, end, new_start, new_end in matcher.get_opcodes():
        if change == "equal":
            parts += [unit.text for unit in old[start:end]]
        else:
            imports = [unit for unit in old[start:end] if unit.names]
            parts += [_add_imports(unit, imports) for unit in new[new_start:new_end]]
    return "".join(parts)


def read_units(name: str, text: str) -> Iterator[Unit]:
    """Yield the units of a file. Raises SyntaxError for what is not Python."""
    kind = PurePosixPath(name).suffix
    if kind == ".py":
        yield from _join_imports(_read_python(text))
        return
    for line in text.splitlines(keepends=True):
        meaning = "".join(line.split()) if kind in FREE else line.rstrip()
        yield Unit(line.rstrip() + "\n", (meaning,) if meaning else ())


def _flat(units: Iterable[Unit]) -> list[str]:
    return [part for unit in units for part in unit.key]


def _read_python(text: str) -> Iterator[Unit]:
    lines = text.splitlines(keepends=True)
    meanings, imports = _statements(ast.parse(text))
    columns, done = [0], 0
    words: list[tokenize.TokenInfo] = []
    remarks: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row = token.end[0]
        if token.type == tokenize.INDENT:
            columns.append(len(token.string))
        elif token.type == tokenize.DEDENT:
            columns.pop()
        elif token.type == tokenize.COMMENT:
            remark = "#" + token.string.lstrip("# ").rstrip()
            if words:
                remarks.append(remark)
                continue
            depth = sum(column < token.start[1] for column in columns)
            yield Unit(_lay_out(lines[done:row], depth), (remark,), depth)
            done = row
        elif token.type == tokenize.NEWLINE:
            row = token.start[0]
            start = words[0].start[0]
            found = [part for at in range(start, row + 1) for part in meanings.pop(at, [])]
            meaning = found or ["".join(word.string for word in words)]
            if words[0].string == "elif":
                meaning.insert(0, "elif")
            named = [part for at in range(start, row + 1) for part in imports.get(at, [])]
            depth = len(columns) - 1
            inside = {
                at for word in words for at in range(word.start[0] + 1, word.end[0] + 1)
                if word.type in STRINGS
            }  # fmt: skip
            held = {at - done - 1 for at in inside}
            laid_out = _lay_out(lines[done:row], depth, held)
            yield Unit(laid_out, (*meaning, *remarks), depth, () if remarks else tuple(named))
            done, words, remarks = row, [], []
        elif token.type not in {tokenize.NL, tokenize.ENDMARKER}:
            words.append(token)


STRINGS = {
    kind
    for name in ("STRING", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
    if (kind := getattr(tokenize, name, None)) is not None
}


def _statements(tree: ast.Module) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """Return what the statements of each line mean, and those that are imports, one by one."""
    meanings: dict[int, list[str]] = {}
    imports: dict[int, list[str]] = {}

    def visit(node: Any, depth: int) -> None:
        for child in getattr(node, "decorator_list", ()):
            meanings.setdefault(child.lineno, []).append(f"{depth} @{ast.dump(child)}")
        at: Any = node.pattern if isinstance(node, ast.match_case) else node
        line: int = at.lineno
        meanings.setdefault(line, []).append(f"{depth} {_meaning(node)}")
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imports.setdefault(line, []).extend(_import_each(node))
        for block in BLOCKS - {"decorator_list"}:
            for child in getattr(node, block, ()):
                visit(child, depth + 1)

    for node in tree.body:
        visit(node, 0)
    return meanings, imports


def _meaning(node: ast.AST) -> str:
    """Return what a statement means, without the statements inside it."""
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ):
        return "".join(node.value.value.split())  # a docstring, which formatters rewrap
    fields = {name: [] if name in BLOCKS else value for name, value in ast.iter_fields(node)}
    return ast.dump(type(node)(**fields))


def _import_each(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    for alias in node.names:
        renamed = f" as {alias.asname}" if alias.asname else ""
        if isinstance(node, ast.Import):
            yield f"import {alias.name}{renamed}"
        else:
            module = "." * node.level + (node.module or "")
            yield f"from {module} import {alias.name}{renamed}"


def _join_imports(units: Iterable[Unit]) -> Iterator[Unit]:
    """Yield imports that follow each other as one unit: their order means nothing."""
    group: Unit | None = None
    for unit in units:
        if group and unit.names and unit.depth == group.depth:
            names = group.names + unit.names
            parts = [*group.parts, unit]
            group = Unit(group.text + unit.text, tuple(sorted({*names})), unit.depth, names, parts)
            continue
        if group:
            yield group
        group = None
        if unit.names:
            group = Unit(unit.text, tuple(sorted({*unit.names})), unit.depth, unit.names, [unit])
        else:
            yield unit
    if group:
        yield group


def _add_imports(unit: Unit, imports: list[Unit]) -> str:
    """Return imports as before, and those that the user added after the ones that they follow."""
    for known in imports:
        if unit.depth == known.depth and {*known.names} < {*unit.names}:
            parts, before = [*known.parts], ""
            for name in unit.names:
                if name not in known.names:
                    at = next((at for at, part in enumerate(parts, 1) if before in part.names), 1)
                    parts.insert(at, Unit(f"{INDENT * unit.depth}{name}\n", (), names=(name,)))
                before = name
            return "".join(part.text for part in parts)
    return unit.text


def _lay_out(lines: list[str], depth: int, held: Iterable[int] = ()) -> str:
    """Return lines that are indented by four spaces a level, but for those inside of strings."""
    first = next(line for line in lines if line.strip())
    indent = re.match(r"[ \t]*", first)[0]  # type: ignore[index]
    wanted = INDENT * depth
    if indent == wanted:
        return "".join(lines)
    return "".join(
        line if at in set(held) or not line.startswith(indent) or not line.strip()
        else wanted + line[len(indent):]
        for at, line in enumerate(lines)
    )  # fmt: skip
