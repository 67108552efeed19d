"""Files of the folder `public/` next to a notebook, embedded where a report refers to them.

marimo's own page embeds those that cells show; a report is read in another folder.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dagmar.notebook.fallbacks import text_of

LARGEST_BYTES = 10 << 20
"""A larger file is not embedded, as in what marimo embeds itself."""
FILE = r"""(?P<file>(?:\./)?public/[^"'()<>\n]+?)(?=["')>]|\s+["'])"""
SHOWN = re.compile(r"""(?P<before>\bsrc=["']|!\[[^\]]*\]\(<?|url\(["']?)""" + FILE)
IN_HEAD = re.compile(r"""(?P<before>\b(?:src|href)=["']|url\(["']?)""" + FILE)


def embed_in_page(html: str, folder: Path) -> str:
    """Return marimo's page with what its style sheets and the head of the page refer to."""
    head, end, body = html.partition("</head>")
    return _embed(head, folder, IN_HEAD) + end + body


def embed_in_notebook(notebook: dict[str, Any], folder: Path) -> None:
    """Embed the pictures that the cells of a Jupyter notebook (format 4) show."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = _embed(text_of(cell["source"]), folder)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for mimetype in {"text/html", "text/markdown"} & data.keys():
                data[mimetype] = _embed(text_of(data[mimetype]), folder)


def _embed(text: str, folder: Path, pattern: re.Pattern[str] = SHOWN) -> str:
    public = (folder / "public").resolve()

    def embed(match: re.Match[str]) -> str:
        name = unescape(match["file"])
        for file in ((folder / name).resolve(), (folder / unquote(name)).resolve()):
            # Neither `..` nor a link may lead out of the folder.
            if file.is_relative_to(public) and file.is_file():
                if file.stat().st_size > LARGEST_BYTES:
                    break
                kind = mimetypes.guess_type(file.name)[0] or "text/plain"
                data = base64.b64encode(file.read_bytes()).decode()
                return f"{match['before']}data:{kind};base64,{data}"
        return match[0]

    return pattern.sub(embed, text) if "public/" in text else text
