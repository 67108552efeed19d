"""A real Dagster on the default port: this project's own, or another one's."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import WrongServer
from dagmar.pair import buttons, cards
from dagmar.pair.context import Context
from dagmar.pair.controls import LaunchOptions
from dagmar.project import settings
from dagmar.project.settings import load
from dagmar.server.client import DagsterClient
from support.dagster_server import LOCATIONS, DagsterServer, runs_tagged


@pytest.fixture(autouse=True)
def _on_the_default_port(dagster: DagsterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "DEFAULT_URL", dagster.url)


def test_it_is_known_by_the_files_of_its_code_locations(dagster: DagsterServer) -> None:
    target = load(LOCATIONS, {}).target()
    assert (target.url, target.project) == (dagster.url, LOCATIONS)
    with DagsterClient(target) as client:
        assert client.query("Workspace")["version"]


def test_a_notebook_of_another_project_shows_whose_it_is_and_launches_nothing(
    dagster: DagsterServer, client: DagsterClient, tmp_path: Path, tag: str
) -> None:
    (tmp_path / "dagmar.yaml").write_text("")
    context = Context(AssetKey("orders"), "", "", tmp_path)
    assert f"{dagster.url} has another project" in cards.card(context)
    options = LaunchOptions(tags={"test": tag})
    for launch in (buttons.launch, buttons.materialize_here):
        with pytest.raises(WrongServer, match=f"'pipelines' \\({LOCATIONS}/pipelines.py\\)"):
            launch(context, options)
    assert runs_tagged(client, tag) == []
