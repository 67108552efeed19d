"""A repository of each kind, adopted, used and left as its team would, with its own tools."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from support.git import git
from support.repositories import REPOSITORIES, ROWS, Adopted
from support.template_releases import Template

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def twice(released: Template, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The template in two versions."""
    path = tmp_path_factory.mktemp("twice") / "template"
    template = Template(Path(shutil.copytree(released.path, path)))
    template.release("v1.1.0", files={"template/project/.dagmar/notes.md": "Newer.\n"})
    return template


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("layout", REPOSITORIES)
def test_a_repository_is_adopted_used_and_left(
    layout: str, twice: Template, tmp_path: Path
) -> None:
    repository = Adopted(layout, tmp_path / "repo", twice)
    repository.make()
    before = git(repository.top, "rev-parse", "HEAD").strip()
    row = {
        "made by": repository.layout.made_by,
        "commands": repository.adopt(),
        "not fine": repository.live(),
        "left behind": repository.leave(before).split(),
    }
    known = json.loads(ROWS.read_text("utf-8"))
    if os.environ.get("WRITE_ROWS"):
        ROWS.write_text(json.dumps({**known, layout: row}, indent=1) + "\n", "utf-8")
    assert row == known.get(layout, {**row, "not fine": {}, "left behind": []})
