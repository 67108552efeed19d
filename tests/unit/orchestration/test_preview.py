"""What a preview executes, that it leaves no trace, and what keeping it records."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagmar.errors import Conflict, RunFailed
from dagmar.orchestration import here
from dagmar.orchestration.instance import instance
from dagmar.orchestration.preview import keep, preview

START = "import sys\nimport threading\n\nimport dagster as dg\n\n"
END = """
defs = dg.Definitions(
    assets=dg.load_assets_from_current_module(),
    asset_checks=dg.load_asset_checks_from_current_module(),
)
"""
RAW = "@dg.asset\ndef raw():\n    return [1, 2, 3]\n\n"
ORDERS = """
@dg.asset(
    code_version="7",
    config_schema={"factor": dg.Field(int, default_value=2)},
    check_specs=[dg.AssetCheckSpec("positive", asset="orders")],
)
def orders(context, raw):
    sys.executions += 1
    context.add_output_metadata({"source": "raw"}, output_name="result")
    context.add_asset_metadata({"late": True}, "orders")
    value = [number * context.op_execution_context.op_config["factor"] for number in raw]
    yield dg.Output(value, metadata={"rows": len(value)})
    yield dg.AssetCheckResult(check_name="positive", passed=True, metadata={"least": min(value)})


@dg.asset_check(asset=orders)
def small(orders):
    sys.executions += 1
    return dg.AssetCheckResult(passed=sum(orders) < 10, severity=dg.AssetCheckSeverity.WARN)
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Return a function that writes the definitions of a project, whose instance is its own."""
    name = f"previews_{abs(hash(tmp_path))}"
    (tmp_path / "pyproject.toml").write_text(f'[tool.dagster]\nmodule_name = "{name}"\n', "utf-8")
    home = tmp_path / ".dagmar/dagster_home"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "executions", 0, raising=False)

    def write(code: str) -> Path:
        (tmp_path / f"{name}.py").write_text(START + code + END, "utf-8")
        return tmp_path

    yield write
    instance(tmp_path).dispose()


def traces(root: Path) -> dict[Path, str]:
    """Return a hash of each file that the instance and its storage have."""
    for thread in threading.enumerate():
        if thread.name == "dagmar-close":  # closes the databases of an earlier run
            thread.join()
    files = (path for path in sorted((root / ".dagmar").rglob("*")) if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def recorded_run(root: Path, run_id: str) -> dg.DagsterRun:
    run = instance(root).get_run_by_id(run_id)
    assert run
    return run


def materialization(root: Path, key: str) -> dg.AssetMaterialization:
    event = instance(root).get_latest_materialization_event(dg.AssetKey(key))
    assert event
    assert event.asset_materialization
    return event.asset_materialization


def test_a_preview_has_value_metadata_and_checks_and_leaves_no_trace(write: Write) -> None:
    root = write(RAW + ORDERS)
    here.materialize(root, "raw")
    before = traces(root)
    shown = preview(root, "orders", config={"ops": {"orders": {"config": {"factor": 5}}}})
    assert traces(root) == before
    assert shown.error is None
    assert shown.values == {"orders": [5, 10, 15]}
    assert shown.metadata == {"orders": {"rows": 3, "source": "raw", "late": True}}
    assert [(check.name, check.passed, check.severity) for check in shown.checks] == [
        ("positive", True, "ERROR"),
        ("small", False, "WARN"),
    ]
    assert shown.checks[0].metadata == {"least": 5}
    assert 0 < shown.seconds < 100
    assert shown.memory > 1e6


def test_keeping_stores_what_was_shown_once_and_executes_nothing(write: Write) -> None:
    root = write(RAW + ORDERS)
    here.materialize(root, "raw")
    shown = preview(root, "orders", config={"ops": {"orders": {"config": {"factor": 5}}}})
    executed = sys.executions  # type: ignore[attr-defined]
    run = keep(root, shown, {"dagmar/here": "true"})
    assert run.success
    assert sys.executions == executed == 2  # type: ignore[attr-defined]
    recorded = recorded_run(root, run.run_id)
    assert recorded.status == dg.DagsterRunStatus.SUCCESS
    assert recorded.tags["dagmar/here"] == "true"
    assert recorded.run_config["ops"] == {"orders": {"config": {"factor": 5}}}
    assert dg.AssetKey("orders") in (recorded.asset_selection or ())
    event = materialization(root, "orders")
    assert {name: entry.value for name, entry in event.metadata.items() if name != "path"} == {
        "rows": 3,
        "source": "raw",
        "late": True,
    }
    assert (event.tags or {})["dagster/code_version"] == "7"
    assert "dagster/input_data_version/raw" in (event.tags or {})
    assert [(check.name, check.passed) for check in run.checks] == [
        ("positive", True),
        ("small", False),
    ]
    assert keep(root, shown).run_id == run.run_id
    assert instance(root).get_runs_count() == 2


def test_a_preview_is_not_kept_if_code_value_or_input_has_changed(write: Write) -> None:
    root = write(RAW + ORDERS)
    here.materialize(root, "raw")
    for change, words in [
        (lambda: here.materialize(root, "raw"), "'raw': materialized again"),
        (lambda: here.materialize(root, "orders"), "'orders': materialized again"),
        (lambda: write(RAW + ORDERS + "# an edit\n"), "the project's code has changed"),
    ]:
        shown = preview(root, "orders")
        change()
        runs = instance(root).get_runs_count()
        with pytest.raises(Conflict, match=words):
            keep(root, shown)
        assert instance(root).get_runs_count() == runs


def test_an_asset_that_raises_is_shown_with_its_line_and_not_kept(write: Write) -> None:
    retries = "@dg.asset(retry_policy=dg.RetryPolicy(max_retries=3, delay=1000))\n"
    root = write(retries + "def broken():\n    raise ValueError('no such table')\n")
    shown = preview(root, "broken")
    assert shown.error
    assert shown.error.text == "ValueError: no such table"
    assert "line 8, in broken\n    raise ValueError" in shown.error.trace
    assert "dagmar" not in shown.error.trace
    with pytest.raises(RunFailed, match="nothing can be kept"):
        keep(root, shown)
