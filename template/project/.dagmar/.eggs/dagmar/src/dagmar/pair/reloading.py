"""Code locations of the project's own server that are older than their files.

`invoke dev` reloads them when a file is saved; this is for a `dagster dev` without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
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
Saved = frozenset[tuple[Path, code.Stamp]]
# What this kernel has reloaded for, by server and code location: files may be newer forever, where
# another clock writes their times.
_tried: dict[tuple[str, str], Saved] = {}


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
            older = _older(context, known)
            for name in _own(context, client, older):
                _tried[context.target.url, name] = older[name]
                with contextlib.suppress(NotAllowed, Invalid):  # then the controls are as they were
                    known[name] = _reload(context, name)
    return [place.failure for place in known.values() if place.failure]


def _older(context: Context, known: Mapping[str, LoadedLocation]) -> dict[str, Saved]:
    """Return what was saved after the server had loaded it, by code location."""
    target, running = context.target, devfile.read(context.root)
    if target.read_only or not target.loopback or (running and running.dagster_url == target.url):
        return {}
    try:
        declared = locations.read_workspace(context.root).locations
    except SetupError:
        return {}
    newer = {
        place.name: _saved_since(place, known[place.name].at - MARGIN_SECONDS)
        for place in declared
        if place.kind != locations.GRPC and place.name in known and not known[place.name].loading
    }
    return {
        name: saved
        for name, saved in newer.items()
        if not saved <= _tried.get((target.url, name), frozenset())
    }


def _saved_since(place: locations.CodeLocation, moment: float) -> Saved:
    files = {
        file
        for folder in place.places
        for file in code.sources(folder)
        if code.may_be_imported(file, folder)
    }
    stamps = ((file, code.stamp(file)) for file in files)
    return frozenset(
        (file, stamp)
        for file, stamp in stamps
        if isinstance(stamp, tuple) and stamp[0] / 1e9 > moment
    )


def _own(context: Context, client: DagsterClient, names: Iterable[str]) -> list[str]:
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
