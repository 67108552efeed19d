"""A clone to release from, and git that knows an author and nobody's settings."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.git import git
from support.template_releases import ROOT, RUNNER, write

sys.path.insert(0, str(ROOT))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A repository with the files that a version needs, and one commit."""
    root = tmp_path / "tiny"
    shutil.copytree(ROOT / "docs/releases", root / "docs/releases")
    shutil.copy2(ROOT / "cliff.toml", root)
    write(root, {f"{RUNNER}/src/dagmar/__init__.py": '"""x"""\n\n__version__ = "0.2.0"\n'})
    write(root, {f"{RUNNER}/pyproject.toml": '[project.urls]\nRepository = "https://x.example"\n'})
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "feat: start")
    return root


@pytest.fixture(scope="session")
def make_clone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that commits this working tree with a public address in a new place."""

    def make(address: str) -> Path:
        path = tmp_path_factory.mktemp("clone") / "dagmar"
        listed = git(ROOT, "ls-files", "-co", "--exclude-standard", "-z").split("\0")
        for name in filter(None, listed):
            if (ROOT / name).exists():  # deleted, and not committed yet
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, path / name)
        project = path / RUNNER / "pyproject.toml"
        text = project.read_text("utf-8")
        assert text.count("https://example.invalid/dagmar") == 1
        project.write_text(text.replace("https://example.invalid/dagmar", address), "utf-8")
        git(path, "init", "-q", "-b", "main")
        git(path, "add", "-A")
        git(path, "commit", "-q", "-m", "feat: start")
        return path

    return make
