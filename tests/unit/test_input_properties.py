"""Whatever is typed into a flag or a file: it is read, or refused with what to do instead."""

from __future__ import annotations

import math
import string
from typing import Any

import pytest
import yaml
from dagmar import scalars
from dagmar.asset_key import AssetKey
from dagmar.console import format_duration
from dagmar.errors import DagmarError
from dagmar.flags import parse_number, parse_pairs, parse_port, parse_tags, parse_whole
from dagmar.project.sources import merge
from dagmar.scaffold.naming import LONGEST, Names
from dagmar.scaffold.notebooks import ScaffoldRequest
from dagmar.server.launch import given_tags
from dagmar.server.names import choose, names_of, possible_names
from dagmar.server.partitions import Choice, Partitions
from dagmar.server.runconfig import named_ops, parse_config, read_config, unsendable
from hypothesis import given
from hypothesis import strategies as st
from support.refusals import refused
from support.texts import KEYS, PLAIN, TEXTS, YAML

USAGE, INVALID = (2,), (7,)
NUMBERS = st.from_regex(r"[-+]?[0-9._e]{0,6}", fullmatch=True) | st.floats().map(str) | TEXTS


@given(NUMBERS)
def test_a_number_is_in_its_range_or_wrong_usage(text: str) -> None:
    number = refused(USAGE, parse_number, "--timeout", text, 600, 0.1, "seconds")
    assert number is None or (number >= 0.1 and math.isfinite(number))
    whole = refused(USAGE, parse_whole, "--workers", text, 4)
    assert whole is None or (isinstance(whole, int) and whole >= 1)
    port = refused(USAGE, parse_port, "--dagster-port", text)
    assert port is None or 1 <= port <= 65535


@given(st.integers(1, 999_999_999))
def test_a_whole_number_is_the_one_that_was_typed(number: int) -> None:
    assert parse_whole("--workers", str(number), 4) == number


@given(st.floats(0, 1e9))
def test_a_duration_is_shown_in_few_words(seconds: float) -> None:
    assert 0 < len(format_duration(seconds)) < 20


@given(st.lists(TEXTS, max_size=3))
def test_tags_are_read_or_wrong_usage(texts: list[str]) -> None:
    pairs = refused(USAGE, parse_tags, texts)
    if pairs is not None:
        assert [key for key, _ in pairs] == [text.partition("=")[0].strip() for text in texts]
        refused(USAGE, given_tags, pairs, "Use --partition.")


@given(st.text(string.ascii_letters, min_size=1), TEXTS)
def test_a_pair_that_is_typed_comes_back(key: str, value: str) -> None:
    assert parse_pairs("--tag", [f"{key}={value}"], "a=b") == ((key, value),)


@given(PLAIN)
def test_a_value_that_is_written_as_yaml_comes_back(value: Any) -> None:
    text = scalars.dump(value)
    assert scalars.resolve(scalars.parse(text)) == value
    assert yaml.safe_load(text) == value


@given(YAML)
def test_run_config_is_a_mapping_that_can_be_sent_or_is_refused_with_the_line(text: str) -> None:
    config = refused(INVALID, parse_config, text, "--config x.yaml", "x.yaml is not a mapping")
    if config is not None:
        assert isinstance(config, dict)
        assert all(isinstance(line, str) for line in unsendable(config))
        assert named_ops(config) == [str(name) for name in named_ops(config)]


SETS = st.tuples(st.from_regex(r"[a-z.]{1,9}", fullmatch=True), YAML).map("=".join)


@given(st.lists(TEXTS | SETS, max_size=3))
def test_values_of_run_config_are_read_or_refused(values: list[str]) -> None:
    config = refused((2, 7), read_config, (), values)
    assert config is None or isinstance(config, dict)


@given(st.dictionaries(st.text(string.ascii_lowercase, min_size=1), st.integers()))
def test_each_value_of_run_config_is_where_it_was_set(values: dict[str, int]) -> None:
    config = read_config((), [f"ops.{name}.config.rows={value}" for name, value in values.items()])
    found = {name: op["config"]["rows"] for name, op in config.get("ops", {}).items()}
    assert found == values


@given(PLAIN, PLAIN)
def test_merging_keeps_what_the_upper_one_says(lower: Any, upper: Any) -> None:
    merged = merge({"a": lower, "b": 1}, {"a": upper})
    assert merged["b"] == 1
    assert merge(merged, {"a": upper}) == merged


@given(KEYS)
def test_every_asset_has_a_notebook_with_a_name_that_is_allowed(key: AssetKey) -> None:
    name = Names().of_notebook(key)
    assert Names().check(name) == name
    assert len(name.encode()) <= LONGEST + len("_notebook")
    assert Names().of_notebook(key) == name


@given(TEXTS)
def test_a_name_of_a_notebook_is_kept_or_wrong_usage(text: str) -> None:
    assert refused(USAGE, Names().check, text) in (None, text)


@given(st.lists(KEYS, min_size=1, max_size=5))
def test_inputs_have_variables_of_their_own(keys: list[AssetKey]) -> None:
    names = Names().of_variables(keys)
    assert len({*names}) == len(names) == len(keys)
    assert all(name.isidentifier() and not name.startswith("_") for name in names)


@given(
    st.builds(
        dict,
        assets=st.lists(TEXTS, max_size=2),
        jobs=st.lists(TEXTS, max_size=1),
        select=st.just("") | TEXTS,
        run=st.just("") | TEXTS,
        one=st.booleans(),
        template=st.sampled_from(["default", "ml", "own", "", "."]) | TEXTS,
        name=st.just("") | TEXTS,
        title=st.just("") | TEXTS,
        options=st.dictionaries(st.sampled_from(["width", "x"]) | TEXTS, TEXTS, max_size=2),
        force=st.booleans(),
        git_commit=st.booleans(),
        dry_run=st.booleans(),
    )
)
def test_flags_of_scaffold_fit_together_or_are_refused(flags: dict[str, Any]) -> None:
    refused((2, 7), ScaffoldRequest, **flags)


NAMES = st.text("ab/@\\é ", min_size=1, max_size=4) | TEXTS.filter(bool)
ITEMS = st.lists(
    st.builds(dict, name=NAMES, location=NAMES, repository=NAMES), min_size=1, max_size=5,
    unique_by=lambda item: tuple(item.values()),
)  # fmt: skip


@given(ITEMS, NAMES)
def test_a_name_means_one_thing_or_is_refused(items: list[dict[str, Any]], name: str) -> None:
    found = refused(INVALID, choose, "job", name, items)
    assert found is None or name in names_of(found)
    assert name in possible_names(name)


DIMENSIONS = st.dictionaries(
    st.text("xyz", min_size=1, max_size=2),
    st.lists(st.text("ab.-", min_size=1, max_size=4), min_size=1, max_size=4, unique=True),
    min_size=1, max_size=2,
)  # fmt: skip


@given(DIMENSIONS, st.data())
def test_partitions_that_exist_are_chosen_in_order(
    dimensions: dict[str, list[str]], data: st.DataObject
) -> None:
    partitions = Partitions("orders", dimensions)
    keys = partitions.keys
    some = data.draw(st.lists(st.sampled_from(keys), min_size=1, unique=True))
    assert partitions.choose(Choice(keys=some)) == [key for key in keys if key in some]
    assert partitions.choose(Choice(all=True)) == keys
    assert partitions.choose(Choice(latest=True)) == keys[-1:]
    for key in some:
        assert set(partitions.tags(key)) >= {"dagster/partition"}
    first, last = keys[0], keys[-1]
    chosen = refused((2, 7), lambda: partitions.choose(Choice(range=f"{first}...{last}")))
    # Dots in keys make a range ambiguous.
    assert chosen == keys or "." in f"{first}{last}"


@given(DIMENSIONS, st.lists(TEXTS, max_size=2), st.just("") | TEXTS, st.booleans())
def test_any_other_partition_is_refused(
    dimensions: dict[str, list[str]], keys: list[str], range: str, latest: bool
) -> None:
    partitions = Partitions("orders", dimensions)
    choice = refused(USAGE, Choice, keys, range, latest=latest)
    if choice:
        chosen = refused(INVALID, partitions.choose, choice)
        assert set(chosen or ()) <= {*partitions.keys}


def test_the_property_can_fail() -> None:
    def without_a_hint() -> None:
        raise DagmarError("something is wrong")

    with pytest.raises(AssertionError):
        refused(USAGE, without_a_hint)
    with pytest.raises(ZeroDivisionError):
        refused(USAGE, lambda: 1 // 0)
