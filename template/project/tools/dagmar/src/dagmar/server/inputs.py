"""What assets take from upstream: which values, and of which partition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dagmar.server.catalog import Inputs, Item, asset_key
from dagmar.server.client import DagsterClient

MOST_AT_ONCE = 500


def read_inputs(client: DagsterClient, keys: Sequence[str]) -> dict[str, Inputs]:
    """Return the inputs of each of these assets that the server knows."""
    nodes = {asset_key(node["assetKey"]["path"]): node for node in _nodes(client, keys, ops=True)}
    above = {asset_key(path["path"]) for node in nodes.values() for path in node["dependencyKeys"]}
    others = sorted(above - set(nodes))
    partitions = {
        asset_key(node["assetKey"]["path"]): node["partitionDefinition"]
        for node in (*nodes.values(), *_nodes(client, others, ops=False))
    }
    return {key: _inputs(key, node, partitions) for key, node in nodes.items()}


def _nodes(client: DagsterClient, keys: Sequence[str], ops: bool) -> Iterator[Item]:
    for start in range(0, len(keys), MOST_AT_ONCE):
        paths = [{"path": key.split("/")} for key in keys[start : start + MOST_AT_ONCE]]
        yield from client.query("Inputs", keys=paths, ops=ops)["assetNodes"]


def _inputs(key: str, node: Item, partitions: dict[str, Item | None]) -> Inputs:
    upstream = sorted(asset_key(path["path"]) for path in node["dependencyKeys"])
    # What Dagster does not execute takes nothing.
    taken = (node["op"] or {"inputDefinitions": []})["inputDefinitions"]
    nothing = {one["name"] for one in taken if one["type"]["isNothing"]}
    values = [name for name in upstream if _input_name(name) not in nothing]
    if len(nothing) == len(taken):
        values = []
    own = partitions[key]
    alike = [name for name in values if own is not None and partitions.get(name) == own]
    return Inputs(own is not None, tuple(values), frozenset(alike))


def _input_name(key: str) -> str:
    """Return what Dagster calls the input of a dependency without a value."""
    return key.replace("/", "_").replace("-", "_").replace(".", "_")
