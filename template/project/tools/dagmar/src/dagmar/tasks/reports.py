"""The task about reports: notebooks run and kept as pages."""

from __future__ import annotations

from typing import Any

from invoke import Context

from dagmar import console
from dagmar.tasks.command import command, project_root


@command(
    repeat=("notebook", "format", "param"),
    help={
        "notebook": "Notebook to export; may be repeated.",
        "all": "Every notebook of the project.",
        "existing": "Id of an export that exists, to upload or attach it: no notebook is run.",
        "format": "html, ipynb or md; may be repeated: the notebook is run once for all of them.",
        "output": "Folder for the exports, instead of .dagmar/exports.",
        "param": "NAME=VALUE for a variable of the inputs cell, or mo.cli_args(); may be repeated.",
        "attach": "Asset to put the link on, or a job: then all assets that it makes.",
        "partition": "Partition that the report is about: its partition_key, and that of --attach.",
        "upload": "Folder or bucket to send the export to, such as s3://bucket/reports.",
        "no_code": "Leave the code out of the pages.",
        "offline": "Make pages that need no network.",
        "compress": "Send the files packed with gzip, to storages that tell browsers so.",
        "retention_days": "Remove exports of these notebooks that are older than so many days.",
        "keep": "Remove exports of these notebooks beyond the newest so many.",
        "dry_run": "Say what would be run and removed, and do neither.",
        "workers": "How many notebooks are run at the same time.",
        "timeout": "Seconds that one notebook may take.",
    },
)
def export(
    context: Context,
    notebook: Any = None,
    all: bool = False,
    existing: str = "",
    format: Any = None,
    output: str = "",
    param: Any = None,
    attach: str = "",
    partition: str = "",
    upload: str = "",
    no_code: bool = False,
    offline: bool = False,
    compress: bool = False,
    retention_days: str = "",
    keep: str = "",
    dry_run: bool = False,
    workers: str = "1",
    timeout: str = "",
    target: str = "",
    url: str = "",
    json: bool = False,
) -> None:
    """Run notebooks and keep what they show as pages, each with a manifest.

    Examples:
      invoke export --notebook notebooks/orders.py
      invoke export --notebook notebooks/orders.py --format html --format ipynb --param region=EU
      invoke export --notebook notebooks/orders.py --attach raw/orders --upload s3://team/reports
      invoke export --all --workers 2 --offline --retention-days 30
    """
    from dagmar.export import exporting, telling
    from dagmar.export import request as asking
    from dagmar.export.publish import Publisher
    from dagmar.export.publish import existing as find_existing
    from dagmar.project.settings import load

    request = asking.Request(
        notebooks=notebook or (),
        all=all,
        existing=existing,
        formats=asking.parse_formats(format or ()),
        output=output,
        parameters=asking.parse_parameters(param or ()),
        attach=attach,
        partition=partition,
        upload=upload,
        code=not no_code,
        offline=offline,
        compress=compress,
        workers=int(asking.parse_number("workers", workers, 1, whole=True)),
        timeout=asking.parse_number("timeout", timeout, 0.1) if timeout else None,
        retention_days=asking.parse_number("retention-days", retention_days, 0)
        if retention_days
        else None,
        keep=int(asking.parse_number("keep", keep, 1, whole=True)) if keep else None,
        dry_run=dry_run,
    )
    asking.check(request)
    settings = load(project_root(context))
    settings.target(target, url)
    publisher = Publisher(settings, request, target, url)
    if request.existing:
        exported = [find_existing(settings, request)]
        publisher.publish(exported[0])
    else:
        notebooks = asking.find_notebooks(settings, request)
        if dry_run:
            exported = exporting.preview(settings, request, notebooks, publisher.expire)
        else:
            publisher.check()
            with telling.Progress(len(notebooks)) as progress:
                tell = progress.tell
                exported = exporting.export(
                    settings, request, notebooks, tell, lambda one: publisher.publish(one, tell)
                )
    if json:
        console.document({"exports": [one.as_document() for one in exported]})
    else:
        for line in telling.as_lines(exported):
            console.out(line)
    telling.finish(exported, dry_run)
