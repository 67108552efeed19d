"""The checks of `invoke doctor`, by subject, in the order of their report."""

from __future__ import annotations

from dagmar.upkeep.checking import Check
from dagmar.upkeep.checks import environment, instance, notebooks, project, server, settings

CHECKS = tuple(
    one
    for subject in (environment, project, settings, instance, server, notebooks)
    for one in vars(subject).values()  # in the order of the file
    if isinstance(one, Check)
)
