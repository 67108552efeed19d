"""`dagmar.Pair`: what a notebook knows of the asset or job that it is paired with."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Invalid, Unreachable, UsageError
from dagmar.pair.context import Context
from dagmar.project.layout import folder_of

if TYPE_CHECKING:
    from typing import TypeAlias

    import marimo as mo

    from dagmar.pair.buttons import Attempt, Clicks
    from dagmar.pair.controls import Chosen
    from dagmar.pair.watching import Retries

    Controls: TypeAlias = mo.ui.batch | Mapping[str, object]
    Number: TypeAlias = float | str | bool | None
    Kind: TypeAlias = Literal["neutral", "success", "warn", "danger"]


class Pair:
    """Pairs a notebook with one asset or one job of Dagster.

    Making it costs nothing: no server is asked and nothing is imported until something is
    shown. Nothing is launched but by a click.

    For example: `pair = dagmar.Pair(asset="raw/orders")`
    """

    def __init__(
        self, *, asset: str = "", job: str = "", target: str = "", root: str | Path = ""
    ) -> None:
        """Pair with the asset of this key, or with the job of this name.

        `target` names a target of dagmar.yaml; the default is the one the settings choose.
        `root` is a folder of the project; the default is that of the notebook's file.
        Raises UsageError unless exactly one of asset and job is given.
        """
        if bool(asset) == bool(job):
            raise UsageError(
                "a pair has one asset or one job", 'For example: dagmar.Pair(asset="raw/orders")'
            )
        # The caller is the notebook: its file tells the project.
        file = sys._getframe(1).f_globals.get("__file__")
        start = Path(root).resolve() if root else folder_of(file)
        self._context = Context(AssetKey(asset), job, target, start)
        self._file = str(file or "")
        self._clicks: Clicks | None = None
        self._launched: Attempt | None = None
        self._run_here: Attempt | None = None

    def __repr__(self) -> str:
        """Return what is paired, and with which target."""
        context = self._context
        paired = f"asset={context.asset!r}" if context.asset else f"job={context.job!r}"
        try:
            name = context.target_name or context.settings.default_target
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

        For example: `orders = pair.load("raw/orders")`
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

    def card(
        self, title: str = "", after: Attempt | Sequence[Attempt | None] | None = None
    ) -> mo.Html:
        """Show what this is, how it was made last, and which Dagster this is about.

        `title` is Markdown to stand above it. `after` is what `launch` or `materialize` returned,
        or both: it is drawn again when such a run has ended, and then stands alone in its cell.
        """
        import marimo as mo

        from dagmar.pair.cards import card

        def draw() -> mo.Html:
            shown = mo.Html(card(self._context))
            return mo.vstack([mo.md(title), shown]) if title else shown

        return self._drawn(draw, after)

    def lineage(self, depth: int = 1) -> mo.Html:
        """Show the assets up to `depth` steps above and below, or the steps of the job."""
        import marimo as mo

        from dagmar.pair.cards import lineage

        try:
            return mo.mermaid(lineage(self._context, depth))
        except DagmarError as error:
            return self._remark(error, "the lineage")

    def controls(self) -> mo.ui.batch:
        """Show what a run can be launched with: partition, run config, tags.

        The partition that is chosen first is that of `partition_key`, else the last one.
        For example, in a cell that ends with `controls`: `controls = pair.controls()`
        """
        from dagmar.pair.controls import draw_controls

        return draw_controls(self._context, self.partition_key)

    def launch_button(self, label: str = "Launch", kind: Kind = "success") -> mo.ui.run_button:
        """Return a button for `launch` or `materialize`, whose every click counts once.

        For example, in a cell that ends with `button`: `button = pair.launch_button()`
        """
        return self._counted().button(label, kind)

    def launch(self, controls: Controls | None, button: mo.ui.run_button | None) -> Attempt | None:
        """Launch a run if the button was clicked just now, and return the last launch.

        It is None before the first one. What is refused is shown by `watch`.
        Raises UsageError for a button that is not from `launch_button`.

        For example: `run = pair.launch(controls, button)`
        """
        from dagmar.pair import buttons

        if self._counted().take(button):
            self._launched = self._attempt(buttons.launch, controls, "Launching")
        return self._launched

    def watch(self, run: Attempt | str | None) -> mo.Html:
        """Show how a run stands until it ends: steps, failure, buttons to cancel and retry.

        `run` is what `launch` or `materialize` returned, or a run id.
        """
        import marimo as mo

        from dagmar.pair import drawing
        from dagmar.pair.watching import Watcher

        if run is None:
            return mo.Html(drawing.note("Nothing was launched from here yet."))
        if not isinstance(run, str):
            if run.error or not run.run_id:
                return mo.Html(run._repr_html_())
            run = run.run_id
        try:
            return Watcher(self._context, run, self._retries).show()
        except DagmarError as error:
            return mo.Html(drawing.refusal(error))

    def history(
        self, limit: int = 30, after: Attempt | Sequence[Attempt | None] | None = None
    ) -> mo.Html:
        """Show how long the last runs took, and how they ended.

        `after` is what `launch` or `materialize` returned, or both: it is drawn again when such
        a run has ended, and then stands alone in its cell.
        """
        import marimo as mo

        from dagmar.pair.history import draw_history, read_history

        def draw() -> mo.Html:
            try:
                return mo.Html(
                    draw_history(read_history(self._context, limit), self._context.target.url)
                )
            except DagmarError as error:
                return self._remark(error, "the history")

        return self._drawn(draw, after)

    def materialize(
        self,
        controls: Controls | None = None,
        *,
        button: mo.ui.run_button | None = None,
        here: bool = False,
    ) -> Attempt | None:
        """Materialize what is paired, if a button from `launch_button` was clicked just now.

        With `here` it runs in this kernel and is recorded in the project's own instance; without
        it, this is `launch`. Without `button`, any of this pair's buttons counts.
        Without a click it returns the result of the last one, None before the first one.

        For example: `pair.materialize(controls, button=button, here=True)`
        """
        from dagmar.pair import buttons

        if not here:
            attempt = self.launch(controls, button)
        else:
            if self._counted().take(button):
                self._run_here = self._attempt(
                    buttons.materialize_here,
                    controls,
                    f"Materializing {self._context.what} here",
                )
            attempt = self._run_here
        if attempt is None and button is None:
            return buttons.Attempt(
                told="Nothing was run: this waits for a click on a button from launch_button()."
            )
        return attempt

    def export(self) -> mo.Html:
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

    def report(self, **values: Number) -> mo.Html:
        """Report numbers about the asset, and show them: they go onto it with an export.

        Values are numbers, texts or truth values. Raises Invalid for others.

        For example: `pair.report(rows=len(orders))`
        """
        import marimo as mo

        from dagmar.notebook.reporting import report
        from dagmar.pair import drawing

        report(values)
        return mo.Html(drawing.facts((name, escape(str(value))) for name, value in values.items()))

    def metrics(self, **values: Number) -> mo.Html:
        """Report numbers as `report` does, and show them beside those recorded before.

        Those are the numbers that the asset's materializations and observations carry.
        Raises Invalid for what is neither number, text nor truth value.

        For example: `pair.metrics(rows=len(orders))`
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
    def _retries(self) -> Retries:
        from dagmar.pair.watching import Retries

        return Retries()

    def _counted(self) -> Clicks:
        if self._clicks is None:
            from dagmar.pair.buttons import Clicks

            self._clicks = Clicks()
        return self._clicks

    def _attempt(
        self, act: Callable[[Context, Chosen], Attempt], controls: Controls | None, doing: str
    ) -> Attempt:
        from dagmar.pair import buttons
        from dagmar.pair.controls import read_chosen

        with buttons.busy(doing):
            return buttons.attempt(lambda: act(self._context, read_chosen(_value(controls))))

    def _drawn(
        self,
        draw: Callable[[], mo.Html],
        after: Attempt | Sequence[Attempt | None] | None,
    ) -> mo.Html:
        """Draw now, and again when a run has ended; that launches nothing."""
        from dagmar.pair.context import live

        drawn = draw()
        some = after if isinstance(after, Sequence) else [after]
        run_ids = [run_id for one in some if (run_id := getattr(one, "run_id", ""))]
        if live() and run_ids:
            from dagmar.pair.watching import draw_at_the_end

            draw_at_the_end(self._context, run_ids, self._retries, draw)
        return drawn

    def _remark(self, error: DagmarError, what: str) -> mo.Html:
        import marimo as mo

        from dagmar.pair import drawing

        away = isinstance(error, Unreachable)
        return mo.Html(drawing.no_server(error, what) if away else drawing.refusal(error))


def _value(controls: Controls | None) -> Mapping[str, Any] | None:
    """Return the value of the controls. Raises Invalid for something else."""
    value = getattr(controls, "value", controls)
    if value is not None and not isinstance(value, dict):
        raise Invalid("these are no controls", "Make them with pair.controls().")
    return value
