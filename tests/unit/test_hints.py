"""Each error of dagmar comes with a hint or a command: no user is left with a bare message."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dagmar import errors

from tests.support.source import ROOT

RUNNER = Path(errors.__file__).parent
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Maker:
    """A class of errors, or a function that returns one: where its arguments have the remedy."""

    name: str
    first: int = 1
    """How many positional arguments come before the hint."""
    keywords: tuple[str, ...] = ("hint", "command")
    file: str = ""
    """The only file in which this name means the maker; empty for all."""


@dataclass(eq=False)
class Scope:
    """A function, or a module, and what it assigns to each variable by itself."""

    node: ast.AST
    assigned: dict[str, list[ast.expr]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class Call:
    """A call, and the innermost function that it is in, or else the module."""

    file: str
    scope: Scope
    node: ast.Call


def without_remedy(sources: Mapping[str, str]) -> list[str]:
    """Return `file:line` of each construction of a DagmarError that may have no hint or command.

    A function that passes on its own parameter, which callers may leave out, is a maker of errors
    too: each call of it needs the remedy. An unpacked tuple is trusted, and a parameter without a
    default.
    """
    trees = {file: ast.parse(source) for file, source in sources.items()}
    calls = [call for file, tree in trees.items() for call in calls_in(file, tree, Scope(tree))]
    makers = {Maker(name) for name in classes_of(trees.values())}
    while True:
        found = {passes_on(call, maker) for call, maker in constructions(calls, makers)} - {None}
        if found <= makers:
            break
        makers |= {maker for maker in found if maker}
    return [
        f"{call.file}:{call.node.lineno}"
        for call, maker in constructions(calls, makers)
        if passes_on(call, maker) is None
        and not any(is_sure(value, call.scope) for value in remedies(call.node, maker))
    ]


def classes_of(trees: Iterable[ast.Module]) -> set[str]:
    """Return the names of DagmarError and of its subclasses in these modules."""
    bases = {
        node.name: {each.rpartition(".")[2] for each in map(ast.unparse, node.bases)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    names = {"DagmarError"}
    while more := {name for name, above in bases.items() if above & names} - names:
        names |= more
    return names


def calls_in(file: str, node: ast.AST, scope: Scope) -> Iterator[Call]:
    """Yield each call below a node, and note what is assigned in each scope."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield Call(file, scope, child)
        elif isinstance(child, ast.Assign):
            for target in child.targets:
                scope.assigned[getattr(target, "id", "")].append(child.value)
        inner = Scope(child) if isinstance(child, FUNCTIONS) else scope
        yield from calls_in(file, child, inner)


def constructions(calls: Iterable[Call], makers: set[Maker]) -> Iterator[tuple[Call, Maker]]:
    """Yield each call of a maker."""
    known = {(maker.name, maker.file): maker for maker in makers}
    names = {maker.name for maker in makers}
    for call in calls:
        called = call.node.func
        name = getattr(called, "attr", None) or getattr(called, "id", "")
        if maker := known.get((name, "")) or known.get((name, call.file)):
            yield call, maker
        elif isinstance(called, ast.Name) and is_class(called.id, call.scope, names):
            yield call, Maker(name)


def is_class(name: str, scope: Scope, known: set[str]) -> bool:
    """Whether a variable of a function is one of the classes of errors."""
    if any(
        each.arg == name and "[DagmarError]" in annotation(each) for each in parameters(scope.node)
    ):
        return True
    values = [
        part
        for value in scope.assigned.get(name, ())
        for part in ([value.body, value.orelse] if isinstance(value, ast.IfExp) else [value])
    ]
    return any(isinstance(value, ast.Name) and value.id in known for value in values)


def annotation(parameter: ast.arg) -> str:
    """Return the type of a parameter as it is written."""
    return ast.unparse(parameter.annotation) if parameter.annotation else ""


def parameters(function: ast.AST) -> list[ast.arg]:
    """Return the named parameters of a function, without `self`."""
    if not isinstance(function, FUNCTIONS):
        return []
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [each for each in every if each.arg not in ("self", "cls")]


def remedies(call: ast.Call, maker: Maker) -> list[ast.expr]:
    """Return the arguments of a call that are its hint and its command."""
    starred = [each for each in call.args[: maker.first] if isinstance(each, ast.Starred)]
    named = [each.value for each in call.keywords if each.arg in (None, *maker.keywords)]
    return [*starred, *call.args[maker.first :], *named]


def is_sure(value: ast.expr, scope: Scope) -> bool:
    """Whether a text is never empty, as far as it can be seen here."""
    if isinstance(value, ast.Constant):
        return bool(value.value)
    if isinstance(value, ast.IfExp):
        return is_sure(value.body, scope) and is_sure(value.orelse, scope)
    if isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or):
        return is_sure(value.values[-1], scope)
    if isinstance(value, ast.Name) and len(only := scope.assigned.get(value.id, ())) == 1:
        return is_sure(only[0], scope)
    return True


def passes_on(call: Call, maker: Maker) -> Maker | None:
    """Return the function as a maker if the remedy is only a parameter that may be left out."""
    values, function = remedies(call.node, maker), call.scope.node
    if not (values and isinstance(function, FUNCTIONS)):
        return None
    names = [getattr(getattr(value, "value", value), "id", "") for value in values]
    arguments, own = function.args, [each.arg for each in parameters(function)]
    plain = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    defaults = [
        *zip(plain[::-1], arguments.defaults[::-1], strict=False),
        *zip([each.arg for each in arguments.kwonlyargs], arguments.kw_defaults, strict=True),
    ]
    optional = {each for each, default in defaults if getattr(default, "value", None) == ""}
    optional |= {arguments.vararg.arg} if arguments.vararg else set()
    if not set(names) <= optional:
        return None
    first = min(own.index(name) if name in own else len(own) for name in names)
    private = call.file if function.name.startswith("_") else ""
    return Maker(function.name, first, tuple(name for name in names if name in own), private)


def test_each_error_has_a_hint_or_a_command() -> None:
    files = [*RUNNER.rglob("*.py"), *(ROOT / "hooks").rglob("*.py")]
    sources = {str(file.relative_to(ROOT)): file.read_text("utf-8") for file in sorted(files)}
    assert len(sources) > 150
    assert without_remedy(sources) == []


SAMPLE = """
class DagmarError(Exception): ...
class Odd(DagmarError): ...
class Odder(errors.Odd): ...

def bare(late):
    raise Odd("no")                                  # missing
    raise errors.Odder("no", "")                     # missing
    raise Odd("no", hint="", command="")             # missing
    lambda _: Odder("no", meant={})                  # missing
    kind = Odd if late else Odder
    raise kind("no")                                 # missing
    raise Odd("no", "Wait." if late else "")         # missing
    kept = f"At {late}." if late else ""
    raise Odd("no", kept)                            # missing

def chosen(kind: type[DagmarError]):
    raise kind("no")                                 # missing

def fine(problem, error, hint):
    raise Odd("no", "Wait.")
    raise Odd("no", command="invoke doctor")
    raise Odd("no", "", "invoke doctor")
    raise Odd("no", hint)
    raise Odd("no", hint or "Wait.")
    raise Odd(error.message, error.hint, error.command)
    raise Odder(*problem)
    raise Odd("no", **problem)
    raise ValueError("no")

def made(what, hint=""):
    return Odd(what, hint)

class Settings:
    def _error(self, path, problem, *remedy):
        return Odd(f"{path} {problem}", *remedy)

    def look(self):
        raise self._error("here", "is wrong")        # missing
        raise self._error("here", "is wrong", "Wait.")

def calls():
    raise made("no")                                 # missing
    raise made("no", hint="")                        # missing
    raise made("no", "Wait.")
    raise made("no", hint="Wait.")
"""


def test_a_missing_remedy_is_found_however_the_error_is_made() -> None:
    lines = enumerate(SAMPLE.splitlines(), 1)
    missing = [f"sample:{number}" for number, line in lines if line.endswith("# missing")]
    assert len(missing) == 11
    assert sorted(without_remedy({"sample": SAMPLE})) == sorted(missing)


def test_a_private_function_of_another_file_is_another_one() -> None:
    other = "def _error(export):\n    return export.error\n\n_error(1)\n"
    assert not [place for place in without_remedy({"a": SAMPLE, "b": other}) if place[0] == "b"]
