"""Code locations as a server has loaded them, loading one again, and what that changed."""

from __future__ import annotations

from dataclasses import dataclass

from dagmar.errors import Invalid
from dagmar.failure import Failure
from dagmar.server.catalog import IMPLICIT_JOB, Item, broken, location
from dagmar.server.client import DagsterClient, member

KINDS = ("assets", "jobs", "schedules", "sensors")
Outline = dict[str, dict[str, Item]]
"""What a code location defines: facts by kind and name. The code of functions is not among them."""
Changes = dict[str, dict[str, list[str]]]
"""Names that were `added`, `removed` or `changed`, by kind."""


@dataclass(frozen=True)
class LoadedLocation:
    """A code location, when the server finished loading it, and why it did not load.

    While it is `loading`, nothing is known of what it defines.

    `at` is in seconds since 1970 by the server's clock. What was saved just before it may have
    been read too late to be in it.
    """

    name: str
    at: float
    failure: Failure | None = None
    loading: bool = False


def loaded_locations(client: DagsterClient) -> dict[str, LoadedLocation]:
    """Return the code locations of a server by their names.

    Raises Unreachable, UnexpectedAnswer or NotAllowed.
    """
    workspace = member(client.query("Workspace")["workspaceOrError"], "Workspace")
    return {entry["name"]: _loaded(entry) for entry in workspace["locationEntries"]}


def reload_location(client: DagsterClient, name: str) -> LoadedLocation:
    """Load a code location again, in a new process, and wait until it is loaded or has failed.

    Runs in progress go on in the old process. Raises Invalid if the server does not know it or
    cannot reload it, NotAllowed, and what `DagsterClient.mutate` raises.
    """
    answer = client.mutate("ReloadLocation", name=name)["reloadRepositoryLocation"]
    errors = {
        "RepositoryLocationNotFound": lambda _: Invalid(
            f"Dagster has no code location '{name}'", command="invoke discover --kind locations"
        ),
        "ReloadNotSupported": lambda _: Invalid(
            f"Dagster cannot reload '{name}'", "Restart the server that loads its code."
        ),
    }
    return _loaded(member(answer, "WorkspaceLocationEntry", errors))


def _loaded(entry: Item) -> LoadedLocation:
    known = location(entry)
    failure = broken([known]).get(entry["name"])
    loading = known["status"] == "loading"
    return LoadedLocation(entry["name"], entry["updatedTimestamp"], failure, loading)


def read_outline(client: DagsterClient) -> dict[str, Outline]:
    """Return what each code location that loads defines, as far as changes of it are reported.

    Raises what `DagsterClient.query` raises.
    """
    found: dict[str, Outline] = {}
    answer = client.query("Outline")["repositoriesOrError"]
    for node in member(answer, "RepositoryConnection")["nodes"]:
        outline = found.setdefault(node["location"]["name"], {kind: {} for kind in KINDS})
        for kind in KINDS:
            for item in node[kind]:
                name = str(item.get("key") or item["name"])
                if item.get("isAssetJob"):  # its snapshot changes with every asset
                    item.pop("pipelineSnapshotId")
                if not name.startswith(IMPLICIT_JOB):
                    outline[kind][name] = item
    return found


def changes(before: Outline, after: Outline) -> Changes:
    """Return the names that were added, removed and changed, by kind; nothing for other kinds."""
    found: Changes = {}
    for kind in KINDS:
        old, new = before.get(kind, {}), after.get(kind, {})
        names = {
            "added": sorted(new.keys() - old.keys()),
            "removed": sorted(old.keys() - new.keys()),
            "changed": sorted(name for name in new.keys() & old.keys() if new[name] != old[name]),
        }
        if any(names.values()):
            found[kind] = names
    return found
