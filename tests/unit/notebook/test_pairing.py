"""Which notebook is paired with what, read as syntax."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from dagmar.notebook.pairing import Pairings, read_pairings


def pairings(root: Path, **files: str) -> Pairings:
    for name, text in files.items():
        file = root / "notebooks" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return read_pairings(root, root / "notebooks")


CALLS = {
    "attribute": "import dagmar\npair = dagmar.Pair(asset='raw/orders')\n",
    "name": "from dagmar import Pair\nPair(asset='raw/orders')\n",
    "in a cell": "@app.cell\ndef _(dagmar):\n    pair = dagmar.Pair(\n        asset='raw/orders',\n"
    "        target='prod',\n    )\n    return (pair,)\n",
    "joined text": "dagmar.Pair(asset='raw' '/orders')\n",
    "under another name": "import dagmar as d\nd.Pair(**more, asset='raw/orders')\n",
}


@pytest.mark.parametrize("text", CALLS.values(), ids=CALLS)
def test_the_asset_of_a_pair_is_found(text: str, tmp_path: Path) -> None:
    read = pairings(tmp_path, orders=text)
    assert read.assets == {"raw/orders": ["notebooks/orders.py"]}
    assert read.jobs == {}


def test_the_job_of_a_pair_is_found(tmp_path: Path) -> None:
    read = pairings(tmp_path, report="dagmar.Pair(job='nightly')\n")
    assert read == Pairings(jobs={"nightly": ["notebooks/report.py"]})


def test_the_selection_of_a_pair_is_found(tmp_path: Path) -> None:
    read = pairings(tmp_path, sales="dagmar.Pair(select='group:sales')\n")
    assert read == Pairings(selections={"group:sales": ["notebooks/sales.py"]})


def test_several_notebooks_and_several_pairs_are_found_in_order(tmp_path: Path) -> None:
    read = pairings(
        tmp_path,
        b="Pair(asset='x'); Pair(asset='x'); Pair(job='j')",
        a="Pair(asset='x'); Pair(asset='y')",
    )
    assert read.assets == {"x": ["notebooks/a.py", "notebooks/b.py"], "y": ["notebooks/a.py"]}
    assert read.jobs == {"j": ["notebooks/b.py"]}


OTHERS = {
    "a comment": "# dagmar.Pair(asset='x')\n",
    "a string": "text = \"dagmar.Pair(asset='x')\"\n",
    "a docstring": "def f():\n    '''dagmar.Pair(asset='x')'''\n",
    "another call": "Repair(asset='x'); PairUp(asset='x'); Pair().of(asset='x')\n",
    "a definition": "class Pair(asset): ...\ndef Pair(asset='x'): ...\n",
    "a computed key": "dagmar.Pair(asset=name)\ndagmar.Pair(asset=f'x{1}')\n",
    "another type": "dagmar.Pair(asset=1)\ndagmar.Pair(asset=b'x')\n",
    "another argument": "dagmar.Pair(target='x')\n",
    "a syntax error": "dagmar.Pair(asset='x'\n",
    "a null byte": "dagmar.Pair(asset='x')\n\x00",
    "nothing": "",
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_what_is_not_a_pair_is_ignored(text: str, tmp_path: Path) -> None:
    read = pairings(tmp_path, bad=text, good="Pair(asset='good')")
    assert read == Pairings(assets={"good": ["notebooks/good.py"]})


def test_bytes_that_are_not_text_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "latin.py").write_bytes(b"# \xe4\nPair(asset='x')\n")
    assert pairings(tmp_path, good="Pair(asset='g')").assets == {"g": ["notebooks/good.py"]}


def test_nothing_in_a_notebook_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    pairings(tmp_path, evil=f"open({str(mark)!r}, 'w')\nPair(asset=open({str(mark)!r}, 'w').name)")
    assert not mark.exists()


def test_pythons_warnings_about_a_notebook_are_not_shown(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = pairings(tmp_path, regex="import re\nre.compile('\\d')\nPair(asset='x')\n")
    assert read.assets == {"x": ["notebooks/regex.py"]}


def test_marimos_own_files_are_ignored(tmp_path: Path) -> None:
    inner = tmp_path / "notebooks" / "__marimo__"
    inner.mkdir(parents=True)
    (inner / "copy.py").write_text("Pair(asset='x')")
    deep = tmp_path / "notebooks" / "deep" / "er"
    deep.mkdir(parents=True)
    (deep / "n.py").write_text("Pair(asset='y')")
    assert pairings(tmp_path).assets == {"y": ["notebooks/deep/er/n.py"]}


def test_notebooks_outside_the_project_have_absolute_paths(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "n.py").write_text("Pair(asset='x')")
    read = read_pairings(tmp_path / "project", elsewhere)
    assert read.assets == {"x": [str(elsewhere / "n.py")]}


def test_without_a_folder_there_are_no_pairs(tmp_path: Path) -> None:
    assert read_pairings(tmp_path, tmp_path / "notebooks") == Pairings()
