"""Files that dagmar left in a project, each with the proof that dagmar wrote it.

An export is identified by its manifest, which names its files; a notebook by rendering it again
and comparing; cache and logs by the names that dagmar gives them. Symlinks are not followed.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dagmar import console
from dagmar.errors import DagmarError
from dagmar.export import folders, index, manifests, retention
from dagmar.export.manifests import Manifest
from dagmar.files import temporary_of
from dagmar.project import devfile, layout, templates

NOTEBOOK = "notebook, unchanged"
EXPORT = "export, by its manifest"
NEWEST = "the newest good export of its notebook"
EXPORTS, CACHE, LOGS, NOTEBOOKS = "exports", "cache", "logs", "notebooks"
SHARED = layout.SHARED_ASSETS.name
# Next to exports: pages that list them, and exports in progress.
BESIDE = re.compile(
    rf"{re.escape(index.NAME)}|{re.escape(folders.LOCK)}|\..+{re.escape(folders.UNFINISHED)}"
)
CACHED = re.compile(r"assets-[0-9a-f]{16}\.json|template-[0-9a-f]{12}\.git")
# Unfinished files: a recent one may still be in use. The suffixes are those of `tempfile`.
HALF_CACHED = re.compile(r"\.template-[a-z0-9_]{8}|\.assets-[0-9a-f]{16}\.json\.[a-z0-9_]{8}")
LOGIN, NOTE, UPDATE = layout.LOGIN_PAGE.name, layout.SESSION_NOTE.name, layout.UPDATE_ANSWERS.name
SCRATCH = (
    re.compile(rf"{layout.SCAFFOLD_PREFIX}[a-z0-9_]{{8}}"),
    *(re.compile(re.escape(name)) for name in (LOGIN, UPDATE, layout.SCAFFOLD_ANSWERS.name)),
    *map(temporary_of, (LOGIN, NOTE, UPDATE)),
)
SCRATCH_SECONDS = 3600
LOGGED = re.compile(r"(dagster|marimo)\.log(\.\d+)?")


@dataclass(frozen=True)
class Item:
    """Files that are removed together, what they are, their size, and what removing them breaks."""

    paths: tuple[Path, ...]
    what: str
    size: int  # bytes
    breaks: str = ""


@dataclass
class Plan:
    """What would be removed, and what stays for which reason."""

    root: Path
    tracked: frozenset[Path] = frozenset()
    items: list[Item] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The size of all items, in bytes."""
        return sum(item.size for item in self.items)

    def keep(self, path: Path, reason: str) -> None:
        """Record that a file stays, and why."""
        self.kept.append((self.name(path), reason))

    def name(self, path: Path) -> str:
        """Return a path relative to the project."""
        return path.relative_to(self.root).as_posix()


def find(plan: Plan, kinds: frozenset[str]) -> list[tuple[Item, float]]:
    """Return dagmar's own files, with the time of their last change."""
    root = plan.root
    found: list[tuple[Item, float]] = []
    if _is_folder(plan, root / layout.DAGMAR):
        if EXPORTS in kinds:
            found += _exports(plan, root / layout.EXPORTS)
        if CACHE in kinds:
            found += _cache(plan, root / layout.CACHE)
            found += _scratch(plan, root / layout.SCRATCH)
        if LOGS in kinds:
            found += _logs(plan, root / layout.LOGS)
    if NOTEBOOKS in kinds:
        found += _notebooks(plan)
    return found


def _is_folder(plan: Plan, folder: Path) -> bool:
    """Whether it is our own folder; a symlink may lead to somebody else's."""
    if folder.is_symlink():
        plan.keep(folder, "it is a symlink, and is not followed")
        return False
    return folder.is_dir()


def _entries(plan: Plan, folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if _is_folder(plan, folder) else []


def _exports(plan: Plan, folder: Path) -> Iterator[tuple[Item, float]]:
    """Yield exports with a valid manifest, except the newest of each notebook that must stay."""
    for notebook in _entries(plan, folder):
        if BESIDE.fullmatch(notebook.name):
            continue
        if index.HALF_WRITTEN.fullmatch(notebook.name):
            yield from _abandoned(notebook)
            continue
        if notebook.name == SHARED and not notebook.is_symlink() and notebook.is_dir():
            plan.keep(notebook, "marimo's files, for the pages of all exports")
            continue
        if notebook.is_symlink() or not notebook.is_dir():
            plan.keep(notebook, "dagmar did not write it")
            continue
        proven: list[tuple[Path, Manifest]] = []
        for export in _entries(plan, notebook):
            if BESIDE.fullmatch(export.name):
                continue
            if index.HALF_WRITTEN.fullmatch(export.name):
                yield from _abandoned(export)
                continue
            found, reason = retention.prove(export)
            if found is None:
                plan.keep(export, reason)
            else:
                proven.append((export, found))
        gone = retention.expired(proven, days=0)
        for export, manifest in sorted(gone, key=lambda entry: entry[0].name):
            item = Item((export,), EXPORT, _size(export), _linked(manifest))
            yield item, _changed(export / manifests.NAME)
        going = [export for export, _ in gone]
        for export, manifest in proven:
            if export not in going:
                linked = _linked(manifest)
                reason = f"the newest of its notebook that is {linked}" if linked else NEWEST
                plan.keep(export, reason)


def _linked(manifest: Manifest) -> str:
    """Return which assets link to an export, as text."""
    assets = dict.fromkeys(link["asset"] for link in manifest.attached)
    return f"linked on {', '.join(assets)}" if assets else ""


def _cache(plan: Plan, folder: Path) -> Iterator[tuple[Item, float]]:
    origins = _lost_template(plan.root)
    for path in _entries(plan, folder):
        if HALF_CACHED.fullmatch(path.name):
            yield from _abandoned(path)
        elif path.is_symlink() or not CACHED.fullmatch(path.name):
            plan.keep(path, "dagmar did not write it")
        elif path.suffix == ".git" and not (path / "HEAD").is_file():
            plan.keep(path, "it is not a clone of the template")
        elif path.suffix == ".json" and not path.is_file():
            plan.keep(path, "it is not a file")
        elif path.suffix == ".git" and origins:
            plan.keep(path, f"the template is no longer at {origins}, and this is its last copy")
        else:
            yield Item((path,), "cache", _size(path)), _changed(path)


def _lost_template(root: Path) -> str:
    """Return the folder of the project's template if it no longer exists, or an empty text."""
    try:
        origin = str(templates.read_answers(root / templates.ANSWERS)["_src_path"])
    except DagmarError:
        return "its place"  # the answers do not say where
    gone = templates.is_local(origin) and not (root / Path(origin).expanduser()).exists()
    return origin if gone else ""


def _scratch(plan: Plan, folder: Path) -> Iterator[tuple[Item, float]]:
    for path in _entries(plan, folder):
        if path.name == LOGIN and (running := devfile.read(plan.root)):
            plan.keep(path, f"`invoke dev` is running (process {running.pid}), and opens it")
        elif path.name == NOTE:
            plan.keep(path, "`invoke dev` needs it to clean up at its next start")
        elif any(pattern.fullmatch(path.name) for pattern in SCRATCH):
            yield from _abandoned(path)
        else:
            plan.keep(path, "dagmar did not write it")


def _abandoned(path: Path) -> Iterator[tuple[Item, float]]:
    changed = _changed(path)
    if not path.is_symlink() and changed < time.time() - SCRATCH_SECONDS:
        yield Item((path,), "left over", _size(path)), changed


def _logs(plan: Plan, folder: Path) -> Iterator[tuple[Item, float]]:
    entries = _entries(plan, folder)
    if entries and (running := devfile.read(plan.root)):
        plan.keep(folder, f"`invoke dev` is running (process {running.pid}), and writes there")
        return
    for path in entries:
        if path.is_symlink() or not path.is_file() or not LOGGED.fullmatch(path.name):
            plan.keep(path, "dagmar did not write it")
        else:
            yield Item((path,), "log", _size(path)), _changed(path)


def _notebooks(plan: Plan) -> Iterator[tuple[Item, float]]:
    """Yield the notebooks that are, byte for byte, what the template creates from their answers."""
    root = plan.root
    by_commit: dict[str, dict[Path, tuple[Path, dict[str, object]]]] = {}
    for answers_file in sorted((root / layout.NOTEBOOK_ANSWERS).glob("*.yml")):
        try:
            answers = templates.read_answers(answers_file)
            (notebook,) = answers["notebooks"]
            folder = root / (notebook.get("folder") or "notebooks")
            file = Path(os.path.normpath(folder / f"{notebook['name']}.py"))
        except (DagmarError, KeyError, TypeError, ValueError, AttributeError):
            plan.keep(answers_file, "it is not the answers file of one notebook")
            continue
        if not file.is_relative_to(root):
            plan.keep(answers_file, "it names a file outside the project")
            continue
        if not (file.is_symlink() or file.exists()):
            continue
        if any(path.is_symlink() for path in (file, answers_file, *_inside(file, root))):
            plan.keep(file, "it is reached by a symlink, which is not followed")
            continue
        commit = str(answers.get("_commit") or "")
        by_commit.setdefault(commit, {})[file] = (answers_file, notebook)
    for commit, found in by_commit.items():
        rendered = _render(root, commit, [notebook for _, notebook in found.values()])
        for file, (answers_file, _) in found.items():
            if rendered.get(file) != file.read_bytes():
                reason = "it was changed since it was scaffolded" if rendered else "see above"
                plan.keep(file, reason)
                continue
            paths = (file, answers_file)
            yield (
                Item(paths, NOTEBOOK, sum(map(_size, paths))),
                _changed(file),
            )


def _inside(file: Path, root: Path) -> list[Path]:
    """Return the folders between a file and the root."""
    return [folder for folder in file.parents if root in folder.parents]


def _render(root: Path, commit: str, notebooks: Sequence[object]) -> dict[Path, bytes]:
    """Render notebooks as they were scaffolded; nothing if the template cannot."""
    try:
        template = templates.open_template(root)
        scratch = root / layout.SCRATCH
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch, prefix=layout.SCAFFOLD_PREFIX) as name:
            out = Path(name) / "out"
            data = {"notebooks": list(notebooks), "origin": template.origin}
            templates.copy(template.path, out, data, commit)
            return {root / file.relative_to(out): file.read_bytes() for file in out.rglob("*.py")}
    except DagmarError as error:
        console.warn(f"cannot find out whether notebooks were changed: {error.message}")
        return {}


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; 0 if it is gone by now."""
    files = [path]
    if path.is_dir() and not path.is_symlink():
        files = [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    total = 0
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            total += file.lstat().st_size
    return total


def _changed(path: Path) -> float:
    """Return the time of the last change; infinity for a file that is gone by now."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return math.inf
