"""Files that cells read and write: found from the new notebook, written by an asset, or by a cell.

A path is known if the text of the notebook says it: a literal, a name that is assigned one once,
or what `Path`, `/`, `+` and `os.path.join` make of them.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dagmar.asset_key import AssetKey
from dagmar.migrate.draft import Draft, walk
from dagmar.migrate.model import Remark
from dagmar.migrate.scopes import read_scopes
from dagmar.notebook.cells import literal

WRITES = re.compile(r"(to|write|save|dump|sink)(_|[a-z]*$)|make?dirs?$")
READS = re.compile(r"open|(read|load|scan|im|from_file|chdir|change_folder|run_file|list|glob)")
JOINS = ("Path", "PurePath", "join")
MODE = re.compile("[rwaxbt+]{1,4}")
FILE = re.compile(r"(?![\d.]+$)[\w .~-]*(/[\w .~*-]*)*(/|\.[A-Za-z]\w{0,7}|/[\w.~*-]+)")
"""What looks like a relative path: it has a suffix or a slash."""


@dataclass(frozen=True)
class FileUse:
    """A call that gets a path, and what is known of it; `node` is the argument."""

    draft: Draft
    call: ast.Call
    node: ast.expr
    path: str
    name: str
    writes: bool

    @property
    def opens(self) -> bool:
        """Whether the call's name is that of a function for files."""
        return self.writes or READS.match(self.name) is not None

    @property
    def first(self) -> str:
        """The first part of the path."""
        return self.path.removeprefix("./").partition("/")[0]

    @property
    def start(self) -> ast.Constant | None:
        """The literal that the path starts with, if it can be replaced."""
        node: ast.expr = self.node
        while not isinstance(node, ast.Constant):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                node = node.left
            elif isinstance(node, ast.Call):
                node = node.args[0]
            else:
                return None
        return node

    @property
    def place(self) -> tuple[int, int]:
        """The cell and the line of the call."""
        return self.draft.origins[self.call.lineno - 1]


def file_uses(drafts: Sequence[Draft]) -> list[FileUse]:
    """Return the calls with a known text that may be a path, in the order of the cells."""
    codes = [(draft, draft.parse()) for draft in drafts if not draft.is_text]
    bound = [use.name for draft, _ in codes for use in read_scopes(draft.code).uses if use.stores]
    texts: dict[str, str] = {}
    for node in (node for _, tree in codes for node in tree.body):
        if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name):
            path = _path(node.value, texts)
            if path is not None and bound.count(target.id) == 1:
                texts[target.id] = path
    return [use for draft, tree in codes for use in _uses(draft, tree, texts)]


def _uses(draft: Draft, tree: ast.Module, texts: Mapping[str, str]) -> Iterator[FileUse]:
    for call in (node for node in walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        nodes = [*call.args, *(keyword.value for keyword in call.keywords)]
        modes = [text for node in nodes if (text := literal(node)) and MODE.fullmatch(text)]
        if name == "open":
            writes = any({*mode} & {*"wax+"} for mode in modes)
        else:
            writes = WRITES.match(name) is not None
        if isinstance(call.func, ast.Attribute):
            nodes.append(call.func.value)
        for node in nodes:
            path = _path(node, texts)
            if path and path.isprintable() and not (name == "open" and path in modes):
                yield FileUse(draft, call, node, path, name, writes)


def _path(node: ast.expr, texts: Mapping[str, str]) -> str | None:
    """Return the text of an expression, None if it is not known."""
    if isinstance(node, ast.Name):
        return texts.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Add)):
        left, right = _path(node.left, texts), _path(node.right, texts)
        if left is None or right is None:
            return None
        return left + right if isinstance(node.op, ast.Add) else os.path.join(left, right)
    if isinstance(node, ast.Call) and node.args and not node.keywords:
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        parts = [_path(part, texts) for part in node.args]
        known = [part for part in parts if part is not None]
        return os.path.join(*known) if name in JOINS and len(known) == len(parts) else None
    return literal(node)


def move(uses: Sequence[FileUse], folder: Path, target: Path, root: Path) -> Iterator[Remark]:
    """Find files from where the new notebook is; yield one remark if some paths stay as they are.

    Jupyter's working directory is the folder of the notebook, and marimo's that of the project.
    """
    if any("change_folder" in use.draft.needs for use in uses):
        uses = [use for use in uses if use.name == "change_folder"]
    uses = [use for use in uses if not use.path.startswith(("/", "~")) and ":" not in use.path]
    written = {use.first for use in uses if use.writes}
    fixed = {use.first for use in uses if use.opens and not use.start}
    places: dict[str, int] = {}
    moved: dict[int, tuple[ast.Constant, Draft]] = {}
    for use in uses:
        there = folder / use.path
        is_file = bool(FILE.fullmatch(use.path)) or there.exists()
        start = use.start
        known = use.first in written - fixed or (there.is_file() and use.first not in written)
        if start and known and is_file and (use.opens or there.is_file()):
            moved[id(start)] = start, use.draft
        elif use.opens and is_file and folder.resolve() != root.resolve():
            places.setdefault(use.path, use.place[0])
    by_place = sorted(moved.values(), key=lambda each: (each[0].lineno, each[0].col_offset))
    for start, draft in reversed(by_place):
        text = str(start.value)
        path = Path(os.path.relpath(folder / text, target)).as_posix()
        message = f"{text} is found from the notebook"
        draft.exchange(start, f'str(mo.notebook_dir() / "{path}")', "paths", message)
    if places:
        listed = ", ".join(f"{path} (cell {cell})" for path, cell in places.items())
        message = f"relative paths start in the project's folder now, as these do: {listed}"
        todo = 'Write them from the notebook: mo.notebook_dir() / "…".'
        yield Remark(0, None, "by hand", "paths", message, todo)


def handed_over(uses: Sequence[FileUse]) -> dict[tuple[int, int], tuple[int, str]]:
    """Return each place that uses a file that an upper cell writes, with that cell and the path."""
    writers: dict[str, int] = {}
    found: dict[tuple[int, int], tuple[int, str]] = {}
    for use in uses:
        if not FILE.fullmatch(use.path):
            continue
        path = os.path.normpath(use.path)
        writer = writers.get(path)
        if use.writes:
            writers[path] = use.place[0]
        elif writer and use.place[0] > writer:
            found.setdefault(use.place, (writer, use.path))
    return found


def unseen(
    drafts: Sequence[Draft], files: Mapping[tuple[int, int], tuple[int, str]]
) -> Iterator[Remark]:
    """Yield a remark for what reads such a file and does not depend on the cell that writes it."""
    numbers = {cell: number for number, draft in enumerate(drafts) for cell in draft.cells}
    said = set()
    for (cell, line), (writer, path) in files.items():
        first, last = numbers[writer], numbers[cell]
        if first < last and (last, path) not in said and not _depends(drafts[first : last + 1]):
            said.add((last, path))
            message = f"uses {path}, which cell {writer} writes, and marimo does not see that"
            todo = f"Let it use a variable of cell {writer}, or put both into one cell."
            yield Remark(cell, line, "by hand", "files", message, todo)


def _depends(drafts: Sequence[Draft]) -> bool:
    """Whether the last of these cells runs again if the first one does."""
    scopes = [read_scopes(draft.code) for draft in drafts if not draft.is_text]
    changed = scopes[0].bound()
    for each in scopes[1:]:
        depends = any(use.name in changed and not use.stores for use in each.uses)
        changed |= each.bound() if depends else set()
    return depends


def written_by_assets(
    uses: Sequence[FileUse],
    folder: Path,
    root: Path,
    places: Callable[[], Mapping[str, AssetKey] | None],
    paired: bool,
) -> Iterator[Remark]:
    """Yield a proposal for each file that is read, and that an asset's metadata names.

    `places` returns the assets by what their metadata say, None if no server was asked.
    """
    written = {use.path for use in uses if use.writes}
    read = [use for use in uses if use.opens and use.path not in written]
    assets = places() if read else {}
    if assets is None:
        listed = ", ".join(dict.fromkeys(use.path for use in read))
        message = f"no server was asked whether an asset writes what is read: {listed}"
        yield Remark(0, None, "converted", "pair.load", message)
        return
    known = {_real(text, root): key for text, key in assets.items()}
    for use in read:
        key = known.get(_real(use.path, folder)) or known.get(_real(use.path, root))
        if key:
            message = f"{use.path} is what the asset {key} writes"
            todo = f'Write `pair.load("{key}")` in place of `{ast.unparse(use.call)}`'
            todo += ", if its value is what you need."
            todo += "" if paired else " That needs a pair: migrate with --asset or --job."
            yield Remark(*use.place, "by hand", "pair.load", message, todo)


def _real(path: str, folder: Path) -> str:
    path = path.removeprefix("file://")
    return path if "://" in path else os.path.realpath(folder / path)
