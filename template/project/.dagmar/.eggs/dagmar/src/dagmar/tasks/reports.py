"""The task about reports: run notebooks and keep their pages."""

from typing import Annotated

from invoke import Context

from dagmar.tasks.command import Json, Many, Result, Target, Url, command, project_root


@command
def export(
    context: Context,
    notebook: Annotated[Many, "Notebook to export; may be repeated."] = (),
    all: Annotated[bool, "Every notebook of the project."] = False,
    existing: Annotated[
        str, "Id of an existing export to upload or attach, without running a notebook."
    ] = "",
    format: Annotated[
        Many, "html, ipynb or md; may be repeated, and the notebook still runs once."
    ] = (),
    output: Annotated[str, "Folder for the exports, instead of .dagmar/exports."] = "",
    param: Annotated[
        Many,
        "NAME=VALUE for a variable of the inputs cell, or an option it reads; may be repeated.",
    ] = (),
    attach: Annotated[
        str, "Asset to attach the report to, or a job for all assets that it materializes."
    ] = "",
    partition: Annotated[
        str, "Partition of the report: its partition_key, and that of --attach."
    ] = "",
    upload: Annotated[
        str, "Folder or bucket to upload the export to, such as s3://bucket/reports."
    ] = "",
    no_code: Annotated[bool, "Leave code and printed output out of all files."] = False,
    offline: Annotated[bool, "Write pages that need no network."] = False,
    compress: Annotated[
        bool, "Compress uploaded files with gzip, in storages that set Content-Encoding."
    ] = False,
    retention_days: Annotated[
        str, "Remove exports of these notebooks that are older than this many days."
    ] = "",
    keep: Annotated[str, "Remove all but the newest N exports of these notebooks."] = "",
    dry_run: Annotated[bool, "Show what would be run and removed, and do neither."] = False,
    workers: Annotated[str, "Number of notebooks that run at the same time."] = "1",
    timeout: Annotated[str, "Seconds that one notebook may take."] = "",
    target: Target = "",
    url: Url = "",
    json: Json = False,
) -> Result:
    """Run notebooks and write their results as pages, each with a manifest.

    Examples:
      invoke export --notebook notebooks/orders.py
      invoke export --notebook notebooks/orders.py --format html --format ipynb --param region=EU
      invoke export --notebook notebooks/orders.py --attach raw/orders --upload s3://team/reports
      invoke export --all --workers 2 --offline --retention-days 30
    """
    from dagmar.export.exports import export
    from dagmar.export.request import ExportRequest
    from dagmar.flags import parse_number, parse_pairs, parse_whole
    from dagmar.project.settings import load

    request = ExportRequest(
        notebooks=notebook,
        all=all,
        existing=existing,
        formats=tuple(dict.fromkeys(format)) or ("html",),
        output=output,
        parameters=dict(parse_pairs("--param", param, "rows=10", "NAME=VALUE")),
        attach=attach,
        partition=partition,
        upload=upload,
        code=not no_code,
        offline=offline,
        compress=compress,
        workers=parse_whole("--workers", workers, 4) or 1,
        timeout=parse_number("--timeout", timeout, 600, 0.1, "seconds"),
        retention_days=parse_number("--retention-days", retention_days, 30, unit="days"),
        keep=parse_whole("--keep", keep, 10),
        dry_run=dry_run,
    )
    return export(load(project_root(context)), request, target, url)
