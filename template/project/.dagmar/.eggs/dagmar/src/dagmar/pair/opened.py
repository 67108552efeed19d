"""The run that a notebook was opened with, for its controls and its watched run.

`?run=RUN_ID` in the address of the page, or `--run RUN_ID` on the command line. Nothing of the run
is written into the notebook's file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagmar.pair.context import Context, read_parameter

if TYPE_CHECKING:
    from dagmar.server.client import DagsterClient
    from dagmar.server.relaunch import LaunchedWith


def run_id() -> str:
    """Return the id of the run, or an empty text; an app shows no runs that its viewers name."""
    import marimo as mo

    return "" if mo.app_meta().mode == "run" else read_parameter("run") or ""


def read_values(context: Context, client: DagsterClient) -> LaunchedWith | None:
    """Return the values of the run, with the config of the paired asset's ops only.

    It is None if the notebook was not opened with a run. Raises Invalid for an unknown one.
    """
    if not (id := run_id()):
        return None
    from dataclasses import replace

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
