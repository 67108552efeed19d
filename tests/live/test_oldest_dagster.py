"""Every operation against the oldest Dagster that dagmar supports, and the kernel with each one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagmar.project.versions import DAGSTER, minor
from support.dagster_server import INSTANCE, LOCATIONS, DagsterServer
from support.project import Project, make_project, run
from support.source import SOURCE

OLDEST = f"{DAGSTER[0]}.0"

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("oldest")]


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterServer]:
    """`dagster dev` of the oldest Dagster over the same code locations."""
    uv = shutil.which("uv")
    assert uv, "uv makes the environment"
    home = tmp_path_factory.mktemp("oldest")
    (home / "dagster.yaml").write_text(INSTANCE, "utf-8")
    packages = [f"dagster=={OLDEST}", f"dagster-webserver=={OLDEST}"]
    subprocess.run([uv, "venv", "--quiet", home / "venv"], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", home / "venv", *packages]
    subprocess.run(install, check=True)
    python = str(home / "venv" / "bin" / "python")
    command = [python, "-W", "ignore", "-m", "dagster", "dev", "-w", "workspace.yaml"]
    environ = {"DAGSTER_HOME": str(home), "SECOND_FAILS_WHILE": str(home / "second-fails")}
    with DagsterServer(
        [*command, "-p", "{port}"], LOCATIONS, home / "dagster.log", environ
    ) as server:
        server.wait()
        yield server


@pytest.fixture
def old(oldest: DagsterServer, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose target is the oldest Dagster."""
    settings = f"targets: {{local: {{url: '{oldest.url}'}}}}"
    return make_project(tmp_path_factory.mktemp("old"), settings)


def test_discover_shows_everything(old: Project) -> None:
    done = old.invoke("discover", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    for kind in ("assets", "jobs", "schedules", "sensors", "resources"):
        assert document[kind], kind
    table = old.invoke("discover", "--kind", "assets", "--select", "+key:orders")
    assert "raw/orders" in table.stdout


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        (("--asset", "raw/orders", "--logs"), 0),
        (("--asset", "failing"), 4),
        (("--asset", "grid", "--partition", "red|2026-01-05"), 0),
        (("--asset", "ranged", "--partition-range", "2026-01-02...2026-01-04"), 0),
        (("--job", "weekly_greeting", "--partition", "monday"), 0),
        (("--job", "greeting"), 7),
        (("--asset", "dosed", "--all-partitions", "--set", "ops.dosed.config.rows=1"), 7),
        (("--asset", "inspected", "--set", "ops.inspected_inspected_closely.config.rows=1"), 0),
        (("--asset", "colored", "--missing"), 0),
        (("--job", "weekly_greeting", "--partition", "tuesday", "--partition", "wednesday"), 0),
    ],
)
def test_run_works(old: Project, tag: str, flags: tuple[str, ...], status: int) -> None:
    code, document, talk = run(old, tag, *flags)
    assert code == status, talk
    assert status == 7 or document["runs"]
    assert "there is no" not in talk


def test_retry_follow_and_cancel_work(old: Project, oldest: DagsterServer, tag: str) -> None:
    fails = oldest.log.parent / "second-fails"
    fails.touch()
    _, document, _ = run(old, tag, "--job", "counting")
    fails.unlink()
    failed = document["runs"][0]["run_id"]
    assert old.invoke("run", "--follow", failed).returncode == 4
    assert old.invoke("run", "--retry", failed).returncode == 0
    _, document, _ = run(old, tag, "--asset", "slow", "--no-wait")
    assert old.invoke("run", "--cancel", document["runs"][0]["run_id"]).returncode == 0


DEFINITIONS = """
import dagster as dg


@dg.asset
def raw():
    return [1, 2, 3]


@dg.asset(check_specs=[dg.AssetCheckSpec("positive", asset="orders")])
def orders(raw):
    yield dg.Output([2 * number for number in raw], metadata={"rows": len(raw)})
    yield dg.AssetCheckResult(check_name="positive", passed=True)


@dg.asset
def broken(context):
    context.log.error("the table is late")
    raise ValueError("no such table")


defs = dg.Definitions(assets=[raw, orders, broken])
"""
SCRIPT = """
from pathlib import Path

import dagster
from dagmar.orchestration import here
from dagmar.orchestration.preview import keep, preview
from dagmar.orchestration.values import load_value

root = Path.cwd()
assert here.materialize(root, "raw").success
shown = preview(root, "orders")
assert shown.values == {"orders": [2, 4, 6]}
assert shown.metadata == {"orders": {"rows": 3}}
kept = keep(root, shown)
assert [check.passed for check in (*shown.checks, *kept.checks)] == [True, True]
assert load_value(root, "orders") == [2, 4, 6]
assert preview(root, "broken").error.text == "ValueError: no such table"
print(dagster.__version__)
"""


@pytest.mark.parametrize("version", [OLDEST, *(f"{each}.*" for each in DAGSTER[1:])])
def test_an_asset_is_previewed_and_kept(tmp_path: Path, version: str) -> None:
    (tmp_path / ".dagmar/dagster_home").mkdir(parents=True)
    (tmp_path / ".dagmar/dagster_home/dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (tmp_path / "pyproject.toml").write_text('[tool.dagster]\nmodule_name = "shop"\n')
    (tmp_path / "shop.py").write_text(DEFINITIONS)
    packages = (f"dagster=={version}", str(SOURCE.parents[1]))
    done = subprocess.run(
        ["uv", "run", "--quiet", "--no-project", "--isolated"]
        + [flag for package in packages for flag in ("--with", package)]
        + ["python", "-W", "ignore", "-c", SCRIPT],
        cwd=tmp_path,
        # uv builds a path once: the package is there for what it requires.
        env={**os.environ, "PYTHONPATH": str(SOURCE.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert minor(done.stdout) == minor(version)
    assert "the table is late" in done.stderr
    assert "no such table" not in done.stderr
