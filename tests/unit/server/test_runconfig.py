"""Run config: how it is read, what can be sent, and the errors when Dagster refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from dagmar.errors import Invalid
from dagmar.server.runconfig import config_error, parse_yaml, read_config, read_yaml, unsendable

DAYS = "2026-01-01"


def test_a_date_stays_the_text_that_dagster_wrote() -> None:
    from dagster_shared.yaml_utils import dump_run_config_yaml

    config = {"ops": {"greet": {"config": {"name": DAYS, "at": "2026-01-01 02:00:00", "no": "01"}}}}
    text = dump_run_config_yaml(config)
    assert f"name: {DAYS}\n" in text, "Dagster writes quotes now: this test shows nothing"
    assert read_yaml(text) == config


def test_other_yaml_loaders_still_return_dates() -> None:
    assert read_yaml(f"day: {DAYS}") == {"day": parse_yaml(DAYS, "--set day")} == {"day": DAYS}
    assert str(type(yaml.safe_load(DAYS))) == "<class 'datetime.date'>"


def test_dates_in_files_and_flags_are_text(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"ops: {{a: {{config: {{first: {DAYS}}}}}}}")
    config = read_config([str(file)], [f"ops.a.config.last={DAYS}"])
    assert config == {"ops": {"a": {"config": {"first": DAYS, "last": DAYS}}}}
    assert unsendable(config) == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("ops: {a: {config: {share: .nan}}}", ["ops.a.config.share: nan cannot be sent"]),
        ("ops: {a: {config: {rows: [1, -.inf]}}}", ["ops.a.config.rows.1: -inf cannot be sent"]),
        ("{a: !!binary aGk=, b: !!set {x}}", ["a: b'hi' cannot be sent", "b: {'x'} cannot be"]),
        ("a: {1: x, true: y, ~: z}", []),
    ],
)
def test_what_json_cannot_carry_is_reported_by_its_path(text: str, lines: list[str]) -> None:
    reported = unsendable(parse_yaml(text, "--config"))
    assert len(reported) == len(lines)
    assert all(line.startswith(start) for line, start in zip(reported, lines, strict=True))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: &a {b: *a}", "it contains itself"),
        ("&a [*a]", "it contains itself"),
        ("[" * 101 + "]" * 101, "it is nested too deeply"),
    ],
)
def test_what_cannot_be_walked_through_is_refused(text: str, fault: str) -> None:
    with pytest.raises(Invalid, match=f"--param x cannot be used: {fault}"):
        parse_yaml(text, "--param x")


def test_an_alias_that_is_used_twice_does_not_contain_itself() -> None:
    assert parse_yaml("a: &a {b: x}\nc: [*a, *a]", "--config")["c"] == [{"b": "x"}, {"b": "x"}]
    assert parse_yaml("[" * 100 + "]" * 100, "--config")


def test_a_line_that_is_not_valid_is_named() -> None:
    with pytest.raises(Invalid, match="--config: line 2"):
        parse_yaml("a: 1\nb: [", "--config")


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
        "ops.report.config.rowz is not a field here — did you mean 'rows'?",
    ),
    "an unknown field at the root": (
        refused(
            "FIELD_NOT_DEFINED",
            'Received unexpected config entry "op" at the root. Expected: "{ ops?: {} }".',
            fieldName="op",
        ),
        "op is not a field here — did you mean 'ops'?",
    ),
    "a field that is one op's": (
        refused(
            "FIELD_NOT_DEFINED",
            'Received unexpected config entry "rows" at the root. Expected: "{ execution?: { '
            "config?: { rows?: { enabled?: { } } } } ops: { other?: { config?: { label?: String "
            '} } report?: { config?: { rows?: (Int | { env: String }) title: String } } } }".',
            fieldName="rows",
        ),
        "rows is not a field here — did you mean 'ops.report.config.rows'?",
    ),
    "a field that several ops have": (
        refused(
            "FIELD_NOT_DEFINED",
            'Expected: "{ ops?: { a?: { config: { rows?: Int } } b?: { config: { rows?: Int } } '
            'tows?: Int } }".',
            OPS, fieldName="rows",
        ),
        "ops.rows is not a field here — did you mean 'tows'?",
    ),
    "several unknown fields": (
        refused("FIELDS_NOT_DEFINED", 'Expected: "{ rows?: Int }"', OPS, fieldNames=["a1", "rowz"]),
        "ops.a1 is not a field here; ops.rowz is not a field here — did you mean 'rows'?",
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
