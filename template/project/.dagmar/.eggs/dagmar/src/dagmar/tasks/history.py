"""The task about the past: what Dagster's own history says in numbers."""

from typing import Annotated

from invoke import Context

from dagmar.files import expanded
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
def stats(
    context: Context,
    since: Annotated[str, "Window up to now: 90m, 12h, 7d (default) or 4w."] = "",
    from_: Annotated[str, "Start of the window, a date or time; local unless it has a zone."] = "",
    to: Annotated[str, "End of the window; a date alone is included. Default: now."] = "",
    asset: Annotated[Many, "Only this asset, KEY or KEY@LOCATION; may be repeated."] = (),
    select: Annotated[str, "Only assets of this Dagster asset selection."] = "",
    group: Annotated[str, "Only assets of this group."] = "",
    job: Annotated[Many, "Only runs of this job; may be repeated."] = (),
    location: Annotated[str, "Only runs of this code location."] = "",
    by: Annotated[str, "asset, job, step, location, user or revision."] = "asset",
    fail_if: Annotated[
        Many, "Rule that fails the task, such as 'p95 > +50%'; may be repeated."
    ] = (),
    html: Annotated[str, "File to write a page to, which needs no network."] = "",
    open: Annotated[bool, "Open the page in a browser."] = False,
    target: Target = "",
    url: Url = "",
    json: Json = False,
) -> Result:
    """Show how often runs succeed and how long they take, compared with the window before.

    Examples:
      invoke stats
      invoke stats --since 30d --by job
      invoke stats --fail-if 'p95 > +50%' --html history.html
      invoke stats --from 2026-03-01 --to 2026-03-07 --asset raw/orders --json
    """

    from dagmar.asset_key import AssetKey
    from dagmar.dev.reporter import open_pages
    from dagmar.project.layout import CACHE, make_folder
    from dagmar.stats.scope import Scope
    from dagmar.stats.stats import StatsRequest, read_stats
    from dagmar.stats.verdict import parse_rules

    rules = tuple(parse_rules(fail_if))
    with open_server(context, target, url) as (settings, client), seldom_collected():
        page = expanded(html).absolute() if html else None
        if open and page is None:
            page = settings.root / CACHE / "history.html"
            make_folder(page.parent)
        request = StatsRequest(
            since=since,
            first=from_,
            last=to,
            by=by,
            scope=Scope(tuple(AssetKey(key) for key in asset), select, group, location),
            jobs=tuple(job),
            whole=json,
            fail_if=rules,
            html=page,
        )
        stats = read_stats(settings, client, request)
    if open and page:
        open_pages([page.as_uri()])
    return stats
