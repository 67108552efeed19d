"""IPython's commands in cells: what is one, and that its Python does the same."""

# ruff: noqa: E501  the cells of one case are on one line

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.jupyter import converted, final_values

SAME: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "!": (("!echo a; exit 3", "x = 1"), {"x": 1}),
    "x = !cmd": (("x = !printf 'a\\nb'",), {"x": ["a", "b"]}),
    "!!": (("x = !!echo a",), {}),
    "expressions": (("n = 'a b'", "x = !echo \"{n}-{len(n)}\" $n '$n'", "y = !echo ${HOME:0:0}z"), {"x": ["a b-3 a b $n"]}),
    "braces of awk": (("n = 1", "x = !echo 4 5 | awk '{print $2}'"), {"x": ["5"]}),
    "continued": (("x = !echo a \\\n  b\ny = 1",), {"x": ["a b"], "y": 1}),
    "in a block": (("x = 0\nif True:\n    !true\nfor i in [1]:\n    %matplotlib inline\n    x = !echo 1",), {"x": ["1"]}),
    "in a text": (('x = """\n%cd /\n!rm -rf x\n"""',), {"x": "\n%cd /\n!rm -rf x\n"}),
    "in brackets": (("x = (7\n% 4)\ny = [1,\n  2]",), {"x": 3, "y": [1, 2]}),
    "after a backslash": (("x = 7 \\\n% 4",), {"x": 3}),
    "in a comment": (("# %cd /\nx = 1  # what?",), {"x": 1}),
    "%time": (("%time x = 3", "y = %time x + 1", "%%time\nz = 5"), {"x": 3, "y": 4, "z": 5}),
    "%timeit": (("x = 1", "%timeit x = 2", "%%timeit\nx = 3"), {"x": 1}),
    "%env": (("%env A_TEST=one", "x = %env A_TEST", "import os\ny = os.environ['A_TEST']", "%set_env A_TEST two"), {"x": "one", "y": "one"}),
    "%cd": (("%cd -q /", "x = %pwd", "y = !pwd"), {"x": "/", "y": ["/"]}),
    "help": (("x = 1", "x?\n?x\nx.real??\n%time?\ny = 2"), {"x": 1, "y": 2}),
    "quiet": (("%load_ext autoreload\n%autoreload 2\n%matplotlib inline\nx = 1",), {"x": 1}),
    "%%capture": (("%%capture\nx = 1\nprint(x)",), {"x": 1}),
    "!pip": (("!pip install -q pytest\n%pip install 'rich>=13'\nx = 1",), {"x": 1}),
    "%%writefile": (("%%writefile written.txt\na\n  b", "x = open('written.txt').read()"), {"x": "a\n  b\n"}),
    "%%bash": (("%%bash\nprintf a > bashed.txt\n# '\"\"", "x = open('bashed.txt').read()"), {"x": "a"}),
    "%%html": (("%%html\n<b>x</b>\n\n  <i>y</i>", "x = 1"), {"x": 1}),
    "an indented cell": (("    x = 1\n    if x:\n        %time y = 2",), {"x": 1, "y": 2}),
    "own names": (("shell = 5", "!true", "shell = 6"), {"shell": 6}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A_TEST", "zero")
    monkeypatch.setenv("SHELL", "/bin/bash")


@pytest.mark.parametrize(("cells", "expected"), SAME.values(), ids=SAME)
def test_the_python_does_what_the_command_did(
    tmp_path: Path, cells: tuple[str, ...], expected: dict[str, Any]
) -> None:
    result = converted(tmp_path, *cells)
    assert {remark.rule for remark in result.by_hand} <= {"files"}
    before = Path.cwd()
    try:
        values = final_values(result)
    finally:
        os.chdir(before)
    assert {name: values.get(name) for name in expected} == expected, result.text


def test_a_failing_cell_of_bash_fails(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        final_values(converted(tmp_path, "%%bash\nexit 3"))
    final_values(converted(tmp_path, "%%bash --no-raise-error\nexit 3"))


def test_sql_of_duckdbs_own_connection_is_marimos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagmar.migrate.magics.installed_version", lambda name: "1")
    cells = (
        "%load_ext sql\n%sql duckdb://",
        "%%sql totals <<\nselect 1 as a\nunion select 2",
        "%%sql\nselect 3",
        "n = %sql select 4",
    )
    result = converted(tmp_path, *cells, "t = totals")
    assert not result.by_hand
    for line in ('totals = mo.sql(r"""select 1 as a', '_rows = mo.sql(r"""select 3', "n = mo.sql("):
        assert f"    {line}" in result.text
    elsewhere = converted(tmp_path, "%sql sqlite://", "n = %sql select 4")
    assert ["engine" in remark.todo for remark in elsewhere.by_hand] == [True, True]


def test_a_file_that_was_run_gives_its_variables(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("import sys\na = sys.argv[1]\nunused = 1\n", "utf-8")
    result = converted(tmp_path, "%run other.py one", "b = a * 2")
    assert "unused" not in result.text
    assert final_values(result)["b"] == "oneone"


@pytest.mark.parametrize(
    ("cell", "rule", "todo"),
    [
        ("%%R\nx <- 1", "%%R", "Write what it did"),
        ("%%sql\nselect 1", "%%sql", "engine"),
        ("%%bash --out x\nls", "%%bash", "Write what it did"),
        ("%unknown a", "%unknown", "Write what it did"),
        ("x = %unknown a\ny = x", "%unknown", "Write what it did"),
        ("%pip install no-such-package-here", "%pip", "no-such-package-here"),
        ("!pip install no-such-package-here", "!", "no-such-package-here"),
        ("%run missing.py", "%run", "cannot be read"),
    ],
)
def test_what_has_no_equal_is_kept_as_text_in_a_cell_that_runs(
    tmp_path: Path, cell: str, rule: str, todo: str
) -> None:
    result = converted(tmp_path, cell, "z = 1")
    (remark,) = result.by_hand
    assert (remark.cell, remark.rule) == (1, rule)
    assert todo in remark.todo
    assert rule in remark.message
    assert "!!" not in remark.message
    for line in cell.splitlines()[:1]:
        assert f"# {line}" in result.text
    assert final_values(result)["z"] == 1
