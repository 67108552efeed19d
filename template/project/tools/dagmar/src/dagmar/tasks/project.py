"""The tasks that bring a project up and keep it healthy."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from invoke import Context

from dagmar import console
from dagmar.errors import UsageError
from dagmar.tasks.command import command, project_root


@command(
    help={
        "notebook": "Notebook to open, instead of the list of all.",
        "dagster_port": "Port for Dagster; the next free one is taken where it is busy.",
        "marimo_port": "Port for marimo; the next free one is taken where it is busy.",
        "open": "Open the browser; --no-open leaves that to you.",
        "env_file": "File with variables for the servers, besides .env.",
        "dagster": "Start Dagster; --no-dagster leaves it out.",
        "marimo": "Start marimo; --no-marimo leaves it out.",
        "once": "Stop everything once it was ready; status 0 says that it was.",
        "log_level": "critical, error, warning, info or debug.",
        "json": "Print one line of JSON on stdout for each event.",
    },
)
def dev(
    context: Context,
    notebook: str = "",
    dagster_port: str = "",
    marimo_port: str = "",
    open: bool = True,
    env_file: str = "",
    dagster: bool = True,
    marimo: bool = True,
    once: bool = False,
    log_level: str = "",
    json: bool = False,
) -> None:
    """Start Dagster and marimo together, and stop both with Ctrl-C.

    Examples:
      invoke dev
      invoke dev --notebook notebooks/raw_orders.py
      invoke dev --once --json
    """
    from dagmar.dev import supervisor
    from dagmar.flags import parse_port
    from dagmar.project.settings import load

    request = supervisor.DevRequest(
        notebook=notebook,
        dagster_port=parse_port("--dagster-port", dagster_port),
        marimo_port=parse_port("--marimo-port", marimo_port),
        open=open,
        env_file=env_file,
        dagster=dagster,
        marimo=marimo,
        once=once,
        log_level=log_level,
    )
    supervisor.dev(load(project_root(context)), request, json)


@command(
    help={
        "check": "Say what there is to update, and change nothing.",
        "to": "Version of the template, instead of the newest.",
    },
)
def update(context: Context, check: bool = False, to: str = "", json: bool = False) -> None:
    """Merge a newer template into the project and all its notebooks.

    Examples:
      invoke update --check
      invoke update
      invoke update --to v1.2.0
    """
    from dagmar.upkeep import update as updating

    root = project_root(context)
    outcome = updating.look(root, to) if check else updating.update(root, to)
    if json:
        console.document(outcome.as_document())
    else:
        outcome.tell(check)
    outcome.finish()


@command(
    help={
        "only": "Name of a check to make, instead of all; may be repeated.",
        "list": "Show the names of the checks, and make none.",
        "fix": "Mend what is safe to mend, and say what was done.",
    },
)
def doctor(
    context: Context,
    only: Sequence[str] = (),
    list: bool = False,
    fix: bool = False,
    json: bool = False,
) -> None:
    """Say what is wrong with this project, and what to type.

    Examples:
      invoke doctor
      invoke doctor --fix
      invoke doctor --only server --only daemon --json
    """
    from dagmar.upkeep import doctor as examining

    if not only and "--only" in sys.argv:
        raise UsageError("--only is empty", "To see the names, type: invoke doctor --list")
    if list and (only or fix):
        raise UsageError("--list goes with no other choice", "Leave --only and --fix out.")
    if list:
        checks = examining.as_list()
        if json:
            console.document({"checks": checks})
            return
        for one in checks:
            console.out(f"{one['name']:22} {one['about']}")
        return
    told = examining.doctor(project_root(context), only, fix)
    if json:
        console.document(examining.as_document(told))
    else:
        examining.tell(told)
    examining.finish(told)


@command(
    help={
        "older_than": "Only what is older than this many days.",
        "exports": "Exported reports; of each notebook the newest good one and linked one stay.",
        "cache": "What can be made again: the asset catalog, the template's clone.",
        "logs": "Logs of `invoke dev`.",
        "notebooks": "Notebooks that were scaffolded and not changed since, with their answers.",
        "dry_run": "Show what would be removed, and remove nothing.",
        "yes": "Do not ask.",
    },
)
def clean(
    context: Context,
    older_than: str = "",
    exports: bool = False,
    cache: bool = False,
    logs: bool = False,
    notebooks: bool = False,
    dry_run: bool = False,
    yes: bool = False,
) -> None:
    """Remove what dagmar made: exports, cache and logs, unless some of them are named.

    Runs and events in .dagmar/dagster_home are data, and stay.

    Examples:
      invoke clean --dry-run
      invoke clean --exports --older-than 30 --yes
      invoke clean --notebooks
    """
    from dagmar.flags import parse_number
    from dagmar.upkeep import clean as cleaning

    chosen = cleaning.choose(exports=exports, cache=cache, logs=logs, notebooks=notebooks)
    days = parse_number("--older-than", older_than, 30, unit="days") or 0
    plan = cleaning.look(project_root(context), chosen, days)
    cleaning.tell(plan)
    if not plan.items:
        return
    if dry_run:
        console.say("Nothing was removed: --dry-run.")
    elif cleaning.confirm(yes):
        cleaning.remove(plan if yes else cleaning.look_again(plan, chosen, days))
    else:
        console.say("Nothing was removed.")
