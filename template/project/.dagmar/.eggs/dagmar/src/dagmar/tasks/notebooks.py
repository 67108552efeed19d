"""The tasks about notebooks: create, convert and check them."""

from typing import Annotated

from invoke import Context

from dagmar.tasks.command import (
    Json,
    Many,
    Result,
    Target,
    Url,
    catalog_if_any,
    command,
    open_catalog,
    open_server,
    project_root,
)


@command
def scaffold(
    context: Context,
    asset: Annotated[
        Many, "Asset to create a notebook for, KEY or KEY@LOCATION; may be repeated."
    ] = (),
    job: Annotated[
        Many, "Job to create a notebook for, NAME or NAME@LOCATION; may be repeated."
    ] = (),
    select: Annotated[str, "Assets of this Dagster asset selection, one notebook for each."] = "",
    one: Annotated[bool, "With --select: one notebook for all of the assets."] = False,
    run: Annotated[str, "Failed run: the notebook of what failed, to open with its values."] = "",
    template: Annotated[
        str, "default, minimal, ml, report, stats, or the path of your own folder."
    ] = "default",
    name: Annotated[str, "Name of the notebook, instead of one from the key."] = "",
    title: Annotated[str, "Heading of the notebook, instead of the key."] = "",
    set: Annotated[Many, "An option of the template, NAME=VALUE; may be repeated."] = (),
    force: Annotated[bool, "Overwrite notebooks that exist."] = False,
    dry_run: Annotated[bool, "Show what would be created, and write nothing."] = False,
    git_commit: Annotated[bool, "Commit the new files, and only those."] = False,
    target: Target = "",
    url: Url = "",
    json: Json = False,
) -> Result:
    """Create notebooks that are paired with assets or jobs.

    Examples:
      invoke scaffold --asset raw/orders
      invoke scaffold --select 'group:sales' --template minimal --dry-run
      invoke scaffold --select 'group:sales' --one
      invoke scaffold --run RUN_ID
      invoke scaffold --job nightly --name nightly_report --title 'Nightly report'
    """
    from dagmar.flags import parse_pairs
    from dagmar.scaffold.notebooks import ScaffoldRequest, scaffold

    request = ScaffoldRequest(
        assets=asset,
        jobs=job,
        select=select,
        run=run,
        one=one,
        template=template,
        name=name,
        title=title,
        options=dict(parse_pairs("--set", set, "width=full", "NAME=VALUE", str.isidentifier)),
        force=force,
        dry_run=dry_run,
        git_commit=git_commit,
    )
    if run:
        from dagmar.scaffold.failed import open_run

        with open_server(context, target, url) as (settings, client):
            return open_run(settings, client, request)
    with open_catalog(context, target, url) as (settings, catalog):
        return scaffold(settings, catalog, request)


@command
def check(
    context: Context,
    path: Annotated[Many, "Notebook or folder to check, instead of all; may be repeated."] = (),
    target: Target = "",
    url: Url = "",
    json: Json = False,
) -> Result:
    """Check notebooks: marimo's rules, undefined names, and whether they fit their assets.

    Examples:
      invoke check
      invoke check --path notebooks/raw_orders.py --json
    """
    from dagmar.notebook.checking import CheckedNotebooks, check, find_notebooks
    from dagmar.project.settings import load

    settings = load(project_root(context))
    notebooks = find_notebooks(settings, path)
    if not notebooks:
        return CheckedNotebooks()
    with catalog_if_any(context, target, url) as catalog:
        return check(settings, notebooks, catalog)


@command
def migrate(
    context: Context,
    notebook: Annotated[Many, "Jupyter notebook to convert, FILE.ipynb; may be repeated."] = (),
    all: Annotated[bool, "Convert every Jupyter notebook of the project."] = False,
    asset: Annotated[str, "Asset to pair the notebook with, KEY or KEY@LOCATION."] = "",
    job: Annotated[str, "Job to pair the notebook with, NAME or NAME@LOCATION."] = "",
    outputs: Annotated[str, "What cells had shown: as comments, or drop."] = "drop",
    force: Annotated[bool, "Overwrite notebooks that exist."] = False,
    dry_run: Annotated[bool, "Convert and report, and write nothing."] = False,
    verify: Annotated[bool, "Run both notebooks once, and compare what they end with."] = False,
    timeout: Annotated[str, "Seconds that each of both may take under --verify."] = "600",
    target: Target = "",
    url: Url = "",
    json: Json = False,
) -> Result:
    """Convert Jupyter notebooks to paired notebooks, cell by cell.

    Examples:
      invoke migrate --notebook analysis/orders.ipynb --asset raw/orders
      invoke migrate --all --dry-run
      invoke migrate --notebook analysis/orders.ipynb --verify
    """
    from dagmar.flags import parse_number
    from dagmar.migrate.migrating import VERIFY_SECONDS, MigrateRequest, migrate
    from dagmar.project.settings import load

    request = MigrateRequest(
        notebooks=notebook,
        everything=all,
        asset=asset,
        job=job,
        outputs=outputs,
        force=force,
        dry_run=dry_run,
        verify=verify,
        timeout=parse_number("--timeout", timeout, 600, 1, "seconds") or VERIFY_SECONDS,
    )
    with catalog_if_any(context, target, url) as catalog:
        return migrate(load(project_root(context)), request, catalog)
