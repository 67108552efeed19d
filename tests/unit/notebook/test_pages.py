"""The page of a notebook compared with marimo's own: what it shows, and which cells it marks."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dagmar.errors import Invalid
from dagmar.export.offline import use_shared
from dagmar.notebook.execute import Executed, execute, load, source_of
from dagmar.notebook.render import as_notebook, render

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PICTURE = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
HEAD = """\
import marimo

app = marimo.App(
    width="full",
    app_title="Sales & costs",
    css_file="style.css",
    html_head_file="head.html",
    layout_file="layouts/notebook.slides.json",
)

with app.setup:
    import sys

    import marimo as mo
"""
CELLS = {
    "text": "mo.md('# Heading\\n\\n![a picture](public/pixel.png) ![](<public/pixel.png>)')",
    "computed": "n = 40 + 2\nmo.md(f'{n} ![a picture](public/pixel.png)')\nreturn (n,)",
    "picture": "mo.image(src='public/pixel.png')",
    "outside": 'mo.Html(\'<img src="public/../style.css"><img src="public/link.css">\')',
    "stacked": "mo.vstack([mo.md('![](./public/pixel.png)'), 'x'])",
    "prints": "print('printed')\nprint('wrong', file=sys.stderr)",
    "plain": "[1, {'a': (2, None)}, 'text']",
    "empty": "return",
    "off": "x_off = 1\nreturn (x_off,)",
    "needs_off": "x_off",
    "broken": "x_broken = = 1\nreturn (x_broken,)",
    "star": "from math import *\nreturn",
    "first": "twice = 1\nreturn",
    "second": "twice = 2\nreturn",
    "circle": "one = other\nreturn (one,)",
    "back": "other = one\nreturn (other,)",
    "fails": "lost = n / 0\nreturn (lost,)",
    "silent": "raise ValueError",
    "prevented": "lost",
    "stopped": "mo.stop(True, mo.md('enough'))\nnever = 1\nreturn (never,)",
    "after": "never",
    "unshown": "class Bad:\n    def _repr_html_(self):\n        raise ValueError('no form')\nBad()",
    "last": "print('still')\n'the last one'",
}
ARGUMENTS = {
    "needs_off": "x_off", "circle": "other", "back": "one", "fails": "n", "prevented": "lost",
    "after": "never",
}  # fmt: skip
BROKEN = {
    "broken": "syntax", "star": "import-star", "first": "multiple-defs",
    "second": "multiple-defs", "circle": "cycle", "back": "cycle",
}  # fmt: skip


def write(folder: Path, head: str = HEAD, cells: dict[str, str] = CELLS) -> Path:
    """Write a notebook with everything next to it that its page may include."""
    parts = [head]
    for name, body in cells.items():
        decorator = "@app.cell(disabled=True)" if name == "off" else "@app.cell"
        lines = "".join(f"    {line}\n" if line else "\n" for line in body.splitlines())
        parts.append(f"\n\n{decorator}\ndef {name}({ARGUMENTS.get(name, '')}):\n{lines}")
    (folder / "public").mkdir()
    (folder / "public/pixel.png").write_bytes(PIXEL)
    (folder / "style.css").write_text("body { background: url('public/pixel.png') }")
    (folder / "public/link.css").symlink_to("../style.css")
    (folder / "head.html").write_text(
        '<meta name="mine"><link rel="icon" href="public/pixel.png">'
        '<link rel="stylesheet" href="https://example.com/assets/mine.css">'
    )
    (folder / "layouts").mkdir()
    layout = {"type": "slides", "data": {"cells": [{}], "deck": {}}}
    (folder / "layouts/notebook.slides.json").write_text(json.dumps(layout))
    file = folder / "notebook.py"
    file.write_text("".join(parts), "utf-8")
    return file


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("notebook"))


@pytest.fixture(scope="module")
def executed(notebook: Path) -> Executed:
    return execute(notebook)


@pytest.fixture(scope="module")
def page(executed: Executed) -> str:
    return render(executed, "html")


def mounted(page: str, name: str) -> Any:
    """Return a value that marimo's page hands to its scripts."""
    start = re.search(rf'^ +"{name}": ', page, re.MULTILINE)
    assert start, name
    return json.JSONDecoder().raw_decode(page[start.end() :])[0]


def shown(page: str) -> dict[str, dict[str, Any]]:
    """Return what each cell of a page shows, by the cell's name."""
    cells = {cell["id"]: cell for cell in mounted(page, "notebook")["cells"]}
    return {
        cells[cell["id"]]["name"]: {
            "code": cells[cell["id"]]["code"],
            "config": cells[cell["id"]]["config"],
            "outputs": [_plain(output) for output in cell["outputs"] if _plain(output)],
            "console": _text(cell["console"]),
        }
        for cell in mounted(page, "session")["cells"]
    }


def _plain(output: dict[str, Any]) -> Any:
    """Return an output without what differs each time; nothing if it is empty."""
    if output["type"] == "error":
        return output["ename"], output["evalue"]
    data = {kind: data for kind, data in output["data"].items() if data}
    return re.sub(r"(object|random)-id='[^']*'", "", json.dumps(data)) if data else None


def _text(console: list[dict[str, Any]]) -> list[tuple[str, str]]:
    plain = [entry for entry in console if entry.get("mimetype") == "text/plain"]
    return [(entry["name"], entry["text"]) for entry in plain]


def test_a_page_shows_what_marimos_own_page_shows(notebook: Path, page: str) -> None:
    peer = notebook.with_suffix(".html")
    command = ["-m", "marimo", "--quiet", "export", "html", str(notebook), "--no-sandbox"]
    done = subprocess.run(
        [sys.executable, *command, "--output", str(peer)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr  # as ours, status 4
    theirs = peer.read_text("utf-8")
    for name in ("appConfig", "layout", "filename"):
        assert mounted(page, name) == mounted(theirs, name), name
    for element in ("title", "meta", "style"):
        pattern = rf"<{element}\b[^>]*>(?:[^<]*</{element}>)?"
        ours = [found.replace(PICTURE, "public/pixel.png") for found in re.findall(pattern, page)]
        assert ours == re.findall(pattern, theirs), element
    ours, expected = shown(page), shown(theirs)
    assert list(ours) == list(expected)
    # marimo shows the traceback of its formatter apart; here it is printed.
    assert "ValueError: no form" in ours["unshown"].pop("console")[0][1]
    expected["unshown"].pop("console")
    assert ours == expected


def test_broken_cells_are_marked_and_the_others_are_run(executed: Executed, page: str) -> None:
    cells = shown(page)
    for name, kind in BROKEN.items():
        assert cells[name]["outputs"][0][0] == kind, name
    assert "the last one" in cells["last"]["outputs"][0]
    assert executed.values["n"] == 42
    assert executed.failure is not None
    assert (executed.failure.place, executed.failure.kind) == ("broken", "SyntaxError")
    lines = executed.path.read_text("utf-8").splitlines()
    line = lines.index("    x_broken = = 1") + 1
    assert f'File "notebook.py", line {line}\n' in str(executed.failure.traceback)


@pytest.mark.parametrize(
    ("cells", "place", "text"),
    [
        ({"first": "x = 1", "second": "x = 2"}, "first",
         "MultipleDefinitionError: The variable 'x' was defined by another cell: second"),
        ({"circle": "one = other", "back": "other = one"}, "circle",
         "CycleError: This cell is in a cycle"),
        ({"star": "from math import *"}, "star",
         "ImportStarError: Importing symbols with `import *` is not allowed in marimo."),
        ({"_": "x = (", "y": "1"}, "cell 1", "SyntaxError: '(' was never closed"),
    ],
)  # fmt: skip
def test_the_first_broken_cell_is_the_failure(
    tmp_path: Path, cells: dict[str, str], place: str, text: str
) -> None:
    executed = execute(write(tmp_path, "import marimo\n\napp = marimo.App()\n", cells))
    assert executed.failure is not None
    assert (executed.failure.place, executed.failure.text) == (place, text)


def test_a_cell_that_fails_in_the_setup_prevents_only_what_needs_it(tmp_path: Path) -> None:
    head = "import marimo\n\napp = marimo.App()\n\nwith app.setup:\n    import math\n\n    1 / 0\n"
    executed = execute(write(tmp_path, head, {"needs": "root = math.sqrt(4)", "free": "x = 1"}))
    assert executed.failure is not None
    assert executed.failure.place == "setup"
    assert executed.values.get("x") == 1
    assert "root" not in executed.values


@pytest.mark.parametrize("format", ["html", "ipynb", "md"])
def test_without_code_the_errors_of_broken_cells_quote_none(
    executed: Executed, format: str
) -> None:
    text = render(executed, format, code=False)
    assert "the last one" in text
    quoted = ("x_broken", "from math", "'twice'", "no form")
    assert [part for part in quoted if part in text] == []


def test_a_broken_notebook_can_be_read_as_marimo_would_save_it(notebook: Path) -> None:
    app = load(notebook)
    assert "_unparsable_cell" in source_of(notebook, app).text


def test_a_merge_that_was_not_finished_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, cells={"both": "<<<<<<< HEAD\nx = 1\n=======\nx = 2\n>>>>>>> b"})
    file.write_text(file.read_text("utf-8").replace("    <<<<<<<", "<<<<<<<"), "utf-8")
    with pytest.raises(Invalid, match="has conflict markers of a merge"):
        load(file)


def test_pictures_of_public_are_embedded_in_every_format(executed: Executed, page: str) -> None:
    cells = {
        cell["metadata"]["marimo"]["name"]: cell for cell in as_notebook(executed)["cells"][1:]
    }
    assert f"![a picture]({PICTURE}) ![](<{PICTURE}>)" in "".join(cells["text"]["source"])
    for name in ("computed", "picture", "stacked"):
        assert PICTURE in json.dumps(cells[name]["outputs"]), name
    # Nothing outside of the folder is embedded.
    assert "base64" not in json.dumps(cells["outside"]["outputs"])
    assert f"![a picture]({PICTURE})" in render(executed, "md")
    assert f"background: url('{PICTURE}')" in page
    assert f'<link rel="icon" href="{PICTURE}">' in page


def test_a_page_reveals_no_folder_of_this_machine(notebook: Path, executed: Executed) -> None:
    traces = re.compile(r'"text": "(?:[^"\\]|\\.)*"')
    assert str(notebook.parent) not in traces.sub("", render(executed, "html"))


def test_what_a_notebook_puts_into_the_head_stays_in_an_offline_page(executed: Executed) -> None:
    page = use_shared(render(executed, "html", True, "../x"), "../x")
    assert '<script src="../x/marimo.js"></script>' in page
    assert 'href="../x/' not in page
    assert f'<meta name="mine"><link rel="icon" href="{PICTURE}">' in page
    assert '<link rel="stylesheet" href="https://example.com/assets/mine.css">' in page


def test_a_style_sheet_that_is_not_text_is_refused(tmp_path: Path) -> None:
    executed = execute(write(tmp_path, cells={"x": "1"}))
    (tmp_path / "style.css").write_bytes(b"\xff\xfe")
    with pytest.raises(Invalid, match="it is not UTF-8 text"):
        render(executed, "html")
