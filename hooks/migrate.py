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
from runner import load, worktree
from runner_files import merge_back, set_aside

TEMPLATE = Path(__file__).parents[1]
FOLDER = "hooks/migrations"
IN_THE_WAY = 8


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


def protect(root: Path, answers_file: Path) -> bool:
    """Report files that the update would overwrite, and return whether it must not start."""
    old = os.environ["VERSION_FROM"]
    found = list_in_the_way(root, answers_file, old)
    if found:
        print(
            "These are in the way of the update, and git has no copy of them:\n"
            + "".join(f"  {name}\n" for name in found)
            + "Move them away, or commit them; `git add --force` takes a file that git ignores.",
            file=sys.stderr,
        )
    return bool(found)


def report_rejected(root: Path) -> None:
    """Name the changes that Copier could not merge, and that git did not show it."""
    if found := list_rejected(root):
        print(
            "These changes could not be merged, and are left to you:\n"
            + "".join(f"  {name}\n" for name in found),
            end="",
            file=sys.stderr,
        )


def main(answers_file: Path) -> int:
    """Run this stage's part of every migration that is due for this kind of answers.

    Returns the exit status: 8 if files are in the way, 1 for a migration that failed.
    """
    stage, root = os.environ["STAGE"], Path.cwd()
    if stage == "after":
        report_rejected(root)
    elif protect(root, answers_file):
        return IN_THE_WAY
    old = os.environ["VERSION_FROM"]
    kind = yaml.safe_load(answers_file.read_text("utf-8"))["kind"]
    scripts = due(old)
    at = "The update of the runner"
    try:
        if kind != "notebook":
            (set_aside if stage == "before" else merge_back)(root, old)
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
    raise SystemExit(main(Path(sys.argv[1])))
