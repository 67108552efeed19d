"""Every GraphQL document fits the oldest and the newest Dagster that dagmar talks to."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagmar
import graphql
import pytest
from dagmar.errors import DagmarError, UnexpectedAnswer
from dagmar.server import launch as launching
from dagmar.server.client import DOCUMENTS, member, repeated, with_optional, with_question
from dagmar.server.identity import FIELD

SOURCE = Path(dagmar.__file__).parent
FILES = sorted(DOCUMENTS.glob("*.graphql"))
QUERIES = [file for file in FILES if file.read_text("utf-8").startswith("query")]
OLDEST = Path(__file__).parent / "schemas" / "dagster-1.10.0.graphql"
SERVERS = ("1.10.0", "installed")
PLAIN = {"Boolean", "Float", "ID", "Int", "String"}


@functools.cache
def text_of(server: str) -> str:
    """Return a server's schema in GraphQL's own language."""
    if server == "1.10.0":
        return OLDEST.read_text("utf-8")
    from dagster_graphql.schema import create_schema

    return graphql.print_schema(create_schema().graphql_schema)


@functools.cache
def schema_of(server: str) -> graphql.GraphQLSchema:
    return graphql.build_schema(text_of(server))


@functools.cache
def stage_of(server: str) -> graphql.GraphQLSchema:
    """Return a schema for a stand-in server: no field takes arguments."""
    schema = graphql.build_schema(text_of(server))
    for kind in schema.type_map.values():
        if isinstance(kind, (graphql.GraphQLObjectType, graphql.GraphQLInterfaceType)):
            for field in kind.fields.values():
                field.args = {}
    return schema


@functools.cache
def document(file: Path) -> graphql.DocumentNode:
    return graphql.parse(file.read_text("utf-8"))


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_document_is_valid(file: Path, server: str) -> None:
    errors = graphql.validate(schema_of(server), document(file))
    assert [error.message for error in errors] == []


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("file", QUERIES, ids=lambda file: file.stem)
def test_a_query_may_ask_for_the_servers_code_too(file: Path, server: str) -> None:
    asking = graphql.parse(with_question(file.read_text("utf-8")))
    errors = graphql.validate(schema_of(server), asking)
    assert [error.message for error in errors] == []
    (fields,) = [node.selection_set for node in asking.definitions if hasattr(node, "operation")]
    assert FIELD in [node.alias.value for node in fields.selections if node.alias]


OPTIONAL = [file for file in QUERIES if "# if " in file.read_text("utf-8")]
SOURCES = "\n".join(file.read_text("utf-8") for file in SOURCE.rglob("*.py"))
REPEATED = [file for file in QUERIES if f'query_each("{file.stem}"' in SOURCES]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("file", OPTIONAL, ids=lambda file: file.stem)
def test_a_document_is_valid_with_the_optional_fields_that_a_server_has(
    file: Path, server: str
) -> None:
    schema = schema_of(server)
    text = with_optional(
        file.read_text("utf-8"), lambda kind, field: field in schema.type_map[kind].fields
    )
    assert [error.message for error in graphql.validate(schema, graphql.parse(text))] == []
    assert (server == "installed") is (text != file.read_text("utf-8"))


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("file", REPEATED, ids=lambda file: file.stem)
def test_a_document_may_ask_for_its_field_several_times(file: Path, server: str) -> None:
    for text in (repeated(file.read_text("utf-8"), 3), repeated(file.read_text("utf-8"), 1)):
        for query in (text, with_question(text)):
            errors = graphql.validate(schema_of(server), graphql.parse(query))
            assert [error.message for error in errors] == []
    assert len(REPEATED) > 1


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_only_asset_keys_are_read_as_asset_keys(file: Path, server: str) -> None:
    """The client reads every `{path}` as one, so no value may be JSON that users wrote."""
    types = graphql.TypeInfo(schema_of(server))

    class Fields(graphql.Visitor):
        def enter_field(self, node: graphql.FieldNode, *_: object) -> None:
            kind = graphql.get_named_type(types.get_type())
            selected = node.selection_set.selections if node.selection_set else ()
            if not selected and not graphql.is_enum_type(kind):
                # The key of a mapping is a text or a number.
                assert kind.name in PLAIN or node.name.value == "mapKey"
            names = [part.name.value for part in selected if isinstance(part, graphql.FieldNode)]
            assert names != ["path"] or kind.name == "AssetKey", node.name.value

    graphql.visit(document(file), graphql.TypeInfoVisitor(types, Fields()))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_document_holds_one_operation_of_its_name(file: Path) -> None:
    nodes = document(file).definitions
    operations = [node for node in nodes if isinstance(node, graphql.OperationDefinitionNode)]
    assert [node.name and node.name.value for node in operations] == [file.stem]


def test_every_document_is_used_and_every_request_has_one() -> None:
    source = "\n".join(file.read_text("utf-8") for file in SOURCE.rglob("*.py"))
    kinds = {
        file.stem: "mutate" if file.read_text("utf-8").startswith("mutation") else "query"
        for file in FILES
    }
    assert [name for name in kinds if f'"{name}"' not in source] == []
    requests = {name: kind for kind, name in re.findall(r'\.(query|mutate)\(\s*"(\w+)"', source)}
    assert len(requests) > 10
    assert {name: kinds.get(name) for name in requests} == requests


class _Unions(graphql.Visitor):
    """Collects the selections on unions that do not ask for `__typename`."""

    def __init__(self, types: graphql.TypeInfo) -> None:
        super().__init__()
        self.types = types
        self.seen = 0
        self.nameless: list[str] = []

    def enter_field(self, node: graphql.FieldNode, *_: Any) -> None:
        kind = graphql.get_named_type(self.types.get_type())
        if graphql.is_union_type(kind) and node.selection_set:
            self.seen += 1
            selected = node.selection_set.selections
            if not any(
                isinstance(field, graphql.FieldNode) and field.name.value == "__typename"
                for field in selected
            ):
                self.nameless.append(node.name.value)


@pytest.mark.parametrize("server", SERVERS)
def test_every_selection_on_a_union_asks_for_its_member(server: str) -> None:
    seen = 0
    for file in FILES:
        types = graphql.TypeInfo(schema_of(server))
        unions = _Unions(types)
        graphql.visit(document(file), graphql.TypeInfoVisitor(types, unions))
        assert unions.nameless == [], file.stem
        seen += unions.seen
    assert seen > 8


# Unions that hold refusals

LAUNCHES = [
    ("LaunchRun", "launchRun", "LaunchRunSuccess"),
    ("LaunchBackfill", "launchPartitionBackfill", "LaunchBackfillSuccess"),
    ("ValidateConfig", "isPipelineConfigValid", "PipelineConfigValidationValid"),
]
LAUNCHES = [case for case in LAUNCHES if (DOCUMENTS / f"{case[0]}.graphql").exists()]


def union_of(schema: graphql.GraphQLSchema, field: str) -> graphql.GraphQLUnionType:
    for root in (schema.query_type, schema.mutation_type):
        if root and field in root.fields:
            kind = graphql.get_named_type(root.fields[field].type)
            assert isinstance(kind, graphql.GraphQLUnionType)
            return kind
    raise AssertionError(f"no field {field}")


def answer_with(schema: graphql.GraphQLSchema, name: str, chosen: str) -> dict[str, Any]:
    """Return what a server sends for the document `name` when its union is `chosen`."""

    def make(kind: Any) -> Any:
        if graphql.is_non_null_type(kind):
            return make(kind.of_type)
        if graphql.is_list_type(kind):
            return [make(kind.of_type)]
        if graphql.is_enum_type(kind):
            return next(iter(kind.values))
        if graphql.is_abstract_type(kind):
            members = [str(member) for member in schema.get_possible_types(kind)]
            return {"__typename": chosen if chosen in members else members[0]}
        if graphql.is_object_type(kind):
            return {}
        return {"Int": 1, "Float": 1.0, "Boolean": True}.get(kind.name, "text")

    class WithoutVariables(graphql.Visitor):
        def enter_variable_definition(self, *_: Any) -> Any:
            return graphql.REMOVE

    result = graphql.execute(
        schema,
        graphql.visit(document(DOCUMENTS / f"{name}.graphql"), WithoutVariables()),
        field_resolver=lambda _, info: make(info.return_type),
        type_resolver=lambda value, info, kind: value["__typename"],
    )
    assert isinstance(result, graphql.ExecutionResult)
    assert not result.errors, result.errors
    assert result.data
    return result.data


def cases() -> Iterator[Any]:
    for server in SERVERS:
        for name, field, wanted in LAUNCHES:
            for kind in union_of(schema_of(server), field).types:
                yield pytest.param(
                    server, name, field, wanted, kind.name, id=f"{server}-{name}-{kind.name}"
                )


@pytest.mark.parametrize(("server", "name", "field", "wanted", "kind"), list(cases()))
def test_every_member_of_a_launchs_union_is_known(
    server: str, name: str, field: str, wanted: str, kind: str
) -> None:
    launch = launching.Launch("shop", "__repository__", "nightly")
    errors = launching.refusals(launch)
    answer = answer_with(stage_of(server), name, kind)[field]
    assert answer["__typename"] == kind
    if kind == wanted:
        assert member(answer, wanted, errors) == answer
        return
    with pytest.raises(DagmarError) as caught:
        member(answer, wanted, errors)
    assert not isinstance(caught.value, UnexpectedAnswer)
    assert caught.value.message
    assert "None" not in str(caught.value)


def test_a_member_of_a_later_dagster_is_not_a_success() -> None:
    launch = launching.Launch("shop", "__repository__", "nightly")
    with pytest.raises(UnexpectedAnswer, match="LaunchedInTheFuture"):
        member(
            {"__typename": "LaunchedInTheFuture", "run": {"runId": "1"}},
            "LaunchRunSuccess",
            launching.refusals(launch),
        )
