"""What `invoke run` does: find out what is meant, check it, launch it once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagmar import console
from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, UsageError
from dagmar.project.provenance import own_tags
from dagmar.project.settings import Settings
from dagmar.runs.tracking import Launched, Outcome, Patience
from dagmar.server import launch as launching
from dagmar.server import plan as planning
from dagmar.server.catalog import read_catalog
from dagmar.server.client import DagsterClient
from dagmar.server.partitions import Choice
from dagmar.server.runconfig import merge


@dataclass(frozen=True)
class Request:
    """What `invoke run` is asked for; exactly one of the first six is set."""

    assets: Sequence[str] = ()
    select: str = ""
    job: str = ""
    retry: str = ""
    follow: str = ""
    cancel: str = ""
    partitions: Choice = field(default_factory=Choice)
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[tuple[str, str], ...] = ()
    validate_only: bool = False
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        """Raise UsageError where it is not clear what to run."""
        given = (self.assets, self.select, self.job, self.retry, self.follow, self.cancel)
        if sum(map(bool, given)) != 1 or not all(self.assets):
            raise UsageError(
                "say one thing to run: --asset, --select, --job, --retry, --follow or --cancel",
                "For example: invoke run --asset raw/orders",
            )
        if not (self.assets or self.select or self.job):
            extra = {
                "partitions": self.partitions,
                "--config, --set and --executor": self.config,
                "--validate-only": self.validate_only,
                "--tag": self.tags and not self.retry,
            }
            for flags, value in extra.items():
                if value:
                    raise UsageError(f"{flags} fit --asset, --select and --job only")


def run(settings: Settings, client: DagsterClient, request: Request) -> Outcome:
    """Do what is asked for and return what came of it.

    Raises UsageError, Invalid, NotAllowed or Unreachable where nothing was launched.
    """
    work = Launched(client, settings.poll_seconds, request.patience)
    if request.follow:
        return work.come_back(request.follow)
    if not request.validate_only:
        client.require_writable()
    if request.cancel:
        return work.cancel(request.cancel)
    plans = _plans(client, request)
    prepared = [
        _prepare(settings, client, request, plan, config)
        for plan, config in zip(plans, _shares(client, plans, request.config), strict=True)
    ]
    launches = _joined([launch for launch in prepared if launch is not None])
    if not launches:
        console.say("Nothing to do: no partition is left that was asked for.")
    if request.validate_only:
        for launch in launches:
            console.say(f"Valid: {launch.told}. Nothing was launched.")
        return Outcome()
    return work.launch(launches)


def _plans(client: DagsterClient, request: Request) -> list[planning.Plan]:
    partitioned = bool(request.partitions)
    if request.retry:
        return [planning.plan_retry(client, request.retry)]
    if request.job:
        return [planning.plan_job(client, request.job, partitioned)]
    keys = list(dict.fromkeys(map(AssetKey, request.assets))) or _selected(client, request.select)
    return planning.plan_assets(client, keys, partitioned)


def _selected(client: DagsterClient, expression: str) -> list[AssetKey]:
    from dagmar.orchestration.selection import resolve

    assets = read_catalog(client, ("assets",)).assets
    chosen = resolve(expression, assets)
    able = [item["key"] for item in assets if item["materializable"] and item["key"] in chosen]
    if not able:
        raise UsageError(
            f"--select {expression!r} selects no asset that can be materialized",
            f"To see what it selects, type: invoke discover --select {expression!r}",
        )
    return able


def _shares(
    client: DagsterClient, plans: Sequence[planning.Plan], config: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Return each plan's part of the run config: of `ops` only those that it runs.

    Raises Invalid for an op that none of them runs.
    """
    ops = config.get("ops")
    if len(plans) == 1 or not isinstance(ops, Mapping):
        return [config] * len(plans)
    strange = [launching.unknown_ops(client, plan.launch, config) for plan in plans]
    if nowhere := [name for name in strange[0] if all(name in names for names in strange)]:
        what = ", ".join(plan.launch.what for plan in plans)
        known = {name for plan in plans for name in plan.launch.ops}
        raise launching.no_such_ops(what, nowhere, known)
    others = {key: value for key, value in config.items() if key != "ops"}
    shares = [
        {name: value for name, value in ops.items() if str(name) not in names} for names in strange
    ]
    return [{**others, "ops": share} if share else others for share in shares]


def _prepare(
    settings: Settings,
    client: DagsterClient,
    request: Request,
    plan: planning.Plan,
    config: Mapping[str, Any],
) -> launching.Launch | None:
    """Choose partitions, merge config and tags, and let the server check it all.

    Returns None where the chosen partitions are none, as with nothing missing.
    """
    launch = plan.launch
    plan.require(planning.LAUNCH_PERMISSION)
    launch.config = merge(launch.config, config)
    launch.tags = {**own_tags(settings.root), **launch.tags, **dict(request.tags)}
    chosen = plan.partitions.choose(request.partitions) if plan.partitions else []
    if plan.partitions and not chosen:
        return None
    only = chosen[0] if len(chosen) == 1 else None
    if plan.partitions and only is not None:
        launch.tags.update(plan.partitions.tags(only))
    elif plan.partitions and plan.partitions.single_run and plan.partitions.is_range(chosen):
        launch.tags[launching.RANGE_START_TAG] = chosen[0]
        launch.tags[launching.RANGE_END_TAG] = chosen[-1]
    elif chosen:
        plan.require(planning.BACKFILL_PERMISSION)
        launch.partitions = chosen
        if not launch.assets and not _takes_config(client, launch):
            return launch
    planning.add_defaults(client, launch, only if chosen else None)
    launching.validate(client, launch)
    return launch


def _takes_config(client: DagsterClient, launch: launching.Launch) -> bool:
    """Whether the config of a job's backfill is ours to give and to validate.

    Raises UsageError where config is given, and each partition brings its own.
    """
    sample = dataclasses.replace(launch, config={})
    planning.add_defaults(client, sample, launch.partitions[0])
    if sample.config and launch.config:
        raise UsageError(
            f"each partition of the job '{launch.job}' brings its own config: "
            "--config, --set and --executor fit one --partition only"
        )
    return not sample.config


def _joined(launches: Sequence[launching.Launch]) -> list[launching.Launch]:
    """Make one backfill of those over the same partitions: it may cross code locations."""
    single = [launch for launch in launches if not launch.partitions]
    filling = [launch for launch in launches if launch.partitions]
    for launch in filling[1:]:
        reason = ""
        if launch.partitions != filling[0].partitions:
            reason = "are partitioned differently"
        elif launch.config != filling[0].config:
            reason = "need run config of their own"
        if reason:
            raise Invalid(
                f"{filling[0].what} and {launch.what} {reason}: they cannot be launched together",
                "Launch them one after the other.",
            )
        filling[0].assets += launch.assets
    return [*single, *filling[:1]]


def parse_seconds(text: str) -> float | None:
    """Return `--timeout` in seconds, None where it is not given. Raises UsageError."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"--timeout takes seconds, not '{text}'", "For example: --timeout 600")
    return seconds
