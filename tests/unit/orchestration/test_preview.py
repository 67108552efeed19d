"""What a preview executes, that it leaves no trace, and what keeping it records."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagmar.errors import Conflict, Interrupted, Invalid, NotAllowed, RunFailed, SetupError
from dagmar.files import alone
from dagmar.orchestration import here
from dagmar.orchestration.instance import instance
from dagmar.orchestration.preview import keep, preview
from dagmar.orchestration.values import load_value

NAME = "previewed_shop"
DEFINITIONS = """
import asyncio
import sys
import threading
from typing import Optional

import dagster as dg

done = sys.done  # what was executed


class Files(dg.ConfigurableIOManager):
    prefix: str

    def handle_output(self, context, obj):
        done.append(f"{self.prefix} stores")
        context.add_output_metadata({"prefix": self.prefix})

    def load_input(self, context):
        return 5

    def three(self):
        return 3


@dg.asset
def raw():
    return [1, 2, 3]


@dg.asset(
    code_version="7",
    config_schema={"factor": dg.Field(int, default_value=2)},
    check_specs=[dg.AssetCheckSpec("positive", asset="orders")],
)
def orders(context, raw):
    done.append("orders")
    context.add_output_metadata({"source": "raw"}, output_name="result")
    context.add_asset_metadata({"late": True}, "orders")
    context.log_event(dg.AssetObservation("orders"))
    value = [number * context.op_execution_context.op_config["factor"] for number in raw]
    yield dg.Output(value, metadata={"rows": len(value)})
    yield dg.AssetCheckResult(check_name="positive", passed=True, metadata={"least": min(value)})


@dg.asset_check(asset=orders)
def small(orders):
    done.append("small")
    return dg.AssetCheckResult(passed=sum(orders) < 10, severity=dg.AssetCheckSeverity.WARN)


@dg.asset(io_manager_key="files")
def with_resource(files: dg.ResourceParam[object]):
    return files.three()


@dg.asset(io_manager_def=dg.IOManagerDefinition.hardcoded_io_manager(Files(prefix="own")))
def own_io_manager():
    return 1


@dg.op(out=dg.DynamicOut())
def split():
    for number in range(3):
        yield dg.DynamicOutput(number, str(number))


@dg.op
async def double(number):
    await asyncio.sleep(0)
    return number * 2


@dg.op
def total(numbers):
    done.append("total")
    return sum(numbers)


@dg.graph_asset
def graphed():
    return total(split().map(double).collect())


@dg.multi_asset(
    outs={"left": dg.AssetOut(), "right": dg.AssetOut(), "maybe": dg.AssetOut(is_required=False)}
)
def sides():
    yield dg.Output(1, "left")
    yield dg.Output(2, "right")


@dg.multi_asset(
    outs={"one": dg.AssetOut(is_required=False), "two": dg.AssetOut(is_required=False)},
    can_subset=True,
)
def subset(context):
    for name in sorted(context.op_execution_context.selected_output_names):
        yield dg.Output(name, name)


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["eu", "us"]))
def parted(context):
    return context.partition_key


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["eu", "us"]))
def after_parted(parted):
    return parted + "!"


@dg.asset
def of_all_parts(parted):
    return parted


@dg.asset
def after_missing(own_io_manager, missing):
    return missing


@dg.asset
def missing():
    return 1


@dg.asset(check_specs=[dg.AssetCheckSpec("gate", asset="gated", blocking=True)])
def gated():
    yield dg.Output(1)
    yield dg.AssetCheckResult(check_name="gate", passed=False)


@dg.asset
def reads_records(context):
    store, run_id = context.instance, context.run.run_id
    assert store.get_run_by_id(run_id).run_id == run_id
    store.add_run_tags(run_id, {"mine": "1"})
    assert not store.all_logs(run_id)
    return [run_id in [run.run_id for run in store.get_runs()], len(store.get_runs()) > 1,
            store.get_latest_materialization_event(dg.AssetKey("raw")) is not None]


@dg.asset
def adds_partitions(context):
    context.instance.add_dynamic_partitions("shops", ["berlin"])
    return 1


@dg.asset
def reports_another(context):
    context.instance.report_runless_asset_event(dg.AssetMaterialization("another"))
    return 1


@dg.asset
def tags_another(context):
    context.instance.add_run_tags(context.instance.get_runs()[-1].run_id, {"mine": "1"})
    return 1


@dg.asset
def writes() -> None:
    done.append("writes")


@dg.asset
def writes_with_result() -> dg.MaterializeResult:
    done.append("writes")
    return dg.MaterializeResult()


@dg.multi_asset(specs=[dg.AssetSpec("table"), dg.AssetSpec("view")])
def tables():
    done.append("writes")


@dg.asset
def says_nothing():
    done.append("writes")


@dg.asset
def result_without_value():
    return dg.MaterializeResult(metadata={"rows": 1})


@dg.asset
def optional() -> Optional[int]:
    return None


@dg.success_hook
def hook(context):
    done.append("hook")


@dg.asset(hooks={hook}, retry_policy=dg.RetryPolicy(max_retries=3, delay=1000))
def broken():
    done.append("broken")
    raise ValueError("no such table")


@dg.asset(hooks={hook})
def hooked():
    return 1


@dg.asset
def asks_for_retry():
    raise dg.RetryRequested(max_retries=3, seconds_to_wait=1000)


@dg.asset
def logs(context):
    context.log.info("reading the table")
    context.log.error("the table is late")
    raise ValueError("no such table")


@dg.asset
def logs_too(context):
    raise ValueError("no such column")


@dg.asset
def exits():
    sys.exit(3)


@dg.asset
def starts_threads():
    release = threading.Event()
    threading.Thread(target=release.wait, daemon=True).start()
    sys.release = release.set
    return 1


@dg.asset
def interrupted():
    raise KeyboardInterrupt


@dg.asset(required_resource_keys={"database"})
def without_database():
    return 1


@dg.asset
def meets():
    sys.inside.append(1)
    assert len(sys.inside) == 1
    sys.inside.pop()
    return 1


@dg.observable_source_asset
def observed():
    return dg.DataVersion("1")


@dg.resource
def database():
    raise ConnectionError("no database")


defs = dg.Definitions(
    assets=dg.load_assets_from_current_module(),
    asset_checks=dg.load_asset_checks_from_current_module(),
    jobs=[dg.define_asset_job("failing", ["logs", "logs_too"])],
    resources={"files": Files(prefix="shared"), "database": database},
)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a project whose instance is its own, with `raw` and a partition materialized."""
    root = tmp_path_factory.mktemp("previews")
    (root / f"{NAME}.py").write_text(DEFINITIONS, "utf-8")
    (root / "pyproject.toml").write_text(f'[tool.dagster]\nmodule_name = "{NAME}"\n', "utf-8")
    home = root / ".dagmar/dagster_home"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(sys, "done", [], raising=False)
        assert here.materialize(root, "raw").success
        assert here.materialize(root, "parted", partition="eu").success
        yield root
        instance(root).dispose()


@pytest.fixture
def done(root: Path) -> list[str]:
    """Return what is executed in the project: nothing so far."""
    executed: list[str] = sys.done  # type: ignore[attr-defined]
    executed.clear()
    return executed


@pytest.fixture
def untouched(root: Path) -> Iterator[None]:
    """Compare all files of the instance and its storage, before and after the test."""
    before = traces(root)
    yield
    assert traces(root) == before


def traces(root: Path) -> dict[Path, str]:
    """Return a hash of each file that the instance and its storage have."""
    for thread in threading.enumerate():
        if thread.name == "dagmar-close":  # closes the databases of the last run
            thread.join()
    files = (path for path in (root / ".dagmar").rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def materialization(root: Path, key: str) -> dg.AssetMaterialization:
    event = instance(root).get_latest_materialization_event(dg.AssetKey(key))
    assert event
    assert event.asset_materialization
    return event.asset_materialization


def factor(number: object) -> dict[str, Any]:
    return {"ops": {"orders": {"config": {"factor": number}}}}


@pytest.mark.usefixtures("untouched")
def test_a_preview_has_value_metadata_and_checks_and_leaves_no_trace(root: Path) -> None:
    shown = preview(root, "orders", config=factor(5))
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


@pytest.mark.usefixtures("untouched")
def test_outputs_stay_in_memory_whatever_their_io_manager(root: Path, done: list[str]) -> None:
    for asset, values in {
        "with_resource": {"with_resource": 3},
        "own_io_manager": {"own_io_manager": 1},
        "graphed": {"graphed": 6},
        "right": {"left": 1, "right": 2},
        "two": {"two": "two"},
        "hooked": {"hooked": 1},
        "optional": {"optional": None},
        "starts_threads": {"starts_threads": 1},
        "reads_records": {"reads_records": [True, True, True]},
    }.items():
        shown = preview(root, asset)
        assert (shown.error, shown.values) == (None, values)
    sys.release()  # type: ignore[attr-defined]
    assert done == ["total"]  # no IO manager has stored, and no hook was called


@pytest.mark.usefixtures("untouched")
def test_an_asset_that_writes_to_the_instance_is_refused(root: Path) -> None:
    for asset, name in {
        "adds_partitions": "add_dynamic_partitions",
        "reports_another": "report_event",
        "tags_another": "add_run_tags",
    }.items():
        error = preview(root, asset).error
        assert error
        assert f"writes to the Dagster instance by itself ({name})" in error.message
        assert f"in {asset}\n    context.instance" in error.trace


@pytest.mark.usefixtures("untouched")
def test_an_asset_without_a_value_is_refused_before_it_runs(root: Path, done: list[str]) -> None:
    for asset in ("writes", "writes_with_result", "table"):
        with pytest.raises(NotAllowed, match=f"'{asset}'.* returns no value.*Nothing was executed"):
            preview(root, asset)
    assert done == []
    for asset in ("says_nothing", "result_without_value"):
        with pytest.raises(NotAllowed, match=f"'{asset}' returned no value.* just done so"):
            preview(root, asset)


@pytest.mark.usefixtures("untouched")
def test_a_failure_has_the_users_line_and_is_not_tried_again(root: Path, done: list[str]) -> None:
    for asset, words, line in [
        ("broken", "ValueError: no such table", 'raise ValueError("no such table")'),
        ("asks_for_retry", "retries are disabled", "raise dg.RetryRequested"),
        ("exits", "SystemExit: 3", "sys.exit(3)"),
        ("without_database", "ConnectionError: no database", "raise ConnectionError"),
    ]:
        shown = preview(root, asset)
        assert shown.error
        assert words in shown.error.text
        assert f"{NAME}.py" in shown.error.trace.splitlines()[0]
        assert line in shown.error.trace
        with pytest.raises(RunFailed, match="nothing can be kept"):
            keep(root, shown)
    assert done == ["broken"]
    blocked = preview(root, "gated")
    assert blocked.error
    assert "blocking check 'gate'" in blocked.error.message
    with pytest.raises(Interrupted):
        preview(root, "interrupted")


def test_why_it_failed_is_not_logged_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = preview(root, "logs"), here.materialize(root, "logs")
    assert all(each.error and each.error.text == "ValueError: no such table" for each in failed)
    logged = capsys.readouterr().err
    assert logged.count("reading the table") == logged.count("the table is late") == 2
    assert "no such table" not in logged
    assert "Traceback" not in logged
    job = here.materialize(root, job="failing")
    assert job.error
    logged = capsys.readouterr().err
    # The page has one of them.
    other = {"logs": "no such column", "logs_too": "no such table"}[str(job.error.place)]
    assert logged.count(f"ValueError: {other}") == logged.count("Stack Trace") == 1


@pytest.mark.usefixtures("untouched")
def test_what_cannot_be_previewed_is_named(root: Path) -> None:
    for asset, options, words in [
        ("parted", {}, "has partitions, and none was chosen"),
        ("parted", {"partition": "mars"}, "has no partition 'mars'"),
        ("observed", {}, "cannot be materialized"),
        ("renamed", {}, "no asset 'renamed'"),
        ("orders", {"config": factor("x")}, "root:ops:orders:config:factor"),
        ("after_missing", {}, "asset 'missing' was never materialized"),
        ("after_parted", {"partition": "us"}, "partition 'us' of the asset 'parted' was never"),
        ("of_all_parts", {}, "partition 'us' of the asset 'parted' was never"),
    ]:
        with pytest.raises(Invalid, match=words) as caught:
            preview(root, asset, **options)  # type: ignore[arg-type]
        if "was never" in words:
            assert caught.value.command.startswith("invoke run --asset ")
    assert preview(root, "after_parted", partition="eu").values == {"after_parted": "eu!"}


def test_two_previews_wait_for_each_other(root: Path) -> None:
    sys.inside = []  # type: ignore[attr-defined]
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: preview(root, "meets"), range(2)))
    assert [shown.error for shown in both] == [None, None]


def test_keeping_stores_what_was_shown_once_and_executes_nothing(
    root: Path, done: list[str]
) -> None:
    shown, store = preview(root, "orders", config=factor(5)), instance(root)
    assert done == ["orders", "small"]
    before = store.get_runs_count()
    run = keep(root, shown, {"dagmar/here": "true"})
    assert run.success
    assert done == ["orders", "small"]
    assert load_value(root, "orders") == [5, 10, 15]
    recorded = store.get_run_by_id(run.run_id)
    assert recorded
    assert recorded.status == dg.DagsterRunStatus.SUCCESS
    assert recorded.tags["dagmar/here"] == "true"
    assert recorded.run_config["ops"] == factor(5)["ops"]
    event = materialization(root, "orders")
    values = {name: entry.value for name, entry in event.metadata.items() if name != "path"}
    assert values == {"rows": 3, "source": "raw", "late": True}
    assert (event.tags or {})["dagster/code_version"] == "7"
    assert "dagster/input_data_version/raw" in (event.tags or {})
    assert [(check.name, check.passed) for check in run.checks] == [
        ("positive", True),
        ("small", False),
    ]
    kinds = [
        e.dagster_event.event_type_value for e in store.all_logs(run.run_id) if e.dagster_event
    ]
    assert kinds.count("ASSET_OBSERVATION") == 1
    assert keep(root, shown).run_id == run.run_id
    assert store.get_runs_count() == before + 1


def test_a_preview_that_another_kernel_keeps_first_is_not_kept(root: Path) -> None:
    shown = preview(root, "orders")
    with ThreadPoolExecutor(1) as pool:
        with alone(root / ".dagmar/dagster_home"):
            second = pool.submit(keep, root, shown)
            assert here.materialize(root, "orders").success
        with pytest.raises(Conflict, match="'orders': materialized again"):
            second.result(60)


def test_what_executes_together_is_kept_together(root: Path, done: list[str]) -> None:
    for asset in ("right", "graphed", "own_io_manager"):
        assert keep(root, preview(root, asset)).success
    assert done == ["total", "own stores"]
    assert [load_value(root, key) for key in ("left", "right", "graphed")] == [1, 2, 6]
    assert materialization(root, "own_io_manager").metadata["prefix"].value == "own"
    assert keep(root, preview(root, "parted", partition="us")).success
    assert load_value(root, "parted") == {"eu": "eu", "us": "us"}


def test_a_value_is_loaded_without_an_instance_in_memory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here.materialize(root, "raw").success
    created: list[object] = []
    monkeypatch.setattr(dg.DagsterInstance, "ephemeral", lambda *args: created.append(args))
    assert load_value(root, "raw") == [1, 2, 3]
    assert created == []


def test_a_preview_is_not_kept_if_value_input_or_code_has_changed(root: Path) -> None:
    file = root / f"{NAME}.py"
    for change, words in [
        (lambda: here.materialize(root, "raw"), "'raw': materialized again"),
        (lambda: here.materialize(root, "orders"), "'orders': materialized again"),
        (lambda: file.write_text(f"{DEFINITIONS}# an edit\n", "utf-8"), "code has changed"),
    ]:
        shown = preview(root, "orders")
        change()
        runs = instance(root).get_runs_count()
        with pytest.raises(Conflict, match=words):
            keep(root, shown)
        assert instance(root).get_runs_count() == runs
    file.write_text(DEFINITIONS.replace("return [1, 2, 3]", "return [1, 2,"), "utf-8")
    with pytest.raises(SetupError, match=f"{NAME}.py, line"):  # saved half-written
        preview(root, "orders")
    with pytest.raises(SetupError, match="does not load"):
        keep(root, shown)
    file.write_text(DEFINITIONS.replace("return [1, 2, 3]", "return [4]"), "utf-8")
    assert preview(root, "raw").values == {"raw": [4]}
    assert load_value(root, "raw") == [1, 2, 3]
