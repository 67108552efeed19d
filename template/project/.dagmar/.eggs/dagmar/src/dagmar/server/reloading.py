"""Code locations as a server has loaded them, and loading one of them again."""

from __future__ import annotations

from dataclasses import dataclass

from dagmar.errors import Invalid
from dagmar.failure import Failure
from dagmar.server.catalog import Item, broken, location
from dagmar.server.client import DagsterClient, member


@dataclass(frozen=True)
class LoadedLocation:
    """A code location, when the server finished loading it, and why it did not load.

    `at` is in seconds since 1970 by the server's clock. What was saved just before it may have
    been read too late to be in it.
    """

    name: str
    at: float
    failure: Failure | None = None


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
        "ReloadNotSupported": lambda _: Invalid(f"Dagster cannot reload '{name}'"),
    }
    return _loaded(member(answer, "WorkspaceLocationEntry", errors))


def _loaded(entry: Item) -> LoadedLocation:
    failures = broken([location(entry)])
    return LoadedLocation(entry["name"], entry["updatedTimestamp"], failures.get(entry["name"]))
