"""What a notebook reads from its command line, by its syntax: `mo.cli_args`, argparse, `sys.argv`.

`marimo run notebook.py -- --region US` passes options to it, and so does `--param region=US`.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagmar import scalars
from dagmar.errors import Invalid
from dagmar.notebook.cells import PARTITION, Source, literal
from dagmar.notebook.inputs import targets

PARSE = ("parse_args", "parse_known_args", "parse_intermixed_args", "parse_known_intermixed_args")
DECLARE = ("add_argument", "add_option", "option")
PARSERS = ("ArgumentParser", "OptionParser", "command")
"""What makes a parser of argparse, optparse and click."""
SWITCHES = ("store_true", "store_false", "store_const", "append_const")
# Libraries that read the command line in ways of which the syntax does not tell.
OTHERS = frozenset({"absl", "configargparse", "docopt", "fire", "jsonargparse", "typer", "tyro"})


@dataclass(frozen=True)
class Option:
    """One option of a notebook. `flag` is empty for what is given by its position.

    `names` are those that a parameter may have; `action` and `many` are as in argparse.
    """

    flag: str
    names: tuple[str, ...]
    action: str = "store"
    many: bool = False

    def arguments(self, name: str, text: str) -> list[str]:
        """Return the arguments for a value. Raises Invalid for one that it cannot have."""
        if self.action == "count":
            return [self.flag] * max(_read(scalars.as_int, name, text, "a whole number"), 0)
        if self.action in SWITCHES or self.action == "BooleanOptionalAction":
            if _read(scalars.as_bool, name, text, "true or false"):
                return [self.flag]
            return [] if self.action in SWITCHES else [f"--no-{self.flag.lstrip('-')}"]
        if self.many and text.startswith("["):
            values = [str(value) for value in _read(scalars.parse, name, text, "a list")]
            return [self.flag, *values] if self.flag else values
        return _pair(self.flag, text) if self.flag else [text]


@dataclass(frozen=True)
class CommandLine:
    """What a notebook reads from its command line.

    `is_open` is whether it may read other names, too; `strict` is whether it fails on any other.
    `readers` are the variables that hold what was read.
    """

    options: tuple[Option, ...] = ()
    is_open: bool = False
    strict: bool = False
    readers: frozenset[str] = field(default_factory=frozenset)

    @property
    def names(self) -> set[str]:
        """The names of its options."""
        return {name for option in self.options for name in option.names}

    def option(self, name: str) -> Option | None:
        """Return the option of a name; `-` and `_` are alike."""
        for alike in (str, _alike):
            for option in self.options:
                if alike(name) in map(alike, option.names):
                    return option
        return None

    def takes(self, name: str) -> bool:
        """Whether it has, or may have, an option of this name."""
        return self.is_open or self.option(name) is not None

    def arguments(self, texts: Mapping[str, str]) -> list[str]:
        """Return the arguments that give these values. Raises Invalid for one that it refuses."""
        named: list[str] = []
        placed: dict[Option, list[str]] = {}
        for name, text in texts.items():
            if (option := self.option(name)) is not None:
                values = option.arguments(name, text)
                if option.flag:
                    named += values
                else:
                    placed[option] = values
            elif self.is_open or not self.strict:
                named += _pair(f"--{name}", text)
        # An option that takes many values would take them, too.
        return [*self._in_order(placed), *named]

    def _in_order(self, placed: Mapping[Option, list[str]]) -> Iterator[str]:
        left = len(placed)
        for option in self.options:
            if not option.flag and left:
                if option not in placed:
                    message = f"the parameter '{option.names[0]}' is missing"
                    raise Invalid(
                        message, "Give it too: the parameters after it are known by their position."
                    )
                left -= 1
                yield from placed[option]

    def reads(self, value: ast.expr | None, name: str) -> bool:
        """Whether an expression takes its value from the command line."""
        for node in ast.walk(value) if value is not None else ():
            if isinstance(node, ast.Name) and node.id in self.readers:
                return True
            if isinstance(node, ast.Call):
                called = _last(node.func)
                if called in ("cli_args", *PARSE) or called == name == PARTITION:
                    return True
        return False


def read_command_line(source: Source) -> CommandLine:
    """Return what a notebook reads from its command line. Nothing is run."""
    return _Reader(source.tree).read()


def refusal(error: SystemExit) -> str:
    """Return why argparse has refused the command line; empty if it is not argparse that exits."""
    message, refused = "", False
    trace = error.__traceback__
    while trace is not None:
        code, names = trace.tb_frame.f_code, trace.tb_frame.f_locals
        if code.co_filename == argparse.__file__:
            # What it does not know is left in `argv`.
            read, left = sys.argv[1:], names.get("argv")
            refused = refused or names.get("args") == read or bool(left and set(left) <= set(read))
            if code.co_name == "error":
                message = str(names["message"])
        trace = trace.tb_next
    return message if refused else ""


class _Reader:
    """Reads the syntax of one notebook."""

    def __init__(self, tree: ast.Module) -> None:
        nodes = list(ast.walk(tree))
        self.parents = {child: node for node in nodes for child in ast.iter_child_nodes(node)}
        self.calls = [node for node in nodes if isinstance(node, ast.Call)]
        self.names = [node for node in nodes if isinstance(node, ast.Name)]
        self.argv = [node for node in nodes if _is_argv(node)]
        self.imported = {name for node in nodes for name in _imports(node)}

    def read(self) -> CommandLine:
        asked = [call for call in self.calls if _last(call.func) == "cli_args"]
        keys = [self._keys(call) for call in asked]
        options = [
            Option(f"--{key}", (key,)) for key in sorted({k for ks in keys for k in ks or ()})
        ]
        if any(_last(call.func) == PARTITION for call in self.calls):
            options.append(Option(f"--{PARTITION}", (PARTITION,)))
        is_open = None in keys or bool(self.imported & OTHERS) or any(map(self._is_read, self.argv))
        parsed = [call for call in self.calls if _last(call.func) in PARSE and self._reads(call)]
        clicked = "click" in self.imported and self._declares(("command",))
        if parsed or clicked:
            declared = [call for call in self.calls if _last(call.func) in DECLARE]
            known = [_option(call) for call in declared]
            options += [option for option in known if option]
            # A parser from elsewhere may have any options.
            is_open = is_open or None in known or not self._declares(PARSERS)
        strict = clicked or any("known" not in _last(call.func) for call in parsed)
        readers = {name for call in (*asked, *parsed) for name in self._assigned(call)}
        return CommandLine(tuple(options), is_open, strict, frozenset(readers))

    def _declares(self, names: tuple[str, ...]) -> bool:
        return any(
            _last(call.func) in names and not any(word.arg == "parents" for word in call.keywords)
            for call in self.calls
        )

    def _reads(self, call: ast.Call) -> bool:
        """Whether a parser is called without arguments of the notebook's own."""
        given = [*call.args[:1], *(word.value for word in call.keywords if word.arg == "args")]
        return all(
            any(_is_argv(node) for node in ast.walk(value))
            or not isinstance(value, (ast.List, ast.Tuple, ast.Call))
            for value in given
        )

    def _is_read(self, argv: ast.AST) -> bool:
        """Whether `sys.argv` is used, other than to find the notebook or for a parser."""
        parent = self.parents.get(argv)
        if isinstance(parent, ast.Subscript):
            if isinstance(parent.slice, ast.Constant) and parent.slice.value == 0:
                return False
            parent = self.parents.get(parent)
        return not (isinstance(parent, ast.Call) and _last(parent.func) in PARSE)

    def _keys(self, held: ast.AST) -> set[str] | None:
        """Return the names that are read from a mapping; None if they cannot be known."""
        parent = self.parents.get(held)
        key: ast.expr | None = None
        if isinstance(parent, ast.Attribute) and parent.attr == "get":
            call = self.parents.get(parent)
            key = call.args[0] if isinstance(call, ast.Call) and call.args else None
        elif isinstance(parent, ast.Subscript):
            key = parent.slice
        elif isinstance(parent, ast.Compare) and isinstance(parent.ops[0], (ast.In, ast.NotIn)):
            key = parent.left
        elif isinstance(parent, (ast.Return, ast.Tuple)) and isinstance(held, ast.Name):
            return set()  # for the other cells, which use it by its name
        elif isinstance(parent, ast.Assign) and isinstance(held, ast.Call):
            found = [
                self._keys(name)
                for variable in self._assigned(held)
                for name in self.names
                if name.id == variable and isinstance(name.ctx, ast.Load)
            ]
            return None if None in found else {key for keys in found for key in keys or ()}
        name = literal(key) if key is not None else None
        return None if name is None else {name}

    def _assigned(self, call: ast.Call) -> Iterator[str]:
        """Yield the variables that hold what a call returns."""
        parent = self.parents.get(call)
        for target in parent.targets if isinstance(parent, ast.Assign) else ():
            yield from targets(target)


def _option(call: ast.Call) -> Option | None:
    """Return what a call of `add_argument` declares; None if the syntax does not show it."""
    words = {word.arg: word.value for word in call.keywords}
    texts = [text for value in call.args if (text := literal(value)) is not None]
    if not texts or len(texts) < len(call.args) or None in words:
        return None
    spelled = " ".join(texts)
    flags = [text for text in spelled.partition("/")[0].split() if text.startswith("-")]
    action = words.get("action")
    kind = literal(action) or _last(action) if action is not None else "store"
    if "/" in spelled:  # click: --shout/--quiet
        kind = "BooleanOptionalAction"
    elif "is_flag" in words:
        kind = "store_true"
    names = [text.lstrip("-") for text in sorted(flags or texts[:1], key=len, reverse=True) if text]
    destination = literal(words["dest"]) if "dest" in words else None
    if destination and kind != "store_false":  # its variable is the opposite
        names.append(destination)
    many = "nargs" in words and literal(words["nargs"]) != "?"
    return Option(max(flags, key=len, default=""), tuple(names), kind, many)


def _last(node: ast.AST) -> str:
    """Return the last name of `a.b.c`."""
    return getattr(node, "attr", "") or getattr(node, "id", "")


def _is_argv(node: ast.AST) -> bool:
    owned = isinstance(node, ast.Attribute) and _last(node.value) == "sys"
    loaded = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    return (owned or loaded) and _last(node) == "argv"


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]


def _alike(name: str) -> str:
    return name.replace("-", "_")


def _pair(flag: str, text: str) -> list[str]:
    """Return the arguments of an option, as one if they would be read as something else."""
    if text.startswith("-") or "=" in text or text != text.strip():
        return [f"{flag}={text}"]
    return [flag, text]


def _read(reader: Callable[[str], Any], name: str, text: str, form: str) -> Any:
    try:
        return reader(text)
    except Exception:
        message = f"--param {name} takes {form}, not '{text}'"
        raise Invalid(message, f"The notebook declares what {name} is.") from None
