"""What there is: a server's catalog, the notebooks paired with it, and filters over both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from dagmar import console
from dagmar.console import LiveLine
from dagmar.errors import Invalid, UsageError, did_you_mean
from dagmar.notebook.pairing import read_pairings
from dagmar.project.layout import CACHE
from dagmar.project.settings import Settings
from dagmar.server.catalog import KINDS, Catalog, Item, last_materializations, read_catalog
from dagmar.server.client import DagsterClient

# What a narrow terminal does without.
SPARE = ("kinds", "group", "timezone", "type")
CHOICES = (*KINDS, "locations", "all")


@dataclass(frozen=True)
class Filters:
    """What `invoke discover` is asked for; empty means no filter."""

    kind: str = "all"
    match: str = ""
    select: str = ""
    group: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    location: str = ""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds to show, apart from locations.

        Raises UsageError for an unknown kind, and for filters that it does not have.
        """
        if self.kind not in CHOICES:
            raise UsageError(
                f"there is no kind '{self.kind}'{did_you_mean(self.kind, CHOICES)}",
                f"The kinds: {', '.join(CHOICES)}.",
            )
        able: tuple[str, ...] = KINDS
        for flag, given, has in (
            ("--select", self.select, ("assets",)),
            ("--group", self.group, ("assets",)),
            ("--tag", self.tags, ("assets", "jobs")),
        ):
            able = tuple(kind for kind in able if kind in has) if given else able
            if given and self.kind != "all" and self.kind not in has:
                raise UsageError(
                    f"{flag} filters {' and '.join(has)}, not {self.kind}",
                    f"Leave {flag} out, or type: --kind {has[0]}",
                )
        wanted: tuple[str, ...] = KINDS if self.kind == "all" else (self.kind,)
        return tuple(kind for kind in wanted if kind in able)


def discover(
    settings: Settings, client: DagsterClient, filters: Filters, refresh: bool = False
) -> Catalog:
    """Return what is on the server and passes the filters.

    Raises UsageError, Invalid (an unknown location, a malformed selection) and whatever
    the client raises.
    """
    kinds = filters.kinds
    with _patience(client):
        catalog = read_catalog(client, kinds, settings.root / CACHE, refresh)
    names = [location["name"] for location in catalog.locations]
    if filters.location and filters.location not in names:
        raise Invalid(
            f"there is no code location '{filters.location}'"
            f"{did_you_mean(filters.location, names)}",
            f"The code locations: {', '.join(names) or 'none'}.",
        )
    _add_notebooks(catalog, settings)
    if filters.select:
        from dagmar.orchestration.selection import resolve

        chosen = resolve(filters.select, catalog.assets)
        catalog.assets = [asset for asset in catalog.assets if asset["key"] in chosen]
    for kind in KINDS:
        setattr(catalog, kind, [item for item in getattr(catalog, kind) if _passes(item, filters)])
    return catalog


def _patience(client: DagsterClient) -> LiveLine:
    return LiveLine(f"asking Dagster at {client.target.url}", after=1)


def _passes(item: Item, filters: Filters) -> bool:
    tags: Mapping[str, str] = item.get("tags", {})
    return (
        fnmatchcase(item.get("key") or item["name"], filters.match or "*")
        and (not filters.group or item.get("group") == filters.group)
        and all(tags.get(key) == value for key, value in filters.tags)
        and (not filters.location or item["location"] == filters.location)
    )


def _add_notebooks(catalog: Catalog, settings: Settings) -> None:
    pairings = read_pairings(settings.root, settings.notebooks)
    for asset in catalog.assets:
        asset["notebooks"] = pairings.assets.get(asset["key"], [])
    for job in catalog.jobs:
        names = (job["name"], f"{job['name']}@{job['location']}")
        job["notebooks"] = sorted({file for name in names for file in pairings.jobs.get(name, [])})


def as_document(catalog: Catalog, filters: Filters) -> dict[str, Any]:
    """Return the JSON document: the code locations, and each kind that was asked for."""
    kinds = {kind: getattr(catalog, kind) for kind in filters.kinds}
    return {"locations": _locations(catalog, filters), **kinds}


def _locations(catalog: Catalog, filters: Filters) -> list[Item]:
    """Return the code locations to show: all of them, unless they are what is asked for."""
    if filters.kind != "locations":
        return catalog.locations
    return [
        item
        for item in catalog.locations
        if fnmatchcase(item["name"], filters.match or "*")
        and filters.location in ("", item["name"])
    ]


def tell_locations(catalog: Catalog) -> None:
    """Say on stderr which code locations are broken or still loading, and why."""
    for name, failure in catalog.broken.items():
        console.warn(f"the code location '{name}' does not load: {failure.text}")
        console.say(failure.trace)
    for location in catalog.locations:
        if location["status"] == "loading":
            console.warn(f"the code location '{location['name']}' is still loading")


def summary(catalog: Catalog, filters: Filters) -> str:
    """Return one line that says which Dagster this is, and how much was found there."""
    locations = _locations(catalog, filters)
    found = sum(len(getattr(catalog, kind)) for kind in KINDS)
    names = ", ".join(location["name"] for location in locations) or "none"
    if found or (filters.kind == "locations" and (locations or not catalog.locations)):
        what = f"code locations: {names}"
    elif filters == Filters(kind=filters.kind):
        shown = (
            "assets, jobs, schedules, sensors or resources"
            if filters.kind == "all"
            else filters.kind
        )
        what = f"no {shown} in the code locations {names}"
    else:
        what = "nothing matches"
    return f"Dagster {catalog.version} at {catalog.url}: {what}"


Row = tuple[str, ...]
Table = tuple[str, Row, list[Row]]


def as_tables(catalog: Catalog, filters: Filters, client: DagsterClient) -> list[Table]:
    """Return (title, columns, rows) for each kind that has something to show."""
    several = len(catalog.locations) > 1
    tables: list[Table] = []
    if filters.kind == "locations":
        places: list[Row] = [
            (item["name"], item["status"], ", ".join(item["repositories"]))
            for item in _locations(catalog, filters)
        ]
        return [("Code locations", ("name", "status", "repositories"), places)]
    if catalog.assets:
        tables.append(_assets_table(catalog.assets, client, several))
    for kind, columns, row in (
        ("jobs", ("name", "schedules", "sensors", "notebooks"), _job_row),
        ("schedules", ("name", "cron", "timezone", "job", "status"), _schedule_row),
        ("sensors", ("name", "type", "every", "jobs", "status"), _sensor_row),
        ("resources", ("name", "type"), _resource_row),
    ):
        rows: list[Row] = [
            (*row(item), item["location"] if several else "") for item in getattr(catalog, kind)
        ]
        if rows:
            tables.append((kind.capitalize(), (*columns, "location"), rows))
    return tables


def _assets_table(assets: list[Item], client: DagsterClient, several: bool) -> Table:
    with _patience(client):
        times = last_materializations(client, [asset["key"] for asset in assets])
    columns = (
        "asset",
        "group",
        "kinds",
        "partitions",
        "last materialized",
        "notebooks",
        "location",
    )
    rows: list[Row] = [
        (
            asset["key"],
            asset["group"],
            ", ".join(asset["kinds"]),
            _partitions(asset["partitions"]),
            _when(times.get(asset["key"])) if asset["materializable"] else "external",
            ", ".join(asset["notebooks"]),
            asset["location"] if several else "",
        )
        for asset in assets
    ]
    return "Assets", columns, rows


def _partitions(partitions: Item | None) -> str:
    if not partitions:
        return ""
    if partitions["type"] == "MULTIPARTITIONED":
        return " × ".join(dimension["name"] for dimension in partitions["dimensions"])
    return str(partitions["type"]).replace("_", " ").lower()


def _when(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M") if seconds else "never"


def _job_row(job: Item) -> Row:
    return job["name"], *(", ".join(job[key]) for key in ("schedules", "sensors", "notebooks"))


def _schedule_row(schedule: Item) -> Row:
    return tuple(str(schedule[key] or "") for key in ("name", "cron", "timezone", "job", "status"))


def _sensor_row(sensor: Item) -> Row:
    return (
        sensor["name"],
        sensor["type"],
        f"{sensor['interval_s']} s",
        ", ".join(sensor["jobs"]),
        sensor["status"],
    )


def _resource_row(resource: Item) -> Row:
    return resource["name"], resource["type"]
