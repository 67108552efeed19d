"""The only access to Dagster's private API: the names that are used of it.

Everything else that dagmar uses of Dagster is public. A name that has moved is reported as what it
is: a Dagster that dagmar was not tested with, not a mistake in the user's definitions.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from dagmar.errors import UnknownDagster
from dagmar.project.installing import add_command
from dagmar.project.versions import DAGSTER, as_requirement

TESTED = f"{DAGSTER[0]} to {DAGSTER[-1]}"

_PLACES = {
    "CapturedLogContext": "_core.storage.compute_log_manager",
    "CheckError": "_check",
    "ComputeIOType": "_core.storage.compute_log_manager",
    "DagsterError": "_core.errors",
    "LOAD_ALL_ASSETS": "_core.workspace.autodiscovery",
    "LocalComputeLogManager": "_core.storage.local_compute_log_manager",
    "PickledObjectFilesystemIOManager": "_core.storage.fs_io_manager",
    "SqliteEventLogStorage": "_core.storage.event_log",
    "SqliteRunStorage": "_core.storage.runs",
    "_trigger_hook": "_core.execution.plan.execute_plan",
    "build_config_schema_snapshot": "_core.snap.config_types",
    "capture_interrupts": "_utils.interrupts",
    "colored_console_logger": "_loggers",
    "create_console_logger": "_loggers",
    "create_db_conn_string": "_core.storage.sqlite",
    "create_engine": "_core.storage.sql",
    "dagster_event_sequence_for_step": "_core.execution.plan.execute_plan",
    "default_job_io_manager": "_core.definitions.job_definition",
    "ephemeral_instance_if_missing": "_core.execution.build_resources",
    "execute_core_compute": "_core.execution.plan.execute_step",
    "loadable_targets_from_loaded_module": "_core.workspace.autodiscovery",
    "repository_def_from_target_def": "_core.definitions.reconstruct",
}


@functools.cache
def internal(name: str) -> Any:
    """Return a name of Dagster's private API. Raises UnknownDagster if it is not there."""
    place = f"dagster.{_PLACES[name]}"
    try:
        return getattr(importlib.import_module(place), name)
    except (ImportError, AttributeError):
        raise UnknownDagster(
            f"this Dagster ({metadata.version('dagster')}) has no {place}.{name}: "
            f"dagmar is tested with Dagster {TESTED}",
            f"Or install a tested one: `{add_command(as_requirement('dagster', DAGSTER))}`.",
            "invoke update",
        ) from None


@contextlib.contextmanager
def replaced(name: str, new: Any) -> Iterator[None]:
    """Replace a function of Dagster's private API, where it is called from, inside the block.

    Raises UnknownDagster if it is not there.
    """
    before = internal(name)
    replace(name, new)
    try:
        yield
    finally:
        replace(name, before)


def replace(name: str, new: Any) -> None:
    """Replace a function of Dagster's private API, where it is called from."""
    setattr(importlib.import_module(f"dagster.{_PLACES[name]}"), name, new)
