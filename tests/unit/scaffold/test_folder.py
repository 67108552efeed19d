"""What the folder of the notebooks gets with the first of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagmar.scaffold.folder import files_for, rules_for
from support.git import git


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository in a folder whose rules must not count."""
    (tmp_path / "ruff.toml").write_text("")
    (tmp_path / "etl").mkdir()
    git(tmp_path / "etl", "init", "-q")
    return tmp_path / "etl"


def names(root: Path, *notebooks: str) -> list[str]:
    return sorted(
        file.name for file in files_for([root / "notebooks" / name for name in notebooks])
    )


def test_the_first_notebooks_bring_rules_and_ignores(root: Path):
    assert names(root, "a.py", "b.py") == [".gitignore", "ruff.toml"]
    assert not (root / "notebooks").exists()


def test_what_is_there_is_never_overwritten(root: Path):
    (root / "notebooks").mkdir()
    (root / "notebooks/.ruff.toml").write_text("")
    (root / "notebooks/.gitignore").write_text("")
    assert names(root, "a.py") == []


def test_a_folder_with_python_files_of_the_team_keeps_its_rules(root: Path):
    (root / "notebooks").mkdir()
    (root / "notebooks/theirs.py").write_text("")
    assert names(root, "a.py") == [".gitignore"]
    (root / ".gitignore").write_text("__marimo__/\n")
    assert names(root, "a.py") == []


@pytest.mark.parametrize(
    ("files", "extends"),
    [
        ({}, None),
        ({"pyproject.toml": "[project]\n"}, None),
        ({"pyproject.toml": "[tool.ruff]\n"}, "../../pyproject.toml"),
        ({"pyproject.toml": "[tool.ruff]\n", "ruff.toml": ""}, "../../ruff.toml"),
        ({"pyproject.toml": "[tool.ruff]\n", "analysis/.ruff.toml": ""}, "../.ruff.toml"),
    ],
)
def test_the_rules_extend_those_that_counted_there(
    root: Path, files: dict[str, str], extends: str | None
):
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    first, *_ = rules_for(root / "analysis/notebooks").splitlines()
    assert first == (f'extend = "{extends}"' if extends else first)
    assert first.startswith("extend") == bool(extends)
