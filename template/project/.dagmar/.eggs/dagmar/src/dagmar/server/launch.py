"""The launch of a run or a backfill: checked by the server, and sent exactly once.

A launch carries its own id as a tag of the run, or of the backfill. If its answer is lost,
dagmar does not send it again: it looks for that tag until it shows up or the wait is over.

A `Launchable` (launchable.py) is what can be launched; `runs/prepare.py` turns it into a
`Launch`; `runs/tracking.py` follows what was launched.
"""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import (
    AnswerLost,
    DagmarError,
    Invalid,
    RunFailed,
    UnexpectedAnswer,
    Unreachable,
    UsageError,
    cut,
)
from dagmar.project.provenance import USER_TAG
from dagmar.server import runconfig
from dagmar.server.client import DagsterClient, member
from dagmar.server.configtypes import ConfigTypes, fitted

CHANGED = "The code has changed since that run: launch its assets or its job instead."
LAUNCH_TAG = "dagmar/launch-id"
PARTITION_TAG = "dagster/partition"
BACKFILL_TAG = "dagster/backfill"
RANGE_TAG = "dagster/asset_partition_range"
RANGE_START_TAG, RANGE_END_TAG = f"{RANGE_TAG}_start", f"{RANGE_TAG}_end"
SYSTEM_PREFIXES = ("dagster/", ".dagster/", "dagmar/")
# Those that tell Dagster how to run; the others say what it ran, and Dagster sets them.
SETTABLE_TAGS = tuple(
    f"dagster/{name}"
    for name in (
        "concurrency_key", "isolation", "max_retries", "max_runtime", "max_runtime_seconds",
        "priority", "retry_on_asset_or_op_failure", "retry_strategy", "run_metrics",
    )
)  # fmt: skip
TITLE_LENGTH = 100  # of a backfill, in Dagster; it refuses some characters, too
SEARCH_SECONDS = 30.0
SEARCH_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Launch:
    """One run to launch, or one backfill if it has `partitions`.

    `ops` are those known to belong to its assets; `parent` is the root run and the run that
    this one retries.
    """

    location: str
    repository: str
    job: str
    assets: tuple[AssetKey, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    partitions: tuple[str, ...] = ()
    partition_set: str = ""
    steps: tuple[str, ...] = ()
    ops: frozenset[str] = frozenset()
    parent: tuple[str, str] | None = None
    checks: tuple[Mapping[str, Any], ...] | None = None
    launch_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def what(self) -> str:
        """What is launched, for messages."""
        return ", ".join(self.assets) if self.assets else f"job {self.job}"

    @property
    def description(self) -> str:
        """What is launched and for which partitions, for messages."""
        tags, key = self.tags, self.tags.get(PARTITION_TAG)
        if self.partitions:
            return f"{self.what} for {len(self.partitions):,} partitions"
        if RANGE_START_TAG in tags:
            first, last = tags[RANGE_START_TAG], tags[RANGE_END_TAG]
            return f"{self.what} for {first} to {last} in one run"
        return f"{self.what} for {key}" if key else self.what

    @property
    def all_tags(self) -> list[dict[str, str]]:
        """The tags as GraphQL takes them, with the launch id."""
        tags = {**self.tags, LAUNCH_TAG: self.launch_id}
        return [{"key": key, "value": value} for key, value in tags.items()]

    @property
    def paths(self) -> list[dict[str, list[str]]]:
        """The asset keys as GraphQL takes them."""
        return [key.as_input for key in self.assets]

    @property
    def repository_selector(self) -> dict[str, str]:
        """The repository as GraphQL takes it."""
        return {"repositoryLocationName": self.location, "repositoryName": self.repository}

    def selector(self, name: str = "jobName") -> dict[str, Any]:
        """Return the GraphQL selector; `name` is its field for the job."""
        checked = self.checks is not None
        return {
            **self.repository_selector,
            name: self.job,
            # An empty list would select the whole job, unless asset checks are selected.
            **({"assetSelection": self.paths} if self.assets or checked else {}),
            **({"solidSelection": self.steps} if self.steps else {}),
            **({"assetCheckSelection": self.checks} if checked else {}),
        }


def is_reserved(tag: str) -> bool:
    """Whether Dagster or dagmar sets this tag of a run itself."""
    return tag == USER_TAG or (tag.startswith(SYSTEM_PREFIXES) and tag not in SETTABLE_TAGS)


def is_of_partition(tag: str) -> bool:
    """Whether this tag of a run says which partitions it is for."""
    return tag.startswith((PARTITION_TAG, RANGE_TAG))


def given_tags(pairs: Iterable[tuple[str, str]], choose_partition: str) -> dict[str, str]:
    """Return the tags that a user gives to a run; `choose_partition` is the hint for partitions.

    Raises UsageError for a tag that is set by Dagster or dagmar.
    """
    tags = dict(pairs)
    for tag in filter(is_reserved, tags):
        ours = tag == USER_TAG or tag.startswith("dagmar/")
        hint = (
            "Give it another name."
            if ours
            else f"Tags of Dagster that can be set: {', '.join(SETTABLE_TAGS)}"
        )
        raise UsageError(
            f"the tag '{tag}' cannot be given: {'dagmar' if ours else 'Dagster'} sets it itself",
            choose_partition if is_of_partition(tag) else hint,
        )
    return tags


def typed(client: DagsterClient, launch: Launch, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the run config that was typed, as the values that this launch's schema expects.

    Raises Invalid for config that cannot be sent, and what a launch raises if Dagster refuses it.
    """

    return fitted(config, launch.what, lambda: read_types(client, launch))


def read_types(client: DagsterClient, launch: Launch) -> ConfigTypes:
    """Return the types of the run config of this launch. Raises what a launch raises."""
    answer = client.query("ConfigTypes", selector=launch.selector("pipelineName"))
    schema = member(answer["runConfigSchemaOrError"], "RunConfigSchema", refusals(launch))
    return ConfigTypes.from_graphql(schema)


def validate(client: DagsterClient, launch: Launch, hint: str = runconfig.CORRECT_IT) -> None:
    """Let Dagster check the run config. Raises Invalid that names the fields.

    `hint` says how the user corrects it.
    """
    if lines := runconfig.unsendable(launch.config):
        raise runconfig.not_valid(launch.what, lines, hint)
    # Of assets, Dagster ignores config for ops that are not selected.
    if launch.assets and not launch.parent:
        ops = ops_to_run(client, launch, launch.config)
        if unknown := [name for name in runconfig.named_ops(launch.config) if name not in ops]:
            raise runconfig.no_such_ops(launch.what, unknown, ops, hint)
    if launch.partitions and launch.config:
        fields = client.query("BackfillParams")["__type"]["inputFields"]
        if "runConfigData" not in [field["name"] for field in fields]:
            raise Invalid(
                f"Dagster at {client.target.url} takes no run config for several partitions",
                "Launch one partition at a time, or use Dagster 1.11 or newer on the server.",
            )
    selector = launch.selector("pipelineName")
    answer = client.query("ValidateConfig", selector=selector, config=launch.config)
    valid = "PipelineConfigValidationValid"
    member(answer["isPipelineConfigValid"], valid, refusals(launch, hint))


def ops_to_run(client: DagsterClient, launch: Launch, config: Mapping[str, Any]) -> frozenset[str]:
    """Return the ops of a launch of assets, at least those that the run config names.

    The server is queried only if they are not all the assets' own: asset checks have ops, too.
    """
    if launch.ops.issuperset(runconfig.named_ops(config)):
        return launch.ops
    answer = client.query("OpsToLaunch", selector=launch.selector("pipelineName"))
    pipeline = member(answer["pipelineOrError"], "Pipeline", refusals(launch))
    return launch.ops | {op["name"] for op in pipeline["solids"]}


def launch_run(client: DagsterClient, launch: Launch) -> str:
    """Send the launch of one run and return the run's id.

    Raises AnswerLost if the answer is lost and no run shows up, Invalid or NotAllowed if
    Dagster refuses.
    """
    metadata: dict[str, Any] = {"tags": launch.all_tags}
    if launch.parent:
        metadata["rootRunId"], metadata["parentRunId"] = launch.parent
    params = {
        "selector": launch.selector(),
        "runConfigData": launch.config,
        "mode": "default",
        "executionMetadata": metadata,
    }
    return _send(client, "LaunchRun", params, launch)


def launch_backfill(client: DagsterClient, launch: Launch) -> str:
    """Send the launch of a backfill over `launch.partitions` and return its id.

    Raises as `launch_run` does.
    """
    count = f" ({len(launch.partitions):,} partitions)"
    what, room = re.sub('[%*"]', "", launch.what), TITLE_LENGTH - len(count)
    params: dict[str, Any] = {
        "partitionNames": launch.partitions,
        "tags": launch.all_tags,
        "title": cut(what, room) + count,
    }
    if launch.assets:
        params["assetSelection"] = launch.paths
    else:
        params["selector"] = {
            "partitionSetName": launch.partition_set,
            "repositorySelector": launch.repository_selector,
        }
    if launch.config:
        params["runConfigData"] = launch.config  # only here: older servers refuse the field
    return _send(client, "LaunchBackfill", params, launch)


def _send(client: DagsterClient, document: str, params: dict[str, Any], launch: Launch) -> str:
    """Send a launch and return its id; if its answer is lost, wait until it shows up."""
    runs = document == "LaunchRun"
    field_name, find = ("launchRun", runs_of) if runs else ("launchPartitionBackfill", backfills_of)
    try:
        answer = client.mutate(document, params=params)
        try:
            launched = member(answer[field_name], f"{document}Success", refusals(launch))
            return str(launched["run"]["runId"] if runs else launched["backfillId"])
        except UnexpectedAnswer as error:  # an answer that cannot be understood counts as lost
            raise AnswerLost(error.message, error.hint) from None
    except AnswerLost as error:
        lost = error.message
    deadline = time.monotonic() + SEARCH_SECONDS
    while True:
        with contextlib.suppress(DagmarError):  # what fails now may work again before the end
            if ids := find(client, launch.launch_id):
                return ids[0]
        if time.monotonic() + SEARCH_EVERY_SECONDS > deadline:
            raise AnswerLost(
                f"{lost}. Nothing with the tag {LAUNCH_TAG}={launch.launch_id} showed up "
                f"within {SEARCH_SECONDS:g} s, and dagmar does not launch twice",
                "To look once more, type:",
                command=f"invoke run --follow {launch.launch_id}",
            )
        time.sleep(SEARCH_EVERY_SECONDS)


def runs_of(client: DagsterClient, launch_id: str) -> list[str]:
    """Return the ids of the runs that carry this launch id."""
    tags = [{"key": LAUNCH_TAG, "value": launch_id}]
    answer = client.query("RunsByTag", tags=tags)["runsOrError"]
    return [run["runId"] for run in member(answer, "Runs")["results"]]


def backfills_of(client: DagsterClient, launch_id: str) -> list[str]:
    """Return the ids of the backfills, among the newest, that carry this launch id."""
    answer = client.query("NewestBackfills")["partitionBackfillsOrError"]
    return [
        backfill["id"]
        for backfill in member(answer, "PartitionBackfills")["results"]
        if {"key": LAUNCH_TAG, "value": launch_id} in backfill["tags"]
    ]


def _inseparable(message: str) -> list[AssetKey]:
    """Return the assets of one function of which Dagster refuses to materialize a part."""
    pattern = r"contains asset keys \[(.*?)\] and check keys .* not support subset"
    named = re.search(pattern, message, re.DOTALL)
    lists = re.findall(r"AssetKey\((\[.*?\])\)", named[1]) if named else ()
    return [AssetKey.from_parts(ast.literal_eval(each)) for each in lists]


def refusals(
    launch: Launch, hint: str = runconfig.CORRECT_IT
) -> Mapping[str, Callable[[Mapping[str, Any]], DagmarError]]:
    """Return an error for each member with which Dagster refuses a launch."""

    def refuse(answer: Mapping[str, Any]) -> DagmarError:
        message = answer["message"].strip()
        # Any member may have this as its message.
        if "DagsterUserCodeUnreachableError" in message:
            return Unreachable(
                f"the code location '{launch.location}' does not answer: its process is gone",
                "Dagster starts it again within some seconds, or when the code location is "
                "reloaded in its UI: launch again then. If that does not help, restart Dagster.",
            )
        if keys := _inseparable(message):
            flags = (
                f"--asset {shlex.quote(key)}" for key in dict.fromkeys([*launch.assets, *keys])
            )
            return Invalid(
                f"{', '.join(keys)} are materialized by one function, and only together",
                command=f"invoke run {' '.join(flags)}",
            )
        kind = RunFailed if answer["__typename"] == "PythonError" else Invalid
        return kind(
            f"Dagster refuses to launch {launch.what}: {message}",
            "To see whether its code location loads, type:",
            command="invoke discover --kind locations",
        )

    plain = (
        "ConflictingExecutionParamsError", "InvalidSubsetError", "NoModeProvidedError",
        "PartitionKeysNotFoundError", "PartitionSetNotFoundError", "PipelineNotFoundError",
        "PresetNotFoundError", "PythonError", "RunConflict",
    )  # fmt: skip
    return {
        **dict.fromkeys(plain, refuse),
        "RunConfigValidationInvalid": lambda answer: runconfig.config_error(
            launch.what, answer["errors"], hint
        ),
        "InvalidStepError": lambda answer: Invalid(f"no step {answer['invalidStepKey']}", CHANGED),
        "InvalidOutputError": lambda answer: Invalid(
            f"no output {answer['invalidOutputName']}", CHANGED
        ),
    }
