"""What all tests share: a clean environment, the nightly profile, the real CLI."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagmar.project.settings import Target
from dagmar.server.client import DagsterClient
from support.dagster_server import DagsterServer, dagster_server
from support.project import Project, make_project

LIVE = {"dagster"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="run the long matrices too")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "nightly: a long matrix, run with --nightly only")
    # In a script's background SIGINT is ignored, and what a test starts would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        # One server serves them all, so they stay in one worker.
        named = item.get_closest_marker("xdist_group")
        if not named and LIVE & set(item.fixturenames):  # type: ignore[attr-defined]
            item.add_marker(pytest.mark.xdist_group("live"))
    if config.getoption("--nightly"):
        for item in items:
            if item.get_closest_marker("nightly"):
                item.add_marker(pytest.mark.timeout(0))
        return
    skip = pytest.mark.skip(reason="runs with --nightly")
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    """Keep the developer's own settings and Dagster instance, and `uv run`, out of the tests."""
    outside = ("DAGSTER_HOME", "UV")
    mine = {name for name in os.environ if name.startswith("DAGMAR_") or name in outside}
    saved = {name: os.environ.pop(name) for name in mine}
    yield
    os.environ.update(saved)


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
