"""Puts an export on an asset: a link, and the numbers that the notebook reported.

It is an observation, never a materialization: the asset was not made by it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from dagmar.errors import Unreachable
from dagmar.export.exporting import Exported
from dagmar.export.manifest import Manifest
from dagmar.notebook.reporting import RESERVED
from dagmar.settings import Settings, Target

LINK, NOTEBOOK, EXPORT = RESERVED


def attach(
    settings: Settings, target: Target, exported: Exported, name: str, partition: str
) -> list[str]:
    """Attach an export to an asset, or to all that a job makes, and return their keys.

    Notes it in the export's manifest, which the caller saves. Raises Invalid for what there is
    none of, Unreachable, NotAllowed.
    """
    from dagmar.server.client import DagsterClient
    from dagmar.server.observations import find_assets, find_partition, require_permission

    manifest = exported.manifest
    assert manifest is not None
    with DagsterClient(target) as client:
        client.require_writable()
        keys = find_assets(client, name)
        require_permission(client, keys)
        partitions = {key: find_partition(client, key, partition) for key in keys if partition}
        shared = _is_shared(settings, target, client)
        for key in keys:
            place = {
                "asset": key,
                "partition": partitions.get(key),
                "url": exported.url,
                "page": f"{target.url.rstrip('/')}/assets/{quote(key)}?view=events",
            }
            if place in manifest.attached:
                continue  # a second try finishes what the first did not
            _observe(settings, client, shared, exported, key, partitions.get(key))
            manifest.attached.append(place)
        if len(keys) == 1 and manifest.run_id is None and manifest.asset in (None, *keys):
            manifest.run_id = _made_by(client, manifest, keys[0], partitions.get(keys[0]))
    return keys


def _observe(
    settings: Settings,
    client: Any,
    shared: bool,
    exported: Exported,
    key: str,
    partition: str | None,
) -> None:
    manifest = exported.manifest
    assert manifest is not None
    metadata = {
        **{name: value for name, value in manifest.reported.items() if value is not None},
        LINK: exported.url,
        NOTEBOOK: manifest.notebook,
        EXPORT: manifest.id,
    }
    description = f"Report of {manifest.notebook}, {manifest.id}"
    if shared:
        from dagmar.orchestration.observations import observe

        observe(settings.root, key, metadata, description, partition)
    else:
        from dagmar.server import observations

        observations.observe(client, key, metadata, description, partition)


def _is_shared(settings: Settings, target: Target, client: Any) -> bool:
    """Whether the server records events in this project's own instance."""
    if not target.loopback:
        return False
    from dagmar.orchestration import local
    from dagmar.server.paired import read_instance_info

    if local.home(settings.root) is None:
        return False
    try:
        return local.is_own_instance(settings.root, read_instance_info(client))
    except Unreachable:
        return False


def _made_by(client: Any, manifest: Manifest, key: str, partition: str | None) -> str | None:
    """Return the run that made what the report is about, as far as it is the asset's last."""
    from dagmar.server.paired import read_asset

    latest = read_asset(client, key)["latest"]
    if not latest or (partition and latest["partition"] != partition):
        return None
    if latest["at"] >= manifest.started.timestamp():
        return None  # made again since: the notebook did not see it
    return str(latest["run_id"])
