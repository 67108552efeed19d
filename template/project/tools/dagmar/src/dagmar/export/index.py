"""Pages to browse: one for each notebook with its exports, and one that lists the notebooks.

`link_reports` puts links to them on the assets of definitions.
"""

from __future__ import annotations

import sys
import warnings
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dagmar.export import manifests
from dagmar.export.folders import locked, place_of, writable
from dagmar.export.manifests import Manifest
from dagmar.files import temporary_of, write_atomically

if TYPE_CHECKING:
    from dagster import AssetSpec, Definitions

NAME = "index.html"
HALF_WRITTEN = temporary_of(NAME)
LINK = "reports"
"""The metadata of an asset that links to the page of its notebook's exports."""
STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1c2024; background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #ddd;
  vertical-align: top }
.ok { color: #18794e } .failed { color: #ce2c31 } small { color: #60646c }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #111 } th, td {
  border-color: #333 } a { color: #70b8ff } small { color: #b0b4ba } }
"""


def write(exports: Path, name: str) -> None:
    """Write the page of one notebook's exports, and the page of the folder."""
    with locked(exports), writable(exports):
        # The lock is held, so these are left over from processes that died.
        for file in (*exports.glob(f".{NAME}.*"), *(exports / name).glob(f".{NAME}.*")):
            if HALF_WRITTEN.fullmatch(file.name) and file.is_file() and not file.is_symlink():
                file.unlink()
        for page, text in pages(exports, name).items():
            write_atomically(exports / page, text)


def pages(exports: Any, name: str) -> dict[str, str]:
    """Return both pages, by their path in the exports folder, which is a Path or a UPath."""
    known = [manifest for _, manifest in manifests.read_all(exports / name)]
    whole = [manifest for manifest in known if manifest.whole]
    pages = {NAME: _folder_page(exports)}
    if whole:
        incomplete = [manifest.id for manifest in known if manifest.status == manifests.UPLOADING]
        pages[f"{name}/{NAME}"] = _notebook_page(name, whole, incomplete)
    return pages


def _notebook_page(name: str, listed: list[Manifest], incomplete: list[str]) -> str:
    """Return the page of one notebook's exports."""
    rows = []
    for manifest in listed:
        others = " · ".join(
            _link(f"{manifest.id}/{file.name}", file.name.rsplit(".", 1)[-1])
            for file in manifest.files
        )
        details = [f"{key} = {value}" for key, value in manifest.parameters.items()]
        details += [f"{key}: {value}" for key, value in manifest.reported.items()]
        if manifest.partition:
            details.append(f"partition {manifest.partition}")
        if manifest.error:
            details.append(f"{manifest.error.place}: {manifest.error.message}"[:200])
        rows.append(
            f"<tr><td>{_opened(manifest)}</td><td>{_status(manifest)}</td>"
            f"<td>{manifest.duration_s:.1f} s</td><td>{escape('; '.join(details))}</td>"
            f"<td><small>{others} · {_link(f'{manifest.id}/{manifests.NAME}', 'manifest')}"
            "</small></td></tr>"
        )
    newest = listed[0]
    about = " · ".join(filter(None, (newest.notebook, newest.asset or newest.job)))
    head = "<tr><th>exported (UTC)</th><th></th><th>took</th><th></th><th></th></tr>"
    back = '<p><a href="../index.html">all notebooks</a></p>'
    table = f"<table>{head}{''.join(rows)}</table>"
    sending = f"<p><small>upload not complete: {', '.join(incomplete)}</small></p>"
    body = f"<p><small>{escape(about)}</small></p>{table}{sending if incomplete else ''}{back}"
    return _page(newest.title or name, body)


def _folder_page(exports: Any) -> str:
    """Return the page that lists the notebooks, with the newest export of each."""
    rows = []
    for folder in sorted(exports.iterdir(), key=lambda folder: str(folder.name)):
        name = folder.name
        if name.startswith((".", "_")) or name == NAME or not folder.is_dir():
            continue
        exported = (manifest for _, manifest in manifests.read_all(folder))
        newest = next((manifest for manifest in exported if manifest.whole), None)
        if newest is None:
            continue
        rows.append(
            f"<tr><td>{_link(f'{name}/{NAME}', newest.title or name)}</td>"
            f"<td>{_opened(newest, f'{name}/')}</td><td>{_status(newest)}</td>"
            f"<td>{escape(newest.asset or newest.job or '')}</td></tr>"
        )
    head = "<tr><th>notebook</th><th>newest (UTC)</th><th></th><th>paired with</th></tr>"
    return _page("Reports", f"<table>{head}{''.join(rows)}</table>")


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def _opened(manifest: Manifest, base: str = "") -> str:
    when = manifest.started.strftime("%Y-%m-%d %H:%M:%S")
    page = manifest.page()
    return _link(f"{base}{manifest.id}/{page}", when) if page else when


def _status(manifest: Manifest) -> str:
    return f'<span class="{manifest.status}">{manifest.status}</span>'


def _link(target: str, text: str) -> str:
    return f'<a href="{quote(target)}">{escape(text)}</a>'


def link_reports(definitions: Definitions, root: str | Path = "") -> Definitions:
    """Return the definitions with a link on each asset that a notebook is paired with.

    It leads to the page that lists the notebook's exports, under `export.public_url` of
    dagmar.yaml, or on the server of a running `invoke dev`; without either nothing is added.
    `root` is the project, by default that of the caller's file.
    """
    import dagster as dg

    from dagmar.asset_key import AssetKey
    from dagmar.notebook.pairing import read_pairings
    from dagmar.project.layout import find_root, folder_of
    from dagmar.project.settings import load

    start = Path(root) if root else folder_of(sys._getframe(1).f_globals.get("__file__"))
    settings = load(find_root(start.resolve()))
    base = str(settings.export.get("public_url") or settings.reports_url).rstrip("/")
    if not base:
        return definitions
    paired = read_pairings(settings.root, settings.notebooks).assets
    pages = {
        key: f"{base}/{place_of(settings, (settings.root / paths[0]).resolve()).name}/{NAME}"
        for key, paths in paired.items()
    }

    def linked(spec: AssetSpec) -> AssetSpec:
        page = pages.get(AssetKey.from_parts(spec.key.path))
        if page is None:
            return spec
        return spec.merge_attributes(metadata={LINK: dg.MetadataValue.url(page)})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster calls it a preview
        return definitions.map_resolved_asset_specs(func=linked)
