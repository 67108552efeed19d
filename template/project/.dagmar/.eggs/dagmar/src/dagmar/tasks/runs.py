"""The tasks that talk to a running Dagster: discover and run."""

import os
from typing import Annotated

from invoke import Context

from dagmar.tasks.command import (
    Json,
    Many,
    Result,
    Target,
    Url,
    command,
    open_server,
    seldom_collected,
)


@command
def discover(
    context: Context,
    kind: Annotated[str, "assets, jobs, schedules, sensors, resources, locations or all."] = "all",
    match: Annotated[str, "Only names that match this pattern, for example 'raw/*'."] = "",
    select: Annotated[str, "Only assets of this Dagster asset selection."] = "",
    group: Annotated[str, "Only assets of this group."] = "",
    tag: Annotated[Many, "Only assets and jobs with this tag, KEY=VALUE; may be repeated."] = (),
    location: Annotated[str, "Only what is in this code location."] = "",
    refresh: Annotated[bool, "Ask the server again instead of using the cache."] = False,
    target: Target = "",
    url: Url = "",
    json: Json = False,
) -> Result:
    """Show what is in Dagster: assets, jobs, schedules, sensors, resources.

    Examples:
      invoke discover
      invoke discover --kind assets --select 'group:sales and kind:polars'
      invoke discover --json
    """
    from dagmar.discover import Filters, discover
    from dagmar.flags import parse_tags

    filters = Filters(kind, match, select, group, parse_tags(tag), location)
    with open_server(context, target, url) as (settings, client), seldom_collected():
        return discover(settings, client, filters, refresh, times=not json)


@command
def run(
    context: Context,
    asset: Annotated[Many, "Asset to materialize, KEY or KEY@LOCATION; may be repeated."] = (),
    select: Annotated[
        str, "Assets of this Dagster asset selection, one run for each code location."
    ] = "",
    job: Annotated[str, "Job to run, NAME or NAME@LOCATION."] = "",
    retry: Annotated[str, "Run to retry, from its failed steps."] = "",
    follow: Annotated[str, "Run or backfill to follow again."] = "",
    cancel: Annotated[str, "Run or backfill to cancel."] = "",
    partition: Annotated[Many, "Partition to materialize; may be repeated."] = (),
    partition_range: Annotated[
        str, "Range, FIRST...LAST; over two dimensions it is a rectangle."
    ] = "",
    all_partitions: Annotated[bool, "All partitions."] = False,
    missing: Annotated[
        bool, "Partitions that were never materialized; can be combined with --failed."
    ] = False,
    failed: Annotated[
        bool, "Partitions whose last run failed; can be combined with --missing."
    ] = False,
    latest: Annotated[bool, "The last partition."] = False,
    config: Annotated[
        Many, "File with run config, YAML or JSON; - is standard input; may be repeated."
    ] = (),
    set: Annotated[Many, "One value of the run config, PATH=VALUE; may be repeated."] = (),
    tag: Annotated[Many, "Tag for the run, KEY=VALUE; may be repeated."] = (),
    validate_only: Annotated[bool, "Check everything, and launch nothing."] = False,
    no_wait: Annotated[bool, "Launch the run without following it."] = False,
    timeout: Annotated[
        str, "Follow the run for at most this many seconds; auto is twice the usual time."
    ] = "",
    cancel_on_timeout: Annotated[
        bool, "With --timeout: cancel the run when the time is up."
    ] = False,
    logs: Annotated[bool, "Print the run's log while it runs."] = False,
    fail_on_checks: Annotated[
        str, "Failed asset checks that fail the task: error (default), warn or never."
    ] = "",
    summary: Annotated[
        str, "File to add a summary in Markdown to; in GitHub Actions it is that of the step."
    ] = "",
    executor: Annotated[str, "in_process: run all steps in one process."] = "",
    target: Target = "",
    url: Url = "",
    json: Json = False,
) -> Result:
    """Launch a run, follow it to its end, and explain a failure.

    Examples:
      invoke run --asset raw/orders
      invoke run --asset daily_sales --missing
      invoke run --job report --set ops.report.config.rows=10 --timeout 600 --json
      invoke run --retry RUN_ID
    """
    from dagmar.asset_key import AssetKey
    from dagmar.flags import parse_number, parse_tags
    from dagmar.runs.run import FLAGS, RunRequest, run
    from dagmar.runs.tracking import FollowOptions
    from dagmar.server.launch import given_tags
    from dagmar.server.partitions import Choice
    from dagmar.server.runconfig import read_config

    request = RunRequest(
        assets=[AssetKey(key) for key in asset],
        select=select,
        job=job,
        retry=retry,
        follow=follow,
        cancel=cancel,
        partitions=Choice(partition, partition_range, all_partitions, missing, failed, latest),
        config=read_config(config, set, executor),
        tags=given_tags(parse_tags(tag), FLAGS.choose_partition),
        validate_only=validate_only,
        summary=summary or os.environ.get("GITHUB_STEP_SUMMARY", ""),
        options=FollowOptions(
            not no_wait,
            None if timeout == "auto" else parse_number("--timeout", timeout, 600, unit="seconds"),
            timeout == "auto",
            cancel_on_timeout,
            logs,
            fail_on_checks,
        ),
    )
    with open_server(context, target, url) as (settings, client):
        return run(settings, client, request)
