"""Pages to browse: one for each notebook with its exports, and one that lists the notebooks."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dagmar.export import manifests
from dagmar.export.folders import locked, writable
from dagmar.export.manifests import Manifest
from dagmar.files import temporary_of, write_atomically

NAME = "index.html"
HALF_WRITTEN = temporary_of(NAME)
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
        for folder in (exports, exports / name):
            _sweep(folder)
        for file, text in pages(exports, name).items():
            write_atomically(exports / file, text)


def _sweep(folder: Path) -> None:
    """Remove what is left of pages whose process died; who holds the lock is alone here."""
    for file in folder.glob(f".{NAME}.*"):
        if HALF_WRITTEN.fullmatch(file.name) and file.is_file() and not file.is_symlink():
            file.unlink()


def pages(exports: Any, name: str) -> dict[str, str]:
    """Return both pages, by their place in the exports folder, which is a Path or a UPath."""
    found = [manifest for _, manifest in manifests.read_all(exports / name)]
    whole = [manifest for manifest in found if manifest.whole]
    made = {NAME: _folder_page(exports)}
    if whole:
        unfinished = [one.id for one in found if one.status == manifests.UPLOADING]
        made[f"{name}/{NAME}"] = _notebook_page(name, whole, unfinished)
    return made


def _newest(folder: Any) -> Manifest | None:
    """Return the newest export in a notebook's folder that is to be listed."""
    found = (manifest for _, manifest in manifests.read_all(folder))
    return next((manifest for manifest in found if manifest.whole), None)


def _notebook_page(name: str, found: list[Manifest], unfinished: list[str]) -> str:
    """Return the page of one notebook's exports."""
    rows = []
    for manifest in found:
        others = " · ".join(
            _link(f"{manifest.id}/{file.name}", file.name.rsplit(".", 1)[-1])
            for file in manifest.files
        )
        about = [f"{key} = {value}" for key, value in manifest.parameters.items()]
        about += [f"{key}: {value}" for key, value in manifest.reported.items()]
        if manifest.partition:
            about.append(f"partition {manifest.partition}")
        if manifest.error:
            about.append(f"{manifest.error.place}: {manifest.error.message}"[:200])
        rows.append(
            f"<tr><td>{_opened(manifest)}</td><td>{_status(manifest)}</td>"
            f"<td>{manifest.duration_s:.1f} s</td><td>{escape('; '.join(about))}</td>"
            f"<td><small>{others} · {_link(f'{manifest.id}/{manifests.NAME}', 'manifest')}"
            "</small></td></tr>"
        )
    newest = found[0]
    paired = newest.asset or newest.job
    about_it = f"{escape(newest.notebook)}{f' · {escape(paired)}' if paired else ''}"
    head = "<tr><th>exported (UTC)</th><th></th><th>took</th><th></th><th></th></tr>"
    back = '<p><a href="../index.html">all notebooks</a></p>'
    table = f"<table>{head}{''.join(rows)}</table>"
    sending = f"<p><small>not sent to the end: {', '.join(unfinished)}</small></p>"
    body = f"<p><small>{about_it}</small></p>{table}{sending if unfinished else ''}{back}"
    return _page(newest.title or name, body)


def _folder_page(exports: Any) -> str:
    """Return the page that lists the notebooks, with the newest export of each."""
    rows = []
    for folder in sorted(exports.iterdir(), key=lambda one: str(one.name)):
        name = folder.name
        if name.startswith((".", "_")) or name == NAME or not folder.is_dir():
            continue
        newest = _newest(folder)
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
