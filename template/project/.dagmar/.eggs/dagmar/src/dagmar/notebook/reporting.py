"""Values that a notebook reports: they become metadata of the asset with its export."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dagmar.errors import Invalid
from dagmar.files import encodable

RESERVED = ("report", "notebook", "export")
"""Names that an export uses itself."""
_reported: dict[str, Any] = {}


def report(values: Mapping[str, Any]) -> None:
    """Keep values for the export that runs this notebook; the last one of a name is used.

    Raises Invalid for a value that is not text, a number or a boolean, and for a name in RESERVED.
    """
    for name in RESERVED:
        if name in values:
            message = f"pair.report({name}=…): '{name}' is reserved for exports"
            raise Invalid(message, f"Use another name, such as {name}_value.")
    _reported.update({name: _plain(name, value) for name, value in values.items()})


def take() -> dict[str, Any]:
    """Return what was reported since the last call."""
    taken = dict(_reported)
    _reported.clear()
    return taken


def _plain(name: str, value: Any) -> Any:
    """Return a value as a JSON scalar; numbers of numpy and similar libraries are converted."""
    if isinstance(value, str):
        return encodable(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    item = getattr(value, "item", None)
    if callable(item) and not isinstance(value, float):
        value = item()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, (bool, int)):
        return value
    message = f"pair.report({name}=…) takes text, a number or a boolean, not {type(value).__name__}"
    raise Invalid(message, f"For example: pair.report({name}=len(rows))")
