"""What only works in Jupyter: its display, ipywidgets, dagstermill and papermill."""

# ruff: noqa: E501  the cells of one case are on one line

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.migrate.convert import convert
from dagmar.migrate.reading import read_notebook
from support.jupyter import converted, final_values, markdown, write_ipynb


def test_display_shows_everything_in_its_order(tmp_path: Path) -> None:
    cells = ("from IPython.display import HTML, display", "x = 1\ndisplay(x, HTML('<b>'))\nx + 1")
    result = converted(tmp_path, *cells)
    assert "display(x, mo.Html('<b>'))\n    display(x + 1)\n" in result.text
    assert "IPython" not in result.text
    assert not result.by_hand
    assert final_values(result) == {"x": 1}


def test_a_last_value_is_shown_where_it_shares_its_line(tmp_path: Path) -> None:
    cells = ("from IPython.display import display", "x = 'é'; display('ü', x); x + 'ö'")
    result = converted(tmp_path, *cells)
    assert "x = 'é'; display('ü', x); display(x + 'ö')\n" in result.text
    assert final_values(result) == {"x": "é"}


def test_a_module_of_the_project_is_not_the_library_of_that_name(tmp_path: Path) -> None:
    cells = ("from .IPython.display import HTML", "from . import papermill", "x = HTML('<b>')")
    result = converted(tmp_path, *cells)
    assert "from .IPython.display import HTML\n" in result.text
    assert "from . import papermill\n" in result.text
    assert "x = HTML('<b>')\n" in result.text
    assert "mo.Html" not in result.text


def test_output_is_cleared_before_the_next_is_shown(tmp_path: Path) -> None:
    cells = ("from IPython.display import clear_output", "clear_output(wait=True)\nx = 1")
    result = converted(tmp_path, *cells)
    assert "IPython" not in result.text
    assert final_values(result) == {"x": 1}


def test_a_display_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    result = converted(tmp_path, "def display(a):\n    return a\ny = display(3)")
    assert final_values(result)["y"] == 3


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("w.IntSlider(value=3, min=0, max=9, description='n')", "mo.ui.slider(step=1, value=3, start=0, stop=9, label='n')"),
        ("w.Dropdown(options=['a'], value='a')", "mo.ui.dropdown(options=['a'], value='a')"),
        ("w.IntSlider(3)", None),
        ("w.Text(value='a', layout=None)", None),
        ("w.interact(print, a=1)", None),
        ("w.Output()", None),
    ],
)  # fmt: skip
def test_widgets_have_an_equal_or_need_a_hand(
    tmp_path: Path, call: str, expected: str | None
) -> None:
    result = converted(tmp_path, "import ipywidgets as w", f"s = {call}")
    assert (expected or call) in result.text
    assert [remark.rule for remark in result.by_hand] == ["ipywidgets"] * (expected is None)


def test_dagstermill_is_mapped_to_the_pair(tmp_path: Path) -> None:
    result = converted(
        tmp_path,
        "import dagstermill\nfrom dagster import AssetMaterialization",
        "context = dagstermill.get_context(op_config={'a': 1})",
        "n = context.op_config['a']",
        "dagstermill.yield_event(AssetMaterialization(asset_key='k', metadata={'rows': n}))",
        asset="raw/orders",
    )
    assert "pair.report(rows=n)" in result.text
    assert "partition_key=pair.partition_key())" in result.text
    assert "import dagstermill" not in result.text
    assert not result.by_hand


def test_what_dagstermill_gave_to_dagster_needs_a_hand(tmp_path: Path) -> None:
    result = converted(tmp_path, "import dagstermill", "x = 1\ndagstermill.yield_result(x)")
    (remark,) = result.by_hand
    assert (remark.cell, remark.line, remark.rule) == (2, 2, "dagstermill")


def test_recorded_numbers_are_reported_by_the_pair(tmp_path: Path) -> None:
    cells = (
        "import papermill as pm\nimport scrapbook as sb",
        "sb.glue('rows', 3)",
        "pm.record('b', 2)",
    )
    assert "pair.report(rows=3)" in converted(tmp_path, *cells, asset="a").text
    result = converted(tmp_path, *cells, "pm.execute_notebook('a.ipynb', 'b.ipynb')")
    assert [remark.cell for remark in result.by_hand] == [2, 3, 4]


def test_a_star_import_names_what_is_used(tmp_path: Path) -> None:
    result = converted(tmp_path, "from math import *", "x = floor(pi)")
    assert "from math import floor, pi" in result.text
    assert final_values(result)["x"] == 3
    result = converted(tmp_path, "from math import *\nfrom cmath import *", "x = 1")
    assert [remark.rule for remark in result.by_hand] == ["import *", "import *"]


def test_a_name_that_no_cell_defines_needs_a_hand(tmp_path: Path) -> None:
    result = converted(tmp_path, "x = Out[3]", "y = missing")
    assert [remark.message for remark in result.by_hand] == [
        "`Out` is of Jupyter's kernel",
        "no cell defines `missing`",
    ]


def test_a_figure_is_shown_at_the_end_of_its_cell(tmp_path: Path) -> None:
    cells = ("import matplotlib.pyplot as plt", "plt.plot([1]);", "ax = plt.gca()", "plt.plot([1])")
    assert converted(tmp_path, *cells).text.count("    plt.show()\n") == 2


def test_files_are_found_from_the_new_notebook(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("abc", "utf-8")
    result = converted(tmp_path, "x = open('data.txt').read()\ny = 'data.txt'")
    assert final_values(result) == {"x": "abc", "y": "data.txt"}


def remarks_of(folder: Path, *cells: str, **options: Any) -> list[tuple[int, str, str]]:
    """Return the cell, the rule and what to do of what needs a hand."""
    remarks = converted(folder, *cells, **options).by_hand
    return [(remark.cell, remark.rule, remark.todo) for remark in remarks]


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        (("import pandas as pd", "d = pd.read_csv('data/orders.csv')"), "data/orders.csv"),
        (("import json\npath = 'data/orders.csv'", "d = open(file=path).read()"), "{root}/data/orders.csv"),
        (("import os\nDATA = os.path.join('s3://lake', 'raw')", "d = load(DATA + '/orders')\nload = id"), "s3://lake/raw/orders"),
        (("from pathlib import Path", "d = (Path('data') / 'orders.csv').read_text()"), "file://{root}/data/orders.csv"),
    ],
)  # fmt: skip
def test_pair_load_is_proposed_for_a_path_that_an_asset_writes(
    tmp_path: Path, cells: tuple[str, ...], place: str
) -> None:
    texts = {place.format(root=tmp_path): AssetKey("raw/orders"), "7 rows": AssetKey("other")}
    proposed = [
        remark
        for remark in converted(tmp_path, *cells, texts=texts, asset="a").remarks
        if remark.rule == "pair.load"
    ]
    assert [(remark.cell, remark.level) for remark in proposed] == [(2, "by hand")]
    assert proposed[0].todo.startswith('Write `pair.load("raw/orders")` in place of `')


def test_the_report_says_if_no_server_was_asked_for_paths(tmp_path: Path) -> None:
    cells = ("import pandas as pd", "d = pd.read_csv('/data/a.csv')", "x = len('b.csv')")
    (remark,) = (r for r in converted(tmp_path, *cells).remarks if r.rule == "pair.load")
    assert remark.message.endswith("is read: /data/a.csv")
    assert remark.level == "converted"


def test_a_file_that_another_cell_writes_is_remarked(tmp_path: Path) -> None:
    write = "path = 'out.csv'\nopen(path, 'w').write('a')\nn = 1"
    assert [place[:2] for place in remarks_of(tmp_path, write, "open('out.csv')")] == [(2, "files")]
    assert remarks_of(tmp_path, write, "open(path)") == []  # it depends on that cell
    assert remarks_of(tmp_path, write, "m = n", "if m:\n    open('out.csv')") == []
    assert remarks_of(tmp_path, "p.to_period('D')\np = 1", "p.floor('D')")[1:] == []


def test_relative_paths_are_found_or_remarked(tmp_path: Path) -> None:
    folder = tmp_path / "analysis"
    cells = ["open('new.txt', 'w').write('a')\nx = open('new.txt').read()", "y = 'new.txt'"]
    file = write_ipynb(folder / "old.ipynb", cells)
    source = read_notebook(file)
    target = tmp_path / "notebooks/old.py"
    moved = convert(source, target, "", "", False, tmp_path)
    assert not moved.by_hand
    assert final_values(moved) == {"x": "a", "y": "new.txt"}
    assert (folder / "new.txt").is_file()
    write_ipynb(file, ["%cd data\nopen('a.txt')"])
    (folder / "data").mkdir()
    (remark,) = convert(read_notebook(file), target, "", "", False, tmp_path).by_hand
    assert remark.message.endswith("as these do: data (cell 1)")
    write_ipynb(file, ["name = 'x/y.csv'", "open(file=name)\nprint('a/b', '%Y/%m')"])
    (remark,) = convert(read_notebook(file), target, "", "", False, tmp_path).by_hand
    assert remark.message.endswith("as these do: x/y.csv (cell 2)")


def test_what_marimo_refuses_or_does_not_see_needs_a_hand(tmp_path: Path) -> None:
    cells = (
        "import ipywidgets as w",
        "s = w.Checkbox(value=True)\nprint(s.value)",
        "n = s.value\ndef f():\n    return s.value",
        "globals()['n'] = 2",
        "ip = get_ipython()",
        "from IPython import get_ipython as kernel",
        "kernel().run_line_magic('pwd', '')",
    )
    found = remarks_of(tmp_path, *cells)
    assert [place[:2] for place in found] == [
        (2, "ipywidgets"),
        (4, "globals"),
        (5, "undefined"),
        (7, "undefined"),
    ]


def test_setting_up_pyplot_shows_no_figure(tmp_path: Path) -> None:
    setup = "import matplotlib.pyplot as plt\nplt.style.use('a')\ndef f():\n    plt.plot([1])"
    assert "plt.show()" not in converted(tmp_path, setup).text


def test_a_picture_elsewhere_needs_a_hand(tmp_path: Path) -> None:
    text = "![a](plots/a.png) ![b](https://example.com/b.png) ![c](public/c.png)"
    (remark,) = converted(tmp_path, markdown(text)).by_hand
    assert "public/a.png" in remark.todo
