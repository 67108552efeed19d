"""The preview of an asset on the page, and what keeps it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.console import format_duration
from dagmar.errors import DagmarError, Invalid, RunFailed, UsageError
from dagmar.pair import buttons, drawing
from dagmar.pair.buttons import Attempt
from dagmar.pair.context import Context
from dagmar.pair.controls import LaunchOptions, read_options
from dagmar.pair.difference import draw

if TYPE_CHECKING:
    import marimo as mo

    from dagmar.diff.model import Difference
    from dagmar.orchestration.preview import Preview
    from dagmar.server.checks import Check


@dataclass(frozen=True, eq=False)
class Previewed:
    """What a preview has shown: the value that the asset would have, or why there is none.

    `differences` are by asset key: how each value differs from the recorded one. `seconds` are
    those of the clock, and `memory` the most bytes that were resident at one time.
    """

    asset: AssetKey
    error: DagmarError | None = None
    checks: Sequence[Check] = ()
    differences: Mapping[AssetKey, Difference] = field(default_factory=dict)
    seconds: float = 0.0
    memory: int = 0
    _preview: Preview | None = None
    _tags: Mapping[str, str] = field(default_factory=dict)
    _drawn: dict[str, mo.Html] = field(default_factory=dict)

    @functools.cached_property
    def values(self) -> Mapping[str, Any]:
        """The value of each asset that is materialized together with this one, by key.

        They are copies: what a cell changes in them is not kept.
        """
        own = self._preview.values if self._preview else {}
        return {key: _copied(value) for key, value in own.items()}

    @property
    def value(self) -> Any:
        """The value that the asset would have; None if there is none."""
        return self.values.get(self.asset)

    @property
    def difference(self) -> Difference | None:
        """How the value differs from the recorded one; its `reason` says if there is none."""
        return self.differences.get(self.asset)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata of the asset's materialization, without what its IO manager would add."""
        return self._preview.metadata.get(self.asset, {}) if self._preview else {}

    def _display_(self) -> mo.Html:
        import marimo as mo

        found = drawing.checks(self.checks)
        if self.error or not self._preview:
            return mo.Html((drawing.refusal(self.error) if self.error else "") + found)
        shown = self._preview
        part = f" ({shown.partition})" if shown.partition else ""
        memory = f"{self.memory / 1e6:.0f} MB"
        used = f"{format_duration(self.seconds)}, peak memory of the kernel {memory}"
        nothing = "" if shown.values else " It has no output: nothing would be materialized."
        fate = "kept as it is here" if shown.kept else "nothing is stored or recorded"
        text = f"A preview of {self.asset}{part}: {fate}.{nothing}"
        if text in self._drawn:  # the cell runs again with every key that is typed in the controls
            return self._drawn[text]
        parts = [mo.Html(drawing.note(text, used) + found)]
        for key, value in shown.values.items():
            name = f"<div><b>{escape(key)}</b></div>" if len(shown.values) > 1 else ""
            difference = draw(self.differences[key]) if key in self.differences else ""
            metadata = drawing.metadata(shown.metadata.get(key, {}))
            # The difference comes first: marimo cuts long outputs off.
            parts += [mo.Html(name + difference + metadata), mo.as_html(value)]
        self._drawn[text] = mo.vstack(parts)
        return self._drawn[text]


def show(context: Context, controls: object, keys: Sequence[str] = ()) -> Previewed:
    """Execute the asset in this process, and store and record nothing; an error is shown.

    `keys` are columns that identify a row, to compare it with the recorded one.
    """
    try:
        with buttons.busy(f"Previewing {context.what}"):
            return _preview(context, read_options(controls), keys)
    except DagmarError as error:
        return Previewed(context.asset, error)


def _preview(context: Context, options: LaunchOptions, keys: Sequence[str]) -> Previewed:
    from dagmar.orchestration.preview import preview

    if not context.asset:
        raise UsageError(
            "only an asset can be previewed", "Pair a notebook with one of the assets."
        )
    partition = options.require_one("Preview")
    made = preview(context.root, context.asset, partition, options.config)
    error = RunFailed(made.error.text, made.error.trace) if made.error else None
    differences = {} if error else {key: _compared(context, made, key, keys) for key in made.values}
    return Previewed(
        made.asset,
        error,
        made.checks,
        differences,
        made.seconds,
        made.memory,
        made,
        options.tags,
    )


def _compared(context: Context, shown: Preview, key: AssetKey, keys: Sequence[str]) -> Difference:
    """Return how a value differs from the recorded one of the same partition."""
    from dagmar.diff.compare import compare
    from dagmar.diff.model import Difference
    from dagmar.orchestration.values import load_value

    try:
        # Its name may say of which code location.
        name = context.asset if key == shown.asset else key
        recorded = load_value(context.root, name, shown.partition)
    except DagmarError as error:
        return Difference("other", equal=False, reason=error.message)
    return compare(recorded, shown.values[key], keys)


def keep(context: Context, shown: Previewed | None) -> Attempt:
    """Store the value that was previewed and record a run of it; an error is shown."""
    try:
        with buttons.busy(f"Keeping {context.what}"):
            return _keep(context, shown)
    except DagmarError as error:
        return Attempt(error=error)


def _keep(context: Context, shown: Previewed | None) -> Attempt:
    from dagmar.orchestration.preview import keep

    if shown is None or shown._preview is None:
        raise Invalid("there is no preview to keep", "Preview the asset first.")
    buttons.require_local(context)
    earlier = shown._preview.kept
    run = keep(context.root, shown._preview, buttons.tags_here(context, shown._tags))
    done = "was kept already" if earlier else "is kept: its value is the one that was shown"
    return buttons.attempt_here(context, run, f"The preview of {context.what} {done}.")


def _copied(value: Any) -> Any:
    """Return a copy of a value, or the value itself if it cannot be copied."""
    try:
        return copy.deepcopy(value)
    except Exception:  # whatever a user's class raises
        return value
