"""Stands in for the runner where a test executes what its templates render."""

from __future__ import annotations

from typing import ClassVar

import marimo as mo
import polars as pl


class Pair:
    """A pair that loads the same table for every key, and launches nothing."""

    def __init__(self, asset: str = "", job: str = "") -> None:
        assert bool(asset) != bool(job)

    def partition_key(self) -> str | None:
        return None

    def materialized(self) -> object:
        return mo.state(0)[0]

    def load(self, key: str, partition: str | None = None, after: object = None) -> pl.DataFrame:
        return pl.DataFrame(
            {"id": range(20), "name": ["x"] * 20, "amount": [i * 2.0 for i in range(20)]}
        )

    def card(self, title: str = "") -> mo.Html:
        return mo.md(title or "card")

    lineage = controls = card

    def history(self) -> mo.Html:
        return mo.md("history")

    def launch_button(self, label: str = "", kind: str = "") -> mo.ui.run_button:
        return mo.ui.run_button()

    def launch(self, controls: object, button: mo.ui.run_button) -> None:
        assert not button.value

    preview = keep = launch

    def validate(self, controls: object) -> None: ...

    def watch(self, run: object) -> mo.Html:
        return mo.md("nothing runs")

    def materialize(self, controls: object, button: mo.ui.run_button, here: bool) -> None:
        assert not button.value

    def export(self) -> mo.Html:
        return mo.Html("")

    def metrics(self, **values: object) -> mo.Html:
        return mo.md(f"{values}")

    def stats(self, since: str, by: str, *, everything: bool) -> Statistics:
        return Statistics()


class Statistics:
    """What `Pair.stats` returns, without a run."""

    rows: ClassVar[list[dict[str, object]]] = [{"name": "x", "runs": 1}]
