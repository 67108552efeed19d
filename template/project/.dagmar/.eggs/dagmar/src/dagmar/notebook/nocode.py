"""What a report without code keeps: what cells show, and which cell failed with which exception.

Printed output and tracebacks go; a message stays unless it quotes the code.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from dagmar.failure import Failure

LEFT_OUT = "the message is left out: it quotes the code"
QUOTED = re.compile(r"""(["'`])(.+?)\1""")
CALLED = re.compile(r"\b(\w+)\(")
SHORTEST = 6
"""Shorter parts of a line, such as `x = 1`, are not searched for in messages."""
NOT_IN_SCRIPTS = {ord(sign): f"\\u{ord(sign):04X}" for sign in "<>&"}
ERROR_IN_PAGE = re.compile(r'"(evalue|traceback)": ("(?:[^"\\]|\\.)*"|\[[^\]]*\])')


class Code:
    """The code of a notebook, which the message of an exception may quote.

    `cells` are the names of its cells, in their order.
    """

    def __init__(self, text: str, cells: Sequence[str] = ()) -> None:
        self._cells = list(cells)
        self._names: set[str] = set()
        self._texts: set[str] = set()
        self._parts = {_plain(line) for line in text.splitlines()}
        try:
            tree: ast.Module | None = ast.parse(text)
        except (SyntaxError, ValueError):
            tree = None
        self._readable = tree is not None
        if tree is not None:
            self._read(tree)

    def _read(self, tree: ast.Module) -> None:
        own = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
        own += [node.msg for node in ast.walk(tree) if isinstance(node, ast.Assert) and node.msg]
        messages = {id(part) for message in own for part in ast.walk(message)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) not in messages:
                    self._texts.add(node.value)
                    self._parts.update(map(_plain, node.value.splitlines()))
                continue
            for field in ("id", "attr", "arg", "name", "asname"):
                if isinstance(name := getattr(node, field, None), str):
                    self._names.add(name.partition(".")[0])

    def is_quoted_in(self, message: str) -> bool:
        """Whether a message has a line of the code, or quotes a text or a name of it."""
        quoted = {text for _, text in QUOTED.findall(message)}
        names = {text.partition(".")[0] for text in quoted} | set(CALLED.findall(message))
        plain = _plain(message)
        lines = (part for part in self._parts if len(part) >= SHORTEST and " " in part)
        return (
            not self._readable
            or not self._names.isdisjoint(names)
            or not self._texts.isdisjoint(quoted)
            or any(line in plain for line in lines)
        )

    def conceal_message(self, message: str) -> str:
        """Return the first line of a message, or LEFT_OUT if it quotes the code."""
        first = next(filter(None, map(str.strip, message.splitlines())), "")
        return LEFT_OUT if self.is_quoted_in(first) else first

    def conceal(self, failure: Failure) -> Failure:
        """Return a failure without its traceback, with the number of its cell for the name."""
        place = failure.place
        if place in self._cells:
            place = f"cell {self._cells.index(place) + 1}"
        message = self.conceal_message(failure.message)
        return replace(failure, message=message, traceback=None, place=place)

    def conceal_errors(self, outputs: list[dict[str, Any]], kind: str | None = None) -> None:
        """Conceal the errors among the outputs of a cell: a Jupyter notebook's, or a page's.

        `kind` is the class of the exception if the outputs do not have it.
        """
        for output in outputs:
            if "evalue" in output:
                message = Failure(self.conceal_message(output["evalue"]), kind).text
                output.update(evalue=message, traceback=[])

    def conceal_notebook(self, notebook: dict[str, Any], shown: Collection[str]) -> None:
        """Leave in a Jupyter notebook (format 4) what its cells show, and nothing else.

        `shown` are the ids of the cells that show something: the text of another one is its code.
        """
        notebook["metadata"].get("marimo", {}).pop("header", None)
        cells = notebook["cells"]
        cells[:] = [each for each in cells if each["cell_type"] == "code" or each["id"] in shown]
        for cell in cells:
            cell["metadata"].get("marimo", {}).pop("name", None)
            if cell["cell_type"] != "code":
                continue
            outputs = [out for out in cell["outputs"] if out["output_type"] != "stream"]
            self.conceal_errors(outputs)
            cell.update(source="", outputs=outputs)
            tags = cell["metadata"].setdefault("tags", [])
            if "remove-input" not in tags:
                tags.append("remove-input")

    def conceal_page(self, html: str) -> str:
        """Conceal the errors in a page that marimo's own command wrote without code."""

        def conceal(match: re.Match[str]) -> str:
            value: Any = []
            if match[1] == "evalue":
                value = self.conceal_message(json.loads(match[2]))
            # It is in a script element, which a message must not be able to end.
            return f'"{match[1]}": {json.dumps(value)}'.translate(NOT_IN_SCRIPTS)

        return ERROR_IN_PAGE.sub(conceal, html)


def _plain(text: str) -> str:
    return " ".join(text.split())
