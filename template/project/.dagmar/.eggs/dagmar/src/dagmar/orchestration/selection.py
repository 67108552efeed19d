"""Dagster's asset selection language, resolved by Dagster over a discovered graph."""

from __future__ import annotations

import contextlib
import re
import shlex
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, UsageError
from dagmar.orchestration.internals import internal
from dagmar.project.layout import CACHE
from dagmar.server.catalog import Asset, read_catalog
from dagmar.server.names import distinct_names, names_of, require_one_each

if TYPE_CHECKING:
    from dagmar.server.client import DagsterClient

ONLY_IN_THE_UI = (
    "automation_type", "changed_in_branch", "code_location", "column", "column_tag",
    "job", "partitions", "schedule", "sensor", "status", "table_name",
)  # fmt: skip
"""Attributes that Dagster parses, and that need more than the graph to be resolved."""

KEY = re.compile(r'(\bkey\s*:\s*")([^"]*)')
# Dagster's language has no backslash, and reads every slash as one between components.
HIDDEN = {ord("\\"): "\ue000", ord("/"): "\ue001"}
SHOWN = {0xE000: "\\", 0xE001: "/"}

EXAMPLES = "For example: 'group:sales and kind:polars' or '+key:\"raw/orders\"'."


def select(expression: str, assets: Sequence[Asset]) -> list[Asset]:
    """Return those of the `assets` (catalog items) that `expression` selects, in their order.

    Of a key that several places define, each definition is looked at by itself; `key:"a@other"`
    is the one there. Raises Invalid as `resolve` does.
    """
    by_key: dict[AssetKey, list[Asset]] = {}
    for asset in assets:
        by_key.setdefault(asset["key"], []).append(asset)
    chosen = set[str]()
    # A graph has each key once.
    for number in range(max(map(len, by_key.values()), default=1)):
        graph = [same[min(number, len(same) - 1)] for same in by_key.values()]
        names = {name: item["key"] for item in graph for name in names_of(item)}
        keys = resolve(expression, graph, names)
        chosen |= {names_of(item)[-1] for item in graph if item["key"] in keys}
    return [asset for asset in assets if names_of(asset)[-1] in chosen]


def select_materializable(expression: str, client: DagsterClient, root: Path) -> dict[str, Asset]:
    """Return the selected assets that Dagster can materialize, by the name that means each.

    The catalog comes from the cache of the project if it is still true. Raises UsageError if the
    selection has none, Invalid as `resolve` does and for a key that several places define.
    """
    assets = read_catalog(client, ("assets",), root / CACHE).assets
    chosen = [item for item in select(expression, assets) if item["materializable"]]
    if not chosen:
        raise UsageError(
            f"the selection {expression!r} selects no asset that can be materialized",
            "To see what it selects, type:",
            command=f"invoke discover --select {shlex.quote(expression)}",
        )
    require_one_each("asset", chosen)
    return dict(zip(distinct_names(chosen, assets), chosen, strict=True))


def resolve(
    expression: str, assets: Iterable[Asset], names: Mapping[str, AssetKey] | None = None
) -> set[AssetKey]:
    """Return the keys of the `assets` that `expression` selects; each key is there once.

    `names` are further names for them. A slash inside a component is escaped in it, and never
    matches one between components. External assets are part of the graph.

    Raises Invalid for an expression that does not parse, and for attributes that cannot be
    resolved outside Dagster's UI, by name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster's own, about beta parameters
        import dagster as dg

        dagster_error = internal("DagsterError")
        bare = re.sub(r'"[^"]*"', "", expression)
        used = [name for name in ONLY_IN_THE_UI if re.search(rf"\b{name}\s*:", bare)]
        try:

            def hide(found: re.Match[str]) -> str:
                key = AssetKey(found[2])
                return found[1] + "/".join(_hidden((names or {}).get(key, key)))

            hidden = KEY.sub(hide, expression)
            with _reported_syntax(not used):
                selection = dg.AssetSelection.from_string(hidden, include_sources=True)
            if used:
                raise NotImplementedError
            graph = _graph(list(assets))
            with _reported_emptiness(expression):
                selected = selection.resolve(graph, allow_missing=True)
        except (NotImplementedError, internal("CheckError")):
            instead = " Use --location for code_location." if "code_location" in used else ""
            raise Invalid(
                f"a selection cannot use {' or '.join(used) or 'this attribute'}: "
                "Dagster resolves it in its UI only",
                EXAMPLES + instead,
            ) from None
        except dagster_error as error:
            reason = str(error).replace(hidden, expression).strip().splitlines()[0]
            raise Invalid(f"the selection {expression!r}: {reason}", EXAMPLES) from None
    return {AssetKey.from_parts(part.translate(SHOWN) for part in key.path) for key in selected}


@contextlib.contextmanager
def _reported_syntax(every: bool) -> Iterator[None]:
    """Raise Dagster's error for bad syntax as it does from 1.11 on; before, it was a CheckError.

    Unless `every` attribute can be used, it may be one that an older Dagster does not know.
    """
    try:
        yield
    except internal("CheckError") as error:
        if not every:
            raise
        raise internal("DagsterError")(str(error).removeprefix("Failure condition: ")) from None


@contextlib.contextmanager
def _reported_emptiness(expression: str) -> Iterator[None]:
    """Raise Invalid if Dagster follows nothing: it calls `reduce` without a first value."""
    try:
        yield
    except TypeError as error:
        if "empty" not in str(error):
            raise
        message = f"the selection {expression!r}: this version of Dagster cannot follow `+`"
        hint = "It is next to a part that selects no asset. Correct that part."
        raise Invalid(message, hint) from None


def _hidden(key: AssetKey) -> list[str]:
    """Return the components without the characters that the language cannot distinguish."""
    return [part.translate(HIDDEN) for part in key.parts]


def _graph(assets: list[Asset]) -> Any:
    """Return the assets as an asset graph, materializable ones apart from those only observed.

    Outputs are numbered: names that Dagster derives from the keys can clash, or be refused.
    """
    import dagster as dg

    specs = {f"asset_{i}": _spec(item) for i, item in enumerate(assets) if item["materializable"]}
    observed = [_spec(item) for item in assets if not item["materializable"]]
    parts = [dg.AssetsDefinition(specs=observed)] if observed else []
    if specs:
        outs = {name: dg.Out(dg.Nothing, is_required=False) for name in specs}
        parts.append(
            dg.AssetsDefinition(
                keys_by_input_name={},
                keys_by_output_name={name: spec.key for name, spec in specs.items()},
                node_def=dg.OpDefinition(lambda: None, name="never_run", outs=outs),
                specs=list(specs.values()),
                can_subset=True,
            )
        )
    definitions: Any = dg.Definitions(assets=parts)
    # A later Dagster 1.10 renamed it.
    resolve = getattr(definitions, "resolve_asset_graph", None) or definitions.get_asset_graph
    return resolve()


def _spec(item: Asset) -> Any:
    """Return the asset as a spec, without what Dagster itself would not accept in one."""
    import dagster as dg

    upstream = [key for key in item["dependencies"] if key != item["key"]]
    return dg.AssetSpec(
        dg.AssetKey(_hidden(AssetKey(item["key"]))),
        deps=[dg.AssetKey(_hidden(AssetKey(key))) for key in upstream],
        group_name=item["group"],
        kinds=set(item["kinds"]),
        owners=item["owners"],
        tags={key: value for key, value in item["tags"].items() if value.isascii()},
    )
