"""A tag is refused unless projects of every release, with edits, become those of the new one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from dagmar.errors import Conflict
from support.git import commit, git
from support.template_releases import RUNNER

from release import updates
from release.version import write_version

IGNORE = "template/project/.dagmar/.gitignore"
CONSOLE = f"{RUNNER}/src/dagmar/console.py"


@pytest.fixture(scope="module")
def original(make_clone: Callable[[str], Path]) -> Path:
    """A repository with the releases 0.2.0 and 0.3.0, and the next version not tagged yet."""
    path = make_clone("https://example.com/dagmar")
    for tag in ("v0.2.0", "v0.3.0"):
        write_version(path, tag.removeprefix("v"))
        commit(path)
        git(path, "tag", "-a", tag, "-m", "x")
        (path / IGNORE).write_text((path / IGNORE).read_text("utf-8") + f"/{tag}/\n", "utf-8")
        commit(path)
    write_version(path, "0.4.0")
    commit(path)
    return path


@pytest.mark.nightly
def test_projects_of_every_release_are_updated_and_one_of_this_to_the_next(
    original: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    updates.check_updates(original, "0.4.0", tmp_path, said.append)
    ways = ("0.2.0 → 0.4.0", "0.3.0 → 0.4.0", "0.4.0 → a next version")
    kinds = ("new", "adopted", "new package", "adopted package")
    assert sorted(said) == sorted(f"{way}, {kind} project" for way in ways for kind in kinds)
    assert git(original, "tag").split() == ["v0.2.0", "v0.3.0"]


KEPT = "{% if _copier_operation == 'update' %}\n    /dagmar.yaml"
REFUSED = {
    # One line that somebody has edited is changed upstream as well.
    "a conflict": (
        "new",
        CONSOLE,
        f"{updates.FUTURE}\n",
        f"{updates.FUTURE}\nTHEIRS = 2\n",
        r"conflicts in \['.*console\.py'\]",
    ),
    # A file that new projects have does not arrive in old ones.
    "a file that does not arrive": (
        "new",
        "copier.yml",
        KEPT,
        KEPT.replace("/dagmar", ".pre-commit-config.yaml\n    /dagmar"),
        r"differs from one of 0\.4\.0, with the same edits, in:\n  \.pre-commit-config\.yaml\n$",
    ),
    # The package that was installed before stays the one to install.
    "an earlier package": (
        "new package",
        "copier.yml",
        KEPT,
        KEPT.replace("/dagmar", "pyproject.toml\n    /dagmar"),
        r"differs from one of 0\.4\.0, with the same edits, in:\n  pyproject\.toml\n$",
    ),
}


@pytest.mark.parametrize(
    "case",
    [
        "an earlier package",
        pytest.param("a file that does not arrive", marks=pytest.mark.nightly),
        pytest.param("a conflict", marks=pytest.mark.nightly),
    ],
)
def test_a_release_that_would_lose_or_leave_out_something_is_refused(
    original: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "dagmar"
    git(tmp_path, "clone", "-q", "--no-hardlinks", str(original), str(root))
    git(root, "tag", "--delete", "v0.3.0")
    only, name, old, new, says = REFUSED[case]
    kinds = [kind for kind in updates.KINDS if kind.name == only]  # each takes as long again
    monkeypatch.setattr(updates, "KINDS", kinds)
    text = (root / name).read_text("utf-8")
    assert old in text
    changed = root / "template/project/.pre-commit-config.yaml"
    changed.write_text(changed.read_text("utf-8") + "# newer\n", "utf-8")
    (root / name).write_text(text.replace(old, new), "utf-8")
    commit(root)
    (tmp_path / "scratch").mkdir()
    with pytest.raises(Conflict) as refused:
        updates.check_updates(root, "0.4.0", tmp_path / "scratch", lambda _: None)
    assert re.search(says, refused.value.message), refused.value.message
