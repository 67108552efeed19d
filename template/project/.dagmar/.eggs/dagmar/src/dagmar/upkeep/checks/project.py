"""Checks of the project in git, and of what Copier needs to update it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from dagmar.errors import DagmarError, counted, some
from dagmar.files import expanded
from dagmar.project.layout import NOTEBOOK_ANSWERS, keep_out_of_git, unhidden
from dagmar.project.templates import (
    ANSWERS,
    git_errors,
    is_local,
    last_line,
    masked,
    read_answers,
    restoring,
    write_origin,
)
from dagmar.project.worktree import (
    entries,
    read_worktree,
    relative_names,
    uncommitted,
    unmerged,
)
from dagmar.upkeep.checking import (
    GIT_SECONDS,
    Finding,
    Project,
    Skip,
    check,
    failed,
    passed,
    warned,
)

OLDEST_GIT = (2, 27)  # Copier's own limit
START = 'git add . && git commit -m "chore: start"'
SAMPLES = (".example", ".sample", ".template", ".dist")  # files without secrets


@check("git")
def git(project: Project) -> Finding:
    """git is installed, and new enough for Copier."""
    version = project.git("--version").stdout.strip()
    numbers = re.search(r"(\d+)\.(\d+)", version)
    if not numbers:
        return failed(f"git does not report its version: {version or 'nothing'}", "Install git.")
    if (int(numbers[1]), int(numbers[2])) < OLDEST_GIT:
        needed = ".".join(map(str, OLDEST_GIT))
        return failed(f"{version} is too old: Copier needs {needed}", "Install a newer git.")
    return passed(version)


@check("git-identity")
def git_identity(project: Project) -> Finding:
    """git knows your name."""
    # Otherwise git invents an address from the machine's name, and may refuse to commit with it.
    if project.git("-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT").returncode:
        command = 'git config --global user.name "You"; git config --global user.email you@…'
        return warned("git does not know your name, so nothing can be committed", command=command)
    return passed("name and address are set")


@check("repository")
def repository(project: Project) -> Finding:
    """The project is committed, as an update needs."""
    if not project.in_git:
        done = project.git("rev-parse", "--is-inside-work-tree")
        if "dubious ownership" in done.stderr:
            folder = shlex.quote(str(project.root))
            message = "the project belongs to another user, so git does not read it"
            return failed(message, command=f"git config --global --add safe.directory {folder}")
        if "not a git repository" not in done.stderr:
            return failed(f"git says: {last_line(done)}", command="git status")
        message = "the project is not in git, which an update needs"
        if (project.root / ".gitignore").is_file():
            return warned(message, command=f"git init && {START}")
        hint = "Write a .gitignore, which leaves out environments and secrets. Then type:"
        return warned(message, hint, f"git init && {START}")
    if project.git("rev-parse", "--verify", "--quiet", "HEAD").returncode:
        return warned("nothing is committed yet, and an update needs that", command=START)
    with git_errors():
        done = uncommitted(project.root, GIT_SECONDS)
    if done.returncode:
        return failed(f"git says: {last_line(done)}", command="git status")
    changes = entries(done)
    if unmerged(changes):
        raise Skip("there are conflicts")
    if changes:
        dirty = some(relative_names(project.root, changes))
        command = 'git add -A && git commit -m "chore: before the update"'
        return warned(f"not committed, so an update would refuse: {dirty}", command=command)
    # What the files of the project itself tell git to ignore is not meant to be committed.
    with git_errors():
        tree = read_worktree(project.root, ["--exclude-per-directory=.gitignore"], GIT_SECONDS)
    if tree.unsaved:
        hidden = some(sorted(tree.unsaved))
        return passed(f"everything is committed but what git is configured not to show: {hidden}")
    return passed("everything is committed")


@check("conflicts")
def conflicts(project: Project) -> Finding:
    """No conflict of an update is left."""
    project.require_git()
    unmerged = project.git("diff", "--name-only", "--diff-filter=U", "-z", "--relative")
    # Markers that were committed by mistake, and rejected patches.
    marked = project.git("grep", "-l", "-z", "-I", "-E", "^<<<<<<< before updating$")
    names = {*entries(unmerged), *entries(marked)}
    rejected = sorted(project.relative(file) for file in project.root.glob("*.rej"))
    if names or rejected:
        steps = [f"rm {shlex.join(rejected)}"] if rejected else []
        steps += ["git add -A", "git commit"] if names else []
        message = f"conflicts of an update are left in {some(sorted({*names, *rejected}))}"
        hint = f"Edit {'them' if names else 'what they are about'}, then type:"
        return failed(message, hint, " && ".join(steps))
    return passed("none")


def _answers_files(root: Path) -> list[Path]:
    return [root / ANSWERS, *sorted((root / NOTEBOOK_ANSWERS).glob("*.yml"))]


def _relative_sources(root: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the answers files with a relative path to the template, and the folder it leads to."""
    for file in _answers_files(root):
        if file.is_file():
            try:
                origin = read_answers(file)["_src_path"]
            except DagmarError:
                continue
            if is_local(origin) and not expanded(origin).is_absolute():
                folder = (root / origin).resolve()
                if (folder / "copier.yml").is_file():
                    yield file, folder


def _make_absolute(project: Project) -> str:
    """Write absolute paths where the relative one leads to the template."""
    changed = []
    for file, folder in _relative_sources(project.root):
        write_origin(file, str(folder))
        changed.append(project.relative(file))
    return f"made _src_path absolute in {', '.join(changed)}" if changed else ""


@check("answers", fix=_make_absolute)
def answers(project: Project) -> Finding:
    """Copier's answers are there, without a secret, and lead to the template from anywhere."""
    if not (project.root / ANSWERS).is_file():
        _, command = restoring(project.root / ANSWERS)
        return failed(f"there is no {ANSWERS}, so the project cannot be updated", command=command)
    files = _answers_files(project.root)
    places = {file: read_answers(file)["_src_path"] for file in files}  # or Invalid, with a command
    if found := dict(_relative_sources(project.root)):
        names = some([project.relative(file) for file in found])
        message = f"_src_path is a relative path in {names}, which breaks an update"
        return failed(message, command="invoke doctor --fix")
    if shown := [file for file, place in places.items() if masked(place) != place]:
        names = some([project.relative(file) for file in shown])
        message = f"_src_path has a login, a query or a fragment in {names}, which git keeps"
        hint = "Change the password or token. Let git find it, in its credential helper, and type:"
        return warned(
            message, hint, f"invoke update --from {shlex.quote(masked(places[shown[0]]))}"
        )
    if not read_answers(project.root / ANSWERS).get("_commit"):
        message = "the template was copied from a folder that is not in git: it has no versions"
        return failed(message, f"Clone its repository, and set _src_path and _commit in {ANSWERS}.")
    notebooks = counted(len(files) - 1, "notebook")
    return passed(f"of the project and of {notebooks}")


@check("template")
def template(project: Project) -> Finding:
    """The template is where the answers say, which only an update needs."""
    if not (project.root / ANSWERS).is_file():
        raise Skip(f"there is no {ANSWERS}")
    try:
        known = read_answers(project.root / ANSWERS)
    except DagmarError:
        raise Skip(f"{ANSWERS} cannot be read") from None
    origin, commit = known["_src_path"], str(known.get("_commit") or "")
    if not is_local(origin):
        raise Skip(f"{masked(origin)} is remote, and was not contacted")
    folder = project.root / expanded(origin)
    if not folder.exists():
        raise Skip(f"{masked(origin)}, which only an update needs, is not on this machine")
    if not commit:
        raise Skip("the answers name no version")
    done = project.git("-C", str(folder), "cat-file", "-e", f"{commit}^{{commit}}")
    if done.returncode:
        message = f"the template has no version {commit}, which an update starts from"
        return warned(message, command=f"git -C {shlex.quote(str(folder))} fetch --all --tags")
    return passed(f"{commit} of {masked(origin)}")


def _hide(project: Project) -> str:
    hidden = keep_out_of_git(project.root)
    return f"hidden from git: {some([str(folder) for folder in hidden])}" if hidden else ""


@check("ignored", fix=_hide)
def ignored(project: Project) -> Finding:
    """git tracks the files of the project, and none that tools leave behind."""
    project.require_git()
    if _is_ignored(project, f"{NOTEBOOK_ANSWERS}/x.yml"):
        message = f"git ignores {NOTEBOOK_ANSWERS}, and notebooks cannot be updated without it"
        return warned(message, command=f"git check-ignore -v {NOTEBOOK_ANSWERS}/x.yml")
    seen = [f"{name}" for name in unhidden(project.root) if not _is_ignored(project, f"{name}/x")]
    if seen:
        return warned(f"git does not ignore {some(seen)}", command="invoke doctor --fix")
    saved = project.notebooks / "__marimo__" / "x"
    ours = saved.is_relative_to(project.root) and any(project.notebooks.glob("*.py"))
    if ours and not _is_ignored(project, project.relative(saved)):
        message = "git does not ignore __marimo__/, so an update would refuse after an editor ran"
        folder = project.relative(project.notebooks)
        return warned(message, command=_ignoring(project, "__marimo__/", folder))
    return passed("nothing to correct")


def _ignoring(project: Project, line: str, folder: str = ".") -> str:
    """Return the command that adds a line to the .gitignore of a folder."""
    name = (Path(folder) / ".gitignore").as_posix()
    file = project.root / name
    text = file.read_bytes() if file.is_file() else b""
    start = "" if text.endswith(b"\n") or not text else "echo >> {0}; "  # ends its last line
    return (start + "echo {1} >> {0}").format(shlex.quote(name), line)


def _is_ignored(project: Project, path: str) -> bool:
    return project.git("check-ignore", "--quiet", "--no-index", path).returncode == 0


@check("secrets")
def secrets(project: Project) -> Finding:
    """git does not track files with secrets."""
    project.require_git()
    done = project.git("ls-files", "-z", "--", ".env", ".env.*", ":(glob)**/.env")
    tracked = sorted(name for name in entries(done) if not name.lower().endswith(SAMPLES))
    if tracked:
        message = f"git keeps {some(tracked)}: whoever reads the repository reads it too"
        hint = "Then change what is written there."
        return failed(message, hint, f"git rm --cached {shlex.join(tracked)}")
    if (project.root / ".env").exists() and not _is_ignored(project, ".env"):
        return warned("git does not ignore .env", command=_ignoring(project, ".env"))
    return passed("none is tracked")
