"""The partitions of an asset in the project's definitions, and which one a notebook is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, SetupError
from dagmar.orchestration.definitions import inputs_of
from dagmar.orchestration.instance import instance
from dagmar.orchestration.loader import definitions_of
from dagmar.orchestration.quiet import no_warnings

if TYPE_CHECKING:
    from dagster import DagsterInstance, PartitionsDefinition

Rank = Callable[[str], Any]
"""Where a key stands among the others; None for one that there is not any more."""


def latest_partition(root: Path, key: str) -> str | None:
    """Return the latest partition of an asset that is materialized in the project's instance.

    Where there is none, the latest for which its inputs are that have the same partitions; None
    where there is none of that either, and for an asset without partitions.
    Raises Invalid for an unknown asset.
    """
    found, asset = definitions_of(root).with_asset(key)
    partitions = found.asset_graph.get(asset).partitions_def
    if partitions is None:
        return None
    import dagster as dg

    store = instance(root)
    with no_warnings():
        made = store.get_materialized_partitions(asset)
        if not made:
            above = [
                store.get_materialized_partitions(dg.AssetKey(AssetKey(name).parts))
                for name in sorted(inputs_of(found.asset_graph, key).alike - {key})
            ]
            made = set.intersection(*map(set, above)) if above else set()
        return _last(partitions, store, made)


def require_partition(root: Path, key: str, partition: str) -> str:
    """Return the partition as it was given. Raises Invalid where the asset has none of that key."""
    found, asset = definitions_of(root).with_asset(key)
    check_partition(found.asset_graph.get(asset).partitions_def, instance(root), key, partition)
    return partition


def refuse_unknown(root: Path, key: str, partition: str) -> None:
    """Raise Invalid for a partition that an asset of the project's definitions does not have.

    Where they do not load, do not have the asset, or it has no partitions, nothing is known.
    """
    try:
        found, asset = definitions_of(root).with_asset(key)
    except (SetupError, Invalid):
        return
    partitions = found.asset_graph.get(asset).partitions_def
    if partitions is not None:
        check_partition(partitions, instance(root), key, partition)


def _last(
    partitions: PartitionsDefinition[Any], store: DagsterInstance, keys: Iterable[str]
) -> str | None:
    rank = _rank(partitions, store)
    ranked = sorted((place, key) for key in keys if (place := rank(key)) is not None)
    for _, key in reversed(ranked):
        # It may have been made before the definition was changed.
        if _is_in_time(partitions, key):
            return key
    return None


def _is_in_time(partitions: PartitionsDefinition[Any], key: str) -> bool:
    import dagster as dg

    if isinstance(partitions, dg.MultiPartitionsDefinition):
        exact = partitions.get_partition_key_from_str(key).keys_by_dimension
        parts = partitions.partitions_defs
        return all(_is_in_time(part.partitions_def, exact[part.name]) for part in parts)
    if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        return partitions.has_partition_key(key)
    return True  # the others were looked up in their list


def _rank(partitions: PartitionsDefinition[Any], store: DagsterInstance) -> Rank:
    """Return the order of the keys: time by time, other keys as they are listed."""
    import dagster as dg

    if isinstance(partitions, dg.MultiPartitionsDefinition):
        # The newest time comes first, whatever the dimensions are called.
        parts = sorted(
            partitions.partitions_defs,
            key=lambda part: not isinstance(part.partitions_def, dg.TimeWindowPartitionsDefinition),
        )
        ranks = {part.name: _rank(part.partitions_def, store) for part in parts}

        def of_all(key: str) -> Any:
            try:
                exact = partitions.get_partition_key_from_str(key).keys_by_dimension
            except dg.DagsterInvariantViolationError:
                return None
            places = [rank(exact[name]) for name, rank in ranks.items()]
            return None if None in places else places

        return of_all
    if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        # Not from a list of all keys: minutes of ten years are millions.
        format = partitions.fmt

        def of_time(key: str) -> Any:
            try:
                return datetime.strptime(key, format).timestamp()
            except (ValueError, OverflowError):
                return None

        return of_time
    listed = {key: place for place, key in enumerate(partition_keys(partitions, store))}
    return listed.get


def partition_keys(partitions: PartitionsDefinition[Any], store: DagsterInstance) -> list[str]:
    """Return every partition there is, in order."""
    return list(partitions.get_partition_keys(dynamic_partitions_store=store))


def exact_key(partitions: PartitionsDefinition[Any] | None, key: str | None) -> str | None:
    """Return the key as Dagster makes it: IO managers tell one of several dimensions by type."""
    exact = getattr(partitions, "get_partition_key_from_str", None)
    return exact(key) if exact and key is not None else key


def check_partition(
    partitions: PartitionsDefinition[Any] | None, store: DagsterInstance, key: str, partition: str
) -> None:
    """Raise Invalid where the asset has no partition of this key."""
    if partitions is None:
        raise Invalid(f"the asset '{key}' has no partitions", "Leave the partition out.")
    keys = partition_keys(partitions, store)
    if partition not in keys:
        from dagmar.server.partitions import no_such_partition

        raise no_such_partition(f"the asset '{key}'", partition, keys)
