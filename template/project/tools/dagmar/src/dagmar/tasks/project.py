"""The tasks that start a project and keep it healthy."""

from __future__ import annotations

from collections.abc import Sequence

from invoke import Context

from dagmar.tasks.command import Result, command, project_root


@command(
    help={
        "notebook": "Notebook to open, instead of the list of all.",
        "dagster_port": "Port for Dagster; the next free one is used if it is busy.",
        "marimo_port": "Port for marimo; the next free one is used if it is busy.",
        "no_open": "Do not open the browser.",
        "env_file": "File with variables for the servers, in addition to .env.",
        "no_dagster": "Do not start Dagster.",
        "no_marimo": "Do not start marimo.",
        "once": "Stop everything once it is ready; status 0 if it got ready.",
        "log_level": "critical, error, warning, info or debug.",
        "json": "Print one line of JSON on stdout for each event.",
    },
)
def dev(
    context: Context,
    notebook: str = "",
    dagster_port: str = "",
    marimo_port: str = "",
    no_open: bool = False,
    env_file: str = "",
    no_dagster: bool = False,
    no_marimo: bool = False,
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
        open=not no_open,
        env_file=env_file,
        dagster=not no_dagster,
        marimo=not no_marimo,
        once=once,
        log_level=log_level,
    )
    supervisor.dev(load(project_root(context)), request, json)


@command(
    help={
        "check": "Show what an update would change, and change nothing.",
        "to": "Version of the template, instead of the newest.",
    },
)
def update(context: Context, check: bool = False, to: str = "", json: bool = False) -> Result:
    """Merge a newer template into the project and all its notebooks.

    Examples:
      invoke update --check
      invoke update
      invoke update --to v1.2.0
    """
    from dagmar.upkeep.update import look, update

    root = project_root(context)
    return look(root, to) if check else update(root, to)


@command(
    help={
        "only": "Name of a check to run, instead of all; may be repeated.",
        "list": "Show the names of the checks, and run none.",
        "fix": "Make the repairs that are safe, and report them.",
    },
)
def doctor(
    context: Context,
    only: Sequence[str] = (),
    list: bool = False,
    fix: bool = False,
    json: bool = False,
) -> Result:
    """Find out what is wrong with this project, and what to type.

    Examples:
      invoke doctor
      invoke doctor --fix
      invoke doctor --only server --only daemon --json
    """
    from dagmar.upkeep.doctor import DoctorRequest, doctor

    return doctor(project_root(context), DoctorRequest(only, list, fix))


@command(
    help={
        "older_than": "Only what is older than this many days.",
        "exports": "Reports, except the newest successful and newest linked one of each notebook.",
        "cache": "Files that can be recreated: the asset catalog, the template's clone.",
        "logs": "Logs of `invoke dev`.",
        "notebooks": "Scaffolded notebooks without changes, with their answers.",
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
    """Remove files that dagmar wrote: exports, cache and logs, or only those that are named.

    Runs and events in .dagmar/dagster_home are data, and stay.

    Examples:
      invoke clean --dry-run
      invoke clean --exports --older-than 30 --yes
      invoke clean --notebooks
    """
    from dagmar.flags import parse_number
    from dagmar.upkeep.clean import CleanRequest, choose, clean

    kinds = choose(exports=exports, cache=cache, logs=logs, notebooks=notebooks)
    days = parse_number("--older-than", older_than, 30, unit="days") or 0
    clean(project_root(context), CleanRequest(kinds, days, dry_run, yes))
