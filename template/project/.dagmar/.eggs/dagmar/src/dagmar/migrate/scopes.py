"""Which names a cell binds and reads as globals, where in its text, and when.

marimo's own visitor has no positions of imports, of `global` and of exceptions, and does not tell
what a function reads when it is called from what its statement reads at once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from dagmar.migrate.draft import parse
from dagmar.notebook.inputs import targets

EAGER = frozenset(
    (
        "all", "any", "bytes", "dict", "frozenset", "list", "max", "min", "set", "sorted",
        "sum", "tuple", "print", "display", "agg", "aggregate", "apply", "applymap", "assign",
        "filter", "groupby", "join", "map", "pipe", "rename", "sort", "sort_values",
        "transform", "with_columns", "select",
    )
)  # fmt: skip
"""Functions that call what they are given, or read it to its end, before they return."""
LAZY = frozenset(("map", "filter"))
"""Of these, the ones that do so as methods only."""
CHANGING = frozenset(
    (
        "add", "append", "appendleft", "clear", "discard", "extend", "fill", "fit", "insert",
        "partial_fit", "pop", "popitem", "put", "remove", "reverse", "setdefault", "setflags",
        "shuffle", "sort", "update", "write",
    )
)  # fmt: skip
"""Methods that change the value that they are called on."""
NAMESPACES = frozenset(("globals", "locals", "vars"))
LOOKED_UP = NAMESPACES | {"eval", "exec", "execute", "query", "read_sql", "sql"}
"""Functions with names of variables in a text."""
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSION = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class Use:
    """One place where a global name is.

    `start` and `end` are lines (from 0) and columns of what to replace, and `form` what with, with
    the new name for `{}`; `later` is what only happens when a function is called; `called` is the
    name that is directly called.
    """

    name: str
    stores: bool
    start: tuple[int, int]
    end: tuple[int, int]
    form: str = "{}"
    later: bool = False
    called: bool = False
    within: ast.JoinedStr | None = None


@dataclass
class Statement:
    """A statement of a cell, outside of functions."""

    node: ast.stmt
    uses: list[Use] = field(default_factory=list)
    changes: set[str] = field(default_factory=set)

    def bound(self) -> set[str]:
        """Return the globals that it binds when it is executed."""
        return {use.name for use in self.uses if use.stores and not use.later}

    def read(self, later: bool) -> set[str]:
        """Return the globals that it reads at once, or when a function in it is called."""
        return {use.name for use in self.uses if not use.stores and use.later == later}

    @property
    def is_pure(self) -> bool:
        """Whether it does nothing but define something."""
        if isinstance(self.node, ast.FunctionDef):
            return not self.node.decorator_list and not self.read(later=False)
        return isinstance(self.node, (ast.Import, ast.ImportFrom))

    def reading_at_once(self, names: Collection[str]) -> set[str]:
        """Return the function that it defines, if nothing that this returns reads one of these."""
        if not isinstance(self.node, ast.FunctionDef):
            return set()
        inside = [node for part in self.node.body for node in ast.walk(part)]
        kept = [n for n in inside if isinstance(n, (*FUNCTION, ast.ClassDef, ast.GeneratorExp))]
        leaks = any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in inside) or any(
            isinstance(node, ast.Name) and node.id in names
            for function in kept
            for node in ast.walk(function)
        )
        return set() if leaks else {self.node.name}


@dataclass
class Scopes:
    """What a cell does with globals; `fixed` are the names that cannot be replaced in it."""

    statements: list[Statement] = field(default_factory=list)
    fixed: set[str] = field(default_factory=set)

    @property
    def uses(self) -> list[Use]:
        """All places, in the order of the text."""
        return [use for statement in self.statements for use in statement.uses]

    def bound(self) -> set[str]:
        """The globals that the cell binds, also in functions."""
        return {use.name for use in self.uses if use.stores}

    def changed(self) -> set[str]:
        """The globals whose value the cell changes in place."""
        return set().union(*(statement.changes for statement in self.statements))


def read_scopes(code: str) -> Scopes:
    """Return what a cell does with globals. Raises SyntaxError."""
    reader = _Reader(code)
    for statement in parse(code).body:
        reader.statement = Statement(statement)
        reader.scopes.statements.append(reader.statement)
        reader.visit(statement)
    return reader.scopes


@dataclass
class _Scope:
    """A function, a class or a comprehension: its own names, and those declared as globals."""

    own: set[str]
    globals: set[str] = field(default_factory=set)
    is_class: bool = False


class _Reader(ast.NodeVisitor):
    """Collects the places of globals in one cell."""

    def __init__(self, code: str) -> None:
        self.scopes = Scopes()
        self.statement: Statement
        self._lines = code.split("\n")
        self._stack: list[_Scope] = []
        self._later = False
        self._within: ast.JoinedStr | None = None

    def _place(self, line: int, column: int) -> tuple[int, int]:
        """Return a place of Python's syntax, in which columns are bytes."""
        return line - 1, len(self._lines[line - 1].encode()[:column].decode("utf-8", "replace"))

    def _is_global(self, name: str) -> bool:
        for number, scope in enumerate(reversed(self._stack)):
            if name in scope.globals:
                return True
            if name in scope.own and not (scope.is_class and number):
                return False
        return True

    def _add(
        self,
        name: str,
        stores: bool,
        start: tuple[int, int],
        form: str = "{}",
        called: bool = False,
    ) -> None:
        if self._is_global(name):
            end = start[0], start[1] + len(name)
            use = Use(name, stores, start, end, form, self._later, called, self._within)
            self.statement.uses.append(use)

    def _search(self, name: str, before: str, node: ast.AST) -> None:
        """Add the name of which the syntax has no place: it follows `before` in the text."""
        line = node.lineno - 1  # type: ignore[attr-defined]
        pattern = re.compile(rf"{before}\s*(?:\\\n\s*)?(?={re.escape(name)}\b)")
        _, column = self._place(line + 1, node.col_offset)  # type: ignore[attr-defined]
        text = "\n".join(self._lines[line:])
        if match := pattern.search(text, column):
            lines = text[: match.end()].split("\n")
            self._add(name, True, (line + len(lines) - 1, len(lines[-1])))
        elif self._is_global(name):
            self.scopes.fixed.add(name)

    def visit_Name(self, node: ast.Name) -> None:
        start = self._place(node.lineno, node.col_offset) if not self._within else (0, 0)
        self._add(node.id, not isinstance(node.ctx, ast.Load), start)
        if self._stack and self._stack[-1].is_class and node.id in self._stack[-1].own:
            self.scopes.fixed.add(node.id)  # which of the two a class reads depends on the order

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        name = getattr(function, "id", getattr(function, "attr", ""))
        if isinstance(function, ast.Name):
            start = self._place(node.lineno, node.col_offset) if not self._within else (0, 0)
            self._add(function.id, False, start, called=True)
        else:
            self.visit(function)
        if isinstance(function, ast.Attribute) and (
            name in CHANGING or any(_is_inplace(keyword) for keyword in node.keywords)
        ):
            self._changes(function.value)
        if name in LOOKED_UP:
            self._look_up(self.statement.node if name in NAMESPACES else node)
        eager = name in EAGER and not (name in LAZY and isinstance(function, ast.Name))
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            if eager and isinstance(argument, ast.Lambda):
                self._function(argument, self._later)
            elif eager and isinstance(argument, ast.GeneratorExp):
                self._comprehension(argument, self._later)
            else:
                self.visit(argument)

    def _look_up(self, node: ast.AST) -> None:
        """Keep the names in the texts of a part of the syntax."""
        texts = (part for part in ast.walk(node) if isinstance(part, ast.Constant))
        self.scopes.fixed.update(*(re.findall(r"[^\W\d]\w*", str(text.value)) for text in texts))

    def _changes(self, target: ast.expr) -> None:
        while isinstance(target, (ast.Attribute, ast.Subscript)):
            target = target.value
        if isinstance(target, ast.Name) and self._is_global(target.id) and not self._later:
            self.statement.changes.add(target.id)

    def visit_Subscript(self, node: ast.Subscript | ast.Attribute) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._changes(node.value)
        self.generic_visit(node)

    visit_Attribute = visit_Subscript  # noqa: N815

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        # Before Python 3.12, what is in it has no true place: all of it is written again.
        outer, self._within = self._within, self._within or node
        self.generic_visit(node)
        self._within = outer

    def visit_alias(self, node: ast.alias) -> None:
        end = self._place(node.end_lineno or 0, node.end_col_offset or 0)
        if node.asname:
            self._add(node.asname, True, (end[0], end[1] - len(node.asname)))
        elif node.name == "*":
            pass
        elif "." in node.name:
            top = node.name.partition(".")[0]
            self._add(top, True, self._place(node.lineno, node.col_offset))
            self.scopes.fixed.add(top)
        else:
            start = end[0], end[1] - len(node.name)
            self._add(node.name, True, start, f"{node.name} as {{}}")

    def visit_Global(self, node: ast.Global) -> None:
        for name in node.names:
            self._search(name, r"\b(?:global\s|,)(?:[\w\s]+,)*?", node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._search(node.name, r"\bas\s", node)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            end = self._place(node.end_lineno or 0, node.end_col_offset or 0)
            self._add(node.name, True, (end[0], end[1] - len(node.name)))
        self.generic_visit(node)

    visit_MatchStar = visit_MatchAs  # noqa: N815

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self._search(node.rest, r"\*\*", node)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._search(node.name, r"\bdef\s", node)
        for part in (*node.decorator_list, *filter(None, [node.returns])):
            self.visit(part)
        self._function(node, later=True)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node, later=True)

    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, later: bool
    ) -> None:
        arguments = node.args
        plain = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        every = (*plain, *filter(None, (arguments.vararg, arguments.kwarg)))
        for part in (
            *arguments.defaults,
            *arguments.kw_defaults,
            *(arg.annotation for arg in every),
        ):
            if part:
                self.visit(part)
        body = node.body if isinstance(node.body, list) else [node.body]
        scope = _scope_of(body)
        scope.own |= {arg.arg for arg in every}
        self._inside(scope, body, later)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._search(node.name, r"\bclass\s", node)
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(part)
        scope = _scope_of(node.body)
        scope.is_class = True
        self._inside(scope, node.body, self._later)

    def _inside(self, scope: _Scope, body: Iterable[ast.AST], later: bool) -> None:
        self._stack.append(scope)
        before, self._later = self._later, later
        for part in body:
            self.visit(part)
        self._later = before
        self._stack.pop()

    def _comprehension(self, node: ast.AST, later: bool) -> None:
        assert isinstance(node, COMPREHENSION)
        self.visit(node.generators[0].iter)
        own = {name for part in node.generators for name in targets(part.target)}
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for_parts: list[ast.AST] = []
        for number, part in enumerate(node.generators):
            for_parts += [part.target, *([part.iter] if number else []), *part.ifs]
        self._inside(_Scope(own), [*for_parts, *results], later)

    def visit_ListComp(self, node: ast.AST) -> None:
        self._comprehension(node, self._later)

    visit_SetComp = visit_DictComp = visit_ListComp  # noqa: N815

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node, later=True)


def _is_inplace(keyword: ast.keyword) -> bool:
    return (
        keyword.arg == "inplace"
        and isinstance(keyword.value, ast.Constant)
        and bool(keyword.value.value)
    )


def _scope_of(body: Iterable[ast.AST]) -> _Scope:
    """Return the names that the statements of a function or a class bind in it."""
    scope = _Scope(set())
    for node in _in_scope(body):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            scope.own.add(node.id)
        elif isinstance(node, ast.alias):
            scope.own.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.Global):
            scope.globals |= set(node.names)
        elif isinstance(node, (ast.MatchMapping,)) and node.rest:
            scope.own.add(node.rest)
        elif isinstance(getattr(node, "name", None), str):
            scope.own.add(node.name)  # type: ignore[attr-defined]
    scope.own -= scope.globals
    return scope


def _in_scope(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in body:
        yield node
        if isinstance(node, COMPREHENSION):  # only `:=` binds outside of it
            for part in ast.walk(node):
                if isinstance(part, ast.NamedExpr):
                    yield part.target
        elif not isinstance(node, (*FUNCTION, ast.ClassDef)):
            yield from _in_scope(ast.iter_child_nodes(node))
