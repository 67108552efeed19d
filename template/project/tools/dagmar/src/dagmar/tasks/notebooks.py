"""The tasks about notebooks: create and check them."""

from __future__ import annotations

from collections.abc import Sequence

from invoke import Context

from dagmar.tasks.command import Result, catalog_if_any, command, open_catalog, project_root


@command(
    help={
        "asset": "Asset to create a notebook for; may be repeated.",
        "job": "Job to create a notebook for; may be repeated.",
        "select": "Assets of this Dagster asset selection, one notebook for each.",
        "template": "default, minimal, ml, report, or the path of your own folder.",
        "name": "Name of the notebook, instead of one from the key.",
        "title": "Heading of the notebook, instead of the key.",
        "set": "An option of the template, NAME=VALUE; may be repeated.",
        "force": "Overwrite notebooks that exist.",
        "dry_run": "Show what would be created, and write nothing.",
        "git_commit": "Commit the new files, and only those.",
    },
)
def scaffold(
    context: Context,
    asset: Sequence[str] = (),
    job: Sequence[str] = (),
    select: str = "",
    template: str = "default",
    name: str = "",
    title: str = "",
    set: Sequence[str] = (),
    force: bool = False,
    dry_run: bool = False,
    git_commit: bool = False,
    target: str = "",
    url: str = "",
    json: bool = False,
) -> Result:
    """Create notebooks that are paired with assets or jobs.

    Examples:
      invoke scaffold --asset raw/orders
      invoke scaffold --select 'group:sales' --template minimal --dry-run
      invoke scaffold --job nightly --name nightly_report --title 'Nightly report'
    """
    from dagmar.flags import parse_pairs
    from dagmar.scaffold.notebooks import ScaffoldRequest, scaffold

    request = ScaffoldRequest(
        assets=asset,
        jobs=job,
        select=select,
        template=template,
        name=name,
        title=title,
        options=dict(parse_pairs("--set", set, "width=full", "NAME=VALUE", str.isidentifier)),
        force=force,
        dry_run=dry_run,
        git_commit=git_commit,
    )
    with open_catalog(context, target, url) as (settings, catalog):
        return scaffold(settings, catalog, request)


@command(
    help={"path": "Notebook or folder to check, instead of all; may be repeated."},
)
def check(
    context: Context,
    path: Sequence[str] = (),
    target: str = "",
    url: str = "",
    json: bool = False,
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
