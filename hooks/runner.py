"""Loads files of the template as modules: hooks run under Copier's interpreter, without dagmar."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

RUNNER = Path(__file__).parents[1] / "template/project/.dagmar/.eggs/dagmar/src/dagmar"


def load(file: Path) -> ModuleType:
    """Import one file."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # a dataclass looks there
    spec.loader.exec_module(module)
    return module


worktree = load(RUNNER / "project/worktree.py")
