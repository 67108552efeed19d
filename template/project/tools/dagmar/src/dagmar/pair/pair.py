"""`dagmar.Pair`: what a notebook knows of the asset or job that it is paired with."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Invalid, Unreachable, UsageError
from dagmar.pair.context import Context
from dagmar.project.layout import folder_of


class Pair:
    """Pairs a notebook with one asset or one job of Dagster.

    Making it costs nothing: no server is asked and nothing is imported until something is
    shown. Nothing is launched but by a click.
    """

    def __init__(self, *, asset: str = "", job: str = "", target: str = "") -> None:
        """Pair with the asset of this key, or with the job of this name.

        `target` names a target of dagmar.yaml; the default is the one the settings choose.
        Raises UsageError unless exactly one of asset and job is given.
        """
        if bool(asset) == bool(job):
            raise UsageError(
                "a pair has one asset or one job", 'For example: dagmar.Pair(asset="raw/orders")'
            )
        # The caller is the notebook: its file tells the project.
        file = sys._getframe(1).f_globals.get("__file__")
        self._context = Context(AssetKey(asset), job, target, folder_of(file))
        self._file = str(file or "")
        self._clicks: Any = None
        self._last: Any = None
        self._made: Any = None

    def __repr__(self) -> str:
        """Return what is paired, and with which target."""
        context = self._context
        paired = f"asset={context.asset!r}" if context.asset else f"job={context.job!r}"
        try:
            name = context.target_name or str(context.settings.layer.values.get("target", "local"))
        except DagmarError:
            name = context.target_name
        return f"Pair({paired}, target={name!r})"

    @property
    def asset(self) -> str:
        """The key of the asset; empty for a job."""
        return self._context.asset

    @property
    def job(self) -> str:
        """The name of the job; empty for an asset."""
        return self._context.job

    def load(self, key: str, partition: str | None = None) -> Any:
        """Return the value of an asset, through the project's own IO managers.

        Without `partition`, a partitioned asset is a dict of its materialized partitions.
        Raises Invalid for an unknown asset or partition and for one never materialized, and
        LoadFailed, from the IO manager's own exception, where that fails.
        """
        from dagmar.orchestration.values import load_value

        return load_value(self._context.root, AssetKey(key), partition)

    def partition_key(self) -> str | None:
        """Return the partition that the notebook is about: the latest materialized one.

        `--partition_key KEY` after `--` on the command line chooses another, and so does
        `?partition_key=KEY` in the address of the page. It is None where nothing is
        materialized, for an asset without partitions, and for a job.
        Raises Invalid for an unknown asset or partition.
        """
        if not self.asset:
            return None
        from dagmar.orchestration import partitions
        from dagmar.pair.context import asked_for

        root = self._context.root
        if given := asked_for("partition_key"):
            return partitions.require_partition(root, self.asset, given)
        return partitions.latest_partition(root, self.asset)

    def card(self, title: str = "", after: Any = None) -> Any:
        """Show what this is, how it was made last, and which Dagster this is about.

        `title` is Markdown to stand above it. `after` is what `launch` or `materialize` returned,
        or both: it is drawn again when such a run has ended, and then stands alone in its cell.
        """
        import marimo as mo

        from dagmar.pair.cards import card

        def draw() -> Any:
            shown = mo.Html(card(self._context))
            return mo.vstack([mo.md(title), shown]) if title else shown

        return self._drawn(draw, after)

    def lineage(self, depth: int = 1) -> Any:
        """Show the assets up to `depth` steps above and below, or the steps of the job."""
        import marimo as mo

        from dagmar.pair.cards import lineage

        try:
            return mo.mermaid(lineage(self._context, depth))
        except DagmarError as error:
            return self._remark(error, "the lineage")

    def controls(self) -> Any:
        """Show what a run can be launched with: partition, run config, tags.

        The partition that is chosen first is that of `partition_key`, else the last one.
        """
        from dagmar.pair.controls import draw_controls

        return draw_controls(self._context, self.partition_key)

    def launch_button(self, label: str = "Launch", kind: str = "success") -> Any:
        """Return a button for `launch` or `materialize`, whose every click counts once."""
        return self._counted().button(label, kind)

    def launch(self, controls: Any, button: Any) -> Any:
        """Launch a run if the button was clicked just now, and return the last launch.

        It is None before the first one. What is refused is shown by `watch`.
        Raises UsageError for a button that is not from `launch_button`.
        """
        from dagmar.pair import buttons
        from dagmar.pair.controls import read_chosen

        if self._counted().take(button):
            with buttons.busy("Launching"):
                self._last = buttons.attempt(
                    lambda: buttons.launch(self._context, read_chosen(_value(controls)))
                )
        return self._last

    def watch(self, run: Any) -> Any:
        """Show how a run stands until it ends: steps, failure, buttons to cancel and retry.

        `run` is what `launch` or `materialize` returned, or a run id.
        """
        import marimo as mo

        from dagmar.pair import drawing
        from dagmar.pair.watching import Watcher

        if run is None:
            return mo.Html(drawing.note("Nothing was launched from here yet."))
        run_id = run if isinstance(run, str) else run.run_id
        if not run_id or getattr(run, "error", None):
            return mo.Html(run._repr_html_())
        try:
            return Watcher(self._context, run_id, self._retries).show()
        except DagmarError as error:
            return mo.Html(drawing.refusal(error))

    def history(self, limit: int = 30, after: Any = None) -> Any:
        """Show how long the last runs took, and how they ended.

        `after` is what `launch` or `materialize` returned, or both: it is drawn again when such
        a run has ended, and then stands alone in its cell.
        """
        import marimo as mo

        from dagmar.pair.history import draw_history, read_history

        def draw() -> Any:
            try:
                return mo.Html(
                    draw_history(read_history(self._context, limit), self._context.target.url)
                )
            except DagmarError as error:
                return self._remark(error, "the history")

        return self._drawn(draw, after)

    def materialize(self, controls: Any = None, *, button: Any = None, here: bool = False) -> Any:
        """Make what is paired, if a button from `launch_button` was clicked just now.

        With `here` it runs in this kernel and is recorded in the project's own instance; else
        it is launched on the server. Without `button`, any of this pair's buttons counts.
        Without a click it returns what the last one came to, None before the first one.
        """
        from dagmar.pair import buttons
        from dagmar.pair.controls import read_chosen

        if self._counted().take(button):
            act = buttons.materialize_here if here else buttons.launch
            with buttons.busy(f"Materializing {self._context.what} here" if here else "Launching"):
                self._made = buttons.attempt(
                    lambda: act(self._context, read_chosen(_value(controls)))
                )
        if self._made is None and button is None:
            return buttons.Attempt(
                told="Nothing was run: this waits for a click on a button from launch_button()."
            )
        return self._made

    def export(self) -> Any:
        """Show the newest report of this notebook, and a button that makes another."""
        import marimo as mo

        from dagmar.pair import drawing
        from dagmar.pair.report import Exporter

        if not Path(self._file).is_file():
            return mo.Html(drawing.note("Save this notebook first: a report is made of its file."))
        try:
            return Exporter(self._context, Path(self._file).resolve()).show()
        except DagmarError as error:
            return mo.Html(drawing.refusal(error))

    def report(self, **values: Any) -> Any:
        """Report numbers about the asset, and show them: they go onto it with an export.

        Values are numbers, texts or truth values. Raises Invalid for others.
        """
        import marimo as mo

        from dagmar.notebook.reporting import report
        from dagmar.pair import drawing

        report(values)
        return mo.Html(drawing.facts((name, escape(str(value))) for name, value in values.items()))

    def metrics(self, **values: Any) -> Any:
        """Report numbers as `report` does, and show them beside those recorded before.

        Those are the numbers that the asset's materializations and observations carry.
        Raises Invalid for what is neither number, text nor truth value.
        """
        import marimo as mo

        from dagmar.notebook.reporting import report
        from dagmar.pair.history import draw_metrics, read_earlier

        report(values)
        try:
            table = draw_metrics(values, read_earlier(self._context), self._context.target.url)
        except DagmarError as error:
            remark = self._remark(error, "what was recorded before").text
            table = draw_metrics(values, (), "") + remark
        return mo.Html(table)

    @functools.cached_property
    def _retries(self) -> Any:
        from dagmar.pair.watching import Retries

        return Retries()

    def _counted(self) -> Any:
        if self._clicks is None:
            from dagmar.pair.buttons import Clicks

            self._clicks = Clicks()
        return self._clicks

    def _drawn(self, draw: Callable[[], Any], after: Any) -> Any:
        """Draw now, and again when a run has ended; that launches nothing."""
        from dagmar.pair.context import live

        drawn = draw()
        some = after if isinstance(after, (list, tuple)) else [after]
        run_ids = [run_id for one in some if (run_id := getattr(one, "run_id", ""))]
        if live() and run_ids:
            from dagmar.pair.watching import draw_at_the_end

            draw_at_the_end(self._context, run_ids, self._retries, draw)
        return drawn

    def _remark(self, error: DagmarError, what: str) -> Any:
        import marimo as mo

        from dagmar.pair import drawing

        away = isinstance(error, Unreachable)
        return mo.Html(drawing.no_server(error, what) if away else drawing.refusal(error))


def _value(controls: Any) -> Any:
    """Return the value of the controls. Raises Invalid for something else."""
    value = getattr(controls, "value", controls)
    if value is not None and not isinstance(value, dict):
        raise Invalid("these are no controls", "Make them with pair.controls().")
    return value
