"""The manifest of an export: what it was created from, and what belongs to it.

`manifest.json` is in the export's folder, and proves that dagmar created the folder: a folder
without one that fits is never removed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from dagmar.failure import Failure
from dagmar.files import UNREADABLE, encodable

NAME = "manifest.json"
FORMAT = 1
FOLDER = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{8}")
OK, FAILED, PLANNED, UPLOADING, REMOVING = "ok", "failed", "planned", "uploading", "removing"
"""The statuses: planned by `--dry-run`; sent, or removed, until all files are there, or gone."""


@dataclass(frozen=True)
class File:
    """A file of an export: its name in the folder, its bytes, and their SHA-256."""

    name: str
    bytes: int
    sha256: str


@dataclass
class Manifest:
    """What an export was created from. Times are UTC in ISO 8601, durations seconds."""

    notebook: str
    notebook_sha256: str
    name: str
    id: str
    status: str
    started_at: str
    ended_at: str
    duration_s: float
    title: str = ""
    git_revision: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    executed_by: str = "dagmar"
    parameters: dict[str, Any] = field(default_factory=dict)
    code: bool = True
    offline: bool = False
    asset: str | None = None
    job: str | None = None
    partition: str | None = None
    run_id: str | None = None
    reported: dict[str, Any] = field(default_factory=dict)
    error: Failure | None = None
    files: list[File] = field(default_factory=list)
    attached: list[dict[str, Any]] = field(default_factory=list)
    uploaded: list[dict[str, Any]] = field(default_factory=list)
    tool: str = "dagmar"
    format: int = FORMAT

    @property
    def ok(self) -> bool:
        """Whether every cell succeeded."""
        return self.status == OK

    @property
    def whole(self) -> bool:
        """Whether all its files are there: it is neither being sent nor removed."""
        return self.status in (OK, FAILED)

    @property
    def started(self) -> datetime:
        """When the export was started, by the name of its folder. Raises ValueError."""
        match = FOLDER.fullmatch(self.id)
        if not match:
            raise ValueError(self.id)
        return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)

    def page(self) -> str:
        """Return the file that a person opens; empty if there is none."""
        suffixes = (".html", ".ipynb", ".md")
        files = (file for suffix in suffixes for file in self.files if file.name.endswith(suffix))
        return next((file.name for file in files), "")

    def as_text(self) -> str:
        """Return the text of the file."""
        error = self.error and self.error.as_document("cell")
        document = {**asdict(self), "error": error}
        return encodable(json.dumps(document, indent=2, ensure_ascii=False)) + "\n"


def unwritten(notebook: str, status: str, id: str = "", error: Failure | None = None) -> Manifest:
    """Return the manifest of an export without files: it is only planned, or was refused."""
    return Manifest(notebook, "", "", id, status, "", "", 0.0, error=error)


def parse(text: str, id: str) -> Manifest | None:
    """Return the manifest of the export called `id`, or None for any other text."""
    try:
        values = json.loads(text)
        files = [File(**file) for file in values.pop("files")]
        error = values.pop("error", None)
        failure = Failure.from_document(error, "cell") if error else None
        manifest = Manifest(**values, error=failure, files=files)
        links = [asset["asset"] for asset in manifest.attached]
        links += [upload.get("url", upload.get("since")) for upload in manifest.uploaded]
        if not (_fits(manifest, Manifest) and _fits(links, list[str])):
            return None
        manifest.started  # noqa: B018  raises ValueError for an id that is not a time
    except UNREADABLE:
        return None
    plain = all("/" not in file.name and file.name not in ("", "..", ".") for file in files)
    expected = manifest.tool == "dagmar" and manifest.format == FORMAT and manifest.id == id
    return manifest if expected and plain else None


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the type that an annotation names, down to what it holds."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind is UnionType:
        return any(_fits(value, part) for part in parts)
    if kind is Any or not isinstance(value, (int, float) if kind is float else kind):
        return kind is Any
    if is_dataclass(kind):
        return all(_fits(getattr(value, name), of) for name, of in get_type_hints(kind).items())
    held: Any = value.values() if isinstance(value, dict) else value
    return kind not in (dict, list) or all(_fits(each, parts[-1]) for each in held)


def read(folder: Any) -> Manifest | None:
    """Return the manifest of an export's folder, or None if dagmar did not create it."""
    try:
        if folder.is_symlink():
            return None
        return parse((folder / NAME).read_text("utf-8"), folder.name)
    except (OSError, ValueError):
        return None


def read_all(folder: Any) -> Iterator[tuple[Any, Manifest]]:
    """Yield the exports in a notebook's folder, newest first. A folder is a Path or a UPath."""
    try:
        exports = sorted(folder.iterdir(), key=lambda export: export.name, reverse=True)
    except OSError:
        return
    for export in exports:
        if FOLDER.fullmatch(export.name) and (manifest := read(export)):
            yield export, manifest


def cell_of(error: Failure) -> str:
    """Return the cell that failed; the place of a cell without a name is `cell 2` already."""
    cell = error.place or ""
    return cell if not cell or cell.startswith("cell ") else f"cell {cell}"


def describe(file: Path) -> File:
    """Return the entry of a file in a manifest."""
    data = file.read_bytes()
    return File(file.name, len(data), digest(data))


def digest(data: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(data).hexdigest()
