"""`invoke scaffold`: real processes, a real template repository, no Dagster server."""

from __future__ import annotations

import ast
import copy
import errno
import json
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Conflict, DagmarError
from dagmar.notebook import checking
from dagmar.orchestration.definitions import read_definitions
from dagmar.project.settings import load
from dagmar.scaffold import notebooks
from dagmar.server.catalog import Catalog, read_catalog
from dagmar.server.client import DagsterClient
from support.catalog_answers import ANSWERS as ANSWERED
from support.git import git
from support.http_server import dagster, serve
from support.shop_project import ANSWERS, invoke, scaffold
from support.template_releases import Project, tree, write

PLACE = {"location": "shop", "repository": "__repository__"}


def status(project: Project) -> list[str]:
    """List what git finds changed, without marimo's files for its user."""
    shutil.rmtree(project.path / "no-config", ignore_errors=True)
    return project.status()


def loads(text: str) -> dict[str, str]:
    """Return variable → key of the `inputs` cell, with a star if one partition is loaded."""
    cells = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    keys = {}
    for line in cells["inputs"].body if "inputs" in cells else []:
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Call):
            name, call = ast.unparse(line.targets[0]), line.value
            if name == "partition_key":
                assert ast.unparse(call) == "pair.partition_key()"
                continue
            assert isinstance(call.args[0], ast.Constant)
            keys[name] = call.args[0].value
            if call.keywords:
                assert [ast.unparse(keyword) for keyword in call.keywords] == [
                    "partition=partition_key"
                ]
                keys[name] += "*"
    return keys


LOADS = {
    "orders": {"orders": "raw/orders"},
    "daily": {"orders": "orders", "raw_orders": "raw/orders"},
    "grid": {"orders": "orders"},
    "report_of_day": {"daily": "daily*"},
    "report_of_cell": {"daily": "daily", "grid": "grid*"},
    "note": {},
    "lake/dash-ed.events": {},
}
PARTITIONED = {"daily", "grid", "report_of_day", "report_of_cell"}


@pytest.mark.parametrize(
    "catalog_from",
    ["shop", pytest.param("online", marks=pytest.mark.nightly)],
    ids=["definitions", "server"],
)
def test_inputs_are_loaded_by_the_partition_they_share_and_not_without_a_value(
    catalog_from: str, request: pytest.FixtureRequest
) -> None:
    project: Project = request.getfixturevalue(catalog_from)
    created = scaffold(project, *(part for key in LOADS for part in ("--asset", key)))
    texts = {notebook["asset"]: project.read(notebook["path"]) for notebook in created}
    assert {key: loads(text) for key, text in texts.items()} == LOADS
    assert {key for key, text in texts.items() if "pair.partition_key()" in text} == PARTITIONED
    assert max(len(text.splitlines()) for text in texts.values()) < 100
    done = invoke(project, "check")
    assert "is upstream of" not in done.stdout, done.stdout


def test_an_asset_gets_a_notebook_from_the_definitions_and_a_second_call_changes_nothing(
    shop: Project,
) -> None:
    (notebook,) = scaffold(shop, "--asset", "daily")
    assert notebook == {
        "path": "notebooks/daily.py",
        "asset": "daily",
        "job": None,
        "select": None,
        "template": "default",
        "answers_file": ".dagmar/notebooks/daily.yml",
        "status": "created",
    }
    text = shop.read("notebooks/daily.py")
    assert 'pair = dagmar.Pair(asset="daily")' in text
    assert loads(text) == {"orders": "orders", "raw_orders": "raw/orders"}
    assert len(text.splitlines()) < 100
    before = tree(shop.path / "notebooks") | tree(shop.path / ".dagmar/notebooks")
    shop.replace("notebooks/daily.py", "# Your cells go here.", "# Mine.")
    (again,) = scaffold(shop, "--asset", "daily")
    assert again["status"] == "kept"
    assert "# Mine." in shop.read("notebooks/daily.py")
    done = invoke(shop, "scaffold", "--asset", "daily", "--force")
    assert done.returncode == 8
    assert "--force would overwrite notebooks/daily.py, and git has no copy of it" in done.stderr
    assert "# Mine." in shop.read("notebooks/daily.py")
    shop.commit()
    (forced,) = scaffold(shop, "--asset", "daily", "--force")
    assert forced["status"] == "overwritten"
    assert tree(shop.path / "notebooks") | tree(shop.path / ".dagmar/notebooks") == before


def test_a_notebook_that_is_kept_is_reported_as_it_is(online: Project) -> None:
    scaffold(online, "--asset", "daily", "--template", "minimal")
    again = ("--asset", "daily", "--template")
    (kept,) = scaffold(online, *again, "ml")
    assert (kept["template"], kept["status"]) == ("minimal", "kept")
    assert kept["answers_file"] == ".dagmar/notebooks/daily.yml"
    row = "└── daily.py  (asset daily, minimal, exists and is kept"
    hint = ": --name creates a second one, --force overwrites it"
    assert invoke(online, "scaffold", *again, "ml").stdout == f"notebooks/\n{row}{hint})\n"
    assert invoke(online, "scaffold", *again, "minimal").stdout == f"notebooks/\n{row}{hint})\n"
    (online.path / ".dagmar/notebooks/daily.yml").unlink()  # then it is unknown
    (kept,) = scaffold(online, *again, "ml")
    assert (kept["template"], kept["answers_file"]) == (None, None)
    assert (
        f"(asset daily, exists and is kept{hint})"
        in invoke(online, "scaffold", *again, "ml").stdout
    )


def test_the_answers_name_the_template_and_the_version_of_the_project(online: Project) -> None:
    scaffold(online, "--asset", "raw/orders", "--title", "All [orders]", "--name", "mine")
    answers = online.answers(".dagmar/notebooks/mine.yml")
    project = online.answers()
    assert answers["_src_path"] == project["_src_path"] == str(online.template.path)
    assert answers["_commit"] == project["_commit"] == "v1.0.0"
    assert 'title="# All &#91;orders]"' in online.read("notebooks/mine.py")


def test_several_and_a_selection_are_one_call(online: Project) -> None:
    created = scaffold(online, "--select", "group:sales", "--template", "minimal")
    assert [notebook["asset"] for notebook in created] == ["daily", "grid", "orders"]
    created = scaffold(online, "--asset", "raw/orders", "--job", "greeting", "--template", "report")
    assert [notebook["path"] for notebook in created] == [
        "notebooks/raw_orders.py",
        "notebooks/greeting.py",
    ]
    assert 'dagmar.Pair(job="greeting")' in online.read("notebooks/greeting.py")


def test_one_notebook_for_a_selection_is_known_to_every_task(online: Project) -> None:
    (notebook,) = scaffold(online, "--select", "key:orders or key:note", "--one")
    assert notebook == {
        "path": "notebooks/key_orders_or_key_note.py",
        "asset": None,
        "job": None,
        "select": "key:orders or key:note",
        "template": "selection",
        "answers_file": ".dagmar/notebooks/key_orders_or_key_note.yml",
        "status": "created",
    }
    text = online.read(notebook["path"])
    assert 'pair = dagmar.Pair(select="key:orders or key:note")' in text
    assert "materialized = pair.materialized()" in text
    assert "here=True" not in text
    done = invoke(online, "check")
    assert (done.returncode, "warning" in done.stdout) == (0, False), done.stdout
    assets = json.loads(invoke(online, "discover", "--kind", "assets", "--json").stdout)["assets"]
    paired = {asset["key"] for asset in assets if notebook["path"] in asset["notebooks"]}
    assert paired == {"orders", "note"}
    (again,) = scaffold(online, "--select", "key:orders or key:note", "--one")
    assert again["status"] == "kept"


def test_dry_run_shows_a_tree_and_writes_nothing(online: Project) -> None:
    done = invoke(online, "scaffold", "--asset", "raw/orders", "--asset", "daily", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "notebooks/\n"
        "├── raw_orders.py  (asset raw/orders, default)\n"
        "└── daily.py  (asset daily, default)\n"
        ".dagmar/notebooks/\n"
        "├── raw_orders.yml\n"
        "└── daily.yml\n"
    )
    done = invoke(online, "scaffold", "--asset", "daily", "--dry-run", "--json")
    assert [notebook["status"] for notebook in json.loads(done.stdout)["notebooks"]] == ["created"]
    assert online.status() == []


def test_git_commit_commits_the_new_files_alone(online: Project) -> None:
    write(online.path, {"mine.txt": "mine\n"})
    git(online.path, "add", "mine.txt")
    scaffold(online, "--asset", "daily", "--git-commit")
    shown = git(online.path, "show", "--format=%s", "--name-only").split("\n")
    files = [".dagmar/notebooks/daily.yml", "notebooks/daily.py"]
    assert [line for line in shown if line] == ["feat: scaffold asset daily", *files]
    assert online.status() == ["A  mine.txt"]


def test_set_gives_options_to_a_template(online: Project) -> None:
    scaffold(online, "--asset", "daily", "--set", "width=full")
    assert 'marimo.App(width="full")' in online.read("notebooks/daily.py")


def test_a_job_may_be_named_with_its_location(online: Project) -> None:
    (created,) = scaffold(online, "--job", "greeting@shop")
    assert (created["path"], created["job"]) == ("notebooks/greeting_shop.py", "greeting@shop")
    assert 'dagmar.Pair(job="greeting@shop")' in online.read("notebooks/greeting_shop.py")
    assert invoke(online, "check").returncode == 0


def test_keys_that_differ_only_in_where_a_slash_is_get_separate_notebooks(
    shop: Project,
) -> None:
    inside, between, backslash = (AssetKey(key) for key in (r"wh/a\/b", "wh/a/b", r"back\\slash"))
    settings = load(shop.path, environ={})
    catalog = Catalog("", "", [])
    upstream = {inside: [], between: [], backslash: [], "below": [inside, between, backslash]}
    upstream["数据"] = [AssetKey("données")]
    for key, dependencies in upstream.items():
        item = {"key": AssetKey(key), "materializable": True, "dependencies": dependencies, **PLACE}
        catalog.assets.append(item)

    def make(*assets: str, name: str = "") -> str:
        request = notebooks.ScaffoldRequest(assets=assets, name=name)
        (notebook,) = notebooks.scaffold(settings, catalog, request).notebooks
        return notebook.file.read_text("utf-8")

    request = notebooks.ScaffoldRequest(assets=[inside, between, "数据"])
    made = notebooks.scaffold(settings, catalog, request)
    assert [notebook.status for notebook in made.notebooks] == ["created", "failed", "created"]
    assert loads(shop.read("notebooks/数据.py")) == {"données": "données"}
    error = made.notebooks[1].error
    assert f"asset {inside} and asset {between} would both be wh_a_b.py" in str(error)
    assert r'dagmar.Pair(asset="wh/a\\/b")' in make(r"wh/a\/b", name="inside")
    with pytest.raises(Conflict, match="is not paired with"):
        make("wh/a/b", name="inside")
    assert loads(make("below")) == {"a_b": inside, "b": between, "back_slash": backslash}
    files = [shop.path / f"notebooks/{name}.py" for name in ("inside", "below", "数据")]
    catalog.assets.append(
        {"key": AssetKey("données"), "materializable": True, "dependencies": [], **PLACE}
    )
    checked = checking.check(settings, files, catalog).notebooks
    assert [notebook.findings for notebook in checked] == [[], [], []]


def test_a_users_own_folder_is_a_template(online: Project, tmp_path: Path) -> None:
    write(
        tmp_path / "ours",
        {
            "notebook.jinja": "{%- set cells = ['inputs', 'own/count'] -%}\n"
            "{%- include 'template/cells/notebook.jinja' -%}\n",
            "count.jinja": "@app.cell\n{{ m.signature(names) }}\n"
            "    {{ m.literal(nb.set.greeting) }}, {{ names | join(', ') }}\n    return\n",
        },
    )
    flags = ("--template", str(tmp_path / "ours"), "--set", 'greeting="""{{ x }}')
    (created,) = scaffold(online, "--asset", "orders", *flags)
    assert created["answers_file"] is None
    text = online.read("notebooks/orders.py")
    assert '\'"""{{ x }}\', orders\n' in text
    assert status(online) == ["?? notebooks/orders.py"]
    (again,) = scaffold(online, "--asset", "orders", *flags)
    assert again == created | {"status": "kept"}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{% if %}", "does not render"),
        ("def (", "for asset daily is not valid Python: invalid syntax, line 1"),
    ],
)
def test_a_template_that_does_not_work_leaves_nothing(
    online: Project, tmp_path: Path, shape: str, message: str
) -> None:
    write(tmp_path / "ours", {"notebook.jinja": shape})
    done = invoke(online, "scaffold", "--asset", "daily", "--template", str(tmp_path / "ours"))
    assert done.returncode == 7, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert online.status() == []


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ([], 2, "scaffold needs one or more --asset"),
        (["--asset", "daily", "--select", "*"], 2, "scaffold needs one or more --asset"),
        (["--asset", ""], 2, "--asset is empty"),
        (["--asset", "dayly"], 7, "there is no asset 'dayly' — did you mean 'daily'?"),
        (["--job", "greetings"], 7, "did you mean 'greeting'?"),
        (["--select", "group:none"], 7, "--select matches no asset"),
        (["--asset", "daily", "--template", "minimum"], 2, "did you mean 'minimal'?"),
        (["--asset", "daily", "--template", "~nobody/x"], 2, "there is no template '~nobody/x'"),
        (["--job", "greeting@warehouse"], 7, "there is no job 'greeting@warehouse'"),
        (["--asset", "daily", "--template", "src"], 7, "has no notebook.jinja"),
        (["--asset", "daily", "--name", "../x"], 2, "--name takes the name of a Python module"),
        (["--asset", "daily", "--name", "My Notebook"], 2, "--name takes the name"),
        (["--asset", "daily", "--name", "polars"], 2, "would shadow the Python module"),
        (["--asset", "daily", "--name", "chunk"], 2, "would shadow the Python module"),
        (["--asset", "daily", "--asset", "grid", "--name", "x"], 2, "--name is for one notebook"),
        (["--asset", "daily", "--asset", "grid", "--title", "x"], 2, "--title is for one"),
        (["--asset", "daily", "--set", "width"], 2, "--set takes NAME=VALUE"),
        (["--asset", "daily", "--set", "with=full"], 2, "did you mean 'width'?"),
        (["--asset", "daily", "--set", "width=wide"], 2, "there is no such width"),
        (["--asset", "daily", "--dry-run", "--git-commit"], 2, "--dry-run creates nothing"),
    ],
)
def test_what_cannot_be_created_is_refused(
    online: Project, flags: list[str], code: int, message: str
) -> None:
    done = invoke(online, "scaffold", *flags)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert done.stdout == ""
    assert online.status() == []


def test_a_file_in_the_way_is_a_conflict_unless_forced(online: Project) -> None:
    write(online.path, {"notebooks/daily.py": "# mine\n"})
    done = invoke(online, "scaffold", "--asset", "grid", "--asset", "daily")
    assert done.returncode == 8
    assert "notebooks/daily.py exists, and is not paired with asset daily" in done.stderr
    assert "1 of 2 notebooks failed" in done.stderr
    assert done.stdout.startswith("notebooks/\n└── grid.py  (asset grid, default)\n")
    online.commit()
    scaffold(online, "--asset", "daily", "--force")
    assert "dagmar.Pair" in online.read("notebooks/daily.py")


def test_the_notebooks_folder_of_the_settings_is_used_and_must_be_inside(online: Project) -> None:
    settings = online.read("dagmar.yaml")
    write(online.path, {"dagmar.yaml": settings + "notebooks: work/pages\n"})
    (created,) = scaffold(online, "--asset", "daily")
    assert created["path"] == "work/pages/daily.py"
    assert (online.path / "work/pages/daily.py").is_file()
    write(online.path, {"dagmar.yaml": settings + "notebooks: ..\n"})
    done = invoke(online, "scaffold", "--asset", "daily")
    assert done.returncode == 7
    assert "is not inside the project" in done.stderr


def test_a_clone_that_cannot_reach_the_template_scaffolds_checks_and_cleans(
    online: Project, tmp_path: Path
) -> None:
    origin = "/nowhere/dagmar"
    online.replace(".copier-answers.yml", str(online.template.path), origin)
    online.commit()
    colleague = Project(tmp_path / "clone", online.template)
    git(tmp_path, "clone", "-q", str(online.path), colleague.path.name)
    scaffold(colleague, "--asset", "daily", "--git-commit")
    assert colleague.answers(".dagmar/notebooks/daily.yml")["_src_path"] == origin
    assert list(colleague.path.glob(".dagmar/cache/template*")) == []
    done = invoke(colleague, "check")
    assert (done.returncode, done.stderr) == (0, "Checked 1 notebook.\n")
    done = invoke(colleague, "doctor", "--only", "answers", "--only", "template")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["ok", "answers"],
        ["skip", "template"],
    ]
    done = invoke(colleague, "clean", "--notebooks", "--yes")
    assert done.returncode == 0, done.stderr
    assert not (colleague.path / "notebooks/daily.py").exists()


def test_definitions_that_do_not_load_are_named(shop: Project) -> None:
    write(shop.path, {"src/shop/definitions.py": "import polarbears\n"})
    done = invoke(shop, "scaffold", "--asset", "daily")
    assert done.returncode == 3
    assert "ModuleNotFoundError: No module named 'polarbears'" in done.stderr


def test_without_a_known_version_it_says_that_no_update_is_possible(online: Project) -> None:
    online.replace(".copier-answers.yml", "_commit: v1.0.0\n", "")
    said = "`invoke update` cannot update these notebooks: .copier-answers.yml does not say which"
    assert said in invoke(online, "scaffold", "--asset", "daily").stderr
    assert "_commit" not in online.answers(".dagmar/notebooks/daily.yml")
    (online.path / ".copier-answers.yml").unlink()
    assert said in invoke(online, "scaffold", "--asset", "grid").stderr
    assert 'dagmar.Pair(asset="grid")' in online.read("notebooks/grid.py")
    assert not (online.path / ".dagmar/notebooks/grid.yml").exists()


def test_a_server_that_is_named_must_answer(shop: Project) -> None:
    for flags in (("--url", "http://127.0.0.1:9"), ("--target", "local")):
        done = invoke(shop, "scaffold", "--asset", "daily", *flags)
        assert done.returncode == 5, done.stderr
    assert shop.status() == []


def test_server_and_definitions_agree(online: Project) -> None:
    with DagsterClient(load(online.path, environ={}).target()) as client:
        served = read_catalog(client, ("assets", "jobs"))
        inputs = list(served.inputs(served.assets).values())
    read = read_definitions(online.path)
    assert list(read.inputs(read.assets).values()) == inputs
    for asset in (*served.assets, *read.assets):
        for key in ("location", "repository", "jobs", "description"):
            del asset[key]
        asset["dependencies"].sort()
    assert read.assets == served.assets
    assert [job["name"] for job in read.jobs] == [job["name"] for job in served.jobs]


def test_a_code_location_that_does_not_load_is_named_if_it_may_hold_what_is_missing(
    online: Project,
) -> None:
    broken = ANSWERED["Workspace"]["workspaceOrError"]["locationEntries"][2]
    answers = copy.deepcopy(ANSWERS)
    answers["Workspace"]["workspaceOrError"]["locationEntries"].append(broken)
    with serve(dagster(answers)) as server:
        done = invoke(online, "scaffold", "--asset", "invoices", "--url", server.url)
        assert done.returncode == 7, done.stderr
        assert "there is no asset 'invoices'. Not every code location is loaded:" in done.stderr
        assert "broken: ImportError: no module" in done.stderr
        assert "invoke discover --kind locations --json" in done.stderr
        assert online.status() == []
        done = invoke(online, "scaffold", "--asset", "orders", "--url", server.url)
        assert done.returncode == 0, done.stderr


def test_a_disk_that_is_full_leaves_no_notebook_half_written(
    online: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = notebooks.ScaffoldRequest(assets=["daily", "grid"])
    settings = load(online.path, environ={})
    real, kept = tempfile.mkstemp, online.path.joinpath

    def full(*given: Any, **more: Any) -> Any:
        if str(more.get("dir", "")).endswith("notebooks") and "grid" in more["prefix"]:
            raise OSError(errno.ENOSPC, "No space left on device", str(kept("notebooks")))
        return real(*given, **more)

    with DagsterClient(settings.target()) as client, monkeypatch.context() as patch:
        catalog = read_catalog(client, ("assets", "jobs"))
        patch.setattr(tempfile, "mkstemp", full)
        with pytest.raises(OSError, match="No space left"):
            notebooks.scaffold(settings, catalog, request)
        assert online.status() == []
        patch.setattr(tempfile, "mkstemp", real)
        scaffolded = notebooks.scaffold(settings, catalog, request)
        assert [notebook.status for notebook in scaffolded.notebooks] == ["created"] * 2


def test_notebooks_of_a_users_own_template_are_checked_together(
    online: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "ours", {"notebook.jinja": "{%- set cells = ['inputs'] -%}\n" + OWN_CELLS})
    checked = []

    def check(files: Sequence[Path]) -> Any:
        checked.append([file.stem for file in files])
        return {file: [] for file in files}

    monkeypatch.setattr(checking, "run_marimo_check", check)
    settings = load(online.path, environ={})
    request = notebooks.ScaffoldRequest(assets=["daily", "grid"], template=str(tmp_path / "ours"))
    with DagsterClient(settings.target()) as client:
        notebooks.scaffold(settings, read_catalog(client, ("assets", "jobs")), request)
    assert checked == [["daily", "grid"]]


def test_what_a_users_own_template_gets_wrong_stops_that_notebook_only(
    online: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "{% if nb.asset == 'daily' %}def{% elif nb.asset == 'grid' %}print('hello'){% else %}"
    shape = "{%- set cells = ['inputs'] -%}\n" + wrong + OWN_CELLS + "{% endif %}"
    write(tmp_path / "ours", {"notebook.jinja": shape})
    finding = checking.Finding(1, checking.ERROR, "marimo:x", "twice", "")
    monkeypatch.setattr(
        checking,
        "run_marimo_check",
        lambda files: {file: [finding] if file.stem == "raw_orders" else [] for file in files},
    )
    settings = load(online.path, environ={})
    assets = ["daily", "grid", "orders", "raw/orders"]
    request = notebooks.ScaffoldRequest(assets=assets, template=str(tmp_path / "ours"))
    with DagsterClient(settings.target()) as client:
        catalog = read_catalog(client, ("assets", "jobs"))
        scaffolded = notebooks.scaffold(settings, catalog, request)
    failed = {book.file.stem: str(book.error) for book in scaffolded.notebooks if book.error}
    assert [*failed] == ["daily", "grid", "raw_orders"]
    assert "is not valid Python" in failed["daily"]
    assert "is not a marimo notebook" in failed["grid"]
    assert "does not pass marimo's check: twice (raw_orders.py" in failed["raw_orders"]
    assert status(online) == ["?? notebooks/orders.py"]
    with pytest.raises(DagmarError, match="3 of 4 notebooks failed") as raised:
        scaffolded.raise_for_status()
    assert raised.value.exit_code == 7


OWN_CELLS = "{%- include 'template/cells/notebook.jinja' -%}\n"
BRANCH = "@app.cell\ndef _():\n    if 1:\n        2\n    return\n"
TWICE = "@app.cell\ndef _():\n    x = 1\n    return\n\n\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"notebook.jinja": "\n{{ 1 / 0 }}"}, "ZeroDivisionError: division by zero"),
        ({"notebook.jinja": "\n{{ 'a' + 1 }}"}, "(notebook.jinja, line 2)"),
        ({"notebook.jinja": "{% include 'template/cells/own/notebook.jinja' %}"}, "RecursionError"),
        ({"notebook.jinja": "print('hello')"}, "is not a marimo notebook"),
        (
            {"notebook.jinja": "{%- set cells = ['own/x'] -%}\n" + OWN_CELLS, "x.jinja": TWICE * 2},
            "does not pass marimo's check: Variable 'x' is defined in multiple cells",
        ),
        (
            {"notebook.jinja": "{%- set cells = ['own/x'] -%}\n" + OWN_CELLS, "x.jinja": BRANCH},
            "won't be displayed",
        ),
        (
            {"notebook.jinja": "import marimo\nnotebook = marimo.App()\n"},
            "ours: marimo does not read this as a notebook",
        ),
    ],
)
def test_a_template_whose_output_is_not_a_notebook_is_refused_without_a_traceback(
    online: Project, tmp_path: Path, files: dict[str, str], message: str
) -> None:
    write(tmp_path / "ours", files)
    done = invoke(online, "scaffold", "--asset", "daily", "--template", str(tmp_path / "ours"))
    assert done.returncode == 7, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert status(online) == []


def test_a_users_own_template_may_be_the_project_itself_and_is_written_as_marimo_would(
    online: Project,
) -> None:
    untidy = "@app.cell\ndef _(orders):\n\n    orders\n\n\n    return\n"
    shape = "{%- set cells = ['inputs', 'own/cell'] -%}\n" + OWN_CELLS
    write(online.path, {"notebook.jinja": shape, "cell.jinja": untidy})
    (online.path / "dangling").symlink_to(online.path / "nothing")
    online.commit()
    scaffold(online, "--asset", "grid", "--template", ".")
    from dagmar.notebook.cells import canonical

    text = online.read("notebooks/grid.py")
    assert "    orders\n" in text
    assert canonical(text) == text
    assert status(online) == ["?? notebooks/grid.py"]


def test_answers_of_a_notebook_replaced_by_a_users_own_are_removed(
    online: Project, tmp_path: Path
) -> None:
    scaffold(online, "--asset", "daily")
    online.commit()
    write(tmp_path / "ours", {"notebook.jinja": "{%- set cells = ['inputs'] -%}\n" + OWN_CELLS})
    scaffold(online, "--asset", "daily", "--template", str(tmp_path / "ours"), "--force")
    # An update would merge the new version of the default template into it.
    assert not (online.path / ".dagmar/notebooks/daily.yml").exists()


def test_nothing_is_written_through_a_link_out_of_the_project(
    online: Project, tmp_path: Path
) -> None:
    write(tmp_path, {"theirs.py": "# theirs\n"})
    (online.path / "notebooks/daily.py").symlink_to(tmp_path / "theirs.py")
    (online.path / "notebooks/grid.py").mkdir()
    for asset, message in (("daily", "a link to outside of the project"), ("grid", "is a folder")):
        done = invoke(online, "scaffold", "--asset", asset, "--force")
        assert (done.returncode, message in done.stderr) == (8, True), done.stderr
    assert (tmp_path / "theirs.py").read_text() == "# theirs\n"


def test_a_file_in_the_way_of_a_folder_is_named(online: Project) -> None:
    write(online.path, {".dagmar/notebooks": ""})
    done = invoke(online, "scaffold", "--asset", "daily")
    assert done.returncode == 3, done.stderr
    assert ".dagmar/notebooks cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_first_calls_at_once_both_succeed(online: Project) -> None:
    assets = ["daily", "grid", "orders"]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda asset: scaffold(online, "--asset", asset), assets))
    assert sorted(file.stem for file in (online.path / "notebooks").glob("*.py")) == assets
    assert online.status() == [
        *(f"?? .dagmar/notebooks/{asset}.yml" for asset in assets),
        *(f"?? notebooks/{asset}.py" for asset in assets),
    ]
