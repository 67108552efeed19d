"""The project's own Dagster instance: where it is, and what is recorded in it from here."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import SetupError
from dagmar.orchestration.quiet import in_words
from dagmar.project.environ import named_home, own_environ
from dagmar.project.layout import LOCAL_INSTANCE

if TYPE_CHECKING:
    from dagster import DagsterInstance

# Two sessions of an app share a process, and making a new instance's tables at once fails for both.
_OPENING = threading.RLock()


def home(root: Path) -> Path | None:
    """Return the folder of the project's instance: DAGSTER_HOME, or `.dagmar/dagster_home`."""
    if named := named_home(root, own_environ()):
        return Path(named).expanduser()
    own = root / LOCAL_INSTANCE
    return own if own.is_dir() else None


def instance(root: Path) -> DagsterInstance:
    """Return the project's Dagster instance; one that forgets where the project has none.

    Raises SetupError where its folder or its dagster.yaml cannot be used.
    """
    with _OPENING:
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
            f"the Dagster instance in {folder} cannot be opened: {in_words(error)}",
            "Check DAGSTER_HOME and the dagster.yaml there.",
        ) from error


def is_own_instance(root: Path, info: Mapping[str, Any]) -> bool:
    """Whether a server with this instance configuration records runs where this project does."""
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
    """Record an observation on the asset. Raises SetupError where the instance refuses it."""
    import dagster as dg

    event = dg.AssetObservation(
        asset_key=dg.AssetKey(AssetKey(key).parts),
        metadata={name: _typed(value) for name, value in metadata.items()},
        description=description,
        partition=partition,
    )
    store = instance(root)
    try:
        store.report_runless_asset_event(event)
    except Exception as error:  # whatever a storage raises
        raise SetupError(
            f"the project's instance cannot be written: {error}", "Check DAGSTER_HOME."
        ) from error


def _typed(value: Any) -> Any:
    """Return a link as Dagster's own type for it; other values find theirs."""
    import dagster as dg

    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return dg.MetadataValue.url(value)
    return value
