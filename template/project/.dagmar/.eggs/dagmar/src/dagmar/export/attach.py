"""Puts an export on an asset: a link, and the numbers that the notebook reported.

It is an observation, never a materialization: an export does not produce the asset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Unreachable
from dagmar.export.exporting import Exported
from dagmar.export.manifests import Manifest
from dagmar.notebook.reporting import RESERVED
from dagmar.project.settings import Settings, Target

if TYPE_CHECKING:
    from dagmar.server.client import DagsterClient
    from dagmar.server.located import LocatedAsset

Observer = Callable[[AssetKey, Mapping[str, Any], str, str | None], None]
"""Reports an observation by asset key, metadata, description and partition."""
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
    reported = {name: value for name, value in manifest.reported.items() if value is not None}
    metadata = reported | {LINK: exported.url, NOTEBOOK: manifest.notebook, EXPORT: manifest.id}
    with DagsterClient(target) as client:
        assets = _find(client, name, partition)
        observe = _observer(settings, target, client)
        errors = dict[AssetKey, DagmarError]()
        for asset, part in assets.items():
            key = asset.key
            link = {
                "asset": key,
                "partition": part,
                "url": exported.url,
                "page": f"{target.url.rstrip('/')}/assets/{key.as_url_path}?view=events",
            }
            if link in manifest.attached:
                continue  # a second try completes the first
            try:
                observe(key, metadata, f"Report of {manifest.notebook}, {manifest.id}", part)
            except Unreachable:
                raise  # the others would wait for it as long
            except DagmarError as error:
                errors[key] = error
            else:
                manifest.attached.append(link)
        if errors:
            first = next(iter(errors.values()))
            if len(assets) == 1:
                raise first
            each = "; ".join(f"{key}: {error.message}" for key, error in errors.items())
            message = f"{len(errors)} of {len(assets)} assets have no link to the report: {each}"
            raise type(first)(message, first.hint, first.command)
        if len(assets) == 1 and manifest.run_id is None:
            asset, part = assets.popitem()
            names = (asset.key, f"{asset.key}@{asset.location}", name)
            if manifest.asset in (None, *names):
                manifest.run_id = _last_run(client, manifest, asset, part)


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


def _find(client: DagsterClient, name: str, partition: str) -> dict[LocatedAsset, str | None]:
    """Return the assets to attach to, with the partition of each."""
    from dagmar.server.observations import find_assets, find_partition, require_permission

    client.require_writable()
    assets = find_assets(client, name)
    require_permission(client, assets)
    return {
        asset: find_partition(client, asset, partition) if partition else None for asset in assets
    }


def _observer(settings: Settings, target: Target, client: DagsterClient) -> Observer:
    """Return what reports an observation: to this project's own instance if the server uses it."""
    from dagmar.orchestration import instance
    from dagmar.server import observations
    from dagmar.server.paired import read_instance_info

    if target.loopback and instance.home(settings.root) is not None:
        with suppress(Unreachable):
            if instance.is_own_instance(settings.root, read_instance_info(client)):
                return partial(instance.observe, settings.root)
    return partial(observations.observe, client)


def _last_run(
    client: Any, manifest: Manifest, asset: LocatedAsset, partition: str | None
) -> str | None:
    """Return the run that materialized what the notebook read, if that is the asset's last."""
    from dagmar.server.paired import read_asset

    latest = read_asset(client, asset)["latest"]
    if not latest or (partition and latest["partition"] != partition):
        return None
    if latest["at"] >= manifest.started.timestamp():
        return None  # materialized again since: the notebook did not read that
    return str(latest["run_id"])
