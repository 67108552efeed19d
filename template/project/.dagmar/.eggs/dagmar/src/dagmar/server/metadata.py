"""Metadata of Dagster's events and assets: numbers, short values, the columns of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

Entry = Mapping[str, Any]
"""A `MetadataEntry` of an answer; which of its fields has the value depends on its type."""

COLUMN_SCHEMA = "dagster/column_schema"
NUMBERS: Mapping[str, Callable[[Any], float]] = {"intRepr": int, "floatValue": float}
TEXTS: Mapping[str, Callable[[Any], str]] = dict.fromkeys(("text", "path", "url"), str)
# What fits into one line; tables and schemas are left to the Dagster UI.
VALUES: Mapping[str, Callable[[Any], float | str]] = {**NUMBERS, "boolValue": bool, **TEXTS}
T = TypeVar("T")


def read_metadata(
    entries: Iterable[Entry], types: Mapping[str, Callable[[Any], T]]
) -> dict[str, T]:
    """Return the metadata of these types by label."""
    return {
        entry["label"]: convert(entry[name])
        for entry in entries
        for name, convert in types.items()
        if entry.get(name) is not None
    }


def read_columns(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return the columns of a table: `name`, `type` and `description` of each."""
    for entry in entries:
        if entry["label"] == COLUMN_SCHEMA and entry.get("schema"):
            return list(entry["schema"]["columns"])
    return []
