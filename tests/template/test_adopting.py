"""A repository of each kind, adopted, used and left as its team would, with its own tools."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from dagmar.upkeep import leave
from support.git import commit, git
from support.project import Project
from support.repositories import REPOSITORIES, ROWS, Adopted
from support.template_releases import Template, write

IN_CI = ("two locations", "one file")


@pytest.fixture(scope="module")
def twice(released: Template, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The template in two versions."""
    path = tmp_path_factory.mktemp("twice") / "template"
    template = Template(Path(shutil.copytree(released.path, path)))
    template.release("v1.1.0", files={"template/project/.dagmar/notes.md": "Newer.\n"})
    return template


@pytest.mark.parametrize("layout", IN_CI)
def test_a_repository_is_adopted_and_left_without_installing_anything(
    layout: str, small: Template, nobody: str, tmp_path: Path
) -> None:
    root = tmp_path / "repo"
    write(root, REPOSITORIES[layout].files)
    git(root, "init", "-q", "-b", "main")
    commit(root)
    small.copy(root, skip_tasks=False, unsafe=True, vcs_ref="v1.0.0")
    assert git(root, "diff", "--name-only") == ""
    settings = (root / "dagmar.yaml").read_text("utf-8")
    write(root, {"dagmar.yaml": settings.replace("{}", f"{{url: '{nobody}'}}", 1)})
    commit(root)
    done = Project(root).invoke("scaffold", "--asset", "orders_total")
    assert done.returncode == 0, done.stderr
    assert 'pair.load("orders")' in (root / "notebooks/orders_total.py").read_text("utf-8")
    commit(root)
    leave.leave(root, root / "notebooks", yes=True)
    git(root, "add", "-A")
    changed = git(root, "diff", "--cached", "--name-only", "HEAD~2")
    assert {name.split("/")[0] for name in changed.split()} == {"notebooks"}


@pytest.mark.nightly
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


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_an_adoption_that_installs_tries_what_has_to_work(twice: Template, tmp_path: Path) -> None:
    repository = Adopted("uv workspace member", tmp_path / "repo", twice)
    repository.make()
    said = repository.copy("-d install=true")
    for what in ("the definitions load", "`invoke dev` starts", "a production install works"):
        assert f"ok: {what}" in said
    write(repository.root, {"etl.py": "raise ValueError('broken')\n"})
    said = repository.copy("-d install=true")
    assert "error: tried whether the definitions load, and they do not load" in said
    assert "ValueError: broken" in said
    assert "To try again, type: uv run " in said
    assert "ok: a production install works" in said
