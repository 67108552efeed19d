"""The tasks about notebooks: make them, check them."""

from __future__ import annotations

from collections.abc import Sequence

from invoke import Context

from dagmar import console
from dagmar.tasks.command import catalog_if_any, command, open_catalog, project_root


@command(
    help={
        "asset": "Asset to make a notebook for; may be repeated.",
        "job": "Job to make a notebook for; may be repeated.",
        "select": "Assets of this Dagster asset selection, one notebook for each.",
        "template": "default, minimal, ml, report, or the path of a folder of your own.",
        "name": "Name of the notebook, instead of one made of the key.",
        "title": "Heading of the notebook, instead of the key.",
        "set": "An option of the template, NAME=VALUE; may be repeated.",
        "force": "Overwrite notebooks that exist.",
        "dry_run": "Show what would be made, and make nothing.",
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
) -> None:
    """Make notebooks that are paired with assets or jobs.

    Examples:
      invoke scaffold --asset raw/orders
      invoke scaffold --select 'group:sales' --template minimal --dry-run
      invoke scaffold --job nightly --name nightly_report --title 'Nightly report'
    """
    from dagmar.flags import parse_pairs
    from dagmar.scaffold import notebooks

    request = notebooks.ScaffoldRequest(
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
    notebooks.check_request(request)
    with open_catalog(context, target, url) as (settings, catalog):
        made = notebooks.scaffold(settings, catalog, request)
    if json:
        console.document({"notebooks": [one.as_document(settings.root) for one in made]})
    else:
        console.out(notebooks.as_tree(settings.root, made))
        if dry_run:
            console.say("Nothing was made: --dry-run.")


@command(
    help={"path": "Notebook or folder to check, instead of all; may be repeated."},
)
def check(
    context: Context,
    path: Sequence[str] = (),
    target: str = "",
    url: str = "",
    json: bool = False,
) -> None:
    """Check notebooks: marimo's rules, undefined names, and whether they fit their assets.

    Examples:
      invoke check
      invoke check --path notebooks/raw_orders.py --json
    """
    from dagmar.notebook import checking
    from dagmar.project.settings import load

    settings = load(project_root(context))
    notebooks = checking.find_notebooks(settings, path)
    checked = []
    if notebooks:
        with catalog_if_any(context, target, url) as catalog:
            checked = checking.check(settings, notebooks, catalog)
    if json:
        console.document(checking.as_document(checked))
    else:
        for line in checking.as_lines(checked):
            console.out(line)
        console.say(f"Checked {len(checked)} notebook{'s' * (len(checked) != 1)}.")
    checking.finish(checked)
