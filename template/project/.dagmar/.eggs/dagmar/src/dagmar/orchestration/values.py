"""The values of the project's assets, loaded by their own IO managers."""

from __future__ import annotations

import contextlib
import functools
import shlex
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.errors import Invalid, LoadFailed, UnknownDagster
from dagmar.orchestration.instance import instance
from dagmar.orchestration.internals import internal, replace
from dagmar.orchestration.loader import definitions_of
from dagmar.orchestration.partitions import check_partition, partition_keys, typed_key
from dagmar.orchestration.quiet import one_line, quiet, sigterm_kept

if TYPE_CHECKING:
    from dagster import DagsterInstance

_LENT: ContextVar[DagsterInstance | None] = ContextVar("lent", default=None)


@contextlib.contextmanager
def _lent(local: DagsterInstance) -> Iterator[None]:
    """Let the contexts that Dagster makes for an IO manager have the project's instance.

    Otherwise it creates one in memory for each of them: most of the time of a short load.
    """
    with contextlib.suppress(UnknownDagster):  # then it takes longer, no more
        _lend()
    token = _LENT.set(local)
    try:
        yield
    finally:
        _LENT.reset(token)


@functools.cache
def _lend() -> None:
    # For the whole process, because several threads may load; without `_lent` nothing is different.
    name = "ephemeral_instance_if_missing"
    missing = internal(name)
    replace(name, lambda given: missing(given or _LENT.get()))


@sigterm_kept()
def load_value(root: Path, key: str, partition: str | None = None) -> Any:
    """Return the value of an asset, loaded by its own IO manager.

    Without `partition`, the value of a partitioned asset is a dict of its materialized partitions.
    Raises Invalid for an unknown asset or partition and for one that was never materialized, and
    LoadFailed, from the IO manager's own exception, if that fails.
    """
    repository, node = definitions_of(root).with_asset(key)
    local, partitions = instance(root), node.partitions_def
    if partition is not None:
        check_partition(partitions, local, key, partition)
    loading = repository.get_asset_value_loader(instance=local)
    with quiet(), _lent(local), loading as loader:

        def load(part: str | None) -> Any:
            try:
                return loader.load_asset_value(node.key, partition_key=typed_key(partitions, part))
            except Exception as error:  # whatever an IO manager raises
                failure = _not_loaded(local, node, key, part, error)
                # A file that was never written needs no traceback.
                raise failure from (error if isinstance(failure, LoadFailed) else None)

        if partitions is None or partition is not None:
            return load(partition)
        materialized = local.get_materialized_partitions(node.key)
        keys = [key for key in partition_keys(partitions, local) if key in materialized]
        values = {key: load(key) for key in keys}
    if not values:
        raise never_materialized(key, None, partitioned=True)
    return values


def _not_loaded(
    local: DagsterInstance, node: Any, key: str, partition: str | None, error: Exception
) -> Invalid | LoadFailed:
    if partition is None:
        # One of a partition is from before the definition was changed.
        event = local.get_latest_materialization_event(node.key)
        record = event and event.asset_materialization
        materialized = record is not None and record.partition is None
    else:
        materialized = partition in local.get_materialized_partitions(node.key)
    if not materialized and node.is_materializable:
        return never_materialized(key, partition)
    if not node.is_materializable:
        return LoadFailed(
            f"'{key}' is not materialized by Dagster, and its IO manager failed to load it: "
            f"{one_line(error)}",
            "Read it where it is instead of with pair.load, or give its AssetSpec an IO manager "
            "with .with_io_manager_key().",
        )
    what = f"'{key}'" + (f" ({partition})" if partition else "")
    return LoadFailed(
        f"the IO manager of {what} failed to load it: {one_line(error)}",
        "Its exception is above. An asset that returns nothing, or a "
        "MaterializeResult without a value, has none: read what it wrote where it wrote it.",
    )


def never_materialized(key: str, partition: str | None, partitioned: bool = False) -> Invalid:
    flags = (
        f" --partition {shlex.quote(partition)}"
        if partition
        else " --latest"
        if partitioned
        else ""
    )
    what = f"partition '{partition}' of the asset '{key}'" if partition else f"the asset '{key}'"
    return Invalid(
        f"{what} was never materialized in this project's instance",
        command=f"invoke run --asset {shlex.quote(key)}{flags}",
    )
