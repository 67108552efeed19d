"""Cells that have to be one: what they do depends on the order of the text.

That is so if a function may see two values of a name, or if marimo would execute the cells in
another order. Cells without a dependency between them keep their order, since marimo executes the
upper one first.
"""

from __future__ import annotations

import ast
import contextlib
import heapq
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from dagmar.migrate.dataflow import Dataflow, latest
from dagmar.migrate.draft import ADDED, Draft, span
from dagmar.migrate.model import Remark
from dagmar.notebook.cells import INPUTS

SILENT = frozenset(
    ["print", "display", "show", "append", "extend", "add", "update", "write", "clear", "insert"]
)
"""Functions whose result nobody looks at."""


def merge_cells(drafts: Sequence[Draft]) -> Dataflow:
    """Return the cells, of which as few as possible are merged."""
    while conflict := _conflict(flow := Dataflow([*drafts])):
        first, last, reason = conflict
        drafts = [*drafts[:first], _merged(drafts[first : last + 1], reason), *drafts[last + 1 :]]
    return flow


def _conflict(flow: Dataflow) -> tuple[int, int, str] | None:
    """Return the first and last of the cells to merge, and why; None if there is nothing to do."""
    for name, cells in flow.binders.items():
        if len(cells) < 2:
            continue
        span = cells[0], cells[-1]
        uses = [use for cell in cells for use in flow.scopes[cell].uses]
        if any(use.stores and use.later and use.name == name for use in uses):
            return *span, f"a function assigns `{name}`"
        if any(name in scopes.fixed for scopes in flow.scopes):
            return *span, f"`{name}` cannot be given another name"
    forward: dict[tuple[int, int], str] = {}
    for cell, scopes in enumerate(flow.scopes):
        for number, statement in enumerate(scopes.statements):
            for name in sorted(statement.read(later=True) & flow.binders.keys()):
                cells = flow.binders[name]
                seen = flow.seen(cell, number, name)
                if len(seen) > 1:
                    reason = f"a function reads several values of `{name}`"
                    return min(*seen, cell), max(seen), reason
                if seen and (later := seen.pop()) > cell:
                    if cells[0] <= cell:
                        return cells[0], later, f"a function reads a later value of `{name}`"
                    forward[cell, later] = name
    return _out_of_order(flow, forward)


def _out_of_order(
    flow: Dataflow, forward: Mapping[tuple[int, int], str]
) -> tuple[int, int, str] | None:
    """Return cells to merge if marimo would execute the cells in another order."""
    early = {(cell, later): name for cell, later, name in flow.early()}
    forward = {**early, **forward}
    if not forward:
        return None
    edges: list[set[int]] = [set() for _ in flow.drafts]
    for cell, scopes in enumerate(flow.scopes):
        read = {use.name for use in scopes.uses if not use.stores} & flow.binders.keys()
        edges[cell] = {latest(flow.binders[name], cell) for name in read} - {-1, cell}
    for cell, later in forward:
        edges[cell].add(later)
    sorter = TopologicalSorter(dict(enumerate(edges)))
    with contextlib.suppress(CycleError):  # then those of a circle are not in the order
        sorter.prepare()
    order: list[int] = []
    ready = sorted(sorter.get_ready())
    while ready:
        order.append(cell := heapq.heappop(ready))
        sorter.done(cell)
        for after in sorter.get_ready():
            heapq.heappush(ready, after)
    acting = [
        cell
        for cell in order
        if not all(statement.is_pure for statement in flow.scopes[cell].statements)
    ]
    # What reads a name too early was not executed in the order of the cells.
    if len(order) == len(edges) and (early or acting == sorted(acting)):
        return None
    (cell, later), name = min(forward.items(), key=lambda edge: edge[0][0] not in acting)
    return cell, later, f"a function reads `{name}`, which a later cell defines"


def _merged(drafts: Sequence[Draft], reason: str) -> Draft:
    """Return one cell in the place of several; Markdown between them comes first."""
    result = Draft([], [], ())
    shown = [(draft, _last_shown(draft)) for draft in drafts if not draft.is_text]
    if any(node for _, node in shown[:-1]):
        for draft, node in shown:
            if node:
                draft.wrap(node, "mo.output.append")
                message = "is shown with mo.output.append, since its cell goes on"
                first, last = span(node)
                draft.remark(first, "converted", "merged", message, last=last)
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
