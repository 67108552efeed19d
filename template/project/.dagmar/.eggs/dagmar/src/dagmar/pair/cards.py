"""What the paired asset or job is: its card and its neighbors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dagmar.errors import DagmarError, counted, cut
from dagmar.pair import drawing, selection
from dagmar.pair.context import Context

MOST_COLUMNS = 40
MOST_LETTERS = 120

if TYPE_CHECKING:
    from dagmar.pair.definition import Definition
    from dagmar.server.catalog import Item
    from dagmar.server.client import DagsterClient


def card(context: Context, definition: Definition | None = None) -> str:
    """Return the card: what it is, its last materialization or run, its target and instance.

    What has happened to its definition is said first.
    """
    kind, _, name = context.what.partition(" ")
    title = f'<div style="font-size:1.2em;font-weight:600">{escape(name)}'
    title += f' <span style="{drawing.SMALL}">{kind}</span></div>'
    try:
        place = _place(context)
    except DagmarError as error:
        return drawing.box(title, drawing.refusal(error))
    if definition and definition.missing:
        return drawing.box(title, definition.remark, place)
    try:
        with context.client() as client:
            draw = selection.cards if context.select else _asset if context.asset else _job
            body = draw(context, client)
    except DagmarError as error:
        body = drawing.refusal(error, "what Dagster knows about it")
    remark = definition.remark if definition else ""
    return drawing.box(title, remark, body, place)


def _place(context: Context) -> str:
    """Return one line: the target of launches, and the instance that values come from."""
    from dagmar.orchestration.instance import home

    target = context.target
    mark = ", read-only" if target.read_only else ""
    folder = home(context.root)
    if folder is not None and folder.is_relative_to(context.root):
        folder = folder.relative_to(context.root)
    own = escape(str(folder)) if folder else "none: set DAGSTER_HOME"
    return (
        f'<div style="{drawing.SMALL};margin-top:8px">Target <b>{escape(target.name)}</b>{mark}: '
        f"{drawing.link(target.url, target.url)} · values and runs in this kernel: instance "
        f"<code>{own}</code></div>"
    )


def _asset(context: Context, client: DagsterClient) -> str:
    from dagmar.server.paired import read_asset

    located = context.located(client)
    asset = read_asset(client, located)
    base = client.target.url
    page = f"{base}/assets/{located.key.as_url_path}"
    rows = [
        ("group", escape(asset["group"] or "")),
        ("kinds", escape(", ".join(asset["kinds"]))),
        ("owners", escape(", ".join(asset["owners"]))),
        ("partitions", escape(asset["partitions"] or "")),
        ("code location", escape(asset["location"])),
        ("materialized", latest_materialization(base, asset)),
        ("checks", escape(", ".join(f"{check.name} {check.result}" for check in asset["checks"]))),
        ("in Dagster", drawing.link(page, "asset page")),
    ]
    latest = asset["latest"] or {"metadata": {}}
    rows += [
        (name, drawing.link(value, value.removeprefix(f"{context.root}/")))
        for name, value in list(latest["metadata"].items())[:8]
    ]
    return _description(asset) + drawing.facts(rows) + _columns(asset["columns"])


def _columns(columns: Sequence[Item]) -> str:
    if not columns:
        return ""
    table = drawing.table(
        (
            f"<code>{_short(column['name'])}</code>",
            _short(column["type"]),
            _short(column["description"] or ""),
        )
        for column in columns[:MOST_COLUMNS]
    )
    more = drawing.more(len(columns), MOST_COLUMNS, "column")
    count = counted(len(columns), "column")
    return (
        f'<details style="margin-top:8px"><summary style="cursor:pointer">{count}</summary>'
        f"{table}{more}</details>"
    )


def _short(text: object) -> str:
    return escape(cut(" ".join(str(text).split()), MOST_LETTERS + 1))


def latest_materialization(base: str, asset: Item) -> str:
    """Return when, by which run, and for which partition the asset was last materialized."""
    latest = asset["latest"]
    if not latest:
        return "never" if asset["materializable"] else "Dagster only observes it"
    part = f", partition {escape(latest['partition'])}" if latest["partition"] else ""
    url = f"{base}/runs/{latest['run_id']}" if latest["run_id"] else ""
    return f"{drawing.format_time(latest['at'])}{part}, {drawing.link(url, latest['run_id'][:8])}"


def _job(context: Context, client: DagsterClient) -> str:
    from dagmar.server.launchable import locate_job
    from dagmar.server.paired import read_job

    launch = locate_job(client, context.job)
    job = read_job(client, launch)
    base = client.target.url
    page = f"{base}/locations/{quote(launch.location)}/jobs/{quote(launch.job)}"
    last = "never"
    if latest := job["latest"]:
        url = f"{base}/runs/{latest['runId']}"
        last = f"{drawing.badge(latest['status'])} {drawing.link(url, latest['runId'][:8])}"
    rows = [
        ("steps", str(len(job["steps"]))),
        ("schedules", escape(", ".join(job["schedules"]))),
        ("sensors", escape(", ".join(job["sensors"]))),
        ("code location", escape(launch.location)),
        ("last run", last),
        ("in Dagster", drawing.link(page, "job page")),
    ]
    return _description(job) + drawing.facts(rows)


def _description(item: Item) -> str:
    text = (item["description"] or "").strip()
    return f'<div style="{drawing.PRE}">{escape(text)}</div>' if text else ""


def lineage(context: Context, depth: int) -> str:
    """Return the asset and its neighbors, or the steps of the job, as a mermaid diagram.

    Of a selection it is its assets with their states, and what is directly upstream of them.

    Raises DagmarError if the server does not answer.
    """
    with context.client() as client:
        from dagmar.server.launchable import locate_job
        from dagmar.server.paired import read_job, read_neighbours

        if context.job:
            return mermaid(read_job(client, locate_job(client, context.job))["steps"])
        if context.select:
            depends, marks, outer = selection.graph(*selection.read(context, client))
            return mermaid(depends, external=outer, marks=marks)
        key = context.located(client).key
        near = read_neighbours(client, key, depth)
    external = [key for key, item in near.items() if not item["materializable"]]
    graph: dict[str, Any] = {key: item["dependencies"] for key, item in near.items()}
    return mermaid(graph, key, external)


def mermaid(
    graph: Mapping[str, Iterable[str]],
    here: str = "",
    external: Iterable[str] = (),
    marks: Mapping[str, tuple[str, str]] | None = None,
) -> str:
    """Return a left-to-right diagram of name → what it depends on, with `here` marked.

    `marks` are a word and a color by name.
    """
    ids = {name: f"n{number}" for number, name in enumerate(sorted(graph))}
    marks = {name: mark for name, mark in (marks or {}).items() if name in ids}
    words = {name: f"{_label(name)}<br>{word}" for name, (word, _) in marks.items()}
    lines = ["graph LR"]
    lines += [f'  {ids[name]}["{words.get(name) or _label(name)}"]' for name in sorted(graph)]
    lines += [
        f"  {ids[above]} --> {ids[name]}"
        for name in sorted(graph)
        for above in sorted(graph[name])
        if above in ids
    ]
    # No colors of a theme: pages may be light or dark.
    lines.append("  classDef default fill:none,stroke:#888")
    if here in ids:
        lines.append(f"  style {ids[here]} stroke:{drawing.BUSY},stroke-width:3px")
    lines += [f"  style {ids[name]} stroke:{color}" for name, (_, color) in marks.items()]
    lines += [f"  style {ids[name]} stroke-dasharray:4" for name in external if name in ids]
    return "\n".join(lines)


def _label(name: str) -> str:
    """Return a name as a mermaid label: its entities are written with # for &."""
    return "".join(
        letter if letter.isalnum() or letter in "/_-. |" else f"#{ord(letter)};" for letter in name
    )
