"""Errors about run config: each fault by its path, read out of Dagster's prose.

Dagster's GraphQL answer names the place of a fault, but what is expected there only in the
text of its message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from dagmar.errors import Invalid, did_you_mean
from dagmar.server.catalog import Item

CORRECT_IT = "Correct the run config, and launch again."


def config_error(what: str, errors: Iterable[Item], hint: str = CORRECT_IT) -> Invalid:
    """Return an error that names each field of the run config that Dagster refuses."""
    return not_valid(what, sorted({_line(error) for error in errors}), hint)


def no_such_ops(
    what: str, names: Iterable[str], known: Iterable[str], hint: str = CORRECT_IT
) -> Invalid:
    """Return the error for run config of ops that do not run, with what may be meant."""
    known = list(known)
    lines = [f"ops.{name} is no op of {what}{did_you_mean(name, known)}" for name in names]
    return not_valid(what, lines, hint)


def not_valid(what: str, lines: Iterable[str], hint: str = CORRECT_IT) -> Invalid:
    """Return an error for a run config, with a line for each fault in it."""
    return Invalid(f"the run config of {what} is not valid:\n  " + "\n  ".join(lines), hint)


def _line(error: Item) -> str:
    path = [
        str(entry.get("fieldName", entry.get("listIndex", entry.get("mapKey"))))
        for entry in error["stack"]["entries"]
    ]
    field_name = (error.get("field") or {}).get("name") or error.get("fieldName")
    missing = [field["name"] for field in error.get("fields", [])] or [field_name]
    kind, message = error["reason"], error["message"]
    if kind.startswith("MISSING_REQUIRED_FIELD"):
        example = message.partition("Example config for the missing entry: ")[2].strip()
        such = f", for example {example}" if example else ""
        return "; ".join(f"{'.'.join([*path, str(name)])} is missing{such}" for name in missing)
    if path == ["execution", "config"] and field_name == "in_process":
        return "the executor of this code location cannot be chosen: leave --executor out"
    if kind.startswith(("FIELD_NOT_DEFINED", "FIELDS_NOT_DEFINED")):
        # Dagster appends the schema as text: its names are what may have been meant.
        known = list(_fields(message.partition("Expected: ")[2]))
        return "; ".join(
            f"{'.'.join([*path, str(name)])} is no field here{_meant(path, str(name), known)}"
            for name in error.get("fieldNames") or [field_name]
        )
    first = message.split(" Expected: ")[0].splitlines()[0].strip()
    return f"{'.'.join(path) or 'the root'}: {first}"


def _fields(schema: str) -> Iterator[list[str]]:
    """Yield the path of each field in a schema as Dagster writes it, `{ ops?: { a: Int } }`."""
    above: list[str] = []
    name = ""
    for field_name, brace in re.findall(r"(\w+)\??:|([{}])", schema):
        if brace == "{":
            above.append(name)
        elif brace:
            del above[-1:]
        else:
            name = field_name
            yield [*above[1:], name]


def _meant(path: Sequence[str], name: str, known: Sequence[Sequence[str]]) -> str:
    """Return what may be meant by a field: that of the one op which has it, or one that is near."""
    deeper = [[*path, *field] for field in known if field[-1] == name]
    if len(of_ops := [field for field in deeper if field[0] == "ops"]) == 1:
        return f" — did you mean '{'.'.join(of_ops[0])}'?"
    return did_you_mean(name, {field[-1] for field in known} - {name})
