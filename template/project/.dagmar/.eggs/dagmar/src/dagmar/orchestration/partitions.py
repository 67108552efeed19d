"""The partitions of an asset in the project's definitions, and the one that a notebook shows."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, SetupError
from dagmar.orchestration.instance import instance
from dagmar.orchestration.loader import definitions_of
from dagmar.orchestration.quiet import no_warnings

if TYPE_CHECKING:
    from dagster import DagsterInstance, PartitionsDefinition, TimeWindowPartitionsDefinition


def latest_partition(root: Path, key: str) -> str | None:
    """Return the latest partition of an asset that is materialized in the project's instance.

    If none is, return the latest for which all inputs with the same partitions are; None if there
    is none either, and for an asset without partitions.
    Raises Invalid for an unknown asset.
    """
    repository, node = definitions_of(root).with_asset(key)
    partitions = node.partitions_def
    if partitions is None:
        return None
    import dagster as dg

    local = instance(root)
    with no_warnings():
        newest = _newest(partitions, local, local.get_materialized_partitions(node.key))
        if newest is not None:
            return newest
        # Not before: it brings an HTTP library, for which every opening would wait.
        from dagmar.orchestration.definitions import inputs_of

        inputs = [
            local.get_materialized_partitions(dg.AssetKey(name.parts))
            for name in inputs_of(repository.asset_graph, AssetKey(key)).alike - {key}
        ]
        return _newest(partitions, local, set.intersection(*inputs) if inputs else ())


def require_partition(root: Path, key: str, partition: str) -> str:
    """Return the partition unchanged. Raises Invalid if the asset does not have it."""
    _, node = definitions_of(root).with_asset(key)
    check_partition(node.partitions_def, instance(root), key, partition)
    return partition


def refuse_unknown(root: Path, key: str, partition: str) -> None:
    """Raise Invalid for a partition that an asset of the project's definitions does not have.

    Nothing is known if they do not load or do not have the asset, or if it has no partitions.
    """
    try:
        _, node = definitions_of(root).with_asset(key)
    except (SetupError, Invalid):
        return
    if node.partitions_def is not None:
        check_partition(node.partitions_def, instance(root), key, partition)


def _newest(
    partitions: PartitionsDefinition[Any], local: DagsterInstance, keys: Iterable[str]
) -> str | None:
    """Return the last of the keys; those from before the definition was changed do not count."""
    rank = _rank(partitions, local)
    ranked = [(position, key) for key in keys if (position := rank(key)) is not None]
    return next((key for _, key in sorted(ranked)[::-1] if _is_in_time(partitions, key)), None)


def _is_in_time(partitions: PartitionsDefinition[Any], key: str) -> bool:
    import dagster as dg

    if isinstance(partitions, dg.MultiPartitionsDefinition):
        keys = partitions.get_partition_key_from_str(key).keys_by_dimension
        parts = partitions.partitions_defs
        return all(_is_in_time(part.partitions_def, keys[part.name]) for part in parts)
    if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        return partitions.has_partition_key(key)
    return True  # the others were looked up in their list


def _rank(partitions: PartitionsDefinition[Any], local: DagsterInstance) -> Callable[[str], Any]:
    """Return the order of the keys: time by time, other keys as they are listed.

    The position of a key is None if it no longer exists.
    """
    import dagster as dg

    if isinstance(partitions, dg.MultiPartitionsDefinition):
        # The newest time comes first, whatever the dimensions are called.
        parts = sorted(
            partitions.partitions_defs,
            key=lambda part: not isinstance(part.partitions_def, dg.TimeWindowPartitionsDefinition),
        )
        ranks = {part.name: _rank(part.partitions_def, local) for part in parts}
        names = partitions.partition_dimension_names

        def of_all(key: str) -> Any:
            parts = key.split("|")
            if len(parts) != len(names):
                return None  # Dagster itself fails to parse it
            keys = dict(zip(names, parts, strict=True))
            positions = [rank(keys[name]) for name, rank in ranks.items()]
            return None if None in positions else positions

        return of_all
    if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        # Not from a list of all keys: minutes of ten years are millions.
        return functools.partial(_moment, partitions)
    positions = {key: number for number, key in enumerate(partition_keys(partitions, local))}
    return positions.get


def _moment(partitions: TimeWindowPartitionsDefinition, key: str) -> float | None:
    """Return the time of a key, in the definition's time zone and in seconds since 1970.

    Of an hour that comes twice, Dagster adds the offset from UTC to the second key.
    """
    fmt = partitions.fmt
    for form in (fmt,) if "%z" in fmt else (fmt, f"{fmt}%z"):
        with contextlib.suppress(ValueError, OverflowError):
            time = datetime.strptime(key, form)
            return (
                time if time.tzinfo else time.replace(tzinfo=partitions.start.tzinfo)
            ).timestamp()
    return None


def partition_keys(partitions: PartitionsDefinition[Any], local: DagsterInstance) -> list[str]:
    """Return the keys of all partitions, in order."""
    return list(partitions.get_partition_keys(dynamic_partitions_store=local))


def typed_key(partitions: PartitionsDefinition[Any] | None, key: str | None) -> str | None:
    """Return the key in Dagster's own type, by which IO managers know several dimensions."""
    parse = getattr(partitions, "get_partition_key_from_str", None)
    return parse(key) if parse and key is not None else key


def check_partition(
    partitions: PartitionsDefinition[Any] | None, local: DagsterInstance, key: str, partition: str
) -> None:
    """Raise Invalid if the asset has no partition with this key."""
    if partitions is None:
        raise Invalid(f"the asset '{key}' has no partitions", "Leave the partition out.")
    with no_warnings():
        known = _newest(partitions, local, [partition]) is not None
    if not known:
        from dagmar.server.partitions import no_such_partition

        keys = partition_keys(partitions, local)
        dimensions = getattr(partitions, "partition_dimension_names", ())
        raise no_such_partition(f"the asset '{key}'", partition, keys, dimensions)
