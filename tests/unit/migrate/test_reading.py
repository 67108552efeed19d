"""What is read from a Jupyter notebook, and why some files cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dagmar.errors import Invalid
from dagmar.migrate.model import Remark, lost_lines
from dagmar.migrate.reading import read_notebook


def written(folder: Path, **document: Any) -> Path:
    file = folder / "old.ipynb"
    file.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, **document}), "utf-8")
    return file


def test_sources_are_texts_or_lists_of_lines(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "code", "source": ["x = 1\n", "y = 2"], "metadata": {"tags": ["a"]}},
        {"cell_type": "markdown", "source": "# Title"},
    ]
    notebook = read_notebook(written(tmp_path, cells=cells))
    assert [cell.source for cell in notebook.cells] == ["x = 1\ny = 2", "# Title"]
    assert [cell.number for cell in notebook.cells] == [1, 2]
    assert notebook.cells[0].tags == {"a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
        (
            '{\n<<<<<<< HEAD\n "cells": []\n=======\n>>>>>>> x\n}',
            "conflict markers of a merge, line 2",
        ),
        ("print(1)", "is not JSON"),
        ("[1]", "it has no nbformat"),
        ('{"nbformat": 3, "worksheets": []}', "has format 3"),
        ('{"nbformat": 4}', "no list of cells"),
        (
            '{"nbformat": 4, "cells": [], "metadata": {"kernelspec": {"name": "ir"}}}',
            "notebook in R",
        ),
        (
            '{"nbformat": 4, "cells": [], "metadata": {"language_info": {"name": "julia"}}}',
            "notebook in julia",
        ),
    ],
)
def test_what_cannot_be_read_is_invalid_with_its_reason(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "old.ipynb"
    file.write_text(text, "utf-8")
    with pytest.raises(Invalid, match=message):
        read_notebook(file)


def test_a_line_is_lost_if_neither_the_result_nor_a_remark_has_it(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": "x = 1\nx = 1\n%cd a\ny = 2"}]
    notebook = read_notebook(written(tmp_path, cells=cells))
    remark = Remark(1, 3, "converted", "cd", "changes the folder")
    assert [lost.line for lost in lost_lines(notebook, "    x = 1\n    y = 2", [remark])] == [2]
