"""Files that dagmar left in a project, each with the proof that dagmar wrote it.

An export is identified by its manifest, which names its files; a notebook by rendering it again
and comparing; cache and logs by the names that dagmar gives them. Symlinks are not followed.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dagmar.errors import DagmarError
from dagmar.export import folders, index, manifests, retention
from dagmar.export.manifests import Manifest
from dagmar.files import expanded, temporary_of
from dagmar.migrate import report
from dagmar.project import devfile, layout, templates
from dagmar.scaffold.rendering import Renderer

NOTEBOOK = "notebook, unchanged"
MIGRATION = "report of a migration, unchanged"
EXPORT = "export, by its manifest"
NEWEST = "the newest good export of its notebook"
FOREIGN = "dagmar did not write it"
EXPORTS, CACHE, LOGS, NOTEBOOKS = "exports", "cache", "logs", "notebooks"
SHARED = layout.SHARED_ASSETS.name
# Next to exports: pages that list them, and exports in progress.
BESIDE = re.compile(
    rf"{re.escape(index.NAME)}|{re.escape(folders.LOCK)}|\..+{re.escape(folders.UNFINISHED)}"
)
CACHED = re.compile(
    r"assets-[0-9a-f]{16}\.json|template-[0-9a-f]{12}\.git|history-[0-9a-f]{16}\.db(-journal)?"
)
# Unfinished files: a recent one may still be in use. The suffixes are those of `tempfile`.
HALF_CACHED = re.compile(r"\.template-[a-z0-9_]{8}|\.assets-[0-9a-f]{16}\.json\.[a-z0-9_]{8}")
LOGIN, NOTE, UPDATE = layout.LOGIN_PAGE.name, layout.SESSION_NOTE.name, layout.UPDATE_ANSWERS.name
STARTED, DEV = layout.STARTED_WITH.name, layout.DEV_FILE.name
SCRATCH = (
    re.compile(rf"{layout.SCAFFOLD_PREFIX}[a-z0-9_]{{8}}"),
    *(re.compile(re.escape(name)) for name in (LOGIN, UPDATE, STARTED, DEV)),
    *map(temporary_of, (LOGIN, NOTE, UPDATE, STARTED, DEV)),
)
SCRATCH_SECONDS = 3600
LOGGED = re.compile(r"(dagster|marimo)\.log(\.\d+)?")


@dataclass(frozen=True)
class Item:
    """Files that are removed together, what they are, their size, and what removing them breaks."""

    paths: tuple[Path, ...]
    what: str
    size: int  # bytes
    breaks: str
    changed: float = field(compare=False)  # seconds since 1970


def _item(what: str, *paths: Path, dated: Path | None = None, breaks: str = "") -> Item:
    """Measure these files; `dated`, or else the first, is the one whose last change counts."""
    return Item(paths, what, sum(map(_size, paths)), breaks, _changed(dated or paths[0]))


@dataclass
class Plan:
    """What would be removed, and what stays for which reason."""

    root: Path
    tracked: frozenset[Path] = frozenset()
    items: list[Item] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

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


def find(plan: Plan, kinds: frozenset[str]) -> Iterator[Item]:
    """Yield dagmar's own files, and record what stays in the plan."""
    if _is_folder(plan, plan.root / layout.DAGMAR):
        if EXPORTS in kinds:
            yield from _exports(plan)
        if CACHE in kinds:
            yield from _cache(plan)
            yield from _scratch(plan)
        if LOGS in kinds:
            yield from _logs(plan)
    if NOTEBOOKS in kinds:
        yield from _notebooks(plan)


def _is_folder(plan: Plan, folder: Path) -> bool:
    """Whether it is our own folder; a symlink may lead to somebody else's."""
    if folder.is_symlink():
        plan.keep(folder, "it is a symlink, and is not followed")
        return False
    return folder.is_dir()


def _entries(plan: Plan, folder: Path) -> list[Path]:
    try:
        if not _is_folder(plan, folder):
            return []
        return sorted(path for path in folder.iterdir() if path.name != layout.OWN_IGNORE)
    except PermissionError as error:  # the other folders are still looked at
        plan.keep(folder, f"it cannot be read: {error.strerror}")
        plan.unread.append(plan.name(folder))
        return []


def _exports(plan: Plan) -> Iterator[Item]:
    """Yield exports with a valid manifest, except the newest of each notebook that must stay."""
    for notebook in _entries(plan, plan.root / layout.EXPORTS):
        if BESIDE.fullmatch(notebook.name):
            continue
        if index.HALF_WRITTEN.fullmatch(notebook.name):
            yield from _abandoned(notebook)
        elif notebook.is_symlink() or not notebook.is_dir():
            plan.keep(notebook, FOREIGN)
        elif notebook.name == SHARED:
            plan.keep(notebook, "marimo's files, for the pages of all exports")
        else:
            yield from _exports_of(plan, notebook)


def _exports_of(plan: Plan, notebook: Path) -> Iterator[Item]:
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
    gone = [export for export, _ in retention.expired(proven, days=0)]
    for export, manifest in proven:
        assets = ", ".join(dict.fromkeys(link["asset"] for link in manifest.attached))
        linked = f"linked on {assets}" if assets else ""
        if export in gone:
            yield _item(EXPORT, export, dated=export / manifests.NAME, breaks=linked)
        else:
            reason = f"the newest of its notebook that is {linked}" if linked else NEWEST
            plan.keep(export, reason)


def _cache(plan: Plan) -> Iterator[Item]:
    origin = _lost_template(plan.root)
    for path in _entries(plan, plan.root / layout.CACHE):
        if HALF_CACHED.fullmatch(path.name):
            yield from _abandoned(path)
        elif path.is_symlink() or not CACHED.fullmatch(path.name):
            plan.keep(path, FOREIGN)
        elif path.suffix == ".git" and not (path / "HEAD").is_file():
            plan.keep(path, "it is not a clone of the template")
        elif path.suffix == ".json" and not path.is_file():
            plan.keep(path, "it is not a file")
        elif path.suffix == ".git" and origin:
            plan.keep(path, f"the template is no longer at {origin}, and this is its last copy")
        else:
            yield _item("cache", path)


def _lost_template(root: Path) -> str:
    """Return the folder of the project's template if it no longer exists, or an empty text."""
    try:
        origin = str(templates.read_answers(root / templates.ANSWERS)["_src_path"])
    except DagmarError:
        return "its place"  # the answers do not say where
    gone = templates.is_local(origin) and not (root / expanded(origin)).exists()
    return origin if gone else ""


def _scratch(plan: Plan) -> Iterator[Item]:
    for path in _entries(plan, plan.root / layout.SCRATCH):
        if path.name in (LOGIN, DEV) and (running := devfile.read(plan.root)):
            plan.keep(path, f"`invoke dev` is running (process {running.pid}), and needs it")
        elif path.name == NOTE:
            plan.keep(path, "`invoke dev` needs it to clean up at its next start")
        elif any(pattern.fullmatch(path.name) for pattern in SCRATCH):
            yield from _abandoned(path)
        else:
            plan.keep(path, FOREIGN)


def _abandoned(path: Path) -> Iterator[Item]:
    item = _item("left over", path)
    if not path.is_symlink() and item.changed < time.time() - SCRATCH_SECONDS:
        yield item


def _logs(plan: Plan) -> Iterator[Item]:
    folder = plan.root / layout.LOGS
    entries = _entries(plan, folder)
    if entries and (running := devfile.read(plan.root)):
        plan.keep(folder, f"`invoke dev` is running (process {running.pid}), and writes there")
        return
    for path in entries:
        if path.is_symlink() or not path.is_file() or not LOGGED.fullmatch(path.name):
            plan.keep(path, FOREIGN)
        else:
            yield _item("log", path)


def _notebooks(plan: Plan) -> Iterator[Item]:
    """Yield the notebooks that `invoke scaffold` would create again, and reports of migrations."""
    root = plan.root
    yield from (_item(MIGRATION, file) for file in _migrations(root))
    renderer = Renderer()
    for answers_file in sorted((root / layout.NOTEBOOK_ANSWERS).glob("*.yml")):
        try:
            (notebook,) = templates.read_answers(answers_file)["notebooks"]
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
        folders = [folder for folder in file.parents if root in folder.parents]
        if any(path.is_symlink() for path in (file, answers_file, *folders)):
            plan.keep(file, "it is reached by a symlink, which is not followed")
            continue
        if not file.is_file():
            plan.keep(file, "it is not a file")
            continue
        try:
            same = renderer.notebook(notebook).encode() == file.read_bytes()
        except DagmarError as error:
            plan.keep(file, f"cannot find out whether it was changed: {error.message}")
            continue
        if same:
            yield _item(NOTEBOOK, file, answers_file)
        else:
            plan.keep(file, "it or its template was changed since it was scaffolded")


def _migrations(root: Path) -> Iterator[Path]:
    """Yield the reports of `invoke migrate` that nobody has edited, next to their notebooks."""
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in sorted(names):
            file = Path(folder, name)
            plain = file.is_file() and not file.is_symlink()  # to read a pipe would wait forever
            if plain and name.endswith(report.SUFFIX) and report.is_unchanged(file):
                yield file


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
