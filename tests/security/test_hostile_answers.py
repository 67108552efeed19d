"""A `.copier-answers.yml` that somebody else wrote: reading it runs nothing and follows nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from dagmar.errors import Conflict, DagmarError, Invalid, SetupError
from dagmar.project import templates
from dagmar.project.layout import CACHE, NOTEBOOK_ANSWERS
from dagmar.project.settings import load
from dagmar.upkeep import update
from support.git import git

MARKER = "marker-of-a-command"
HOSTILE = {
    "an option of git fetch": "--upload-pack=touch {marker};://x",
    "an option of git clone": "--config=core.fsmonitor=touch {marker}://x",
    "a transport that is a command": "ext::sh -c touch% {marker}% ://x",
    "an option of ssh": "ssh://-oProxyCommand=touch {marker}/x",
    "the home of nobody": "~nobody-of-this-name/template",
    "an option of ssh, in short": "-oProxyCommand=touch@host:{marker}",
}


def project(root: Path, source: str, commit: str) -> Path:
    """Write a project with these answers."""
    root.mkdir()
    (root / "dagmar.yaml").touch()
    answers = f"_src_path: {source!r}\n_commit: {commit!r}\n"
    (root / templates.ANSWERS).write_text(answers)
    return root


@pytest.mark.parametrize("cloned", [False, True], ids=["at first", "with a clone in the cache"])
@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_a_source_is_an_address_and_never_an_option_or_a_command(
    source: str, cloned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    marker = tmp_path / MARKER
    source = source.replace("{marker}", str(marker))
    root = project(tmp_path / "shop", source, "v1.0.0")
    if cloned:
        mark = hashlib.sha256(templates.masked(source).encode()).hexdigest()[:12]
        git(tmp_path, "init", "--quiet", "--bare", str(root / CACHE / f"template-{mark}.git"))
    with pytest.raises(DagmarError):
        templates.open_template(root)
    assert not marker.exists()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A template with the version v1.0.0."""
    folder = tmp_path / "template"
    folder.mkdir()
    (folder / "copier.yml").touch()
    git(folder, "init", "--quiet")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "chore: begin")
    git(folder, "tag", "v1.0.0")
    return folder


versions = pytest.mark.parametrize(
    "commit", ["--output={marker}", "--git-dir", "v1..v2", "$(touch {marker})", "v9.9.9"]
)


@versions
def test_a_version_is_a_revision_and_never_an_option(
    commit: str, template: Path, tmp_path: Path
) -> None:
    marker = tmp_path / MARKER
    root = project(tmp_path / "shop", str(template), commit.replace("{marker}", str(marker)))
    with pytest.raises(DagmarError, match="has no version"):
        templates.open_template(root)
    assert not marker.exists()


@versions
def test_the_version_of_a_notebook_is_one_that_the_template_has(
    commit: str, template: Path, tmp_path: Path
) -> None:
    marker = tmp_path / MARKER
    commit = commit.replace("{marker}", str(marker))
    root = project(tmp_path / "shop", str(template), "v1.0.0")
    answers = root / NOTEBOOK_ANSWERS / "orders.yml"
    answers.parent.mkdir(parents=True)
    answers.write_text(
        f"_src_path: {str(template)!r}\n_commit: {commit!r}\nnotebooks: [{{name: orders}}]\n"
    )
    (root / "notebooks").mkdir()
    (root / "notebooks/orders.py").touch()
    with pytest.raises(SetupError, match="notebook orders was generated from") as caught:
        update.look(root)
    assert commit in caught.value.message
    assert ".dagmar/notebooks/orders.yml" in caught.value.hint
    assert not marker.exists()
    answers.unlink()  # as the hint says
    assert not update.look(root).available


@pytest.mark.parametrize("linked", [templates.ANSWERS, f"{NOTEBOOK_ANSWERS.as_posix()}/a.yml"])
def test_answers_behind_a_link_are_not_updated(linked: str, template: Path, tmp_path: Path) -> None:
    root = project(tmp_path / "shop", str(template), "v1.0.0")
    (root / NOTEBOOK_ANSWERS).mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere.yml"
    elsewhere.write_text((root / templates.ANSWERS).read_text())
    (root / linked).unlink(missing_ok=True)
    (root / linked).symlink_to(elsewhere)
    with pytest.raises(Conflict) as error:
        update.look(root)
    assert error.value.message == f"{linked} is a link"


@pytest.mark.parametrize(
    "text",
    [
        "_src_path: !include /etc/passwd\n",
        "_src_path: !!python/object/apply:os.system ['touch {marker}']\n",
        "- _src_path\n",
        "_src_path: [a]\n",
    ],
)
def test_answers_are_plain_values(text: str, tmp_path: Path) -> None:
    marker = tmp_path / MARKER
    (tmp_path / templates.ANSWERS).write_text(text.replace("{marker}", str(marker)))
    with pytest.raises(Invalid) as caught:
        templates.read_answers(tmp_path / templates.ANSWERS)
    assert not marker.exists()
    assert "root:" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "notebooks: !include /etc/passwd\n",
        "notebooks: !!python/object/apply:os.system ['touch {marker}']\n",
        "!!python/object/apply:os.system ['touch {marker}']\n",
    ],
)
def test_settings_are_plain_values(text: str, tmp_path: Path) -> None:
    marker = tmp_path / MARKER
    (tmp_path / "dagmar.yaml").write_text(text.replace("{marker}", str(marker)))
    with pytest.raises(Invalid) as caught:
        load(tmp_path, {}, tmp_path)
    assert not marker.exists()
    assert "root:" not in str(caught.value)
