"""The shape that a server's answer to each document has, from the schemas of Dagster.

    WRITE_SHAPES=1 uv run pytest -n 0 tests/contract/test_shapes.py

writes it to `shapes.json`, which `dagmar/server/shapes.py` reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphql
from dagmar.server.client import DOCUMENTS, with_optional, with_question
from dagmar.server.shapes import IDENTITY
from support.selections import read

PLAIN = {"Int": "int", "BigInt": "int", "Float": "float", "Boolean": "bool", "GenericScalar": "any"}
Shape = dict[str, Any]


def shapes(schemas: Iterable[graphql.GraphQLSchema]) -> dict[str, Shape]:
    """Return the shape of the answer to each document, by its name.

    The shape of an object is a dict. A field without fields has a type, such as `text!` or
    `[int!]`; any other has the type of its list or of its object, and a shape: `["[!]!", {…}]`.
    """
    found: dict[str, Shape] = {}
    for schema in schemas:
        for file in sorted(DOCUMENTS.glob("*.graphql")):
            text = file.read_text("utf-8")
            _merge(found.setdefault(file.stem, {}), _Document(schema, text).shape)
        asking = with_question(f"query {IDENTITY} {{\n}}\n")
        _merge(found.setdefault(IDENTITY, {}), _Document(schema, asking).shape)
    return found


class _Document:
    """A document as one schema reads it."""

    def __init__(self, schema: graphql.GraphQLSchema, text: str) -> None:
        types = schema.type_map

        def has(kind: str, field: str) -> bool:
            return kind in types and field in getattr(types[kind], "fields", {})

        self._operation = read(schema, graphql.parse(with_optional(text, has)))
        self.shape = self._shape(self._operation.selection, self._operation.root)

    def _shape(self, selected: graphql.SelectionSetNode, on: Any) -> Shape:
        """Return what is selected. Fields of one name have one shape, whatever the member."""
        shape: Shape = {}
        for node, whole in self._operation.fields(selected, on):
            kind = graphql.get_named_type(whole)
            name = node.alias.value if node.alias else node.name.value
            wrapped = str(whole)
            if kind.name == "AssetKey":
                shape[name] = wrapped.replace("AssetKey", "key")
            elif node.selection_set:
                inner = self._shape(node.selection_set, kind)
                _merge(shape, {name: [wrapped.replace(kind.name, ""), inner]})
            else:
                shape[name] = wrapped.replace(kind.name, _plain(kind.name, node.name.value))
        return shape


def _plain(kind: str, field: str) -> str:
    """Return how a plain value is read: times have to be some that Python has."""
    if field.lower().endswith(("time", "timestamp")) and kind in ("Float", "String"):
        return "seconds" if kind == "Float" else "milliseconds"
    return PLAIN.get(kind, "text")


def _merge(into: Shape, other: Shape) -> None:
    """Add another shape of the same document: what may be null in either may be null."""
    for name, shape in other.items():
        known = into.setdefault(name, shape)
        if isinstance(shape, str):
            into[name] = _looser(known, shape)
        elif known is not shape:
            known[0] = _looser(known[0], shape[0])
            _merge(known[1], shape[1])


def _looser(one: str, other: str) -> str:
    if one == other:
        return one
    ends = one.endswith("!") and other.endswith("!")
    one, other = one.removesuffix("!"), other.removesuffix("!")
    if one.startswith("["):
        inner = f"[{_looser(one[1:-1], other[1:-1])}]"
    else:
        assert one == other, (one, other)
        inner = one
    return inner + "!" * ends
