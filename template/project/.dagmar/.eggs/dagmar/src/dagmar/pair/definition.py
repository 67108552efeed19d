"""What a server has loaded of the paired asset or job, since the page was drawn."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from dagmar.errors import DagmarError, nearest
from dagmar.pair import drawing
from dagmar.pair.context import Context

if TYPE_CHECKING:
    from dagmar.server.catalog import Item
    from dagmar.server.reloading import LoadedLocation, Outline

_WORDS = {
    "groupName": "group", "opVersion": "code version", "isExecutable": "whether it is executable",
    "dependencyKeys": "dependencies", "partitionDefinition": "partitions", "configField": "config",
    "automationCondition": "automation", "backfillPolicy": "backfill policy",
    "metadataEntries": "metadata", "pipelineSnapshotId": "steps or config",
}  # fmt: skip


class Definition:
    """The definition of one pair on its server, since its card was drawn.

    `remark` is HTML that says what has happened to it; `missing` is whether it is not there.
    """

    def __init__(self, context: Context) -> None:
        self.remark, self.missing = "", False
        self._context = context
        self._at: dict[str, float] = {}
        self._first: dict[str, Outline] | None = None

    def look(self) -> bool:
        """Return whether the page is out of date, by the code locations that the server has.

        An outline is read only if one was loaded since the last look. Without an answer nothing
        is out of date.
        """
        from dagmar.server.reloading import loaded_locations, read_outline

        with contextlib.suppress(DagmarError), self._context.client() as client:
            places = loaded_locations(client)
            at = {name: place.at for name, place in places.items()}
            if at == self._at or any(place.loading for place in places.values()):
                return False
            outlines, before = read_outline(client), (self.remark, self.missing)
            self._at = at
            if self._first is None:
                self._first = outlines
                return False
            self._compare(self._first, outlines, places)
            return bool(self._context.select) or before != (self.remark, self.missing)
        return False

    def _compare(
        self,
        first: dict[str, Outline],
        outlines: dict[str, Outline],
        places: dict[str, LoadedLocation],
    ) -> None:
        kind, _, name = self._context.what.partition(" ")
        was, now = self._of(first), self._of(outlines)
        self.remark, self.missing = "", bool(was and not now)
        broken = [place.failure for place in places.values() if place.failure]
        if was and now:
            changed = [_WORDS.get(key, key) for key in was if was[key] != now.get(key)]
            if changed:
                text = f"The {kind} '{name}' has changed: {', '.join(changed)}."
                hint = "Run the cells of the controls and of this card again."
                self.remark = drawing.note(text, hint, "warn")
        elif was and broken:
            text = f"The {kind} '{name}' is gone: its code does not load."
            self.remark = drawing.note(text, kind="warn") + "".join(map(drawing.failure, broken))
        elif was:
            names, before = (
                {key for outline in each.values() for key in outline[f"{kind}s"]}
                for each in (outlines, first)
            )
            added = names - before
            near = nearest(name, added) or (added.pop() if len(added) == 1 else "")
            end = f"; did you mean '{near}'?" if near else "."
            hint = f'In the setup cell: dagmar.Pair({kind}="{near}")' if near else ""
            self.remark = drawing.note(f"The {kind} '{name}' is gone{end}", hint, "warn")

    def _of(self, outlines: dict[str, Outline]) -> Item | None:
        """Return what is known of the pair; None for a selection, and if there is no such thing."""
        kind, _, name = self._context.what.partition(" ")
        for location, outline in outlines.items():
            for key, item in outline.get(f"{kind}s", {}).items():
                inside = name.startswith(f"{key}@") and name.endswith(f"@{location}")
                if name == key or inside:
                    return item
        return None
