"""Which lines of a run's log are worth telling, in a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of Dagster's own events those that say how far it is; errors are told whatever they are.
TOLD = {
    "STEP_START",
    "STEP_SUCCESS",
    "STEP_SKIPPED",
    "STEP_FAILURE",
    "STEP_UP_FOR_RETRY",
    "STEP_RESTARTED",
    "ASSET_MATERIALIZATION",
    "ASSET_OBSERVATION",
    "ASSET_CHECK_EVALUATION",
}
LOUD = ("WARNING", "ERROR", "CRITICAL")


def is_told(event: Mapping[str, Any]) -> bool:
    """Whether an event is a step, an asset, what the user's code says, or trouble."""
    kind, level = event.get("eventType"), event.get("level")
    # What the user's code logs is no event of Dagster's, and has no type.
    said = kind is None and level != "DEBUG"
    return bool(event.get("message")) and (said or kind in TOLD or level in LOUD)
