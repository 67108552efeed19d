"""The notebook for a failed run: that of the asset or job at which it failed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dagmar import console
from dagmar.errors import Invalid, did_you_mean
from dagmar.notebook.pairing import read_pairings
from dagmar.project import devfile
from dagmar.project.layout import CACHE, relative
from dagmar.scaffold.notebooks import Notebook, Scaffolded, ScaffoldRequest, scaffold
from dagmar.server.catalog import Catalog, read_catalog
from dagmar.server.failed import FailedRun, read_failed
from dagmar.server.names import Kind, distinct_name, name_of, names_of

if TYPE_CHECKING:
    from dagmar.project.settings import Settings
    from dagmar.server.client import DagsterClient

Names = dict[str, tuple[str, ...]]
"""The shortest name of each asset or job that means it alone, with all names that do."""


@dataclass(frozen=True)
class OpenedRun:
    """A failed run with its notebook, and how to open that with the values of the run.

    `others` are the names of further assets at which the run failed.
    """

    scaffolded: Scaffolded
    run: FailedRun
    others: Sequence[str]
    link: str
    url: str | None

    @property
    def notebook(self) -> Notebook:
        """The notebook."""
        return self.scaffolded.notebooks[0]

    @property
    def command(self) -> str:
        """What to type to open it."""
        path = shlex.quote(relative(self.notebook.file, self.scaffolded.root))
        return f"marimo edit {path} -- --run {self.run.run_id}"

    def as_document(self) -> dict[str, Any]:
        """Return the JSON document."""
        opening = {"command": self.command, "url": self.url}
        failed = {"run_id": self.run.run_id, "failed_steps": list(self.run.steps)}
        return {**self.scaffolded.as_document(), "run": {**failed, "open": opening}}

    def show(self) -> None:
        """Print the notebook, and how to open it."""
        self.scaffolded.show()
        at = f"at {self.notebook.pair}" if self.run.steps else "before a step"
        reason = f": {self.run.reason.text}" if self.run.reason else ""
        console.say(f"Run {self.run.run_id} failed {at}{reason}")
        if self.others:
            again = f"invoke scaffold --run {self.run.run_id} --asset {shlex.quote(self.others[0])}"
            listed = f"It failed at {', '.join(self.others)}, too. For a notebook of the first:"
            console.say(console.pasteable(listed, again))
        console.say(console.pasteable("To open it with the values of the run, type:", self.command))
        if self.url:
            console.say(f"In the browser of `invoke dev`: {self.url}")
            console.say("If the notebook is open there already, restart its kernel on that page.")

    def raise_for_status(self) -> None:
        """Raise what stopped the notebook."""
        self.scaffolded.raise_for_status()


def open_run(settings: Settings, client: DagsterClient, request: ScaffoldRequest) -> OpenedRun:
    """Return the notebook of the asset or job at which a run failed, created if there is none.

    One asset of the request chooses among several. An existing notebook is never changed.
    Raises Invalid for a run that is unknown or did not fail, and for what no longer exists.
    """
    run = read_failed(client, request.run)
    catalog = read_catalog(client, ("assets", "jobs"), settings.root / CACHE)
    kind, steps = _subjects(run, catalog)
    names = _chosen(run, steps, request.assets)
    pairings = read_pairings(settings.root, settings.notebooks)
    paired = pairings.assets if kind == "asset" else pairings.jobs
    existing = [
        (name, settings.root.resolve() / path)
        for name, aliases in names.items()
        for alias in aliases
        for path in paired.get(alias, ())
    ]
    if existing and not request.name:
        name, file = existing[0]
        kept = Notebook({kind: name}, file, None, "", status="kept")
        scaffolded = Scaffolded(settings.root.resolve(), [kept], request.dry_run)
    else:
        name = next(iter(names))
        assets, jobs = ((name,), ()) if kind == "asset" else ((), (name,))
        scaffolded = scaffold(settings, catalog, replace(request, run="", assets=assets, jobs=jobs))
    file = scaffolded.notebooks[0].file
    link = f"?file={quote(relative(file, settings.notebooks.resolve()))}&run={quote(run.run_id)}"
    running = devfile.read(settings.root)
    url = f"{running.marimo_url}/{link}" if running and running.marimo_url else None
    others = [next(iter(step)) for step in steps if run.steps and name not in step]
    return OpenedRun(scaffolded, run, others, link, url)


def _subjects(run: FailedRun, catalog: Catalog) -> tuple[Kind, list[Names]]:
    """Return the assets of each failed step, or the job if they belong to none.

    Of a run that failed before a step, each asset is alone.
    """
    places = [location["name"] for location in catalog.locations]
    if run.location and run.location not in places:
        raise Invalid(
            f"run {run.run_id} is from the code location '{run.location}', "
            f"which Dagster at {catalog.url} does not have",
            f"Its code locations: {', '.join(places) or 'none'}.",
        )
    groups = [assets for assets in run.steps.values() if assets]
    if not run.steps and not run.job:
        groups = [[key] for key in run.assets]
    if groups:
        return "asset", [_names(run, "asset", group, catalog.assets) for group in groups]
    if run.job:
        return "job", [_names(run, "job", [run.job], catalog.jobs)]
    raise Invalid(
        f"run {run.run_id} failed at {', '.join(run.steps) or 'no step'}, and at no asset",
        "To look at it, type:",
        command=f"invoke run --follow {run.run_id}",
    )


def _names(
    run: FailedRun, kind: Kind, names: Sequence[str], items: Sequence[Mapping[str, Any]]
) -> Names:
    """Return the name that means each in the code location of the run, with its longer ones."""
    found: Names = {}
    for name in names:
        same = [item for item in items if name_of(item) == name]
        here = [item for item in same if run.location in ("", item["location"])]
        if not here:
            where = f" in the code location '{run.location}'" if run.location else ""
            raise Invalid(
                f"run {run.run_id} failed at the {kind} '{name}', which no longer exists{where}",
                "Was it renamed? To list what there is, type:",
                command=f"invoke discover --kind {kind}s",
            )
        shortest, every = distinct_name(here[0], same), names_of(here[0])
        found[shortest] = every[every.index(shortest) :]
    return found


def _chosen(run: FailedRun, steps: Sequence[Names], wanted: Sequence[str]) -> Names:
    """Return the assets of the first failed step, or the one that is wanted."""
    every = {name: aliases for step in steps for name, aliases in step.items()}
    if wanted:
        name = next((name for name, aliases in every.items() if wanted[0] in aliases), "")
        if not name:
            message = f"run {run.run_id} did not fail at '{wanted[0]}'"
            raise Invalid(
                message + did_you_mean(wanted[0], every), f"It failed at: {', '.join(every)}."
            )
        return {name: every[name]}
    if not run.steps and len(steps) > 1:
        reason = run.reason.text if run.reason else "no reason was logged"
        raise Invalid(
            f"run {run.run_id} failed before a step: {reason}",
            "To open the notebook of one of its assets all the same, type:",
            command=f"invoke scaffold --run {run.run_id} --asset {shlex.quote(next(iter(every)))}",
        )
    return steps[0]
