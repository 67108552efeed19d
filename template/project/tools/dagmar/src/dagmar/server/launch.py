"""Launching: ask first, send once, and never a second time.

A launch carries an id of our own as a tag of the run, or of the backfill. When its answer
is lost, dagmar does not send it again: it looks for that tag until it shows up or the wait
is over.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    did_you_mean,
)
from dagmar.project.provenance import REVISION_TAG, USER_TAG
from dagmar.server.catalog import Item
from dagmar.server.client import DagsterClient, member
from dagmar.server.runconfig import unsendable

LAUNCH_TAG = "dagmar/launch-id"
OWN_TAGS = (LAUNCH_TAG, USER_TAG, REVISION_TAG)
PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
PARENT_TAG = "dagster/parent_run_id"
TITLE_LENGTH = 100  # of a backfill, in Dagster
LOOK_FOR_SECONDS = 30.0
LOOK_EVERY_SECONDS = 1.0


@dataclass
class Launch:
    """One run to be launched, or one backfill where it has `partitions`."""

    location: str
    repository: str
    job: str
    assets: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    partitions: list[str] = field(default_factory=list)
    partition_set: str = ""
    steps: list[str] = field(default_factory=list)
    ops: set[str] = field(default_factory=set)
    parent: tuple[str, str] | None = None
    checks: list[dict[str, Any]] | None = None
    launch_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def what(self) -> str:
        """What is launched, in words."""
        return ", ".join(self.assets) if self.assets else f"job {self.job}"

    @property
    def told(self) -> str:
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
        return [AssetKey(key).as_input for key in self.assets]

    @property
    def _checks(self) -> dict[str, Any]:
        """The selected asset checks; without assets beside them, those alone are meant."""
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


def validate(client: DagsterClient, launch: Launch) -> None:
    """Let Dagster check the run config. Raises Invalid that names the fields."""
    if lines := unsendable(launch.config):
        raise _not_valid(launch.what, lines)
    # Of assets, Dagster passes over config for ops that are not selected.
    own = launch.assets and not launch.parent
    if own and (names := unknown_ops(client, launch, launch.config)):
        raise no_such_ops(launch.what, names, launch.ops)
    if launch.partitions and launch.config:
        _require_config_of_backfills(client)
    answer = client.query(
        "ValidateConfig", selector=launch.selector("pipelineName"), config=launch.config
    )["isPipelineConfigValid"]
    member(answer, "PipelineConfigValidationValid", refusals(launch))


def unknown_ops(client: DagsterClient, launch: Launch, config: Mapping[str, Any]) -> list[str]:
    """Return the ops in a run config that a launch of assets does not run.

    The server is asked about those that are no asset's: asset checks run along.
    """
    given = config.get("ops")
    names = [str(name) for name in given] if isinstance(given, Mapping) else []
    if not launch.ops.issuperset(names):
        answer = client.query("OpsToLaunch", selector=launch.selector("pipelineName"))
        found = member(answer["pipelineOrError"], "Pipeline", refusals(launch))
        launch.ops |= {op["name"] for op in found["solids"]}
    return [name for name in names if name not in launch.ops]


def no_such_ops(what: str, names: Iterable[str], known: Iterable[str]) -> Invalid:
    """Return the error for run config of ops that are not run, with what may be meant."""
    known = list(known)
    lines = [f"ops.{name} is no op of {what}{did_you_mean(name, known)}" for name in names]
    return _not_valid(what, lines)


def _require_config_of_backfills(client: DagsterClient) -> None:
    """Raise Invalid where the server is too old to take run config for a backfill."""
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
        run = "launchRun"
        return _made(lambda: member(answer[run], "LaunchRunSuccess", refused)["run"]["runId"])
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
        found = "launchPartitionBackfill"
        return _made(lambda: member(answer[found], "LaunchBackfillSuccess", refused)["backfillId"])
    except AnswerLost as error:
        return _look_for(lambda: backfills_of(client, launch.launch_id), launch, error)


def _title(launch: Launch) -> str:
    """Return what a backfill is of, as Dagster takes it."""
    count = f" ({len(launch.partitions)} partitions)"
    what, room = re.sub('[%*"]', "", launch.what), TITLE_LENGTH - len(count)
    return (what if len(what) <= room else f"{what[: room - 1]}…") + count


def _made(read: Callable[[], Any]) -> str:
    """Return the id that `read` finds; an answer that cannot be understood counts as lost."""
    try:
        return str(read())
    except UnexpectedAnswer as error:
        raise AnswerLost(error.message) from None


def _look_for(look: Callable[[], Sequence[str]], launch: Launch, lost: AnswerLost) -> str:
    """Wait for what a launch made whose answer is lost, and return its id."""
    deadline = time.monotonic() + LOOK_FOR_SECONDS
    while True:
        try:
            if found := look():
                return found[0]
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


def refusals(launch: Launch) -> Mapping[str, Callable[[Mapping[str, Any]], DagmarError]]:
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
        "RunConfigValidationInvalid": lambda answer: config_error(launch.what, answer["errors"]),
        "InvalidStepError": lambda answer: Invalid(f"no step {answer['invalidStepKey']}"),
        "InvalidOutputError": lambda answer: Invalid(f"no output {answer['invalidOutputName']}"),
    }


def config_error(what: str, errors: Iterable[Item]) -> Invalid:
    """Return an error that names each field of the run config that is not valid."""
    return _not_valid(what, sorted({_config_line(error) for error in errors}))


def _not_valid(what: str, lines: Sequence[str]) -> Invalid:
    return Invalid(
        f"the run config of {what} is not valid:\n  " + "\n  ".join(lines),
        "Give values with --config FILE or --set PATH=VALUE.",
    )


def _config_line(error: Item) -> str:
    path = [
        str(entry.get("fieldName", entry.get("listIndex", entry.get("mapKey"))))
        for entry in error["stack"]["entries"]
    ]
    field_name = (error.get("field") or {}).get("name") or error.get("fieldName")
    missing = [field["name"] for field in error.get("fields", [])] or [field_name]
    kind, message = error["reason"], error["message"]
    if kind.startswith("MISSING_REQUIRED_FIELD"):
        example = message.partition("Example config for the missing entry: ")[2].strip()
        such = f", for example {example}" if example else ""
        return "; ".join(f"{'.'.join([*path, str(name)])} is missing{such}" for name in missing)
    if path == ["execution", "config"] and field_name == "in_process":
        return "the executor of this code location cannot be chosen: leave --executor out"
    if kind.startswith(("FIELD_NOT_DEFINED", "FIELDS_NOT_DEFINED")):
        # Dagster appends the schema as text: its names are what may have been meant.
        known = list(_fields(message.partition("Expected: ")[2]))
        return "; ".join(
            f"{'.'.join([*path, str(name)])} is no field here{_meant(path, str(name), known)}"
            for name in error.get("fieldNames") or [field_name]
        )
    first = message.split(" Expected: ")[0].splitlines()[0].strip()
    return f"{'.'.join(path) or 'the root'}: {first}"


def _fields(schema: str) -> Iterator[list[str]]:
    """Yield the path of each field in a schema as Dagster writes it, `{ ops?: { a: Int } }`."""
    above: list[str] = []
    name = ""
    for field_name, brace in re.findall(r"(\w+)\??:|([{}])", schema):
        if brace == "{":
            above.append(name)
        elif brace:
            del above[-1:]
        else:
            name = field_name
            yield [*above[1:], name]


def _meant(path: Sequence[str], name: str, known: Sequence[Sequence[str]]) -> str:
    """Return what may be meant by a field: that of the one op which has it, or one that is near."""
    deeper = [[*path, *field] for field in known if field[-1] == name]
    if len(of_ops := [field for field in deeper if field[0] == "ops"]) == 1:
        return f" — did you mean '{'.'.join(of_ops[0])}'?"
    return did_you_mean(name, {field[-1] for field in known} - {name})
