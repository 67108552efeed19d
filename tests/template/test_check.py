"""`invoke check`: what it finds in notebooks, and how it reports it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from dagmar.errors import Invalid, UsageError
from dagmar.notebook import checking
from dagmar.project.settings import load
from dagmar.server.catalog import Catalog, Location
from support.git import git
from support.shop_project import PAIRS, TEMPLATES, invoke, scaffold
from support.template_releases import Project, write

CATALOG = Catalog("", "", [])
PLACE = {"location": "shop", "repository": "__repository__"}
CATALOG.assets = [
    {"key": "raw/customers", "dependencies": [], **PLACE},
    {"key": "raw/orders", "dependencies": ["raw/customers"], **PLACE},
    {"key": "other", "dependencies": [], **PLACE},
]
CATALOG.jobs = [{"name": "nightly", **PLACE}]
ONLINE = Catalog("http://127.0.0.1:3000", "", [], CATALOG.assets)
ONLINE.jobs = [{"name": "nightly", **PLACE}]

SOUND = """\
import marimo

__generated_with = "0.20.1"
app = marimo.App()

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
    mo.md(str(len(customers)))
    return


if __name__ == "__main__":
    app.run()
"""


DECLARED = '[tool.dagster]\nmodule_name = "shop.definitions"\n'


def findings(root: Path, text: str, catalog: Catalog | None = CATALOG) -> list[tuple[str, str]]:
    """Check one notebook and return (severity, rule: message) of each finding."""
    (found,) = findings_of(root, {"notebooks/orders.py": text}, catalog)
    return found


def findings_of(
    root: Path, notebooks: dict[str, str], catalog: Catalog | None = CATALOG
) -> list[list[tuple[str, str]]]:
    """Check notebooks in one call, which takes no longer than one notebook does."""
    write(root, {**notebooks, "pyproject.toml": DECLARED})
    settings = load(root, environ={}, home=root)
    checked = checking.check(settings, [(root / name).resolve() for name in notebooks], catalog)
    assert [each.path for each in checked.notebooks] == [*notebooks]
    return [
        [(each.severity, f"{each.rule}: {each.message}") for each in notebook.findings]
        for notebook in checked.notebooks
    ]


def changed(changes: list[tuple[str, str]]) -> dict[str, str]:
    """Return the sound notebook with each change, each in another folder."""
    assert all(old in SOUND for old, _ in changes)
    return {
        f"notebooks/{number}/orders.py": SOUND.replace(old, new, 1)
        for number, (old, new) in enumerate(changes)
    }


def test_a_sound_notebook_of_an_older_marimo_has_no_findings(tmp_path: Path) -> None:
    assert findings(tmp_path, SOUND) == []


PROBLEMS = [
    (
        "len(customers)",
        "len(costumers)",
        ("error", "undefined-name: no cell defines 'costumers'"),
    ),
    (
        'asset="raw/orders"',
        'asset="raw/ordres"',
        ("error", "pair: there is no asset 'raw/ordres' — did you mean 'raw/orders'?"),
    ),
    (
        'asset="raw/orders"',
        'job="nigthly"',
        ("error", "pair: there is no job 'nigthly' — did you mean 'nightly'?"),
    ),
    (
        'load("raw/customers")',
        'load("raw/customer")',
        (
            "error",
            "inputs: there is no asset 'raw/customer' — did you mean 'raw/customers'?",
        ),
    ),
    (
        'load("raw/customers")',
        'load("other")',
        ("warning", "inputs: 'other' is not upstream of 'raw/orders'"),
    ),
    (
        'load("raw/customers")',
        'load("other")',
        ("warning", "inputs: 'raw/customers' is upstream of 'raw/orders', and is not loaded"),
    ),
    (
        "def _(customers)",
        "def _(customers, pair)",
        ("warning", "form: marimo would format this file differently"),
    ),
    (
        "    mo.md(str(len(customers)))",
        "    customers = 1",
        (
            "error",
            "marimo:multiple-definitions: Variable 'customers' is defined in multiple cells",
        ),
    ),
    ("def inputs():", "def inputs(:", ("error", "syntax: orders.py is not valid Python: ")),
    (
        "import marimo\n",
        "<<<<<<< before updating\nimport marimo\n=======\n>>>>>>> after updating\n",
        ("error", "syntax: orders.py has conflict markers of a merge, line 1"),
    ),
    (
        "len(customers)",
        "len(customers), _theirs",
        ("error", "undefined-name: no cell defines '_theirs'"),
    ),
    (
        "app = marimo.App()",
        "app = notebook = marimo.App()",
        ("error", "no-notebook: marimo does not read this as a notebook: "),
    ),
    (
        'dagmar.Pair(asset="raw/orders")',
        'dagmar.Pair(asset="raw/orders"), dagmar.Pair(asset="othre"), dagmar.Pair(job="x")',
        ("error", "pair: there is no asset 'othre' — did you mean 'other'?"),
    ),
]


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[str, str]]]:
    """What is found in a notebook with each problem; all are checked in one call."""
    changes = [(old, new) for old, new, _ in PROBLEMS]
    return findings_of(tmp_path_factory.mktemp("problems"), changed(changes))


@pytest.mark.parametrize("number", range(len(PROBLEMS)))
def test_problems_are_found(problems: list[list[tuple[str, str]]], number: int) -> None:
    *_, (severity, message) = PROBLEMS[number]
    matches = [rule for how, rule in problems[number] if how == severity]
    assert any(rule.startswith(message) for rule in matches), problems[number]


PRIVATE = """\
    import os.path as _path

    _rows = [_row for _row in range(3)]

    def _add(_one, *_more, **_rest):
        return _one, _more, _rest, _path

    try:
        _add(_rows, _key=1)
    except ValueError as _error:
        print(_error)
    match _rows:
        case [_first, *_others]:
            print(_first, _others)
    mo.md(str(len(customers)))
"""


VALID = [
    ("    mo.md(str(len(customers)))\n", PRIVATE),
    ('asset="raw/orders"', 'job="nightly@shop"'),
    ('asset="raw/orders"', 'asset="gone", target="prod"'),
    ('asset="raw/orders"', 'asset="gone", target=str(1)'),
    ('Pair(asset="raw/orders")', 'Pair(asset="raw/orders"), dagmar.Pair(asset="other")'),
]


@pytest.mark.parametrize("catalog", [CATALOG, ONLINE], ids=["definitions", "server"])
def test_valid_notebooks_have_no_errors(tmp_path: Path, catalog: Catalog) -> None:
    write(tmp_path, {"dagmar.yaml": "targets: {prod: {url: 'https://dagster.example.invalid'}}"})
    found = findings_of(tmp_path, changed(VALID), catalog)
    assert [one for one in found if "error" in [severity for severity, _ in one]] == []
    assert not any("upstream" in rule for one in found for _, rule in one)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ('job="nightly@elsewhere"', "there is no job 'nightly@elsewhere'"),
        ('asset="gone", target="local"', "there is no asset 'gone'"),
    ],
)
def test_a_pair_is_looked_up_in_its_own_target(tmp_path: Path, pair: str, message: str) -> None:
    found = findings(tmp_path, SOUND.replace('asset="raw/orders"', pair, 1), ONLINE)
    assert any(rule.startswith(f"pair: {message}") for _, rule in found), found


def test_a_notebook_outside_of_the_folder_is_checked_like_one_in_it(tmp_path: Path) -> None:
    notebook = SOUND.replace("raw/orders", "raw/ordres")
    write(tmp_path, {"other/orders.py": notebook, "pyproject.toml": DECLARED})
    settings = load(tmp_path, environ={}, home=tmp_path)
    files = checking.find_notebooks(settings, [str(tmp_path / "other")])
    (checked,) = checking.check(settings, files, CATALOG).notebooks
    assert checked.asset == "raw/ordres"
    assert [(finding.line, finding.rule) for finding in checked.findings] == [(10, "pair")]


def test_environments_hidden_folders_and_helpers_are_ignored(tmp_path: Path) -> None:
    helper = "import marimo\n\n\ndef make():\n    app = marimo.App()\n    return app\n"
    write(
        tmp_path,
        {
            "mine/orders.py": SOUND,
            "mine/helper.py": helper,
            ".venv/lib/tutorial.py": SOUND,
            "env/lib/tutorial.py": SOUND,
            "env/pyvenv.cfg": "",
            "mine/.marimo/x.py": SOUND,
        },
    )
    settings = load(tmp_path, environ={}, home=tmp_path)
    assert checking.find_notebooks(settings, [str(tmp_path)]) == [tmp_path / "mine/orders.py"]


def place(root: Path, name: str, status: str) -> Location:
    """Return a code location as a server has it; with `error`, a line of its code is not Python."""
    trace = (
        f'File "{root / "src/shop/assets.py"}", line 7\n    def x(:\nSyntaxError: invalid syntax'
    )
    error = {"class": "SyntaxError", "message": "invalid syntax", "traceback": trace}
    failure = error if status == "error" else None
    return Location(name=name, repositories=[], status=status, error=failure)


NOT_LOADED = {
    "error": "the code location 'other' does not load: SyntaxError: invalid syntax "
    "(src/shop/assets.py, line 7)",
    "loading": "the code location 'other' is still loading",
}


@pytest.mark.parametrize("status", NOT_LOADED)
def test_what_a_code_location_that_is_not_loaded_may_define_is_not_missed(
    status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = Catalog("", "", [place(tmp_path, "other", status)])
    assert findings(tmp_path, SOUND, catalog) == []
    other = SOUND.replace('asset="raw/orders"', 'select="group:raw"), dagmar.Pair(job="nightly"')
    assert findings(tmp_path, other, catalog) == []
    warning = f"warning: assets and jobs are not looked up: {NOT_LOADED[status]}\n"
    assert capsys.readouterr().err == warning * 2


@pytest.mark.parametrize("status", NOT_LOADED)
def test_what_is_found_is_checked_though_another_code_location_is_not_loaded(
    status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [place(tmp_path, "shop", "loaded"), place(tmp_path, "other", status)]
    twins = [*CATALOG.assets, {**CATALOG.assets[2], "repository": "second"}]
    catalog = Catalog("", "", places, twins, CATALOG.jobs)
    changes = [
        ('load("raw/customers")', 'load("raw/products")'),
        ('asset="raw/orders"', 'asset="raw/ordres@shop"'),
        ('asset="raw/orders"', 'asset="raw/ordres", job="nightly"'),
        ('asset="raw/orders"', 'asset="other"'),
        ('asset="raw/orders"', 'select="group:("'),
    ]
    upstream, elsewhere, unknown, ambiguous, malformed = findings_of(
        tmp_path, changed(changes), catalog
    )
    message = "inputs: 'raw/customers' is upstream of 'raw/orders', and is not loaded"
    assert upstream == [("warning", message)]
    assert elsewhere[0][0] == "error"
    assert elsewhere[0][1].startswith("pair: there is no asset 'raw/ordres@shop'")
    assert unknown == []
    assert ambiguous == [("error", "pair: several repositories of shop have an asset 'other'")]
    assert [severity for severity, _ in malformed] == ["error"]
    which = "assets and jobs that are not found are not reported"
    assert capsys.readouterr().err == f"warning: {which}: {NOT_LOADED[status]}\n"


def test_without_a_catalog_the_pair_is_not_looked_up(tmp_path: Path) -> None:
    assert findings(tmp_path, SOUND.replace("raw/orders", "gone"), None) == []


def test_an_older_version_of_the_template_is_reported(tmp_path: Path) -> None:
    answers = "_src_path: /x\n_commit: "
    write(tmp_path, {".copier-answers.yml": f"{answers}v1.1.0\n"})
    write(tmp_path, {".dagmar/notebooks/orders.yml": f"{answers}v1.0.0\n"})
    assert findings(tmp_path, SOUND) == [
        ("warning", "template: it is on v1.0.0 of the template, the project on v1.1.0")
    ]
    write(tmp_path, {".dagmar/notebooks/orders.yml": "]"})
    assert findings(tmp_path, SOUND)[0][0] == "error"


def test_only_notebooks_are_checked_and_paths_must_exist(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "notebooks/helper.py": "import marimo\n",
            "notebooks/__marimo__/x.py": SOUND,
            "notebooks/deep/x.py": SOUND,
            "notebooks/broken.py": "app = marimo.App(\n",
        },
    )
    settings = load(tmp_path, environ={}, home=tmp_path)
    names = [file.name for file in checking.find_notebooks(settings, ())]
    assert names == ["broken.py", "x.py"]
    with pytest.raises(UsageError, match="there is no"):
        checking.find_notebooks(settings, [str(tmp_path / "none.py")])
    with pytest.raises(Invalid, match="is not a marimo notebook"):
        checking.find_notebooks(settings, [str(tmp_path / "notebooks/helper.py")])


@pytest.mark.xdist_group("full")
def test_whatever_is_scaffolded_passes(full: Project) -> None:
    done = invoke(full, "check", "--json")
    assert done.returncode == 0, done.stdout
    document = json.loads(done.stdout)
    assert document["ok"]
    assert len(document["notebooks"]) == len(PAIRS) * len(TEMPLATES)
    rules = {
        finding["rule"] for notebook in document["notebooks"] for finding in notebook["findings"]
    }
    assert rules <= {"inputs"}, document


def test_errors_are_exit_7_and_reported_line_by_line(shop: Project) -> None:
    scaffold(shop, "--asset", "daily", "--asset", "grid")
    shop.replace("notebooks/daily.py", 'asset="daily"', 'asset="dayly"')
    done = invoke(shop, "check", "--path", "notebooks/daily.py")
    assert done.returncode == 7
    assert "notebooks/daily.py:10: error: there is no asset 'dayly'" in done.stdout
    assert "1 error in 1 notebook" in done.stderr
    done = invoke(shop, "check", "--path", "notebooks/grid.py")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Checked 1 notebook." in done.stderr
    with pytest.raises(Invalid, match="there is no marimo notebook in"):
        checking.find_notebooks(load(shop.path, environ={}), [str(shop.path / "src")])


def test_a_server_must_answer_only_if_it_is_named(shop: Project) -> None:
    scaffold(shop, "--asset", "grid")
    assert invoke(shop, "check", "--target", "local").returncode == 5
    assert invoke(shop, "check", "--url", "http://127.0.0.1:9").returncode == 5
    write(shop.path, {"src/shop/definitions.py": "boom\n"})
    done = invoke(shop, "check")
    assert done.returncode == 0
    assert "assets and jobs are not looked up" in done.stderr


def test_projects_get_it_as_a_pre_commit_hook(shop: Project) -> None:
    config = yaml.safe_load(shop.read(".pre-commit-config.yaml"))
    hook, _ = config["repos"][0]["hooks"]
    assert hook["entry"] == "uv run invoke check"
    assert not hook["pass_filenames"]
    # git runs hooks in the repository's root, with the index in the environment
    write(shop.path / ".git", {"hooks/pre-commit": "#!/bin/sh\nexec python -m invoke check\n"})
    (shop.path / ".git/hooks/pre-commit").chmod(0o755)
    write(shop.path, {"notebooks/bad.py": SOUND.replace("len(customers)", "len(costumers)")})
    git(shop.path, "add", ".")
    done = subprocess.run(
        ["git", "commit", "-qm", "x"], cwd=shop.path, capture_output=True, text=True
    )
    assert done.returncode
    assert "no cell defines 'costumers'" in done.stdout + done.stderr
