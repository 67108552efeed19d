"""The launch of a run or a backfill: checked by the server, sent once, never a second time.

A launch carries its own id as a tag of the run, or of the backfill. When its answer is lost,
dagmar does not send it again: it looks for that tag until it shows up or the wait is over.

A `Launchable` (launchable.py) is what can be launched; `runs/prepare.py` turns it into a
`Launch`; `runs/tracking.py` follows what was launched.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
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
)
from dagmar.project.provenance import REVISION_TAG, USER_TAG
from dagmar.server.client import DagsterClient, member
from dagmar.server.configerrors import CORRECT_IT, config_error, no_such_ops, not_valid
from dagmar.server.runconfig import named_ops, unsendable

LAUNCH_TAG = "dagmar/launch-id"
OWN_TAGS = (LAUNCH_TAG, USER_TAG, REVISION_TAG)
PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
PARENT_TAG = "dagster/parent_run_id"
TITLE_LENGTH = 100  # of a backfill, in Dagster
LOOK_FOR_SECONDS = 30.0
LOOK_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Launch:
    """One run to be launched, or one backfill if it has `partitions`.

    `ops` are those that are known to belong to its assets; `parent` is the root run and the
    run of which this is a retry.
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
        """What is launched, in words."""
        return ", ".join(self.assets) if self.assets else f"job {self.job}"

    @property
    def description(self) -> str:
        """What is launched and for which partitions, in words."""
        tags, key = self.tags, self.tags.get(PARTITION_TAG)
        if self.partitions:
            return f"{self.what} for {len(self.partitions)} partitions"
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
    def _checks(self) -> dict[str, Any]:
        """The selected asset checks; without assets, those alone are meant."""
        if self.checks is None:
            return {}
        chosen: dict[str, Any] = {"assetCheckSelection": self.checks}
        return chosen if self.assets else {**chosen, "assetSelection": []}

    def selector(self, name: str = "jobName") -> dict[str, Any]:
        """Return the GraphQL selector; `name` is what its job is called there."""
        return {
            "repositoryLocationName": self.location,
            "repositoryName": self.repository,
            name: self.job,
            # An empty list would mean the whole job: leave the key out instead.
            **({"assetSelection": self.paths} if self.assets else {}),
            **({"solidSelection": self.steps} if self.steps else {}),
            **self._checks,
        }


def validate(client: DagsterClient, launch: Launch, config_hint: str = CORRECT_IT) -> None:
    """Let Dagster check the run config. Raises Invalid that names the fields.

    `config_hint` says where the caller's user corrects it.
    """
    if lines := unsendable(launch.config):
        raise not_valid(launch.what, lines, config_hint)
    # Of assets, Dagster ignores config for ops that are not selected.
    if launch.assets and not launch.parent:
        ops = ops_to_run(client, launch, launch.config)
        if unknown := [name for name in named_ops(launch.config) if name not in ops]:
            raise no_such_ops(launch.what, unknown, ops, config_hint)
    if launch.partitions and launch.config:
        _require_config_of_backfills(client)
    answer = client.query(
        "ValidateConfig", selector=launch.selector("pipelineName"), config=launch.config
    )["isPipelineConfigValid"]
    member(answer, "PipelineConfigValidationValid", refusals(launch, config_hint))


def ops_to_run(client: DagsterClient, launch: Launch, config: Mapping[str, Any]) -> frozenset[str]:
    """Return the ops that a launch of assets runs, as far as a run config names them.

    The server is asked only about those that are not the assets' own: asset checks run along.
    """
    if launch.ops.issuperset(named_ops(config)):
        return launch.ops
    answer = client.query("OpsToLaunch", selector=launch.selector("pipelineName"))
    pipeline = member(answer["pipelineOrError"], "Pipeline", refusals(launch))
    return launch.ops | {op["name"] for op in pipeline["solids"]}


def _require_config_of_backfills(client: DagsterClient) -> None:
    """Raise Invalid if the server is too old to take run config for a backfill."""
    fields = client.query("BackfillParams")["__type"]["inputFields"]
    if "runConfigData" not in [field["name"] for field in fields]:
        raise Invalid(
            f"the Dagster at {client.target.url} takes no run config for several partitions",
            "Launch one partition at a time, or use Dagster 1.11 or newer on the server.",
        )


def launch_run(client: DagsterClient, launch: Launch) -> str:
    """Send the launch of one run and return the run's id.

    Raises AnswerLost when the answer is lost and no run shows up, Invalid or NotAllowed
    when Dagster refuses.
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
    refused = refusals(launch)
    try:
        answer = client.mutate("LaunchRun", params=params)
        name = "launchRun"
        return _id(lambda: member(answer[name], "LaunchRunSuccess", refused)["run"]["runId"])
    except AnswerLost as error:
        return _look_for(lambda: runs_of(client, launch.launch_id), launch, error)


def launch_backfill(client: DagsterClient, launch: Launch) -> str:
    """Send the launch of a backfill over `launch.partitions` and return its id.

    Raises as `launch_run` does.
    """
    params: dict[str, Any] = {
        "partitionNames": launch.partitions,
        "tags": launch.all_tags,
        "title": _title(launch),
    }
    if launch.assets:
        params["assetSelection"] = launch.paths
    else:
        params["selector"] = {
            "partitionSetName": launch.partition_set,
            "repositorySelector": {
                "repositoryLocationName": launch.location,
                "repositoryName": launch.repository,
            },
        }
    if launch.config:
        params["runConfigData"] = launch.config  # only here: older servers refuse the name
    refused = refusals(launch)
    try:
        answer = client.mutate("LaunchBackfill", params=params)
        name = "launchPartitionBackfill"
        return _id(lambda: member(answer[name], "LaunchBackfillSuccess", refused)["backfillId"])
    except AnswerLost as error:
        return _look_for(lambda: backfills_of(client, launch.launch_id), launch, error)


def _title(launch: Launch) -> str:
    """Return what a backfill is of, as Dagster takes it."""
    count = f" ({len(launch.partitions)} partitions)"
    what, room = re.sub('[%*"]', "", launch.what), TITLE_LENGTH - len(count)
    return (what if len(what) <= room else f"{what[: room - 1]}…") + count


def _id(read: Callable[[], Any]) -> str:
    """Return the id that `read` finds; an answer that cannot be understood counts as lost."""
    try:
        return str(read())
    except UnexpectedAnswer as error:
        raise AnswerLost(error.message) from None


def _look_for(look: Callable[[], Sequence[str]], launch: Launch, lost: AnswerLost) -> str:
    """Wait for what a launch whose answer is lost has started, and return its id."""
    deadline = time.monotonic() + LOOK_FOR_SECONDS
    while True:
        try:
            if ids := look():
                return ids[0]
        except DagmarError:
            pass  # whatever is in the way may go: what was launched is what counts
        if time.monotonic() + LOOK_EVERY_SECONDS > deadline:
            raise AnswerLost(
                f"{lost.message}. Nothing with the tag {LAUNCH_TAG}={launch.launch_id} showed up "
                f"within {LOOK_FOR_SECONDS:g} s, and dagmar does not launch twice",
                f"To look once more, type: invoke run --follow {launch.launch_id}",
            ) from None
        time.sleep(LOOK_EVERY_SECONDS)


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


def refusals(
    launch: Launch, config_hint: str = CORRECT_IT
) -> Mapping[str, Callable[[Mapping[str, Any]], DagmarError]]:
    """Return an error for each member with which Dagster refuses a launch."""

    def refuse(answer: Mapping[str, Any]) -> DagmarError:
        message = answer["message"].strip()
        # Dagster says so in whichever member it has at hand.
        if "DagsterUserCodeUnreachableError" in message:
            return Unreachable(
                f"the code location '{launch.location}' does not answer: its process is gone",
                "Reload the code location in the Dagster UI, or restart Dagster.",
            )
        kind = RunFailed if answer["__typename"] == "PythonError" else Invalid
        return kind(f"Dagster refuses to launch {launch.what}: {message}")

    plain = (
        "ConflictingExecutionParamsError", "InvalidSubsetError", "NoModeProvidedError",
        "PartitionKeysNotFoundError", "PartitionSetNotFoundError", "PipelineNotFoundError",
        "PresetNotFoundError", "PythonError", "RunConflict",
    )  # fmt: skip
    return {
        **dict.fromkeys(plain, refuse),
        "RunConfigValidationInvalid": lambda answer: config_error(
            launch.what, answer["errors"], config_hint
        ),
        "InvalidStepError": lambda answer: Invalid(f"no step {answer['invalidStepKey']}"),
        "InvalidOutputError": lambda answer: Invalid(f"no output {answer['invalidOutputName']}"),
    }
