"""Whatever selection is typed: it selects assets that exist, or is refused with examples."""

from __future__ import annotations

from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.orchestration.selection import resolve
from hypothesis import given
from hypothesis import strategies as st
from support.refusals import refused
from support.texts import KEYS, TEXTS

PIECES = (
    "key:", "group:", "kind:", "tag:", "owner:", "and ", "or ", "not ", "(", ")", "+", "*", "2+",
    "sinks(", "roots(", '"', "'", "=", "/", "\\", "a", "raw/orders", "status:", "<null>",
    "code_location:", "changed_in_branch:", "é", ":", "key_substring:", " ", "\n", "a" * 500,
)  # fmt: skip
EXPRESSIONS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=6).map("".join)


def asset(key: AssetKey, *dependencies: AssetKey) -> Any:
    return {
        "key": key, "group": "default", "kinds": [], "owners": [], "tags": {},
        "materializable": True, "dependencies": [*dependencies],
    }  # fmt: skip


ASSETS = [asset(AssetKey("raw/orders")), asset(AssetKey("a"), AssetKey("raw/orders"))]


@given(EXPRESSIONS | TEXTS)
def test_a_selection_is_resolved_or_refused(expression: str) -> None:
    selected = refused((7,), resolve, expression, ASSETS)
    assert selected is None or selected <= {each["key"] for each in ASSETS}


NAMEABLE = KEYS.filter(lambda key: all(part and not {'"', "*"} & {*part} for part in key.parts))
"""Dagster's selection has no escape for a quote, and a star in it stands for any text."""


@given(NAMEABLE)
def test_an_asset_is_selected_by_its_key_and_nothing_else_is(key: AssetKey) -> None:
    others = [each for each in ASSETS if each["key"] != key]
    selected = refused((7,), resolve, f'key:"{key}"', [asset(key), *others])
    assert selected is None or selected == {key}
