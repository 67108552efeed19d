"""What a GraphQL document selects, as a schema reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import graphql

SPECIAL = {
    "__typename": graphql.TypeNameMetaFieldDef,
    "__type": graphql.TypeMetaFieldDef,
}


@dataclass(frozen=True)
class Operation:
    """The one operation of a document, its root type, and the fragments."""

    schema: graphql.GraphQLSchema
    root: Any
    selection: graphql.SelectionSetNode
    fragments: dict[str, graphql.FragmentDefinitionNode]

    def fields(
        self,
        selected: graphql.SelectionSetNode,
        on: Any,
        enters: Callable[[Any, Any], bool] = lambda on, condition: True,
    ) -> Iterator[tuple[graphql.FieldNode, Any]]:
        """Yield each field with its type, those of fragments too that `on` enters."""
        for node in selected.selections:
            if isinstance(node, graphql.FieldNode):
                field = SPECIAL.get(node.name.value) or on.fields[node.name.value]
                yield node, field.type
                continue
            if isinstance(node, graphql.FragmentSpreadNode):
                node = self.fragments[node.name.value]
            assert isinstance(node, (graphql.InlineFragmentNode, graphql.FragmentDefinitionNode))
            named = node.type_condition
            condition = self.schema.type_map[named.name.value] if named else on
            if enters(on, condition):
                # What is of one type stays of it in a fragment on an interface.
                inner = condition if graphql.is_abstract_type(on) else on
                yield from self.fields(node.selection_set, inner, enters)


def read(schema: graphql.GraphQLSchema, document: graphql.DocumentNode) -> Operation:
    """Return the operation of a document that has one."""
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, graphql.FragmentDefinitionNode)
    }
    (operation,) = (
        node for node in document.definitions if isinstance(node, graphql.OperationDefinitionNode)
    )
    root = schema.get_root_type(operation.operation)
    assert root
    return Operation(schema, root, operation.selection_set, fragments)
