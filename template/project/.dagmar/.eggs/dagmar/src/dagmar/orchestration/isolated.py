"""An instance that reads the records of another one, and writes nothing to it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any

from dagmar.errors import NotAllowed, UnknownDagster
from dagmar.orchestration.internals import TESTED

if TYPE_CHECKING:
    from dagster import DagsterInstance

# Methods of Dagster's storages that only read; all others are taken for methods that write.
_READS = ("get_", "has_", "can_", "is_", "supports_", "fetch_", "all_", "asset_records_")
# What Dagster itself writes about a run that it executes.
_OF_A_RUN = ("add_run", "add_snapshot", "add_job_snapshot", "add_execution_plan_snapshot")
_OF_THIS_RUN = ("handle_run_event", "add_run_tags", "add_run_telemetry")
# Whether they have to be added before a run.
_SNAPSHOTS = ("has_snapshot", "has_job_snapshot", "has_execution_plan_snapshot")


@contextlib.contextmanager
def isolated(real: DagsterInstance, run_id: str) -> Iterator[DagsterInstance]:
    """Yield an instance in memory for one run, which sees the records of the real one.

    What Dagster writes about this run stays in memory, and is forgotten at the end. An asset that
    writes anything else to it raises NotAllowed. One at a time.
    Raises UnknownDagster if this Dagster keeps its storages elsewhere.
    """
    twin, own_events, own_runs = _in_memory(real.root_directory)
    events = _Events(real.event_log_storage, own_events, run_id)
    runs = _Runs(real.run_storage, own_runs, run_id)
    twin._event_storage, twin._run_storage = events, runs
    if twin.event_log_storage is not events or twin.run_storage is not runs:
        raise UnknownDagster(
            f"nothing can be previewed with this Dagster ({metadata.version('dagster')}): "
            f"dagmar is tested with Dagster {TESTED}",
            command="invoke update",
        )
    try:
        yield twin
    finally:
        own_runs.delete_run(run_id)


@functools.lru_cache(maxsize=1)
def _in_memory(folder: str) -> tuple[Any, Any, Any]:
    """Return an instance in memory, and its two storages; creating their tables takes 0.2 s.

    The files that IO managers read are in `folder`.
    """
    import dagster as dg

    twin: Any = dg.DagsterInstance.ephemeral(folder, settings={"telemetry": {"enabled": False}})
    twin.launch_run = functools.partial(_refuse, "launch_run")
    twin.submit_run = functools.partial(_refuse, "submit_run")
    return twin, twin.event_log_storage, twin.run_storage


def _refuse(name: str, *args: Any, **options: Any) -> None:
    raise NotAllowed(
        f"the asset writes to the Dagster instance by itself ({name}), and a preview records "
        "nothing",
        "Materialize it here instead.",
    )


class _Twin:
    """A storage that keeps one run in memory, and only reads the real one."""

    def __init__(self, real: Any, own: Any, run_id: str) -> None:
        self._real = real
        self._own = own
        self._run_id = run_id

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found
        return functools.partial(self._read, name) if name.startswith(_READS) else _refusal(name)

    def _read(self, name: str, *args: Any, **options: Any) -> Any:
        raise NotImplementedError

    def dispose(self) -> None:
        """Leave the real storage open."""


class _Events(_Twin):
    """An event log storage that reads the real one, and forgets the events of one run."""

    supports_global_concurrency_limits = False
    handles_run_events_in_store_event = False

    def _read(self, name: str, *args: Any, **options: Any) -> Any:
        # To look for the events of a run, Dagster creates their database.
        of_this_run = self._run_id in (*args, *options.values())
        return getattr(self._own if of_this_run else self._real, name)(*args, **options)

    def store_event(self, event: Any) -> None:
        if event.run_id != self._run_id:
            _refuse("report_event")

    def store_event_batch(self, events: Any) -> None:
        for event in events:
            self.store_event(event)

    def can_write_asset_status_cache(self) -> bool:
        return False


class _Runs(_Twin):
    """A run storage that keeps one run in memory, and finds all others in the real one."""

    def __getattr__(self, name: str) -> Any:
        if name in (*_OF_A_RUN, *_SNAPSHOTS):
            return getattr(self._own, name)
        if name in _OF_THIS_RUN:
            return functools.partial(self._write, name)
        return super().__getattr__(name)

    def _read(self, name: str, *args: Any, **options: Any) -> Any:
        own = getattr(self._own, name)(*args, **options)
        if own and not isinstance(own, list):
            return own
        others = getattr(self._real, name)(*args, **options)
        return [*own, *others] if isinstance(own, list) else others

    def _write(self, name: str, run_id: str, *args: Any, **options: Any) -> Any:
        if run_id != self._run_id:
            _refuse(name)
        return getattr(self._own, name)(run_id, *args, **options)


def _refusal(name: str) -> Any:
    return functools.partial(_refuse, name)
