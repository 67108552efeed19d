"""The template's hooks as modules, which Copier runs as scripts in their folder."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from support.template_releases import ROOT


def hook(name: str) -> ModuleType:
    """Import a file of `hooks`, such as `formatting` or `migrations/v0_2_0`."""
    folder, _, module = f"hooks/{name}".rpartition("/")
    paths = [str(ROOT / "hooks"), str(ROOT / folder)]
    sys.path[:0] = paths
    try:
        return importlib.import_module(module)
    finally:
        del sys.path[: len(paths)]
