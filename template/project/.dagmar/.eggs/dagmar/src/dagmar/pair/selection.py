"""The assets of a selection: a small card for each, and their lineage with their states."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from dagmar.errors import Invalid
from dagmar.pair import drawing
from dagmar.pair.context import Context

if TYPE_CHECKING:
    from dagmar.asset_key import AssetKey
    from dagmar.server.catalog import Asset
    from dagmar.server.client import DagsterClient
    from dagmar.server.launch import Launch
    from dagmar.server.states import AssetState

MOST_CARDS = 200
# Gray: nothing is known yet, or Dagster only observes it.
OTHER = "#757575"
COLORS = {
    "materialized": drawing.COLORS["SUCCESS"],
    "failed": drawing.COLORS["FAILURE"],
    "stale": drawing.COLORS["CANCELED"],
    "running": drawing.BUSY,
    "queued": drawing.BUSY,
}


def read(
    context: Context, client: DagsterClient
) -> tuple[dict[str, Asset], dict[AssetKey, AssetState]]:
    """Return the assets of the selection by name, and their states by key. Raises DagmarError."""
    from dagmar.server.states import read_states

    assets = context.selected(client)
    states = read_states(client, list(assets))
    keys = (asset["key"] for asset in assets.values())
    return assets, {key: state for key, state in zip(keys, states, strict=True) if state.state}


def one_run(context: Context, launches: Sequence[Launch]) -> None:
    """Raise Invalid if the assets of a selection need several runs."""
    places = list(dict.fromkeys(launch.location for launch in launches))
    if len(launches) > 1:
        raise Invalid(
            f"{context.what} is in several code locations ({', '.join(places)}), "
            "and a click launches one run",
            "Select assets of one of them. To launch a run in each, type:",
            command=f"invoke run --select {shlex.quote(context.select)}",
        )


def cards(context: Context, client: DagsterClient) -> str:
    """Return the cards of the assets. Raises DagmarError."""
    assets, states = read(context, client)
    base = client.target.url
    shown = "".join(
        _card(base, name, asset, states.get(asset["key"]))
        for name, asset in list(assets.items())[:MOST_CARDS]
    )
    more = drawing.more(len(assets), MOST_CARDS, "asset")
    return (
        '<div style="display:grid;grid-template-columns:repeat(auto-fill,minmax(16em,1fr));'
        f'gap:8px;margin-top:8px">{shown}</div>{more}'
    )


def _card(base: str, name: str, asset: Asset, state: AssetState | None) -> str:
    page = drawing.link(f"{base}/assets/{asset['key'].as_url_path}", name)
    kinds = escape(", ".join(filter(None, (asset["group"], *asset["kinds"]))))
    return drawing.box(
        f'<div style="overflow-wrap:anywhere">{page}</div>',
        f"<div>{_state(base, state)}</div>" if state else "",
        f'<div style="{drawing.SMALL}">{kinds}</div>',
        label=name,
    )


def _state(base: str, state: AssetState) -> str:
    url = f"{base}/runs/{state.run_id}" if state.run_id else ""
    when = "" if state.at is None else drawing.format_time(state.at, url)
    count = "{1:,} of {0:,} partitions".format(*state.partitions) if state.partitions else ""
    more = " · ".join(filter(None, (when, count)))
    badge = drawing.badge(state.state, COLORS.get(state.state, OTHER))
    return f'{badge} <span style="{drawing.SMALL}">{more}</span>'


def graph(
    assets: Mapping[str, Asset], states: Mapping[AssetKey, AssetState]
) -> tuple[dict[str, Sequence[str]], dict[str, tuple[str, str]], list[str]]:
    """Return what depends on what, the state of each asset with its color, and the outer assets.

    Those are the direct upstream assets that are not selected.
    """
    depends: dict[str, Sequence[str]] = {
        asset["key"]: asset["dependencies"] for asset in assets.values()
    }
    upstream = {key for keys in depends.values() for key in keys}
    outer = sorted(upstream - depends.keys())
    marks = {
        str(key): (state.state, COLORS.get(state.state, OTHER)) for key, state in states.items()
    }
    return {**depends, **dict.fromkeys(outer, ())}, marks, outer
