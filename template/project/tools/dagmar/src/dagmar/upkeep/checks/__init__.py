"""The checks of `invoke doctor`, by subject, in the order of their report."""

from __future__ import annotations

from dagmar.upkeep.checking import Check
from dagmar.upkeep.checks import environment, instance, notebooks, project, server, settings

CHECKS: tuple[Check, ...] = (
    *environment.CHECKS,
    *project.CHECKS,
    *settings.CHECKS,
    *instance.CHECKS,
    *server.CHECKS,
    *notebooks.CHECKS,
)
