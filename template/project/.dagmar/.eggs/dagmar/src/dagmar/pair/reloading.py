"""Code locations of the project's own server that are older than their files.

`invoke dev` reloads them when a file is saved; this is for a `dagster dev` without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dagmar.errors import Invalid, NotAllowed, SetupError
from dagmar.failure import Failure
from dagmar.files import alone
from dagmar.pair.context import Context, live
from dagmar.project import code, devfile, locations

if TYPE_CHECKING:
    from dagmar.server.client import DagsterClient
    from dagmar.server.reloading import LoadedLocation

# What was saved just before a code location was loaded may have been read before that.
MARGIN_SECONDS = 2.0
TIMEOUTS = (5.0, 600.0)


def reload_older(context: Context, client: DagsterClient) -> list[Failure]:
    """Load code locations again whose files are newer, and return why some do not load.

    Only the project's own are, on this machine, unless the target is read-only or `invoke dev`
    reloads them; and only while somebody views the notebook.
    Raises what `DagsterClient.query` and `mutate` raise.
    """
    from dagmar.server.reloading import loaded_locations

    if not live():
        return []
    known = loaded_locations(client)
    if _older(context, known):
        # Of several kernels, one reloads.
        with alone(context.root):
            known = loaded_locations(client)
            for name in _own(context, client, _older(context, known)):
                with contextlib.suppress(NotAllowed, Invalid):  # then the controls are as they were
                    known[name] = _reload(context, name)
    return [place.failure for place in known.values() if place.failure]


def _older(context: Context, known: dict[str, LoadedLocation]) -> list[str]:
    """Return the names of the code locations that the server loaded before they were saved."""
    target, running = context.target, devfile.read(context.root)
    if target.read_only or not target.loopback or (running and running.dagster_url == target.url):
        return []
    try:
        declared = locations.read_workspace(context.root).locations
    except SetupError:
        return []
    return [
        place.name
        for place in declared
        if place.name in known
        and place.kind != locations.GRPC
        and any(_saved(file) > known[place.name].at - MARGIN_SECONDS for file in _sources(place))
    ]


def _sources(place: locations.CodeLocation) -> Iterator[Path]:
    for folder in place.places:
        yield from (file for file in code.sources(folder) if code.may_be_imported(file, folder))


def _saved(file: Path) -> float:
    state = code.stamp(file)
    return state[0] / 1e9 if isinstance(state, tuple) else 0.0


def _own(context: Context, client: DagsterClient, names: list[str]) -> list[str]:
    """Return those of the names that the server loads from this project's files.

    The address of this machine may lead to another one, through a tunnel.
    """
    from dagmar.server.client import member
    from dagmar.server.identity import is_from

    answer = client.query("LocationPlaces")
    entries = member(answer["workspaceOrError"], "Workspace")["locationEntries"]
    process = answer["instance"]
    own = {entry["name"] for entry in entries if is_from(context.root, entry, process)}
    return [name for name in names if name in own]


def _reload(context: Context, name: str) -> LoadedLocation:
    import marimo as mo

    from dagmar.server.client import DagsterClient
    from dagmar.server.reloading import reload_location

    title = f"Reloading {name}: its files are newer…"
    with (
        mo.status.spinner(title=title, remove_on_exit=True),
        DagsterClient(replace(context.target, timeouts=TIMEOUTS)) as client,
    ):
        return reload_location(client, name)
