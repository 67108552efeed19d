"""What is said of a run config that Dagster refuses."""

from __future__ import annotations

from typing import Any

import pytest
from dagmar.errors import Invalid
from dagmar.server.configerrors import config_error


def refused(reason: str, message: str, *path: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"reason": reason, "message": message, "stack": {"entries": list(path)}, **more}


OPS = {"fieldName": "ops"}
REPORT = {"fieldName": "report"}

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "wrong type": (
        refused(
            "RUNTIME_TYPE_MISMATCH",
            'Invalid scalar at path root:ops:report:rows. Value "x" is not valid for expected '
            'type "Int".',
            OPS, REPORT, {"fieldName": "rows"},
        ),
        'ops.report.rows: Invalid scalar at path root:ops:report:rows. Value "x" is not valid '
        'for expected type "Int".',
    ),
    "an unknown field": (
        refused(
            "FIELD_NOT_DEFINED",
            'Received unexpected config entry "rowz" at path root:ops:report:config. '
            'Expected: "{ label?: String rows?: Int }".',
            OPS, REPORT, {"fieldName": "config"}, fieldName="rowz",
        ),
        "ops.report.config.rowz is no field here — did you mean 'rows'?",
    ),
    "an unknown field at the root": (
        refused(
            "FIELD_NOT_DEFINED",
            'Received unexpected config entry "op" at the root. Expected: "{ ops?: {} }".',
            fieldName="op",
        ),
        "op is no field here — did you mean 'ops'?",
    ),
    "a field that is one op's": (
        refused(
            "FIELD_NOT_DEFINED",
            'Received unexpected config entry "rows" at the root. Expected: "{ execution?: { '
            "config?: { rows?: { enabled?: { } } } } ops: { other?: { config?: { label?: String "
            '} } report?: { config?: { rows?: (Int | { env: String }) title: String } } } }".',
            fieldName="rows",
        ),
        "rows is no field here — did you mean 'ops.report.config.rows'?",
    ),
    "a field that several ops have": (
        refused(
            "FIELD_NOT_DEFINED",
            'Expected: "{ ops?: { a?: { config: { rows?: Int } } b?: { config: { rows?: Int } } '
            'tows?: Int } }".',
            OPS, fieldName="rows",
        ),
        "ops.rows is no field here — did you mean 'tows'?",
    ),
    "several unknown fields": (
        refused("FIELDS_NOT_DEFINED", 'Expected: "{ rows?: Int }"', OPS, fieldNames=["a1", "rowz"]),
        "ops.a1 is no field here; ops.rowz is no field here — did you mean 'rows'?",
    ),
    "a missing field": (
        refused(
            "MISSING_REQUIRED_FIELD",
            'Missing required config entry "rows" at path root:ops. '
            "Example config for the missing entry: {'rows': 0}",
            OPS, field={"name": "rows"},
        ),
        "ops.rows is missing, for example {'rows': 0}",
    ),
    "missing fields": (
        refused(
            "MISSING_REQUIRED_FIELDS", "Missing", OPS, fields=[{"name": "a"}, {"name": "b"}]
        ),
        "ops.a is missing; ops.b is missing",
    ),
    "in a list and a map": (
        refused("RUNTIME_TYPE_MISMATCH", "No.", OPS, {"listIndex": 0}, {"mapKey": "de"}),
        "ops.0.de: No.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("error", "line"), CASES.values(), ids=CASES)
def test_a_field_that_is_refused_is_named_by_its_path(error: dict[str, Any], line: str) -> None:
    refusal = config_error("job report", [error], "Use --set.")
    assert isinstance(refusal, Invalid)
    assert refusal.message == f"the run config of job report is not valid:\n  {line}"
    assert refusal.hint == "Use --set."


def test_every_field_that_is_refused_is_named_once() -> None:
    errors = [error for error, _ in CASES.values()]
    lines = config_error("orders", [*errors, *errors]).message.splitlines()[1:]
    assert sorted(lines) == sorted(f"  {line}" for _, line in CASES.values())
