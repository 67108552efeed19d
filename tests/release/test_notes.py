"""The changelog: each type of commit has its place, and introductions keep their links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dagmar.errors import SetupError
from support.git import git
from support.template_releases import ROOT

from release import notes, steps

COMMITS = (
    "feat(run): follow a backfill",
    "fix: say what is missing",
    "perf(diff): compare in place",
    "revert: the faster start",
    "docs: show the grid",
    "test: x1", "refactor: x2", "style: x3", "build: x4", "ci: x5", "chore: x6",
    "feat(settings)!: rename poll to poll_seconds",
    "test(run)!: drop the old flag\n\nBREAKING CHANGE: --wait is gone",
)  # fmt: skip
EXPECTED = """
### Breaking changes

- settings: rename poll to poll_seconds
- run: drop the old flag (--wait is gone)

### Added

- run: follow a backfill

### Fixed

- say what is missing

### Faster

- diff: compare in place

### Reverted

- the faster start

### Documentation

- show the grid
"""


def release(root: Path, *subjects: str) -> None:
    """Tag the current commit, and commit the next ones."""
    git(root, "tag", "-a", "v0.2.0", "-m", "x")
    for subject in subjects:
        git(root, "commit", "-q", "--allow-empty", "-m", subject)


def test_each_type_of_commit_has_its_place(tiny: Path) -> None:
    release(tiny, *COMMITS)
    heading, _, rest = notes.write_notes(tiny, "0.3.0", "unreleased").partition("\n")
    assert re.fullmatch(r"## 0\.3\.0 - \d{4}-\d\d-\d\d", heading)
    assert rest == EXPECTED


def test_the_table_of_types_is_the_one_that_git_cliff_reads() -> None:
    table = (
        (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("| type | in the changelog |")[2]
    )
    listed = set(re.findall(r"`(\w+):`", table.partition("| any with")[0]))
    assert listed == {commit.split(":")[0].split("(")[0].rstrip("!") for commit in COMMITS}


@pytest.mark.parametrize("subject", ["fixed the run", "feature: x", "wip"])
def test_a_commit_of_no_type_stops_the_release(tiny: Path, subject: str) -> None:
    release(tiny, subject)
    with pytest.raises(SetupError):
        steps.prepare(tiny, "")


def test_every_commit_since_the_last_release_has_a_type() -> None:
    shallow = git(ROOT, "rev-parse", "--is-shallow-repository").strip() == "true"
    if shallow:
        # A checkout of a pull request is one merge, whose subject nobody wrote.
        pytest.skip("there is no history")
    assert notes.write_notes(ROOT, "99.0.0", "unreleased").startswith("## 99.0.0 - ")


def test_a_release_has_its_introduction_with_links_from_the_top(tiny: Path) -> None:
    steps.prepare(tiny, "")
    text = (tiny / "CHANGELOG.md").read_text("utf-8")
    assert text.startswith("# Changelog\n\nVersions follow")
    assert "\n\nThe first release. It has:\n\n- A Copier template" in text
    assert "](../" not in text
    links = re.findall(r"\]\((docs/[^)#]+)\)", text)
    assert len(links) >= 4
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_earlier_releases_stay_in_the_changelog(tiny: Path) -> None:
    steps.prepare(tiny, "")
    release(tiny, "feat: y")
    before = (tiny / "CHANGELOG.md").read_text("utf-8").partition("\n## 0.2.0")[2]
    steps.prepare(tiny, "")
    text = (tiny / "CHANGELOG.md").read_text("utf-8")
    assert "\n### Added\n\n- y\n\n## 0.2.0 - " in text
    assert text.endswith(before.partition("\n")[2])


def test_the_notes_are_those_of_the_tag_or_of_what_comes_next(tiny: Path) -> None:
    assert steps.read_notes(tiny).startswith("## 0.2.0 - ")
    release(tiny)
    assert steps.read_notes(tiny).startswith("## 0.2.0 - ")
    git(tiny, "commit", "-q", "--allow-empty", "-m", "feat: y")
    assert steps.read_notes(tiny) == "## Unreleased\n\n### Added\n\n- y\n"
