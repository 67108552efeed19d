"""The project's own definitions and instance, in this process: values and recorded runs.

Nothing here asks a server. Definitions are loaded once per process, as Dagster's own code
server loads them.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, LoadFailed, SetupError, did_you_mean
from dagmar.failure import Failure
from dagmar.orchestration.prints import prints_kept
from dagmar.orchestration.quiet import no_warnings, quiet
from dagmar.orchestration.signals import sigterm_kept
from dagmar.orchestration.unloaded import in_words, never_materialized, not_loaded
from dagmar.orchestration.warm import warm
from dagmar.project.layout import LOCAL_INSTANCE
from dagmar.project.sources import named_home
from dagmar.server.runconfig import merge

if TYPE_CHECKING:
    import dagster as dg
    from dagster import (
        DagsterInstance,
        JobDefinition,
        PartitionsDefinition,
        RepositoryDefinition,
    )

IO_MANAGER = "io_manager"
IMPLICIT_JOB = "__ASSET_JOB"
_LOADING = threading.Lock()
# Two sessions of an app share a process. Making a new instance's tables at once fails for both;
# and where one starts a run, Dagster sets up logging in a way that locks up with another's events.
_OPENING = threading.RLock()
_RUNNING = threading.RLock()


@dataclass(frozen=True)
class LocalRun:
    """A run that was executed in this process and recorded in the project's instance."""

    run_id: str
    success: bool
    error: Failure | None = None


def home(root: Path) -> Path | None:
    """Return the folder of the project's instance: DAGSTER_HOME, or `.dagmar/dagster_home`."""
    if named := named_home(root, os.environ):
        return Path(named).expanduser()
    own = root / LOCAL_INSTANCE
    return own if own.is_dir() else None


def instance(root: Path) -> DagsterInstance:
    """Return the project's Dagster instance; one that forgets where the project has none.

    Raises SetupError where its folder or its dagster.yaml cannot be used.
    """
    with _OPENING:
        return _instance(home(root))


@functools.lru_cache(maxsize=8)
def _instance(folder: Path | None) -> DagsterInstance:
    import dagster as dg

    if folder is None:
        return dg.DagsterInstance.ephemeral()
    try:
        return dg.DagsterInstance.from_config(str(folder))
    except Exception as error:  # whatever a storage class raises, and Dagster itself
        raise SetupError(
            f"the Dagster instance in {folder} cannot be opened: {in_words(error)}",
            "Check DAGSTER_HOME and the dagster.yaml there.",
        ) from error


def is_own_instance(root: Path, info: Mapping[str, Any]) -> bool:
    """Whether a server with this instance configuration records runs where this project does."""
    if not info:
        return False
    with _OPENING:
        return _storage(info) == _storage(_own_info(home(root)))


@functools.lru_cache(maxsize=8)
def _own_info(folder: Path | None) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(_instance(folder).info_str()) or {}


def _storage(info: Mapping[str, Any]) -> tuple[str, Any]:
    local = info.get("local_artifact_storage") or {}
    folder = (local.get("config") or {}).get("base_dir") or ""
    return os.path.realpath(folder), info.get("run_storage")


def repository(root: Path) -> RepositoryDefinition:
    """Return the project's definitions, loaded once per process.

    Raises SetupError where the project does not say where they are, or they do not load.
    """
    with _LOADING, no_warnings():
        return _repository(root)


@functools.lru_cache(maxsize=8)
def _repository(root: Path) -> RepositoryDefinition:
    name = _module_name(root)
    # Dagster reads the project's .env before it loads definitions.
    if (root / ".env").is_file():
        from dotenv import load_dotenv

        load_dotenv(root / ".env")
    _make_importable(root, name)
    try:
        from dagster._core.definitions.reconstruct import repository_def_from_target_def
        from dagster._core.workspace.autodiscovery import loadable_targets_from_loaded_module

        (target, *_) = loadable_targets_from_loaded_module(importlib.import_module(name))
        found = repository_def_from_target_def(target.target_definition)
    except Exception as error:  # whatever the user's modules raise
        raise SetupError(
            f"the project's definitions ({name}) do not load: {in_words(error)}",
            "To see it outside the notebook, type: dg check defs",
        ) from error
    if found is None:
        raise SetupError(f"{name} holds no Dagster definitions", "To see why, type: dg check defs")
    return found


def _module_name(root: Path) -> str:
    """Return the module that `dg dev` or `dagster dev` would load."""
    tools = _toml(root / "pyproject.toml").get("tool", {})
    dg = _toml(root / "dg.toml") or tools.get("dg", {})
    if project := dg.get("project"):
        named = project.get("code_location_target_module")
        return str(named or f"{project.get('root_module')}.definitions")
    if named := tools.get("dagster", {}).get("module_name"):
        return str(named)
    raise SetupError(
        f"{root / 'pyproject.toml'} does not say where the Dagster definitions are",
        "Add a [tool.dagster] table with module_name, or [tool.dg.project] with root_module.",
    )


def _toml(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
    except OSError:
        return {}
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise SetupError(f"{file} is not valid TOML: {error}") from None


def _make_importable(root: Path, name: str) -> None:
    """Let a package that is not installed be found where Dagster would find it."""
    try:
        known = importlib.util.find_spec(name.partition(".")[0]) is not None
    except (ImportError, ValueError):
        known = False
    if not known:
        sys.path += [str(folder) for folder in (root, root / "src") if str(folder) not in sys.path]


@sigterm_kept()
def load_value(root: Path, key: str, partition: str | None = None) -> Any:
    """Return the value of an asset, loaded by its own IO manager.

    Without `partition`, a partitioned asset is a dict of every materialized partition's value.
    Raises Invalid for an unknown asset or partition and for what was never materialized, and
    LoadFailed, from the IO manager's own exception, where that fails.
    """
    found = repository(root)
    asset = find_asset(found, key)
    store = instance(root)
    partitions = found.asset_graph.get(asset).partitions_def
    if partition is not None:
        check_partition(partitions, store, key, partition)
    with quiet(), found.get_asset_value_loader(instance=store) as loader:

        def load(part: str | None) -> Any:
            try:
                return loader.load_asset_value(asset, partition_key=_exact(partitions, part))
            except Exception as error:  # whatever an IO manager raises
                told = not_loaded(found, store, asset, key, part, error)
                # Why a file is missing that nobody has made needs no traceback.
                raise told from (error if isinstance(told, LoadFailed) else None)

        if partitions is None or partition is not None:
            return load(partition)
        made = store.get_materialized_partitions(asset)
        values = {part: load(part) for part in partition_keys(partitions, store) if part in made}
    if not values:
        raise never_materialized(key, None, partitioned=True)
    return values


def find_asset(found: RepositoryDefinition, key: str) -> dg.AssetKey:
    """Return the key as Dagster has it. Raises Invalid where there is no such asset."""
    import dagster as dg

    asset = dg.AssetKey(AssetKey(key).parts)
    if not found.asset_graph.has(asset):
        keys = found.asset_graph.get_all_asset_keys()
        known = [AssetKey.from_parts(other.path) for other in keys]
        raise Invalid(
            f"the project's definitions have no asset '{key}'{did_you_mean(key, known)}",
            "Type: invoke discover --kind assets",
        )
    return asset


def partition_keys(partitions: PartitionsDefinition[Any], store: DagsterInstance) -> list[str]:
    """Return every partition there is, in order."""
    return list(partitions.get_partition_keys(dynamic_partitions_store=store))


def _exact(partitions: PartitionsDefinition[Any] | None, key: str | None) -> str | None:
    """Return the key as Dagster makes it: IO managers tell one of several dimensions by type."""
    exact = getattr(partitions, "get_partition_key_from_str", None)
    return exact(key) if exact and key is not None else key


def check_partition(
    partitions: PartitionsDefinition[Any] | None, store: DagsterInstance, key: str, partition: str
) -> None:
    """Raise Invalid where the asset has no partition of this key."""
    if partitions is None:
        raise Invalid(f"the asset '{key}' has no partitions", "Leave the partition out.")
    keys = partition_keys(partitions, store)
    if partition not in keys:
        known = f"from {keys[0]} to {keys[-1]}" if len(keys) > 12 else ", ".join(keys) or "none"
        raise Invalid(
            f"the asset '{key}' has no partition '{partition}'{did_you_mean(partition, keys)}",
            f"Its partitions: {known}",
        )


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
    from dagster._core.errors import DagsterInvalidConfigError

    if home(root) is None:
        raise SetupError(
            "this project has no Dagster instance to record a run in",
            "Set DAGSTER_HOME, or type: mkdir -p .dagmar/dagster_home",
        )
    found, store = repository(root), instance(root)
    definition = _job(found, job or IMPLICIT_JOB)
    keys = [find_asset(found, asset)] if asset else []
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
                partition_key=_exact(partitions, partition),
                tags=dict(tags or {}),
                raise_on_error=False,
                resources=_kept_io_manager(definition),
            )
    except DagsterInvalidConfigError as error:
        raise _config_error(what, error.errors) from None
    if result.success:
        return LocalRun(result.run_id, True)
    return LocalRun(result.run_id, False, _failure(result.all_events))


def _job(found: RepositoryDefinition, name: str) -> JobDefinition:
    if not found.has_job(name):
        known = [other for other in found.job_names if not other.startswith(IMPLICIT_JOB)]
        raise Invalid(
            f"the project's definitions have no job '{name}'{did_you_mean(name, known)}",
            "Type: invoke discover --kind jobs",
        )
    return found.get_job(name)


def _with_job_defaults(
    definition: JobDefinition, partition: str | None, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the config over what the job brings for its partition or for all runs."""
    from dagster._loggers import colored_console_logger

    own: Mapping[str, Any] = {}
    if partition is not None and definition.partitioned_config is not None:
        own = definition.partitioned_config.get_run_config_for_partition_key(partition)
    elif definition.run_config is not None:
        own = definition.run_config
    if definition.loggers.get("console") == colored_console_logger:
        # What Dagster says of every step would fill the cell.
        own = merge({"loggers": {"console": {"config": {"log_level": "INFO"}}}}, own)
    return merge(own, config)


def _kept_io_manager(definition: JobDefinition) -> dict[str, Any] | None:
    """Return the default IO manager where it is in use.

    Dagster swaps it for one in memory when a job is executed in process: the value would be
    lost, and inputs would not be found.
    """
    from dagster._core.definitions.job_definition import default_job_io_manager

    used = definition.resource_defs.get(IO_MANAGER)
    return {IO_MANAGER: default_job_io_manager} if used == default_job_io_manager else None


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
