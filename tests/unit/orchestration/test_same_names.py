"""One asset key or job name in two code locations of a project: `NAME@LOCATION` chooses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid
from dagmar.notebook.checking import check
from dagmar.orchestration import here
from dagmar.orchestration.definitions import read_definitions
from dagmar.orchestration.instance import instance
from dagmar.orchestration.loader import definitions_of
from dagmar.orchestration.selection import select
from dagmar.orchestration.values import load_value
from dagmar.project.settings import load
from dagmar.scaffold.notebooks import ScaffoldRequest, read_facts
from dagmar.server.names import choose, distinct_name, distinct_names, names_of, require_one_each

CODE = """
import dagster as dg


@dg.asset(description="{name}")
def orders() -> str:
    return "{name}"


@dg.asset
def {name}_report(orders: str) -> str:
    return orders


@dg.op
def say() -> str:
    return "{name}"


@dg.job
def tidy():
    say()


defs = dg.Definitions([orders, {name}_report, {more}], jobs=[tidy])
"""
SEVERAL = "several code locations have an asset 'orders'"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a project with two code locations; each takes an asset of the other, too."""
    root = tmp_path_factory.mktemp("two")
    for name, other in (("east", "west"), ("west", "east")):
        more = f'dg.AssetSpec("{other}_report")'
        (root / f"{name}.py").write_text(CODE.format(name=name, more=more), "utf-8")
    (root / "workspace.yaml").write_text(
        "load_from:\n"
        "- python_file: {relative_path: east.py, location_name: east}\n"
        "- python_file: {relative_path: west.py, location_name: west}\n"
    )
    home = root / ".dagmar/dagster_home"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    (root / "dagmar.yaml").write_text("", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        patch.setattr(sys, "path", [*sys.path])
        yield root
    instance(root).dispose()


def test_the_project_lists_both_and_what_is_only_taken_once(root: Path) -> None:
    catalog = read_definitions(root)
    assert [(asset["key"], asset["location"]) for asset in catalog.assets] == [
        ("east_report", "east"), ("orders", "east"), ("orders", "west"), ("west_report", "west"),
    ]  # fmt: skip
    found = select('key:"orders@west"', catalog.assets)
    assert [asset["description"] for asset in found] == ["west"]
    assert len(select('key:"orders"', catalog.assets)) == 2
    assert len(select("key:orders+", catalog.assets)) == 4


def test_each_is_materialized_and_loaded_by_its_name(root: Path) -> None:
    with pytest.raises(Invalid, match=SEVERAL) as caught:
        here.materialize(root, "orders")
    assert "--asset orders@east, --asset orders@west" in caught.value.hint
    with pytest.raises(Invalid, match=SEVERAL):
        load_value(root, "orders")
    for location in ("east", "west"):
        assert here.materialize(root, f"orders@{location}").success
        assert load_value(root, f"orders@{location}") == location
    # What a code location only takes is not a second definition.
    assert definitions_of(root).with_asset("east_report")[1].is_materializable
    with pytest.raises(Invalid, match="did you mean 'orders@west'"):
        load_value(root, "orders@wst")


def test_a_job_is_chosen_in_the_same_way(root: Path) -> None:
    with pytest.raises(Invalid, match="several code locations have a job 'tidy'") as caught:
        here.materialize(root, job="tidy")
    assert "--job tidy@east, --job tidy@west" in caught.value.hint
    assert definitions_of(root).with_job("tidy@west")[1] == "tidy"
    assert here.materialize(root, job="tidy@west").success


def test_a_notebook_is_scaffolded_for_the_one_that_is_named(root: Path) -> None:
    catalog = read_definitions(root)
    with pytest.raises(Invalid, match=SEVERAL):
        read_facts(catalog, ScaffoldRequest(assets=["orders"]))
    named = [fact["asset"] for fact in read_facts(catalog, ScaffoldRequest(assets=["orders@west"]))]
    assert named == ["orders@west"]
    selected = read_facts(catalog, ScaffoldRequest(select="key:orders or key:east_report"))
    assert [fact["asset"] for fact in selected] == ["east_report", "orders@east", "orders@west"]
    # Its inputs are those of the same code location.
    assert selected[0]["near"] == {"orders": "orders@east"}


def test_check_says_that_a_pair_is_ambiguous(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dagmar.notebook.checking.run_marimo_check", lambda files: {f: [] for f in files}
    )
    notebook = root / "notebooks/paired.py"
    notebook.parent.mkdir(exist_ok=True)

    def messages(name: str) -> list[str]:
        notebook.write_text(
            "import marimo\n\napp = marimo.App()\n\nwith app.setup:\n    import dagmar\n\n"
            f'    pair = dagmar.Pair(asset="{name}")\n    value = pair.load("{name}")\n'
        )
        (checked,) = check(load(root), [notebook], read_definitions(root)).notebooks
        return [found.message for found in checked.findings if found.rule in ("pair", "inputs")]

    assert messages("orders") == [SEVERAL, SEVERAL]
    assert messages("orders@west") == []
    assert (
        messages("orders@wst")
        == ["there is no asset 'orders@wst' — did you mean 'orders@west'?"] * 2
    )


def item(key: str, location: str, repository: str = "__repository__") -> dict[str, Any]:
    return {"key": AssetKey(key), "location": location, "repository": repository}


def test_a_name_may_have_an_at_sign_itself() -> None:
    plain, odd = item("a", "b"), item("a@b", "c")
    assert choose("asset", "a@b@c", [plain, odd]) is odd
    assert choose("asset", "a", [plain, odd]) is plain
    assert choose("asset", "a@b", [odd]) is odd
    with pytest.raises(Invalid, match="several code locations have an asset 'a@b'") as caught:
        choose("asset", "a@b", [plain, odd])
    assert "--asset a, --asset a@b@c" in caught.value.hint


def test_two_repositories_of_a_code_location_are_told_apart() -> None:
    one, two = item("a", "shop", "raw"), item("a", "shop", "sales")
    assert [distinct_name(each, [one, two]) for each in (one, two)] == [
        "a@raw@shop", "a@sales@shop",
    ]  # fmt: skip
    with pytest.raises(Invalid, match="several repositories of shop have an asset 'a@shop'"):
        choose("asset", "a@shop", [one, two])
    assert choose("asset", "a@sales@shop", [one, two]) is two
    assert distinct_names([two], [one, two]) == ["a@sales@shop"]
    with pytest.raises(Invalid, match="several repositories of shop have an asset 'a'"):
        require_one_each("asset", [one, two])
    assert names_of({"name": "tidy", "location": "x y", "repository": "r"})[1] == "tidy@x y"
