"""Selections mean what they mean to Dagster."""

from __future__ import annotations

import warnings
from typing import Any

import dagster as dg
import pytest
from dagmar.errors import Invalid
from dagmar.orchestration.selection import ONLY_IN_THE_UI, resolve
from dagster._core.definitions import asset_selection
from support.refusals import refused


@dg.asset(key=["raw", "orders"], group_name="raw", kinds={"csv"}, tags={"tier": "gold"})
def raw_orders() -> None: ...


@dg.asset(key=["raw", "dash-ed.key"], group_name="raw", deps=["elsewhere"], owners=["team:data"])
def dashed() -> None: ...


@dg.asset(group_name="sales", kinds={"polars"}, deps=[raw_orders], owners=["ann@example.com"])
def orders() -> None: ...


@dg.multi_asset(
    specs=[
        dg.AssetSpec("totals", group_name="sales", deps=["orders", dg.AssetKey(["raw", "orders"])]),
        dg.AssetSpec("report", group_name="sales", deps=["totals"], tags={"tier": "", "kind": "x"}),
    ]
)
def results() -> tuple[None, None]:
    return None, None


@dg.asset(group_name="sales", kinds={"polars", "csv"}, deps=["report"])
def mailed() -> None: ...


@dg.asset
def alone() -> None: ...


EXTERNAL = dg.AssetSpec("elsewhere", group_name="raw", kinds={"s3"})
DEFINITIONS: Any = dg.Definitions(
    assets=[raw_orders, dashed, orders, results, mailed, alone, EXTERNAL]
)
VERSION = tuple(map(int, dg.__version__.split(".")[:2]))
RENAMED = (
    "resolve_asset_graph" if hasattr(DEFINITIONS, "resolve_asset_graph") else "get_asset_graph"
)
wildcards = pytest.mark.skipif(
    not hasattr(asset_selection, "KeyWildCardAssetSelection"), reason="Dagster 1.10.0 has none"
)
newer = pytest.mark.skipif(VERSION < (1, 11), reason="Dagster 1.10 has fewer attributes")


def catalog() -> list[dict[str, Any]]:
    """Return the assets as `invoke discover` knows them."""
    graph = getattr(DEFINITIONS, RENAMED)()
    return [
        {
            "key": node.key.to_user_string(),
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "tags": {key: value for key, value in node.tags.items() if "/kind/" not in key},
            "owners": list(node.owners),
            "dependencies": [key.to_user_string() for key in node.parent_keys],
            "materializable": node.is_materializable,
        }
        for node in (graph.get(key) for key in graph.get_all_asset_keys())
    ]


def dagsters_own(expression: str) -> set[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        selection = dg.AssetSelection.from_string(expression, include_sources=True)
        keys = selection.resolve(getattr(DEFINITIONS, RENAMED)(), allow_missing=True)
    return {key.to_user_string() for key in keys}


@pytest.mark.parametrize(
    "expression",
    [
        "*",
        "orders",
        "key:orders",
        'key:"raw/orders"',
        'key:"raw/*"',
        'key:"raw/dash-ed.key"',
        pytest.param("key:*or*", marks=wildcards),
        'key:"nobody"',
        "group:sales",
        "kind:polars",
        "kind:csv and group:sales",
        "tag:tier=gold",
        "tag:tier",
        "tag:kind=x",
        'owner:"team:data"',
        'owner:"ann@example.com"',
        "+key:totals",
        "1+key:report",
        "2+key:mailed",
        "key:orders+",
        "key:orders+1",
        "+key:totals+",
        "+key:orders+1",
        "key:elsewhere+",
        'key:"raw/dash-ed.key" or key:alone',
        "not group:sales",
        "group:sales and not kind:polars",
        "(group:raw or kind:polars) and not key:alone",
        "sinks(group:sales)",
        "roots(*)",
        "sinks(*)",
        "roots(+key:mailed)",
        pytest.param("is:external", marks=newer),
        pytest.param("is:materializable", marks=newer),
    ],
)
def test_a_selection_is_dagsters_own(expression: str) -> None:
    assert resolve(expression, catalog()) == dagsters_own(expression)


def test_external_assets_are_part_of_the_graph() -> None:
    assert resolve("kind:s3", catalog()) == {"elsewhere"}
    assert resolve("key:elsewhere+", catalog()) == {"elsewhere", "raw/dash-ed.key"}


def test_upstream_assets_are_followed_to_the_end() -> None:
    assert resolve("+key:report", catalog()) == {"raw/orders", "orders", "totals", "report"}


def test_an_empty_catalog_has_nothing_to_select() -> None:
    assert resolve("*", []) == set()
    assert resolve("key:orders", []) == set()


@pytest.mark.parametrize("name", ONLY_IN_THE_UI)
def test_an_attribute_that_needs_more_than_the_graph_is_refused_by_name(name: str) -> None:
    for expression in (f"{name}:x", f"group:sales and {name}: x", f'not {name}:"x"'):
        with pytest.raises(Invalid, match=rf"cannot use {name}:") as caught:
            resolve(expression, catalog())
        assert "For example" in caught.value.hint
    assert ("--location" in caught.value.hint) is (name == "code_location")


@newer
def test_every_attribute_of_dagsters_language_is_resolved_or_refused_by_name() -> None:
    from dagster._core.definitions.antlr_asset_selection.generated.AssetSelectionLexer import (
        AssetSelectionLexer,
    )

    words = {name.strip("'") for name in AssetSelectionLexer.literalNames}
    attributes = {word for word in words if word.replace("_", "").isalpha()}
    attributes -= {"and", "or", "not", "sinks", "roots"}
    tested = {"key", "group", "kind", "tag", "owner", "is", *ONLY_IN_THE_UI}
    assert {"key", "column_tag", "status"} <= attributes
    assert attributes == tested


@pytest.mark.parametrize("expression", ["nobody+", "+nobody", "kind:nothing+1", "1+kind:nothing"])
def test_nothing_has_nothing_above_and_below(expression: str) -> None:
    """Dagster 1.10 fails at some of these, which is reported; later versions find nothing."""
    selected = refused((7,), resolve, expression, catalog())
    assert selected == set() or (selected is None and VERSION < (1, 11))


def test_two_refused_attributes_are_both_named() -> None:
    with pytest.raises(Invalid, match="column or status"):
        resolve("status:x or column:y", catalog())


def test_the_name_of_a_refused_attribute_in_quotes_is_text() -> None:
    assert resolve('key:"status:x" or key:orders', catalog()) == {"orders"}


@pytest.mark.parametrize(
    "expression", ["", "group:sales and (", "nonsense:1", "key:", 'key:"a', "is:purple"]
)
def test_bad_syntax_is_invalid(expression: str) -> None:
    with pytest.raises(Invalid, match=r"the selection .*Invalid selection string") as caught:
        resolve(expression, catalog())
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 7


@newer
def test_bad_syntax_is_reported_before_attributes_that_cannot_be_used() -> None:
    with pytest.raises(Invalid, match="Invalid selection string"):
        resolve("status:x and (", catalog())


def test_dagsters_own_warnings_are_not_shown() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve("group:sales", catalog())


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        (r'key:"wh/a\/b"', {r"wh/a\/b"}),
        ('key:"wh/a/b"', {"wh/a/b"}),
        ("wh/a/b", {"wh/a/b"}),
        pytest.param("key:wh/*", {"wh/a/b", r"wh/a\/b"}, marks=wildcards),
        pytest.param(r'key:"*a\/*"', {r"wh/a\/b"}, marks=wildcards),
        (r'key : "back\\slash" or group:other', {r"back\\slash", "below"}),
        (r'key:"wh/a\/b"+', {r"wh/a\/b", "below"}),
        (r'not key:"wh/a\/b"', {"wh/a/b", r"back\\slash", "below"}),
    ],
)
def test_a_slash_inside_a_component_is_not_one_between_components(
    expression: str, chosen: set[str]
) -> None:
    plain = {"group": "wh", "kinds": [], "tags": {}, "owners": [], "materializable": True}
    assets = [
        {"key": r"wh/a\/b", "dependencies": [], **plain},
        {"key": "wh/a/b", "dependencies": [], **plain},
        {"key": r"back\\slash", "dependencies": [], **plain},
        {"key": "below", "dependencies": [r"wh/a\/b"], **plain, "group": "other"},
    ]
    assert resolve(expression, assets) == chosen


def test_an_expression_that_does_not_parse_is_shown_as_it_was_typed() -> None:
    with pytest.raises(Invalid) as caught:
        resolve(r'key:"wh/a\/b" or', [])
    assert caught.value.message.endswith(r'Invalid selection string: key:"wh/a\/b" or')
