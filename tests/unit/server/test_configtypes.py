"""Run config that a user types gets the types of Dagster's own schema."""

import enum
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagmar.errors import Invalid
from dagmar.orchestration.here import types_of
from dagmar.scalars import Plain, dump, parse, resolve
from dagmar.server.configtypes import ConfigTypes, fitted
from dagmar.server.runconfig import read_config, read_yaml
from pydantic import Field

TYPED = ("NO", "10:30", "01067", "1_000", "0o17", "007", "1.10", "2024-02-01", "null", "on", "1e3")
"""What YAML 1.1, or a guess, turns into something else."""
CORE = {"0o17": 15, "1.10": 1.1, "null": None, "1e3": 1000.0}
"""What is not text where nothing says what it is."""


class Grade(enum.Enum):
    NO = 1
    YES = 2


class Settings(dg.Config):
    name: str
    label: str | None = None
    count: int = 1
    share: float = 0.5
    quiet: bool = False
    more: dict[str, Any] = Field({})
    words: list[str] = Field([])
    counts: dict[str, int] = Field({})


@dg.op
def typed(config: Settings) -> None: ...


@dg.op(
    config_schema={
        "free": dg.Field(dg.Permissive({"zip": str}), is_required=False),
        "any": dg.Field(dg.Any, is_required=False),
        "grade": dg.Field(dg.Enum.from_python_enum(Grade), is_required=False),
        "rows": dg.Field([{"id": str, "size": int}], is_required=False),
        "choice": dg.Field(dg.Selector({"text": str, "number": int}), is_required=False),
    }
)
def plain(context: dg.OpExecutionContext) -> None: ...


@dg.job
def job() -> None:
    typed()
    plain()


READ = types_of(job, [])


def fit(config: dict[str, Any]) -> Any:
    return fitted({"ops": config}, "job", lambda: READ)["ops"]


def typed_as(op: str, *path: str, text: str) -> Any:
    """Return what `--set` makes of a text for this field."""
    value = fitted(
        read_config((), [f"ops.{op}.config.{'.'.join(path)}={text}"]), "job", lambda: READ
    )
    for part in ("ops", op, "config", *path):
        value = value[part]
    return value


@pytest.mark.parametrize("text", TYPED)
def test_text_stays_text_where_the_schema_has_text(text: str) -> None:
    for field in (("typed", "name"), ("plain", "free", "zip"), ("plain", "choice", "text")):
        if text != "null" or field != ("typed", "name"):
            assert typed_as(*field, text=text) == text
    assert typed_as("typed", "words", text=f"[{text}]") == [text]
    assert typed_as("plain", "rows", text=f"[{{id: {text}, size: 007}}]") == [
        {"id": text, "size": 7}
    ]


@pytest.mark.parametrize("text", TYPED)
def test_text_is_what_yaml_1_2_says_where_the_schema_is_open(text: str) -> None:
    for field in (("typed", "more", "x"), ("plain", "free", "x"), ("plain", "any")):
        value = typed_as(*field, text=text)
        assert (value, type(value)) == (CORE.get(text, text), type(CORE.get(text, text)))


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("count", "007", 7),
        ("count", "1_000", 1000),
        ("count", "0x1F", 31),
        ("count", "many", "many"),  # Dagster refuses it, and says why
        ("share", "1e-3", 0.001),
        ("share", "2", 2.0),
        ("share", ".inf", float("inf")),
        ("quiet", "yes", True),
        ("quiet", "OFF", False),
        ("quiet", "maybe", "maybe"),
        ("label", "~", None),
        ("label", "'~'", "~"),
        ("label", "!!str 5", "5"),
        ("counts", "{NO: 010}", {"NO": 10}),
        ("name", "{env: 007}", {"env": "007"}),
    ],
)
def test_the_schema_decides_what_text_means(field: str, text: str, value: Any) -> None:
    typed = typed_as("typed", field, text=text)
    assert (typed, type(typed)) == (value, type(value))


def test_the_name_of_an_enum_stays_its_name() -> None:
    assert typed_as("plain", "grade", text="NO") == "NO"


def test_files_are_read_by_the_same_rules_and_their_keys_are_text(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("ops: {typed: {config: {name: NO, more: {NO: 10:30, 010: 1, on: yes}}}}")
    config = fitted(read_config([str(file)]), "job", lambda: READ)
    assert json.loads(json.dumps(config)) == {
        "ops": {"typed": {"config": {"name": "NO", "more": {"NO": "10:30", "010": 1, "on": "yes"}}}}
    }


def test_the_schema_is_not_read_for_text_that_is_text_to_any_type() -> None:
    def read() -> ConfigTypes:
        raise AssertionError("read")

    assert fitted(read_config((), ["a=some text", 'b="007"']), "job", read)
    with pytest.raises(AssertionError, match="read"):
        fitted(read_config((), ["a=007"]), "job", read)


def test_config_without_an_end_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = {"b": [endless]}
    with pytest.raises(Invalid, match="it contains itself"):
        fitted(endless, "job", lambda: READ)


def test_what_the_controls_show_is_read_as_the_same_values() -> None:
    shown = {"a": [*TYPED, "", "x: y", " "], "b": {"NO": "x"}, "c": [1, 1.5, True, None, 1e20]}
    assert resolve(parse(dump(shown))) == read_yaml(dump(shown)) == shown


def test_text_that_waits_for_its_type_equals_what_it_is_without_one() -> None:
    assert parse("[1, yes, 'true', true]") == [1, "yes", "true", True]
    assert Plain("1") != "1"
    assert {Plain("1"): "x"}[1] == "x"  # type: ignore[index]
