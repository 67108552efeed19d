"""The run that a notebook was opened with, for its controls and its watched run.

`?run=RUN_ID` in the address of the page, or `--run RUN_ID` on the command line; else the last run
that was launched from the notebook. Nothing of the run is written into the notebook's file.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from dagmar.errors import DagmarError
from dagmar.pair.context import Context, live, read_parameter

if TYPE_CHECKING:
    from dagmar.server.client import DagsterClient
    from dagmar.server.relaunch import LaunchedWith


def run_id() -> str:
    """Return the id of the run, or an empty text; an app shows no runs that its viewers name."""
    import marimo as mo

    return "" if mo.app_meta().mode == "run" else read_parameter("run") or ""


def last_run(context: Context, client: DagsterClient | None = None) -> str:
    """Return the id of the user's last run from before this copy of the notebook was opened.

    It is looked up once, so runs of other copies that are open are not shown. It is empty without
    one, and wherever nobody edits: viewers of an app are not shown each other's runs.
    Raises DagmarError.
    """
    last = context.last
    if last.earlier is None and (not _edited() or not context.tags):
        return ""
    if last.earlier is None:
        from dagmar.project.provenance import user_tag
        from dagmar.server.backfills import read_backfill
        from dagmar.server.runs import read_newest_run

        with contextlib.nullcontext(client) if client else context.client() as client:
            run = read_newest_run(client, {**context.tags, **user_tag()})
            last.earlier = run.run_id if run else ""
            if run:
                last.in_progress, last.backfill = not run.final, run.backfill
            if last.backfill:
                last.in_progress = not read_backfill(client, last.backfill).final
    return last.earlier


def _edited() -> bool:
    """Return whether somebody edits the notebook."""
    import marimo as mo

    return live() and mo.app_meta().mode == "edit"


def read_values(context: Context, client: DagsterClient) -> LaunchedWith | None:
    """Return the values of the run, with the config of the paired asset's ops only.

    Without a run that the notebook was opened with, it is the last one that this copy launched,
    else the last one of before; None if there is none. Raises Invalid for an unknown one.
    """
    if id := run_id():
        return _read(context, client, id)
    with contextlib.suppress(DagmarError):  # it may have been deleted
        if id := context.last.own or last_run(context, client):
            values = _read(context, client, id)
            # The address may say which partition.
            return replace(values, partition=None) if read_parameter("partition_key") else values
    return None


def _read(context: Context, client: DagsterClient, id: str) -> LaunchedWith:
    from dagmar.server.launchable import Hints, find_assets
    from dagmar.server.relaunch import read_launched_with
    from dagmar.server.runconfig import share

    values = read_launched_with(client, id)
    if not context.asset:
        return values
    (item,) = find_assets(client, [context.asset], None, Hints("", "", ""))
    return replace(values, config=share(values.config, item.launch.ops))


def read_partition(context: Context) -> str | None:
    """Return the partition of the run; None without a run or without one partition.

    Raises Invalid for an unknown run, and Unreachable.
    """
    if not (id := run_id()):
        return None
    with context.client() as client:
        from dagmar.server.relaunch import read_launched_with

        return read_launched_with(client, id).partition
