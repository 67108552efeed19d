"""Notebooks rendered from the runner's templates, and from a user's own folder.

That Copier renders the same is tested in `tests/template/test_notebook_files.py`.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from dagmar.errors import Invalid
from dagmar.scaffold import rendering
from dagmar.scaffold.rendering import Renderer

DAILY: dict[str, Any] = {"name": "daily", "asset": "daily", "marimo": "0.25.2"}


def test_what_a_team_edits_in_the_runners_templates_is_what_it_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(rendering.FOLDER, tmp_path / "scaffold")
    cell = folder / "cells/yours.j2"
    cell.write_text(cell.read_text("utf-8").replace("# Your cells go here.", "# Ours."), "utf-8")
    monkeypatch.setattr(rendering, "FOLDER", folder)
    assert "# Ours." in Renderer().notebook(DAILY)


@pytest.mark.parametrize("frame", ["cells/notebook.j2", "template/cells/notebook.jinja"])
def test_a_folder_of_the_users_own_includes_cells_by_their_names_of_old_and_now(
    tmp_path: Path, frame: str
) -> None:
    shape = "{%- set cells = ['inputs', 'own/more/count'] -%}\n{%- include '" + frame + "' -%}\n"
    (tmp_path / "notebook.jinja").write_text(shape)
    (tmp_path / "more").mkdir()
    (tmp_path / "more/count.jinja").write_text("@app.cell\n{{ m.signature([]) }}\n    1 + 1\n")
    text = Renderer(tmp_path).notebook(DAILY | {"template": "own"})
    assert "@app.cell\ndef _():\n    1 + 1\n" in text
    assert 'dagmar.Pair(asset="daily")' in text


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ("\n{{ nothing }}", "'nothing' is undefined (notebook.jinja, line 2)"),
        ("\n\n{% if %}", "Expected an expression, got 'end of statement block' (notebook.jinja, l"),
        ("{% include 'cells/own/x.j2' %}", "'nothing' is undefined (x.jinja, line 3)"),
        ("{% include 'cells/nothing.j2' %}", "cells/nothing.j2 (notebook.jinja, line 1)"),
        ("{% include 'cells/own/../../secret.j2' %}", "cells/own/../../secret.j2"),
        ("\n{{ 1 / 0 }}", "ZeroDivisionError: division by zero (notebook.jinja, line 2)"),
        ("{{ 'a' + 1 }}", 'TypeError: can only concatenate str (not "int") to str (notebook.jinja'),
        ("{% include 'shapes/own.j2' %}", "RecursionError"),
        ("{{ ''.__class__.x }}", "is unsafe"),
        ("{{ '\\ud800' }}", "surrogates not allowed"),
    ],
)
def test_what_is_wrong_with_a_template_is_said_with_its_file_and_line(
    tmp_path: Path, shape: str, says: str
) -> None:
    own = tmp_path / "ours"
    own.mkdir()
    (tmp_path / "secret.jinja").write_text("secret")
    (own / "notebook.jinja").write_text(shape)
    (own / "x.jinja").write_text("\n\n{{ nothing }}")
    with pytest.raises(Invalid, match=f"the template does not render: .*{re.escape(says)}"):
        Renderer(own).notebook(DAILY | {"template": "own"})


def test_a_template_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "notebook.jinja").write_bytes(b"\xff")
    with pytest.raises(Invalid, match="the template does not render: UnicodeDecodeError"):
        Renderer(tmp_path).notebook(DAILY | {"template": "own"})
