"""Names that several cells bind: marimo allows one cell to do so, Jupyter any.

Each cell that binds a name again, or changes its value in place, gets another name for it, and
later cells read that one. If a function may see both values, or a name cannot be replaced, the
cells are merged before.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dagmar.migrate.dataflow import Dataflow
from dagmar.migrate.draft import ADDED, Draft, span
from dagmar.migrate.imports import leave_out_repeated
from dagmar.migrate.merging import merge_cells
from dagmar.migrate.scopes import Scopes, Statement, Use
from dagmar.notebook.cells import INPUTS, PREDEFINED
from dagmar.notebook.inputs import targets

RULE = "names"
Edit = tuple[tuple[int, int], tuple[int, int], str]
"""Where something starts and ends (lines, from 0, and columns), and what to write in its place."""


def settle(drafts: Sequence[Draft], reserved: Iterable[str]) -> tuple[list[Draft], dict[str, str]]:
    """Return cells of which no two bind the same name, and the last name of each global.

    `reserved` are names that the notebook has anyhow.
    """
    leave_out_repeated(drafts)
    flow = merge_cells(drafts)
    for cell, _, name in flow.early():
        message = f"reads `{name}`, which only a later cell defines"
        line = next(use.start[0] for use in flow.scopes[cell].uses if use.name == name)
        todo = "Put the cell that defines it above."
        flow.drafts[cell].remark(line, "by hand", RULE, message, todo)
    names = _Naming(flow, set(reserved)).apply()
    return flow.drafts, names


@dataclass
class _Version:
    """What one cell makes of a name; `copies` if the cell starts from the value of before."""

    cell: int
    copies: bool = False
    read_elsewhere: bool = False
    name: str = ""


class _Naming:
    """Gives each version of a name its own."""

    def __init__(self, flow: Dataflow, reserved: set[str]) -> None:
        self._flow = flow
        every = {use.name for scopes in flow.scopes for use in scopes.uses}
        self._taken = every | reserved | PREDEFINED
        self._reserved = reserved
        self._versions: dict[str, list[_Version]] = {}

    def apply(self) -> dict[str, str]:
        """Replace the names in the cells, and return the last name of each global."""
        for name in self._flow.binders:
            self._versions[name] = self._list(name)
        for name, versions in self._versions.items():
            self._name(name, versions)
        for cell, scopes in enumerate(self._flow.scopes):
            self._replace(cell, scopes)
        return {
            name: versions[-1].name
            for name, versions in self._versions.items()
            if not versions[-1].name.startswith("_") or versions[-1].name.startswith("__")
        }

    def _list(self, name: str) -> list[_Version]:
        binders = self._flow.binders[name]
        first = self._flow.scopes[binders[0]]
        kept = any(name in scopes.fixed for scopes in self._flow.scopes)
        is_value = not any(
            isinstance(statement.node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))
            for statement in first.statements
            if name in statement.bound()
        )
        versions: list[_Version] = []
        for cell, scopes in enumerate(self._flow.scopes):
            if cell in binders:
                gone = not versions or _is_gone(self._flow.scopes[versions[-1].cell], name)
                copies = not gone and not self._starts_fresh(scopes, name)
                versions.append(_Version(cell, copies))
            elif (
                versions
                and is_value
                and not kept
                and name in scopes.changed()
                and self._is_read_after(name, cell)
            ):
                versions.append(_Version(cell, copies=True))
        for cell, scopes in enumerate(self._flow.scopes):
            for number, statement in enumerate(scopes.statements):
                for use in statement.uses:
                    if use.name == name and not use.stores:
                        version = self._version(versions, cell, number, use)
                        version.read_elsewhere |= version.cell != cell
        for before, after in itertools.pairwise(versions):
            before.read_elsewhere |= after.copies or self._reads_before(after.cell, name)
        return versions

    def _is_read_after(self, name: str, cell: int) -> bool:
        """Whether a later cell reads the value that is there after a cell has changed it."""
        for scopes in self._flow.scopes[cell + 1 :]:
            if any(use.name == name and not use.stores for use in scopes.uses):
                return True
            if name in scopes.bound():
                return not self._starts_fresh(scopes, name)
        return False

    def _version(self, versions: Sequence[_Version], cell: int, number: int, use: Use) -> _Version:
        """Return the version that a place means."""
        now = [version for version in versions if version.cell <= cell]
        if use.later:
            (seen,) = self._flow.seen(cell, number, use.name) or {cell}
            if seen > cell:
                return next(version for version in versions if version.cell == seen)
        return now[-1] if now else versions[0]

    def _starts_fresh(self, scopes: Scopes, name: str) -> bool:
        """Whether a cell binds a name before it can read the value of before."""
        statement = _first(scopes, name)
        if statement is None or _only_caught(scopes, name):
            return True
        node = statement.node
        mentions = [use for use in statement.uses if use.name == name]
        if isinstance(node, ast.Assign) and not any(use.later for use in mentions):
            stores = [use for use in mentions if use.stores]
            # In `x = x + 1` the value is read first; in `a = a[0] = …`, `y = (x := x)` it is not.
            return (
                len(stores) == 1
                and name in {part for target in node.targets for part in targets(target)}
                and all(isinstance(part, (ast.Name, ast.Tuple, ast.List)) for part in node.targets)
            )
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return True
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            at_once = [use for use in mentions if not use.later and not use.stores]
            return name == node.name and not at_once
        if isinstance(node, ast.AnnAssign):
            return node.value is not None and len(mentions) == 1
        if isinstance(node, (ast.With, ast.AsyncWith)):
            return mentions[0].stores and any(
                isinstance(item.optional_vars, ast.Name) and item.optional_vars.id == name
                for item in node.items
            )
        if isinstance(node, (ast.For, ast.AsyncFor)):
            inside = mentions[0].stores and not _reads_itself(node, name)
            others = [s for s in scopes.statements if s is not statement]
            used = any(use.name == name and not use.stores for s in others for use in s.uses)
            cell = self._flow.scopes.index(scopes)
            return inside and not used and not self._is_read_after(name, cell)
        return False

    def _reads_before(self, cell: int, name: str) -> bool:
        """Whether a cell that binds a name reads its value of before in its first statement."""
        statement = _first(self._flow.scopes[cell], name)
        return statement is not None and any(
            use.name == name and not use.stores and _is_before(statement, use)
            for use in statement.uses
        )

    def _name(self, name: str, versions: Sequence[_Version]) -> None:
        is_private = name.startswith("_") and not name.startswith("__")
        plain = name
        if is_private:
            if not any(version.read_elsewhere for version in versions):
                for version in versions:
                    version.name = name  # marimo keeps it in its cell as well
                return
            plain = self._fresh(name.strip("_") or "value", first=True)
        free = name not in self._reserved
        for version in versions:
            public = version.read_elsewhere or version is versions[-1]
            public |= self._flow.drafts[version.cell].name == INPUTS
            if not public and f"_{name}" not in self._taken and not is_private:
                version.name = f"_{name}"
            elif free:
                version.name, free = plain, False
            else:
                version.name = self._fresh(plain)

    def _fresh(self, name: str, first: bool = False) -> str:
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        found = next(
            one
            for one in itertools.chain([name] if first else [], numbered)
            if one not in self._taken
        )
        self._taken.add(found)
        return found

    def _replace(self, cell: int, scopes: Scopes) -> None:
        draft = self._flow.drafts[cell]
        edits: list[Edit] = []
        texts: dict[int, tuple[ast.JoinedStr, dict[str, str]]] = {}
        said: dict[str, str] = {}
        starts: list[str] = []
        for name in sorted({use.name for use in scopes.uses} & self._versions.keys()):
            versions = self._versions[name]
            own = next((version for version in versions if version.cell == cell), None)
            before = [version for version in versions if version.cell < cell]
            if own and own.copies and before:
                starts.append(f"{own.name} = {before[-1].name}")
            first = _first(scopes, name)
            for number, statement in enumerate(scopes.statements):
                for use in statement.uses:
                    if use.name != name:
                        continue
                    if use.stores and own:
                        new = own.name
                    elif (
                        own and before and not own.copies and statement is first
                        and _is_before(statement, use)
                    ):  # fmt: skip
                        new = before[-1].name
                    else:
                        new = self._version(versions, cell, number, use).name
                    if new == name:
                        continue
                    said[name] = new
                    if use.within:
                        texts.setdefault(id(use.within), (use.within, {}))[1][name] = new
                    else:
                        edits.append((use.start, use.end, use.form.format(new)))
        for node, new_names in texts.values():
            edits.append(_rewritten(draft, node, new_names))
        _edit(draft, edits, said)
        if starts:
            draft.lines[:0] = starts
            draft.origins[:0] = [ADDED] * len(starts)


def _first(scopes: Scopes, name: str) -> Statement | None:
    """Return the first statement of a cell in which a name is."""
    return next((s for s in scopes.statements if any(u.name == name for u in s.uses)), None)


def _is_before(statement: Statement, use: Use) -> bool:
    """Whether a statement reads a value before it binds its own names."""
    return isinstance(statement.node, ast.Assign) and not use.later


def _is_gone(scopes: Scopes, name: str) -> bool:
    """Whether a cell ends without a value for a name that it had."""
    last = [s for s in scopes.statements if name in s.bound()][-1:]
    return _only_caught(scopes, name) or any(isinstance(s.node, ast.Delete) for s in last)


def _edit(draft: Draft, edits: Iterable[Edit], said: Mapping[str, str]) -> None:
    message = ", ".join(f"`{old}` is `{new}`" for old, new in said.items()) + " in this cell"
    remarked = set()
    for (first, start), (last, end), text in sorted(edits, reverse=True):
        if draft.origins[first] != ADDED and (first, last) not in remarked:
            draft.remark(first, "converted", RULE, message, last=last)
            remarked.add((first, last))
        draft.replace(first, last, [draft.lines[first][:start] + text + draft.lines[last][end:]])


def _reads_itself(loop: ast.For | ast.AsyncFor, name: str) -> bool:
    """Whether a loop is over a name, or an assignment in it reads the name that it binds."""
    parts: list[ast.AST] = [loop.iter]
    for node in ast.walk(loop):
        if isinstance(node, ast.AugAssign):
            parts.append(node.target)
        elif isinstance(node, ast.Assign) and any(name in targets(each) for each in node.targets):
            parts.append(node.value)
    return any(
        isinstance(node, ast.Name) and node.id == name for part in parts for node in ast.walk(part)
    )


def _only_caught(scopes: Scopes, name: str) -> bool:
    """Whether a name is only that of exceptions, which Python deletes after their blocks."""
    nodes = [node for statement in scopes.statements for node in ast.walk(statement.node)]
    spans = [
        range(node.lineno - 1, node.end_lineno or 0)
        for node in nodes
        if isinstance(node, ast.ExceptHandler) and node.name == name
    ]
    lines = [use.start[0] for use in scopes.uses if use.name == name and not use.within]
    return bool(spans) and all(any(line in span for span in spans) for line in lines)


def _rewritten(draft: Draft, node: ast.JoinedStr, names: Mapping[str, str]) -> Edit:
    """Return the edit that writes an f-string again with other names."""
    first, last = span(node)
    before, after = draft.around(node)
    start, end = (first, len(before)), (last, len(draft.lines[last]) - len(after))
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in names:
            part.id = names[part.id]
    return start, end, ast.unparse(node)
