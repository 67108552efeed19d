"""Puts an export on an asset: a link, and the numbers that the notebook reported.

It is an observation, never a materialization: an export does not produce the asset.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Unreachable
from dagmar.export.exporting import Exported
from dagmar.export.manifests import Manifest
from dagmar.notebook.reporting import RESERVED
from dagmar.project.settings import Settings, Target

if TYPE_CHECKING:
    from dagmar.server.client import DagsterClient

LINK, NOTEBOOK, EXPORT = RESERVED
ASK_SECONDS = 5.0
"""A server that takes longer to answer is asked again when the page is written."""


def attach(
    settings: Settings, target: Target, exported: Exported, name: str, partition: str
) -> None:
    """Attach an export to an asset, or to all assets of a job.

    They are added to the export's manifest, which the caller saves. Raises Invalid for an unknown
    name or partition, Unreachable, NotAllowed.
    """
    from dagmar.server.client import DagsterClient

    manifest = exported.manifest
    with DagsterClient(target) as client:
        assets = _find(client, name, partition)
        shared = _is_shared(settings, target, client)
        for key, part in assets.items():
            link = {
                "asset": key,
                "partition": part,
                "url": exported.url,
                "page": f"{target.url.rstrip('/')}/assets/{AssetKey(key).as_url_path}?view=events",
            }
            if link in manifest.attached:
                continue  # a second try completes the first
            _observe(settings, client, shared, exported, key, part)
            manifest.attached.append(link)
        if len(assets) == 1 and manifest.run_id is None and manifest.asset in (None, *assets):
            manifest.run_id = _last_run(client, manifest, *assets.popitem())


def check(target: Target, name: str, partition: str) -> None:
    """Ask the server whether an export could be attached, before it is created.

    A server that does not answer does not prevent the export. Raises Invalid and NotAllowed, as
    `attach` does.
    """
    from dagmar.server.client import DagsterClient
    from dagmar.server.reach import require_listening

    connect, read = target.timeouts
    hurried = replace(target, timeouts=(connect, min(read, ASK_SECONDS)))
    try:
        with DagsterClient(hurried) as client:
            client.require_writable()  # known without an answer of the server
            require_listening(target)
            _find(client, name, partition)
    except Unreachable:
        return


def _find(client: DagsterClient, name: str, partition: str) -> dict[AssetKey, str | None]:
    """Return the assets to attach to, with the partition of each."""
    from dagmar.server.observations import find_assets, find_partition, require_permission

    client.require_writable()
    keys = find_assets(client, name)
    require_permission(client, keys)
    return {key: find_partition(client, key, partition) if partition else None for key in keys}


def _observe(
    settings: Settings,
    client: Any,
    shared: bool,
    exported: Exported,
    key: AssetKey,
    partition: str | None,
) -> None:
    manifest = exported.manifest
    metadata = {
        **{name: value for name, value in manifest.reported.items() if value is not None},
        LINK: exported.url,
        NOTEBOOK: manifest.notebook,
        EXPORT: manifest.id,
    }
    description = f"Report of {manifest.notebook}, {manifest.id}"
    if shared:
        from dagmar.orchestration.instance import observe

        observe(settings.root, key, metadata, description, partition)
    else:
        from dagmar.server import observations

        observations.observe(client, key, metadata, description, partition)


def _is_shared(settings: Settings, target: Target, client: Any) -> bool:
    """Whether the server records events in this project's own instance."""
    if not target.loopback:
        return False
    from dagmar.orchestration.instance import home, is_own_instance
    from dagmar.server.paired import read_instance_info

    if home(settings.root) is None:
        return False
    try:
        return is_own_instance(settings.root, read_instance_info(client))
    except Unreachable:
        return False


def _last_run(client: Any, manifest: Manifest, key: AssetKey, partition: str | None) -> str | None:
    """Return the run that materialized what the notebook read, if that is the asset's last."""
    from dagmar.server.paired import read_asset

    latest = read_asset(client, key)["latest"]
    if not latest or (partition and latest["partition"] != partition):
        return None
    if latest["at"] >= manifest.started.timestamp():
        return None  # materialized again since: the notebook did not read that
    return str(latest["run_id"])
