"""Puts a new project into git, because `copier update` works only on files that git knows.

Copier runs this after `copier copy`, in the project and under its own interpreter. In a repository
that was there before, it says what to type there; see adoption.py. A hook that fails makes Copier
delete the project: any failure here is reported, with what to type, and the exit status stays 0.
The next steps of a new project are `next_steps` in copier.yml, which Copier also prints when hooks
are skipped; with `--quiet` it prints nothing, and they are given here, unless nobody was asked.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
from pathlib import Path

import yaml
from adoption import adopt, is_repository
from origin import remember_template
from runner import installing, surveys, templates, worktree

MESSAGE = "chore: start from the dagmar template"
COMMIT = f'git commit -m "{MESSAGE}"'
INIT = f"git init && git add . && {COMMIT}"
OWN_TASKS = """\
try:
    import dagmar.tasks

    ns = dagmar.tasks.namespace(__file__)
except ModuleNotFoundError:  # where dagmar is not installed, your own tasks stay
    pass"""
# A commit may start the user's own hooks or ask for a signature: give it time, but not forever.
PATIENCE_S = 120


class GitError(Exception):
    """Git failed; the message is the end of its output."""


def run_git(*args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run git in the project and keep what it prints."""
    done: subprocess.CompletedProcess[str] = worktree.run_git(Path.cwd(), *args, timeout=PATIENCE_S)
    if check and done.returncode:
        raise GitError(last_lines(done))
    return done


def last_lines(done: subprocess.CompletedProcess[str]) -> str:
    """Return the end of git's output, which names the reason."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return "\n".join(lines[-3:]) or f"exit status {done.returncode}"


def find_repository() -> str:
    """Return whether the project is in a repository that could track it: `none` or `outer`.

    A folder that the outer repository ignores will never be tracked there, so it counts as `none`.
    """
    inside = run_git("rev-parse", "--is-inside-work-tree", check=False)
    if inside.returncode:
        # Anything else, such as another user's repository, is not a reason to create one inside it.
        if "not a git repository (or any" in inside.stderr:
            return "none"
        raise GitError(last_lines(inside))
    if inside.stdout.strip() != "true":
        raise GitError("this folder is inside a repository that has no working files")
    ignored = run_git("check-ignore", "--quiet", ".", check=False)
    return "none" if ignored.returncode == 0 else "outer"


def to_type(*commands: str) -> str:
    """Format commands, with the folder first: Copier was started somewhere else."""
    return indent("\n".join([f"cd {shlex.quote(str(Path.cwd()))}", *commands]))


def first_commit() -> tuple[bool, str]:
    """Create a repository with one commit of everything; return (is it complete, message)."""
    # The project's CI watches `main`; a name that the user configured wins.
    branch = run_git("config", "init.defaultBranch", check=False).stdout.strip() or "main"
    run_git("-c", f"init.defaultBranch={branch}", "init", "--quiet")
    run_git("add", "--all")
    # Without this, git may invent an address from the machine's name.
    strict = ("-c", "user.useConfigOnly=true")
    if run_git(*strict, "var", "GIT_COMMITTER_IDENT", check=False).returncode:
        return False, (
            "Created a git repository, but no commit: git does not know your name yet. Type:\n"
            + to_type(
                'git config --global user.name "Your Name"',
                "git config --global user.email you@example.com",
                COMMIT,
            )
        )
    try:
        run_git(*strict, "commit", "--quiet", "-m", MESSAGE)
    except GitError as error:
        return False, (
            "Created a git repository, but git refused the first commit:\n"
            f"{indent(str(error))}\n"
            f"When that is resolved, type:\n{to_type(COMMIT)}"
        )
    return True, "Created a git repository with a first commit."


def put_into_git(occupied: bool) -> tuple[bool, str]:
    """Put the project into git if that is our job; return (is it complete, message)."""
    if find_repository() == "outer":
        return False, (
            "This folder belongs to a git repository, so committing is left to you:\n"
            f"{to_type(f'git add . && {COMMIT}')}"
        )
    if occupied:
        return False, (
            "This folder had files before and is not in git, so committing is left to you:\n"
            f"{to_type(INIT)}"
        )
    return first_commit()


def own_tasks() -> str:
    """Return how to add dagmar's tasks to an existing tasks.py, or to a package of tasks."""
    package = Path("tasks", "__init__.py")
    file = package if package.is_file() and not Path("tasks.py").exists() else Path("tasks.py")
    if "dagmar" in file.read_text("utf-8", errors="replace"):
        return ""
    kept = f"Your {file.as_posix()} was kept. To have dagmar's tasks next to yours, add at its end:"
    return f"{kept}\n{OWN_TASKS}"


def not_moved() -> str:
    """Return how to go on after a copy over a project with another answer `runner`."""
    root = Path.cwd()
    if not is_repository(root):
        return ""
    before = worktree.run_git(root, "show", f"HEAD:./{templates.ANSWERS}")
    after = templates.PACKAGE if templates.is_package(root) else templates.COPY
    if before.returncode or templates.runner_of(yaml.safe_load(before.stdout)) == after:
        return ""
    update = installing.run_command(f"invoke update --runner {after}", surveys.survey(root))
    return (
        "error: only an update replaces a copy of the runner with the package, or the package with "
        f"a copy. Type:\n{to_type('git stash --include-untracked', update)}"
    )


def indent(text: str) -> str:
    """Indent text by two spaces."""
    return "\n".join(f"  {line}" for line in text.splitlines())


def main(args: list[str]) -> int:
    """Put the project into git, report the result on stderr, and never fail."""
    done, where, tasks = False, "", ""
    given = dict(arg.removeprefix("--").split("=", 1) for arg in args if "=" in arg)
    with contextlib.suppress(Exception):
        where = remember_template()
    with contextlib.suppress(OSError):
        tasks = own_tasks()
    try:
        if said := not_moved():
            given, tasks = {}, ""
        elif "--adopt" in args:
            to, install = given["to"], "--install" in args
            said = adopt(Path.cwd(), given["package"], to, install, separate_tasks=bool(tasks))
        else:
            done, said = put_into_git(occupied="--occupied" in args)
    except FileNotFoundError:
        said = (
            "git was not found, so the project is not under version control, which `copier update` "
            f"needs. Install git, then type:\n{to_type(INIT)}"
        )
    except Exception as error:
        said = (
            f"Nothing was committed:\n{indent(str(error))}\n"
            "The project itself is complete. `copier update` will need it in git:\n"
            f"{to_type(INIT)}"
        )
        if "--adopt" in args:
            said = "dagmar was added, but what to type next could not be found out:\n" + indent(
                f"{type(error).__name__}: {error}"
            )
    if tasks:  # before the commands that need them
        print(tasks, file=sys.stderr)
    if not (done and "--quiet" in args):
        print(said, file=sys.stderr)
    if where and "--quiet" not in args:
        print(where, file=sys.stderr)
    if steps := given.get("next", "").rstrip():
        print(steps, file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # Copier got it too
        raise SystemExit(130) from None
