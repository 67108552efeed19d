"""What can be launched: assets, a job or the failed part of a run.

`runs/prepare.py` adds partitions, config and tags, and returns the `Launch` to send.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, UsageError, did_you_mean
from dagmar.failure import Failure
from dagmar.project.sources import merge
from dagmar.server.catalog import IMPLICIT_JOB, Item
from dagmar.server.client import DagsterClient, member, not_permitted
from dagmar.server.launch import Launch, is_of_partition, is_reserved, validate
from dagmar.server.located import LocatedAsset, by_place, locate_assets, where_else
from dagmar.server.names import choose, similar_names
from dagmar.server.partitions import Partitions, of_asset, of_job
from dagmar.server.runconfig import CORRECT_IT, read_yaml
from dagmar.server.runs import no_such_run
from dagmar.server.shapes import Answer

LAUNCH_PERMISSION = "launch_pipeline_execution"
BACKFILL_PERMISSION = "launch_partition_backfill"
RETRY_TAG = "dagster/is_resume_retry"
RETRYABLE = ("FAILURE", "CANCELED")


@dataclass(frozen=True)
class Hints:
    """What to do about a refusal, in the terms of the caller: flags, or widgets."""

    config: str
    choose_partition: str
    no_partitions: str


@dataclass(frozen=True)
class Launchable:
    """A launch with nothing chosen yet, its partitions, and what the user may do.

    `versions` are those of Dagster's own packages in its code location, as far as the server says.
    `shadowed` is whether Dagster would look for its assets in another code location.
    """

    launch: Launch
    partitions: Partitions | None = None
    permissions: Mapping[str, Item] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    shadowed: bool = False

    def require(self, permission: str) -> None:
        """Raise NotAllowed if the server denies this user the permission.

        Raises Invalid for a backfill of an asset that Dagster would launch elsewhere.
        """
        if permission == BACKFILL_PERMISSION and self.shadowed:
            raise Invalid(
                f"{self.launch.what} in the code location '{self.launch.location}' cannot be "
                "launched for several partitions: a backfill has no code location, and Dagster "
                "would launch it in another one that has the asset",
                "Launch one partition at a time.",
            )
        answer = self.permissions.get(permission, {"value": True})
        if not answer["value"]:
            raise not_permitted(f"launch {self.launch.what}", answer["disabledReason"])


def find_assets(
    client: DagsterClient, names: Sequence[str], partitioned: bool | None, hints: Hints
) -> list[Launchable]:
    """Return the assets as what can be launched, one for each code location.

    `partitioned` is whether partitions will be chosen; if not, a partitioned asset is refused. With
    None that is not known yet: partitions are read, and neither is refused.
    Raises Invalid for an asset that does not exist, is ambiguous, cannot be materialized or is
    partitioned unlike the others, NotAllowed if the server forbids it.
    """
    nodes: dict[LocatedAsset, Item] = {}
    for group in by_place(locate_assets(client, names)):
        paths = [asset.key.as_input for asset in group]
        variables = {"at": group[0].at, "partitioned": partitioned is not False}
        answer = client.query("AssetsToLaunch", keys=paths, **variables)
        by_key = Answer({node["assetKey"]: node for node in answer["assetNodes"]})
        nodes.update((asset, by_key[asset.key]) for asset in group)
    jobs: dict[tuple[str, str, str], dict[AssetKey, Item]] = {}
    shadowed = {job_of(node) for asset, node in nodes.items() if asset.shadowed}
    for asset, node in nodes.items():
        _check_asset(asset.key, node, partitioned, hints)
        jobs.setdefault(job_of(node), {})[asset.key] = node
    launchables = []
    for job, assets in jobs.items():
        ops = {name.split(".")[0] for node in assets.values() for name in node["opNames"]}
        ops |= {node["graphName"] for node in assets.values()} - {None}
        launch = Launch(*job, assets=tuple(assets), ops=frozenset(ops))
        parts = [of_asset(key, node) for key, node in assets.items() if node["isPartitioned"]]
        if partitioned and not parts:
            have = "have" if len(assets) > 1 else "has"
            raise Invalid(f"{launch.what} {have} no partitions", hints.no_partitions)
        partitions = functools.reduce(Partitions.joined, parts) if parts else None
        permissions = permissions_of(answer, launch.location)
        versions = _versions_in(answer, launch.location)
        launchables.append(Launchable(launch, partitions, permissions, versions, job in shadowed))
    return launchables


def job_of(node: Item) -> tuple[str, str, str]:
    """Return the code location, the repository and the job that materialize an asset."""
    repository = node["repository"]
    job = next((name for name in node["jobNames"] if name.startswith(IMPLICIT_JOB)), IMPLICIT_JOB)
    return repository["location"]["name"], repository["name"], job


def _check_asset(key: str, node: Item, partitioned: bool | None, hints: Hints) -> None:
    if not node["isMaterializable"]:
        raise Invalid(
            f"the asset '{key}' cannot be materialized: Dagster only observes it",
            "Choose one that it materializes; `invoke discover --kind assets` lists them.",
        )
    if node["isPartitioned"] and partitioned is False:
        raise Invalid(
            f"the asset '{key}' is partitioned: choose partitions", hints.choose_partition
        )
    if not node["hasMaterializePermission"]:
        raise not_permitted(f"materialize '{key}'")


def find_job(client: DagsterClient, name: str, partitioned: bool, hints: Hints) -> Launchable:
    """Return the job `name`, or `name@location`, as what can be launched.

    Raises Invalid for an unknown or ambiguous job, and for a partitioned one if no partitions
    will be chosen.
    """
    answer = client.query("JobsToLaunch")
    job = _job_named(answer, name)
    if job.partition_set and not partitioned:
        raise Invalid(
            f"the job '{job.job}' is partitioned: choose partitions", hints.choose_partition
        )
    if partitioned and not job.partition_set:
        raise Invalid(f"the job '{job.job}' has no partitions", hints.no_partitions)
    partitions = of_job(client, job) if partitioned else None
    permissions = permissions_of(answer, job.location)
    return Launchable(job, partitions, permissions, _versions_in(answer, job.location))


def locate_job(client: DagsterClient, name: str) -> Launch:
    """Return the launch of the job `name`, or `name@location`, with its partition set, if any.

    Raises Invalid for an unknown or ambiguous job.
    """
    return _job_named(client.query("JobsToLaunch"), name)


def _job_named(answer: Item, name: str) -> Launch:
    connection = member(answer["repositoriesOrError"], "RepositoryConnection")
    jobs = [
        {
            "name": job["name"],
            "location": node["location"]["name"],
            "repository": node["name"],
            "partition_set": next(
                (s["name"] for s in node["partitionSets"] if s["pipelineName"] == job["name"]), ""
            ),
        }
        for node in connection["nodes"]
        for job in node["jobs"]
        if not job["name"].startswith(IMPLICIT_JOB)
    ]
    job = choose("job", name, jobs)
    if job is None:
        meant = did_you_mean(name, similar_names(name, jobs))
        raise Invalid(f"there is no job '{name}'{meant}", *where_else(answer, "jobs"))
    place = (job["location"], job["repository"])
    return Launch(*place, job["name"], partition_set=job["partition_set"])


def permissions_of(answer: Item, location: str) -> dict[str, Item]:
    """Return what the server lets this user do in a code location, by permission."""
    return {
        permission["permission"]: permission
        for entry in _entries(answer, location)
        for permission in entry["permissions"]
    }


def _versions_in(answer: Item, location: str) -> dict[str, str]:
    return {
        library["name"]: library["version"]
        for entry in _entries(answer, location)
        for library in (entry.get("locationOrLoadError") or {}).get("dagsterLibraryVersions") or ()
    }


def _entries(answer: Item, location: str) -> list[Item]:
    entries = member(answer["workspaceOrError"], "Workspace")["locationEntries"]
    return [entry for entry in entries if entry["name"] == location]


@dataclass(frozen=True)
class JobDefaults:
    """The config that a job has by default, and its config and tags for one partition."""

    config: Mapping[str, Any]
    partition_config: Mapping[str, Any]
    partition_tags: Mapping[str, str]


def with_defaults(client: DagsterClient, launch: Launch, partition: str | None) -> Launch:
    """Return the launch with the job's defaults merged under its config and tags.

    Over the API, Dagster does not apply a partitioned job's config and tags, nor the default
    config of a job if the launch has any.
    """
    if launch.assets or launch.parent or not (partition or launch.config):
        return launch
    defaults = read_defaults(client, launch, partition)
    if partition is None:
        return replace(launch, config=merge(defaults.config, launch.config))
    return replace(
        launch,
        config=merge(defaults.partition_config, launch.config),
        tags={**defaults.partition_tags, **launch.tags},
    )


def validated_backfill(
    client: DagsterClient, launch: Launch, partitions: Sequence[str], hint: str = CORRECT_IT
) -> Launch:
    """Return the launch for several partitions, with a job's defaults merged under its config.

    Raises UsageError for config of a job whose partitions have their own, and as `validate` does.
    """
    launch = replace(launch, partitions=tuple(partitions))
    if not launch.assets:
        defaults = read_defaults(client, launch, partitions[0])
        if defaults.partition_config and launch.config:
            raise UsageError(
                f"each partition of the job '{launch.job}' has its own config: "
                "run config can be given for a single one only",
                "Leave the run config out, or give one --partition.",
            )
        if defaults.partition_config:
            return launch  # Dagster asks the job's code for the config of each partition
        if launch.config:
            launch = replace(launch, config=merge(defaults.config, launch.config))
    validate(client, launch, hint)
    return launch


def read_defaults(client: DagsterClient, launch: Launch, partition: str | None) -> JobDefaults:
    """Return the defaults of a job. Raises Invalid if its code fails for the partition."""
    answer = client.query(
        "JobDefaults",
        selector=launch.selector("pipelineName"),
        partition=partition or "",
        partitioned=partition is not None,
    )["pipelineOrError"]
    job = member(answer, "Pipeline")
    presets = [preset for preset in job["presets"] if preset["name"] == "default"]
    broken = {
        "PythonError": lambda error: Invalid(
            f"{launch.what} cannot create the config of this partition: "
            f"{Failure.from_graphql(error).text}",
            "Correct the function that creates it.",
        )
    }
    state = job.get("partition") or {}
    config, tags = state.get("runConfigOrError"), state.get("tagsOrError")
    config = config and member(config, "PartitionRunConfig", broken)
    tags = tags and member(tags, "PartitionTags", broken)
    return JobDefaults(
        read_yaml(presets[0]["runConfigYaml"]) if presets else {},
        read_yaml(config["yaml"]) if config else {},
        {tag["key"]: tag["value"] for tag in tags["results"]} if tags else {},
    )


def read_to_retry(client: DagsterClient, run_id: str) -> Item:
    """Return a run with its config, its selection and its steps. Raises Invalid if unknown."""
    unknown = {"RunNotFoundError": lambda _: no_such_run(client, run_id)}
    return member(client.query("RunToRetry", id=run_id)["runOrError"], "Run", unknown)


def find_failed(client: DagsterClient, run_id: str) -> Launchable:
    """Return the failed steps of a run, and those after them, as what can be launched.

    Raises Invalid for an unknown run and for one that has not failed, NotAllowed.
    """
    run = read_to_retry(client, run_id)
    if run["status"] not in RETRYABLE:
        raise Invalid(
            f"run {run_id} is {run['status'].lower()}: there is nothing to retry",
            "To look at it, type:",
            command=f"invoke run --follow {run_id}",
        )
    if not run["hasReExecutePermission"]:
        raise not_permitted(f"retry run {run_id}")
    origin = run["repositoryOrigin"]
    if origin is None:
        message = f"run {run_id} was not launched from a code location: it cannot be retried"
        raise Invalid(message, "Launch its assets or its job with --asset or --job.")
    tags = {tag["key"]: tag["value"] for tag in run["tags"] if is_kept(tag["key"])}
    selected = run["assetCheckSelection"]
    checks = ({**check, "assetKey": check["assetKey"].as_input} for check in selected or ())
    launch = Launch(
        location=origin["repositoryLocationName"],
        repository=origin["repositoryName"],
        job=run["jobName"],
        assets=tuple(run["assetSelection"] or ()),
        config=read_yaml(run["runConfigYaml"]),
        tags={**tags, RETRY_TAG: "true"},
        steps=tuple(run["solidSelection"] or ()),
        checks=None if selected is None else tuple(checks),
        parent=(run["rootRunId"] or run_id, run_id),
    )
    return Launchable(launch)


def is_kept(tag: str) -> bool:
    """Whether a retry keeps this tag of its parent; Dagster and dagmar set theirs again."""
    return is_of_partition(tag) or not is_reserved(tag)
