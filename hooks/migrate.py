"""Protects files that git has no copy of, and runs migrations; see migrations/README.md.

Copier calls this twice in each `copier update`, in the project and under its own interpreter: in
the stage `before` the files are still those of the old version, in the stage `after` the update is
merged. The project and its notebooks have their own answers files and can be updated separately, so
a migration names the kind that it is for; `invoke update` updates everything at once, and runs all
of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import yaml  # Copier depends on both, so its interpreter has them
from in_the_way import list_in_the_way, list_rejected
from packaging.version import Version
from runner import load, templates, worktree
from runner_files import (
    list_edits,
    merge_back,
    remove_rest,
    say_what_to_install,
    set_aside,
)

TEMPLATE = Path(__file__).parents[1]
FOLDER = "hooks/migrations"


def version_of(script: Path) -> Version:
    """Return the version in a file name: v1_2_0.py is 1.2.0."""
    return Version(script.stem.replace("_", "."))


def due(old: str) -> list[Path]:
    """List the scripts that the old version of the template does not have, oldest first.

    Between untagged commits, too, where there are no versions to compare.
    """
    listed = worktree.run_git(TEMPLATE, "ls-tree", "-z", "--name-only", old, f"{FOLDER}/")
    known = {Path(name).name for name in worktree.entries(listed)}
    scripts = sorted((TEMPLATE / FOLDER).glob("v*.py"), key=version_of)
    return [script for script in scripts if script.name not in known]


def protect(root: Path, answers_file: Path, wanted: str) -> int:
    """Report files that the update would overwrite, and edits that it would lose.

    Returns 0, or the exit status with which it must not start.
    """
    old = os.environ["VERSION_FROM"]
    found = list_in_the_way(root, answers_file, old, runner=wanted)
    if found:
        print(
            "These are in the way of the update, and git has no copy of them:\n"
            + "".join(f"  {name}\n" for name in found)
            + "Move them away, or commit them; `git add --force` takes a file that git ignores.",
            file=sys.stderr,
        )
        return templates.IN_THE_WAY
    moves = wanted == templates.PACKAGE != runner_before(root, answers_file)
    if moves and (edits := list_edits(root, old)):
        print(
            "You changed or added these files of the runner:\n"
            + "".join(f"  {name}\n" for name in edits),
            end="",
            file=sys.stderr,
        )
        return templates.EDITED
    return 0


def runner_before(root: Path, answers_file: Path) -> str:
    """Return whether the project had a copy or the package in its last commit."""
    for name in (answers_file.as_posix(), templates.ANSWERS):
        done = worktree.run_git(root, "cat-file", "blob", f"HEAD:./{name}")
        if not done.returncode:
            return templates.runner_of(yaml.safe_load(done.stdout))
    return templates.COPY


def update_runner(root: Path, answers_file: Path, stage: str, wanted: str) -> None:
    """Do this stage's part for a copy of the runner, and say what to install."""
    old, before = os.environ["VERSION_FROM"], runner_before(root, answers_file)
    after = wanted if wanted in templates.RUNNERS else before
    if before == templates.COPY:
        ways = {"before": set_aside, "after": merge_back if after == before else remove_rest}
        ways[stage](root, old)
    if stage == "after" and (after != before or after == templates.PACKAGE):
        adopted = yaml.safe_load(answers_file.read_text("utf-8")).get("adopt", False)
        say_what_to_install(root, adopted, after != before)


def report_rejected(root: Path) -> None:
    """Name the changes that Copier could not merge, and that git did not show it."""
    if found := list_rejected(root):
        print(
            "These changes could not be merged, and are left to you:\n"
            + "".join(f"  {name}\n" for name in found),
            end="",
            file=sys.stderr,
        )


def main(answers_file: Path, wanted: str) -> int:
    """Run this stage's part of every migration that is due for this kind of answers.

    `wanted` is the new answer `runner`, or empty if it stays.
    Returns the exit status: 8 if files are in the way, 9 for edits that would be lost, 1 for a
    migration that failed.
    """
    stage, root = os.environ["STAGE"], Path.cwd()
    if stage == "after":
        report_rejected(root)
    elif status := protect(root, answers_file, wanted):
        return status
    old = os.environ["VERSION_FROM"]
    kind = yaml.safe_load(answers_file.read_text("utf-8"))["kind"]
    scripts = due(old)
    at = "The update of the runner"
    try:
        if kind != "notebook":
            update_runner(root, answers_file, stage, wanted)
        shown = worktree.entries(worktree.uncommitted(root))
        for script in scripts:
            at = f"Migration {version_of(script)}"
            module = load(script)
            step = getattr(module, stage, None)
            if step is None or kind not in (module.KIND, "everything"):
                continue
            print(f"{at}, {stage} the update", file=sys.stderr)
            step(root, answers_file)
    except Exception as error:
        print(
            f"{at} failed {stage} the update: {type(error).__name__}: {error}\n"
            "To go back, type: git reset --hard && git clean -d --interactive",
            file=sys.stderr,
        )
        return 1
    if scripts and stage == "before":
        # Copier merges what is in git's index; files that git was not to show stay out of it.
        top = Path(worktree.run_git(root, "rev-parse", "--show-toplevel").stdout.rstrip("\n"))
        changed = {*worktree.entries(worktree.uncommitted(root))}.difference(shown)
        names = "\0".join(sorted(line[3:] for line in changed))
        add = ("add", "--all", "--pathspec-from-file=-", "--pathspec-file-nul")
        worktree.run_git(top, "--literal-pathspecs", *add, text=names).check_returncode()
    return 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    raise SystemExit(main(Path(sys.argv[1]), sys.argv[2]))
