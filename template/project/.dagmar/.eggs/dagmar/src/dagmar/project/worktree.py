"""What git has a copy of in a working tree, whatever git is configured to show or to ignore.

Only the standard library: the hooks of the template load this file too, under Copier's interpreter.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Set inside a git hook, where they point git to another repository, or read paths in another way.
FOREIGN = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
    "GIT_PREFIX", "GIT_NAMESPACE", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS",
)  # fmt: skip
# What would make git trust a cache, overlook a change, or refuse to read a file.
PLAIN = (
    *("-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false"),
    *("-c", "core.checkStat=default", "-c", "core.trustctime=true", "-c", "core.safecrlf=false"),
)
LINK, SUBMODULE = "120000", "160000"


def run_git(
    folder: Path, *arguments: str, timeout: float | None = None, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run git in `folder` with `text` as its input.

    Raises FileNotFoundError without git, and TimeoutExpired.
    """
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=_environ(),
        input=text,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=timeout,
    )


def read_file(folder: Path, revision: str, name: str) -> bytes | None:
    """Return a file as a checkout of a revision would write it; None if it is not in it.

    Raises FileNotFoundError without git.
    """
    command = ["git", "cat-file", "--filters", f"{revision}:./{name}"]
    done = subprocess.run(command, cwd=folder, env=_environ(), capture_output=True)
    return None if done.returncode else done.stdout


def _environ() -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return {**environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def entries(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what git printed with `-z`."""
    return [entry for entry in done.stdout.split("\0") if entry]


def uncommitted(folder: Path, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Ask git for what a commit of the whole repository would add, as `status --porcelain -z`."""
    shown = ("--untracked-files=normal", "--ignore-submodules=none", "--no-renames")
    return run_git(folder, *PLAIN, "status", "--porcelain", "-z", *shown, timeout=timeout)


def unmerged(changes: Sequence[str]) -> list[str]:
    """Return those of `changes`, as `uncommitted` lists them, that are conflicts."""
    return [line for line in changes if "U" in line[:2] or line[:2] in {"AA", "DD"}]


def relative_names(folder: Path, changes: Sequence[str]) -> list[str]:
    """Return the files of `changes` as paths from `folder`; git names them from the top."""
    top = run_git(folder, "rev-parse", "--show-prefix").stdout.rstrip("\n")
    names = [Path(os.path.relpath(line[3:], top or ".")).as_posix() for line in changes]
    # A slash at the end says that it is a folder of new files.
    return [
        f"{name}/" if line.endswith("/") else name
        for name, line in zip(names, changes, strict=True)
    ]


@dataclass(frozen=True)
class Worktree:
    """The files of a folder, as paths relative to it: those with a copy in git, and the others."""

    saved: frozenset[str]
    unsaved: frozenset[str]


Git = Callable[..., "subprocess.CompletedProcess[str]"]


def read_worktree(
    folder: Path, leave_out: Sequence[str] = (), timeout: float | None = None
) -> Worktree:
    """Compare the files in `folder` with git's index.

    `leave_out` are options of `git ls-files` that name untracked files which do not matter.
    Without a repository, no file has a copy, and the others are not listed.
    """

    def git(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return run_git(folder, *PLAIN, *arguments, timeout=timeout, text=text)

    tracked: dict[str, tuple[str, str]] = {}
    suspects = set(entries(git("diff-files", "--name-only", "--relative", "-z")))
    for entry in entries(git("ls-files", "-z", "-v", "--stage")):
        facts, _, name = entry.partition("\t")
        tag, mode, blob, _ = facts.split(" ")
        tracked[name] = mode, blob
        if tag.islower() or tag == "S":  # git is configured not to look at it
            suspects.add(name)
    others = set(entries(git("ls-files", "--others", "-z", *leave_out)))
    nested = {name for name, (mode, _) in tracked.items() if mode == SUBMODULE}
    changed = [
        name for name in sorted(suspects & tracked.keys() - nested)
        if os.path.lexists(folder / name)
    ]  # fmt: skip
    hidden = set(changed) - set(_same(folder, tracked, changed, git))
    for name in nested | {name for name in others if name.endswith("/")}:
        others.discard(name)
        others |= set(_walk(folder, name.rstrip("/")))
    saved = tracked.keys() - nested - hidden
    return Worktree(frozenset(saved), frozenset(hidden | others))


def _same(
    folder: Path, tracked: Mapping[str, tuple[str, str]], names: Sequence[str], git: Git
) -> Iterator[str]:
    """Yield the files whose content is the one in the index."""
    links = [name for name in names if (folder / name).is_symlink()]
    files = [name for name in names if name not in links and "\n" not in name]
    lines = "".join(f"{name}\n" for name in files)
    hashes = git("hash-object", "--stdin-paths", text=lines).stdout.split() if files else []
    if len(hashes) == len(files):  # else git could not read one of them
        for name, blob in zip(files, hashes, strict=True):
            mode, known = tracked[name]
            if mode != LINK and blob == known:
                yield name
    for name in links:
        target = git("hash-object", "--stdin", text=os.readlink(folder / name)).stdout.strip()
        if tracked[name] == (LINK, target):
            yield name


def _walk(folder: Path, name: str) -> Iterator[str]:
    """Yield the files of another repository inside this one."""
    for place, inner, files in os.walk(folder / name):
        inner[:] = [entry for entry in inner if entry != ".git"]
        yield from (Path(place, file).relative_to(folder).as_posix() for file in files)
