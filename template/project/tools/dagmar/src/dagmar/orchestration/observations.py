"""Observations on assets in the project's own instance, where links are typed and clickable."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import SetupError
from dagmar.orchestration import local


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
    store = local.instance(root)
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
