"""Preparation of launches, for `invoke run` and the buttons of a notebook.

The server checks what is wanted. Nothing is launched, and a prepared launch does not change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dagmar.errors import Invalid
from dagmar.orchestration.selection import select_materializable
from dagmar.project.provenance import own_tags, version_tags, versions
from dagmar.project.sources import merge
from dagmar.server import launchable
from dagmar.server.client import DagsterClient
from dagmar.server.launch import RANGE_END_TAG, RANGE_START_TAG, Launch, ops_to_run, typed, validate
from dagmar.server.launchable import Hints, Launchable, with_defaults
from dagmar.server.partitions import Choice
from dagmar.server.runconfig import named_ops, no_such_ops, share


@dataclass(frozen=True)
class LaunchSpec:
    """What to launch: assets, a job, or the failed steps of a run; and with which values.

    A retry has the config of its run, over which `config` is merged.

    Assets and the job are given by name: a key, or `KEY@LOCATION`; `select` is an asset selection.
    """

    assets: Sequence[str] = ()
    job: str = ""
    retry: str = ""
    partitions: Choice = field(default_factory=Choice)
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    select: str = ""


def prepare(
    client: DagsterClient, root: Path, spec: LaunchSpec, hints: Hints
) -> tuple[Launch, ...]:
    """Return what to launch: none if none of the wanted partitions is missing or failed.

    Assets of several code locations are several launches. `root` is the folder of the project.
    Raises Invalid, NotAllowed or UsageError, with hints in the caller's terms.
    """
    shares = _shares(client, _find(client, root, spec, hints), spec.config, hints)
    own, here = own_tags(root), versions(root) if client.target.loopback else {}
    launches = []
    for item, config in shares:
        item.require(launchable.LAUNCH_PERMISSION)
        launch = replace(
            item.launch,
            config=merge(item.launch.config, typed(client, item.launch, config)),
            tags={**own, **_versions(item, here), **item.launch.tags, **spec.tags},
        )
        chosen = item.partitions.choose(spec.partitions) if item.partitions else []
        if chosen or not item.partitions:
            launches.append(_checked(client, item, launch, chosen, hints))
    return _joined(launches)


def _versions(item: Launchable, here: Mapping[str, str]) -> dict[str, str]:
    """Return tags with versions of what will run: Dagster's as the code location reports them.

    Those of this environment are added unless Dagster shows that it is not the same one.
    """
    served = item.versions.get("dagster", here.get("dagster"))
    return version_tags({**(here if served == here.get("dagster") else {}), **item.versions})


def _find(client: DagsterClient, root: Path, spec: LaunchSpec, hints: Hints) -> list[Launchable]:
    partitioned = bool(spec.partitions)
    if spec.retry:
        return [launchable.find_failed(client, spec.retry)]
    if spec.job:
        return [launchable.find_job(client, spec.job, partitioned, hints)]
    names = list(dict.fromkeys(spec.assets))
    if spec.select:
        names = list(select_materializable(spec.select, client, root))
    return launchable.find_assets(client, names, partitioned, hints)


def _shares(
    client: DagsterClient, items: Sequence[Launchable], config: Mapping[str, Any], hints: Hints
) -> list[tuple[Launchable, Mapping[str, Any]]]:
    """Return each with its part of the run config: only the `ops` that it runs.

    Raises Invalid for an op that none of them runs.
    """
    names = named_ops(config)
    if not names or (len(items) == 1 and not items[0].launch.parent):
        return [(item, config) for item in items]
    launches = [replace(item.launch, ops=ops_to_run(client, item.launch, config)) for item in items]
    ops = frozenset().union(*(launch.ops for launch in launches))
    if unknown := [name for name in names if name not in ops]:
        raise no_such_ops(", ".join(launch.what for launch in launches), unknown, ops, hints.config)
    return [
        (replace(item, launch=launch), share(config, launch.ops))
        for item, launch in zip(items, launches, strict=True)
    ]


def _checked(
    client: DagsterClient, item: Launchable, launch: Launch, chosen: Sequence[str], hints: Hints
) -> Launch:
    """Return the launch for the chosen partitions, with the job's defaults, validated."""
    partitions = item.partitions
    if partitions is None:
        launch = with_defaults(client, launch, None)
    elif len(chosen) == 1:
        launch = replace(launch, tags={**launch.tags, **partitions.tags(chosen[0])})
        launch = with_defaults(client, launch, chosen[0])
    elif partitions.single_run and partitions.is_range(chosen):
        ends = {RANGE_START_TAG: chosen[0], RANGE_END_TAG: chosen[-1]}
        launch = replace(launch, tags={**launch.tags, **ends})
    else:
        item.require(launchable.BACKFILL_PERMISSION)
        return launchable.validated_backfill(client, launch, chosen, hints.config)
    validate(client, launch, hints.config)
    return launch


def _joined(launches: Sequence[Launch]) -> tuple[Launch, ...]:
    """Return the launches with all backfills joined: one may have several code locations."""
    runs = [launch for launch in launches if not launch.partitions]
    backfills = [launch for launch in launches if launch.partitions]
    if not backfills:
        return tuple(runs)
    first, *others = backfills
    for launch in others:
        if launch.partitions != first.partitions:
            reason = "are partitioned differently"
        elif launch.config != first.config:
            reason = "need different run config"
        else:
            continue
        raise Invalid(
            f"{first.what} and {launch.what} {reason}: they cannot be launched together",
            "Launch them one after the other.",
        )
    assets = tuple(key for launch in backfills for key in launch.assets)
    return (*runs, replace(first, assets=assets))
