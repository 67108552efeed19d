"""`invoke clean`: remove files that are provably dagmar's own.

Files that git tracks stay, except notebooks. Symlinks are neither followed nor removed.
`.dagmar/dagster_home` contains runs and values, which are data: it is not looked at.
"""

from __future__ import annotations

import contextlib
import math
import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from dagmar import console
from dagmar.errors import DagmarError, SetupError, UsageError, counted, some
from dagmar.export import index, manifests, retention
from dagmar.project import layout, templates, worktree
from dagmar.upkeep.leftovers import CACHE, EXPORT, EXPORTS, LOGS, NOTEBOOK, Plan, find

DAY = 86400  # seconds


@dataclass(frozen=True)
class CleanRequest:
    """The flags of `invoke clean`; `days` is the least age of what is removed."""

    kinds: frozenset[str]
    days: float = 0.0
    dry_run: bool = False
    yes: bool = False


def clean(root: Path, request: CleanRequest) -> None:
    """Show what may be removed, ask, and remove it. Raises UsageError, SetupError."""
    plan = look(root, request.kinds, request.days)
    show(plan)
    if plan.items and request.dry_run:
        console.say("Nothing was removed: --dry-run.")
    elif plan.items and request.yes:
        remove(plan)
    elif plan.items and confirm():
        remove(look_again(plan, request.kinds, request.days))
    elif plan.items:
        console.say("Nothing was removed.")
    if plan.unread:
        message = f"this cannot be read, and stays: {some(plan.unread)}"
        raise SetupError(message, command="invoke doctor")


def choose(**kinds: bool) -> frozenset[str]:
    """Return the named kinds; exports, cache and logs if none was named."""
    named = frozenset(kind for kind, wanted in kinds.items() if wanted)
    return named or frozenset((EXPORTS, CACHE, LOGS))


def show(plan: Plan) -> None:
    """Print what would be removed and what stays."""
    for item in plan.items:
        for number, path in enumerate(item.paths):
            size = decimal(item.size) if number == 0 else ""
            breaks = f"  ({item.breaks})" if item.breaks else ""
            console.out(f"{size:>9}  {plan.name(path)}  ({item.what}){breaks}")
    for name, reason in plan.kept:
        console.say(f"stays: {name}: {reason}")
    if plan.items:
        console.say(f"{counted(len(plan.items), 'item')}, {decimal(plan.size)}")
    else:
        console.say("There is nothing to remove.")


def look(root: Path, kinds: frozenset[str], days: float = 0.0) -> Plan:
    """Find what may be removed, of these kinds and older than `days`. Raises SetupError."""
    root = root.resolve()
    plan = Plan(root, _tracked(root))
    limit = time.time() - days * DAY if days else math.inf
    try:
        found = list(find(plan, kinds))
    except PermissionError as error:
        message = f"{error.filename} cannot be read: {error.strerror}"
        raise SetupError(message, command="invoke doctor") from None
    tracked = {place: file for file in plan.tracked for place in (file, *file.parents)}
    for item in found:
        if item.changed >= limit:
            continue
        names = [tracked[path] for path in item.paths if path in tracked]
        if names and item.what != NOTEBOOK:
            plan.keep(item.paths[0], f"git tracks {plan.name(names[0])}")
        else:
            plan.items.append(item)
    return plan


def look_again(plan: Plan, kinds: frozenset[str], days: float = 0.0) -> Plan:
    """Return what of a plan may still be removed, and report the rest. Raises SetupError."""
    now = look(plan.root, kinds, days)
    reasons = dict(now.kept)
    for item in plan.items:
        if item not in now.items:
            name = plan.name(item.paths[0])
            console.say(f"stays: {name}: {reasons.get(name, 'it was changed since it was listed')}")
    now.items = [item for item in plan.items if item in now.items]
    return now


def _tracked(root: Path) -> frozenset[Path]:
    """Return the files that git tracks in the project."""
    inside = any((folder / ".git").exists() for folder in (root, *root.parents))
    if not inside:
        return frozenset()
    done = templates.git(root, "ls-files", "-z")
    if done.returncode:
        message = f"git cannot list the tracked files: {templates.last_line(done)}"
        raise SetupError(message, command="git status")
    return frozenset(root / name for name in worktree.entries(done))


def confirm() -> bool:
    """Ask whether to remove the listed files. Raises UsageError without a terminal."""
    if not console.asks():
        message = "nothing was removed: there is no terminal to ask for confirmation"
        raise UsageError(message, "To remove the listed files, add --yes.")
    return console.ask("Remove this?")


def remove(plan: Plan) -> None:
    """Remove what was planned, and folders of notebooks that are then empty.

    Raises SetupError, after everything else was removed, for what the system refuses to remove.
    """
    failed: dict[Path, str] = {}
    for item in plan.items:
        for path in item.paths:
            if reason := _remove(path, item.what):
                failed[path] = reason
    exports = plan.root / layout.EXPORTS
    for folder in {path.parent for item in plan.items for path in item.paths}:
        pages = {exports / index.NAME, folder / index.NAME}
        if folder.parent == exports and not pages & plan.tracked:
            _tidy(exports, folder.name)
    gone = [item for item in plan.items if not set(item.paths) & set(failed)]
    console.say(f"Removed {decimal(sum(item.size for item in gone))}.")
    if failed:
        path, reason = next(iter(failed.items()))
        message = f"{len(failed)} could not be removed, the first is {plan.name(path)}: {reason}"
        raise SetupError(message, command=f"ls -ld {shlex.quote(plan.name(path.parent))}")


def _tidy(exports: Path, name: str) -> None:
    """Update the pages that list exports, and remove a notebook's folder that is now empty."""
    folder = exports / name
    with contextlib.suppress(OSError, DagmarError):  # the next export writes them too
        if not any(manifests.FOLDER.fullmatch(export.name) for export in folder.iterdir()):
            (folder / index.NAME).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
        index.write(exports, name)


def _remove(path: Path, what: str) -> str:
    """Remove a file or folder; return why it cannot be removed, or an empty text."""
    try:
        if what == EXPORT:
            manifest, reason = retention.prove(path)
            if manifest is None:
                return reason if path.exists() else ""
            retention.remove_whole(path)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)  # removes symlinks inside and does not follow them
        else:
            path.unlink()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    except DagmarError as error:
        return error.message
    return ""
