"""An asset executed in this process without a trace, and its value kept if it is wanted."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Conflict, Interrupted, Invalid, NotAllowed, RunFailed, some
from dagmar.failure import Failure
from dagmar.files import alone
from dagmar.orchestration import here
from dagmar.orchestration.instance import instance
from dagmar.orchestration.isolated import isolated
from dagmar.orchestration.partitions import partition_keys
from dagmar.orchestration.quiet import sigterm_kept
from dagmar.orchestration.steps import Recording, recorded, replayed
from dagmar.orchestration.usage import Usage
from dagmar.orchestration.values import never_materialized
from dagmar.orchestration.warm import warm

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from dagmar.server.checks import Check

AGAIN = "Preview it again."


@dataclass(frozen=True, eq=False)
class Preview:
    """What one asset, and those that are materialized together with it, would become.

    `values` and `metadata` are by asset key; an output that was not yielded has neither. `seconds`
    are those of the clock, `cpu` those of the processor, and `memory` the most bytes that were
    resident at one time. `error` is why the asset failed: such a preview cannot be kept.
    """

    asset: AssetKey
    partition: str | None
    config: Mapping[str, Any]
    values: Mapping[AssetKey, Any]
    metadata: Mapping[AssetKey, Mapping[str, Any]]
    checks: Sequence[Check]
    seconds: float
    cpu: float
    memory: int
    error: Failure | None
    # Whether it can still be kept is decided by these.
    _plan: here.Plan
    _recording: Recording
    _records: Mapping[Any, int | None]
    _kept: list[here.LocalRun] = field(default_factory=list)

    @property
    def kept(self) -> here.LocalRun | None:
        """The run that has recorded it, if it was kept."""
        return self._kept[-1] if self._kept else None


@sigterm_kept()
def preview(
    root: Path,
    asset: str,
    partition: str | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Preview:
    """Execute an asset in this process, from the files as they are; store and record nothing.

    Its inputs, resources and config are real; its outputs stay in memory. Its checks are evaluated
    too. There are no retries and no hooks. One at a time, as `here.materialize`.

    Raises NotAllowed for an asset that writes its data by itself, Invalid for an input that was
    never materialized, Interrupted, and what `here.make_plan` raises.
    """
    local, run_id = instance(root), str(uuid.uuid4())
    with here.RUNNING, warm(local), isolated(local, run_id) as twin:
        plan = here.make_plan(root, asset, partition=partition, config=config)
        _refuse_writers(plan)
        records = _newest(plan, local)
        began = time.perf_counter()
        with recorded(run_id) as recording, Usage() as usage:
            result = plan.execute(twin, tags or {}, run_id)
        seconds = time.perf_counter() - began
    error, checks = here.outcome(result)
    if error == here.INTERRUPTED:
        raise Interrupted(f"the preview of '{plan.what}' was interrupted", AGAIN)
    for event in result.all_events:
        if event.is_step_failure:
            _refuse_failure(plan, local, event.step_failure_data, recording)
    events = result.get_asset_materialization_events()
    # Without those of tables and the like, which an asset may log.
    done = {
        event.asset_key: event.materialization
        for event in events
        if event.asset_key and event.asset_key in plan.keys
    }
    if not error:
        _refuse_written(plan, done, recording)
    return Preview(
        AssetKey.from_parts(plan.node.key.path),
        partition,
        plan.config,
        recording.values,
        {
            AssetKey.from_parts(key.path): {
                name: entry.value for name, entry in each.metadata.items()
            }
            for key, each in done.items()
        },
        checks,
        seconds,
        usage.cpu,
        usage.memory,
        error,
        plan,
        recording,
        records,
    )


@sigterm_kept()
def keep(root: Path, shown: Preview, tags: Mapping[str, str] | None = None) -> here.LocalRun:
    """Store the values of a preview through their IO managers, and record a run of it.

    No function is executed again: their outputs, metadata and check results are those of the
    preview. A preview that was kept already is not kept again; its run is returned.

    Raises RunFailed for a preview that failed, Conflict if the code, the recorded value or an input
    has changed since, and what `here.materialize` raises.
    """
    if shown.error:
        raise RunFailed(f"the preview of '{shown.asset}' failed: nothing can be kept of it", AGAIN)
    # Another kernel may be keeping its own, and what it has recorded is looked for below.
    with alone(here.require_home(root)), here.RUNNING:
        if shown.kept:
            return shown.kept
        plan = here.make_plan(
            root, shown._plan.what, partition=shown.partition, config=shown.config
        )
        if plan.repository is not shown._plan.repository:
            raise Conflict("the project's code has changed since the preview", AGAIN)
        local = instance(root)
        newest = _newest(plan, local)
        if changed := [key for key in newest if newest[key] != shown._records[key]]:
            raise Conflict(f"{_listed(changed)}: materialized again since the preview", AGAIN)
        run_id = str(uuid.uuid4())
        with replayed(run_id, shown._recording):
            run = here.record(plan, local, tags or {}, (shown.cpu, shown.memory), run_id)
        if run.success:
            shown._kept.append(run)
        return run


def _newest(plan: here.Plan, local: DagsterInstance) -> dict[Any, int | None]:
    """Return which materializations a preview depends on: of its assets, and of their inputs."""
    import dagster as dg

    graph = plan.repository.asset_graph
    inputs = {key for own in plan.keys for key in graph.get(own).parent_keys} - set(plan.keys)

    def newest(key: Any, partition: str | None) -> int | None:
        filters = dg.AssetRecordsFilter(key, asset_partitions=[partition] if partition else None)
        records = local.fetch_materializations(filters, limit=1).records
        return records[0].storage_id if records else None

    return {
        **{key: newest(key, plan.partition) for key in plan.keys},
        **{key: newest(key, None) for key in inputs},
    }


def _refuse_writers(plan: here.Plan) -> None:
    """Raise NotAllowed for an asset whose function says that it returns no value."""
    import dagster as dg

    function = plan.node.assets_def.node_def
    decorated = isinstance(function, dg.OpDefinition) and function.is_from_decorator()
    types = _types(plan)
    # In newer versions its type may be anything.
    bare = decorated and function.get_output_annotation() is dg.MaterializeResult
    if names := [key for key in plan.keys if bare or types[key].is_nothing]:
        raise NotAllowed(
            f"the function of {_listed(names)} returns no value: it writes its data by itself, "
            "which a preview cannot hold back. Nothing was executed",
            "Materialize it here instead. If it does return a value, annotate it: "
            "`-> dg.MaterializeResult[TYPE]`.",
        )


def _refuse_written(plan: here.Plan, done: Iterable[Any], recording: Recording) -> None:
    """Raise NotAllowed for assets that turn out to have no value."""
    types, values = _types(plan), recording.values
    own = {key: AssetKey.from_parts(key.path) for key in done}
    if names := [
        key
        for key, name in own.items()
        if name not in values or (values[name] is None and types[key].is_any)
    ]:
        raise NotAllowed(
            f"the function of {_listed(names)} returned no value. If it writes its data by "
            "itself, it has just done so: a preview cannot hold that back. Nothing was recorded",
            "Annotate it with `-> None`: then it is refused before it runs.",
        )


def _types(plan: here.Plan) -> dict[Any, Any]:
    """Return Dagster's types of the assets' values."""
    definition = plan.node.assets_def
    outputs = definition.keys_by_output_name.items()
    return {key: definition.node_def.output_def_named(name).dagster_type for name, key in outputs}


def _refuse_failure(
    plan: here.Plan, local: DagsterInstance, failure: Any, recording: Recording
) -> None:
    """Raise Invalid for an input that was never materialized."""
    if failure.error is None or failure.error.cls_name != "DagsterExecutionLoadInputError":
        return
    key = plan.node.assets_def.keys_by_input_name.get(recording.input)
    node = plan.repository.asset_graph.get(key) if key else None
    if node and node.is_materializable and (missing := _missing(plan, node, local)):
        raise missing


def _missing(plan: here.Plan, node: Any, local: DagsterInstance) -> Invalid | None:
    """Return which partition of an input, or that all of it, was never materialized."""
    name, partitions = AssetKey.from_parts(node.key.path), node.partitions_def
    if partitions is None:
        event = local.get_latest_materialization_event(node.key)
        return None if event else never_materialized(name, None)
    materialized = local.get_materialized_partitions(node.key)
    needed: list[str] = []
    if partitions == plan.node.partitions_def:
        needed = [plan.partition or ""]
    elif plan.partition is None:
        needed = partition_keys(partitions, local)
    for key in needed:
        if key not in materialized:
            return never_materialized(name, key)
    return None if materialized else never_materialized(name, None, partitioned=True)


def _listed(keys: Iterable[Any]) -> str:
    return some([f"'{AssetKey.from_parts(key.path)}'" for key in keys])
