"""What there is without a server: the project's own definitions, in the shape of the catalog."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, SetupError
from dagmar.server.catalog import IMPLICIT_JOB, KIND_TAG, Catalog, Inputs, Item


def read_definitions(root: Path) -> Catalog:
    """Import the project's definitions and return their assets and jobs.

    Raises SetupError where `pyproject.toml` names none, Invalid where they do not load.
    """
    name = module_name(root)
    with _quiet(), _importable(root):
        from dagster._core.definitions.reconstruct import repository_def_from_target_def
        from dagster._core.workspace.autodiscovery import loadable_targets_from_loaded_module

        try:
            targets = loadable_targets_from_loaded_module(importlib.import_module(name))
            repository: Any = repository_def_from_target_def(targets[0].target_definition)
            place = {"location": name, "repository": repository.name}
            graph = repository.asset_graph
            catalog = Catalog("", "", [])
            catalog.assets = [
                {**_asset(graph.get(key)), **place}
                for key in sorted(graph.get_all_asset_keys(), key=lambda key: str(key.path))
            ]
            catalog.inputs = lambda keys: {key: inputs_of(graph, key) for key in keys}
            catalog.jobs = [
                {"name": job.name, "description": job.description, **place}
                for job in repository.get_all_jobs()
                if not job.name.startswith(IMPLICIT_JOB)
            ]
        except Exception as error:  # whatever the user's code raises
            raise Invalid(
                f"the definitions in {name} do not load: {type(error).__name__}: {error}",
                "Type `dg check defs` to see where, or start Dagster.",
            ) from None
    return catalog


def module_name(root: Path) -> str:
    """Return the module that Dagster would load for this project."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        tools = tomllib.loads((root / "pyproject.toml").read_text("utf-8")).get("tool", {})
        project = tools.get("dg", {}).get("project", {})
        if project.get("root_module"):
            default = f"{project['root_module']}.definitions"
            return str(project.get("code_location_target_module", default))
        return str(tools["dagster"]["module_name"])
    except (OSError, ValueError, KeyError, AttributeError):
        raise SetupError(
            "pyproject.toml does not say where the definitions are",
            "Start Dagster, or set root_module in [tool.dg.project].",
        ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the user's modules print away from stdout, where data stands."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _importable(root: Path) -> Iterator[None]:
    """Find the project's modules, installed or not."""
    before = list(sys.path)
    sys.path[:0] = [str(root / "src"), str(root)]
    try:
        yield
    finally:
        sys.path[:] = before


def _asset(node: Any) -> Item:
    return {
        "key": AssetKey.from_parts(node.key.path),
        "group": node.group_name,
        "kinds": sorted(node.kinds),
        "tags": {key: text for key, text in node.tags.items() if not key.startswith(KIND_TAG)},
        "owners": list(node.owners),
        "description": node.description,
        "materializable": node.is_materializable,
        "partitions": node.partitions_def and _partitions(node.partitions_def),
        "dependencies": sorted(AssetKey.from_parts(key.path) for key in node.parent_keys),
        "jobs": [],
    }


def inputs_of(graph: Any, key: str) -> Inputs:
    """Return what an asset of an asset graph takes from upstream."""
    import dagster as dg

    node = graph.get(dg.AssetKey(AssetKey(key).parts))
    own, values, alike = node.partitions_def, [], []
    for above in sorted(taken_as_values(node), key=lambda key: AssetKey.from_parts(key.path)):
        values.append(AssetKey.from_parts(above.path))
        mapping = node.partition_mappings.get(above)
        same = (dg.IdentityPartitionMapping, dg.TimeWindowPartitionMapping)
        if (
            own is not None
            and graph.has(above)
            and graph.get(above).partitions_def == own
            and (mapping is None or isinstance(mapping, same))
        ):
            alike.append(values[-1])
    return Inputs(own is not None, tuple(values), frozenset(alike))


def taken_as_values(node: Any) -> set[Any]:
    """Return the keys of the upstream assets whose value an asset gets."""
    assets = node.assets_def
    if not assets.is_executable:
        return set()
    nothing = {
        assets.keys_by_input_name[one.name]
        for one in assets.node_def.input_defs
        if one.dagster_type.is_nothing and one.name in assets.keys_by_input_name
    }
    return set(node.parent_keys) - nothing


def _partitions(definition: Any) -> Item:
    import dagster as dg

    if isinstance(definition, dg.MultiPartitionsDefinition):
        dimensions = [(part.name, part.partitions_def) for part in definition.partitions_defs]
        kind = "MULTIPARTITIONED"
    else:
        dimensions, kind = [("default", definition)], _partition_type(definition)
    return {
        "type": kind,
        "dimensions": [
            {
                "name": name,
                "type": _partition_type(part),
                "dynamic_name": getattr(part, "name", None)
                if isinstance(part, dg.DynamicPartitionsDefinition)
                else None,
            }
            for name, part in dimensions
        ],
    }


def _partition_type(definition: Any) -> str:
    import dagster as dg

    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        return "TIME_WINDOW"
    return "DYNAMIC" if isinstance(definition, dg.DynamicPartitionsDefinition) else "STATIC"
