"""The template's hooks as modules, which Copier runs as scripts in their folder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from support.template_releases import ROOT


def hook(name: str, root: Path = ROOT) -> ModuleType:
    """Import a file of `hooks`, such as `formatting` or `migrations/v0_2_0`.

    Hooks put the runner of their template first on the path: that must not last.
    """
    folder, _, module = f"hooks/{name}".rpartition("/")
    path, without_bytecode = [*sys.path], sys.dont_write_bytecode
    sys.path[:0] = [str(root / "hooks"), str(root / folder)]
    try:
        return importlib.import_module(module)
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = without_bytecode
