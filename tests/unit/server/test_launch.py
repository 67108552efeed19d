"""What is said of a run config that is refused, and what is sent of a backfill."""

from __future__ import annotations

from typing import Any

import pytest
from dagmar.errors import Invalid
from dagmar.project.settings import Target
from dagmar.server.client import DagsterClient
from dagmar.server.launch import Launch, config_error, launch_backfill, validate
from support.http_server import dagster, serve


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
    found = config_error("job report", [error])
    assert isinstance(found, Invalid)
    assert found.message == f"the run config of job report is not valid:\n  {line}"
    assert "--set" in found.hint


def test_every_field_that_is_refused_is_told_once() -> None:
    errors = [error for error, _ in CASES.values()]
    lines = config_error("orders", [*errors, *errors]).message.splitlines()[1:]
    assert sorted(lines) == sorted(f"  {line}" for _, line in CASES.values())


def backfill(*assets: str, config: dict[str, Any] | None = None) -> Launch:
    keys = [str(number) for number in range(31)]
    found = Launch("shop", "__repository__", "__ASSET_JOB", list(assets), partitions=keys)
    found.config = config or {}
    return found


def title_of(launch: Launch) -> str:
    made = {"__typename": "LaunchBackfillSuccess", "backfillId": "b-1"}
    with (
        serve(dagster({"LaunchBackfill": {"launchPartitionBackfill": made}})) as server,
        DagsterClient(Target("local", server.url)) as client,
    ):
        assert launch_backfill(client, launch) == "b-1"
    return str(server.seen[0].sent["variables"]["params"]["title"])


@pytest.mark.parametrize(
    "assets", [("orders",), ("a" * 200,), tuple(f"sales/{i}" for i in range(40)), ('100 % "*"',)]
)
def test_the_title_of_a_backfill_is_one_that_dagster_takes(assets: tuple[str, ...]) -> None:
    from dagster._core.definitions.utils import check_valid_title

    title = title_of(backfill(*assets))
    assert check_valid_title(title) == title
    assert title.startswith(assets[0][:80].translate(str.maketrans("", "", '%*"')))
    assert title.endswith(" (31 partitions)")


def test_config_for_a_backfill_is_refused_where_the_server_cannot_take_it() -> None:
    old = {"__type": {"inputFields": [{"name": "assetSelection"}, {"name": "tags"}]}}
    launch = backfill("orders", config={"execution": {"config": {"in_process": {}}}})
    with (
        serve(dagster({"BackfillParams": old})) as server,
        DagsterClient(Target("local", server.url)) as client,
        pytest.raises(Invalid, match="no run config for several partitions") as caught,
    ):
        validate(client, launch)
    assert "1.11" in caught.value.hint
    assert [seen.sent["operationName"] for seen in server.seen] == ["BackfillParams"]


def test_config_that_cannot_be_sent_is_refused_before_anything_is_asked() -> None:
    launch = backfill("orders", config={"ops": {"orders": {"config": {"share": float("nan")}}}})
    with (
        serve(dagster({})) as server,
        DagsterClient(Target("local", server.url)) as client,
        pytest.raises(Invalid, match=r"ops\.orders\.config\.share: nan cannot be sent"),
    ):
        validate(client, launch)
    assert server.seen == []
