"""`pair.stats()`: the server's history in numbers, as `invoke stats` has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dagmar.errors import DagmarError
from dagmar.pair import drawing
from dagmar.pair.context import Context


@dataclass(frozen=True)
class Statistics:
    """The numbers of a window and of the one before; a cell that ends with it shows them.

    `document` is what `invoke stats --json` prints, without rows if `error` says why there is none.
    """

    document: Mapping[str, Any] = field(default_factory=dict)
    error: DagmarError | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A flat row for each asset, job or other name, for a table or a data frame.

        `median_s` is a number of the window, `median_s before` that of the window before.
        """
        rows = []
        for row in self.document.get("rows", ()):
            flat = {"name": row["name"]}
            for field_name, value in row.items():
                if isinstance(value, Mapping) and value.keys() == {"now", "before"}:
                    flat[field_name] = value["now"]
                    flat[f"{field_name} before"] = value["before"]
            rows.append(flat)
        return rows

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The failures of the window, grouped by cause."""
        return [*self.document.get("failures", ())]

    @property
    def slowdowns(self) -> list[dict[str, Any]]:
        """What became slower, since which run, and what changed with it."""
        return [*self.document.get("slowdowns", ())]

    def _repr_html_(self) -> str:
        if self.error:
            return drawing.refusal(self.error, "the statistics")
        from dagmar.stats.page import fragment

        return fragment(self.document)


def read(context: Context, since: str, by: str, everything: bool) -> Statistics:
    """Return the statistics of the server, or of what is paired alone."""
    from dagmar.stats.scope import Scope
    from dagmar.stats.stats import StatsRequest, read_stats

    assets = () if everything or not context.asset else (context.asset,)
    jobs = () if everything or not context.job else (context.job,)
    scope = Scope(assets, "" if everything else context.select)
    try:
        request = StatsRequest(since=since, by=by, scope=scope, jobs=jobs, whole=True)
        with context.client() as client:
            return Statistics(read_stats(context.settings, client, request).as_document())
    except DagmarError as error:
        return Statistics(error=error)
