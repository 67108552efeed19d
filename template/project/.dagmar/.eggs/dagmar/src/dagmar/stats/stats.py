"""`invoke stats`: the numbers of a window, compared with those of the window before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from dagmar import console
from dagmar.asset_key import AssetKey
from dagmar.console import LiveLine
from dagmar.errors import Invalid, UsageError, counted, did_you_mean
from dagmar.project.layout import CACHE
from dagmar.project.settings import Settings
from dagmar.server.catalog import read_catalog
from dagmar.server.client import DagsterClient
from dagmar.server.history import read_state, run_filter
from dagmar.server.located import LocatedAsset
from dagmar.server.runs import in_utc, run_url
from dagmar.stats import page
from dagmar.stats.assets import ASSET_COLUMNS, duration, read_asset_side
from dagmar.stats.cache import Cache
from dagmar.stats.causes import Cause, group
from dagmar.stats.figures import KINDS, Figures, Only, Row, names, sparkline
from dagmar.stats.onsets import find_slowdowns
from dagmar.stats.reading import SAMPLE, Reader, saying_what_is_kept, server_now
from dagmar.stats.scope import Scope, choose_assets, shared_keys
from dagmar.stats.verdict import Rule, Verdict, judge
from dagmar.stats.window import Window, windows

MOST_ROWS = 40
MOST_IN_PROGRESS = 100
COLUMNS = ("runs", "ok", "median", "p95", "retries", "trend")
STEADY = 0.005
"""A change of less than this share has no direction."""


@dataclass(frozen=True)
class StatsRequest:
    """The flags of `invoke stats`; empty means no limit.

    `whole` is whether every row has its asset's side, or only those that a terminal shows.
    """

    since: str = ""
    first: str = ""
    last: str = ""
    by: str = "asset"
    scope: Scope = field(default_factory=Scope)
    jobs: tuple[str, ...] = ()
    whole: bool = False
    fail_if: tuple[Rule, ...] = ()
    html: Path | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for an unknown `--by`, Conflict for a file that is not a page."""
        if self.by not in KINDS:
            raise UsageError(
                f"there is no --by {self.by}{did_you_mean(self.by, KINDS)}",
                f"Rows are by {', '.join(KINDS[:-1])} or {KINDS[-1]}.",
            )
        if self.html:
            page.require_ours(self.html)


@dataclass
class Stats:
    """What `invoke stats` shows."""

    server: str
    by: str
    window: Window
    before: Window
    totals: Row
    rows: list[Row]
    in_progress: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Cause] = field(default_factory=list)
    slowdowns: list[dict[str, Any]] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)

    def as_document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "server": self.server,
            "window": self.window.as_document(),
            "before": self.before.as_document(),
            "by": self.by,
            "totals": self.totals.as_document(),
            "rows": [row.as_document() for row in self.rows],
            "in_progress": self.in_progress,
            "failures": [cause.as_document(self.server) for cause in self.failures],
            "slowdowns": self.slowdowns,
            "violations": [each.as_document() for each in self.verdict.violations],
        }

    def show(self) -> None:
        """Print the table, and what is worth a look below it."""
        shown = self.rows[:MOST_ROWS]
        cells = [_cells(row) for row in shown]
        if cells:
            styles = {
                (number, column): style
                for number, row in enumerate(cells)
                for column, (_, style) in enumerate(row)
                if style
            }
            texts = [[text for text, _ in row] for row in cells]
            console.table(f"By {self.by}", (self.by, *COLUMNS), texts, ("trend", "retries"), styles)
        noted = [(str(row.name), *row.side.texts(), _here(row)) for row in shown if row.side]
        if noted := [texts for texts in noted if any(texts[2:])]:
            console.table("Assets now", ASSET_COLUMNS, noted, ("numbers", "materialized", "here"))
        if len(self.rows) > MOST_ROWS:
            console.say(f"{len(self.rows) - MOST_ROWS} more: --json has all of them")
        for cause in self.failures:
            console.out(f"{cause.text}: {cause.message}")
            console.out(f"    {cause.url(self.server)}")
            console.out(f"    {console.pasteable('To retry, type:', cause.retry)}")
        for slowdown in self.slowdowns:
            console.out(_slowdown(slowdown))
            for changed in slowdown["changed"]:
                console.out(f"    {changed['what']}: {changed['from']} → {changed['to']}")
                if command := changed.get("command"):
                    console.out(f"    {command}")
        console.say(self._summary())

    def raise_for_status(self) -> None:
        """Raise RunFailed if a rule of `--fail-if` is broken; say what could not be judged."""
        for remark in self.verdict.remarks:
            console.say(remark)
        self.verdict.raise_for_status()

    def _summary(self) -> str:
        (runs, earlier), (failed, _) = self.totals.pair("runs"), self.totals.pair("failed")
        span = " to ".join(map(console.format_moment, (self.window.start, self.window.end)))
        if not runs:
            text = f"no run has ended among those created {span}"
        else:
            text = f"{counted(runs, 'run')}, {failed:,} failed, {span}"
        busy = f"; {len(self.in_progress)} in progress" if self.in_progress else ""
        return f"Dagster at {self.server}: {text}{busy}; {earlier:,} in the window before"


def read_stats(settings: Settings, client: DagsterClient, request: StatsRequest) -> Stats:
    """Return the numbers of the window, and of the one before, from the server's history.

    Raises UsageError for a malformed window, Invalid for an unknown name, and what the client
    raises; then what was read is kept.
    """
    instance, _ = read_state(client, run_filter(ids=[""]))
    now = server_now(client)
    window, before = windows(request.since, request.first, request.last, now)
    cache = Cache(settings.root / CACHE, client.target.url, instance)
    line = LiveLine("reading the history", counted=True, after=1)
    with line, cache, saying_what_is_kept(cache):
        reader = Reader(client, cache, now, line)
        reader.read_runs(before.start, window.end)
        located, only = _chosen(settings, client, cache, request)
        figures = Figures(cache, window, before, only)
        reader.read_details(*figures.samples(SAMPLE))
        reader.read_details(*figures.unsplit(request.by))
        reader.read_failures(*figures.unexplained())
        rows = figures.rows(request.by)
        if request.by == "asset":
            if request.scope.chooses:
                missing = located.keys() - {row.name for row in rows}
                rows += [Row(name) for name in sorted(missing)]
            line.put("reading assets", 0, None)
            whole = request.whole or request.html
            add_sides(client, cache, rows if whole else rows[:MOST_ROWS], located, figures, now)
        stats = Stats(
            client.target.url,
            request.by,
            window,
            before,
            next(iter(figures.rows("run")), Row("total")),
            rows,
            [_in_progress(client, run) for run in islice(figures.in_progress(), MOST_IN_PROGRESS)],
            group(figures.failures()),
            find_slowdowns(figures.series(request.by), len(rows), cache.run, client.target.url),
        )
        stats.verdict = judge(request.fail_if, [row.as_document() for row in rows])
    if request.html:
        page.write(request.html, stats.as_document())
        console.say(f"The page is {request.html}")
    return stats


def _slowdown(slowdown: Mapping[str, Any]) -> str:
    before, after = (duration(slowdown[name]) for name in ("before_s", "after_s"))
    since = slowdown["since"][:16].replace("T", " ")
    return (
        f"{slowdown['name'] or 'none'}: {after} since {since} UTC, "
        f"{slowdown['factor']:.1f} times as long as before ({before}): {slowdown['url']}"
    )


def _chosen(
    settings: Settings, client: DagsterClient, cache: Cache, request: StatsRequest
) -> tuple[dict[str, LocatedAsset], Only]:
    """Return the assets by the names of their rows, and which runs count. Raises Invalid."""
    scope, catalog, places = request.scope, None, names(cache, "location")
    if request.by == "asset" or scope.chooses:
        catalog = read_catalog(client, ("assets",), settings.root / CACHE)
        places += [each["name"] for each in catalog.locations]
    _require_known("job", request.jobs, names(cache, "job"))
    _require_known("location", [scope.location] if scope.location else [], places)
    if catalog is None:
        return {}, Only(None, request.jobs, scope.location)
    located = choose_assets(client, catalog, scope, names(cache, "asset") if scope.assets else ())
    keys = {(asset.key, asset.location if asset.shadowed else "") for asset in located.values()}
    assets = frozenset(keys) if scope.chooses else None
    return located, Only(assets, request.jobs, scope.location, shared_keys(catalog))


def add_sides(
    client: DagsterClient,
    cache: Cache,
    rows: Iterable[Row],
    located: Mapping[str, LocatedAsset],
    figures: Figures,
    now: float,
) -> None:
    """Give rows by asset their asset's side."""
    # A name that is not there is of no code location: the asset may not be defined any more.
    by_row = [
        (row, located.get(row.name) or LocatedAsset(AssetKey(row.name), "", ""))
        for row in rows
        if row.name is not None
    ]
    assets = dict.fromkeys(asset for _, asset in by_row)
    sides = read_asset_side(client, cache, assets, figures.window, figures.before, now)
    for row, asset in by_row:
        row.side = sides[asset]


def _in_progress(client: DagsterClient, run: Sequence[Any]) -> dict[str, Any]:
    run_id, status, job, location, created, started = run
    return {
        "run_id": run_id,
        "url": run_url(client, run_id),
        "status": status,
        "job": job,
        "location": location,
        "created_at": in_utc(created),
        "started_at": in_utc(started),
    }


def _require_known(kind: str, wanted: Iterable[str], known: Iterable[str]) -> None:
    """Raise Invalid for a name that no run in the history has."""
    known = list(known)
    for name in wanted:
        if name not in known:
            what = "code location" if kind == "location" else kind
            raise Invalid(
                f"no run of the {what} '{name}' is in this history{did_you_mean(name, known)}",
                "Look further back with --since, or type:",
                command="invoke discover",
            )


def _cells(row: Row) -> list[tuple[str, str]]:
    """Return the texts of a row, each with its color."""
    runs, success = row.pair("runs"), row.success
    share = "" if success[0] is None else f"{success[0]:.0%}"
    return [
        ("none" if row.name is None else row.name, ""),
        (f"{runs[0]:,}{_direction(*runs)}", ""),
        (f"{share}{_direction(*success)}", _style(*success, more="green", less="red")),
        *(
            (
                f"{duration(now)}{_direction(now, old)}",
                _style(now, old, more="red", less="green"),
            )
            for now, old in (row.pair("median_s"), row.pair("p95_s"))
        ),
        (_retries(row), ""),
        (sparkline([point["median_s"] for point in row.trend]), ""),
    ]


def _retries(row: Row) -> str:
    """Return how often runs were retried, and their steps, as far as that is known."""
    kinds = (("retries", "run"), ("step_retries", "step"))
    known = [(row.pair(figure)[0], what) for figure, what in kinds]
    return ", ".join(counted(number, what) for number, what in known if number)


def _here(row: Row) -> str:
    """Return how many runs were made in a kernel, and the time that they saved."""
    (here, _), (saved, _) = row.pair("here"), row.pair("time_saved_s")
    if not here:
        return ""
    if saved is None:
        return counted(here, "run")
    return f"{counted(here, 'run')}, {duration(abs(saved))} {'saved' if saved >= 0 else 'lost'}"


def _change(now: float | None, before: float | None) -> float:
    return 0.0 if now is None or not before else now / before - 1


def _direction(now: float | None, before: float | None) -> str:
    change = _change(now, before)
    if abs(change) < STEADY:
        return ""
    return f" {'↑' if change > 0 else '↓'}{min(abs(change), 9.99):.0%}"


def _style(now: float | None, before: float | None, more: str, less: str) -> str:
    change = _change(now, before)
    return "" if abs(change) < 0.1 else more if change > 0 else less
