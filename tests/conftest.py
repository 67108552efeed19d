"""What all tests share: the profiles, a clean environment, the real CLI."""

from __future__ import annotations

import gc
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagmar.project import environ
from dagmar.project.settings import Target
from dagmar.server.client import DagsterClient
from hypothesis import HealthCheck, settings
from support import forked
from support.dagster_server import DagsterServer, dagster_server
from support.git import GIT_ENVIRON
from support.project import Project, make_project
from xdist.remote import Producer
from xdist.scheduler import LoadGroupScheduling

TESTS = Path(__file__).parent
LIVE = {"dagster"}
# What fails in CI must fail again at home, so CI always tries the same examples.
settings.register_profile(
    "ci", max_examples=25, derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile(
    "nightly", settings.get_profile("ci"), max_examples=10_000, derandomize=False, print_blob=True
)
SLOW = (
    "browser",
    "faults",
    "live",
    "security",
    "docs/test_commands.py",
    "template/test_check.py",
    "template/test_clean_notebooks.py",
    "template/test_examples.py",
    "template/test_execution.py",
    "template/test_layouts.py",
    "template/test_own_tasks.py",
    "template/test_scaffold.py",
    "template/test_update_task.py",
    "unit/export/test_environment.py",
    "unit/export/test_export.py",
    "unit/export/test_marimo_export.py",
    "unit/export/test_upload.py",
    "unit/export/test_upload_clouds.py",
    "unit/pair/test_types.py",
)
"""What the quick run leaves out; template/test_main_job.py stands for it there."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run all tests, as CI does")
    parser.addoption("--nightly", action="store_true", help="run the long matrices too")
    parser.addoption("--pictures", action="store_true", help="take the pictures of docs/ again")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "nightly: a long matrix, run with --nightly only")
    # What is named on the command line runs, whatever the profile. Workers get the option's value.
    if config.option.nightly or config.args_source == pytest.Config.ArgsSource.ARGS:
        config.option.all = True
    settings.load_profile("nightly" if config.option.nightly else "ci")
    forked.profile.may_fork = not config.option.nightly
    # In a script's background SIGINT is ignored, and under nohup SIGHUP; what a test starts would
    # inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # Images of Python set it. Every process that a test starts would then compile Dagster again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Before anything is imported: Copier starts git with the environment that there was then.
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        os.environ.pop(name, None)
    os.environ.update(GIT_ENVIRON)


def pytest_report_header(config: pytest.Config) -> str:
    profile = "nightly" if config.option.nightly else "all" if config.option.all else "quick"
    return f"profile: {profile}"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave whole files out of the quick run: what they import alone takes seconds."""
    if config.option.all or not collection_path.is_relative_to(TESTS):
        return None
    return True if collection_path.relative_to(TESTS).as_posix() in SLOW else None


class GroupsAndFiles(LoadGroupScheduling):
    """Keep a group, or else a file, in one worker: what its tests share is made once."""

    def _split_scope(self, nodeid: str) -> str:
        scope = super()._split_scope(nodeid)
        return nodeid.partition("::")[0] if scope == nodeid else scope


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupsAndFiles:
    return GroupsAndFiles(config, log)


def pytest_collection_finish() -> None:
    """Let the garbage collector forget what has been imported: it is looked through no more."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the live server after its last test in this worker; idle, it takes time from others."""
    in_worker = hasattr(item.config, "workerinput")
    if in_worker and nextitem and _group(item) == "live" != _group(nextitem):
        for fixture in item.session._fixturemanager.getfixturedefs("dagster", item) or ():
            fixture.finish(item._request)  # type: ignore[attr-defined]


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return str(marker.args[0]) if marker else ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        # One server serves them all, so they stay in one worker.
        if not _group(item) and LIVE & set(item.fixturenames):  # type: ignore[attr-defined]
            item.add_marker(pytest.mark.xdist_group("live"))
        long = item.get_closest_marker("nightly") or getattr(item.obj, "hypothesis", None)  # type: ignore[attr-defined]
        if config.option.nightly and long:
            item.add_marker(pytest.mark.timeout(0))
    if config.option.nightly:
        return
    left_out = [item for item in items if item.get_closest_marker("nightly")]
    if config.option.all:
        for item in left_out:
            item.add_marker(pytest.mark.skip(reason="runs with --nightly"))
        return
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    """Keep the developer's own settings and Dagster instance, `uv run` and colours out."""
    outside = ("DAGSTER_HOME", "UV", "PDM_RUN_CWD", "PIPENV_ACTIVE", "PIXI_PROJECT_ROOT",
               "GITHUB_STEP_SUMMARY", "FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS")  # fmt: skip
    mine = {name for name in os.environ if name.startswith("DAGMAR_") or name in outside}
    with pytest.MonkeyPatch.context() as patch:
        for name in mine:
            patch.delenv(name)
        # Some programs print colours into a pipe wherever CI is set.
        patch.setenv("NO_COLOR", "1")
        yield


@pytest.fixture(autouse=True)
def _environment_as_before() -> Iterator[None]:
    """Undo what loading a project in this process does to the environment."""
    before = dict(os.environ)
    environ._APPLIED.clear()
    yield
    os.environ.clear()
    os.environ.update(before)
    environ._APPLIED.clear()


@pytest.fixture(scope="session")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the live server's instance."""
    return tmp_path_factory.mktemp("dagster_home")


@pytest.fixture(scope="session")
def dagster(dagster_home: Path) -> Iterator[DagsterServer]:
    """One real Dagster for all live tests: `dagster dev`, ready."""
    with dagster_server(dagster_home, "dagster", "dev") as server:
        server.wait()
        yield server


@pytest.fixture
def client(dagster: DagsterServer) -> Iterator[DagsterClient]:
    """A client of the live server."""
    with DagsterClient(Target("local", dagster.url)) as client:
        yield client


@pytest.fixture
def live(dagster: DagsterServer, tmp_path: Path) -> Project:
    """A project whose target is the live server."""
    return make_project(tmp_path / "live", f"targets:\n  local:\n    url: {dagster.url}\n")


@pytest.fixture
def tag() -> str:
    """A tag value of this test's own: what it launches is counted by it."""
    return uuid.uuid4().hex


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project without a server."""
    return make_project(tmp_path / "project")
