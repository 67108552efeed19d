"""What the text of a parameter becomes: a value of the type that the variable has without it."""

from __future__ import annotations

import ast
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagmar import scalars
from dagmar.errors import Invalid, did_you_mean
from dagmar.notebook.cells import dotted, literal
from dagmar.notebook.inputs import Binding
from dagmar.scalars import Plain, resolve
from dagmar.server.runconfig import parse_yaml

BUILTINS: Mapping[str, type] = {kind.__name__: kind for kind in (str, int, float, bool)}
# Nothing in them calls anything, or needs a name.
LITERAL = (
    ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.BinOp, ast.UnaryOp, ast.operator,
    ast.unaryop, ast.expr_context,
)  # fmt: skip
TEXTS = (
    "casefold", "decode", "format", "isoformat", "join", "lower", "lstrip", "removeprefix",
    "removesuffix", "rstrip", "strftime", "strip", "upper",
)  # fmt: skip
"""Methods that return a text."""
QUICK = (
    *TEXTS, "Decimal", "Path", "abs", "cwd", "date", "datetime", "home", "len", "max", "min", "now",
    "round", "str", "sum", "time", "timedelta", "today", "utcnow",
)  # fmt: skip
"""What may be called only to see the type of the result."""
QUICK_NODES = (
    *LITERAL, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.BoolOp, ast.boolop,
    ast.Compare, ast.cmpop, ast.IfExp, ast.Call, ast.keyword, ast.JoinedStr, ast.FormattedValue,
)  # fmt: skip
GENERICS: Mapping[str, type] = {
    **{kind.__name__: kind for kind in (list, tuple, set, frozenset, dict)},
    "sequence": list,
    "mapping": dict,
}
ENVIRONMENT = ("os.environ.get", "os.getenv", "environ.get", "getenv", "os.environ", "environ")
PARTITION_CALL = "pair.partition_key"
FORMS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    datetime.datetime: "a time, such as 2026-01-31T10:30",
    datetime.date: "a date, such as 2026-01-31",
    datetime.time: "a time of day, such as 10:30",
}
COLLECTIONS = (list, tuple, set, frozenset)
READ_AS_TEXT = (
    str, int, float, decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePath,
)  # fmt: skip
TEXTUAL_DATES = (datetime.datetime, datetime.date, datetime.time)


@dataclass(frozen=True)
class Default:
    """The type of a variable, and its default value if that is known."""

    kind: type
    value: Any = None

    def fit(self, name: str, text: str) -> Any:
        """Return the value that a text stands for. Raises Invalid if there is none."""
        return _fit(f"--param {name}", text, self.kind, self.value)


def guess(name: str, text: str) -> Any:
    """Return what a text is if nothing shows its type. Raises Invalid for malformed YAML."""
    return resolve(parse_yaml(text, f"--param {name}", scalars.parse_value))


def of_value(value: Any) -> Default | None:
    """Return the default that an object is, or is the class of; None if it says nothing."""
    if isinstance(value, type):
        return Default(value)
    if callable(value):
        # `date.today` is of the class `date`.
        owner = getattr(value, "__self__", None)
        return Default(owner) if isinstance(owner, type) else None
    return None if value is None else Default(type(value), value)


def of_bindings(found: Iterable[Binding]) -> Default | None:
    """Return the default of a variable as its syntax shows it; None if that does not show it."""
    defaults = [_of_binding(binding) for binding in found]
    known = [default for default in defaults if default and default.kind is not type(None)]
    if None in defaults or not known or any(each.kind is not known[0].kind for each in known):
        return None
    return known[0]


def may_be_none(found: Iterable[Binding]) -> bool:
    """Whether the annotation of a variable says that it may be None."""
    return any(_without_none(binding.annotation)[1] for binding in found)


def probe(found: Iterable[Binding]) -> ast.expr | None:
    """Return an expression of the notebook that shows the type when the cell runs."""
    for binding in found:
        value = binding.value
        of_call = value.func if isinstance(value, ast.Call) else value
        annotation, _ = _without_none(binding.annotation)
        if annotation is not None and dotted(annotation):
            return annotation
        if value is not None and _is_quick(value):
            return value
        if of_call is not None and dotted(of_call):
            return of_call
    return None


def _of_binding(binding: Binding) -> Default | None:
    annotation, _ = _without_none(binding.annotation)
    if isinstance(annotation, ast.Name) and annotation.id in BUILTINS:
        return Default(BUILTINS[annotation.id])
    sample = _sample(annotation) if annotation is not None else None
    return _of_expression(binding.value) if sample is None else Default(type(sample), sample)


def _of_expression(node: ast.expr | None) -> Default | None:
    if isinstance(node, ast.JoinedStr):
        return Default(str)
    if isinstance(node, ast.BoolOp):
        return _of_expression(node.values[-1])
    if isinstance(node, ast.IfExp):
        sides = [_of_expression(side) for side in (node.body, node.orelse)]
        known = [side for side in sides if side and side.kind is not type(None)]
        kinds = {side.kind for side in known}
        return known[0] if kinds == {str} or (None not in sides and len(kinds) == 1) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
        operands = [node.left, node.right][: 2 if isinstance(node.op, ast.Add) else 1]
        if any(side and side.kind is str for side in map(_of_expression, operands)):
            return Default(str)
    if isinstance(node, ast.Subscript) and dotted(node.value) in ENVIRONMENT:
        return Default(str)
    if isinstance(node, ast.Call):
        called = dotted(node.func)
        if called in (*ENVIRONMENT, PARTITION_CALL):
            return Default(str)
        if called in BUILTINS:
            return Default(BUILTINS[called])
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if method in TEXTS:
            return Default(str)
        return _of_expression(node.args[1]) if method == "get" and len(node.args) > 1 else None
    if node is None or not all(isinstance(part, LITERAL) for part in ast.walk(node)):
        return None
    try:
        value = eval(  # noqa: S307  only literals and operators are left
            compile(ast.Expression(node), "<default>", "eval"), {"__builtins__": {}}
        )
    except Exception:
        return None  # it fails in the notebook, too
    return Default(type(value), value)


def _without_none(annotation: ast.expr | None) -> tuple[ast.expr | None, bool]:
    """Return the type of `X`, `X | None` or `Optional[X]`, and whether it may be None."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return None, False
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        sides = [annotation.left, annotation.right]
        others = [side for side in sides if not _is_none(side)]
        return (others[0] if len(others) == 1 else None), len(others) < len(sides)
    if isinstance(annotation, ast.Subscript):
        name = dotted(annotation.value).rpartition(".")[2]
        if name == "Optional":
            return annotation.slice, True
    return annotation, False


def _sample(annotation: ast.expr) -> Any:
    """Return a value of an annotated type, with a text in it for `list[str]`; None if unknown."""
    annotation = _without_none(annotation)[0] or annotation
    if isinstance(annotation, ast.Name) and annotation.id in BUILTINS:
        return BUILTINS[annotation.id]()
    if not isinstance(annotation, ast.Subscript):
        return None
    kind = GENERICS.get(dotted(annotation.value).rpartition(".")[2].lower())
    of = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    parts = [_sample(part) for part in of if ast.unparse(part) != "..."]
    if kind is None or None in parts:
        return None
    try:
        return kind([parts] if kind is dict else parts)
    except (TypeError, ValueError):
        return None  # not a type


def _is_quick(node: ast.expr) -> bool:
    """Whether an expression can be evaluated only to see its type.

    `args["day"]` cannot: marimo converts what is on the command line.
    """
    for part in ast.walk(node):
        if not isinstance(part, QUICK_NODES):
            return False
        if isinstance(part, ast.Subscript) and literal(part.slice) is not None:
            return False
        if isinstance(part, ast.Call):
            called = getattr(part.func, "attr", "") or getattr(part.func, "id", "")
            if called not in QUICK:
                return False
    return not isinstance(node, ast.Constant)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _fit(flag: str, text: str, kind: type, value: Any) -> Any:
    if kind is str:
        return str(text)
    if issubclass(kind, enum.Enum):
        return _member(flag, text, kind)
    readers: Mapping[type, Callable[[str], Any]] = {
        bool: scalars.as_bool,
        int: scalars.as_int,
        float: scalars.as_float,
    }
    if kind in readers:
        read = readers[kind]
    elif issubclass(kind, TEXTUAL_DATES):
        read = kind.fromisoformat
    elif issubclass(kind, (*COLLECTIONS, dict)):
        return _collection(flag, text, kind, value)
    elif issubclass(kind, READ_AS_TEXT):
        read = kind
    else:
        raise Invalid(
            f"{flag} cannot be given as text: its default is of type {kind.__name__}",
            "Derive it in the notebook, from a variable with a text or a number.",
        )
    try:
        return read(text)
    except (ValueError, ArithmeticError):
        raise _refused(flag, text, kind) from None


def _refused(flag: str, text: str, kind: type) -> Invalid:
    form = next((form for of, form in FORMS.items() if issubclass(kind, of)), f"a {kind.__name__}")
    return Invalid(
        f"{flag} takes {form}, not '{text}'",
        f"Its default is of type {kind.__name__}, and so is what replaces it.",
    )


def _member(flag: str, text: str, kind: type[enum.Enum]) -> enum.Enum:
    named = kind.__members__
    valued = {str(member.value): member for member in kind}
    if member := named.get(text) or valued.get(text):
        return member
    message = f"{flag} takes a {kind.__name__}, not '{text}'{did_you_mean(text, named)}"
    raise Invalid(message, f"One of {', '.join(named)}.")


def _collection(flag: str, text: str, kind: type, value: Any) -> Any:
    tree = parse_yaml(text, flag)
    wanted = dict if issubclass(kind, dict) else list
    if not isinstance(tree, wanted):
        message = f"{flag} takes a {kind.__name__}, not '{text}'"
        raise Invalid(message, f"For example: {'{a: 1, b: 2}' if wanted is dict else '[1, 2]'}")
    try:
        return kind(_child(flag, tree, value))
    except TypeError:
        raise _refused(flag, text, kind) from None


def _child(flag: str, tree: Any, like: Any) -> Any:
    """Return a part of a collection with the types of the default's parts, if they have one."""
    if isinstance(tree, Mapping):
        known = like if isinstance(like, Mapping) else {}
        common = _common(known.values())
        return {name: _child(flag, part, known.get(name, common)) for name, part in tree.items()}
    if isinstance(tree, list):
        alike = [_common(like) if isinstance(like, COLLECTIONS) else None] * len(tree)
        if isinstance(like, tuple) and len(like) == len(tree):
            alike = list(like)
        pairs = zip(tree, alike, strict=True)
        parts: Sequence[Any] = [_child(flag, part, each) for part, each in pairs]
        return tuple(parts) if isinstance(like, tuple) else parts
    if not isinstance(tree, Plain):
        return tree
    return _fit(flag, str(tree), type(like), like) if like is not None else resolve(tree)


def _common(values: Iterable[Any]) -> Any:
    """Return the first of these values if they all are of one type, else None."""
    parts = list(values)
    return parts[0] if len({type(part) for part in parts}) == 1 else None
