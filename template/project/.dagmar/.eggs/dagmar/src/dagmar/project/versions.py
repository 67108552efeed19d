"""The versions that dagmar is tested with; its own workflow has a job for each of them."""

from __future__ import annotations

import re

PYTHON = ("3.10", "3.11", "3.12", "3.13", "3.14")
DAGSTER = ("1.10", "1.11", "1.12", "1.13")
MARIMO = ("0.24", "0.25")
OLDEST_MARIMO = "0.24.1"
"""0.24.0 cannot export the layout of a notebook."""


def minor(version: str) -> str:
    """Return the first two numbers of a version: `1.13` for `1.13.27`."""
    return ".".join(re.findall(r"\d+", version)[:2])


def numbers(version: str) -> list[int]:
    """Return the numbers of a version, up to the third: `[1, 13, 27]`."""
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def as_requirement(package: str, tested: tuple[str, ...]) -> str:
    """Return the requirement of the tested versions: `marimo>=0.24,<0.26`."""
    first, last = tested[0], [int(number) for number in tested[-1].split(".")]
    return f"{package}>={first},<{last[0]}.{last[1] + 1}"
