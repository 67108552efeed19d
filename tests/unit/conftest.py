"""Fixtures: a project in which every check of `invoke doctor` is content."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagmar.notebook import reporting
from dagmar.orchestration.probe import Broken
from dagmar.upkeep.checking import Project
from support.healthy_project import make_sound

_KEPT: set[str] = set()
"""The names of modules that are of no project: to look at thousands for each test takes long."""


@pytest.fixture(autouse=True)
def _no_other_projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget the projects of other tests, which loading puts on the import path."""
    base = f"{tmp_path_factory.getbasetemp()}{os.sep}"
    _forget_projects(base)
    yield
    _forget_projects(base)


def _forget_projects(base: str) -> None:
    sys.path[:] = [place for place in sys.path if not place.startswith(base)]
    new = sys.modules.keys() - _KEPT
    tops = {name: vars(sys.modules[name]) for name in new if "." not in name}
    gone = {
        name
        for name, known in tops.items()
        if any(
            str(at).startswith(base) for at in (known.get("__file__"), *known.get("__path__", ()))
        )
    }
    for name in [name for name in new if name.partition(".")[0] in gone]:
        del sys.modules[name]
    _KEPT.update(sys.modules)


@pytest.fixture(autouse=True)
def _nothing_reported_before() -> None:
    """Forget what another test's notebook reported: a process is one notebook's otherwise."""
    reporting.take()


@pytest.fixture(scope="session")
def _sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound") / "shop"
    make_sound(root, tmp_path_factory.mktemp("template"))
    return root


@pytest.fixture
def sound(_sound: Path, tmp_path: Path) -> Project:
    """The project, with an environment that holds nothing of the machine's."""
    root = Path(shutil.copytree(_sound, tmp_path / "shop"))
    scripts = str(Path(sys.executable).parent)
    path = os.pathsep.join([scripts, os.environ["PATH"]])
    home = tmp_path / "home"
    home.mkdir()
    environ = {"PATH": path, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    # The process that loads definitions takes seconds; test_probe.py is about it.
    return Project(root, environ, find_broken=lambda *_: Broken({}))
