"""The project's definitions as a catalog, read without a server."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Invalid, SetupError, UnknownDagster
from dagmar.failure import Failure
from dagmar.orchestration.loader import definitions_of
from dagmar.project import devfile
from dagmar.project.locations import GRPC, Workspace, require_loadable
from dagmar.server.catalog import (
    IMPLICIT_JOB,
    KIND_TAG,
    Asset,
    Catalog,
    Dimension,
    Inputs,
    Job,
    Location,
    PartitionsItem,
    definitions_among,
)
from dagmar.server.names import names_of


def read_definitions(root: Path) -> Catalog:
    """Load the project's definitions and return their assets and jobs.

    A code location that does not load is in `broken`; if none does, its error is raised.
    Raises SetupError, also if the project does not declare its definitions.
    """
    catalog = Catalog("", "", [])
    found: list[tuple[Asset, bool]] = []
    graphs: dict[str, Any] = {}
    failures: dict[str, DagmarError] = {}
    with _quiet():
        for name, definitions in definitions_of(root).each(failures):
            graph, repo = definitions.asset_graph, definitions.name
            for node in graph.asset_nodes:
                asset = _asset(node, name, repo)
                found.append((asset, node.is_observable))
                graphs[names_of(asset)[-1]] = graph
            catalog.jobs += [
                Job(name=job.name, description=job.description, location=name, repository=repo)
                for job in definitions.get_all_jobs()
                if not job.name.startswith(IMPLICIT_JOB)
            ]
            place = Location(name=name, repositories=[repo], status="loaded", error=None)
            catalog.locations.append(place)
    if failures and not catalog.locations:
        raise next(iter(failures.values()))
    for name, failure in failures.items():
        error = Failure(failure.message).as_document()
        catalog.locations.append(Location(name=name, repositories=[], status="error", error=error))
    # As an asset is described by the code location that defines it.
    catalog.assets = definitions_among(found)
    catalog.inputs = lambda assets: {
        name: inputs_of(graphs[name], asset["key"])
        for asset in assets
        for name in [names_of(asset)[-1]]
    }
    return catalog


def check_values(root: Path, keys: Collection[AssetKey], url: str) -> str:
    """Refuse assets of the catalog at `url` whose values can never be loaded in this project.

    Return why it is not certain for the others: code that does not load now may load later.
    Raises SetupError if no code location can be loaded here, Invalid if none defines an asset.
    """
    if not keys:
        return ""
    try:
        workspace = require_loadable(root)
    except SetupError as error:
        raise SetupError(
            f"{_listed(keys)} can never be loaded in this project: {error.message}", error.hint
        ) from None
    remote = [place.name for place in workspace.locations if place.kind == GRPC]
    running = devfile.read(root)
    if not url or (not remote and running and running.dagster_url == url):
        return ""  # the catalog is that of the project's own definitions
    failures: dict[str, DagmarError] = {}
    known: set[str] = set()
    try:
        with _quiet():
            for name, definitions in definitions_of(root).each(failures):
                for node in definitions.asset_graph.asset_nodes:
                    known.update(names_of(_asset(node, name, definitions.name)))
    except UnknownDagster as error:
        return error.message
    missing = [key for key in keys if key not in known]
    if not missing:
        return ""
    if reasons := [failures[name].message for name in failures if name not in remote]:
        return "; ".join(reasons)
    behind = f", or they are behind the gRPC server of {', '.join(remote)}" if remote else ""
    raise Invalid(
        f"{_listed(missing)} can never be loaded in this project: its definitions do not have "
        f"what the Dagster at {url} has{behind}",
        _hint(workspace),
    )


def _listed(keys: Collection[AssetKey]) -> str:
    return ", ".join(f"'{key}'" for key in sorted(keys))


def _hint(workspace: Workspace) -> str:
    elsewhere = "scaffold the notebook in the project that defines its inputs."
    if workspace.with_dg:
        return elsewhere.capitalize()
    if workspace.guessed:
        return f"Declare the code location in a workspace.yaml, or {elsewhere}"
    return f"Add the code location to {workspace.declared_in}, or {elsewhere}"


def _key(node: Any) -> AssetKey:
    return AssetKey.from_parts(node.key.path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings, and keep what the user's modules print out of stdout, which is data."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield


def _asset(node: Any, location: str, repository: str) -> Asset:
    return {
        "key": _key(node),
        "group": node.group_name,
        "kinds": sorted(node.kinds),
        "tags": {key: text for key, text in node.tags.items() if not key.startswith(KIND_TAG)},
        "owners": list(node.owners),
        "description": node.description,
        "location": location,
        "repository": repository,
        "materializable": node.is_materializable,
        "partitions": node.partitions_def and _partitions(node.partitions_def),
        "dependencies": sorted(AssetKey.from_parts(key.path) for key in node.parent_keys),
        "jobs": [],
    }


def inputs_of(graph: Any, key: AssetKey) -> Inputs:
    """Return the upstream assets whose values an asset of an asset graph loads."""
    import dagster as dg

    node = graph.get(dg.AssetKey(key.parts))
    own = node.partitions_def
    same = (type(None), dg.IdentityPartitionMapping, dg.TimeWindowPartitionMapping)
    values = {AssetKey.from_parts(upstream.path): upstream for upstream in _loaded_keys(node)}
    alike = {
        name
        for name, upstream in values.items()
        if own is not None
        and graph.has(upstream)
        and graph.get(upstream).partitions_def == own
        and isinstance(node.partition_mappings.get(upstream), same)
    }
    return Inputs(own is not None, tuple(sorted(values)), frozenset(alike))


def _loaded_keys(node: Any) -> set[Any]:
    assets = node.assets_def
    if not assets.is_executable:
        return set()
    nothing = {
        assets.keys_by_input_name[definition.name]
        for definition in assets.node_def.input_defs
        if definition.dagster_type.is_nothing and definition.name in assets.keys_by_input_name
    }
    return set(node.parent_keys) - nothing


def _partitions(definition: Any) -> PartitionsItem:
    import dagster as dg

    several = isinstance(definition, dg.MultiPartitionsDefinition)
    parts = {"default": definition}
    if several:
        parts = {part.name: part.partitions_def for part in definition.partitions_defs}
    dimensions: list[Dimension] = []
    for name, part in parts.items():
        dynamic = isinstance(part, dg.DynamicPartitionsDefinition)
        timed = isinstance(part, dg.TimeWindowPartitionsDefinition)
        type = "DYNAMIC" if dynamic else "TIME_WINDOW" if timed else "STATIC"
        name_of_dynamic = part.name if dynamic else None
        dimensions.append({"name": name, "type": type, "dynamic_name": name_of_dynamic})
    kind = "MULTIPARTITIONED" if several else dimensions[0]["type"]
    return {"type": kind, "dimensions": dimensions}
