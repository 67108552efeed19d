"""Which cell gives a name the value that another one reads, at once or in a function.

What may hold a function is followed by its name from assignment to assignment.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dagmar.migrate.draft import Draft
from dagmar.migrate.scopes import Scopes, Statement, read_scopes
from dagmar.notebook.cells import PREDEFINED


@dataclass
class Dataflow:
    """The cells of a notebook, what each does with globals, and the cells that bind each name."""

    drafts: list[Draft]
    scopes: list[Scopes] = field(init=False)
    binders: Mapping[str, Sequence[int]] = field(init=False)

    def __post_init__(self) -> None:
        """Read the cells. Raises SyntaxError."""
        self.scopes = [
            Scopes() if draft.is_text else read_scopes(draft.code) for draft in self.drafts
        ]
        binders: dict[str, list[int]] = {}
        for number, scopes in enumerate(self.scopes):
            for name in sorted(scopes.bound()):
                binders.setdefault(name, []).append(number)
        self.binders = binders

    def early(self) -> Iterator[tuple[int, int, str]]:
        """Yield each cell that reads a name at once, the later one that binds it, and the name."""
        for cell, scopes in enumerate(self.scopes):
            read = set().union(*(statement.read(later=False) for statement in scopes.statements))
            for name in sorted(read & self.binders.keys()):
                if self.binders[name][0] > cell:
                    yield cell, self.binders[name][0], name

    def seen(self, cell: int, number: int, name: str) -> set[int]:
        """Return the cells whose value of a name may be read by a function of a statement."""
        cells = self.binders[name]
        now = latest(cells, cell)
        if cells[-1] <= cell:
            return {now}
        seen = set()
        for place, part in self._executed(cell, number, name):
            known = latest(cells, place)
            if known == place and place != cell:
                statements = enumerate(self.scopes[place].statements)
                bound = [i for i, statement in statements if name in statement.bound()]
                if bound and part < bound[0]:
                    known = latest(cells, place - 1)
                elif bound and part <= bound[-1]:
                    seen.add(latest(cells, place - 1))
            seen.add(known)
        seen.discard(-1)
        return seen or {now if now >= 0 else cells[0]}

    def _executed(self, cell: int, number: int, name: str) -> Iterator[tuple[int, int]]:
        """Yield the cell and the statement of each place where code of a statement may run."""
        start = self.scopes[cell].statements[number]
        holders = _holders(start)
        direct = start.reading_at_once({name, *holders})
        later = [
            (place, part, statement)
            for place in range(cell, len(self.scopes))
            for part, statement in enumerate(self.scopes[place].statements)
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
                if any(not use.later for use in uses):
                    found.add((place, part))
                only_called = all(use.called and use.name in direct for use in uses)
                if not only_called or any(use.later for use in uses):
                    if only_called:
                        direct |= statement.reading_at_once({name, *holders})
                    holders |= _holders(statement)
        yield from sorted(found)


def latest(cells: Sequence[int], last: int) -> int:
    """Return the last of these cells, which are in order, up to `last`; -1 if there is none."""
    number = bisect_right(cells, last)
    return cells[number - 1] if number else -1


def _holders(statement: Statement) -> set[str]:
    """Return the names that may hold the functions of a statement, after it."""
    if bound := statement.bound():
        return bound
    loads = {use.name for use in statement.uses if not use.stores and not use.later}
    return loads - PREDEFINED
