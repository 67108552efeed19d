"""One place has the version, and a tag that differs from it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagmar.errors import Conflict, DagmarError, Invalid, SetupError
from support.git import git
from support.template_releases import ROOT, RUNNER, write

from release import steps
from release.version import check_version, read_version

REFUSED: dict[str, tuple[list[list[str]], type[DagmarError], str]] = {
    "another tag": ([["tag", "-a", "v0.3.0", "-m", "x"]], Conflict, "is v0.3.0, and __version__"),
    "two tags": (
        [["tag", "-a", "v0.2.0", "-m", "x"], ["tag", "v0.2.1"]],
        Conflict,
        "is v0.2.1, and __version__ is 0.2.0",
    ),
    "no author": ([["tag", "v0.2.0"]], Conflict, "v0.2.0 has no author and no date"),
    "released": (
        [["tag", "v0.2.0"], ["commit", "-q", "--allow-empty", "-m", "fix: x"]],
        Conflict,
        "0.2.0 is released already",
    ),
    "older": (
        [["tag", "v0.10.0"], ["commit", "-q", "--allow-empty", "-m", "fix: x"]],
        Conflict,
        "__version__ is 0.2.0, and 0.10.0 is released",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_tag_that_does_not_fit_the_source_is_refused(tiny: Path, case: str) -> None:
    commands, error, says = REFUSED[case]
    for command in commands:
        git(tiny, *command)
    with pytest.raises(error, match=says):
        check_version(tiny)


@pytest.mark.parametrize("tag", [["v0.1.0"], ["-a", "v0.2.0", "-m", "x"], ["later"], ["vnext"]])
def test_a_new_version_its_own_tag_and_tags_of_nothing_are_fine(tiny: Path, tag: list[str]) -> None:
    git(tiny, "tag", *tag)
    if tag == ["v0.1.0"]:
        git(tiny, "commit", "-q", "--allow-empty", "-m", "fix: x")
    assert check_version(tiny) == "0.2.0"


def test_a_release_is_refused_while_its_address_is_not_known(tiny: Path) -> None:
    text = (ROOT / RUNNER / "pyproject.toml").read_text("utf-8")
    write(tiny, {f"{RUNNER}/pyproject.toml": text})
    with pytest.raises(SetupError, match="public address of this repository is not known"):
        check_version(tiny)


@pytest.mark.parametrize(
    ("commits", "new", "version"),
    [
        ([], "", "0.2.0"),  # the first one
        (["tag", "fix: x", "docs: y"], "", "0.2.1"),
        (["tag", "fix: x", "feat(run): y", "fix: z"], "", "0.3.0"),
        (["tag", "fix!: x"], "", "0.3.0"),
        (["tag", "fix: x"], "1.0.0rc1", "1.0.0rc1"),
    ],
)
def test_the_commits_decide_the_version_unless_it_is_given(
    tiny: Path, commits: list[str], new: str, version: str
) -> None:
    for subject in commits:
        if subject == "tag":
            git(tiny, "tag", "-a", "v0.2.0", "-m", "x")
        else:
            git(tiny, "commit", "-q", "--allow-empty", "-m", subject)
    assert steps.prepare(tiny, new) == version
    assert read_version(tiny) == version
    assert git(tiny, "log", "-1", "--format=%s") == f"chore(release): {version}\n"
    assert git(tiny, "status", "--porcelain") == ""
    assert f"\n## {version} - " in (tiny / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("new", ["v1.0.0", "01.0.0", "next"])
def test_what_is_not_a_version_is_refused_before_anything_is_written(tiny: Path, new: str) -> None:
    with pytest.raises(Invalid):
        steps.prepare(tiny, new)
    assert git(tiny, "status", "--porcelain") == ""


def test_nothing_is_prepared_or_checked_next_to_uncommitted_work(tiny: Path) -> None:
    write(tiny, {"new.txt": "x\n"})
    for step in (lambda: steps.prepare(tiny, ""), lambda: steps.check(tiny)):
        with pytest.raises(Conflict, match=r"new\.txt"):
            step()


@pytest.mark.parametrize("spoilt", ["hand", "commit"])
def test_a_changelog_that_the_commits_do_not_say_is_refused(tiny: Path, spoilt: str) -> None:
    git(tiny, "tag", "-a", "v0.2.0", "-m", "x")
    git(tiny, "commit", "-q", "--allow-empty", "-m", "feat: y")
    steps.prepare(tiny, "")
    if spoilt == "hand":
        text = (tiny / "CHANGELOG.md").read_text("utf-8")
        write(tiny, {"CHANGELOG.md": text.replace("- y\n", "- z\n")})
        git(tiny, "commit", "-q", "-a", "-m", "docs: say it better")
    else:
        git(tiny, "commit", "-q", "--allow-empty", "-m", "fix: z")
    with pytest.raises(Conflict, match=r"CHANGELOG\.md is not what the commits say for 0\.3\.0"):
        steps.check(tiny)
