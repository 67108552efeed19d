"""A server whose answers fit Dagster's schema at random, and are damaged at random."""

from __future__ import annotations

import copy
import functools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import graphql
from support.http_server import Handler
from support.selections import read

OLDEST = Path(__file__).parents[1] / "contract" / "schemas" / "dagster-1.10.0.graphql"
RUN_ID = "0c1ff222-4c0f-4ee2-9b5c-000000000001"
LOCATION = "shop"
TEXTS: dict[str, list[str]] = {
    "runId": [RUN_ID],
    "id": [RUN_ID],
    "backfillId": ["abcdefgh"],
    "pipelineName": ["nightly"],
    "jobName": ["nightly", "__ASSET_JOB"],
    "jobNames": ["nightly", "__ASSET_JOB"],
    "stepKey": ["orders", "", "raw__orders"],
    "intRepr": ["7", "-1", "1" * 400],
    "cursor": ["1", "2", ""],
    "repositoryLocationName": [LOCATION],
    "runConfigYaml": ["ops: {a: {config: {b: 1}}}", "{}", "no"],
    "rootDefaultYaml": ["ops: {a: {config: {b: 1}}}"],
    "yaml": ["ops: {}"],
    "type": ["STATIC", "TIME_WINDOW", "MULTIPARTITIONED"],
}
NAMES = {
    "RepositoryLocation": [LOCATION],
    "WorkspaceLocationEntry": [LOCATION],
    "Repository": ["__repository__"],
    "Pipeline": ["nightly"],
    "PartitionSet": ["other"],
    "Job": ["nightly"],
}
PERMISSIONS = ("launch_pipeline_execution", "launch_partition_backfill")
REFUSES = ("Error", "Invalid", "Failure", "NotFound")
UNLIKELY = ("hasMore", "isPartitioned")
WORDS = ["orders", "nightly", LOCATION, "__repository__", "", "2026-01-01", "{}", "ops: {a: 1}"]
DAMAGE: list[Any] = [
    None, True, -1, 10**30, 1e308, float("nan"), "", "\x00\x1b[31m\x1b]0;x\x07", "\ud800",
    "9" * 5_000, "null", [], [[]], [None], {}, {"path": [1]}, {"path": None},
    {"__typename": "Later"}, {"__typename": None},
]  # fmt: skip
BODIES = [
    b"", b"null", b"[]", b"{}", b'{"data": null}', b'{"data": []}', b'{"data": {}}', b"\xff\xfe",
    b'{"errors": []}', b'{"errors": [null, {"message": 7}]}', b'{"errors": {"message": "x"}}',
    b"[" * 100_000, b'{"data": {"a": ' + b"9" * 5_000 + b"}}", b"<html>Sign in</html>",
]  # fmt: skip


@functools.cache
def schema() -> graphql.GraphQLSchema:
    return graphql.build_schema(OLDEST.read_text("utf-8"))


@functools.cache
def parsed(text: str) -> graphql.DocumentNode:
    return graphql.parse(text)


def _is(kind: Any, condition: Any) -> bool:
    """Return whether an object of this type has the fields of a fragment on `condition`."""
    return condition is kind or (
        graphql.is_abstract_type(condition) and schema().is_sub_type(condition, kind)
    )


class Fuzzed:
    """The answers of such a server.

    `rate` is the share of them that are damaged, `variety` that of their parts that are unusual.
    """

    def __init__(self, seed: int, rate: float, variety: float) -> None:
        self.variety = variety
        self.random = random.Random(seed)
        self.rate = rate
        self.operations: Counter[str] = Counter()
        self.damages = 0

    def __call__(self, handler: Handler) -> None:
        """Answer a request."""
        sent = handler.server.seen[-1].sent
        self.operations[sent["operationName"]] += 1
        data = self._answer(parsed(sent["query"]))
        damaged = self.random.random() < self.rate
        self.damages += damaged
        body = json.dumps({"data": data}).encode()
        status = 200
        if damaged and self.random.random() < 0.2:
            body = self.random.choice([*BODIES, body[: self.random.randrange(len(body))]])
            status = self.random.choice([200, 200, 500, 404])
        elif damaged:
            for _ in range(self.random.choice([1, 1, 3])):
                self._damage(data)
            body = json.dumps({"data": data}).encode()
        handler.reply(status, body, Content_Type="application/json")

    def _damage(self, data: dict[str, Any]) -> None:
        """Put something else in one place."""
        places: list[tuple[Any, Any]] = []

        def collect(value: Any) -> None:
            if isinstance(value, (dict, list)):
                keys = list(value) if isinstance(value, dict) else range(len(value))
                for key in keys:
                    places.append((value, key))
                    collect(value[key])

        collect(data)
        if not places:
            return
        holder, key = self.random.choice(places)
        value = holder[key]
        kind = self.random.choice(["other", "other", "gone", "listed", "first", "again"])
        if kind == "gone":
            del holder[key]
        elif kind == "listed":
            holder[key] = [value]
        elif kind == "first" and isinstance(value, list):
            holder[key] = value[0] if value else None
        elif kind == "again" and isinstance(value, list):
            holder[key] = value * 2
        else:
            holder[key] = copy.deepcopy(self.random.choice(DAMAGE))

    def _answer(self, document: graphql.DocumentNode) -> dict[str, Any]:
        self._operation = read(schema(), document)
        return self._object(self._operation.selection, self._operation.root)

    def _object(self, selected: graphql.SelectionSetNode, kind: Any) -> dict[str, Any]:
        """Return an object of this type, or of one that an abstract type stands for."""
        if graphql.is_abstract_type(kind):
            wanted = [
                node.type_condition.name.value
                for node in selected.selections
                if isinstance(node, graphql.InlineFragmentNode) and node.type_condition
            ]
            members = [str(member) for member in schema().get_possible_types(kind)]
            known = [name for name in wanted if name in members]
            known += [name for name in members if name == "PipelineConfigValidationValid"]
            known.sort(key=lambda name: any(word in name for word in REFUSES))
            # The first one is that of success.
            first = known and self.random.random() > self.variety
            name = known[0] if first else self.random.choice(known or members)
            kind = schema().type_map[name]
        return {
            node.alias.value if node.alias else node.name.value: (
                kind.name if node.name.value == "__typename" else self._value(node, kind, whole)
            )
            for node, whole in self._operation.fields(selected, kind, _is)
        }

    def _value(self, node: graphql.FieldNode, on: Any, kind: Any, required: bool = False) -> Any:
        if graphql.is_non_null_type(kind):
            return self._value(node, on, kind.of_type, required=True)
        if not required and self.random.random() < 0.15:
            return None
        name = node.name.value
        if graphql.is_list_type(kind):
            if name == "path":
                usual = self.random.random() > self.variety
                return ["raw", "orders"] if usual else self.random.choice([["raw"], ["a", "b"]])
            if name == "permissions":
                known = [each for each in PERMISSIONS if self.random.random() > self.variety]
                yes = self.random.random() > self.variety
                return [
                    {"permission": each, "value": yes, "disabledReason": None} for each in known
                ]
            count = 1 if self.random.random() > self.variety else self.random.choice([0, 2, 3])
            return [self._value(node, on, kind.of_type) for _ in range(count)]
        if node.selection_set:
            return self._object(node.selection_set, kind)
        return self._plain(name, kind, on.name)

    def _plain(self, name: str, kind: Any, on: str) -> Any:
        choose = self.random.choice
        if graphql.is_enum_type(kind):
            names = list(kind.values)
            return "SUCCESS" if "SUCCESS" in names and self.random.random() < 0.5 else choose(names)
        if kind.name == "Boolean":
            return self.random.random() < (self.variety if name in UNLIKELY else 1 - self.variety)
        if kind.name == "Int":
            return choose([0, 1, 3, -1, 2**31 - 1])
        if kind.name == "Float":
            return choose([0.0, 1.8e9, 1_800_000_123.5, 1.8e9 + 60, -1.0])
        if "timestamp" in name.lower():
            return choose(["1800000000000", "0", "1800000060000"])
        names = NAMES.get(on) if name in ("name", "pipelineName", "jobName") else None
        return choose(names or TEXTS.get(name) or WORDS)
