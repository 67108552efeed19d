"""The values of the project's assets, loaded by their own IO managers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.errors import Invalid, LoadFailed
from dagmar.orchestration.instance import instance
from dagmar.orchestration.loader import definitions_of
from dagmar.orchestration.partitions import check_partition, exact_key, partition_keys
from dagmar.orchestration.quiet import in_words, quiet, sigterm_kept

if TYPE_CHECKING:
    from dagster import AssetKey, DagsterInstance, RepositoryDefinition


@sigterm_kept()
def load_value(root: Path, key: str, partition: str | None = None) -> Any:
    """Return the value of an asset, loaded by its own IO manager.

    Without `partition`, a partitioned asset is a dict of every materialized partition's value.
    Raises Invalid for an unknown asset or partition and for what was never materialized, and
    LoadFailed, from the IO manager's own exception, where that fails.
    """
    found, asset = definitions_of(root).with_asset(key)
    store = instance(root)
    partitions = found.asset_graph.get(asset).partitions_def
    if partition is not None:
        check_partition(partitions, store, key, partition)
    with quiet(), found.get_asset_value_loader(instance=store) as loader:

        def load(part: str | None) -> Any:
            try:
                return loader.load_asset_value(asset, partition_key=exact_key(partitions, part))
            except Exception as error:  # whatever an IO manager raises
                told = _not_loaded(found, store, asset, key, part, error)
                # Why a file is missing that nobody has made needs no traceback.
                raise told from (error if isinstance(told, LoadFailed) else None)

        if partitions is None or partition is not None:
            return load(partition)
        made = store.get_materialized_partitions(asset)
        values = {part: load(part) for part in partition_keys(partitions, store) if part in made}
    if not values:
        raise _never_materialized(key, None, partitioned=True)
    return values


def _not_loaded(
    found: RepositoryDefinition,
    store: DagsterInstance,
    asset: AssetKey,
    key: str,
    partition: str | None,
    error: Exception,
) -> Invalid | LoadFailed:
    """Return the error for what an IO manager raised."""
    if partition is None:
        made = store.get_latest_materialization_event(asset) is not None
    else:
        made = partition in store.get_materialized_partitions(asset)
    node = found.asset_graph.get(asset)
    if not made and node.is_materializable:
        return _never_materialized(key, partition)
    if not node.is_materializable:
        return LoadFailed(
            f"'{key}' is not made by Dagster, and its IO manager failed to load it: "
            f"{in_words(error)}",
            "Read it where it is instead of with pair.load, or give its AssetSpec an IO manager "
            "with .with_io_manager_key().",
        )
    what = f"'{key}'" + (f" ({partition})" if partition else "")
    return LoadFailed(
        f"the IO manager of {what} failed to load it: {in_words(error)}",
        "The exception it raised stands above. An asset that returns nothing, or a "
        "MaterializeResult without a value, has none: read what it wrote where it wrote it.",
    )


def _never_materialized(key: str, partition: str | None, partitioned: bool = False) -> Invalid:
    """Return the error for an asset, or a partition of it, that was never made."""
    flags = f" --partition '{partition}'" if partition else " --latest" if partitioned else ""
    what = f"partition '{partition}' of the asset '{key}'" if partition else f"the asset '{key}'"
    return Invalid(
        f"{what} was never materialized in this project's instance",
        f"Type: invoke run --asset {key}{flags}",
    )
