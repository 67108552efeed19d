"""Runs that are executed in this process, and recorded in the project's instance."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.errors import Invalid, SetupError
from dagmar.failure import Failure
from dagmar.orchestration.instance import home, instance
from dagmar.orchestration.internals import internal
from dagmar.orchestration.loader import definitions_of
from dagmar.orchestration.partitions import check_partition, exact_key
from dagmar.orchestration.quiet import no_warnings, prints_kept, sigterm_kept
from dagmar.orchestration.warm import warm
from dagmar.project.sources import merge

if TYPE_CHECKING:
    from dagster import JobDefinition

IO_MANAGER = "io_manager"
# Where one session of an app starts a run, Dagster sets up logging in a way that locks up with
# another's events.
_RUNNING = threading.RLock()


@dataclass(frozen=True)
class LocalRun:
    """A run that was executed in this process and recorded in the project's instance."""

    run_id: str
    success: bool
    error: Failure | None = None


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

    One at a time: a second one waits for the first. An asset that can only be made together with
    others is made with them.

    Raises SetupError where the project has no instance of its own, Invalid for an unknown name
    or partition and for run config that does not fit.
    """
    from dagster import DagsterInvalidConfigError

    from dagmar.server.catalog import IMPLICIT_JOB

    if home(root) is None:
        raise SetupError(
            "this project has no Dagster instance to record a run in",
            "Set DAGSTER_HOME, or type: mkdir -p .dagmar/dagster_home",
        )
    definitions, store = definitions_of(root), instance(root)
    if asset:
        found, key = definitions.with_asset(asset)
        keys, definition = [key], found.get_job(IMPLICIT_JOB)
    else:
        found = definitions.with_job(*job.partition("@")[::2])
        keys, definition = [], found.get_job(job.partition("@")[0])
    for key in keys:
        if not found.asset_graph.get(key).is_materializable:
            raise Invalid(f"the asset '{asset}' cannot be materialized: Dagster only observes it")
    partitions = (
        found.asset_graph.get(keys[0]).partitions_def if keys else definition.partitions_def
    )
    what = asset or f"job {job}"
    if partitions is not None and partition is None:
        raise Invalid(f"'{what}' is partitioned: say which partition", "Pick one in the controls.")
    if partition is not None:
        check_partition(partitions, store, what, partition)
    if keys:  # with those that the same function makes, where it cannot make one alone
        keys = sorted(found.asset_graph.get(keys[0]).execution_set_asset_keys)
    # The executor is this process; config for another one would not be valid.
    given = {name: value for name, value in (config or {}).items() if name != "execution"}
    try:
        with _RUNNING, no_warnings(), warm(store), prints_kept(store):
            result = definition.execute_in_process(
                run_config=_with_job_defaults(definition, partition, given) or None,
                instance=store,
                asset_selection=keys,
                partition_key=exact_key(partitions, partition),
                tags=dict(tags or {}),
                raise_on_error=False,
                resources=_kept_io_manager(definition),
            )
    except DagsterInvalidConfigError as error:
        raise _config_error(what, error.errors) from None
    if result.success:
        return LocalRun(result.run_id, True)
    return LocalRun(result.run_id, False, _failure(result.all_events))


def _with_job_defaults(
    definition: JobDefinition, partition: str | None, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the config over what the job brings for its partition or for all runs."""
    own: Mapping[str, Any] = {}
    if partition is not None and definition.partitioned_config is not None:
        own = definition.partitioned_config.get_run_config_for_partition_key(partition)
    elif definition.run_config is not None:
        own = definition.run_config
    if definition.loggers.get("console") == internal("colored_console_logger"):
        # What Dagster says of every step would fill the cell.
        own = merge({"loggers": {"console": {"config": {"log_level": "INFO"}}}}, own)
    return merge(own, config)


def _kept_io_manager(definition: JobDefinition) -> dict[str, Any] | None:
    """Return the default IO manager where it is in use.

    Dagster swaps it for one in memory when a job is executed in process: the value would be
    lost, and inputs would not be found.
    """
    default = internal("default_job_io_manager")
    used = definition.resource_defs.get(IO_MANAGER)
    return {IO_MANAGER: default} if used == default else None


def _failure(events: Iterable[Any]) -> Failure | None:
    """Return why the run failed: its first step that did, or what failed outside its steps."""
    reason = None
    for event in events:
        if event.is_step_failure and event.step_failure_data.error:
            error = _as_answer(event.step_failure_data.error)
            return Failure.from_graphql(error, event.step_key)
        if event.is_job_failure and getattr(event.job_failure_data, "error", None):
            reason = Failure.from_graphql(_as_answer(event.job_failure_data.error))
    return reason


def _as_answer(error: Any) -> dict[str, Any]:
    """Return an error as the server writes it into GraphQL."""
    chain, link = [], error.cause
    while link is not None:
        chain.append({"error": _link(link)})
        link = link.cause
    return {**_link(error), "errorChain": chain}


def _link(error: Any) -> dict[str, Any]:
    return {"className": error.cls_name, "message": error.message, "stack": list(error.stack)}


def _config_error(what: str, errors: Iterable[Any]) -> Invalid:
    lines = sorted({re.split(r"\. (?:Sample|Expected)", error.message)[0] for error in errors})
    return Invalid(
        f"the run config of {what} is not valid:\n  " + "\n  ".join(lines),
        "Correct it in the controls.",
    )
