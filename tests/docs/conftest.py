"""What the tests of the documentation share: its generator, and its pages."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from support.git import GIT_ENVIRON
from support.terminal import Terminal

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def generate() -> ModuleType:
    """`docs/generate.py`, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who has uv and git, and nothing of this repository's."""
    mine = ("VIRTUAL_ENV", "UV_PROJECT", "PYTHONPATH", "PYTEST_", "DAGMAR_", "DAGSTER_", "GIT_")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(mine)}
    settings = tmp_path_factory.mktemp("settings")
    (settings / "copier.yml").write_text("{}\n")
    kept |= {
        "COPIER_SETTINGS_PATH": str(settings / "copier.yml"),
        "XDG_CONFIG_HOME": str(settings),
        **GIT_ENVIRON,
    }
    path = [part for part in kept["PATH"].split(os.pathsep) if not part.startswith(str(ROOT))]
    return {**kept, "PATH": os.pathsep.join(path)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Path:
    """A clone of this repository as the working tree stands, everything committed."""
    path = tmp_path_factory.mktemp("clone") / "dagmar"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():  # deleted, and not committed yet
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    Terminal(path, environ).type("git init -q -b main && git add -A && git commit -q -m x")
    return path
