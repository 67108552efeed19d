"""Updates of projects with random edits: nothing that somebody typed is lost, nothing else moves.

A seed chooses the edits, so a failure can be repeated: `EDITS_SEED=17 EDITS_CASES=1`. There are
two cases, and a hundred in the nightly profile; `pytest -n 0 -s` prints the account.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import random
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.git import git
from support.hooks import hook
from support.random_edits import LEFT_ALONE, Edits, state
from support.shop_project import invoke
from support.template_releases import (
    COPIED,
    NOTEBOOK_FILE,
    ORDERS,
    RUNNER,
    SALES,
    Project,
    Template,
)

formatting = hook("formatting")
VERSIONS = ("v1.0.0", "v1.1.0", "v1.2.0")
MINIMAL = [
    one | {"template": "minimal", "folder": "notebooks", "materializable": True}
    for one in (ORDERS, SALES)
]
State = dict[str, tuple[bytes, bool]]


@dataclass
class Releases:
    """A template with three versions, and a project without edits on each of them."""

    template: Template
    projects: dict[str, Project]
    states: dict[str, State]


@dataclass
class Account:
    """What was done and checked."""

    updates: int = 0
    conflicts: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows = [("updates", self.updates), ("with conflicts", self.conflicts)]
        rows += [*sorted(self.kinds.items()), *sorted(self.counts.items())]
        return "\n".join([*(f"{name:32}{number:6}" for name, number in rows), *self.faults])


def edited(template: Template, name: str, mark: str) -> tuple[str, str]:
    """Return an edit of the template: a comment before the last definition of a module."""
    lines = (template.path / name).read_text("utf-8").splitlines(keepends=True)
    place = max(n for n, line in enumerate(lines) if line.startswith(("def ", "class ", "@")))
    while lines[place - 1].startswith("@"):
        place -= 1
    old = "".join(lines[place - 1 :])
    return old, f"\n# Upstream: {mark}.\n" + "".join(lines[place:])


@pytest.fixture(scope="module")
def releases(small: Template, tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Three versions which change files everywhere, add some, and remove one."""
    tmp = tmp_path_factory.mktemp("releases")
    template = Template(shutil.copytree(small.path, tmp / "template"))
    project = template.project(tmp / "v1.0.0")
    project.scaffold(*MINIMAL)
    project.commit()
    modules = sorted(
        name
        for name in git(template.path, "ls-files", f"{RUNNER}/src/dagmar").splitlines()
        if name.endswith(".py") and "\ndef " in (template.path / name).read_text("utf-8")
    )
    released = [("v1.1.0", "width=", "app_title='x', width="), ("v1.2.0", "'x'", "'y'")]
    projects = {"v1.0.0": project}
    for number, (tag, old, new) in enumerate(released):
        edits = {name: edited(template, name, tag) for name in modules[number::2]}
        edits[NOTEBOOK_FILE] = (old, new)
        edits["template/project/.gitignore"] = ("\n", f"\n# {tag}\n")
        readme = f"{RUNNER}/README.md"
        files = {
            readme: (template.path / readme).read_text("utf-8") + f"\nNew in {tag}.\n",
            f"{RUNNER}/src/dagmar/added_{number}.py": f'"""New in {tag}."""\n',
            "template/project/.github/workflows/ci.yml": f"# {tag}\n"
            + (template.path / "template/project/.github/workflows/ci.yml").read_text("utf-8"),
            "template/project/notebooks/README.md": f"# {tag}\n\nNotebooks.\n",
        }
        removed = f"{RUNNER}/src/dagmar/added_0.py" if number else ""
        edits = {name: edit for name, edit in edits.items() if name != removed}
        template.release(tag, edits, files, removed)
        before = projects[VERSIONS[number]].path
        project = Project(shutil.copytree(before, tmp / tag, symlinks=True), template)
        done = invoke(project, "update", "--to", tag)
        assert done.returncode == 0, done.stderr
        project.commit()
        projects[tag] = project
    states = {tag: state(project.path) for tag, project in projects.items()}
    return Releases(template, projects, states)


def case(releases: Releases, seed: int, folder: Path, account: Account) -> None:
    """Edit a project and update it, twice; note what an update lost or changed."""
    origin = releases.projects["v1.0.0"].path
    git(folder.parent, "clone", "-q", str(origin), str(folder))
    project = Project(folder, releases.template)
    edits = Edits(folder, random.Random(seed))
    for old, new in itertools.pairwise(VERSIONS):
        edits.make(edits.random.randint(1, 8))
        before = state(folder)
        done = invoke(project, "update", "--to", new, "--json")
        if done.returncode not in (0, 8) or not done.stdout:
            account.faults.append(f"seed {seed}, {new}: status {done.returncode}: {done.stderr}")
            return
        conflicts = set(json.loads(done.stdout)["conflicts"])
        account.updates += 1
        account.conflicts += bool(conflicts)
        after = state(folder)
        for fault in compare(
            edits, before, after, releases.states[old], releases.states[new], conflicts, account
        ):
            account.faults.append(f"seed {seed}, {new}: {fault}")
        if not conflicts:
            listed = invoke(project, "--list")
            account.counts["invoke --list"] += 1
            if listed.returncode or "  dev" not in listed.stdout:
                account.faults.append(f"seed {seed}, {new}: --list: {listed.stderr}")
        resolve(folder, conflicts)
        edits.gone |= {name for name in edits.marks if not (folder / name).exists()}
    account.kinds += edits.kinds


def resolve(root: Path, conflicts: set[str]) -> None:
    """Resolve conflicts as somebody who wants both sides: only the markers go."""
    for name in conflicts:
        if (root / name).is_file():
            lines = (root / name).read_bytes().splitlines(keepends=True)
            marks = (b"<<<<<<< ", b"=======", b">>>>>>> ", b"||||||| ")
            kept = [line for line in lines if not line.startswith(marks)]
            (root / name).write_bytes(b"".join(kept))
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", "resolve")


def compare(
    edits: Edits,
    before: State,
    after: State,
    old: State,
    new: State,
    conflicts: set[str],
    account: Account,
) -> list[str]:
    """Return what an update lost, or changed without a reason."""
    faults = []
    for name in sorted({*before, *after, *old, *new}):
        if name.startswith(LEFT_ALONE):
            continue
        mine, now, was, will = (each.get(name) for each in (before, after, old, new))
        if was == will:
            account.counts["files that must stay as they are"] += 1
            if now != mine and not _laid_out(name, was, mine, now):
                faults.append(f"{name} was changed, and not by upstream{_diff(mine, now)}")
        elif mine == was:
            account.counts["files that upstream alone changed"] += 1
            if now != will:
                faults.append(f"{name} is not as upstream has it{_diff(will, now)}")
        elif mine is None:
            account.counts["deleted files that upstream changed"] += 1
            if now is not None:
                faults.append(f"{name} was deleted, and is back")
        else:
            account.counts["files that both changed"] += 1
            faults += _merged(edits, name, mine, now, will, name in conflicts)
    for name, marks in edits.marks.items():
        text = after.get(name, (b"", False))[0].decode()
        account.counts["typed lines"] += len(marks)
        faults += [f"{name} lost '{mark}'" for mark in marks if mark not in text]
    return faults


def _laid_out(name: str, *versions: tuple[bytes, bool] | None) -> bool:
    """Whether versions of a file of the runner differ in their layout alone, which is upstream's.

    The first is upstream's.
    """
    if not name.startswith(COPIED) or None in versions:
        return False
    texts = [version[0].decode() for version in versions if version]
    modes = {version[1] for version in versions[1:] if version}
    undone = {formatting.undo_formatting(name, texts[0], text) for text in texts[1:]}
    return len(undone) == len(modes) == 1


def _merged(
    edits: Edits,
    name: str,
    mine: tuple[bytes, bool],
    now: tuple[bytes, bool] | None,
    will: tuple[bytes, bool] | None,
    conflict: bool,
) -> list[str]:
    """Return what is wrong with a file that both changed."""
    if now is None:
        # Upstream removed it. What somebody typed there must be kept, but not formatting.
        return [f"{name} was removed, with edits"] if edits.marks.get(name) else []
    faults = []
    if mine[1] and not now[1]:
        faults.append(f"{name} is not executable any more")
    if will:
        lines = now[0].decode().splitlines()
        missing = [
            line for line in will[0].decode().splitlines()
            if line.lower().startswith(("# upstream", "# v1", "new in")) and line not in lines
        ]  # fmt: skip
        faults += [f"{name} lacks upstream's '{line}'" for line in missing]
    if b"<<<<<<< " in now[0] and not conflict:
        faults.append(f"{name} has marks of a conflict, and is not listed")
    if name.endswith(".py") and b"<<<<<<< " not in now[0]:
        try:
            ast.parse(now[0])
        except SyntaxError as error:
            faults.append(f"{name} is not Python any more: {error}")
    return faults


def _diff(expected: tuple[bytes, bool] | None, now: tuple[bytes, bool] | None) -> str:
    if expected is None or now is None:
        return f": {'absent' if expected is None else 'present'} before"
    if expected[0] == now[0]:
        return ": its mode"
    lines, ends = ([text[0].count(end) for text in (expected, now)] for end in (b"\n", b"\r"))
    return f": {lines[1] - lines[0]} lines and {ends[1] - ends[0]} CR more"


def check(releases: Releases, folder: Path, first: int, count: int) -> None:
    account = Account()
    for seed in range(first, first + count):
        case(releases, seed, folder / f"case-{seed}", account)
        print(f"\nseed {seed}\n{account}", flush=True)
        if f"seed {seed}," not in "\n".join(account.faults):
            shutil.rmtree(folder / f"case-{seed}")
    assert not account.faults, f"\n{account}"
    assert account.updates == 2 * count
    assert account.counts["typed lines"] > 0


@pytest.mark.parametrize("cases", [2, pytest.param(100, marks=pytest.mark.nightly)])
def test_updates_keep_the_edits_of_projects(releases: Releases, tmp_path: Path, cases: int) -> None:
    first = int(os.environ.get("EDITS_SEED", "0"))
    check(releases, tmp_path, first, int(os.environ.get("EDITS_CASES", cases)))
