"""Runs that are executed in this process, and recorded in the project's instance."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, SetupError
from dagmar.failure import Failure
from dagmar.orchestration.abandoned import fail_killed
from dagmar.orchestration.instance import home, instance
from dagmar.orchestration.internals import internal
from dagmar.orchestration.loader import definitions_of
from dagmar.orchestration.partitions import check_partition, typed_key
from dagmar.orchestration.quiet import (
    failure_unlogged,
    no_warnings,
    prints_kept,
    sigterm_kept,
)
from dagmar.orchestration.usage import Usage
from dagmar.orchestration.warm import warm
from dagmar.orchestration.whole import stored_whole
from dagmar.project.provenance import CPU_TAG, HERE_TAG, MEMORY_TAG, PROCESS_TAG, QUIET
from dagmar.project.sources import merge
from dagmar.server.configtypes import ConfigField, ConfigType, ConfigTypes, fitted

if TYPE_CHECKING:
    from dagster import (
        DagsterInstance,
        ExecuteInProcessResult,
        JobDefinition,
        RepositoryDefinition,
    )

    from dagmar.server.checks import Check

IO_MANAGER = "io_manager"
INTERRUPTED = Failure("it was interrupted")
# When one session of an app starts a run, Dagster sets up logging, which deadlocks with the events
# of another session's run.
RUNNING = threading.RLock()


@dataclass(frozen=True)
class LocalRun:
    """A run that was executed in this process and recorded in the project's instance.

    `cpu` are seconds of the processor, `memory` the most bytes that were resident at one time.
    """

    run_id: str
    success: bool
    cpu: float
    memory: int
    error: Failure | None = None
    checks: Sequence[Check] = ()
    materialized: frozenset[AssetKey] = frozenset()


@dataclass(frozen=True)
class Plan:
    """What is executed: a job of the definitions, or these assets of its implicit job.

    `config` is run config that fits; `node` is that of the asset, None for a job.
    """

    what: str
    repository: RepositoryDefinition
    definition: JobDefinition
    node: Any
    keys: Sequence[Any]
    partition: str | None
    config: Mapping[str, Any]

    def execute(
        self, local: DagsterInstance, tags: Mapping[str, str], run_id: str | None = None
    ) -> ExecuteInProcessResult:
        """Execute it in this process, recorded in the instance; a failure is in the result.

        Raises Invalid for run config that is not valid.
        """
        from dagster import DagsterInvalidConfigError

        from dagmar.server.runconfig import not_valid

        definition = self.definition
        partitions = self.node.partitions_def if self.node else definition.partitions_def
        try:
            with no_warnings(), failure_unlogged():
                return definition.execute_in_process(
                    run_config=_with_job_defaults(definition, self.partition, self.config) or None,
                    instance=local,
                    asset_selection=self.keys,
                    partition_key=typed_key(partitions, self.partition),
                    tags=dict(tags),
                    raise_on_error=False,
                    resources=_kept_io_manager(definition),
                    run_id=run_id,
                )
        except DagsterInvalidConfigError as error:
            lines = {re.split(r"\. (?:Sample|Expected)", each.message)[0] for each in error.errors}
            raise not_valid(self.what, sorted(lines), "Correct it in the controls.") from None


@sigterm_kept()
def materialize(
    root: Path,
    asset: str = "",
    job: str = "",
    partition: str | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> LocalRun:
    """Run one asset, or a job, in this process, recorded in the project's instance.

    One at a time: a second one waits for the first. An asset that can only be materialized together
    with others is materialized with them.

    Raises SetupError if the project has no instance, Invalid for an unknown name or partition and
    for run config that is not valid.
    """
    require_home(root)
    with RUNNING:
        plan = make_plan(root, asset, job, partition, config)
        return record(plan, instance(root), tags or {})


def require_home(root: Path) -> Path:
    """Return the folder of the instance to record a run in. Raises SetupError if there is none."""
    if folder := home(root):
        return folder
    raise SetupError(
        "this project has no Dagster instance to record a run in",
        "Set DAGSTER_HOME, or type:",
        command="mkdir -p .dagmar/dagster_home",
    )


def make_plan(
    root: Path,
    asset: str = "",
    job: str = "",
    partition: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> Plan:
    """Return what would be executed, from the files as they are now.

    Raises Invalid for an unknown name or partition, and for run config that does not fit.
    """
    from dagmar.server.catalog import IMPLICIT_JOB

    definitions, local = definitions_of(root), instance(root)
    node: Any = None
    if asset:
        repository, node = definitions.with_asset(asset)
        if not node.is_materializable:
            raise Invalid(
                f"the asset '{asset}' cannot be materialized: Dagster only observes it",
                "Pair the notebook with an asset that is materialized.",
            )
        definition, partitions = repository.get_job(IMPLICIT_JOB), node.partitions_def
        # With those of the same function, if it cannot materialize one alone.
        keys = sorted(node.execution_set_asset_keys)
    else:
        repository, name = definitions.with_job(job)
        definition = repository.get_job(name)
        partitions, keys = definition.partitions_def, []
    what = asset or f"job {job}"
    if partitions is not None and partition is None:
        raise Invalid(
            f"'{what}' has partitions, and none was chosen", "Choose one in the controls."
        )
    if partition is not None:
        check_partition(partitions, local, what, partition)
    # The executor is this process; config for another one would not be valid.
    settings = {name: value for name, value in (config or {}).items() if name != "execution"}
    settings = fitted(settings, what, lambda: types_of(definition, keys))
    return Plan(what, repository, definition, node, keys, partition, settings)


def record(
    plan: Plan,
    local: DagsterInstance,
    tags: Mapping[str, str],
    used: tuple[float, int] | None = None,
    run_id: str | None = None,
) -> LocalRun:
    """Execute a plan, recorded in the instance; the caller holds RUNNING.

    `used` are the processor time and the memory to record instead of those measured. An interrupt
    is a failure of the run, at whatever moment it comes.
    Runs of kernels that were killed are marked as failed first. Raises what `Plan.execute` raises.
    """
    fail_killed(local, time.time(), {HERE_TAG: "true"})
    known = {**tags, PROCESS_TAG: str(os.getpid())}
    with internal("capture_interrupts")(), warm(local), prints_kept(local), stored_whole():
        with Usage() as usage:
            result = plan.execute(local, known, run_id)
        cpu, memory = used or (usage.cpu, usage.memory)
        measured = {CPU_TAG: f"{cpu:.1f}", MEMORY_TAG: f"{memory / 1e6:.0f}"}
        local.add_run_tags(result.run_id, measured)
    reason, checks = outcome(result)
    made = frozenset(
        AssetKey.from_parts(event.asset_key.path)
        for event in result.get_asset_materialization_events()
        if event.asset_key
    )
    return LocalRun(result.run_id, result.success, cpu, memory, reason, checks, made)


def outcome(result: ExecuteInProcessResult) -> tuple[Failure | None, list[Check]]:
    """Return why a run failed, if it did, and its asset checks."""
    from dagmar.server.checks import in_words

    failure = None if result.success else _failure(result.all_events)
    checks = _checks(result, failure)
    return failure and in_words(failure, checks), checks


def _checks(result: Any, failure: Failure | None) -> list[Check]:
    """Return the asset checks of the run, those that were not evaluated as well."""
    from dagmar.server.checks import Check, with_results

    planned = [
        Check(data.asset_check_key.name, AssetKey.from_parts(data.asset_check_key.asset_key.path))
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION_PLANNED"
        for data in [event.event_specific_data]
    ]
    evaluated = [
        Check(
            evaluation.check_name,
            AssetKey.from_parts(evaluation.asset_key.path),
            evaluation.passed,
            evaluation.severity.value,
            description=evaluation.description,
            metadata={
                name: entry.value
                for name, entry in evaluation.metadata.items()
                if isinstance(entry.value, int | float | str)
            },
        )
        for evaluation in result.get_asset_check_evaluations()
    ]
    return with_results(planned, evaluated, failure)


def types_of(definition: JobDefinition, keys: Iterable[Any]) -> ConfigTypes:
    """Return the types of the run config of a job, or of these assets of it."""
    job = definition.get_subset(asset_selection=set(keys)) if keys else definition
    snapshots = internal("build_config_schema_snapshot")(job).all_config_snaps_by_key
    types = {
        key: ConfigType(
            each.kind.name,
            each.given_name or "",
            each.type_param_keys or (),
            {
                field.name: ConfigField(
                    field.type_key, field.description or "", bool(field.is_required)
                )
                for field in each.fields or ()
            },
            [entry.value for entry in each.enum_values or ()],
        )
        for key, each in snapshots.items()
    }
    return ConfigTypes(job.run_config_schema.config_type.key, types)


def _with_job_defaults(
    definition: JobDefinition, partition: str | None, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the config merged over the job's own, for its partition or for all runs."""
    own: Mapping[str, Any] = {}
    if partition is not None and definition.partitioned_config is not None:
        own = definition.partitioned_config.get_run_config_for_partition_key(partition)
    elif definition.run_config is not None:
        own = definition.run_config
    if definition.loggers.get("console") == internal("colored_console_logger"):
        own = merge({"loggers": QUIET}, own)
    return merge(own, config)


def _kept_io_manager(definition: JobDefinition) -> dict[str, Any] | None:
    """Return the default IO manager if the job uses it.

    Dagster swaps it for one in memory when a job is executed in process: the value would be
    lost, and inputs would not be found.
    """
    default = internal("default_job_io_manager")
    used = definition.resource_defs.get(IO_MANAGER)
    return {IO_MANAGER: default} if used == default else None


def _failure(events: Iterable[Any]) -> Failure | None:
    """Return why the run failed: the error of the first failed step, or one outside of steps."""
    reason = None
    for event in events:
        data = event.event_specific_data if event.is_failure else None
        if error := getattr(data, "error", None):
            if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
                return INTERRUPTED
            reason = Failure.from_graphql(_as_answer(error), event.step_key)
            if event.is_step_failure:
                break
    return reason


def _as_answer(error: Any) -> dict[str, Any]:
    """Return an error as it is in the server's GraphQL answers."""
    links = []
    while error is not None:
        link = {"className": error.cls_name, "message": error.message, "stack": list(error.stack)}
        links.append(link)
        error = error.cause
    return {**links[0], "errorChain": [{"error": link} for link in links[1:]]}
