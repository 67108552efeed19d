"""`invoke update`: a newer template for the project and all its notebooks, in one merge.

All answers are joined in one file that git ignores, of the kind `everything`; Copier then renders
the old and the new version of everything and merges once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagmar import console
from dagmar.errors import (
    Conflict,
    DagmarError,
    Invalid,
    SetupError,
    UsageError,
    counted,
    did_you_mean,
    some,
)
from dagmar.files import write_atomically
from dagmar.project import templates, worktree
from dagmar.project.layout import (
    NOTEBOOK_ANSWERS,
    RUNNER,
    UPDATE_ANSWERS,
    keep_out_of_git,
    make_folder,
)


@dataclass
class Update:
    """What an update would do, or did."""

    current: str
    latest: str
    runner: str = templates.COPY
    move: str = ""
    """What the project gets instead of its copy of the runner, or of the package; or empty."""
    notebooks: list[str] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    merged: bool = False

    @property
    def available(self) -> bool:
        """Whether there is anything to do."""
        return self.current != self.latest or bool(self.behind or self.move)

    @property
    def command(self) -> str:
        """What to type to update."""
        return f"invoke update --runner {self.move}" if self.move else "invoke update"

    def as_document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        names = "current latest available runner move notebooks later changed conflicts"
        return {name: getattr(self, name) for name in names.split()}

    def show(self) -> None:
        """Print what an update would do, or what it did."""
        if not self.available:
            console.say(f"Everything is on {self.current}, the newest version.")
            if self.changed:
                console.say("The place of the template was written into the answers. Commit them.")
        elif not self.merged:
            if self.current != self.latest:
                console.out(f"{self.current} → {self.latest}")
            if self.behind:
                behind = f"these notebooks are behind: {', '.join(self.behind)}"
                console.out(f"the project is on {self.current}; {behind}")
            if self.move:
                console.out(f"runner: {self.runner} → {self.move}")
            console.say(console.pasteable("", self.command))
        else:
            runner = f"{RUNNER.parent.as_posix()}/"
            moved = [name for name in self.changed if self.move and name.startswith(runner)]
            for name in self.changed:
                if name not in moved:
                    console.out(name)
            if moved:  # what the hook said would be out of sight
                console.out(f"{runner}  ({counted(len(moved), 'file')})")
            if not self.conflicts:
                console.say("Merged. Look at it with `git diff HEAD`, then commit.")
            if self.later:
                again = console.pasteable("Commit, then type again:", self.command)
                console.say(
                    f"Notebooks were updated to {self.current}, the project's version. Left: "
                    f"{', '.join(self.later)}. {again}"
                )

    def raise_for_status(self) -> None:
        """Raise Conflict with the files to edit."""
        if self.conflicts:
            files = "".join(f"\n  {name}" for name in self.conflicts)
            raise Conflict(
                f"these files have conflicts, marked in them:{files}",
                "Edit them, then `git add . && git commit`. "
                "Or go back: `git reset --hard && git clean -d --interactive`.",
            )


@dataclass(frozen=True)
class _Notebook:
    name: str
    commit: str
    answers: dict[str, Any]


def look(root: Path, to: str = "", place: str = "", runner: str = "") -> Update:
    """Compare the project and its notebooks with the newest version, or with `to`.

    `place` is where the template is now, `runner` is what the project is to have: a copy of the
    runner or the package. Raises SetupError if there is no template, or none with the project's
    version, Invalid for an unknown `to`, Conflict for an answers file that is a link, and
    UsageError for an unknown `runner`.
    """
    return _plan(root.resolve(), to, place, runner)[0]


def update(root: Path, to: str = "", place: str = "", runner: str = "") -> Update:
    """Merge the newest version, or `to`, into the project and its notebooks.

    Notebooks that are on another version than the project are brought to the project's version
    first, because a merge starts from one version; `later` names what is left then.
    A `place` of the template is remembered in all answers.
    Raises what `look` does, and Conflict for a tree with changes, if Copier refuses, and for
    edits in a copy of the runner that is to be replaced with the package.
    """
    root = root.resolve()
    _check_tree(root)
    plan, template, notebooks = _plan(root, to, place, runner)
    if plan.available:
        _merge_all(root, plan, template, notebooks)
    if place:
        for file in (root / templates.ANSWERS, *(root / NOTEBOOK_ANSWERS).glob("*.yml")):
            if templates.read_answers(file)["_src_path"] != template.origin:
                templates.write_origin(file, template.origin)
    done = templates.git(root, "status", "--porcelain", "-z", "-uall", "--no-renames", "--", ".")
    plan.changed = sorted(worktree.relative_names(root, worktree.entries(done)))
    done = templates.git(root, "diff", "--name-only", "--diff-filter=U", "-z", "--relative")
    plan.conflicts = sorted(set(worktree.entries(done)))
    return plan


def _merge_all(
    root: Path, plan: Update, template: templates.Template, notebooks: list[_Notebook]
) -> None:
    behind = [notebook for notebook in notebooks if notebook.commit != template.commit]
    chosen = [notebook for notebook in behind if notebook.commit == behind[0].commit] or notebooks
    project = templates.read_answers(root / templates.ANSWERS)
    answers = {
        "notebooks": [notebook.answers for notebook in chosen],
        "_src_path": str(template.path),
        # The place that is in the answers now: another one would be a conflict in them.
        "origin": project["_src_path"],
    }
    if behind:
        answers |= {"kind": "notebook", "_commit": chosen[0].commit}
        _merge(root, answers, plan.current)
    else:
        answers |= {"kind": "everything", "_commit": template.commit}
        _merge(root, project | answers, plan.latest, plan.move)
    plan.merged = True
    plan.notebooks = sorted({notebook.name for notebook in chosen})
    plan.later = [name for name in plan.behind if name not in plan.notebooks]
    if behind and plan.current != plan.latest:
        plan.later.append(f"everything to {plan.latest}")
    elif behind and plan.move:
        plan.later.append("the runner")


def _plan(
    root: Path, to: str, place: str, runner: str
) -> tuple[Update, templates.Template, list[_Notebook]]:
    if runner not in ("", *templates.RUNNERS):
        message = f"--runner {runner!r}: it is a copy or a package"
        raise UsageError(message, f"Give --runner {' or '.join(templates.RUNNERS)}.")
    for file in (root / templates.ANSWERS, *sorted((root / NOTEBOOK_ANSWERS).glob("*.yml"))):
        if file.is_symlink():  # the update would leave it at the old version
            message = f"{file.relative_to(root).as_posix()} is a link"
            raise Conflict(message, "Put the file that it leads to in its place.")
    template = templates.open_template(root, place)
    if not template.commit:
        message = "the template was copied from a folder that is not in git, so it has no versions"
        hint = f"Clone its repository, and set _src_path and _commit in {templates.ANSWERS}."
        raise SetupError(message, hint)
    notebooks = _notebooks(root)
    latest = _resolve(template, to) if to else _latest(template)
    _check_versions(template, notebooks)
    behind = [notebook.name for notebook in notebooks if notebook.commit != template.commit]
    names = [notebook.name for notebook in notebooks]
    now = templates.runner_of(templates.read_answers(root / templates.ANSWERS))
    move = runner if runner not in ("", now) else ""
    plan = Update(template.commit, latest, now, move, names, behind)
    return plan, template, notebooks


def _notebooks(root: Path) -> list[_Notebook]:
    """Return the notebooks that still exist; a deleted one stays deleted."""
    notebooks = []
    for file in sorted((root / NOTEBOOK_ANSWERS).glob("*.yml")):
        answers = templates.read_answers(file)
        listed = templates.notebooks_in(answers) if answers.get("notebooks") else []
        if listed is None:
            command = f"git checkout -- {file.relative_to(root).as_posix()}"
            raise Invalid(f"{file.name} does not say which notebooks it is about", command=command)
        for notebook in listed:
            path = root / (notebook.get("folder") or "notebooks") / f"{notebook['name']}.py"
            if path.exists() and answers.get("_commit"):
                notebooks.append(_Notebook(notebook["name"], str(answers["_commit"]), notebook))
    return notebooks


def _check_versions(template: templates.Template, notebooks: list[_Notebook]) -> None:
    """Raise SetupError for a notebook whose version the template does not have."""
    known = {template.commit}
    for notebook in notebooks:
        if notebook.commit not in known:
            if not templates.has_version(template.path, notebook.commit):
                origin = templates.masked(template.origin)
                file = f"{NOTEBOOK_ANSWERS.as_posix()}/{notebook.name}.yml"
                raise SetupError(
                    f"the template at {origin} has no version {notebook.commit}, which the "
                    f"notebook {notebook.name} was generated from",
                    f"Push its tags there; or delete {file}, and the notebook is not updated. "
                    f"{templates.ELSEWHERE}",
                    "invoke update --from URL",
                )
            known.add(notebook.commit)


def _latest(template: templates.Template) -> str:
    from packaging.version import InvalidVersion, Version

    versions = {}
    for tag in templates.git(template.path, "tag", "--list").stdout.split():
        with contextlib.suppress(InvalidVersion):
            versions[Version(tag)] = tag
    released = [version for version in versions if not version.is_prerelease]
    if not released:
        return _resolve(template, "HEAD")  # as Copier does
    newest = versions[max(released)]
    # A project created from a later commit is not taken back to the last release.
    done = templates.git(template.path, "merge-base", "--is-ancestor", newest, template.commit)
    return newest if done.returncode else template.commit


def _resolve(template: templates.Template, to: str) -> str:
    """Return how the answers files name the version `to`. Raises Invalid for an unknown version."""
    tags = templates.git(template.path, "tag", "--list").stdout.split()
    done = templates.git(template.path, "rev-parse", "--verify", "--quiet", f"{to}^{{commit}}")
    if done.returncode or to.startswith("-"):
        message = f"the template has no version '{to}'{did_you_mean(to, tags)}"
        raise Invalid(message, f"The newest versions: {', '.join(tags[-5:]) or 'none'}.")
    if to in tags:
        return to
    done = templates.git(template.path, "describe", "--tags", "--always", done.stdout.strip())
    return done.stdout.strip()


def _check_tree(root: Path) -> None:
    keep_out_of_git(root)
    with templates.git_errors():
        done = worktree.uncommitted(root)
    if done.returncode:
        command = 'git init && git add . && git commit -m "chore: start"'
        raise SetupError("the project is not in git, which an update needs", command=command)
    changes = worktree.entries(done)
    if conflicts := worktree.unmerged(changes):
        message = f"these files have conflicts: {some(worktree.relative_names(root, conflicts))}"
        raise Conflict(message, "Edit them, then type:", "git add -A && git commit")
    if changes:
        message = f"there are uncommitted changes: {some(worktree.relative_names(root, changes))}"
        if (root / UPDATE_ANSWERS).is_file():
            message = f"an update was interrupted, and {message}"
            hint = "If only the update made them, go back to the last commit, and try again:"
            raise Conflict(message, hint, "git reset --hard && git clean -d --interactive")
        hint = "Commit them first, or stash them:"
        raise Conflict(message, hint, "git stash --include-untracked")


def _merge(root: Path, answers: Mapping[str, Any], target: str, runner: str = "") -> None:
    """Run Copier once, with all answers in a file that git ignores; `runner` is a new answer."""
    import yaml

    file = root / UPDATE_ANSWERS
    make_folder(file.parent)
    write_atomically(file, yaml.safe_dump(answers, allow_unicode=False))
    try:
        with templates.copier_errors():
            from copier import run_update

            run_update(
                root,
                data={"runner": runner} if runner else {},
                answers_file=UPDATE_ANSWERS,
                vcs_ref=target,
                defaults=True,
                overwrite=True,
                quiet=True,
                unsafe=True,
            )
    except DagmarError:
        file.unlink()
        raise
    file.unlink()  # it stays after an interruption, for the next call to know
