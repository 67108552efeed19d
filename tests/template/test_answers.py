"""Answers in, files out: questions, defaults, validators and what is rendered from them."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagmar.scaffold.naming import reserved_names
from support.template_releases import COPIED, ORDERS, ROOT, RUNNER, SALES, Template, tree

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Render = Callable[..., Any]

PROJECT = {
    ".copier-answers.yml",
    ".dagmar/.eggs/.gitignore",
    ".dagmar/.eggs/ruff.toml",
    ".dagmar/.gitattributes",
    ".dagmar/.gitignore",
    ".dagmar/settings.schema.json",
    ".dagmar/dagster_home/dagster.yaml",
    ".github/dependabot.yml",
    ".github/workflows/ci.yml",
    ".github/workflows/security.yml",
    ".gitignore",
    ".pre-commit-config.yaml",
    "AGENTS.md",
    "README.md",
    "dagmar.yaml",
    "notebooks/.gitignore",
    "notebooks/README.md",
    "notebooks/ruff.toml",
    "pyproject.toml",
    "src/sales/__init__.py",
    "src/sales/definitions.py",
    "src/sales/defs/__init__.py",
    "src/sales/defs/executor.py",
    "tasks.py",
    "tests/test_definitions.py",
}
EXAMPLE = {
    ".dagmar/notebooks/clean_flights.yml",
    ".dagmar/notebooks/daily_delays.yml",
    ".dagmar/notebooks/on_time_rate.yml",
    ".dagmar/notebooks/on_time_report.yml",
    ".dagmar/notebooks/refresh_flights.yml",
    "data/README.md",
    "data/flights.csv",
    "notebooks/clean_flights.py",
    "notebooks/daily_delays.py",
    "notebooks/on_time_rate.py",
    "notebooks/on_time_report.py",
    "notebooks/refresh_flights.py",
    "src/sales/defs/flights/__init__.py",
    "src/sales/defs/flights/assets.py",
    "src/sales/defs/flights/checks.py",
    "src/sales/defs/flights/jobs.py",
    "src/sales/defs/flights/resources.py",
    "tests/test_flights.py",
    "tests/test_notebooks.py",
}


@pytest.fixture
def render(copie: Any, released: Template) -> Render:
    """Render one kind of template from answers."""

    def render(**answers: Any) -> Any:
        return copie.copy(answers, template_dir=released.path, vcs_ref="v1.0.0")

    return render


def parse(folder: Path) -> None:
    """Read each file of a known kind with its own parser."""
    for name, content in tree(folder).items():
        if name.endswith(".py"):
            compile(content, name, "exec", dont_inherit=True)
        elif name.endswith(".toml"):
            tomllib.loads(content.decode())
        elif name.endswith((".yaml", ".yml")):
            list(yaml.safe_load_all(content))


@pytest.mark.parametrize("example", [True, pytest.param(False, marks=pytest.mark.nightly)])
def test_a_project_is_rendered_from_its_answers(render: Render, example: bool):
    result = render(project_name="sales-pipeline", package="sales", example=example)
    assert result.exception is None
    assert result.answers == {
        "adopt": False,
        "example": example,
        "kind": "project",
        "package": "sales",
        "project_name": "sales-pipeline",
        "runner": "copy",
    }
    names = set(tree(result.project_dir))
    assert {name for name in names if not name.startswith(f"{COPIED}/")} == (
        PROJECT | EXAMPLE if example else PROJECT
    )
    parse(result.project_dir)


def test_the_runner_arrives_byte_for_byte(fresh: Path, released: Template):
    assert tree(fresh / COPIED) == tree(released.path / RUNNER)


def test_the_settings_name_a_schema_that_is_there(fresh: Path):
    first, *_ = (fresh / "dagmar.yaml").read_text("utf-8").splitlines()
    prefix, path = first.split("$schema=")
    assert prefix == "# yaml-language-server: "
    assert (fresh / path).is_file()
    assert yaml.safe_load((fresh / "dagmar.yaml").read_text("utf-8")) == {
        "target": "local",
        "targets": {"local": {}},
    }


def test_notebooks_are_rendered_from_their_answers(render: Render):
    result = render(kind="notebook", notebooks=[ORDERS, SALES])
    assert result.exception is None
    assert result.answers == {"kind": "notebook", "notebooks": [ORDERS, SALES]}
    assert list(tree(result.project_dir)) == [
        ".dagmar/notebooks/orders.yml",
        ".dagmar/notebooks/sales.yml",
        "notebooks/orders.py",
        "notebooks/sales.py",
    ]
    parse(result.project_dir)


@pytest.mark.parametrize(
    ("folder", "project_name", "package"),
    [
        ("sales", "sales", "sales"),
        ("Sales Pipeline", "sales-pipeline", "sales_pipeline"),
        ("données-2", "donnees-2", "donnees_2"),
        ("cafe\u0301s", "cafes", "cafes"),  # as macOS writes it
        ("2024 sales", "project-2024-sales", "project_2024_sales"),
        ("数据", "dagster-project", "dagster_project"),
        ("__x__", "x", "x"),
        ("dagster", "dagster-project", "dagster_project"),
        ("class", "class-project", "class_project"),
        ("platform", "platform-project", "platform_project"),
        ("etl [1] {{ 7 * 7 }}", "etl-1-7-7", "etl_1_7_7"),
    ],
)
def test_any_folder_name_gives_valid_defaults(
    questions: Template, tmp_path: Path, folder: str, project_name: str, package: str
):
    answers = questions.copy(tmp_path / folder, pretend=True)
    assert (answers["project_name"], answers["package"]) == (project_name, package)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"project_name": "Sales"}, "Use lower-case letters, digits and single dashes"),
        ({"project_name": "sales_x"}, "Use lower-case letters, digits and single dashes"),
        ({"project_name": "sales\n"}, "Use lower-case letters, digits and single dashes"),
        ({"project_name": "dagster"}, "Add a word: dagster-pipeline"),
        ({"project_name": ""}, "Use lower-case letters, digits and single dashes"),
        ({"package": "sales-x"}, "Use lower-case letters, digits and underscores"),
        ({"package": "1sales"}, "Use lower-case letters, digits and underscores"),
        ({"package": "class"}, "Add a word: class_pipeline"),
        ({"package": "dagmar"}, "Add a word: dagmar_pipeline"),
        ({"package": "marimo"}, "Add a word: marimo_pipeline"),
        ({"package": "polars"}, "Add a word: polars_pipeline"),
        ({"package": "tests"}, "Add a word: tests_pipeline"),
        ({"package": "test"}, "Add a word: test_pipeline"),
        ({"kind": "other"}, "'other' is not in ['project', 'notebook', 'everything']"),
        ({"kind": "notebook"}, "Name at least one notebook"),
    ],
)
def test_a_wrong_answer_is_refused_with_a_clear_message(
    questions: Template, tmp_path: Path, answers: dict[str, str], said: str
):
    with pytest.raises(ValueError, match=r"Validation error|Invalid choice") as error:
        questions.copy(tmp_path / "sales", data=answers)
    assert said in str(error.value)
    assert not (tmp_path / "sales").exists()


@pytest.mark.parametrize(
    ("notebook", "said"),
    [
        ({"name": "../x"}, 'Notebook name "../x": use lower-case letters'),
        ({"name": "Orders"}, 'Notebook name "Orders": use lower-case letters'),
        ({"name": "orders\n"}, 'Notebook name "orders\\n": use lower-case letters'),
        ({"name": "sales"}, "Notebook name sales: given twice"),
        ({"name": 1}, "Each notebook needs a name"),
        ({"asset": ""}, "give an asset, a job or a selection"),
        ({"job": "x"}, "give an asset, a job or a selection"),
        ({"asset": None}, "give an asset, a job or a selection"),
        ({"title": 3}, "the title must be text"),
        ({"marimo": '1"\nx'}, "give the version of marimo"),
        ({"folder": "../x"}, "the folder must be inside the project"),
        ({"folder": "/x"}, "the folder must be inside the project"),
        ({"folder": "C:/x"}, "the folder must be inside the project"),
        ({"template": "../x"}, 'there is no template "../x"'),
    ],
)
def test_a_wrong_notebook_is_refused_with_a_clear_message(
    questions: Template, tmp_path: Path, notebook: dict[str, Any], said: str
):
    data = {"kind": "notebook", "notebooks": [SALES, ORDERS | notebook]}
    with pytest.raises(ValueError, match="Validation error") as error:
        questions.copy(tmp_path / "x", data=data)
    assert said in str(error.value)
    assert not (tmp_path / "x").exists()


def test_the_reserved_names_cover_this_python():
    reserved = reserved_names()
    modules = {n for n in sys.stdlib_module_names if not n.startswith("_") and n.islower()}
    words = {word for word in keyword.kwlist if word.islower()}
    assert (modules | words | {"dagster", "dagmar", "marimo", "tests"}) - reserved == set()


def test_a_person_sees_three_questions_and_at_most_two_when_adopting():
    """What can be asked is what may be given no answer: everything else has `ask: false`."""
    questions = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))
    asked = {
        name: question.get("ask", True)
        for name, question in questions.items()
        if not name.startswith("_") and question.get("ask", True) is not False
    }
    assert asked == {
        "project_name": "{{ not adopt }}",
        "package": "{{ not adopt or (first and sign != 'package') }}",
        "adopt": "{{ unclear }}",
        "example": "{{ not adopt }}",
    }
