"""What a click on `pair.materialize(here=True)` runs in the kernel, and when it refuses to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from dagmar.errors import NotAllowed, RunFailed
from dagmar.notebook.fallbacks import as_static
from dagmar.orchestration.instance import instance
from dagmar.pair import buttons
from dagmar.pair.context import Context
from dagmar.pair.controls import read_options
from support.http_server import Answer, closed_port, data, document, page, serve

DEFINITIONS = """
import dagster as dg


@dg.multi_asset(specs=[dg.AssetSpec("left"), dg.AssetSpec("right")])
def both():
    return dg.Output(None, "left"), dg.Output(None, "right")


@dg.asset
def alone() -> None: ...


@dg.asset_check(asset=alone)
def has_rows():
    return dg.AssetCheckResult(passed=False, description="Too few.", metadata={"rows": 3})


@dg.asset(check_specs=[dg.AssetCheckSpec("gate", asset="gated", blocking=True)])
def gated():
    yield dg.MaterializeResult("gated")
    yield dg.AssetCheckResult(asset_key="gated", check_name="gate", passed=False)


@dg.asset(config_schema=dg.Permissive({"zip": dg.Field(str), "rows": dg.Field(int)}))
def typed(context):
    return dg.MaterializeResult(metadata={"config": dict(context.op_execution_context.op_config)})


defs = dg.Definitions(assets=[both, alone, gated, typed], asset_checks=[has_rows])
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a project whose instance is its own."""
    module = f"launching_{abs(hash(tmp_path))}"  # modules are loaded once per process
    (tmp_path / f"{module}.py").write_text(DEFINITIONS, "utf-8")
    (tmp_path / "pyproject.toml").write_text(f'[tool.dagster]\nmodule_name = "{module}"\n', "utf-8")
    home = tmp_path / ".dagmar/dagster_home"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    instance(tmp_path).dispose()


def materialize(root: Path, asset: str, url: str, config: str = "") -> buttons.Attempt:
    (root / "dagmar.yaml").write_text(f"targets: {{local: {{url: '{url}'}}}}\n", "utf-8")
    chosen = read_options({"config": config})
    return buttons.materialize_here(Context(asset, "", "", root), chosen)


def materialized(root: Path) -> set[str]:
    """Return the assets that are materialized in the instance."""
    records = instance(root).all_asset_keys()
    return {key.to_user_string() for key in records}


def test_without_a_server_it_runs_in_the_projects_instance(root: Path) -> None:
    holder, url = closed_port()
    with holder:
        attempt = materialize(root, "alone", url)
    assert attempt.run_id
    assert materialized(root) == {"alone"}
    run = instance(root).get_run_by_id(attempt.run_id)
    assert run
    assert 0 < float(run.tags["dagmar/cpu-seconds"]) < 100
    assert 20 < float(run.tags["dagmar/peak-memory-mb"]) < 20_000
    assert f": {run.tags['dagmar/cpu-seconds']} s of processor time, " in attempt.message
    # What its checks found is on the page.
    assert attempt.error is None
    assert [(check.name, check.passed, check.severity) for check in attempt.checks] == [
        ("has_rows", False, "ERROR")
    ]
    page = unescape(as_static(attempt._repr_html_()))
    assert "check 'has_rows' of the asset 'alone' failed (ERROR): Too few. (rows=3)" in page


def test_run_config_that_was_typed_has_the_types_of_the_schema_here_too(root: Path) -> None:
    import dagster as dg

    config = "{zip: 01067, rows: 010, at: 10:30, land: NO, much: 1_000, n: 0o17}"
    holder, url = closed_port()
    with holder:
        attempt = materialize(root, "typed", url, f"ops: {{typed: {{config: {config}}}}}")
    assert attempt.error is None
    event = instance(root).get_latest_materialization_event(dg.AssetKey("typed"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["config"].value == {
        "zip": "01067", "rows": 10, "at": "10:30", "land": "NO", "much": "1_000", "n": 15,
    }  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        page(502),
        page(503),
        document({"errors": [{"message": "no"}]}),
        data(instance={}),
        data(instance={"info": None}),
    ],
    ids=["502", "503", "errors", "another instance", "no info"],
)
def test_nothing_runs_if_the_servers_instance_is_not_known(root: Path, answer: Answer) -> None:
    with serve(answer) as server, pytest.raises(NotAllowed, match="instance"):
        materialize(root, "alone", server.url)
    assert materialized(root) == set()


def test_a_blocking_check_is_why_it_failed_here(root: Path) -> None:
    holder, url = closed_port()
    with holder:
        attempt = materialize(root, "gated", url)
    assert isinstance(attempt.error, RunFailed)
    assert "blocking check 'gate' of the asset 'gated' failed (ERROR)" in attempt.error.message
    assert [check.blocking for check in attempt.checks] == [True]


def test_what_one_function_materializes_is_materialized_together(root: Path) -> None:
    holder, url = closed_port()
    with holder:
        assert materialize(root, "left", url).error is None
    assert materialized(root) == {"left", "right"}
