"""Reads answers: checks them against what a document asks for, before anything uses them.

`documents/shapes.json` has the shape of each answer, from Dagster's schemas.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dagmar.asset_key import AssetKey
from dagmar.errors import UnexpectedAnswer, counted, cut

SHAPES = Path(__file__).with_name("documents") / "shapes.json"
IDENTITY = "Identity"
"""The fields by which a server shows which code it has; they may be in any answer."""
RELOADED = "Try again: its code location may have been reloaded in between."
NOT_DAGSTER = "Is this really a Dagster server? A proxy or login page may be answering instead."
Reader = Callable[[Any], Any]
T = TypeVar("T")
# The years 2 to 9998, in seconds: times that every zone has.
_FIRST, _LAST = -62_100_000_000.0, 253_370_000_000.0
_ABSENT = object()
_TYPES: dict[str, set[type]] = {
    "text": {str},
    "int": {int},
    "float": {int, float},
    "bool": {bool},
}


class Answer(dict[str, Any]):
    """A part of an answer; a missing field is the server's fault, not a bug here."""

    def __missing__(self, key: str) -> Any:
        raise UnexpectedAnswer(f"Dagster's answer lacks '{key}'", NOT_DAGSTER)


class _Misfit(Exception):
    """A value that does not fit, and the fields that lead to it, the last one first."""

    def __init__(self, value: Any, *path: str) -> None:
        self.value = value
        self.path = [*path]


def next_cursor(cursor: str | None, following: str | None) -> str | None:
    """Return the cursor of the `following` page. Raises UnexpectedAnswer if it is the same."""
    if cursor == following:
        raise UnexpectedAnswer("Dagster repeats the same page again and again", NOT_DAGSTER)
    return following


def portions(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in portions of at most `size`, each for one request."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def only(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the one asset that was asked for. Raises UnexpectedAnswer if it is not there."""
    if len(nodes) != 1:
        raise UnexpectedAnswer(
            f"Dagster's answer has {counted(len(nodes), 'asset')} instead of one",
            RELOADED,
        )
    return nodes[0]


def read(document: str, data: dict[str, Any], times: int = 0) -> dict[str, Any]:
    """Return the data of an answer to a document, with its asset keys as such.

    `times` is how often the document was repeated. A field that is missing raises when it is used.
    Raises UnexpectedAnswer for a value that is not of the type that Dagster's schema has for it.
    """
    known = {**_shapes()[document]}
    if times:
        (field,) = known.values()
        known = {f"each_{number}": field for number in range(times)}
    reader = _object({**known, **_shapes()[IDENTITY]}) if times else _reader(document)
    try:
        answer: dict[str, Any] = reader(data)
    except _Misfit as misfit:
        where = ".".join(reversed(misfit.path))
        raise UnexpectedAnswer(
            f"Dagster's answer to '{document}' has {_described(misfit.value)} as {where}",
            NOT_DAGSTER,
        ) from None
    return answer


def _described(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    return cut(json.dumps(value), 41)


@functools.cache
def _shapes() -> dict[str, dict[str, Any]]:
    shapes: dict[str, dict[str, Any]] = json.loads(SHAPES.read_text("utf-8"))
    return shapes


@functools.cache
def _reader(document: str) -> Reader:
    return _object({**_shapes()[document], **_shapes()[IDENTITY]})


def _object(shape: Mapping[str, Any]) -> Reader:
    """Return what reads an object with these fields. Others are left as they are."""
    # An answer may have hundreds of thousands of plain values: no call for each of them.
    plain: list[tuple[str, set[type]]] = []
    others: list[tuple[str, Reader]] = []
    for name, kind in shape.items():
        if isinstance(kind, str) and kind.removesuffix("!") in _TYPES:
            types = _TYPES[kind.removesuffix("!")] | {type(_ABSENT)}
            plain.append((name, types if kind.endswith("!") else types | {type(None)}))
        else:
            others.append((name, _value(kind) if isinstance(kind, str) else _value(*kind)))

    def read_object(value: Any) -> Answer:
        if type(value) is not dict:
            raise _Misfit(value)
        answer = Answer(value)
        get = value.get
        for name, types in plain:
            if type(get(name, _ABSENT)) not in types:
                raise _Misfit(value[name], name)
        for name, reader in others:
            if (part := get(name, _ABSENT)) is not _ABSENT:
                try:
                    answer[name] = reader(part)
                except _Misfit as misfit:
                    misfit.path.append(name)
                    raise
        return answer

    return read_object


def _value(kind: str, shape: Mapping[str, Any] | None = None) -> Reader:
    """Return what reads a value of this type, whose objects have this shape."""
    required = kind.endswith("!")
    kind = kind.removesuffix("!")
    if kind.startswith("["):
        read_value = _list(kind[1:-1], shape)
    elif shape is not None:
        read_value = _object(shape)
    else:
        read_value = _OTHERS.get(kind) or functools.partial(_plain, _TYPES[kind])
    if required:
        return read_value
    return lambda value: None if value is None else read_value(value)


def _list(kind: str, shape: Mapping[str, Any] | None) -> Reader:
    read_one = _value(kind, shape)

    def read_list(value: Any) -> list[Any]:
        if type(value) is not list:
            raise _Misfit(value)
        return [read_one(each) for each in value]

    return read_list


def _plain(types: set[type], value: Any) -> Any:
    if type(value) not in types:
        raise _Misfit(value)
    return value


def _key(value: Any) -> AssetKey:
    parts = value.get("path") if type(value) is dict else None
    if type(parts) is not list or not parts or not all(type(part) is str for part in parts):
        raise _Misfit(value)
    return AssetKey.from_parts(parts)


def _seconds(value: Any) -> Any:
    if type(value) not in (int, float) or not _FIRST < value < _LAST:
        raise _Misfit(value)
    return value


def _milliseconds(value: Any) -> Any:
    try:
        _seconds(int(_plain({str}, value)) / 1000)
    except (ValueError, OverflowError):
        raise _Misfit(value) from None
    return value


_OTHERS: dict[str, Reader] = {
    "any": lambda value: value,
    "key": _key,
    "milliseconds": _milliseconds,
    "seconds": _seconds,
}
