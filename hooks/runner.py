"""Lets hooks import the runner's room `project`, which needs PyYAML and packaging only.

Hooks run under Copier's interpreter, without dagmar.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

TEMPLATE = Path(__file__).parents[1]
sys.dont_write_bytecode = True  # the template's folder is the user's
sys.path.insert(0, str(TEMPLATE / "template/project/.dagmar/.eggs/dagmar/src"))

from dagmar import errors, files  # noqa: E402
from dagmar.project import installing, layout, locations, templates, worktree  # noqa: E402
from dagmar.project import survey as surveys  # noqa: E402

__all__ = [
    "TEMPLATE",
    "errors",
    "files",
    "installing",
    "layout",
    "load",
    "locations",
    "surveys",
    "templates",
    "worktree",
]


def load(file: Path) -> ModuleType:
    """Import one file."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # a dataclass looks there
    spec.loader.exec_module(module)
    return module
