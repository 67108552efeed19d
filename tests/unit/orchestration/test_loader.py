"""The project's definitions are found as Dagster finds them, and are never older than the files."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest
from dagmar.errors import Invalid, SetupError, UnknownDagster
from dagmar.notebook.checking import check
from dagmar.orchestration import here, internals
from dagmar.orchestration.definitions import read_definitions
from dagmar.orchestration.instance import instance
from dagmar.orchestration.internals import internal
from dagmar.orchestration.loader import definitions_of
from dagmar.orchestration.probe import Broken, find_broken
from dagmar.orchestration.values import load_value
from dagmar.pair.pair import Pair
from dagmar.project import devfile, installed
from dagmar.project.environ import apply_environ, instance_folder
from dagmar.project.locations import GRPC, Workspace, read_workspace
from dagmar.project.settings import load as load_settings
from dagmar.upkeep.checking import FAIL, PASS, WARN, Project
from dagmar.upkeep.checks.notebooks import definitions as definitions_check
from dagster._core.workspace.load_target import PyProjectFileTarget, WorkspaceFileTarget
from support.layouts import ASSET, LAYOUTS, TWO, defs
from support.project import TASKS

NOTEBOOK = """\
import marimo

app = marimo.App()

with app.setup:
    import dagmar

    pair = dagmar.Pair(asset="orders")


@app.cell
def inputs():
    orders = pair.load("orders")
    return (orders,)
"""
DOCTOR_IN_CI = ("dg project", "dg workspace", "[tool.dagster] modules", "setup.cfg")


def no_remarks(files: list[Path]) -> dict[Path, list[object]]:
    """Stand in for marimo's own checks, which start a process and are not about definitions."""
    return {file: [] for file in files}


@pytest.fixture(scope="session")
def dagster_home_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance's folder with its databases, as Dagster writes them."""
    home = tmp_path_factory.mktemp("dagster_home_made")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(home)) as made:
        assert made.run_storage
        assert made.event_log_storage
        assert made.schedule_storage
    return home


@pytest.fixture
def write(
    tmp_path: Path, dagster_home_made: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Path]]:
    """Yield a function that writes files into a project whose instance is its own."""
    root = tmp_path / "project"
    shutil.copytree(dagster_home_made, root / ".dagmar/dagster_home")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def written(files: dict[str, str]) -> Path:
        for name, text in {"dagmar.yaml": "", **files}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, "utf-8")
        return root

    yield written
    instance(root).dispose()


def run(root: Path, name: str = "orders") -> object:
    """Materialize an asset in this process and return its value."""
    run = here.materialize(root, name)
    assert run.success, run.error
    return load_value(root, name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_loads_in_notebooks_and_passes_check(
    layout: str, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagmar.notebook.checking.run_marimo_check", no_remarks)
    root = write({**LAYOUTS[layout], "notebooks/orders.py": NOTEBOOK})
    assert run(root) == 3
    if layout in TWO:
        assert run(root, "returns") == 4
    _, exported = runpy.run_path(str(root / "notebooks/orders.py"))["app"].run()
    assert exported["orders"] == 3
    catalog = read_definitions(root)
    assert [str(asset["key"]) for asset in catalog.assets] == [
        "orders", "orders_total", *(["returns", "returns_total"] if layout in TWO else []),
    ]  # fmt: skip
    settings = load_settings(root)
    (checked,) = check(settings, [(root / "notebooks/orders.py").resolve()], catalog).notebooks
    assert [finding for finding in checked.findings if finding.rule in ("pair", "inputs")] == []


def patient(root: Path, workspace: Workspace, environ: Mapping[str, str]) -> Broken:
    """Find what does not load, however busy other tests keep the machine."""
    return find_broken(root, workspace, environ, seconds=240)


# Doctor starts an interpreter to load the definitions.
@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(name, marks=() if name in DOCTOR_IN_CI else pytest.mark.nightly)
        for name in LAYOUTS
    ],
)
def test_a_layout_passes_doctor(layout: str, write: Callable[..., Path]) -> None:
    project = Project(write(LAYOUTS[layout]), {}, find_broken=patient)
    finding = definitions_check(project)
    assert finding.status == (WARN if layout == "setup.cfg" else PASS), finding.message


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name.startswith(("[", "work"))])
def test_code_locations_are_those_of_dagster(
    layout: str, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(LAYOUTS[layout])
    monkeypatch.chdir(root)
    if "workspace.yaml" in LAYOUTS[layout]:
        origins = WorkspaceFileTarget(["workspace.yaml"]).create_origins()
    else:
        origins = PyProjectFileTarget("pyproject.toml").create_origins()
    theirs = [origin.loadable_target_origin for origin in origins]  # type: ignore[attr-defined]
    ours = read_workspace(root).locations
    assert [place.name for place in ours] == [origin.location_name for origin in origins]
    assert [(place.target, place.attribute or None) for place in ours] == [
        (origin.python_file or origin.module_name or origin.package_name, origin.attribute)
        for origin in theirs
    ]
    for place, origin in zip(ours, theirs, strict=True):
        assert place.working_directory == root / (origin.working_directory or "")


def test_nothing_is_loaded_from_a_project_that_declares_nothing(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagmar.notebook.checking.run_marimo_check", no_remarks)
    root = write({"README.md": "", "notebooks/orders.py": NOTEBOOK})
    sentence = "no file says where the definitions are"
    for load in (lambda: load_value(root, "orders"), lambda: read_definitions(root)):
        with pytest.raises(SetupError, match=sentence):
            load()
    assert sentence in definitions_check(Project(root, {})).message
    file = (root / "notebooks/orders.py").resolve()
    (checked,) = check(load_settings(root), [file], None).notebooks
    assert sentence in "".join(finding.message for finding in checked.findings)


def test_a_grpc_server_is_named_with_its_address(write: Callable[..., Path]) -> None:
    root = write(
        {
            "workspace.yaml": "load_from:\n- grpc_server: {host: shop, port: 4266}\n"
            "- python_file: a.py\n",
            "a.py": defs(),
        }
    )
    assert read_workspace(root).locations[0].kind == GRPC
    assert run(root) == 3
    with pytest.raises(Invalid, match=r"(?s)Not every .*gRPC server at shop:4266"):
        load_value(root, "returns")
    write({"workspace.yaml": "load_from:\n- grpc_server: {host: shop, port: 4266}\n"})
    with pytest.raises(SetupError, match="gRPC server at shop:4266, and cannot be loaded here"):
        load_value(root, "orders")
    assert "workspace.yaml names only gRPC" in definitions_check(Project(root, {})).message


def test_a_hint_names_the_file_that_the_project_has(write: Callable[..., Path]) -> None:
    root = write({"workspace.yaml": "load_from:\n- python_module: gone\n"})
    finding = definitions_check(Project(root, {}, find_broken=patient))
    assert finding.status == FAIL
    assert "workspace.yaml names gone" in finding.message
    assert "root_module" not in finding.hint
    with pytest.raises(SetupError, match="'gone' does not load") as caught:
        load_value(root, "orders")
    assert "dagster definitions validate" in caught.value.command


PACKAGE = {
    "pyproject.toml": '[tool.dagster]\nmodule_name = "shop.definitions"\n',
    "shop/__init__.py": "",
    "shop/helper.py": "VALUE = 1\n",
    "shop/definitions.py": "from shop.helper import VALUE\n" + defs(value="VALUE"),
}


def test_an_edited_asset_and_an_edited_helper_run_as_saved(write: Callable[..., Path]) -> None:
    root = write(PACKAGE)
    assert run(root) == 1
    before = sys.modules["shop.definitions"]
    assert run(root) == 1
    assert sys.modules["shop.definitions"] is before
    write({"shop/helper.py": "VALUE = 20\n"})
    assert run(root) == 20
    write({"shop/definitions.py": "from shop.helper import VALUE\n" + defs(value="VALUE + 1")})
    assert run(root) == 21
    late = defs(value="__import__('shop.more').more.VALUE")
    write({"shop/more.py": "VALUE = 7\n", "shop/definitions.py": late})
    assert run(root) == 7
    (root / "shop/more.py").unlink()
    run_again = here.materialize(root, "orders")
    assert run_again.error is not None
    assert run_again.error.kind == "ModuleNotFoundError"


def test_two_edits_within_a_second_of_the_same_size_both_count(
    write: Callable[..., Path], dagster_home_made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    root = write(PACKAGE)
    second = time.time_ns() // 10**9 * 10**9
    for number in range(1, 5):
        write({"shop/helper.py": f"VALUE = {number}\n"})
        os.utime(root / "shop/helper.py", ns=(second + number, second + number))
        assert run(root) == number
    # What another process compiled before the last edit is not taken either.
    compiled = Path(internal_cache(root / "shop/helper.py"))
    assert compiled.exists()
    write({"shop/helper.py": "VALUE = 9\n"})
    os.utime(root / "shop/helper.py", ns=(second + 9, second + 9))
    os.utime(compiled, ns=(second + 8, second + 8))
    # The instance's files may change until its connections are closed.
    sources = shutil.ignore_patterns("dagster_home")
    other = Path(shutil.copytree(root, root.parent / "other", ignore=sources))
    shutil.copytree(dagster_home_made, other / ".dagmar/dagster_home")
    assert run(other) == 9
    instance(other).dispose()


def internal_cache(file: Path) -> str:
    import importlib.util

    return importlib.util.cache_from_source(str(file))


def test_a_new_file_and_a_new_folder_are_part_of_the_definitions(
    write: Callable[..., Path],
) -> None:
    root = write(LAYOUTS["autoload_defs"])

    def keys() -> set[str]:
        return {asset["key"] for asset in read_definitions(root).assets}

    assert keys() == {"orders", "orders_total"}
    write({"shop/defs/more.py": ASSET.format(name="returns", value="4")})
    assert "returns" in keys()
    write({"shop/defs/deep/down/sales.py": ASSET.format(name="sales", value="5")})
    assert "sales" in keys()
    (root / "shop/defs/empty").mkdir()
    assert keys() >= {"orders", "returns", "sales"}
    write({"shop/defs/empty/late.py": ASSET.format(name="late", value="6")})
    assert "late" in keys()


def test_code_that_does_not_load_is_an_error_and_the_old_code_never_runs(
    write: Callable[..., Path],
) -> None:
    root = write(PACKAGE)
    assert run(root) == 1
    write({"shop/helper.py": "VALUE = \n"})
    for _ in range(2):
        with pytest.raises(
            SetupError, match=r"SyntaxError: [^(]* \(shop/helper.py, line 1\)\n"
        ) as caught:
            here.materialize(root, "orders")
        assert isinstance(caught.value.__cause__, SyntaxError)
    write({"shop/helper.py": "\n\nVALUE = 1 / 0\n"})
    place = r"ZeroDivisionError: .*\(shop/helper.py, line 3\)"
    with pytest.raises(SetupError, match=place) as caught:
        Pair(asset="orders", root=root).load("orders")
    # The user's frames only: of what was raised, and around it none of dagmar's but the call.
    assert caught.value.__cause__
    trace = "".join(traceback.format_exception(caught.value.__cause__))
    files = [line for line in trace.splitlines() if line.startswith("  File ")]
    assert len(files) == 2
    assert all(f'"{root}/shop/' in file for file in files)
    assert "VALUE = 1 / 0" in trace
    assert caught.traceback[-1].name == "load"
    write({"shop/helper.py": "from shop.definitions import defs\n\nVALUE = 2\n"})
    with pytest.raises(SetupError, match=r"circular import.*\(shop/helper.py, line 1\)"):
        load_value(root, "orders")
    write({"shop/helper.py": "import sys\n\nsys.exit(3)\n"})
    with pytest.raises(SetupError, match=r"SystemExit: 3 \(shop/helper.py, line 3\)"):
        load_value(root, "orders")
    (root / "shop/helper.py").unlink()
    with pytest.raises(SetupError, match=r"No module named 'shop.helper' \(shop/definitions.py"):
        load_value(root, "orders")
    write({"shop/helper.py": "VALUE = 5\n"})
    assert run(root) == 5


def test_an_editable_library_counts_and_an_upgraded_one_asks_for_a_restart(
    write: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site, shared = tmp_path / "site-packages", tmp_path / "shared"
    for name in ("_states", "_known", "_outdated"):
        monkeypatch.setattr(installed, name, {})

    def distribute(name: str, record: str, origin: str = "{}") -> None:
        (site / f"{name}.dist-info").mkdir(parents=True)
        (site / f"{name}.dist-info/RECORD").write_text(record)
        (site / f"{name}.dist-info/direct_url.json").write_text(origin)

    (shared / "src").mkdir(parents=True)
    (shared / "src/shared_lib.py").write_text("VALUE = 1\n")
    origin = json.dumps({"url": shared.as_uri(), "dir_info": {"editable": True}})
    distribute("shared_lib-1.0", "shared.pth,,\n", origin)
    distribute("installed_lib-1.0", "installed_lib.py,,\n")
    distribute("unused_lib-1.0", "unused_lib.py,,\n")
    (site / "installed_lib.py").write_text("")
    sys.path[:0] = [str(site), str(shared / "src")]
    code = "import installed_lib\nfrom shared_lib import VALUE\n" + defs(value="VALUE")
    project = PACKAGE.get("pyproject.toml", "") + '\n[project]\ndependencies = ["pandas"]\n'
    root = write({**PACKAGE, "shop/definitions.py": code, "pyproject.toml": project})
    assert run(root) == 1
    (shared / "src/shared_lib.py").write_text("VALUE = 2\n")
    assert run(root) == 2
    (shared / "src/shared_lib.py").write_text("VALUE = (\n")
    with pytest.raises(SetupError, match=r"\(.*/shared/src/shared_lib.py, line 1"):
        load_value(root, "orders")
    (shared / "src/shared_lib.py").write_text("VALUE = 2\n")
    assert load_value(root, "orders") == 2
    assert "restart the kernel" not in capsys.readouterr().err
    write({"pyproject.toml": project.replace("pandas", "polars")})
    for _ in range(2):
        assert load_value(root, "orders") == 2
    assert capsys.readouterr().err.count("restart the kernel") == 1
    for name in ("unused_lib", "installed_lib"):
        assert load_value(root, "orders") == 2
        shutil.rmtree(site / f"{name}-1.0.dist-info")
        distribute(f"{name}-1.1", f"{name}.py,,\n")
    for _ in range(2):
        with pytest.raises(SetupError, match=r"^installed-lib was changed from 1.0 to 1.1") as it:
            load_value(root, "orders")
        assert "Restart the kernel" in it.value.suggestion


KERNEL = """\
import sys

from dagmar.errors import DagmarError
from dagmar.pair.buttons import materialize_here
from dagmar.pair.controls import LaunchOptions
from orders import pair

for _ in sys.stdin:
    try:
        attempt = materialize_here(pair._context, LaunchOptions())
        print(attempt.error or pair.load("orders"), flush=True)
    except DagmarError as error:
        print(error.message, flush=True)
"""


def test_materialize_here_in_a_notebook_runs_the_code_as_saved(write: Callable[..., Path]) -> None:
    root = write({**PACKAGE, "notebooks/orders.py": NOTEBOOK, "tasks.py": TASKS})
    environ = {**os.environ, "PYTHONPATH": str(root / "notebooks"), "PYTHONDONTWRITEBYTECODE": ""}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", KERNEL],
        cwd=root,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as kernel:

        def click() -> str:
            assert kernel.stdin
            assert kernel.stdout
            kernel.stdin.write("\n")
            kernel.stdin.flush()
            return kernel.stdout.readline().strip()

        assert click() == "1"
        for number in (2, 3):  # within a second, and of the same size
            write({"shop/helper.py": f"VALUE = {number}\n"})
            assert click() == str(number)
        written = "from shop.helper import VALUE\n" + defs(value="VALUE * 10")
        write({"shop/definitions.py": written})
        assert click() == "30"
        write({"shop/definitions.py": written.replace("return VALUE", "return (VALUE")})
        assert "SyntaxError: " in (message := click())
        assert "shop/definitions.py, line " in message
        write({"shop/definitions.py": written, "shop/helper.py": "VALUE = 4\n"})
        assert click() == "40"
        assert kernel.stdin
        kernel.stdin.close()


def test_what_a_notebook_imported_stays_the_same_until_it_is_edited(
    write: Callable[..., Path],
) -> None:
    root = write(PACKAGE)
    for file in root.rglob("*.py"):
        os.utime(file, (1_700_000_000, 1_700_000_000))
    sys.path.insert(0, str(root))
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]
    helper = __import__("shop.helper").helper
    write({"notebooks/mine.py": "", "tests/test_it.py": "", "shop/data.csv": "a"})
    assert run(root) == 1
    assert sys.modules["shop.helper"] is helper
    write({"notebooks/mine.py": "x = 1", "tests/test_it.py": "x = 1", "shop/data.csv": "a,b"})
    assert run(root) == 1
    assert sys.modules["shop.helper"] is helper
    write({"shop/helper.py": "VALUE = 2\n"})
    assert run(root) == 2
    assert helper.VALUE == 1


def test_a_code_location_that_does_not_load_hides_no_other(write: Callable[..., Path]) -> None:
    files = {**LAYOUTS["[tool.dagster] modules"], "back.py": "raise RuntimeError('no warehouse')\n"}
    root = write(files)
    assert run(root) == 3
    with pytest.raises(Invalid, match="'back' does not load: RuntimeError: no warehouse"):
        load_value(root, "returns")
    (broken,) = [place for place in read_definitions(root).locations if place["error"]]
    assert broken["name"] == "back"
    write({"back.py": defs("returns", "4")})
    assert run(root, "returns") == 4


def test_an_asset_is_loaded_from_where_it_is_defined(write: Callable[..., Path]) -> None:
    files = dict(LAYOUTS["[tool.dagster] modules"])
    files["back.py"] = defs("returns", "4").replace("@dg.asset", '@dg.asset(deps=["orders"])')
    root = write(files)
    assert run(root) == 3
    assert run(root, "returns") == 4


def test_definitions_see_the_environment_of_the_server(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WHO", "shell")
    monkeypatch.delenv("WHERE", raising=False)
    value = "__import__('os').environ['WHO'] + __import__('os').environ.get('WHERE', '')"
    files = {"pyproject.toml": '[tool.dagster]\nmodule_name = "seen"\n', ".env": "WHO=dotenv\n"}
    root = write(
        {**files, "seen.py": f"VALUE = {value}\n" + defs(value="VALUE").replace("int", "str")}
    )
    assert run(root) == "dotenv"
    (tmp_path / "more.env").write_text(f"WHO=file\nWHERE=!\nDAGSTER_HOME={tmp_path}\n")
    running = devfile.Running(os.getpid(), devfile.now(), env_file=str(tmp_path / "more.env"))
    devfile.write(root, running)
    (root / ".env").unlink()
    definitions = definitions_of(root)
    assert definitions.with_asset("orders")
    assert (os.environ["WHO"], os.environ["WHERE"]) == ("shell", "!")
    assert instance(root).root_directory == str(tmp_path)
    devfile.remove(root, os.getpid())
    assert instance(root).root_directory != str(tmp_path)


def test_the_instance_is_that_of_a_running_dev_whatever_another_shell_says(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The shell of `invoke dev` may have set what the shell of `invoke export` has not."""
    root = write({"pyproject.toml": '[tool.dagster]\nmodule_name = "seen"\n', "seen.py": defs()})
    homes = {name: tmp_path / name for name in ("dev", "shell")}
    for folder in homes.values():
        folder.mkdir()
    configuration = "local_artifact_storage:\n  module: dagster._core.storage.root\n"
    configuration += "  class: LocalArtifactStorage\n  config: {base_dir: {env: KEPT_IN}}\n"
    (homes["dev"] / "dagster.yaml").write_text(configuration)
    more = tmp_path / "elsewhere/more.env"
    more.parent.mkdir()
    more.write_text(f"KEPT_IN={homes['dev']}\nSECRET=s3cr3t\n")
    monkeypatch.delenv("KEPT_IN", raising=False)
    monkeypatch.setenv("DAGSTER_HOME", str(homes["shell"]))
    running = devfile.Running(
        os.getpid(), devfile.now(), env_file=str(more), dagster_home=str(homes["dev"])
    )
    devfile.write(root, running)
    # A variable of the file that the instance's own configuration names.
    assert instance(root).root_directory == str(homes["dev"])
    assert "s3cr3t" not in (root / ".dagmar/tmp/dev.json").read_text()
    more.unlink()  # only the path is known
    assert instance_folder(root, os.environ) == homes["dev"]
    devfile.remove(root, os.getpid())
    assert instance_folder(root, {"DAGSTER_HOME": str(homes["shell"])}) == homes["shell"]


def test_a_dagster_that_lacks_a_private_name_is_reported_as_that(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(internals._PLACES, "CheckError", "_moved")
    internal.cache_clear()
    with pytest.raises(UnknownDagster, match=r"this Dagster \(1\.\d+\.\d+\) has no .*_moved"):
        internal("CheckError")
    internal.cache_clear()


def test_variables_of_dagster_yaml_are_those_of_env_over_those_of_the_shell(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Dagster, which reads the `.env` of its folder over everything else."""
    monkeypatch.setenv("KEPT_IN", "/shell")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    configuration = (
        "local_artifact_storage:\n  module: dagster._core.storage.root\n"
        "  class: LocalArtifactStorage\n  config: {base_dir: {env: KEPT_IN}}\n"
    )
    root = write({".dagmar/dagster_home/dagster.yaml": configuration})
    (root / ".env").write_text(f"KEPT_IN={root}\n")
    apply_environ({**os.environ, "KEPT_IN": "/another project"})
    monkeypatch.setenv("KEPT_IN", "/shell")
    store = instance(root)
    assert store.root_directory == str(root)
    store.dispose()
