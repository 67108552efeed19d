"""The project's Dagster instance: where it is, and what is recorded in it from here."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import SetupError
from dagmar.files import expanded
from dagmar.orchestration.quiet import one_line
from dagmar.project.environ import complete_environ, named_home, own_environ
from dagmar.project.layout import LOCAL_INSTANCE

if TYPE_CHECKING:
    from dagster import DagsterInstance

# Two sessions of an app share a process; creating a new instance's tables at once fails in both.
_OPENING = threading.RLock()


def home(root: Path) -> Path | None:
    """Return the folder of the project's instance: DAGSTER_HOME, or `.dagmar/dagster_home`."""
    if named := named_home(root, own_environ()):
        return expanded(named)
    own = root / LOCAL_INSTANCE
    return own if own.is_dir() else None


def instance(root: Path) -> DagsterInstance:
    """Return the project's Dagster instance; one that is kept in memory if the project has none.

    Raises SetupError if its folder or its dagster.yaml cannot be used.
    """
    with _OPENING:
        complete_environ(root)  # its dagster.yaml may name variables
        return _instance(home(root))


@functools.lru_cache(maxsize=8)
def _instance(folder: Path | None) -> DagsterInstance:
    import dagster as dg

    if folder is None:
        return dg.DagsterInstance.ephemeral()
    try:
        return dg.DagsterInstance.from_config(str(folder))
    except Exception as error:  # whatever a storage class raises, and Dagster itself
        raise SetupError(
            f"the Dagster instance in {folder} cannot be opened: {one_line(error)}",
            "Check DAGSTER_HOME and the dagster.yaml there.",
        ) from error


def is_own_instance(root: Path, info: Mapping[str, Any]) -> bool:
    """Return whether a server with this instance configuration uses the project's instance."""
    if not info:
        return False
    with _OPENING:
        return _storage(info) == _storage(_own_info(home(root)))


@functools.lru_cache(maxsize=8)
def _own_info(folder: Path | None) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(_instance(folder).info_str()) or {}


def _storage(info: Mapping[str, Any]) -> tuple[str, Any]:
    local = info.get("local_artifact_storage") or {}
    folder = (local.get("config") or {}).get("base_dir") or ""
    return os.path.realpath(folder), info.get("run_storage")


def observe(
    root: Path, key: str, metadata: Mapping[str, Any], description: str, partition: str | None
) -> None:
    """Record an observation on the asset. Raises SetupError if the instance refuses it."""
    import dagster as dg

    event = dg.AssetObservation(
        asset_key=dg.AssetKey(AssetKey(key).parts),
        metadata={name: _typed(value) for name, value in metadata.items()},
        description=description,
        partition=partition,
    )
    local = instance(root)
    try:
        local.report_runless_asset_event(event)
    except Exception as error:  # whatever a storage raises
        raise SetupError(
            f"the project's instance cannot be written: {error}", "Check DAGSTER_HOME."
        ) from error


def _typed(value: Any) -> Any:
    """Return a web address as Dagster's type for links; it infers the types of other values."""
    import dagster as dg

    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return dg.MetadataValue.url(value)
    return value
