"""Run config from files and flags: what YAML makes of it, and what can be sent."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from dagmar.errors import Invalid
from dagmar.server.runconfig import parse_yaml, read_config, read_yaml, unsendable

DAYS = "2026-01-01"


def test_a_date_stays_the_text_that_dagster_wrote() -> None:
    from dagster_shared.yaml_utils import dump_run_config_yaml

    config = {"ops": {"greet": {"config": {"name": DAYS, "at": "2026-01-01 02:00:00", "no": "01"}}}}
    text = dump_run_config_yaml(config)
    assert f"name: {DAYS}\n" in text, "Dagster writes quotes now: this test shows nothing any more"
    assert read_yaml(text) == config


def test_the_loader_of_others_still_makes_dates() -> None:
    assert read_yaml(DAYS) == DAYS
    assert str(type(yaml.safe_load(DAYS))) == "<class 'datetime.date'>"
    assert parse_yaml(DAYS, "--param day", dates=True) == yaml.safe_load(DAYS)


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
        ("a: &a {b: *a}", ["it contains itself"]),
        ("a: {1: x, true: y, ~: z}", []),
    ],
)
def test_what_json_cannot_carry_is_told_by_its_path(text: str, lines: list[str]) -> None:
    found = unsendable(parse_yaml(text, "--config"))
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))


def test_a_line_that_is_not_valid_is_named() -> None:
    with pytest.raises(Invalid, match="--config: line 2"):
        parse_yaml("a: 1\nb: [", "--config")
