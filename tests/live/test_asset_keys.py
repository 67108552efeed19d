"""Assets whose keys differ only in the place of a slash: different assets on a real Dagster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.export import manifests
from dagmar.export.exporting import Exported
from dagmar.export.manifests import Manifest
from dagmar.export.publish import Publisher
from dagmar.export.request import ExportRequest
from dagmar.project.settings import load
from dagmar.server.asset_history import read_events
from dagmar.server.client import DagsterClient
from dagmar.server.located import locate_asset
from dagmar.server.paired import read_neighbours
from support.dagster_server import INSTANCE, DagsterServer, quick
from support.project import Project, make_project, run

pytestmark = pytest.mark.xdist_group("asset_keys")
INSIDE, BETWEEN, BACKSLASH = r"wh/a\/b", "wh/a/b", r"back\\slash"
DEFINITIONS = r'''
import json
from pathlib import Path
from urllib.parse import quote

import dagster as dg


class Store(dg.IOManager):
    """Keeps values apart that Dagster's own IO manager puts into one file."""

    def _file(self, context):
        folder = Path(__file__).parent / "values"
        folder.mkdir(exist_ok=True)
        return folder / quote(json.dumps(context.asset_key.path), safe="")

    def handle_output(self, context, value):
        self._file(context).write_text(value)

    def load_input(self, context):
        return self._file(context).read_text()


@dg.multi_asset(outs={"it": dg.AssetOut(key=["wh", "a/b"])})
def inside():
    return "inside"


@dg.asset(key=["wh", "a", "b"])
def between():
    return "between"


@dg.multi_asset(outs={"it": dg.AssetOut(key=["back\\slash"])})
def backslash():
    return "backslash"


@dg.asset(ins={"one": dg.AssetIn(["wh", "a/b"]), "other": dg.AssetIn(["back\\slash"])})
def both(one, other):
    return one + other


defs = dg.Definitions(
    [inside, between, backslash, both],
    resources={"io_manager": Store()},
    executor=dg.in_process_executor,
)
'''
LOAD = """
import json, sys

import dagmar

pair = dagmar.Pair(asset=sys.argv[1])
print(json.dumps([pair.asset, pair.load(sys.argv[1])]))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("asset_keys")


@pytest.fixture(scope="module")
def shop(place: Path) -> Iterator[Project]:
    """A project whose Dagster has these assets, in the project's own instance."""
    home = place / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE, "utf-8")
    project = make_project(place / "shop")
    (project.root / "slashes.py").write_text(DEFINITIONS, "utf-8")
    (project.root / "pyproject.toml").write_text('[tool.dagster]\nmodule_name = "slashes"\n')
    command = [sys.executable, "-W", "ignore", "-m", "dagster_webserver", "-p", "{port}"]
    environ = {"DAGSTER_HOME": str(home), **quick()}
    with DagsterServer(command, project.root, home / "webserver.log", environ) as server:
        server.wait(240)
        settings = f"targets: {{local: {{url: '{server.url}'}}}}\n"
        (project.root / "dagmar.yaml").write_text(settings, "utf-8")
        yield project


@pytest.fixture
def client(shop: Project) -> Iterator[DagsterClient]:
    with DagsterClient(load(shop.root).target()) as client:
        yield client


def discovered(shop: Project, *flags: str) -> dict[str, Any]:
    done = shop.invoke("discover", "--kind", "assets", *flags, "--json")
    assert done.returncode == 0, done.stderr
    return {asset["key"]: asset for asset in json.loads(done.stdout)["assets"]}


def test_they_are_listed_and_selected_one_by_one(shop: Project) -> None:
    notebook = f"import dagmar\n\npair = dagmar.Pair(asset={INSIDE!r})\n"
    (shop.root / "notebooks").mkdir(exist_ok=True)
    (shop.root / "notebooks/inside.py").write_text(notebook, "utf-8")
    assets = discovered(shop)  # and from its cache
    assert assets == discovered(shop)
    assert sorted(assets) == sorted([INSIDE, BETWEEN, BACKSLASH, "both"])
    assert sorted(assets["both"]["dependencies"]) == sorted([INSIDE, BACKSLASH])
    assert assets[INSIDE]["notebooks"] == ["notebooks/inside.py"]
    assert assets[BETWEEN]["notebooks"] == []
    assert set(discovered(shop, "--match", INSIDE)) == {INSIDE}
    assert set(discovered(shop, "--select", f'key:"{BETWEEN}"')) == {BETWEEN}
    assert set(discovered(shop, "--select", f'key:"{INSIDE}"+')) == {INSIDE, "both"}
    table = shop.invoke("discover", "--kind", "assets").stdout
    assert {INSIDE, BETWEEN, BACKSLASH} <= set(table.split())


def test_each_runs_and_is_loaded_by_itself(shop: Project, place: Path, tag: str) -> None:
    for flags, key in (
        (("--asset", INSIDE), INSIDE),
        (("--asset", BACKSLASH), BACKSLASH),
        (("--select", f'key:"{BETWEEN}"'), BETWEEN),
    ):
        status, document, talk = run(shop, tag, *flags)
        assert status == 0, talk
        assert [run["assets"] for run in document["runs"]] == [[key]]
    (shop.root / "notebooks").mkdir(exist_ok=True)
    (shop.root / "notebooks/load.py").write_text(LOAD, "utf-8")
    for key, value in ((INSIDE, "inside"), (BETWEEN, "between"), (BACKSLASH, "backslash")):
        done = subprocess.run(
            [sys.executable, "notebooks/load.py", key], cwd=shop.root, capture_output=True,
            text=True, env={**os.environ, "DAGSTER_HOME": str(place / "home")},
        )  # fmt: skip
        assert done.stdout, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == [key, value]


def test_an_unknown_key_is_answered_with_one_that_can_be_typed(shop: Project) -> None:
    done = shop.invoke("run", "--asset", "back/slash")
    assert done.returncode == 7
    assert f"there is no asset 'back/slash' — did you mean '{BACKSLASH}'?" in done.stderr


def test_a_report_is_attached_to_the_asset_that_is_named(
    shop: Project, client: DagsterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for rows, key in ((1, INSIDE), (2, BETWEEN), (3, BACKSLASH)):
        exported = export(shop, rows)
        Publisher(load(shop.root), ExportRequest(existing="x", attach=key)).publish(exported)
        assert exported.problems == []
    for rows, key in ((1, INSIDE), (2, BETWEEN), (3, BACKSLASH)):
        ((_, events),) = read_events(client, {locate_asset(client, key).key: None}, limit=9)
        assert [past.numbers["rows"] for past in events.numbers] == [rows]
    assert set(read_neighbours(client, AssetKey(INSIDE), 1)) == {INSIDE, "both"}


def export(shop: Project, rows: int) -> Exported:
    id = f"20260101T000000Z-0000000{rows}"
    home = shop.root / ".dagmar/exports/report" / id
    home.mkdir(parents=True)
    (home / "report.html").write_text("<p>report</html>", "utf-8")
    manifest = Manifest(
        notebook="notebooks/report.py", notebook_sha256="0", name="report", id=id,
        status=manifests.OK, started_at="", ended_at="", duration_s=1.0,
        reported={"rows": rows}, files=[manifests.describe(home / "report.html")],
    )  # fmt: skip
    (home / "manifest.json").write_text(manifest.as_text(), "utf-8")
    return Exported(manifest, home, (home / "report.html").as_uri())
