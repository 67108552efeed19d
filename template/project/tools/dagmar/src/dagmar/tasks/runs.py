"""The tasks that talk to a running Dagster: discover and run."""

from __future__ import annotations

from collections.abc import Sequence

from invoke import Context

from dagmar.tasks.command import Result, command, open_server


@command(
    help={
        "kind": "assets, jobs, schedules, sensors, resources, locations or all.",
        "match": "Only names that match this pattern, for example 'raw/*'.",
        "select": "Only assets of this Dagster asset selection.",
        "group": "Only assets of this group.",
        "tag": "Only assets and jobs with this tag, KEY=VALUE; may be repeated.",
        "location": "Only what is in this code location.",
        "refresh": "Ask the server again instead of using the cache.",
    },
)
def discover(
    context: Context,
    kind: str = "all",
    match: str = "",
    select: str = "",
    group: str = "",
    tag: Sequence[str] = (),
    location: str = "",
    refresh: bool = False,
    target: str = "",
    url: str = "",
    json: bool = False,
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
    with open_server(context, target, url) as (settings, client):
        return discover(settings, client, filters, refresh, times=not json)


@command(
    help={
        "asset": "Asset to materialize; may be repeated.",
        "select": "Assets of this Dagster asset selection, one run for each code location.",
        "job": "Job to run; NAME@LOCATION if several code locations have it.",
        "retry": "Run to retry, from its failed steps.",
        "follow": "Run or backfill to follow again.",
        "cancel": "Run or backfill to cancel.",
        "partition": "Partition to materialize; may be repeated.",
        "partition_range": "Range of partitions, FIRST...LAST.",
        "all_partitions": "All partitions.",
        "missing": "Partitions that were never materialized; can be combined with --failed.",
        "failed": "Partitions whose last run failed; can be combined with --missing.",
        "latest": "The last partition.",
        "config": "File with run config, YAML or JSON; - is standard input; may be repeated.",
        "set": "One value of the run config, PATH=VALUE; may be repeated.",
        "tag": "Tag for the run, KEY=VALUE; may be repeated.",
        "validate_only": "Check everything, and launch nothing.",
        "no_wait": "Launch the run without following it.",
        "timeout": "Follow the run for at most this many seconds.",
        "cancel_on_timeout": "With --timeout: cancel the run when the time is up.",
        "logs": "Print the run's log while it runs.",
        "executor": "in_process: run all steps in one process.",
    },
)
def run(
    context: Context,
    asset: Sequence[str] = (),
    select: str = "",
    job: str = "",
    retry: str = "",
    follow: str = "",
    cancel: str = "",
    partition: Sequence[str] = (),
    partition_range: str = "",
    all_partitions: bool = False,
    missing: bool = False,
    failed: bool = False,
    latest: bool = False,
    config: Sequence[str] = (),
    set: Sequence[str] = (),
    tag: Sequence[str] = (),
    validate_only: bool = False,
    no_wait: bool = False,
    timeout: str = "",
    cancel_on_timeout: bool = False,
    logs: bool = False,
    executor: str = "",
    target: str = "",
    url: str = "",
    json: bool = False,
) -> Result:
    """Launch a run, follow it to its end, and explain a failure.

    Examples:
      invoke run --asset raw/orders
      invoke run --asset daily_sales --missing
      invoke run --job report --set ops.report.config.rows=10 --timeout 600 --json
      invoke run --retry RUN_ID
    """
    from dagmar.flags import parse_number, parse_tags
    from dagmar.runs.run import RunRequest, run
    from dagmar.runs.tracking import FollowOptions
    from dagmar.server.partitions import Choice
    from dagmar.server.runconfig import read_config

    request = RunRequest(
        assets=asset,
        select=select,
        job=job,
        retry=retry,
        follow=follow,
        cancel=cancel,
        partitions=Choice(partition, partition_range, all_partitions, missing, failed, latest),
        config=read_config(config, set, executor),
        tags=parse_tags(tag),
        validate_only=validate_only,
        options=FollowOptions(
            not no_wait,
            parse_number("--timeout", timeout, 600, unit="seconds"),
            cancel_on_timeout,
            logs,
        ),
    )
    with open_server(context, target, url) as (settings, client):
        return run(settings, client, request)
