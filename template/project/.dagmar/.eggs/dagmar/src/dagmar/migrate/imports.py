"""The imports of the cells: where names are from, and imports to leave out or to write out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence

from dagmar.migrate.dataflow import Dataflow
from dagmar.migrate.draft import Draft, span
from dagmar.migrate.scopes import read_scopes
from dagmar.notebook.cells import PREDEFINED

HISTORY = re.compile(r"_{1,3}|_i{1,3}|_i?\d+|In|Out|_[ido]h|get_ipython")


def imported(node: ast.AST) -> dict[str, str]:
    """Return for each name that an import statement binds where it is from."""
    if isinstance(node, ast.Import):
        names = [(alias.asname, alias.name, alias.name.partition(".")[0]) for alias in node.names]
        return {asname or top: name if asname else top for asname, name, top in names}
    if isinstance(node, ast.ImportFrom):
        module = f"{'.' * node.level}{node.module or ''}"
        named = [alias for alias in node.names if alias.name != "*"]
        return {alias.asname or alias.name: f"{module}.{alias.name}" for alias in named}
    return {}


def leave_out_repeated(drafts: Sequence[Draft]) -> None:
    """Leave out an import that an upper cell has, unless its name is bound in another way.

    A cell that is then empty is a text; its remarks stay.
    """
    flow = Dataflow([*drafts])
    ways: dict[str, set[str]] = {}
    for scopes in flow.scopes:
        for statement in scopes.statements:
            origins = imported(statement.node)
            for name in {use.name for use in statement.uses if use.stores}:
                ways.setdefault(name, set()).add(origins.get(name, f"at {id(statement)}"))
    seen: set[str] = set()
    for draft, scopes in zip(drafts, flow.scopes, strict=True):
        own: set[str] = set()
        gone: list[ast.stmt] = []
        for statement in scopes.statements:
            origins = imported(statement.node)
            alone = draft.lines[statement.node.lineno - 1 : statement.node.end_lineno]
            repeated = origins and all(len(ways[name]) == 1 and name in seen for name in origins)
            if repeated and ast.unparse(statement.node) == " ".join(alone):
                gone.append(statement.node)
            own |= origins.keys()
        seen |= own
        for node in reversed(gone):
            first, last = span(node)
            loads = [alias.name for alias in node.names if _is_nested(node, alias)]  # type: ignore[attr-defined]
            message = "is imported by an upper cell"
            draft.remark(first, "converted" if loads else "dropped", "import", message, last=last)
            draft.replace(first, last, [f"import {name} as _" for name in loads])
        if gone and not draft.code.strip():
            draft.is_text, draft.hidden = True, True


def _is_nested(node: ast.stmt, alias: ast.alias) -> bool:
    return isinstance(node, ast.Import) and "." in alias.name and not alias.asname


def star_imports(drafts: Sequence[Draft], known: Iterable[str]) -> None:
    """Write out the names of `from x import *`, which marimo does not allow.

    They are the names that no cell binds, if there is one such import.
    """
    codes = [draft for draft in drafts if not draft.is_text]
    scopes = [read_scopes(draft.code) for draft in codes]
    defined = {*PREDEFINED, *known}.union(*(each.bound() for each in scopes))
    missing = {use.name for each in scopes for use in each.uses if not use.stores} - defined
    stars = [
        (draft, statement.node)
        for draft, each in zip(codes, scopes, strict=True)
        for statement in each.statements
        for node in ast.walk(statement.node)
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
    ]
    for draft, node in reversed(stars):
        first, last = span(node)
        names = ", ".join(sorted(missing))
        if len(stars) > 1 or not isinstance(node, ast.ImportFrom) or first != last:
            message, todo = "marimo does not allow `import *`", "Name what is imported."
            draft.remark(first, "by hand", "import *", message, todo, last)
            draft.lines[first : last + 1] = [f"# {x}" for x in draft.lines[first : last + 1]]
            continue
        new = [f"from {'.' * node.level}{node.module or ''} import {names}"] if names else []
        draft.remark(first, "converted", "import *", f"names what is used: {names or 'nothing'}")
        draft.replace(first, last, new)
    if stars and len(stars) == 1:
        return
    for draft, each in zip(codes, scopes, strict=True):
        for name in sorted({use.name for use in each.uses if not use.stores} - defined):
            line = next(use.start[0] for use in each.uses if use.name == name)
            message = f"no cell defines `{name}`"
            if HISTORY.fullmatch(name):
                message = f"`{name}` is of Jupyter's kernel"
            draft.remark(line, "by hand", "undefined", message, "Define it, or remove its use.")
