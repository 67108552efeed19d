"""The tasks that start a project and keep it healthy."""

from typing import Annotated

from invoke import Context

from dagmar.tasks.command import Json, Many, Result, command, project_root


@command
def dev(
    context: Context,
    notebook: Annotated[str, "Notebook to open, instead of the list of all."] = "",
    dagster_port: Annotated[str, "Port for Dagster; the next free one is used if it is busy."] = "",
    marimo_port: Annotated[str, "Port for marimo; the next free one is used if it is busy."] = "",
    no_open: Annotated[bool, "Do not open the browser."] = False,
    env_file: Annotated[str, "File with variables for the servers, in addition to .env."] = "",
    no_dagster: Annotated[bool, "Do not start Dagster."] = False,
    no_marimo: Annotated[bool, "Do not start marimo."] = False,
    once: Annotated[bool, "Stop everything once it is ready; status 0 if it got ready."] = False,
    watch: Annotated[bool, "Show what Dagster and marimo use: CPU, memory, kernels."] = False,
    no_reload: Annotated[bool, "Do not reload code locations when their files change."] = False,
    log_level: Annotated[str, "critical, error, warning, info or debug."] = "",
    json: Annotated[bool, "Print one line of JSON on stdout for each event."] = False,
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
        watch=watch,
        reload=not no_reload,
        log_level=log_level,
    )
    supervisor.dev(load(project_root(context)), request, json)


@command
def update(
    context: Context,
    check: Annotated[bool, "Show what an update would change, and change nothing."] = False,
    to: Annotated[str, "Version of the template, instead of the newest."] = "",
    from_: Annotated[str, "URL or path of the template, if it is not where it was."] = "",
    runner: Annotated[str, "copy or package: what the project is to have from now on."] = "",
    json: Json = False,
) -> Result:
    """Merge a newer template into the project and all its notebooks.

    Examples:
      invoke update --check
      invoke update
      invoke update --to v1.2.0
      invoke update --from https://git.example.com/team/dagmar.git
      invoke update --runner package
    """
    from dagmar.upkeep.update import look, update

    return (look if check else update)(project_root(context), to, from_, runner)


@command
def doctor(
    context: Context,
    only: Annotated[Many, "Name of a check to run, instead of all; may be repeated."] = (),
    list: Annotated[bool, "Show the names of the checks, and run none."] = False,
    fix: Annotated[bool, "Make the repairs that are safe, and report them."] = False,
    json: Json = False,
) -> Result:
    """Find out what is wrong with this project, and what to type.

    Examples:
      invoke doctor
      invoke doctor --fix
      invoke doctor --only server --only daemon --json
    """
    from dagmar.upkeep.doctor import DoctorRequest, doctor

    return doctor(project_root(context), DoctorRequest(only, list, fix))


@command
def clean(
    context: Context,
    older_than: Annotated[str, "Only what is older than this many days."] = "",
    exports: Annotated[
        bool, "Reports, except the newest successful and newest linked one of each notebook."
    ] = False,
    cache: Annotated[
        bool, "Files that can be recreated: the asset catalog, the template's clone."
    ] = False,
    logs: Annotated[bool, "Logs of `invoke dev`."] = False,
    notebooks: Annotated[bool, "Scaffolded notebooks without changes, with their answers."] = False,
    dry_run: Annotated[bool, "Show what would be removed, and remove nothing."] = False,
    yes: Annotated[bool, "Do not ask."] = False,
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


@command
def leave(
    context: Context,
    dry_run: Annotated[bool, "Show what would be removed, and remove nothing."] = False,
    yes: Annotated[bool, "Do not ask."] = False,
    force: Annotated[
        bool, "Also remove an edited runner, and your files among the reports."
    ] = False,
) -> None:
    """Remove dagmar from this project: what it added goes, notebooks and your edits stay.

    Reports, and the runs and values of the local Dagster instance in .dagmar, go too.

    Examples:
      invoke leave --dry-run
      invoke leave
    """
    from dagmar.project.settings import load
    from dagmar.upkeep.leave import leave

    root = project_root(context)
    leave(root, load(root).notebooks, dry_run=dry_run, yes=yes, force=force)
