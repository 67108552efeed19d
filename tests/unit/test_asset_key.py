"""Asset keys are read and written as Dagster itself writes them, and nothing is lost."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from dagmar.asset_key import AssetKey
from dagster import AssetKey as DagstersKey
from dagster_pipes import to_asset_key_path
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(alphabet=st.sampled_from("ab/\\.é\"'* ")) | st.text()
PARTS = st.lists(TEXTS, min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("orders", ("orders",)),
        ("wh/a/b", ("wh", "a", "b")),
        (r"wh/a\/b", ("wh", "a/b")),
        (r"back\\slash", ("back\\slash",)),
        (r"ends\\/with", ("ends\\", "with")),
        ("a/", ("a", "")),
        ("", ("",)),
    ],
)
def test_a_key_is_its_escaped_text_and_has_its_components(
    text: str, parts: tuple[str, ...]
) -> None:
    assert AssetKey(text) == text == AssetKey.from_parts(parts)
    assert AssetKey(text).parts == parts
    assert AssetKey(text).as_input == {"path": list(parts)}


@given(PARTS)
def test_components_come_back_from_the_text(parts: list[str]) -> None:
    key = AssetKey.from_parts(parts)
    assert AssetKey(str(key)) == key
    assert AssetKey(str(key)).parts == tuple(parts)


@given(PARTS, PARTS)
def test_keys_are_equal_exactly_if_their_components_are(one: list[str], other: list[str]) -> None:
    assert (AssetKey.from_parts(one) == AssetKey.from_parts(other)) == (one == other)


@given(PARTS)
def test_the_text_is_dagsters(parts: list[str]) -> None:
    assert AssetKey.from_parts(parts) == DagstersKey(parts).to_escaped_user_string()


@given(TEXTS.filter(lambda text: not text.endswith("/")))
def test_any_text_is_read_as_dagster_reads_it(text: str) -> None:
    # An empty component at the end is lost there.
    parts = to_asset_key_path(text)
    assert [*AssetKey(text).parts] == parts or ([*AssetKey(text).parts] == [*parts, ""])


@given(TEXTS)
def test_a_text_is_written_in_one_way_only(text: str) -> None:
    key = AssetKey(text)
    assert AssetKey(str(key)) == key == AssetKey.from_parts(key.parts)


def test_a_key_travels_as_its_text() -> None:
    key = AssetKey(r"wh/a\/b")
    assert AssetKey(key) is key
    assert type(str(key)) is str
    assert {key: 1}[r"wh/a\/b"] == 1
    assert json.loads(json.dumps({key: [key]})) == {r"wh/a\/b": [r"wh/a\/b"]}
    for double in (pickle.loads(pickle.dumps(key)), copy.deepcopy(key)):
        assert type(double) is AssetKey
        assert double == key


def test_the_page_of_a_key_keeps_its_components_apart() -> None:
    assert AssetKey(r"my wh/a\/b").as_url_path == "my%20wh/a%2Fb"
    assert AssetKey("my wh/a/b").as_url_path == "my%20wh/a/b"
