"""What is to be launched: found on the server and checked before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, NotAllowed, did_you_mean
from dagmar.failure import Failure
from dagmar.server.catalog import IMPLICIT_JOB, Item
from dagmar.server.client import DagsterClient, member
from dagmar.server.launch import OWN_TAGS, Launch
from dagmar.server.partitions import Partitions, of_asset, of_job
from dagmar.server.runconfig import merge, read_yaml
from dagmar.server.runs import no_such_run

LAUNCH_PERMISSION = "launch_pipeline_execution"
BACKFILL_PERMISSION = "launch_partition_backfill"
RETRY_TAG = "dagster/is_resume_retry"
RETRYABLE = ("FAILURE", "CANCELED")
STALE = "Added since Dagster started? Reload its code location in the Dagster UI."


@dataclass
class Plan:
    """A launch, and the partitions it can be launched for."""

    launch: Launch
    partitions: Partitions | None = None
    permissions: dict[str, Item] = field(default_factory=dict)

    def require(self, permission: str) -> None:
        """Raise NotAllowed where the server says that this user may not."""
        answer = self.permissions.get(permission, {"value": True})
        if not answer["value"]:
            raise NotAllowed(
                f"the server does not allow you to launch {self.launch.what}: "
                f"{answer['disabledReason'] or 'it is read-only'}",
                "Use another --target, or ask for the permission.",
            )


def plan_assets(client: DagsterClient, keys: Sequence[AssetKey], partitioned: bool) -> list[Plan]:
    """Return one plan for each code location that the assets live in.

    `partitioned` says whether partitions will be chosen; without it an asset that has
    partitions is refused. Raises Invalid for an asset that does not exist, cannot be
    materialized or has partitions unlike the others', NotAllowed where the server forbids it.
    """
    paths = [key.as_input for key in keys]
    answer = client.query("AssetsToLaunch", keys=paths, partitioned=partitioned)
    nodes = {AssetKey.from_parts(node["assetKey"]["path"]): node for node in answer["assetNodes"]}
    if missing := [key for key in keys if key not in nodes]:
        raise no_such_asset(client, missing)
    plans: dict[tuple[str, str, str], Plan] = {}
    for key in keys:
        node = nodes[key]
        _check_asset(key, node, partitioned)
        repository = node["repository"]
        jobs = [name for name in node["jobNames"] if name.startswith(IMPLICIT_JOB)]
        place = (repository["location"]["name"], repository["name"], (jobs or [IMPLICIT_JOB])[0])
        plan = plans.setdefault(place, Plan(Launch(*place)))
        plan.launch.assets.append(key)
        plan.launch.ops |= {name.split(".")[0] for name in node["opNames"]}
        plan.launch.ops |= {node["graphName"]} - {None}
        plan.permissions = _permissions(answer, place[0])
        if node["isPartitioned"]:
            found = of_asset(key, node)
            plan.partitions = plan.partitions.joined(found) if plan.partitions else found
    for plan in plans.values():
        if partitioned and plan.partitions is None:
            raise Invalid(f"{plan.launch.what} has no partitions", "Leave the partition flags out.")
    return list(plans.values())


def no_such_asset(client: DagsterClient, missing: Sequence[str]) -> Invalid:
    """Return the error for assets that the server does not know, with what may be meant."""
    answer = client.query("AssetKeys")
    known = [AssetKey.from_parts(node["assetKey"]["path"]) for node in answer["assetNodes"]]
    names = ", ".join(f"'{key}'{did_you_mean(key, known)}" for key in missing)
    return Invalid(f"there is no asset {names}", _where_else(answer, "assets"))


def _where_else(answer: Item, kind: str) -> str:
    """Say why Dagster may not know of something that its user does."""
    return _broken(answer) or f"Type: invoke discover --kind {kind}\n  {STALE}"


def _broken(answer: Item) -> str:
    """Say which code locations do not load: what is looked for may be in one of them."""
    entries = member(answer["workspaceOrError"], "Workspace")["locationEntries"]
    names = [
        entry["name"]
        for entry in entries
        if (entry["locationOrLoadError"] or {}).get("__typename") == "PythonError"
    ]
    if not names:
        return ""
    one = len(names) == 1
    return (
        f"The code location{'' if one else 's'} {', '.join(names)} {'does' if one else 'do'} not "
        "load; to see why, type: invoke discover"
    )


def _check_asset(key: str, node: Item, partitioned: bool) -> None:
    if not node["isMaterializable"]:
        raise Invalid(
            f"the asset '{key}' cannot be materialized: Dagster only observes it",
            "Choose an asset that Dagster makes; `invoke discover --kind assets` lists them.",
        )
    if node["isPartitioned"] and not partitioned:
        raise Invalid(
            f"the asset '{key}' is partitioned: say which partitions",
            "Add one of: --partition KEY, --latest, --missing, --failed, "
            "--partition-range 'A...B', --all-partitions",
        )
    if not node["hasMaterializePermission"]:
        raise NotAllowed(
            f"the server does not allow you to materialize '{key}'",
            "It may be read-only, or your user may lack the permission.",
        )


def plan_job(client: DagsterClient, name: str, partitioned: bool) -> Plan:
    """Return the plan for the job `name`, or `name@location` where several have one.

    Raises Invalid for an unknown or ambiguous job, and for a partitioned one without a
    choice of partitions.
    """
    answer = client.query("JobsToLaunch")
    job, own_set = _job_named(answer, name)
    plan = Plan(job, permissions=_permissions(answer, job.location))
    if own_set and not partitioned:
        raise Invalid(
            f"the job '{job.job}' is partitioned: say which partitions",
            "Add one of: --partition KEY, --latest, --missing, --failed, "
            "--partition-range 'A...B', --all-partitions",
        )
    if partitioned:
        if not own_set:
            raise Invalid(
                f"the job '{job.job}' has no partitions", "Leave the partition flags out."
            )
        job.partition_set = own_set
        plan.partitions = of_job(client, job)
    return plan


def find_job(client: DagsterClient, name: str) -> Launch:
    """Return where the job `name`, or `name@location`, lives; with its partition set, if any.

    Raises Invalid for an unknown or ambiguous job.
    """
    job, own_set = _job_named(client.query("JobsToLaunch"), name)
    job.partition_set = own_set
    return job


def _job_named(answer: Item, name: str) -> tuple[Launch, str]:
    wanted, _, location = name.partition("@")
    connection = member(answer["repositoriesOrError"], "RepositoryConnection")
    jobs = [
        (Launch(node["location"]["name"], node["name"], job["name"]), node["partitionSets"])
        for node in connection["nodes"]
        for job in node["jobs"]
        if not job["name"].startswith(IMPLICIT_JOB)
    ]
    found = [
        (job, sets) for job, sets in jobs if job.job == wanted and location in ("", job.location)
    ]
    if not found:
        known = [job.job for job, _ in jobs]
        raise Invalid(
            f"there is no job '{name}'{did_you_mean(wanted, known)}",
            _where_else(answer, "jobs"),
        )
    if len(found) > 1:
        places = ", ".join(f"--job {job.job}@{job.location}" for job, _ in found)
        raise Invalid(f"several code locations have a job '{name}'", f"Choose one: {places}")
    ((job, sets),) = found
    return job, next((item["name"] for item in sets if item["pipelineName"] == job.job), "")


def _permissions(answer: Item, location: str) -> dict[str, Item]:
    entries = member(answer["workspaceOrError"], "Workspace")["locationEntries"]
    return {
        permission["permission"]: permission
        for entry in entries
        if entry["name"] == location
        for permission in entry["permissions"]
    }


def add_defaults(client: DagsterClient, launch: Launch, partition: str | None) -> None:
    """Merge the config and tags that the job itself brings under those that were given.

    A partitioned job makes them for its partition, which a launch over the API does not
    apply by itself; a job with fixed config loses all of it as soon as some is given.
    """
    if launch.assets or launch.parent or not (partition or launch.config):
        return
    answer = client.query(
        "JobDefaults",
        selector=launch.selector("pipelineName"),
        partition=partition or "",
        partitioned=partition is not None,
    )["pipelineOrError"]
    pipeline = member(
        answer,
        "Pipeline",
        {
            "PipelineNotFoundError": lambda error: Invalid(error["message"]),
            "InvalidSubsetError": lambda error: Invalid(error["message"]),
        },
    )
    if partition is None:
        defaults = [preset for preset in pipeline["presets"] if preset["name"] == "default"]
        if defaults:
            config = read_yaml(defaults[0]["runConfigYaml"]) or {}
            launch.config = merge(config, launch.config)
        return
    made = pipeline["partition"] or {}
    for key, wanted in (
        ("runConfigOrError", "PartitionRunConfig"),
        ("tagsOrError", "PartitionTags"),
    ):
        state = made.get(key) or {"__typename": wanted, "yaml": "", "results": []}
        result = member(
            state, wanted, {"PythonError": lambda error: _partition_error(launch, error)}
        )
        if wanted == "PartitionRunConfig":
            launch.config = merge(read_yaml(result["yaml"]) or {}, launch.config)
        else:
            tags = {tag["key"]: tag["value"] for tag in result["results"]}
            launch.tags = {**tags, **launch.tags}


def _partition_error(launch: Launch, error: Any) -> Invalid:
    return Invalid(
        f"{launch.what} cannot make the config of this partition: "
        f"{Failure.from_graphql(error).text}"
    )


def plan_retry(client: DagsterClient, run_id: str) -> Plan:
    """Return the plan to run again what failed in a run, and what comes after it.

    Raises Invalid for an unknown run, and for one that has not failed.
    """
    run = member(
        client.query("RunToRetry", id=run_id)["runOrError"],
        "Run",
        {"RunNotFoundError": lambda _: no_such_run(client, run_id)},
    )
    if run["status"] not in RETRYABLE:
        raise Invalid(
            f"run {run_id} is {run['status'].lower()}: there is nothing to retry",
            f"To look at it, type: invoke run --follow {run_id}",
        )
    if not run["hasReExecutePermission"]:
        raise NotAllowed(
            f"the server does not allow you to retry run {run_id}",
            "It may be read-only, or your user may lack the permission.",
        )
    origin = run["repositoryOrigin"]
    if origin is None:
        raise Invalid(f"run {run_id} was not launched from a code location: it cannot be retried")
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    kept = {key: value for key, value in tags.items() if _is_kept(key)}
    launch = Launch(
        location=origin["repositoryLocationName"],
        repository=origin["repositoryName"],
        job=run["jobName"],
        assets=[AssetKey.from_parts(key["path"]) for key in run["assetSelection"] or []],
        config=run["runConfig"] or {},
        tags={**kept, RETRY_TAG: "true"},
        steps=run["solidSelection"] or [],
        checks=run["assetCheckSelection"],
        parent=(run["rootRunId"] or run_id, run_id),
    )
    return Plan(launch)


def _is_kept(tag: str) -> bool:
    """Whether a retry carries its parent's tag; Dagster writes its own ones anew."""
    if tag.startswith("dagster/"):
        return tag.startswith(
            ("dagster/partition", "dagster/asset_partition_range", "dagster/priority")
        )
    return tag not in OWN_TAGS and not tag.startswith(".dagster/")
