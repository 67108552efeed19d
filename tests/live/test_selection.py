"""A pair for a selection, and rows about a server, against a real Dagster."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dagmar import Pair
from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, NotAllowed, UsageError
from dagmar.pair import buttons, cards, listing, selection
from dagmar.pair.context import Context
from dagmar.pair.controls import LaunchOptions, draw_controls, read_options
from dagmar.server.client import DagsterClient
from dagmar.server.runs import read_run
from support.dagster_server import DagsterServer, runs_tagged
from support.notebook_project import make_notebooks

BOTH = "key:mailing or key:campaigns"


def select(dagster: DagsterServer, tmp_path: Path, expression: str) -> Context:
    folder = tmp_path / "shop" / "notebooks"
    if not folder.exists():
        make_notebooks(tmp_path / "shop", dagster.url)
    return Context(AssetKey(""), "", "", folder, expression)


def documented(method: Callable[..., object]) -> set[str]:
    """Return the keys that a docstring says each row has."""
    (text,) = re.findall(r"Each row has (.*?)[.,] ?(?:and the|`position` is|Raises|$)", " ".join(
        (method.__doc__ or "").split()))  # fmt: skip
    return set(re.findall(r"`(\w+)`", text))


def test_a_selection_is_launched_as_one_run_and_shows_what_becomes_of_each_asset(
    dagster: DagsterServer, client: DagsterClient, tmp_path: Path, tag: str
) -> None:
    context = select(dagster, tmp_path, BOTH)
    config = read_options(draw_controls(context)).config
    assert config == {"ops": {"mailing": {"config": {"people": 10}}}}
    launched = buttons.launch(context, LaunchOptions(config=config, tags={"test": tag}))
    assert runs_tagged(client, tag) == [launched.run_id]
    seen = {}
    while not read_run(client, launched.run_id).final:
        seen |= {row["run_id"]: row for row in listing.list_runs(context)}
        time.sleep(0.1)
    if row := seen.get(launched.run_id):  # unless it was over at the first look
        assert row.keys() == documented(Pair.list_runs)
        assert row["assets"] == ["campaigns", "mailing"]
        assert (row["position"] is None) == (row["status"] != "QUEUED")
    rows = {row["asset"]: row for row in listing.list_assets(context)}
    assert rows.keys() == {"campaigns", "mailing"}
    assert rows["mailing"]["state"] == "materialized"
    assert rows["mailing"]["run_id"] == launched.run_id
    shown = cards.card(context)
    assert shown.count(f"/runs/{launched.run_id}") == 2
    diagram = cards.lineage(context, 1)
    assert "mailing<br>materialized" in diagram
    assert '["orders"]' in diagram  # upstream, and not selected


def test_what_a_selection_cannot_do_is_refused_before_a_launch(
    dagster: DagsterServer, client: DagsterClient, tmp_path: Path, tag: str
) -> None:
    tagged = LaunchOptions(tags={"test": tag})
    for expression, error, words in (
        ("key:mailing or key:inspected", Invalid, "several code locations"),
        ("group:nothing", UsageError, "selects no asset"),
        ("status:failed", Invalid, "in its UI only"),
        ("group:sales", Invalid, "is partitioned"),
    ):
        with pytest.raises(error, match=words):
            buttons.launch(select(dagster, tmp_path, expression), tagged)
    assert "partitioned differently" in draw_controls(select(dagster, tmp_path, "group:sales")).text
    with pytest.raises(NotAllowed, match="does not run in this kernel"):
        buttons.materialize_here(select(dagster, tmp_path, BOTH), tagged)
    assert runs_tagged(client, tag) == []


def test_rows_about_the_server_are_plain(dagster: DagsterServer, tmp_path: Path) -> None:
    context = select(dagster, tmp_path, BOTH)
    grid = listing.list_partitions(context, AssetKey("grid"))
    assert grid[0].items() >= {"color": "blue", "day": "2026-01-01"}.items()
    assert {row["state"] for row in grid} <= {"missing", "materialized", "failed", "running"}
    assert listing.list_partitions(context, AssetKey("mailing")) == []
    with pytest.raises(UsageError, match="has no partitions: its"):
        listing.list_partitions(context, AssetKey(""))
    jobs = {(row["name"], row["location"]): row for row in listing.list_jobs(context)}
    assert len([name for name, _ in jobs if name == "tidy"]) == 2
    assert {*map(frozenset, jobs.values())} == {frozenset(documented(Pair.list_jobs))}
    assert {*map(frozenset, listing.list_assets(context))} == {
        frozenset(documented(Pair.list_assets))
    }
    assert grid[0].keys() - {"color", "day"} == documented(Pair.list_partitions)
    assert {row["asset"] for row in listing.list_assets(context, "group:faults")} >= {"failing"}
    with context.client() as client:
        assert selection.read(context, client)[1].keys() == {"mailing", "campaigns"}
