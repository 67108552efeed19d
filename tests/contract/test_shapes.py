"""The shapes that the client checks answers against are those of Dagster's schemas."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import graphql
from dagmar.server.shapes import SHAPES
from support.answer_shapes import shapes

OLDEST = Path(__file__).parent / "schemas" / "dagster-1.10.0.graphql"


@functools.cache
def schemas() -> list[graphql.GraphQLSchema]:
    from dagster_graphql.schema import create_schema

    texts = OLDEST.read_text("utf-8"), graphql.print_schema(create_schema().graphql_schema)
    return [graphql.build_schema(text) for text in texts]


def test_the_shapes_are_those_of_the_oldest_and_the_installed_dagster() -> None:
    rows = (f"{json.dumps(name)}: {json.dumps(shape)}" for name, shape in shapes(schemas()).items())
    text = "{\n" + ",\n".join(rows) + "\n}\n"
    if os.environ.get("WRITE_SHAPES"):
        SHAPES.write_text(text, "utf-8")
    assert SHAPES.read_text("utf-8") == text, "type: WRITE_SHAPES=1 uv run pytest " + __file__
