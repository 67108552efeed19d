"""Notebooks as rendered: marimo accepts them, and text from Dagster stays text."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagmar.scaffold.naming import TAKEN
from dagmar.scaffold.rendering import Renderer
from hypothesis import given, settings
from hypothesis import strategies as st
from support.notebook_project import render_notebooks
from support.template_releases import ORDERS, SALES, Project, Template

HOSTILE = {
    "quotes": 'it\'s "raw"',
    "triple": "\"\"\"\nimport os  # '''",
    "backslash": "\\N{DEGREE SIGN} \\u \\",
    "jinja": "{{ 7 * 7 }} {% raw %} {# x #}",
    "fstring": "{ASSET!r} {{",
    "newlines": "a\nb\r\nc\x85d\u2028e\x0cf",
    "emoji": "Café 😀 \U0001f469\u200d\U0001f4bb",
    "html": "<img src=x onerror=alert(1)> & </h1>",
    "surrogate": "\ud83d alone",
    "long": "x" * 300,
    "markdown": "raw/__orders__ a~b~c *x* `y` $z$ ^1^ :smile: me@x.org # \\*",
    "links": "https://x.y/z www.example.com [a](b) ![c](d) [^1]",
    "item": "1. x",
    "key": "raw/daily_sales dash-ed.key",
    "sentence": "It's: 1.5 of 2",
    "spaces": "1\xa0000 rows",
    "ending": "x\n\n\n@app.cell\ndef _():\n    boom\n",
}
READABLE = ("key", "sentence")

SHAPES = ("default", "minimal", "ml", "report", "stats")
MINIMAL = ORDERS | {
    "template": "minimal",
    "inputs": [{"name": "customers", "asset": "raw/customers"}],
}
LONG = [{"name": f"an_input_with_a_long_name_{i}", "asset": f"raw/in-{i}.x"} for i in range(3)]
FACTS = {
    "asset": {"asset": "raw/orders"},
    "one": {"asset": "raw/orders", "inputs": [{"name": "customers", "asset": "raw/customers"}]},
    "many": {"asset": "raw/orders", "inputs": LONG},
    "wide": {"asset": "x", "inputs": [{"name": "an_input" * 12, "asset": "y"}]},
    "days": {"asset": "days", "partitioned": True},
    "external": {"asset": "lake/events", "materializable": False},
    "job": {"job": "sales_job"},
    "options": {"job": "sales_job", "set": {"width": "full"}},
}


def paired(name: str, text: str, shape: str, inputs: bool = True) -> dict[str, Any]:
    """Describe a notebook that has `text` wherever text from Dagster can stand."""
    some = [{"name": "a", "asset": text}, {"name": "b", "asset": "b"}]
    facts = {"asset": text, "title": text, "inputs": some if inputs else []}
    return {"name": name, **facts, "template": shape, "marimo": "0.25.2"}


def _tidy(text: str) -> str:
    """Return text as it is shown where it is not Markdown, such as in a chart."""
    return re.sub("[\\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+", " ", text).strip()


def stays_text(folder: Path, name: str, plain: str, text: str) -> None:
    """Check that a notebook says the same as a plain one, but for the text itself."""
    from marimo._convert.converters import MarimoConvert

    written = (folder / f"notebooks/{name}.py").read_bytes().decode()
    assert MarimoConvert.from_py(written).to_py() == written
    trees = [ast.parse((folder / f"notebooks/{one}.py").read_bytes()) for one in (name, plain)]
    for ours, other in zip(ast.walk(trees[0]), ast.walk(trees[1]), strict=True):
        assert type(ours) is type(other)
        if isinstance(ours, ast.Constant) and ours.value != other.value:
            if ours.value not in (
                text,
                _tidy(text),
            ):  # Markdown: one line, no HTML, no links
                assert len(ours.value.splitlines()) <= 1
                assert not {"<", ">", "["} & set(ours.value)
            assert "plain" in other.value
            ours.value = other.value
    assert ast.dump(trees[0]) == ast.dump(trees[1])


@pytest.fixture(scope="module")
def notebooks(released: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder, from one run: every template with every kind of pair, and with hostile texts."""
    path = tmp_path_factory.mktemp("notebooks")
    matrix = [
        {"name": f"{shape}_{kind}", "template": shape, "marimo": "0.25.2", **facts}
        for shape in SHAPES
        for kind, facts in FACTS.items()
    ]
    hostile = [
        paired(f"h_{name}_{shape}", text, shape)
        for shape in SHAPES
        for name, text in HOSTILE.items()
    ]
    plain = [paired(f"plain_{shape}", "plain", shape) for shape in SHAPES]
    alone = [
        paired(f"alone_{name}_{shape}", text, shape, inputs=False)
        for shape in SHAPES
        for name, text in (HOSTILE | {"plain": "plain"}).items()
    ]
    sales = SALES | {"template": "minimal"}
    Project(path, released).scaffold(MINIMAL, sales, *matrix, *hostile, *alone, *plain)
    return path


def test_no_input_gets_a_name_that_a_cell_defines(notebooks: Path):
    defined: set[str] = set()
    for shape in SHAPES:
        for kind, facts in FACTS.items():
            text = (notebooks / f"notebooks/{shape}_{kind}.py").read_text("utf-8")
            names: set[str] = set()
            for node in ast.parse(text).body:
                for part in ast.walk(node):
                    if isinstance(part, ast.Return) and part.value:  # what a cell defines
                        names |= {
                            one.id for one in ast.walk(part.value) if isinstance(one, ast.Name)
                        }
                    elif isinstance(node, ast.With) and isinstance(part, ast.alias):
                        names.add(part.asname or part.name)
            defined |= names - {one["name"] for one in facts.get("inputs", ())}
    assert defined
    assert defined - TAKEN == set()


def test_a_minimal_notebook_is_a_pair_its_inputs_and_a_cell_to_start_in(notebooks: Path):
    assert (notebooks / "notebooks/orders.py").read_text("utf-8") == (
        """\
import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium")

with app.setup:
    import dagmar
    import marimo as mo

    pair = dagmar.Pair(asset="raw/orders")


@app.cell
def inputs():
    customers = pair.load("raw/customers")
    return (customers,)


@app.cell
def _(customers):
    # Your cells go here.
    customers
    return


if __name__ == "__main__":
    app.run()
"""
    )
    assert 'pair = dagmar.Pair(job="sales_job")' in (notebooks / "notebooks/sales.py").read_text()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", HOSTILE)
def test_text_from_dagster_stays_text(notebooks: Path, name: str, shape: str):
    stays_text(notebooks, f"h_{name}_{shape}", f"plain_{shape}", HOSTILE[name])
    stays_text(notebooks, f"alone_{name}_{shape}", f"alone_plain_{shape}", HOSTILE[name])


@pytest.mark.parametrize("shape", ["default", "minimal", "report"])
def test_it_says_how_the_assets_own_value_is_loaded(notebooks: Path, shape: str):
    texts = {
        kind: (notebooks / f"notebooks/{shape}_{kind}.py").read_text("utf-8") for kind in FACTS
    }
    value = re.compile(r"^    # Its value, .*:(?: |\n    # `)(pair\.load[^`\n]*)`?$", re.M)
    said = {kind: call for kind, text in texts.items() for call in value.findall(text)}
    assert said == (
        {  # with the buttons that a run is started with
            **dict.fromkeys(
                ["asset", "one", "many"], 'pair.load("raw/orders", after=materialized)'
            ),
            "wide": 'pair.load("x", after=materialized)',
            "days": 'pair.load("days", partition=partition_key, after=materialized)',
        }
        if shape == "default"
        else {  # without inputs
            "asset": 'pair.load("raw/orders")',
            "days": 'pair.load("days", partition=partition_key)',
        }
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_text_is_shown_as_text(notebooks: Path, name: str):
    """What marimo makes of a heading or a label is the text, and nothing else."""
    import marimo as mo

    tree = ast.parse((notebooks / f"notebooks/h_{name}_default.py").read_bytes())
    (title,) = (node.value for node in ast.walk(tree) if getattr(node, "arg", "") == "title")
    (tabs,) = (node for node in ast.walk(tree) if isinstance(node, ast.Dict))
    for shown, tag in ((title, "h1"), (tabs.keys[0], "span")):
        assert isinstance(shown, ast.Constant)
        html = mo.md(shown.value).text
        assert set(re.findall(r"</?(\w+)", html)) <= {"span", tag}, html
        seen = unescape(re.sub("<[^>]*>", "", html))
        assert (
            seen.split() == re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", " ", HOSTILE[name]).split()
        )
        if name in READABLE:
            assert shown.value.removeprefix("# ") == HOSTILE[name]


@pytest.mark.parametrize("count", [10, pytest.param(10_000, marks=pytest.mark.nightly)])
def test_any_text_stays_text(tmp_path: Path, count: int):
    """Whatever hypothesis makes up."""
    texts: list[str] = []

    @settings(max_examples=count)
    @given(st.text(min_size=1).filter(lambda text: text != "plain"))
    def collect(text: str) -> None:
        texts.append(text)

    collect()
    made = [paired(f"n_{i}", text, SHAPES[i % len(SHAPES)]) for i, text in enumerate(texts)]
    plain = [paired(f"plain_{shape}", "plain", shape) for shape in SHAPES]
    render_notebooks(tmp_path, *made, *plain)
    for i, text in enumerate(texts):
        stays_text(tmp_path, f"n_{i}", f"plain_{SHAPES[i % len(SHAPES)]}", text)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_line_is_longer_than_flake8_and_black_want(notebooks: Path, shape: str):
    for kind in set(FACTS) - {"wide"}:  # its names are long
        lines = (notebooks / f"notebooks/{shape}_{kind}.py").read_text("utf-8").splitlines()
        assert [line for line in lines if len(line) > 79] == [], kind


def test_a_default_notebook_with_two_inputs_is_under_a_hundred_lines(notebooks: Path):
    text = (notebooks / "notebooks/plain_default.py").read_text("utf-8")
    assert len(text.splitlines()) < 100


@pytest.mark.parametrize("shape", SHAPES)
def test_controls_stand_only_where_dagster_can_run_something(notebooks: Path, shape: str):
    external = (notebooks / f"notebooks/{shape}_external.py").read_text("utf-8")
    assert "pair.launch" not in external
    assert "here=True" not in external
    job = (notebooks / f"notebooks/{shape}_job.py").read_text("utf-8")
    assert "here=True" not in job
    assert ("pair.launch(controls, button)" in job) == (shape in ("default", "ml"))


@pytest.mark.parametrize("name", HOSTILE)
def test_text_from_dagster_comes_back_from_the_answers(notebooks: Path, name: str):
    file = notebooks / f".dagmar/notebooks/h_{name}_minimal.yml"
    answers = yaml.safe_load(file.read_text("utf-8"))
    assert answers["notebooks"][0]["asset"] == HOSTILE[name]


def test_without_copier_the_same_notebooks_and_answers_are_rendered(notebooks: Path, fresh: Path):
    renderer = Renderer()
    files = [file for at in (notebooks, fresh) for file in at.glob(".dagmar/notebooks/*.yml")]
    assert len(files) > 100
    for file in files:
        answers = yaml.safe_load(file.read_text("utf-8"))
        (notebook,) = answers["notebooks"]
        written = (file.parents[2] / f"notebooks/{file.stem}.py").read_bytes()
        assert renderer.notebook(notebook).encode() == written
        assert renderer.answers_file(notebook, answers).encode() == file.read_bytes()


def test_each_notebook_has_answers_with_itself_alone(notebooks: Path):
    answers = yaml.safe_load((notebooks / ".dagmar/notebooks/orders.yml").read_text("utf-8"))
    assert answers.pop("_src_path")
    assert answers == {"_commit": "v1.0.0", "kind": "notebook", "notebooks": [MINIMAL]}


def test_marimo_finds_nothing_to_say(notebooks: Path):
    command = [sys.executable, "-m", "marimo", "check", "--strict", "notebooks"]
    done = subprocess.run(command, cwd=notebooks, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_saving_in_the_editor_changes_no_byte(notebooks: Path):
    from marimo._convert.converters import MarimoConvert

    for file in (notebooks / "notebooks").glob("*.py"):
        before = file.read_bytes().decode()
        assert MarimoConvert.from_py(before).to_py() == before, file.name


EXECUTE = """
import pathlib, runpy, sys

for file in sorted(pathlib.Path("notebooks").glob("h_*.py")):
    print(file, file=sys.stderr)
    runpy.run_path(str(file), run_name="__main__")
"""


def test_no_text_runs_when_its_notebook_does(notebooks: Path):
    # No Dagster has assets of such names; a stand-in loads something for each.
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "standin")}
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE], cwd=notebooks, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("notebooks/") == len(HOSTILE) * len(SHAPES)
