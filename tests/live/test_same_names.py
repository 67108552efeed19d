"""One asset key or job name in two code locations: listed twice, and never chosen silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid
from dagmar.pair import buttons, cards
from dagmar.pair.context import Context
from dagmar.pair.controls import LaunchOptions, read_choices
from dagmar.server.catalog import read_catalog, read_inputs
from dagmar.server.client import DagsterClient
from dagmar.server.launch import LAUNCH_TAG
from dagmar.server.located import locate_asset
from dagmar.server.observations import find_assets
from dagmar.server.runs import read_run
from support.dagster_server import DagsterServer, logged
from support.project import Project, run

CHOICES = "Choose one: --asset shared@other, --asset shared@pipelines."


@pytest.fixture
def pair(dagster: DagsterServer, tmp_path: Path) -> Any:
    (tmp_path / "dagmar.yaml").write_text(f"targets: {{local: {{url: '{dagster.url}'}}}}", "utf-8")
    return lambda name: Context(AssetKey(name), "", "", tmp_path)


def test_both_are_listed_with_their_code_locations(live: Project) -> None:
    def found(*flags: str) -> list[tuple[str, str, str]]:
        done = live.invoke("discover", "--kind", "assets", "--json", *flags)
        assert done.returncode == 0, done.stderr
        assets = json.loads(done.stdout)["assets"]
        return [(asset["key"], asset["location"], asset["description"]) for asset in assets]

    other, first = ("shared", "other", "The other one."), ("shared", "pipelines", "The first one.")
    assert found("--match", "shared") == [other, first]
    assert found("--match", "shared@other") == [other]
    assert found("--select", 'key:"shared"') == [other, first]
    assert found("--select", 'key:"shared@pipelines"') == [first]
    # One that another code location only takes, or only observes, is there once.
    assert [location for _, location, _ in found("--match", "orders")] == ["pipelines"]
    assert [location for _, location, _ in found("--match", "stored")] == ["pipelines"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--asset", "shared"), CHOICES),
        (("--select", 'key:"shared"'), CHOICES),
        (("--asset", "shared@oter"), "did you mean 'shared@other'?"),
        (("--asset", "stored@other", "--latest"), "did you mean 'stored'?"),
        (
            ("--asset", "shared_colors@pipelines", "--all-partitions"),
            "cannot be launched for several partitions",
        ),
    ],
)
def test_what_could_run_elsewhere_is_refused(
    live: Project, flags: tuple[str, ...], words: str
) -> None:
    done = live.invoke("run", *flags)
    assert (done.returncode, done.stdout) == (7, "")
    assert words in done.stderr
    assert LAUNCH_TAG not in done.stderr


@pytest.mark.parametrize(
    "location", ["other", pytest.param("pipelines", marks=pytest.mark.nightly)]
)
def test_the_one_that_is_named_runs(
    live: Project, client: DagsterClient, tag: str, location: str
) -> None:
    status, document, talk = run(live, tag, "--asset", f"shared@__repository__@{location}")
    assert status == 0, talk
    (ended,) = document["runs"]
    assert (ended["assets"], ended["location"]) == (["shared"], location)
    assert f"shared by {location}" in logged(client, ended["run_id"])


def test_a_notebook_is_paired_with_the_one_that_it_names(
    pair: Any, client: DagsterClient, tag: str
) -> None:
    card = cards.card(pair("shared@pipelines"))
    assert "The first one." in card
    assert "/assets/shared&quot;" in card or '/assets/shared"' in card
    assert "The other one." in cards.card(pair("shared@other"))
    assert read_choices(pair("shared_colors@pipelines"), client).dimensions
    assert "several code locations have an asset" in cards.card(pair("shared"))
    with pytest.raises(Invalid, match="several code locations have an asset 'shared'"):
        buttons.launch(pair("shared"), LaunchOptions())
    launched = buttons.launch(pair("shared@pipelines"), LaunchOptions(tags={"test": tag}))
    assert read_run(client, launched.run_id).location == "pipelines"


def test_one_that_is_observed_in_both_is_found_by_both_names(
    pair: Any, live: Project, client: DagsterClient
) -> None:
    listed = live.invoke("discover", "--match", "feed", "--json")
    places = [asset["location"] for asset in json.loads(listed.stdout)["assets"]]
    assert places == ["other", "pipelines"]
    for location in places:
        assert locate_asset(client, f"feed@{location}").location == location
        assert f"Observed by {location}." in cards.card(pair(f"feed@{location}"))
    with pytest.raises(Invalid, match="several code locations have an asset 'feed'"):
        locate_asset(client, "feed")


def test_the_inputs_of_all_assets_of_one_place_are_read_at_once(
    client: DagsterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = read_catalog(client, ("assets",)).assets
    assets = [asset for asset in every if asset["key"] in ("shared", "shared_colors")]
    places, query = [], client.query

    def count(name: str, **variables: Any) -> Any:
        places.append(variables["at"])
        return query(name, **variables)

    monkeypatch.setattr(client, "query", count)
    assert len(read_inputs(client, assets)) == len(assets) == 4
    assert len(places) == 2


def test_a_report_is_attached_by_the_same_names(client: DagsterClient) -> None:
    with pytest.raises(Invalid, match="several code locations have an asset 'shared'"):
        find_assets(client, "shared")
    assert find_assets(client, "shared@other") == [locate_asset(client, "shared@other")]
    assert [asset.key for asset in find_assets(client, "sales_job")] == ["orders", "raw/orders"]
    assert [asset.key for asset in find_assets(client, "sales_job@pipelines")] == [
        "orders",
        "raw/orders",
    ]
