"""Why a value could not be loaded, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagmar.errors import Invalid, LoadFailed

if TYPE_CHECKING:
    from dagster import AssetKey, DagsterInstance, RepositoryDefinition


def not_loaded(
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
        return never_materialized(key, partition)
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


def never_materialized(key: str, partition: str | None, partitioned: bool = False) -> Invalid:
    """Return the error for an asset, or a partition of it, that was never made."""
    flags = f" --partition '{partition}'" if partition else " --latest" if partitioned else ""
    what = f"partition '{partition}' of the asset '{key}'" if partition else f"the asset '{key}'"
    return Invalid(
        f"{what} was never materialized in this project's instance",
        f"Type: invoke run --asset {key}{flags}",
    )


def in_words(error: BaseException) -> str:
    """Return an exception in one line."""
    (first, *_) = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
