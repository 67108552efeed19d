"""One asset's notebook from scaffold to report, in every layout that says where definitions are."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from dagmar.errors import DagmarError
from dagmar.orchestration import here
from dagmar.orchestration.instance import instance
from dagmar.orchestration.probe import Broken
from dagmar.project.settings import load
from dagmar.scaffold import notebooks
from dagmar.server.catalog import read_catalog
from dagmar.server.client import DagsterClient
from dagmar.upkeep.checking import PASS, WARN
from dagmar.upkeep.checking import Project as Checked
from dagmar.upkeep.checks.notebooks import definitions as definitions_check
from support.http_server import dagster, serve
from support.layouts import LAYOUTS, TWO
from support.project import TASKS
from support.project import Project as CommandLine
from support.shop_project import ANSWERS, DEFINITIONS, PYPROJECT
from support.template_releases import Project, Template, tree, write

IN_CI = ("workspace.yaml python_file", "setup.cfg")
EACH = [
    pytest.param(name, marks=() if name in IN_CI else pytest.mark.nightly, id=name)
    for name in LAYOUTS
]
SERVER = "targets: {{local: {{url: '{}'}}}}\n"
OWN = (".copier-answers.yml", ".git", ".dagmar")


@pytest.fixture(scope="session")
def _bare(small: Template, tmp_path_factory: pytest.TempPathFactory, nobody: str) -> Project:
    """A project of the template without any code, and without a server."""
    bare = small.project(tmp_path_factory.mktemp("bare") / "project", example=False)
    for path in bare.path.iterdir():
        if path.name not in OWN:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    write(
        bare.path,
        {
            "tasks.py": TASKS,
            "dagmar.yaml": SERVER.format(nobody),
            ".dagmar/dagster_home/dagster.yaml": "telemetry: {enabled: false}\n",
        },
    )
    return bare


@pytest.fixture
def bare(_bare: Project, tmp_path: Path) -> Project:
    """A new project without any code."""
    return Project(shutil.copytree(_bare.path, tmp_path / "project"), _bare.template)


def invoke(project: Project, *arguments: str) -> dict[str, Any]:
    """Call `invoke … --json` and return the document."""
    done = CommandLine(project.path).invoke(*arguments, "--json", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.timeout(600)
@pytest.mark.parametrize("layout", EACH)
def test_a_layout_serves_scaffold_check_doctor_and_export(
    layout: str, bare: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    write(bare.path, LAYOUTS[layout])
    name = "returns" if layout in TWO else "orders"
    (notebook,) = invoke(bare, "scaffold", "--asset", f"{name}_total")["notebooks"]
    text = bare.read(notebook["path"])
    assert f'{name} = pair.load("{name}")' in text
    run = here.materialize(bare.path, name)
    instance(bare.path).dispose()
    assert run.success, run.error
    (checked,) = invoke(bare, "check")["notebooks"]
    assert checked["findings"] == []
    doctor = definitions_check(
        Checked(bare.path, {}, find_broken=lambda *_: Broken({}))
    )  # as above
    assert doctor.status == (WARN if layout == "setup.cfg" else PASS), doctor.message
    # What the report shows of the value.
    cell = f"@app.cell\ndef value({name}):\n    print('it is', {name})\n    return\n\n\n"
    bare.replace(notebook["path"], "if __name__", f"{cell}if __name__")
    flags = ("--notebook", notebook["path"], "--format", "md")
    (export,) = invoke(bare, "export", *flags)["exports"]
    assert export["status"] == "ok", export["error"]
    (page,) = (bare.path / ".dagmar/exports").rglob("*.md")
    assert f"it is {4 if layout in TWO else 3}" in page.read_text("utf-8")


UNLOADABLE = {
    "nothing declared": (
        {},
        3,
        "'orders', 'raw/orders' can never be loaded in this project: no file says "
        "where the definitions are",
        "Declare them in a workspace.yaml, such as: load_from: [{python_file: definitions.py}]",
    ),
    "only a gRPC server": (
        {"workspace.yaml": "load_from:\n- grpc_server: {host: shop, port: 4266}\n"},
        3,
        "workspace.yaml names only gRPC servers",
        "Launch runs on the server",
    ),
    "another project's, dg": (
        LAYOUTS["dg.toml"],
        7,
        "'raw/orders' can never be loaded in this project: its definitions do not have what the "
        "Dagster at http://",
        "Scaffold the notebook in the project that defines its inputs.",
    ),
    "another project's, workspace.yaml": (
        LAYOUTS["workspace.yaml python_file"],
        7,
        "'raw/orders' can never be loaded in this project",
        "Add the code location to workspace.yaml, or scaffold",
    ),
    "another project's, behind a gRPC server": (
        {
            "workspace.yaml": "load_from:\n- grpc_server: {host: shop, port: 4266}\n"
            "- python_file: back.py\n",
            "back.py": LAYOUTS["workspace.yaml python_file"]["back.py"],
        },
        7,
        "or they are behind the gRPC server of grpc:shop:4266",
        "Add the code location to workspace.yaml, or scaffold",
    ),
}


def make(
    project: Project, files: dict[str, str], failed: Sequence[str] = (), **request: Any
) -> list[str]:
    """Scaffold in this process, with a server of another project; return what was written."""
    with serve(dagster(ANSWERS)) as server:
        write(project.path, {"dagmar.yaml": SERVER.format(server.url), **files})
        settings = load(project.path)
        with DagsterClient(settings.target("", "")) as client:
            catalog = read_catalog(client, ("assets", "jobs"))
            made = notebooks.scaffold(settings, catalog, notebooks.ScaffoldRequest(**request))
    assert [each.file.stem for each in made.notebooks if each.error] == list(failed)
    return [path.name for path in sorted(project.path.glob("notebooks/*.py"))]


@pytest.mark.parametrize("reason", UNLOADABLE)
def test_no_notebook_is_written_whose_inputs_can_never_be_loaded(
    reason: str, bare: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("shop", "back")]:
        monkeypatch.delitem(sys.modules, name)  # another test's, in this process
    files, status, message, hint = UNLOADABLE[reason]
    before = tree(bare.path / ".dagmar/notebooks")
    for options in ({"force": True, "git_commit": True}, {"dry_run": True}):
        with pytest.raises(DagmarError) as caught:
            make(bare, files, assets=["daily"], **options)
        assert caught.value.exit_code == status
        assert message in caught.value.message
        assert hint in caught.value.hint
        assert not (bare.path / "notebooks").exists()
        assert tree(bare.path / ".dagmar/notebooks") == before
    # An asset that takes no value, and a job, have notebooks that load nothing.
    assets = ["raw/orders", "daily"]
    made = make(bare, files, failed=["daily"], assets=assets, jobs=["greeting"])
    assert made == ["greeting.py", "raw_orders.py"]


def test_code_that_does_not_load_now_is_a_warning(
    bare: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    files = {**LAYOUTS["[tool.dagster] modules"], "back.py": "defs = \n"}
    assert make(bare, files, assets=["daily"]) == ["daily.py"]
    warning = "the inputs may not load: the code location 'back' does not load: SyntaxError"
    assert warning in capsys.readouterr().err


def test_a_project_with_the_code_of_a_server_elsewhere_has_its_notebooks(
    bare: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    files = {"pyproject.toml": PYPROJECT, "src/shop/definitions.py": DEFINITIONS}
    assert make(bare, files, assets=["daily"]) == ["daily.py"]
