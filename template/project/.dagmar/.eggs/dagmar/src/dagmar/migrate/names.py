"""Names that several cells bind: marimo allows one cell to do so, Jupyter any.

Each cell that binds a name again, or changes its value in place, gets another name for it, and
later cells read that one. If a function may see both values, or a name cannot be replaced, the
cells are merged: in one cell the order is that of the text. Cells without a dependency between them
keep their order, since marimo executes the upper one first.
"""

from __future__ import annotations

import ast
import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dagmar.migrate.draft import ADDED, Draft
from dagmar.migrate.model import Remark
from dagmar.migrate.scopes import Scopes, Statement, Use, read_scopes
from dagmar.notebook.cells import INPUTS, PREDEFINED
from dagmar.notebook.inputs import targets

RULE = "names"
SILENT = frozenset(
    ["print", "display", "show", "append", "extend", "add", "update", "write", "clear", "insert"]
)
"""Functions whose result nobody looks at."""


@dataclass
class _Book:
    """The cells of a notebook, with what each does with globals."""

    drafts: list[Draft]
    scopes: list[Scopes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scopes = [
            Scopes() if draft.is_text else read_scopes(draft.code) for draft in self.drafts
        ]

    def binders(self) -> dict[str, list[int]]:
        """Return the cells that bind each name, in their order."""
        found: dict[str, list[int]] = {}
        for number, scopes in enumerate(self.scopes):
            for name in sorted(scopes.bound()):
                found.setdefault(name, []).append(number)
        return found


def settle(drafts: Sequence[Draft], reserved: Iterable[str]) -> tuple[list[Draft], dict[str, str]]:
    """Return cells of which no two bind the same name, and the last name of each global.

    `reserved` are names that the notebook has anyhow.
    """
    drafts = _without_repeated_imports(drafts)
    while conflict := _conflict(book := _Book([*drafts])):
        first, last, reason = conflict
        drafts = [*drafts[:first], _merged(drafts[first : last + 1], reason), *drafts[last + 1 :]]
    for cell, _, name in _early(book, book.binders()):
        message = f"reads `{name}`, which only a later cell defines"
        line = next(use.start[0] for use in book.scopes[cell].uses if use.name == name)
        todo = "Put the cell that defines it above."
        book.drafts[cell].remark(line, "by hand", RULE, message, todo)
    names = _Naming(book, set(reserved)).apply()
    return book.drafts, names


def _conflict(book: _Book) -> tuple[int, int, str] | None:
    """Return the first and last of the cells to merge, and why; None if there is nothing to do."""
    binders = book.binders()
    for name, cells in binders.items():
        if len(cells) < 2:
            continue
        span = cells[0], cells[-1]
        every = [book.scopes[cell] for cell in cells]
        if any(use.stores and use.later and use.name == name for s in every for use in s.uses):
            return *span, f"a function assigns `{name}`"
        if any(name in scopes.fixed for scopes in book.scopes):
            return *span, f"`{name}` cannot be given another name"
    forward: dict[tuple[int, int], str] = {}
    for cell, scopes in enumerate(book.scopes):
        for number, statement in enumerate(scopes.statements):
            for name in sorted(statement.read(later=True) & binders.keys()):
                cells = binders[name]
                seen = _seen(book, cell, number, name, cells)
                if len(seen) > 1:
                    reason = f"a function reads several values of `{name}`"
                    return min(*seen, cell), max(seen), reason
                if seen and (later := seen.pop()) > cell:
                    if any(one <= cell for one in cells):
                        return cells[0], later, f"a function reads a later value of `{name}`"
                    forward[cell, later] = name
    return _out_of_order(book, binders, forward)


def _early(book: _Book, binders: Mapping[str, Sequence[int]]) -> Iterator[tuple[int, int, str]]:
    """Yield each cell that reads a name at once, the later cell that defines it, and the name."""
    for cell, scopes in enumerate(book.scopes):
        read = set().union(*(statement.read(later=False) for statement in scopes.statements))
        for name in sorted(read & binders.keys()):
            if binders[name][0] > cell:
                yield cell, binders[name][0], name


def _seen(book: _Book, cell: int, number: int, name: str, cells: Sequence[int]) -> set[int]:
    """Return the cells whose value of a name may be read by a function of a statement."""
    now = max((one for one in cells if one <= cell), default=-1)
    if cells[-1] <= cell:
        return {now}
    seen = set()
    for place, part in _executed(book, cell, number, name):
        known = max((one for one in cells if one <= place), default=-1)
        if known == place and place != cell:
            bound = [i for i, s in enumerate(book.scopes[place].statements) if name in s.bound()]
            if bound and part < bound[0]:
                known = max((one for one in cells if one < place), default=-1)
            elif bound and part <= bound[-1]:
                seen.add(max((one for one in cells if one < place), default=-1))
        seen.add(known)
    seen.discard(-1)
    return seen or {now if now >= 0 else cells[0]}


def _executed(book: _Book, cell: int, number: int, name: str) -> Iterator[tuple[int, int]]:
    """Yield the cell and the statement of each place where code of a statement may be executed.

    What may hold a function is followed by its name from assignment to assignment.
    """
    start = book.scopes[cell].statements[number]
    holders = _holders(start)
    direct: set[str] = set()
    if isinstance(start.node, ast.FunctionDef) and not start.leaks({name, *holders}):
        direct.add(start.node.name)
    later = [
        (place, part, statement)
        for place in range(cell, len(book.scopes))
        for part, statement in enumerate(book.scopes[place].statements)
        if (place, part) > (cell, number)
    ]
    if not holders:  # somebody keeps it, and may call it at any time
        yield from ((place, part) for place, part, _ in later)
        return
    found: set[tuple[int, int]] = set()
    size = -1
    while size != len(holders):
        size = len(holders)
        for place, part, statement in later:
            uses = [use for use in statement.uses if use.name in holders and not use.stores]
            if not uses:
                continue
            if any(not use.later for use in uses):
                found.add((place, part))
            if any(use.later or not (use.called and use.name in direct) for use in uses):
                more = _holders(statement)
                only_called = all(use.called and use.name in direct for use in uses)
                if (
                    only_called
                    and isinstance(statement.node, ast.FunctionDef)
                    and not statement.leaks({name, *holders})
                ):
                    direct.add(statement.node.name)
                holders |= more
    yield from sorted(found)


def _holders(statement: Statement) -> set[str]:
    """Return the names that may hold the functions of a statement, after it."""
    if bound := statement.bound():
        return bound
    loads = {use.name for use in statement.uses if not use.stores and not use.later}
    return {name for name in loads if name not in PREDEFINED}


def _edges(
    book: _Book, binders: Mapping[str, Sequence[int]], forward: Iterable[tuple[int, int]]
) -> list[set[int]]:
    """Return for each cell those that have to be executed before it."""
    edges: list[set[int]] = [set() for _ in book.drafts]
    for cell, scopes in enumerate(book.scopes):
        for name in {use.name for use in scopes.uses if not use.stores} & binders.keys():
            edges[cell].add(max((one for one in binders[name] if one <= cell), default=cell))
        edges[cell].discard(cell)
    for cell, later in forward:
        edges[cell].add(later)
    return edges


def _out_of_order(
    book: _Book, binders: Mapping[str, Sequence[int]], forward: Mapping[tuple[int, int], str]
) -> tuple[int, int, str] | None:
    """Return cells to merge if marimo would execute the cells in another order."""
    early = {(cell, later): name for cell, later, name in _early(book, binders)}
    forward = {**early, **forward}
    if not forward:
        return None
    edges = _edges(book, binders, forward)
    waiting = {cell: len(before) for cell, before in enumerate(edges)}
    ready = [cell for cell, number in waiting.items() if not number]
    order = []
    while ready:
        order.append(cell := heapq.heappop(ready))
        for after, before in enumerate(edges):
            if cell in before:
                waiting[after] -= 1
                if not waiting[after]:
                    heapq.heappush(ready, after)
    acting = [
        cell
        for cell in order
        if not all(statement.is_pure for statement in book.scopes[cell].statements)
    ]
    # What reads a name too early was not executed in the order of the cells.
    if len(order) == len(edges) and (early or acting == sorted(acting)):
        return None
    (cell, later), name = min(forward.items(), key=lambda edge: edge[0][0] not in acting)
    return cell, later, f"a function reads `{name}`, which a later cell defines"


def _merged(drafts: Sequence[Draft], reason: str) -> Draft:
    """Return one cell in the place of several; Markdown between them comes first."""
    codes = [draft for draft in drafts if not draft.is_text]
    result = Draft([], [], ())
    shown = [(draft, _last_shown(draft)) for draft in codes]
    several = any(node for _, node in shown[:-1])
    for draft, node in shown:
        if node and several:
            _show(draft, node)
    for draft in drafts:
        if result.lines:
            result.lines.append("")
            result.origins.append(ADDED)
        result.lines += draft.lines
        result.origins += draft.origins
        result.cells += draft.cells
        result.remarks += draft.remarks
        result.needs |= draft.needs
        result.name = INPUTS if INPUTS in (draft.name, result.name) else "_"
    numbers = ", ".join(map(str, result.cells))
    message = f"cells {numbers} are one cell: {reason}"
    result.remarks.append(Remark(result.cells[0], None, "converted", "merged", message))
    return result


def _last_shown(draft: Draft) -> ast.Expr | None:
    """Return the last expression of a cell if Jupyter shows its value."""
    body = draft.parse().body
    last = body[-1] if body else None
    if not isinstance(last, ast.Expr) or draft.code.split("#")[0].rstrip().endswith(";"):
        return None
    value = last.value
    if isinstance(value, ast.Call):
        function = value.func
        name = getattr(function, "id", getattr(function, "attr", ""))
        if name in SILENT:
            return None
    return last


def _show(draft: Draft, node: ast.Expr) -> None:
    """Show the value of an expression that is not the last of its cell anymore."""
    first, last = node.lineno - 1, (node.end_lineno or 0) - 1
    start = len(draft.lines[first].encode()[: node.col_offset].decode())
    end = len(draft.lines[last].encode()[: node.end_col_offset].decode())
    draft.lines[last] = f"{draft.lines[last][:end]}){draft.lines[last][end:]}"
    draft.lines[first] = (
        f"{draft.lines[first][:start]}mo.output.append({draft.lines[first][start:]}"
    )
    message = "is shown with mo.output.append, since its cell goes on"
    draft.remark(first, "converted", "merged", message, last=last)


def _without_repeated_imports(drafts: Sequence[Draft]) -> list[Draft]:
    """Leave out an import that an upper cell has, unless its name is bound in another way."""
    book = _Book([*drafts])
    ways: dict[str, set[str]] = {}
    for scopes in book.scopes:
        for statement in scopes.statements:
            imported = _imported(statement.node)
            for name in {use.name for use in statement.uses if use.stores}:
                ways.setdefault(name, set()).add(imported.get(name, f"at {id(statement)}"))
    seen: set[str] = set()
    kept = []
    for draft, scopes in zip(book.drafts, book.scopes, strict=True):
        own: set[str] = set()
        gone: list[ast.stmt] = []
        for statement in scopes.statements:
            imported = _imported(statement.node)
            alone = draft.lines[statement.node.lineno - 1 : statement.node.end_lineno]
            repeated = imported and all(len(ways[name]) == 1 and name in seen for name in imported)
            if repeated and ast.unparse(statement.node) == " ".join(alone):
                gone.append(statement.node)
            own |= imported.keys()
        seen |= own
        for node in reversed(gone):
            first, last = node.lineno - 1, (node.end_lineno or 0) - 1
            loads = [alias.name for alias in node.names if _is_nested(node, alias)]  # type: ignore[attr-defined]
            message = "is imported by an upper cell"
            draft.remark(first, "converted" if loads else "dropped", "import", message, last=last)
            draft.replace(first, last, [f"import {name} as _" for name in loads])
        if gone and not draft.code.strip():
            draft.is_text, draft.hidden = True, True
            kept.append(draft)  # its remarks stay; the cell itself is left out at the end
        else:
            kept.append(draft)
    return kept


def _is_nested(node: ast.stmt, alias: ast.alias) -> bool:
    return isinstance(node, ast.Import) and "." in alias.name and not alias.asname


def _imported(node: ast.stmt) -> dict[str, str]:
    """Return for each name that an import statement binds what it is."""
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.partition(".")[0]: alias.name
            if alias.asname
            else alias.name.partition(".")[0]
            for alias in node.names
        }
    if isinstance(node, ast.ImportFrom):
        module = f"{'.' * node.level}{node.module or ''}"
        names = {a.asname or a.name: f"{module}:{a.name}" for a in node.names}
        return {} if "*" in names else names
    return {}


@dataclass
class _Version:
    """What one cell makes of a name; `copies` if the cell starts from the value of before."""

    cell: int
    copies: bool = False
    read_elsewhere: bool = False
    name: str = ""


class _Naming:
    """Gives each version of a name its own."""

    def __init__(self, book: _Book, reserved: set[str]) -> None:
        self._book = book
        self._binders = book.binders()
        every = {use.name for scopes in book.scopes for use in scopes.uses}
        self._taken = every | reserved | PREDEFINED
        self._reserved = reserved
        self._versions: dict[str, list[_Version]] = {}

    def apply(self) -> dict[str, str]:
        """Replace the names in the cells, and return the last name of each global."""
        for name in self._binders:
            self._versions[name] = self._list(name)
        for name, versions in self._versions.items():
            self._name(name, versions)
        for cell, scopes in enumerate(self._book.scopes):
            self._replace(cell, scopes)
        return {
            name: versions[-1].name
            for name, versions in self._versions.items()
            if not versions[-1].name.startswith("_") or versions[-1].name.startswith("__")
        }

    def _list(self, name: str) -> list[_Version]:
        binders = self._binders[name]
        first = self._book.scopes[binders[0]]
        kept = any(name in scopes.fixed for scopes in self._book.scopes)
        is_value = not any(
            isinstance(statement.node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))
            for statement in first.statements
            if name in statement.bound()
        )
        versions: list[_Version] = []
        for cell, scopes in enumerate(self._book.scopes):
            if cell in binders:
                gone = not versions or self._is_gone(self._book.scopes[versions[-1].cell], name)
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
        for cell, scopes in enumerate(self._book.scopes):
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
        for scopes in self._book.scopes[cell + 1 :]:
            if any(use.name == name and not use.stores for use in scopes.uses):
                return True
            if name in scopes.bound():
                return not self._starts_fresh(scopes, name)
        return False

    def _version(self, versions: Sequence[_Version], cell: int, number: int, use: Use) -> _Version:
        """Return the version that a place means."""
        now = [version for version in versions if version.cell <= cell]
        if use.later:
            binders = self._binders[use.name]
            (seen,) = _seen(self._book, cell, number, use.name, binders) or {cell}
            if seen > cell:
                return next(version for version in versions if version.cell == seen)
        return now[-1] if now else versions[0]

    def _first(self, scopes: Scopes, name: str) -> Statement | None:
        return next((s for s in scopes.statements if any(u.name == name for u in s.uses)), None)

    def _starts_fresh(self, scopes: Scopes, name: str) -> bool:
        """Whether a cell binds a name before it can read the value of before."""
        statement = self._first(scopes, name)
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
            cell = self._book.scopes.index(scopes)
            return inside and not used and not self._is_read_after(name, cell)
        return False

    @staticmethod
    def _is_gone(scopes: Scopes, name: str) -> bool:
        """Whether a cell ends without a value for a name that it had."""
        last = [s for s in scopes.statements if name in s.bound()][-1:]
        return _only_caught(scopes, name) or any(isinstance(s.node, ast.Delete) for s in last)

    def _reads_before(self, cell: int, name: str) -> bool:
        """Whether a cell that binds a name reads its value of before in its first statement."""
        statement = self._first(self._book.scopes[cell], name)
        return statement is not None and any(
            use.name == name and not use.stores and self._is_before(statement, use)
            for use in statement.uses
        )

    @staticmethod
    def _is_before(statement: Statement, use: Use) -> bool:
        return isinstance(statement.node, ast.Assign) and not use.later

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
            public |= self._book.drafts[version.cell].name == INPUTS
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
        draft = self._book.drafts[cell]
        edits: list[tuple[tuple[int, int], tuple[int, int], str]] = []
        texts: dict[int, tuple[ast.JoinedStr, dict[str, str]]] = {}
        said: dict[str, str] = {}
        starts: list[str] = []
        for name in sorted({use.name for use in scopes.uses} & self._versions.keys()):
            versions = self._versions[name]
            own = next((version for version in versions if version.cell == cell), None)
            before = [version for version in versions if version.cell < cell]
            if own and own.copies and before:
                starts.append(f"{own.name} = {before[-1].name}")
            first = self._first(scopes, name)
            for number, statement in enumerate(scopes.statements):
                for use in statement.uses:
                    if use.name != name:
                        continue
                    if use.stores and own:
                        new = own.name
                    elif (
                        own and before and not own.copies and statement is first
                        and self._is_before(statement, use)
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
        self._edit(draft, edits, said)
        if starts:
            draft.lines[:0] = starts
            draft.origins[:0] = [ADDED] * len(starts)

    @staticmethod
    def _edit(
        draft: Draft,
        edits: Iterable[tuple[tuple[int, int], tuple[int, int], str]],
        said: Mapping[str, str],
    ) -> None:
        message = ", ".join(f"`{old}` is `{new}`" for old, new in said.items()) + " in this cell"
        remarked = set()
        for (first, start), (last, end), text in sorted(edits, reverse=True):
            if draft.origins[first] != ADDED and (first, last) not in remarked:
                draft.remark(first, "converted", RULE, message, last=last)
                remarked.add((first, last))
            line = draft.lines[first][:start] + text + draft.lines[last][end:]
            draft.lines[first : last + 1] = [line]
            draft.origins[first : last + 1] = [draft.origins[first]]


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


def _rewritten(
    draft: Draft, node: ast.JoinedStr, names: Mapping[str, str]
) -> tuple[tuple[int, int], tuple[int, int], str]:
    """Return the edit that writes an f-string again with other names."""
    places = ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
    start, end = (
        (line - 1, len(draft.lines[line - 1].encode()[:column].decode())) for line, column in places
    )
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in names:
            part.id = names[part.id]
    return start, end, ast.unparse(node)


def undefined(drafts: Sequence[Draft], known: Iterable[str]) -> Iterator[tuple[Draft, int, str]]:
    """Yield each name that a cell reads and no cell defines, with its draft and line."""
    book = _Book([*drafts])
    defined = PREDEFINED.union(known, book.binders())
    for draft, scopes in zip(book.drafts, book.scopes, strict=True):
        seen = set()
        for use in scopes.uses:
            if not use.stores and use.name not in defined and use.name not in seen:
                seen.add(use.name)
                yield draft, use.start[0], use.name
