"""The page on mutation tests names the modules that are configured, and they exist."""

from __future__ import annotations

import re

import pytest
from support.source import ROOT, SOURCE

tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
PAGE = ROOT / "docs/explanation/mutation.md"
ROW = re.compile(r"^\| `([\w/]+\.py)`" + r" \| (\d+|–)" * 5 + r" \|", re.MULTILINE)


def test_the_table_has_the_configured_modules_and_its_numbers_add_up() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mutmut"]
    rows = ROW.findall(PAGE.read_text("utf-8"))
    modules = [name.removeprefix("src/") for name in config["only_mutate"]]
    assert [name for name, *_ in rows] == sorted(modules)
    for name in modules:
        assert (SOURCE.parent / name).is_file() or (ROOT / "hooks" / name).is_file(), name
    for name, *numbers in rows:
        mutants, *parts = (0 if number == "–" else int(number) for number in numbers)
        assert mutants == sum(parts), name


def test_the_tests_that_are_configured_exist() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mutmut"]
    chosen = config["pytest_add_cli_args_test_selection"]
    assert [name for name in chosen if not (ROOT / name).exists()] == []
    assert [name for name in config["also_copy"] if not (ROOT / name).exists()] == []
