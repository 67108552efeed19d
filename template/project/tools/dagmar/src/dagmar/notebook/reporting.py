"""Numbers that a notebook reports: they go onto the asset with its export."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dagmar.errors import Invalid

RESERVED = ("report", "notebook", "export")
"""What an export says of itself beside the numbers."""
_reported: dict[str, Any] = {}


def report(values: Mapping[str, Any]) -> None:
    """Keep values for whoever runs this notebook. Later ones of the same name win.

    Raises Invalid for what is neither text, number nor truth value, and for a name that an export
    uses itself.
    """
    for name in RESERVED:
        if name in values:
            raise Invalid(
                f"pair.report({name}=…) cannot be: the link to the page is told under that name"
                if name == RESERVED[0]
                else f"pair.report({name}=…) cannot be: an export tells its own under that name",
                f"Use another name, such as {name}_value.",
            )
    _reported.update({name: _plain(name, value) for name, value in values.items()})


def take() -> dict[str, Any]:
    """Return what was reported since the last call."""
    taken = dict(_reported)
    _reported.clear()
    return taken


def _plain(name: str, value: Any) -> Any:
    """Return a value as JSON knows it; numbers of numpy and its like are numbers."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    item = getattr(value, "item", None)
    if callable(item) and not isinstance(value, float):
        value = item()
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return str(value)
    if isinstance(value, (bool, int, str)):
        return value
    raise Invalid(
        f"pair.report({name}=…) takes text, a number or a truth value, not {type(value).__name__}",
        f"For example: pair.report({name}=len(rows))",
    )
