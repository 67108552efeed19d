"""`dagmar.Pair`: the asset, job or selection that a notebook is paired with, and its widgets."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Invalid, UsageError
from dagmar.pair import buttons, cards, controls, drawing, history, listing, opened
from dagmar.pair.context import Context, live, read_parameter
from dagmar.pair.grid import Grid, own_ids
from dagmar.pair.started import StartedRuns
from dagmar.project.installed import note_installed
from dagmar.project.layout import folder_of

if TYPE_CHECKING:
    from typing import TypeAlias

    import marimo as mo

    from dagmar.pair.buttons import Attempt
    from dagmar.pair.controls import LaunchOptions
    from dagmar.pair.previewing import Previewed
    from dagmar.pair.statistics import Statistics
    from dagmar.pair.watching import Watcher
    from dagmar.server.catalog import Item

    Controls: TypeAlias = mo.ui.batch | Mapping[str, object]
    Number: TypeAlias = float | str | bool | None
    Kind: TypeAlias = Literal["neutral", "success", "warn", "danger"]


class Pair:
    """Pairs a notebook with one asset, one job or one selection of assets of Dagster.

    Creating it costs nothing: until something is shown, no server is asked and nothing slow is
    imported. Only a click launches anything.

    For example: `pair = dagmar.Pair(asset="raw/orders")`
    """

    def __init__(
        self,
        *,
        asset: str = "",
        job: str = "",
        select: str = "",
        target: str = "",
        root: str | Path = "",
    ) -> None:
        """Pair with the `asset` of this key, the `job` of this name, or what `select` selects.

        A selection is what `invoke run --select` takes, such as `group:sales`. If several code
        locations have an asset or job, `KEY@LOCATION` or `NAME@LOCATION` chooses one.

        `target` names a target of dagmar.yaml; the default is the one the settings choose.
        `root` is a folder of the project; the default is that of the notebook's file.
        Raises UsageError unless exactly one of asset, job and select is given.
        """
        if [bool(asset), bool(job), bool(select)].count(True) != 1:
            raise UsageError(
                "a pair has one asset, one job or one selection",
                'For example: dagmar.Pair(asset="raw/orders")',
            )
        # The caller is the notebook: its file decides which project it is.
        file = sys._getframe(1).f_globals.get("__file__")
        start = Path(root).resolve() if root else folder_of(file)
        self._context = Context(AssetKey(asset), job, target, start, select, str(file or ""))
        self._clicks = buttons.Clicks()
        self._started = StartedRuns()
        self._controls: mo.ui.batch | None = None
        self._grid = Grid()
        self._drawn_at: object = None
        self._launched: Attempt | None = None
        self._run_here: Attempt | None = None
        self._previewed: Previewed | None = None
        self._kept: Attempt | None = None
        self._watchers: dict[str, Watcher] = {}
        note_installed()

    def __repr__(self) -> str:
        """Return what is paired, and with which target."""
        context = self._context
        kinds = {"asset": context.asset, "job": context.job, "select": context.select}
        paired = ", ".join(f"{kind}={name!r}" for kind, name in kinds.items() if name)
        try:
            name = context.target_name or context.settings.default_target
        except DagmarError:
            name = context.target_name
        return f"Pair({paired}, target={name!r})"

    @property
    def asset(self) -> str:
        """The key of the asset; empty for a job or a selection."""
        return self._context.asset

    @property
    def job(self) -> str:
        """The name of the job; empty for an asset or a selection."""
        return self._context.job

    @property
    def select(self) -> str:
        """The selection of assets; empty for an asset or a job."""
        return self._context.select

    def load(
        self, key: str, partition: str | None = None, *, after: Callable[[], object] | None = None
    ) -> Any:
        """Return the value of the asset `key`, through the project's own IO managers.

        Without `partition`, a partitioned asset is a dict of its materialized partitions.
        `after` is a variable with what `materialized` returned: a cell that names it runs again.
        Raises Invalid for an unknown asset or partition and for one never materialized, and
        LoadFailed, from the IO manager's own exception, if that fails.

        For example: `orders = pair.load("raw/orders")`
        """
        from dagmar.orchestration.values import load_value

        try:
            return load_value(self._context.root, AssetKey(key), partition)
        except DagmarError as error:  # without dagmar's frames: the user's follow from its cause
            raise error.with_traceback(None) from error.__cause__

    def materialized(self, *keys: str) -> Callable[[], int]:
        """Return a state: a cell that names it runs again when one of the assets is materialized.

        What counts are runs from this notebook: on the server when they have ended, in this kernel,
        and retries. `keys` are the assets; the default is the paired asset, and for a job, any
        asset that it materializes. Call it to get the number of materializations so far.
        In a lazy notebook such cells become stale instead. Nothing is launched.

        For example, in the setup cell: `materialized = pair.materialized()`, and in another
        `orders = pair.load("raw/orders", after=materialized)`
        """
        return self._started.materialized(*map(AssetKey, keys or filter(None, [self.asset])))

    def ended(self) -> Callable[[], int]:
        """Return a state: a cell that names it runs again when a run from this notebook has ended.

        For the controls, whose states of partitions also change when a run fails. In a lazy
        notebook the cell becomes stale instead. Nothing is launched. Call it to get the number of
        runs that have ended so far.

        For example, in the setup cell: `ended = pair.ended()`, and in another
        `controls = pair.controls(after=ended)`
        """
        return self._started.any_end()

    def partition_key(self) -> str | None:
        """Return the partition that the notebook is about: the latest materialized one.

        `--partition_key KEY` after `--` on the command line chooses another, and so does
        `?partition_key=KEY` in the address of the page. If the page was opened with a run, the
        default is the partition of that run. It is None if nothing is materialized, for an asset
        without partitions, and for a job.
        Raises Invalid for an unknown asset or partition.
        """
        if not self.asset:
            return None
        from dagmar.orchestration import partitions

        root = self._context.root
        if key := read_parameter("partition_key"):
            return partitions.require_partition(root, self.asset, key)
        if key := opened.read_partition(self._context):
            with contextlib.suppress(Invalid):  # of another asset of that run
                return partitions.require_partition(root, self.asset, key)
        return partitions.latest_partition(root, self.asset)

    def card(self, title: str = "", after: object = None) -> mo.Html:
        """Show the asset or job, its last materialization or run, the target and the instance.

        Of a selection it shows each asset with its state, updated while the run goes on.
        `title` is Markdown to show above it. The card is updated when a run from this notebook has
        ended, and says so when its server has loaded another definition, or none; it must be alone
        in its cell. `after` is no longer needed.
        """
        import marimo as mo

        from dagmar.pair.definition import Definition

        definition = Definition(self._context)

        def draw() -> mo.Html:
            card = mo.Html(cards.card(self._context, definition))
            return mo.vstack([mo.md(title), card]) if title else card

        self._started.redraw(self._context, draw, definition.look)
        return draw()

    def lineage(self, depth: int = 1) -> mo.Html:
        """Show the assets up to `depth` steps above and below, or the steps of the job.

        Of a selection it shows its assets with their states, which are updated while a run from
        this notebook goes on; the lineage must be alone in its cell.
        """
        import marimo as mo

        def draw() -> mo.Html:
            try:
                return mo.mermaid(cards.lineage(self._context, depth))
            except DagmarError as error:
                return mo.Html(drawing.refusal(error, "the lineage"))

        if self.select:
            self._started.redraw(self._context, draw)
        return draw()

    def controls(
        self,
        *,
        number: str = "",
        after: Callable[[], object] | None = None,
        form: bool = True,
    ) -> mo.ui.batch:
        """Show what a run can be launched with: partitions, run config, tags.

        Partitions are a grid with their states, and with the metadata `number` of each one's latest
        materialization, such as `rows`. Without a selection it is the partition of `partition_key`,
        else the last one. If the page was opened with a run (`?run=RUN_ID`, or `--run RUN_ID` after
        `--`), its values are the defaults; else those of the last run that `launch` shows, or that
        was launched here since.
        The run config is a form with the fields of Dagster's schema, and YAML for what a form
        cannot have; without `form`, all of it is YAML. The result is an element of marimo, whose
        value is what `launch`, `materialize` and `preview` take.
        `after` is a variable with what `ended` returned: the states in the grid follow the runs
        from this notebook then, and what was entered stays.
        Raises UsageError for a number of anything but an asset.

        For example, in a cell that ends with `controls`: `controls = pair.controls()`
        """
        if number and not self.asset:
            raise UsageError(
                f"{self._context.what} has no metadata: assets have", "Leave the number out."
            )
        context, moment = self._context, after and after()
        ids = own_ids()
        if moment != self._drawn_at and self._controls is not None and self._grid.default:
            # A run has ended. With new controls, what is being typed would be lost.
            with ids("states"):
                controls.redraw_states(context, self._controls, self._grid)
        else:
            self._grid = Grid(number)
            with ids("controls"):
                self._controls = controls.draw_controls(
                    context, self.partition_key, self._grid, form
                )
        self._drawn_at = moment
        return self._controls

    def validate(self, controls: Controls | None) -> mo.Html | None:
        """Show what the server says about the run config, while it is typed; None if it is valid.

        `controls` is what `controls` returned.
        A cell that names the controls runs again with each change. Nothing is launched, and where
        nobody could launch, in an export or a script, nothing is shown.

        For example, in a cell below the controls: `pair.validate(controls)`
        """
        import marimo as mo

        from dagmar.pair import validation

        found = validation.show(self._context, controls) if live() else ""
        return mo.Html(found) if found else None

    def launch_button(self, label: str = "Launch", kind: Kind = "success") -> mo.ui.run_button:
        """Return a button for `launch`, `materialize`, `preview` or `keep`; each click counts once.

        `label` is its text, and `kind` its color: neutral, success, warn or danger.

        For example, in a cell that ends with `button`: `button = pair.launch_button()`
        """
        return self._clicks.button(label, kind)

    def launch(self, controls: Controls | None, button: mo.ui.run_button | None) -> Attempt | None:
        """Launch a run if the button was just clicked, and return the last launch.

        `controls` is what `controls` returned, or a mapping with the same keys, and `button` what
        `launch_button` returned. It is one backfill for several partitions.
        Before the first one it is the run that the page was opened with, else the last one that
        you launched from this notebook before this copy of it was opened, else None. An app has
        its own runs only. `watch` shows why a launch was refused.
        Raises UsageError for a button that is not from `launch_button`.

        For example: `run = pair.launch(controls, button)`
        """
        if self._clicks.take(button):
            self._launched = self._attempt(buttons.launch, controls, "Launching")
        self._launched = self._launched or buttons.opened_run(self._context, self._started)
        self._started.follow(self._context)
        return self._launched

    def watch(self, run: Attempt | str | None) -> mo.Html:
        """Show a run until it ends: status, steps, log, failure, buttons to cancel and retry.

        Of a backfill: its status, its runs by status, and a button to cancel it. A run that the
        server does not know, or a server that does not answer, is shown as such.
        `run` is what `launch` or `materialize` returned, or a run id. A failed run can be retried
        with the config and tags that are in the controls then, and opened as a notebook.
        """
        import marimo as mo

        note = backfill = ""
        if run is None:
            return mo.Html(drawing.note("Nothing was launched from here yet."))
        if not isinstance(run, str):
            if run.error or not run.id:
                return mo.Html(run._repr_html_())
            note, backfill, run = run.message if run.earlier else "", run.backfill_id, run.id
        # Not before there is a run: it brings an HTTP library.
        from dagmar.pair.backfilling import BackfillWatcher
        from dagmar.pair.watching import Watcher

        chosen = None
        if self._controls is not None:
            chosen = functools.partial(controls.read_options, self._controls)
        kind = BackfillWatcher if backfill else Watcher
        try:
            if known := self._watchers.get(run):
                watcher = known.again(chosen)
            else:
                watcher = kind(self._context, run, self._started, chosen=chosen, note=note)
            self._watchers[run] = watcher
            return watcher.show()
        except DagmarError as error:
            return mo.Html(drawing.refusal(error))

    def history(self, limit: int = 30, after: object = None) -> mo.Html:
        """Show how long the last `limit` runs took, and how they ended.

        The chart is updated when a run from this notebook has ended, and must be alone in its
        cell. `after` is no longer needed.
        """
        import marimo as mo

        def draw() -> mo.Html:
            try:
                runs = history.read_history(self._context, limit)
                return mo.Html(history.draw_history(runs, self._context.target.url))
            except DagmarError as error:
                return mo.Html(drawing.refusal(error, "the history"))

        self._started.redraw(self._context, draw)
        return draw()

    def stats(self, since: str = "7d", by: str = "asset", *, everything: bool = True) -> Statistics:
        """Return the server's history in numbers, as `invoke stats` has it; a cell shows it.

        `since` is the window up to now, such as `12h`, `7d` or `4w`; it is compared with the one
        before. `by` is what a row is about: asset, job, step, location, user or revision.
        Without `everything` it is about the runs of the paired asset or job. What went wrong is
        shown, and is its `error`.

        For example: `pl.DataFrame(pair.stats("30d").rows)`
        """
        from dagmar.pair import statistics

        return statistics.read(self._context, since, by, everything)

    def list_assets(self, select: str = "") -> list[Item]:
        """Return a row for each asset with its state, for a table or a data frame.

        They are those of `select`; without it those of the pair's own selection, or all of them.
        Each row has `asset`, `state`, `materialized_at`, `run_id`, `partitions`,
        `partitions_materialized`, `group`, `kinds`, `owners`, `dependencies`, `location` and
        `description`.
        Raises Invalid for a selection that is not valid, and Unreachable if no Dagster answers.

        For example: `pl.DataFrame(pair.list_assets("group:sales"))`
        """
        return listing.list_assets(self._context, select)

    def list_jobs(self) -> list[Item]:
        """Return a row for each job, with its schedules and sensors.

        Each row has `name`, `asset_job`, `schedules`, `sensors`, `location` and `description`.
        Raises Unreachable if no Dagster answers.
        """
        return listing.list_jobs(self._context)

    def list_partitions(self, asset: str = "") -> list[Item]:
        """Return a row for each partition of an asset or of the paired job, with its state.

        The default of `asset` is what is paired; there are no rows if it has no partitions.
        Each row has `partition` and `state`, and the key of each dimension if there are several.
        Raises Invalid for an unknown asset, UsageError for a selection, and Unreachable if no
        Dagster answers.
        """
        return listing.list_partitions(self._context, AssetKey(asset))

    def list_runs(self) -> list[Item]:
        """Return a row for each run of the server that is in progress or queued.

        Each row has `run_id`, `status`, `position`, `job`, `assets`, `partition`, `created_at`,
        `started_at`, `location` and `url`. `position` is the place in the queue, 1 for the next
        one; None for a run that has left it.
        Raises Unreachable if no Dagster answers.
        """
        return listing.list_runs(self._context)

    def materialize(
        self,
        controls: Controls | None = None,
        *,
        button: mo.ui.run_button | None = None,
        here: bool = False,
    ) -> Attempt | None:
        """Materialize the asset, or run the job, if a button from `launch_button` was just clicked.

        With `here` it runs in this kernel and is recorded in the project's own instance; without
        it, this is `launch`. `controls` is what `controls` returned. Without `button`, any of this
        pair's buttons counts. Why a run failed or was refused is the `error` of the result.
        Without a click it returns the result of the last one, None before the first one.
        Raises UsageError for a button that is not from `launch_button`.

        For example: `pair.materialize(controls, button=button, here=True)`
        """
        if not here:
            attempt = self.launch(controls, button)
        else:
            if self._clicks.take(button):
                doing = f"Materializing {self._context.what} here"
                self._run_here = self._attempt(buttons.materialize_here, controls, doing)
            attempt = self._run_here
        if attempt is None and button is None:
            return buttons.Attempt(
                message="Nothing was run: this waits for a click on a button of launch_button()."
            )
        return attempt

    def preview(
        self,
        controls: Controls | None,
        button: mo.ui.run_button | None,
        keys: Sequence[str] = (),
    ) -> Previewed | None:
        """Show what the asset would become, if the button was just clicked: nothing is stored.

        It is executed in this kernel with its inputs, resources and config, from the files as they
        are now, and compared with the recorded value. `controls` is what `controls` returned,
        `button` is from `launch_button`, and `keys` are columns that identify a row.
        An exception of the asset, or a refusal, is the `error` of the result.
        Without a click it returns the last preview, None before the first one.
        Raises UsageError for a button that is not from `launch_button`.

        For example: `preview = pair.preview(controls, preview_button)`
        """
        if self._clicks.take(button):
            from dagmar.pair import previewing

            self._previewed = self._kept = None  # should it be interrupted
            self._previewed = previewing.show(self._context, controls, keys)
        return self._previewed

    def keep(self, preview: Previewed | None, button: mo.ui.run_button | None) -> Attempt | None:
        """Store the value that `preview` returned, if the button was just clicked, and record it.

        `preview` is that result, and `button` is from `launch_button`. A refusal, such as for a
        preview that is out of date, is the `error` of the result.
        Nothing is executed again. Without a click it returns the result of the last one, None
        before the first one and after another preview.
        Raises UsageError for a button that is not from `launch_button`.

        For example: `kept = pair.keep(preview, keep_button)`
        """
        if self._clicks.take(button):
            from dagmar.pair import previewing

            self._kept = self._add(previewing.keep(self._context, preview))
        return self._kept

    def export(self) -> mo.Html:
        """Show the newest report of this notebook, and a button that writes another.

        The button writes what `invoke export` would for the saved file; why it failed is shown.
        """
        import marimo as mo

        from dagmar.pair.report import Exporter

        if not Path(self._context.file).is_file():
            return mo.Html(
                drawing.note("Save this notebook first: a report is exported from its file.")
            )
        try:
            return Exporter(self._context, Path(self._context.file).resolve()).show()
        except DagmarError as error:
            return mo.Html(drawing.refusal(error))

    def report(self, **values: Number) -> mo.Html:
        """Show numbers about the asset; an export that is attached to it records them.

        The names of `values` are yours, except `report`, `notebook` and `export`; they are
        numbers, text or booleans. Raises Invalid for others.

        For example: `pair.report(rows=len(orders))`
        """
        import marimo as mo

        from dagmar.notebook.reporting import report

        report(values)
        return mo.Html(drawing.facts((name, escape(str(value))) for name, value in values.items()))

    def metrics(self, **values: Number) -> mo.Html:
        """Report numbers as `report` does, and show those recorded before as well.

        Those are the numbers of the asset's materializations and observations. `values` are those
        of `report`.
        Raises Invalid for what is not a number, text or a boolean.

        For example: `pair.metrics(rows=len(orders))`
        """
        import marimo as mo

        from dagmar.notebook.reporting import report

        report(values)
        try:
            earlier = history.read_earlier(self._context)
            return mo.Html(history.draw_metrics(values, earlier, self._context.target.url))
        except DagmarError as error:
            remark = drawing.refusal(error, "what was recorded before")
            return mo.Html(history.draw_metrics(values, (), "") + remark)

    def _attempt(
        self, act: Callable[[Context, LaunchOptions], Attempt], chosen: Controls | None, doing: str
    ) -> Attempt:
        """Do what was clicked; cells that follow the notebook's runs follow this one too."""
        hint = buttons.MAYBE_LAUNCHED if act is buttons.launch else buttons.AGAIN
        try:
            with buttons.busy(doing, hint):
                return self._add(act(self._context, controls.read_options(chosen)))
        except DagmarError as error:
            return buttons.Attempt(error=error)

    def _add(self, attempt: Attempt) -> Attempt:
        """Take a run of this copy of the notebook into account, and return it."""
        self._context.last.own = attempt.run_id or self._context.last.own
        return self._started.add(attempt)
