"""A `.copier-answers.yml` that somebody else wrote: reading it runs nothing and follows nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from dagmar.errors import DagmarError, Invalid
from dagmar.project import templates
from dagmar.project.layout import CACHE
from support.git import git

MARKER = "marker-of-a-command"
HOSTILE = {
    "an option of git fetch": "--upload-pack=touch {marker};://x",
    "an option of git clone": "--config=core.fsmonitor=touch {marker}://x",
    "a transport that is a command": "ext::sh -c touch% {marker}% ://x",
    "an option of ssh": "ssh://-oProxyCommand=touch {marker}/x",
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


@pytest.mark.parametrize(
    "commit", ["--output={marker}", "--git-dir", "v1..v2", "$(touch {marker})"]
)
def test_a_version_is_a_revision_and_never_an_option(commit: str, tmp_path: Path) -> None:
    marker = tmp_path / MARKER
    template = tmp_path / "template"
    template.mkdir()
    (template / "copier.yml").touch()
    git(template, "init", "--quiet")
    git(template, "add", "-A")
    git(template, "commit", "--quiet", "-m", "chore: begin")
    root = project(tmp_path / "shop", str(template), commit.replace("{marker}", str(marker)))
    with pytest.raises(DagmarError, match="has no version"):
        templates.open_template(root)
    assert not marker.exists()


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
