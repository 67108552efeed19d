"""Projects with notebooks to export, exports without a run, and a check of exports folders."""

from __future__ import annotations

import json
import textwrap
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from dagmar.export import manifests
from dagmar.export.exporting import Exported
from dagmar.export.manifests import Manifest
from support.project import Project, make_project

HEAD = "import marimo\n\napp = marimo.App()\n\n"
GOOD = 'good():\nprint("forty-two")'


def write(folder: Path, *cells: str, name: str = "notebook", head: str = HEAD) -> Path:
    """Write a notebook of cells, each `name(arguments):` and its lines."""
    parts = [head]
    for cell in cells:
        first, _, body = cell.partition("\n")
        prefix, first = ("async ", first[6:]) if first.startswith("async ") else ("", first)
        lines = textwrap.indent(textwrap.dedent(body), "    ")
        parts.append(f"\n@app.cell\n{prefix}def {first}\n{lines}\n")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.py"
    file.write_text("".join(parts), "utf-8")
    return file


def paired(asset: str) -> str:
    """Return the beginning of a notebook that is paired with an asset."""
    return (
        f"import marimo\n\napp = marimo.App()\n\nwith app.setup:\n    import dagmar\n\n"
        f"    pair = dagmar.Pair(asset={asset!r})\n\n"
    )


def export_project(root: Path, settings: str = "", **notebooks: str) -> Project:
    """Create a project with notebooks of one cell each, by name."""
    project = make_project(root, settings)
    for name, cell in notebooks.items():
        write(root / "notebooks", cell, name=name)
    return project


def export(project: Project, *flags: str, **options: Any) -> tuple[int, list[dict[str, Any]], str]:
    """Call `invoke export --json`, and return its status, its exports and its stderr."""
    done = project.invoke("export", *flags, "--json", **options)
    exports = json.loads(done.stdout)["exports"] if done.stdout else []
    return done.returncode, exports, done.stderr


PAGE = "<!doctype html><p>" + "orders " * 500 + "</html>"


def orders_export(folder: Path, number: int = 1, status: str = manifests.OK) -> Exported:
    """Write an export of `orders.py`, of the day `number` of January, as `invoke export` would."""
    id = f"202601{number:02d}T000000Z-00000000"
    home = folder / "orders" / id
    home.mkdir(parents=True)
    (home / "orders.html").write_text(PAGE, "utf-8")
    (home / "orders.ipynb").write_text("{}", "utf-8")
    files = [manifests.describe(file) for file in sorted(home.iterdir())]
    manifest = Manifest(
        notebook="notebooks/orders.py", notebook_sha256="0", name="orders", id=id, status=status,
        started_at="", ended_at="", duration_s=1.0, files=files,
    )  # fmt: skip
    (home / manifests.NAME).write_text(manifest.as_text(), "utf-8")
    return Exported(manifest, home)


def ids(exports: Path, name: str) -> list[str]:
    """Return the ids of a notebook's exports, newest first."""
    return [manifest.id for _, manifest in manifests.read_all(exports / name)]


def assert_whole(exports: Path, unfinished: bool = False) -> int:
    """Assert that every visible export matches its manifest, and return their number.

    `unfinished` allows folders whose status says that they are not complete: those of an upload.
    """
    count = 0
    for folder in exports.glob("*/*"):
        if not manifests.FOLDER.fullmatch(folder.name):
            continue
        manifest = manifests.read(folder)
        if unfinished and (manifest is None or not manifest.whole):
            continue
        assert manifest is not None, f"{folder} has no manifest"
        for file in manifest.files:
            assert manifests.describe(folder / file.name) == file
            if file.name.endswith(".html"):
                assert (folder / file.name).read_text("utf-8").rstrip().endswith("</html>")
        count += 1
    for page in (*exports.glob("index.html"), *exports.glob("*/index.html")):
        assert page.read_text("utf-8").endswith("</html>\n")
    return count


def write_export(
    folder: Path,
    age: float,
    status: str = manifests.OK,
    text: str = "page",
    notebook: str = "notebooks/orders.py",
    asset: str = "",
) -> Manifest:
    """Write an export that is `age` days old."""
    moment = datetime.now(timezone.utc) - timedelta(days=age)
    id = f"{moment.strftime('%Y%m%dT%H%M%SZ')}-{int(age * 1000):08x}"
    home = folder / "orders" / id
    home.mkdir(parents=True)
    (home / "orders.html").write_text(text, "utf-8")
    manifest = Manifest(
        notebook=notebook, notebook_sha256="0", name="orders", id=id, status=status,
        started_at="", ended_at="", duration_s=1.0,
        files=[manifests.describe(home / "orders.html")],
        attached=[{"asset": asset}] if asset else [],
    )  # fmt: skip
    (home / "manifest.json").write_text(manifest.as_text(), "utf-8")
    return manifest
