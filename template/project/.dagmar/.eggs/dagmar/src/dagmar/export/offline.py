"""Pages that need no network: all exports share marimo's scripts, styles and fonts in one file.

marimo's page loads its scripts as modules from a CDN. From `file://` a browser loads neither
modules nor style sheets, so they are packed into one plain script that hands them to the browser
as blobs and style elements (`docs/decisions/0011` lists what else was tried). Nothing is
downloaded: it is packed from the installed marimo.
"""

from __future__ import annotations

import base64
import json
import mimetypes
import re
from pathlib import Path

from dagmar.errors import SetupError
from dagmar.export.folders import locked, writable
from dagmar.files import write_atomically
from dagmar.notebook.compatibility import marimo_version, unsupported
from dagmar.project.layout import SHARED_ASSETS, make_folder

FOLDER = SHARED_ASSETS.name
SCRIPT = "marimo.js"
UNUSED = re.compile(r"loro_wasm|edit-page|node-sql-parser")
"""Parts that only an editor needs."""
IMPORT = re.compile(r"""(from|import\(|import)(["'`])\./([\w.-]+\.js)\2""")
ENTRY = re.compile(
    r'<script type="module"[^>]*src="([^"]*)/assets/(index-[\w-]+\.js)"[^>]*></script>'
)
STYLE = re.compile(r'\s*<link rel="stylesheet"[^>]*href="[^"]*/assets/([\w.-]+\.css)"[^>]*>')
OTHER_LINKS = re.compile(
    r'\s*<link rel="(?:modulepreload|preload|manifest|icon|apple-touch-icon)"[^>]*>'
)
EMBEDDED = re.compile(r"""url\((["']?)(?!data:)([^"')]+\.(?:woff2|png|svg))\1\)""")
OLD_FONT = re.compile(r""",?\s*url\((["']?)[^"')]+\.(?:woff|ttf)\1\)\s*format\(["']?\w+["']?\)""")
EXPORTED = re.compile(r"export\{\w+ as (\w+)\};?\s*$")
PRELOAD = """\
const load = async (module, needed) => {
  for (const name of needed ?? [])
    if (name.endsWith(".css")) globalThis.__MARIMO_STYLE__(name.replace(/^.*\\//, ""));
  return module();
};
export { load as %s };
"""
LOADER = Path(__file__).with_suffix(".js")
"""Hands the constants of the packed script to the browser."""


def share_assets(exports: Path) -> str:
    """Write what pages need into the exports folder, once for each marimo, and return its address.

    The address is relative to an export's folder. Raises SetupError for an unknown marimo.
    """
    from importlib import util

    version = marimo_version()
    script = exports / FOLDER / version / SCRIPT
    if not script.is_file():
        with writable(exports):
            make_folder(exports)
        with locked(exports), writable(exports):
            spec = util.find_spec("marimo")
            if not script.is_file() and spec and spec.origin:
                write_atomically(script, pack(Path(spec.origin).parent / "_static"))
    return f"../../{FOLDER}/{version}"


def use_shared(html: str, url: str) -> str:
    """Return marimo's page with the shared script in place of its modules and style sheets."""
    entry = ENTRY.search(html)
    if not entry:
        raise _unknown("its page loads no index script")
    mine = f'href="{entry[1]}/'

    def without(link: re.Match[str]) -> str:
        # Other links are of the user's own `html_head_file`.
        return "" if mine in link[0] else link[0]

    html = html.replace(entry[0], f'<script src="{url}/{SCRIPT}"></script>', 1)
    return STYLE.sub(without, OTHER_LINKS.sub(without, html))


def pack(static: Path) -> str:
    """Return marimo's scripts, styles, fonts and pictures as one script."""
    assets = static / "assets"
    index = (static / "index.html").read_text("utf-8")
    entry = ENTRY.search(index)
    if not entry:
        raise _unknown("its page loads no index script")
    scripts = [file for file in sorted(assets.glob("*.js")) if not UNUSED.match(file.name)]
    constants = {
        "MODULES": {file.name: _module(file) for file in scripts},
        "STYLES": {file.name: _style(file) for file in sorted(assets.glob("*.css"))},
        "FIRST": STYLE.findall(index),
        "ENTRY": entry[2],
    }
    lines = [
        f"const {name} = {json.dumps(value, ensure_ascii=False)};\n"
        for name, value in constants.items()
    ]
    return "{\n" + "".join(lines) + LOADER.read_text("utf-8") + "}\n"


def _module(file: Path) -> str:
    """Return a module that imports others by their names in the import map."""
    text = file.read_text("utf-8")
    if file.name.startswith("preload-helper-"):
        exported = EXPORTED.search(text)
        if not exported:
            raise _unknown(f"{file.name} exports something else")
        return PRELOAD % exported[1]
    text = IMPORT.sub(r"\1\2marimo-offline/\3\2", text)
    return text.replace("import.meta.url", "document.baseURI")


def _style(file: Path) -> str:
    """Return a style sheet with its fonts and pictures embedded."""

    def inline(match: re.Match[str]) -> str:
        embedded = file.parent / match[2]
        if not embedded.is_file():
            return match[0]
        kind = mimetypes.guess_type(embedded.name)[0] or "font/woff2"
        return f"url(data:{kind};base64,{base64.b64encode(embedded.read_bytes()).decode()})"

    return EMBEDDED.sub(inline, OLD_FONT.sub("", file.read_text("utf-8")))


def _unknown(what: str) -> SetupError:
    return unsupported(f"offline pages cannot be written: {what}", "Leave --offline out")
