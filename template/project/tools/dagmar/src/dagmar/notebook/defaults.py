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
from dagmar.notebook.inputs import Binding
from dagmar.scalars import Plain, resolve
from dagmar.server.runconfig import parse_yaml

BUILTINS: Mapping[str, type] = {kind.__name__: kind for kind in (str, int, float, bool)}
# Nothing in them calls anything, or needs a name.
LITERAL = (
    ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.BinOp, ast.UnaryOp, ast.operator,
    ast.unaryop, ast.expr_context,
)  # fmt: skip
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
    """Return a name or attribute of the notebook that shows the type when the cell runs."""
    for binding in found:
        of_call = binding.value.func if isinstance(binding.value, ast.Call) else binding.value
        for expression in (_without_none(binding.annotation)[0], of_call):
            if expression is not None and _dotted(expression):
                return expression
    return None


def _of_binding(binding: Binding) -> Default | None:
    annotation, _ = _without_none(binding.annotation)
    if isinstance(annotation, ast.Name) and annotation.id in BUILTINS:
        return Default(BUILTINS[annotation.id])
    return _of_expression(binding.value)


def _of_expression(node: ast.expr | None) -> Default | None:
    if isinstance(node, ast.JoinedStr):
        return Default(str)
    if isinstance(node, ast.BoolOp):
        return _of_expression(node.values[-1])
    if isinstance(node, ast.IfExp):
        body, other = _of_expression(node.body), _of_expression(node.orelse)
        return body if body and other and body.kind is other.kind else None
    if isinstance(node, ast.Subscript) and _dotted(node.value) in ENVIRONMENT:
        return Default(str)
    if isinstance(node, ast.Call):
        called = _dotted(node.func)
        if called in (*ENVIRONMENT, PARTITION_CALL):
            return Default(str)
        if called in BUILTINS:
            return Default(BUILTINS[called])
        if isinstance(node.func, ast.Attribute) and node.func.attr == "get" and len(node.args) > 1:
            return _of_expression(node.args[1])
        return None
    if node is None or not all(isinstance(part, LITERAL) for part in ast.walk(node)):
        return None
    try:
        value = eval(compile(ast.Expression(node), "<default>", "eval"), {"__builtins__": {}})
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
        name = _dotted(annotation.value).rpartition(".")[2]
        if name == "Optional":
            return annotation.slice, True
        return None, False
    return annotation, False


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _dotted(node: ast.expr) -> str:
    """Return `a.b.c` for such a chain of names, and an empty text for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := _dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


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
    form = next((form for of, form in FORMS.items() if issubclass(kind, of)), "another text")
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
        common = _common(like) if isinstance(like, COLLECTIONS) else None
        parts: Sequence[Any] = [_child(flag, part, common) for part in tree]
        return tuple(parts) if isinstance(like, tuple) else parts
    if not isinstance(tree, Plain):
        return tree
    return _fit(flag, str(tree), type(like), like) if like is not None else resolve(tree)


def _common(values: Iterable[Any]) -> Any:
    """Return the first of these values if they all are of one type, else None."""
    parts = list(values)
    return parts[0] if len({type(part) for part in parts}) == 1 else None
