"""What dagmar leaves in a project: exports, cache and logs, and files of the user next to them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from dagmar.export import manifests
from dagmar.export.manifests import Manifest


def export(
    root: Path,
    notebook: str,
    name: str,
    status: str = "ok",
    files: tuple[str, ...] = ("a.html",),
    assets: tuple[str, ...] = (),
) -> Path:
    """Write an export with its manifest."""
    folder = root / ".dagmar/exports" / notebook / name
    for file in files:
        make(folder, file, "x" * 1000)
    manifest = Manifest(
        notebook=f"notebooks/{notebook}.py", notebook_sha256="0", name=notebook, id=name,
        status=status, started_at="", ended_at="", duration_s=1.0,
        files=[manifests.describe(folder / file) for file in files],
        attached=[{"asset": asset} for asset in assets],
    )  # fmt: skip
    make(folder, "manifest.json", manifest.as_text())
    return folder


def id_of(number: int) -> str:
    """Return the id of an export that was made on a day of January."""
    return f"202601{number:02d}T000000Z-00000000"


def age(path: Path, days: float) -> None:
    """Make a file as old as that."""
    changed = time.time() - days * 86400
    os.utime(path, (changed, changed))


def make(root: Path, name: str, text: str = "x") -> Path:
    """Write a file, and the folders that it needs."""
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


OLD = [f".dagmar/exports/orders/{id_of(number)}" for number in (1, 2)]
CACHED = ".dagmar/cache/assets-0123456789abcdef.json"
LOGS = [".dagmar/logs/dagster.log", ".dagmar/logs/dagster.log.1"]


def fill(root: Path) -> None:
    """Write exports, of which the last one stays, cache and logs, and a history of runs."""
    for name in (id_of(1), id_of(2), id_of(3)):
        export(root, "orders", name)
    make(root, ".dagmar/cache/assets-0123456789abcdef.json", "[]")
    make(root, ".dagmar/logs/dagster.log")
    make(root, ".dagmar/logs/dagster.log.1")
    make(root, ".dagmar/dagster_home/history/runs.db")
