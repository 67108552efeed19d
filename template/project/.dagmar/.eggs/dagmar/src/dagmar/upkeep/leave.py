"""`invoke leave`: remove what dagmar added to a project, and keep what the team wrote.

What it removes is in a commit, so `git restore .` brings it back at any moment. The exception is
what git ignores in `.dagmar`: reports, logs, the cache, and the runs and values of the local
Dagster instance. A file among the reports that dagmar did not write goes only with `force`. What is
changed is worked out from the last commit and not from the working tree: a call that was
interrupted can be repeated. The runner goes last, because this runs in it.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dagmar import console
from dagmar.errors import Conflict, SetupError, counted, some
from dagmar.export import retention
from dagmar.files import write_atomically
from dagmar.project import devfile, layout, templates, worktree
from dagmar.project.installing import sync_command
from dagmar.project.survey import requirement_files, survey
from dagmar.scaffold import folder
from dagmar.upkeep import leftovers, wiring
from dagmar.upkeep.clean import confirm

TASKS, IGNORE = "tasks.py", ".gitignore"
OWN = (templates.ANSWERS, layout.SETTINGS_FILE, layout.DAGMAR.as_posix())
COMMIT = 'git add -A && git commit -m "chore: remove dagmar"'


@dataclass
class Plan:
    """What goes, what is changed to which content, and what stays, each by its path."""

    root: Path
    gone: list[str] = field(default_factory=list)
    changed: dict[str, bytes | None] = field(default_factory=dict)
    edited: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)
    """What is among the exports, has no copy in git, and is not an export as dagmar wrote it."""
    kept: list[tuple[str, str]] = field(default_factory=list)
    lock: str = ""
    """The lock of the project's package manager, also if it does not change."""

    def show(self) -> None:
        """Print it."""
        for name in self.gone:
            note = "/  (the runner, answers, reports, and the local runs and values)"
            console.out(f"remove  {name}{note if name == str(layout.DAGMAR) else ''}")
        for name, reason in self.foreign.items():
            console.out(f"remove  {name}  ({reason}; git has no copy)")
        for name in self.changed:
            console.out(f"change  {name}  (without dagmar)")
        for name, reason in self.kept:
            console.say(f"stays: {name}: {reason}")


def leave(
    root: Path, notebooks: Path, *, dry_run: bool = False, yes: bool = False, force: bool = False
) -> None:
    """Show what would be removed, ask, and remove it.

    Raises SetupError without git, UsageError without a terminal to ask at, and Conflict if
    `invoke dev` runs, if something to remove is not committed, and without `force` for a runner
    that was edited and for files among the exports that dagmar did not write.
    """
    root = root.resolve()
    if not dry_run and (running := devfile.read(root)):
        message = f"`invoke dev` is running (process {running.pid})"
        raise Conflict(
            message, "Stop it with Ctrl-C in its terminal, or type:", f"kill {running.pid}"
        )
    plan = look(root, notebooks)
    plan.show()
    if dry_run:
        console.say("Nothing was removed: --dry-run.")
        return
    if plan.edited and not force:
        message = f"the team has edited files of the runner: {some(plan.edited)}"
        raise Conflict(message, "Git keeps them. To remove them too, add --force.")
    if plan.foreign and not force:
        message = f"this would be lost, for dagmar did not write it: {some([*plan.foreign])}"
        raise Conflict(message, "Move it away. To remove it too, add --force.")
    if yes or confirm():
        remove(plan)
    else:
        console.say("Nothing was removed.")


def look(root: Path, notebooks: Path) -> Plan:
    """Find what dagmar added. Raises SetupError without a commit, Conflict for what has none."""
    if templates.git(
        root, "rev-parse", "--verify", "--quiet", f"HEAD:./{templates.ANSWERS}"
    ).returncode:
        message = f"{templates.ANSWERS} is not committed, so git could not bring anything back"
        raise SetupError(
            message, "Commit first:", 'git add -A && git commit -m "chore: add dagmar"'
        )
    plan = Plan(root)
    plan.gone = [name for name in OWN if os.path.lexists(root / name)]
    _add_tasks(plan)
    _add_notebooks(plan, notebooks)
    _add_wiring(plan)
    _check_committed(plan)
    plan.edited = _edited(root)
    plan.foreign = _foreign(root)
    return plan


def _add_tasks(plan: Plan) -> None:
    """Plan to remove `tasks.py` as the template wrote it; name the lines of any other."""
    for name in (TASKS, "tasks/__init__.py"):
        if not (plan.root / name).is_file():
            continue
        source = (plan.root / name).read_text("utf-8", "replace")
        lines = [str(number) for number in _lines_of_dagmar(source)]
        if lines == ["all"]:
            plan.gone.append(name)
        elif lines:
            numbers = ", ".join(lines)
            reason = f"it has tasks of yours; delete what is of dagmar in {numbers}"
            plan.kept.append((name, reason))


def _lines_of_dagmar(source: str) -> list[object]:
    """Return the lines of a `tasks.py` that use dagmar; `["all"]` if there is nothing else."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        body = []
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    names = set(_imported(ast.Module(body, [])))
    used = [
        statement
        for statement in body
        if names & {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        or any(_imported(statement))
    ]
    # A comment is the team's: the template has none.
    if used and len(used) == len(body) and not re.search(r"^\s*#", source, re.MULTILINE):
        return ["all"]
    return [
        f"line {node.lineno}"
        if node.lineno == node.end_lineno
        else f"lines {node.lineno}–{node.end_lineno}"
        for node in used
    ]


def _imported(code: ast.AST) -> Iterator[str]:
    """Yield the names that code has from dagmar."""
    for node in ast.walk(code):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == wiring.NAME:
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == wiring.NAME:
                    yield alias.asname or wiring.NAME


def _add_notebooks(plan: Plan, notebooks: Path) -> None:
    """Say what the notebooks need; plan to remove our files next to them if there are none."""
    files = sorted(notebooks.rglob("*.py"))
    paired = [file for file in files if wiring.NAME in file.read_text("utf-8", "replace")]
    if paired:
        where = layout.relative(notebooks, plan.root)
        reason = f"{counted(len(paired), 'notebook')} importing marimo and dagmar: "
        plan.kept.append((f"{where}/", reason + some([file.name for file in paired])))
    if files:
        return  # ruff would find fault with them without its rules
    for file, text in (
        (notebooks / folder.IGNORE, folder.IGNORED),
        (notebooks / folder.RUFF, folder.rules_for(notebooks)),
    ):
        if file.is_file() and file.read_bytes() == text.encode():
            plan.gone.append(layout.relative(file, plan.root))


def _add_wiring(plan: Plan) -> None:
    """Plan the files that name dagmar as a dependency."""
    root, found = plan.root, survey(plan.root)
    project = _relative(found.manifest, root)
    listed = [_relative(file, root) for file in requirement_files(root)]
    restored = False
    for name in dict.fromkeys([project, *listed, IGNORE]):
        now = worktree.read_file(root, "HEAD", name)
        if now is None or not (root / name).is_file():
            continue
        change = wiring.before_dagmar(root, name)
        target = wiring.without(name, now, change)
        own = name == project and not name.endswith(wiring.TABLES)
        if change == (None, now) and (own or not target.strip()):
            plan.gone.append(name)  # the adoption has made it
        elif target != now:
            plan.changed[name] = target
            restored = restored or (name == project and change is not None and target == change[0])
    plan.lock = _relative(found.lock, root) if found.lock else ""
    now = worktree.read_file(root, "HEAD", plan.lock) if plan.lock else None
    if now is not None and project in plan.changed:
        change = wiring.before_dagmar(root, plan.lock)
        if restored and change == (None, now):
            plan.gone.append(plan.lock)  # the adoption has made it
        else:
            # None: the package manager works it out; uv keeps each version that is still needed.
            same = restored and change is not None and change[1] == now
            plan.changed[plan.lock] = change[0] if same and change else None
    pattern = ("grep", "-n", "-I", "-w", "-e", wiring.NAME, "--", ".", ":!README*", ":!*.lock")
    skipped = {*plan.gone, *plan.changed, *(name for name, _ in plan.kept), str(layout.DAGMAR)}
    mentions: dict[str, str] = {}
    for line in templates.git(root, *pattern).stdout.splitlines():
        name, number, _ = line.split(":", 2)
        if not any(name == path or name.startswith(f"{path.rstrip('/')}/") for path in skipped):
            mentions.setdefault(name, number)
    reason = "it mentions dagmar in line {}"
    plan.kept.extend((name, reason.format(line)) for name, line in mentions.items())


def _relative(file: Path, root: Path) -> str:
    """Return the path of a file from the root; the lock of a uv workspace may be above it."""
    return Path(os.path.relpath(file, root)).as_posix()


def _check_committed(plan: Plan) -> None:
    """Raise Conflict if something that goes or is changed has no copy in git."""
    with templates.git_errors():
        changes = worktree.entries(worktree.uncommitted(plan.root))
    dirty = []
    for line, name in zip(changes, worktree.relative_names(plan.root, changes), strict=True):
        inside = any(name == path or name.startswith(f"{path}/") for path in plan.gone)
        target = plan.changed.get(name)
        done = target is not None and (plan.root / name).read_bytes() == target
        if "D" not in line[:2] and (inside or name in plan.changed) and not done:
            dirty.append(name)
    if dirty == [plan.lock] and plan.changed.get(plan.lock) is None:
        dirty = []  # what an interrupted call has written
    if dirty:
        message = f"this would be lost, for it is not committed: {some(dirty)}"
        raise Conflict(message, "Commit it first, or stash it:", "git stash --include-untracked")


def _edited(root: Path) -> list[str]:
    """Return the files of the runner that were changed by other commits than those of updates."""
    runner = layout.RUNNER.as_posix()
    log = ("log", "--format=%x00", "--name-only", "--relative", "--no-merges", "--")
    done = templates.git(root, *log, runner, templates.ANSWERS)
    edited: set[str] = set()
    for commit in done.stdout.split("\0"):
        names = commit.split("\n")
        if templates.ANSWERS not in names:
            edited.update(name for name in names if name)
    return sorted(name for name in edited if (root / name).is_file())


def _foreign(root: Path) -> dict[str, str]:
    """Return what `invoke clean` would not remove from the exports, with why, unless git has it."""
    found = leftovers.Plan(root)
    for _ in leftovers.find(found, frozenset([leftovers.EXPORTS])):
        pass  # an export that dagmar wrote, and nobody changed
    listed = templates.git(root, "ls-files", "--others", "-z", "--", layout.EXPORTS.as_posix())
    unsaved = worktree.entries(listed)
    return {
        name: reason
        for name, reason in found.kept
        if Path(name) != layout.SHARED_ASSETS and not retention.prove(root / name)[0]
        if any(file == name or file.startswith(f"{name}/") for file in unsaved)
    }


def remove(plan: Plan) -> None:
    """Remove and change what was planned, the runner last; report what is left to do."""
    root = plan.root
    todo = [_write(plan.root / name, content, plan) for name, content in plan.changed.items()]
    last = (TASKS, *OWN)
    for name in (name for name in plan.gone if name not in last):
        _delete(root / name)
    inside = (root / layout.DAGMAR).glob("*")
    # What git ignores goes before the file that says so.
    for path in sorted(inside, key=lambda path: path.name == layout.IGNORE.name):
        if path.name != layout.RUNNER.parent.name:
            _delete(path)
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # from here on, no task could be called
    try:
        for name in (name for name in last if name in plan.gone):
            _delete(root / name)
    finally:
        signal.signal(signal.SIGINT, handler)
    sync = re.sub(r"pip install .*", "pip uninstall dagmar", sync_command(root))
    steps = "\n".join([*filter(None, todo), sync, COMMIT])
    console.say(f"dagmar is removed. Next:\n  {steps.replace(chr(10), chr(10) + '  ')}")


def _write(file: Path, content: bytes | None, plan: Plan) -> str:
    """Write a file without dagmar; return what is left to type."""
    if content is not None:
        write_atomically(file, content)
        return ""
    program = file.stem.lower().replace("pipfile", "pipenv")
    uv = shutil.which("uv") if program == "uv" else None
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    for options in (("--offline",), ()):
        lock = (uv or "uv", "lock", "--quiet", *options)
        if uv:
            done = subprocess.run(lock, cwd=file.parent, env=environ, capture_output=True)
            if not done.returncode:
                return ""
    folder = os.path.relpath(file.parent, plan.root)
    where = [] if folder == "." else ["--directory", folder]
    reuse = ["--update-reuse"] if program == "pdm" else []  # the versions that are locked
    return shlex.join([program, "lock", *reuse, *where])


def _delete(path: Path) -> None:
    """Remove a file, a link or a folder; what is gone already is fine. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
