"""A cell on its way from Jupyter to marimo."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dagmar.migrate.model import Level, Remark, SourceCell

Node = ast.expr | ast.stmt
Origin = tuple[int, int]
"""The cell and the line that a line is from; (0, 0) for one that was added."""
ADDED: Origin = (0, 0)


@dataclass
class Draft:
    """A cell of the result: its lines, where each is from, and what was remarked.

    `needs` are the names of the helpers that it calls; see `helpers.py`.
    """

    lines: list[str]
    origins: list[Origin]
    cells: tuple[int, ...]
    name: str = "_"
    hidden: bool = False
    is_text: bool = False
    remarks: list[Remark] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, cell: SourceCell) -> Draft:
        """Return a draft with the lines of a cell as they are."""
        lines = cell.lines
        origins = [(cell.number, number) for number in range(1, len(lines) + 1)]
        return cls(lines, origins, (cell.number,))

    @classmethod
    def text_of(cls, cell: SourceCell, code: str) -> Draft:
        """Return a draft that shows text, with this code."""
        lines = code.split("\n")
        draft = cls(lines, [ADDED] * len(lines), (cell.number,), hidden=True)
        draft.is_text = True
        return draft

    @property
    def code(self) -> str:
        """The code of the cell."""
        return "\n".join(self.lines)

    def parse(self) -> ast.Module:
        """Return the syntax of the code. Raises SyntaxError."""
        return parse(self.code)

    def replace(self, first: int, last: int, new: Sequence[str]) -> None:
        """Put other lines in the place of those from `first` to `last`, counted from 0."""
        origin = self.origins[first] if first < len(self.origins) else ADDED
        self.lines[first : last + 1] = new
        self.origins[first : last + 1] = [origin] * len(new)

    def around(self, node: Node) -> tuple[str, str]:
        """Return what is before a node in its first line, and after it in its last."""
        first, last = (self.lines[number].encode() for number in span(node))
        return first[: node.col_offset].decode(), last[node.end_col_offset :].decode()

    def exchange(self, node: ast.expr, new: str, rule: str, message: str) -> None:
        """Write other code in the place of an expression."""
        first, last = span(node)
        if ast.unparse(node) == new:
            return
        before, after = self.around(node)
        self.remark(first, "converted", rule, message, last=last)
        self.replace(first, last, [before + new + after])

    def wrap(self, node: Node, function: str) -> None:
        """Write a call of a function around a node."""
        first, last = span(node)
        before, after = self.around(node)
        self.lines[last] = f"{self.lines[last].removesuffix(after)}){after}"
        self.lines[first] = f"{before}{function}({self.lines[first].removeprefix(before)}"

    def remark(
        self,
        line: int | None,
        level: Level,
        rule: str,
        message: str,
        todo: str = "",
        last: int | None = None,
    ) -> None:
        """Add a remark on lines of the code, counted from 0; None is the whole cell."""
        cell, start = self.origins[line] if line is not None else (self.cells[0], None)
        end = self.origins[last][1] if last is not None else None
        self.remarks.append(Remark(cell, start, level, rule, message, todo, end))

    def comment_out(self, reason: str, rule: str, todo: str) -> None:
        """Keep the whole cell as text, marked."""
        self.lines = [f"# Not converted: {reason}", *(commented(line) for line in self.lines)]
        self.origins = [ADDED, *self.origins]
        self.needs.clear()
        self.remarks = [Remark(self.cells[0], None, "by hand", rule, reason, todo)]


def span(node: Node) -> tuple[int, int]:
    """Return the first and the last line of a node, counted from 0."""
    return node.lineno - 1, (node.end_lineno or 0) - 1


def parse(code: str) -> ast.Module:
    """Return the syntax of code, in which `await` may be outside of functions.

    Raises SyntaxError.
    """
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's warnings about the user's code
        try:
            tree = compile(code, "cell", "exec", flags, dont_inherit=True)
            # Such as `return` outside of a function: syntax that only the compiler refuses.
            compile(tree, "cell", "exec", flags & ~ast.PyCF_ONLY_AST, dont_inherit=True)
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxError(str(error)) from None
    assert isinstance(tree, ast.Module)
    return tree


def walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a syntax tree, but those in f-strings, whose places may be wrong."""
    yield tree
    if not isinstance(tree, ast.JoinedStr):
        for node in ast.iter_child_nodes(tree):
            yield from walk(node)


def commented(line: str) -> str:
    """Return a line as a comment; what ends a line for an editor is left out."""
    line = re.sub(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]", "�", line)
    return f"# {line}".rstrip()
