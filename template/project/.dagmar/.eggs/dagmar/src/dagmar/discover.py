"""What there is: a server's catalog, the notebooks paired with it, and filters over both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from dagmar import console
from dagmar.asset_key import AssetKey
from dagmar.console import LiveLine
from dagmar.errors import Invalid, UsageError, did_you_mean
from dagmar.notebook.pairing import read_pairings
from dagmar.project.layout import CACHE
from dagmar.project.settings import Settings
from dagmar.server.catalog import KINDS, Catalog, Location, last_materializations, read_catalog
from dagmar.server.client import DagsterClient
from dagmar.server.names import names_of

COLUMNS: dict[str, tuple[str, ...]] = {
    "locations": ("name", "status", "repositories"),
    "assets": ("asset", "group", "kinds", "partitions", "last materialized", "notebooks"),
    "jobs": ("name", "schedules", "sensors", "notebooks"),
    "schedules": ("name", "cron", "timezone", "job", "status"),
    "sensors": ("name", "type", "every", "jobs", "status"),
    "resources": ("name", "type"),
}
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

    def __post_init__(self) -> None:
        """Raise UsageError for an unknown kind, and for filters that it does not have."""
        if self.kind not in CHOICES:
            raise UsageError(
                f"there is no kind '{self.kind}'{did_you_mean(self.kind, CHOICES)}",
                f"The kinds: {', '.join(CHOICES)}.",
            )
        for flag, has in self._limits():
            if self.kind != "all" and self.kind not in has:
                raise UsageError(
                    f"{flag} filters {' and '.join(has)}, not {self.kind}",
                    f"Leave {flag} out, or type:",
                    command=f"--kind {has[0]}",
                )

    def _limits(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return each filter that not every kind has, with the kinds that have it."""
        limits = (
            ("--select", self.select, ("assets",)),
            ("--group", self.group, ("assets",)),
            ("--tag", self.tags, ("assets", "jobs")),
        )
        return [(flag, has) for flag, value, has in limits if value]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds to show, apart from locations."""
        limits = [has for _, has in self._limits()]
        wanted = [kind for kind in KINDS if self.kind in ("all", kind)]
        return tuple(kind for kind in wanted if all(kind in has for has in limits))


Row = tuple[str, ...]
Table = tuple[str, Row, list[Row]]


@dataclass
class Discovery:
    """What `invoke discover` shows; `times` are seconds since 1970, by asset."""

    catalog: Catalog
    filters: Filters
    times: Mapping[AssetKey, float] = field(default_factory=dict)

    def as_document(self) -> dict[str, Any]:
        """Return the JSON document: the code locations, and each kind that was asked for."""
        kinds = {kind: getattr(self.catalog, kind) for kind in self.filters.kinds}
        return {"locations": self._locations(), **kinds}

    def show(self) -> None:
        """Print the tables, and one line about the server."""
        for title, columns, rows in self.tables():
            console.table(title, columns, rows, SPARE)
        console.say(self.summary())

    def raise_for_status(self) -> None:
        """Return: whatever was found, or not, is not a failure."""

    def summary(self) -> str:
        """Return one line that says which Dagster this is, and how much was found there."""
        catalog, filters = self.catalog, self.filters
        locations = self._locations()
        found = sum(len(getattr(catalog, kind)) for kind in KINDS)
        names = ", ".join(location["name"] for location in locations) or "none"
        if found or (filters.kind == "locations" and (locations or not catalog.locations)):
            what = f"code locations: {names}"
        elif filters == Filters(kind=filters.kind):
            shown = {"all": "assets, jobs, schedules, sensors or resources"}
            what = f"no {shown.get(filters.kind, filters.kind)} in the code locations {names}"
        else:
            what = "nothing matches"
        return f"Dagster {catalog.version} at {catalog.url}: {what}"

    def tables(self) -> list[Table]:
        """Return (title, columns, rows) for each kind that has something to show."""
        if self.filters.kind == "locations":
            return [self._table("Code locations", COLUMNS["locations"], self._locations())]
        return [
            self._table(kind.capitalize(), (*COLUMNS[kind], "location"), items)
            for kind in KINDS
            if (items := getattr(self.catalog, kind))
        ]

    def _table(self, title: str, columns: Row, items: Iterable[Mapping[str, Any]]) -> Table:
        rows = [{**item, **self._texts(item)} for item in items]
        return title, columns, [tuple(_text(row[name]) for name in columns) for row in rows]

    def _texts(self, item: Mapping[str, Any]) -> dict[str, str]:
        """Return what a table shows of an item instead of its fields, or in addition to them."""
        texts = {}
        if len(self.catalog.locations) < 2:
            texts["location"] = ""
        if "location" in item and item["location"] in self._divided:
            texts["location"] = f"{item['repository']}@{item['location']}"
        if "interval_s" in item:
            texts["every"] = f"{item['interval_s']} s"
        if "key" in item:
            texts["asset"] = item["key"]
            texts["partitions"] = _partitions(item["partitions"])
            at = self.times.get(item["key"])
            last = console.format_moment(at) if at else "never"
            texts["last materialized"] = last if item["materializable"] else "external"
        return texts

    @property
    def _divided(self) -> set[str]:
        """The code locations with several repositories."""
        return {item["name"] for item in self.catalog.locations if len(item["repositories"]) > 1}

    def _locations(self) -> list[Location]:
        """Return the code locations to show: all of them, unless they are what is asked for."""
        if self.filters.kind != "locations":
            return self.catalog.locations
        return [
            item
            for item in self.catalog.locations
            if fnmatchcase(item["name"], self.filters.match or "*")
            and self.filters.location in ("", item["name"])
        ]


def discover(
    settings: Settings,
    client: DagsterClient,
    filters: Filters,
    refresh: bool = False,
    times: bool = False,
) -> Discovery:
    """Return what is on the server and passes the filters, with `times` as tables show them.

    Raises Invalid (an unknown location, a malformed selection) and whatever the client raises.
    """
    with LiveLine(f"asking Dagster at {client.target.url}", after=1):
        catalog = read_catalog(client, filters.kinds, settings.root / CACHE, refresh)
    names = [location["name"] for location in catalog.locations]
    if filters.location and filters.location not in names:
        raise Invalid(
            f"there is no code location '{filters.location}'"
            f"{did_you_mean(filters.location, names)}",
            f"The code locations: {', '.join(names) or 'none'}.",
        )
    _add_notebooks(catalog, settings)
    if filters.select:
        from dagmar.orchestration.selection import select

        catalog.assets = select(filters.select, catalog.assets)
    for kind in KINDS:
        setattr(catalog, kind, [item for item in getattr(catalog, kind) if _passes(item, filters)])
    discovery = Discovery(catalog, filters)
    if times and catalog.assets:
        with LiveLine(f"asking Dagster at {client.target.url}", after=1):
            keys = [asset["key"] for asset in catalog.assets]
            discovery.times = last_materializations(client, keys)
    warn_of_locations(catalog)
    return discovery


def _matched(item: Mapping[str, Any], filters: Filters) -> Sequence[str]:
    """Return the names that `--match` is compared with."""
    return names_of(item) if "@" in filters.match else names_of(item)[:1]


def _passes(item: Mapping[str, Any], filters: Filters) -> bool:
    tags: Mapping[str, str] = item.get("tags", {})
    return (
        any(fnmatchcase(name, filters.match or "*") for name in _matched(item, filters))
        and (not filters.group or item.get("group") == filters.group)
        and all(tags.get(key) == value for key, value in filters.tags)
        and (not filters.location or item["location"] == filters.location)
    )


def _add_notebooks(catalog: Catalog, settings: Settings) -> None:
    pairings = read_pairings(settings.root, settings.notebooks)
    by_selection = _selected_by(catalog, pairings.selections)
    for item, paired in (
        *((asset, pairings.assets) for asset in catalog.assets),
        *((job, pairings.jobs) for job in catalog.jobs),
    ):
        files = {file for name in names_of(item) for file in paired.get(name, [])}
        if "key" in item:
            files |= by_selection.get(names_of(item)[-1], set())
        item["notebooks"] = sorted(files)


def _selected_by(catalog: Catalog, selections: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Return the notebooks that select each asset, by the asset's longest name."""
    if not (selections and catalog.assets):
        return {}
    from dagmar.orchestration.selection import select

    files: dict[str, set[str]] = {}
    for expression, paths in selections.items():
        try:
            selected = select(expression, catalog.assets)
        except Invalid as error:
            console.warn(f"{', '.join(paths)}: {error.message}")
            continue
        for asset in selected:
            files.setdefault(names_of(asset)[-1], set()).update(paths)
    return files


def warn_of_locations(catalog: Catalog) -> None:
    """Say on stderr which code locations are broken or still loading, and why."""
    for name, failure in catalog.broken.items():
        console.warn(f"the code location '{name}' does not load: {failure.text}")
        console.say(failure.trace)
    for location in catalog.locations:
        if location["status"] == "loading":
            console.warn(f"the code location '{location['name']}' is still loading")


def _partitions(partitions: Mapping[str, Any] | None) -> str:
    if not partitions:
        return ""
    if partitions["type"] == "MULTIPARTITIONED":
        return " × ".join(dimension["name"] for dimension in partitions["dimensions"])
    return str(partitions["type"]).replace("_", " ").lower()


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value or "")
