"""`invoke migrate`: which notebooks, where they go, what is refused, and what stays as it is."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from dagmar.errors import Conflict, DagmarError, Invalid, UsageError
from dagmar.migrate.migrating import MigrateRequest, migrate
from dagmar.project.settings import load
from dagmar.server.catalog import Catalog
from support import forked
from support.git import git
from support.jupyter import code, converted, final_values, markdown, write_ipynb

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dagmar.yaml").write_text("{}\n", "utf-8")
    (tmp_path / "tasks.py").write_text(
        "from dagmar.tasks import namespace\n\nns = namespace(__file__)\n", "utf-8"
    )
    return tmp_path


@pytest.fixture
def invoke(root: Path) -> Call:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return forked.invoke(["migrate", *arguments], root, {}, 60)

    return call


CELLS = [
    markdown("# Orders\n\n$\\alpha \\over 2$"),
    code("rows = 10", "parameters"),
    code("rows = 20", "injected-parameters"),
    {"cell_type": "raw", "source": "\\LaTeX", "metadata": {}},
    "",
    "total = rows * 2",
]


def test_each_kind_of_cell_has_its_place_and_the_result_passes_check(
    root: Path, invoke: Call
) -> None:
    file = write_ipynb(root / "analysis/My orders.ipynb", CELLS)
    before = file.read_bytes()
    done = invoke("--notebook", "analysis/My orders.ipynb", "--job", "nightly", "--json")
    assert done.returncode == 0, done.stderr
    text = (root / "notebooks/my_orders.py").read_text("utf-8")
    assert 'pair = dagmar.Pair(job="nightly")' in text
    assert "def inputs():\n    rows = 10\n" in text
    assert "$\\alpha \\over 2$" in text
    assert "```text\n    \\LaTeX\n" in text
    assert "rows = 20" not in text
    assert file.read_bytes() == before
    (document,) = json.loads(done.stdout)["notebooks"]
    dropped = {
        (item["cell"], item["rule"]) for item in document["remarks"] if item["level"] == "dropped"
    }
    assert dropped == {(3, "injected-parameters"), (5, "empty")}
    assert forked.invoke(["check"], root, {}, 60).returncode == 0
    with pytest.raises(Conflict, match="exists"):
        migrate(load(root), MigrateRequest(notebooks=[str(file)]), None).raise_for_status()
    git(root, "init", "-q")
    git(root, "add", "notebooks")
    again = invoke("--notebook", "analysis/My orders.ipynb", "--force", "--asset", "x", "--json")
    assert json.loads(again.stdout)["notebooks"][0]["status"] == "overwritten"
    assert 'pair = dagmar.Pair(asset="x")' in (root / "notebooks/my_orders.py").read_text("utf-8")


def test_all_finds_the_projects_notebooks_and_a_dry_run_writes_nothing(
    root: Path, invoke: Call
) -> None:
    for place in ("a", "b/c", ".dagmar/exports/x", ".ipynb_checkpoints", "b/.venv/lib"):
        write_ipynb(root / place / f"{place[0]}_book.ipynb", ["x = 1"])
    done = invoke("--all", "--outputs", "comments", "--dry-run", "--json")
    found = [book["path"] for book in json.loads(done.stdout)["notebooks"]]
    assert found == ["notebooks/a_book.py", "notebooks/b_book.py"]
    assert not (root / "notebooks").exists()
    write_ipynb(root / "a/a_book.ipynb", ["%unknown"])
    assert "invoke dev" not in invoke("--notebook", "a/a_book.ipynb", "--dry-run").stderr


def test_one_bad_notebook_does_not_stop_the_others(root: Path) -> None:
    write_ipynb(root / "a/book.ipynb", ["x = 1"])
    write_ipynb(root / "b/book.ipynb", ["x = 1"])
    write_ipynb(root / "b/good.ipynb", ["x = 1"])
    (root / "b/empty.ipynb").touch()
    result = migrate(load(root), MigrateRequest(everything=True), None)
    assert [book.status for book in result.notebooks] == ["created", "failed", "failed", "created"]
    errors = [str(book.error) for book in result.notebooks if book.error]
    assert "would both be notebooks/book.py" in errors[0]
    assert "is empty" in errors[1]
    with pytest.raises(DagmarError) as info:
        result.raise_for_status()
    assert info.value.exit_code == 4  # they differ


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "one or more --notebook"),
        ({"notebooks": ["a"], "everything": True}, "one or more --notebook"),
        ({"notebooks": ["a"], "asset": "a", "job": "b"}, "an asset or a job"),
        ({"notebooks": ["a", "b"], "asset": "a"}, "--asset is for one notebook"),
        ({"notebooks": ["a"], "outputs": "comment"}, "did you mean 'comments'"),
    ],
)
def test_flags_that_do_not_fit_together(flags: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MigrateRequest(**flags)  # type: ignore[arg-type]


def test_outputs_become_comments_only_if_asked_for(tmp_path: Path) -> None:
    output = {"output_type": "stream", "name": "stdout", "text": ["a\n", "b\x1b[31m\n"] * 20}
    cell = code("print(1)", outputs=[output])
    assert "# a" not in converted(tmp_path, cell).text
    text = converted(tmp_path, cell, outputs=True).text
    assert text.count("# a\n") == 10
    assert "# … 20 more lines" in text
    assert "\x1b" not in text


def test_attachments_are_files_in_public(tmp_path: Path) -> None:
    bundle = {"image/png": base64.b64encode(b"png").decode()}
    cell = markdown("![x](attachment:../a%20b.png)", attachments={"../a b.png": bundle})
    result = converted(tmp_path, cell)
    assert result.files == {tmp_path / "notebooks/public/a_b.png": b"png"}
    assert "![x](public/a_b.png)" in result.text
    assert [(remark.line, remark.level) for remark in result.remarks] == [
        (None, "converted"),
        (1, "converted"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        '"""', "a\\", '\\alpha "', "    x = 1", "ab\n\n  c", "'''\"\"\"", '"""\n0\\\nx',
        "\x0c x\u2028y",
        "$$\\begin{align}\\\\a\\end{align}$$", "{x} %s", "- a\n    - b",
    ],
)  # fmt: skip
def test_markdown_is_shown_as_it_was(tmp_path: Path, text: str) -> None:
    import ast
    import inspect

    result = converted(tmp_path, markdown(text), "x = 1")
    from dagmar.notebook.internals import MarimoConvert

    saved = MarimoConvert.from_py(result.text)
    assert saved.to_py() == result.text
    code = ast.walk(ast.parse(saved.to_ir().cells[1].code))
    (constant,) = (str(node.value) for node in code if isinstance(node, ast.Constant))
    shown = inspect.cleandoc(constant)
    assert shown.removeprefix("<!-- -->\n\n") == re.sub("[\x0c\u2028]", " ", text)


def test_a_bad_cell_costs_one_cell(tmp_path: Path) -> None:
    result = converted(tmp_path, "x = (", "y = 2", "return 3")
    assert "# x = (" in result.text
    assert "\n    y = 2\n" in result.text
    assert [(remark.cell, remark.level, remark.rule) for remark in result.remarks] == [
        (1, "by hand", "syntax"),
        (3, "by hand", "syntax"),
    ]
    assert final_values(result) == {"y": 2}


def test_a_server_that_is_named_must_answer_and_a_pair_be_known(root: Path, invoke: Call) -> None:
    write_ipynb(root / "old.ipynb", ["x = 1"])
    nowhere = invoke("--notebook", "old.ipynb", "--url", "http://127.0.0.1:9")
    assert nowhere.returncode == 5
    assert invoke("--notebook", "old.ipynb", "--target", "nowhere").returncode == 2
    assert not (root / "notebooks").exists()
    catalog = Catalog("", "1.13", [], assets=[], jobs=[])
    with pytest.raises(Invalid, match="there is no asset 'raw/orders'"):
        migrate(load(root), MigrateRequest(notebooks=["old.ipynb"], asset="raw/orders"), catalog)
