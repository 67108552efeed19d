"""`dagmar.Pair` against a real Dagster and a real project with its own IO manager."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from importlib.metadata import version
from pathlib import Path

import dagmar
import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, LoadFailed, NotAllowed, SetupError
from dagmar.notebook.fallbacks import as_static
from dagmar.orchestration.definitions import inputs_of
from dagmar.orchestration.values import load_value
from dagmar.pair import buttons, cards, validation
from dagmar.pair.backfilling import BackfillWatcher
from dagmar.pair.context import Context, LastRun
from dagmar.pair.controls import (
    LaunchOptions,
    default_config,
    draw_controls,
    read_choices,
    read_options,
)
from dagmar.pair.history import read_earlier, read_history
from dagmar.pair.listing import list_partitions
from dagmar.pair.started import StartedRuns
from dagmar.pair.watching import Watcher
from dagmar.project.settings import Target, load
from dagmar.runs.run import RunRequest, run
from dagmar.server.catalog import read_catalog, read_inputs
from dagmar.server.client import DagsterClient
from dagmar.server.paired import read_job_history
from dagmar.server.runconfig import read_yaml
from dagmar.server.runs import read_run
from support.dagster_server import (
    LOCATIONS,
    DagsterServer,
    backfills_tagged,
    logged,
    runs_tagged,
    tags_of,
)
from support.notebook_project import make_notebooks, render_notebooks, write_notebook

SHOP = '''
import json
from pathlib import Path

import dagster as dg

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-11")
COLORS = dg.StaticPartitionsDefinition(["blue", "green", "red"])
GRID = dg.MultiPartitionsDefinition({"day": DAYS, "color": COLORS})
STORE = Path(__file__).with_name("store")


class Json(dg.ConfigurableIOManager):
    """Keeps values as JSON, under the asset's name and partition."""

    def path(self, context) -> Path:
        parts = [*context.asset_key.path]
        parts += [str(context.partition_key)] if context.has_partition_key else []
        return STORE / ("+".join(parts) + ".json")

    def handle_output(self, context, value) -> None:
        STORE.mkdir(exist_ok=True)
        self.path(context).write_text(json.dumps(value))

    def load_input(self, context):
        if "limited" in context.asset_key.path:
            raise ConnectionError("the warehouse is closed")
        return json.loads(self.path(context).read_text())


class Limits(dg.Config):
    rows: int = 3


@dg.asset(key=["raw", "orders"])
def raw_orders() -> list:
    return [1, 2, 3]


@dg.asset(deps=[raw_orders])
def orders() -> int:
    return 3


@dg.asset(partitions_def=DAYS)
def daily_sales(context) -> str:
    return context.partition_key


@dg.asset(partitions_def=GRID)
def grid(context) -> str:
    return str(context.partition_key)


@dg.asset
def limited(config: Limits) -> int:
    return config.rows


@dg.asset
def failing() -> None:
    raise KeyError("no such column")


@dg.op
def greet() -> None: ...


@dg.job
def greeting():
    greet()


@dg.op
def count() -> int:
    return 1


@dg.job
def counting():
    count()


defs = dg.Definitions(
    [raw_orders, orders, daily_sales, grid, limited, failing],
    jobs=[counting, greeting],
    resources={"io_manager": Json()},
)
'''

Make = Callable[..., Context]


@pytest.fixture
def paired(
    dagster: DagsterServer, dagster_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Make:
    """Return the context of a notebook in a project, with the live server."""
    folder = make_notebooks(tmp_path / "shop", dagster.url)
    # A unique name: modules are loaded once per process.
    module = f"shop_{os.path.basename(tmp_path)}".replace("-", "_")
    (folder.parent / f"{module}.py").write_text(SHOP, "utf-8")
    settings = f'[tool.dagster]\nmodule_name = "{module}"\n'
    (folder.parent / "pyproject.toml").write_text(settings, "utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home))
    monkeypatch.setattr(sys, "path", [*sys.path])
    return lambda asset="", job="", target="": Context(AssetKey(asset), job, target, folder)


def materialize(context: Context, tag: str, *partitions: str) -> buttons.Attempt:
    return buttons.materialize_here(context, LaunchOptions(partitions, tags={"test": tag}))


def test_a_value_materialized_here_is_recorded_and_loaded_by_the_projects_io_manager(
    paired: Make, client: DagsterClient, tag: str
) -> None:
    context = paired("raw/orders")
    with pytest.raises(Invalid) as never:
        load_value(context.root, "raw/orders", "x")
    assert "has no partitions" in str(never.value)
    made = materialize(context, tag)
    assert load_value(context.root, "raw/orders") == [1, 2, 3]
    assert (context.root / "store" / "raw+orders.json").is_file()

    assert runs_tagged(client, tag) == [made.run_id]
    recorded = read_run(client, made.run_id)
    assert (recorded.status, recorded.job) == ("SUCCESS", "__ASSET_JOB")
    assert recorded.assets == ["raw/orders"]
    tags = tags_of(client, made.run_id)
    assert tags["dagmar/here"] == "true"
    assert tags["dagmar/version.marimo"] == version("marimo")
    shown = cards.card(context)
    assert made.run_id[:8] in shown
    assert " UTC</span>" in shown  # when


def test_partitions_are_loaded_one_by_one_or_all_at_once(paired: Make, tag: str) -> None:
    context = paired("daily_sales")
    materialize(context, tag, "2026-01-03")
    assert load_value(context.root, "daily_sales", "2026-01-03") == "2026-01-03"
    with pytest.raises(Invalid, match="did you mean '2026-01-0") as unknown:
        load_value(context.root, "daily_sales", "2026-01-33")
    assert "2026-01-01" in unknown.value.hint
    grid = paired("grid")
    materialize(grid, tag, "red|2026-01-03")
    assert load_value(grid.root, "grid", "red|2026-01-03") == "red|2026-01-03"
    assert load_value(grid.root, "grid") == {"red|2026-01-03": "red|2026-01-03"}


def test_what_was_never_materialized_says_what_to_type(paired: Make) -> None:
    context = paired("grid")
    with pytest.raises(Invalid, match="never materialized") as caught:
        load_value(context.root, "grid", "blue|2026-01-01")
    assert caught.value.command == "invoke run --asset grid --partition 'blue|2026-01-01'"
    assert caught.value.__suppress_context__  # no traceback of a file that is not there


def test_what_io_managers_say_of_every_file_is_not_shown(
    paired: Make, tag: str, capfd: pytest.CaptureFixture[str]
) -> None:
    context = paired("raw/orders")
    (module,) = context.root.glob("shop_*.py")
    text = module.read_text("utf-8").replace(
        "        return json.loads",
        '        context.log.debug("reading")\n        return json.loads',
    )
    module.write_text(text, "utf-8")
    materialize(context, tag)
    capfd.readouterr()
    assert load_value(context.root, "raw/orders") == [1, 2, 3]
    assert "reading" not in "".join(capfd.readouterr())


def test_every_widget_reports_an_asset_that_was_renamed(paired: Make) -> None:
    context = paired("raw/ordrs")
    pair = dagmar.Pair(asset="raw/ordrs")
    object.__setattr__(pair, "_context", context)
    for widget in (pair.card(), pair.lineage(), pair.controls(), pair.history()):
        assert "did you mean &#x27;raw/orders&#x27;" in as_static(widget.text)
    with pytest.raises(Invalid, match="did you mean 'raw/orders'"):
        pair.load("raw/ordrs")
    with pytest.raises(Invalid, match="did you mean 'raw/orders'"):
        buttons.launch(context, LaunchOptions())


def test_an_io_manager_that_fails_keeps_its_own_exception(paired: Make, tag: str) -> None:
    context = paired("limited")
    materialize(context, tag)
    with pytest.raises(LoadFailed, match="the warehouse is closed") as caught:
        load_value(context.root, "limited")
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_definitions_that_do_not_load_say_why(paired: Make) -> None:
    context = paired("orders")
    (context.root / "pyproject.toml").write_text('[tool.dagster]\nmodule_name = "no_such"\n')
    with pytest.raises(SetupError, match="no_such") as caught:
        load_value(context.root, "orders")
    assert isinstance(caught.value.__cause__, ImportError)


def test_a_failure_here_shows_the_users_traceback_and_is_recorded(
    paired: Make, client: DagsterClient, tag: str
) -> None:
    failed = materialize(paired("failing"), tag)
    assert failed.error
    assert "no such column" in failed.error.message
    assert 'raise KeyError("no such column")' in failed.error.hint
    assert read_run(client, failed.run_id).status == "FAILURE"


def test_a_job_is_run_here_too(paired: Make, client: DagsterClient, tag: str) -> None:
    made = materialize(paired(job="counting"), tag)
    assert read_run(client, made.run_id).job == "counting"


def test_nothing_runs_here_for_a_target_that_is_elsewhere(
    paired: Make,
    client: DagsterClient,
    dagster: DagsterServer,
    tag: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = paired("raw/orders")
    (context.root / "dagmar.yaml").write_text(
        f"targets:\n  local: {{url: '{dagster.url}'}}\n"
        f"  frozen: {{url: '{dagster.url}', read_only: true}}\n"
        "  prod: {url: 'https://dagster.example.invalid'}\n"
    )
    for target, words in (("frozen", "read_only"), ("prod", "not on this machine")):
        with pytest.raises(NotAllowed, match=words):
            materialize(paired("raw/orders", target=target), tag)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(NotAllowed, match="does not use the instance of this kernel"):
        materialize(paired("raw/orders"), tag)
    assert runs_tagged(client, tag) == []


def test_a_launch_is_one_run_with_what_was_chosen_and_is_shown_when_opened_again(
    paired: Make, client: DagsterClient, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy() -> Context:
        """Return the context of another copy of the notebook, or after a restart."""
        return replace(paired("grid"), file=str(file), last=LastRun())

    file = write_notebook(paired("grid").start, "grid")
    chosen = LaunchOptions(("red|2026-01-05",), tags={"test": tag})
    other = copy()
    monkeypatch.setattr("dagmar.pair.opened._edited", lambda: True)
    shown = buttons.opened_run(other, StartedRuns())
    launched = buttons.launch(copy(), chosen)
    assert runs_tagged(client, tag) == [launched.run_id]
    tags = tags_of(client, launched.run_id)
    assert tags["dagster/partition"] == "red|2026-01-05"
    assert tags["dagster/partition/color"] == "red"
    assert tags["user"]
    assert tags["dagmar/notebook"] == "notebooks/grid.py"

    assert buttons.opened_run(other, StartedRuns()) == shown  # it was open before
    context, started = copy(), StartedRuns()
    options = read_options(draw_controls(context, lambda: "blue|2026-01-07").value)
    assert (options.partitions, options.tags) == (("red|2026-01-05",), {"test": tag})
    last = buttons.opened_run(context, started)
    assert last
    assert last.run_id == launched.run_id
    monkeypatch.setattr("dagmar.pair.opened._edited", lambda: False)  # an app
    assert buttons.opened_run(copy(), started) is None


@pytest.mark.parametrize(
    ("name", "chosen", "words"),
    [
        ("daily_sales", LaunchOptions(("2026-02-30",)), "did you mean"),
        ("daily_sales", LaunchOptions(), "partitioned"),
        (
            "limited",
            LaunchOptions(config={"ops": {"limited": {"config": {"rows": "x"}}}}),
            "config.rows",
        ),
        ("raw/ordres", LaunchOptions(), "did you mean 'raw/orders'"),
        ("lake/events", LaunchOptions(), "cannot be materialized"),
    ],
)
def test_what_would_fail_is_refused_before_a_launch(
    paired: Make, client: DagsterClient, tag: str, name: str, chosen: LaunchOptions, words: str
) -> None:
    tagged = LaunchOptions(chosen.partitions, chosen.config, {"test": tag})
    with pytest.raises(Invalid, match=words):
        buttons.launch(paired(name), tagged)
    assert runs_tagged(client, tag) == []


def test_only_config_that_partitions_have_replaces_the_defaults(
    paired: Make, client: DagsterClient
) -> None:
    weekly, daily = (
        read_choices(paired(job=job), client) for job in ("weekly_greeting", "daily_job")
    )
    assert default_config(client, weekly.launch, weekly.dimensions["default"]) is None
    assert default_config(client, daily.launch, daily.dimensions["default"]) == {}


def test_controls_offer_the_real_partitions_and_the_schemas_defaults(paired: Make) -> None:
    grid = draw_controls(paired("grid"))
    assert read_options(grid.value).partitions == ("red|2026-01-10",)
    defaults = {"ops": {"limited": {"config": {"rows": 3, "label": "small"}}}}
    form = draw_controls(paired("limited"))
    yaml = draw_controls(paired("limited"), form=False)
    assert read_options(form).config == read_options(yaml.value).config == defaults
    assert (form.value["config"], read_yaml(yaml.value["config"])) == ("", defaults)
    weekly = draw_controls(paired(job="weekly_greeting"))
    assert read_options(weekly.value).partitions == ("wednesday",)
    assert draw_controls(paired("lake/events")).value == {}
    assert "no partitions yet" in draw_controls(paired("by_customer")).text


def test_the_server_says_what_is_wrong_with_the_config_and_nothing_is_launched(
    paired: Make, client: DagsterClient
) -> None:
    def says(context: Context, **typed: object) -> str:
        drawn = draw_controls(context)
        names = {each.names[-1]: name for name, each in drawn.value["form"].fields.items()}
        value = {**drawn.value, **{names.get(key, key): text for key, text in typed.items()}}
        return unescape(as_static(validation.show(context, value)))

    before = client.query("RunsByTag", tags=[])
    limited = paired("limited")
    assert says(limited, label="any", rows="10") == ""
    assert "rows: 'many' is not of the type Int" in says(limited, rows="many")
    assert "line 1 is not valid YAML" in says(limited, config="{")
    assert "limitd is not an op of limited" in says(limited, config="ops: {limitd: {}}")
    assert "the field 'tags'" in says(limited, tags="x")
    greeting = says(paired(job="greeting"))
    assert "name is missing" in greeting
    assert "for example" not in greeting  # of Dagster, about the whole op
    assert says(paired(job="greeting"), name="Ann") == ""
    assert says(paired("grid")) == says(paired(job="weekly_greeting")) == ""
    assert says(paired("dosed"), rows="9", partitions=["blue", "red"]) == ""
    days = {"partitions": ["monday", "tuesday"]}
    assert says(paired(job="weekly_greeting"), **days) == ""
    assert "has its own config" in says(paired(job="weekly_greeting"), name="Ann", **days)
    # A remark is shown instead of the controls.
    assert validation.show(paired("by_customer"), draw_controls(paired("by_customer"))) == ""
    assert client.query("RunsByTag", tags=[]) == before


def test_without_its_server_the_config_is_not_validated(paired: Make) -> None:
    context = paired("limited")
    drawn = draw_controls(context)
    (context.root / "dagmar.yaml").write_text("targets: {local: {url: 'http://127.0.0.1:9'}}\n")
    page = validation.show(paired("limited"), drawn)
    assert "The run config is not validated: Dagster did not answer" in page


def test_ten_thousand_partitions_of_a_server_are_offered(paired: Make) -> None:
    started = time.process_time()
    drawn = draw_controls(paired("numbered"))
    assert time.process_time() - started < 5
    assert read_options(drawn.value).partitions == ("09999",)
    assert "10,000 partitions" in drawn.text


def test_one_of_several_that_are_made_together_is_no_fault_of_the_config(paired: Make) -> None:
    with pytest.raises(Invalid, match="right") as caught:
        buttons.launch(paired("left"), LaunchOptions())
    assert "config" not in caught.value.hint


def test_the_defaults_of_a_graphs_ops_are_offered_without_secrets(
    paired: Make, client: DagsterClient, tag: str
) -> None:
    context = paired("fetched")
    config = read_options(draw_controls(context).value).config
    ops = {
        "connect": {"config": {"host": {"name": "db"}}},
        "fetch": {"config": {"day": "2026-01-05"}},
    }
    assert config == {"ops": {"fetched": {"ops": ops}}}
    launched = buttons.launch(context, LaunchOptions(config=config, tags={"test": tag}))
    while not read_run(client, launched.run_id).final:
        time.sleep(0.1)
    assert "secrets known: True, since 2026-01-05" in logged(client, launched.run_id)


def test_a_partitioned_job_is_launched_with_its_partitions_config(
    paired: Make, client: DagsterClient, tag: str
) -> None:
    chosen = LaunchOptions(("monday",), tags={"test": tag})
    launched = buttons.launch(paired(job="weekly_greeting"), chosen)
    answer = client.query("RunToRetry", id=launched.run_id)["runOrError"]
    assert read_yaml(answer["runConfigYaml"])["ops"]["greet"]["config"]["name"] == "monday"


def test_cards_of_assets_and_jobs(paired: Make, dagster: DagsterServer) -> None:
    shown = cards.card(paired("raw/orders"))
    for words in ("Orders as they arrive.", "csv, python", "ann@example.com", dagster.url):
        assert words in shown
    assert "Dagster only observes it" in cards.card(paired("lake/events"))
    assert "Two steps." in cards.card(paired(job="counting"))
    assert "did you mean &#x27;raw/orders&#x27;" in as_static(cards.card(paired("raw/ordres")))
    assert "did you mean &#x27;counting&#x27;" in as_static(cards.card(paired(job="countin")))


def test_a_card_shows_the_columns_as_text(paired: Make) -> None:
    shown = cards.card(paired("raw/orders"))
    assert "2 columns" in shown
    assert "counts &lt;b&gt;&quot;up&quot;&lt;/b&gt; from 1" in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script" not in shown
    assert "column" not in cards.card(paired("orders")).replace("grid-template-columns", "")


@pytest.mark.filterwarnings("ignore")  # Dagster's remarks on the definitions
def test_a_server_tells_what_assets_take_as_the_definitions_do(client: DagsterClient) -> None:
    spec = importlib.util.spec_from_file_location("as_defined", LOCATIONS / "pipelines.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    graph = module.defs.get_repository_def().asset_graph
    keys = sorted(AssetKey(key.to_user_string()) for key in graph.get_all_asset_keys())
    known = {asset["key"]: asset for asset in read_catalog(client, ("assets",)).assets}
    found = read_inputs(client, [known[key] for key in keys])
    inputs = {name.partition("@")[0]: taken for name, taken in found.items()}
    assert inputs == {key: inputs_of(graph, key) for key in keys}
    assert inputs["weighed"].values == ("colored", "stored")
    assert inputs["weighed"].alike == {"stored"}
    assert inputs["drawn"].alike == {"stored"}
    assert inputs["orders"].values == ()
    assert inputs["daily_sales"].partitioned


def test_lineage_of_assets_and_jobs(paired: Make) -> None:
    near = cards.lineage(paired("orders"), 1)
    assert '"raw/orders"' in near
    assert '"daily#95;sales"' in near or '"daily_sales"' in near
    assert near.count("-->") >= 3
    assert "first" in cards.lineage(paired(job="counting"), 1)


def test_a_run_is_watched_and_shows_up_in_the_history(
    paired: Make, live_settings: Path, client: DagsterClient, tag: str
) -> None:
    outcome = run(
        load(live_settings),
        client,
        RunRequest(assets=[AssetKey("failing")], tags={"test": tag}),
    )
    run_id = outcome.runs[0].run_id
    context = paired("failing")
    pair = dagmar.Pair(asset="failing")
    object.__setattr__(pair, "_context", context)
    shown = pair.watch(run_id).text
    assert "FAILURE" in shown
    assert "no such column" in shown
    assert "pipelines.py" in shown
    assert "Execution of step &quot;failing&quot; failed" in shown  # its log
    assert "FAILURE" in pair.history().text
    assert "there is no run" in pair.watch("no-such-run").text


def test_metrics_are_shown_with_what_was_recorded_of_the_asset(
    paired: Make, client: DagsterClient, tag: str
) -> None:
    materialize(paired("orders"), tag)  # it carries no number
    for score in (0.25, 3):
        event = {"metadata": {"score": score, "what": "text"}}
        client.report("report_asset_observation/orders", event)
    recorded = read_earlier(paired("orders"))
    assert [dict(past.numbers) for past in recorded[:2]] == [{"score": 3}, {"score": 0.25}]
    pair = dagmar.Pair(asset="orders")
    object.__setattr__(pair, "_context", paired("orders"))
    shown = pair.metrics(score=0.5).text
    assert shown.index("0.5") < shown.index(">3<") < shown.index("0.25")
    assert read_earlier(paired(job="counting")) == []


def test_the_history_of_a_job_is_that_of_its_location(
    paired: Make, client: DagsterClient, tag: str
) -> None:
    made = materialize(paired(job="counting"), tag)  # in this kernel
    launched = buttons.launch(paired(job="counting@pipelines"), LaunchOptions(tags={"test": tag}))
    known = {made.run_id, launched.run_id}
    for name in ("counting", "counting@pipelines"):
        assert known <= {run.run_id for run in read_history(paired(job=name), 20)}
    assert launched.run_id not in {run.run_id for run in read_job_history(client, "counting@x", 20)}
    with pytest.raises(Invalid, match="did you mean 'counting'"):
        read_history(paired(job="countin"), 20)


@pytest.fixture
def live_settings(dagster: DagsterServer, tmp_path: Path) -> Path:
    root = tmp_path / "settings"
    root.mkdir()
    (root / "dagmar.yaml").write_text(f"targets: {{local: {{url: '{dagster.url}'}}}}")
    return root


def test_a_server_that_goes_away_is_waited_for(
    paired: Make, client: DagsterClient, tag: str
) -> None:
    context = paired("raw/orders")
    launched = buttons.launch(context, LaunchOptions(tags={"test": tag}))
    watcher = Watcher(context, launched.run_id)
    with DagsterClient(Target("local", "http://127.0.0.1:9")) as nobody:
        watcher.look(nobody)
    assert "Still trying; the run may go on." in watcher.page()
    watcher.look(client)
    assert "Still trying" not in watcher.page()
    assert launched.run_id[:8] in watcher.page()


def newest(client: DagsterClient) -> list[str]:
    runs = client.query("RunsByTag", tags=[])["runsOrError"]["results"]
    return [run["runId"] for run in runs]


def python(context: Context, *arguments: str, **environ: str) -> str:
    """Run Python in the project as its user would, and return what it prints."""
    mine = {name: text for name, text in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=context.root,
        env={**mine, **environ},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


EXECUTE = """
import json, pathlib, runpy

from dagmar.orchestration import here

assert here.materialize(pathlib.Path.cwd(), "raw/orders").success
for file in sorted(pathlib.Path("notebooks").glob("*.py")):
    outputs, _ = runpy.run_path(str(file))["app"].run()
    text = "\\n".join(getattr(output, "text", "") for output in outputs)
    print(json.dumps([file.stem, text]))
"""
WORDS = {
    "orders": ["Target", "raw/orders", "Nothing was launched from here yet."],
    "daily_sales": ["2026-01-10", "Nothing was launched from here yet."],
    "grid": ["2026-01-10", "green"],
    "greeting": ["Greets somebody.", "greet"],
    "lake_events": ["Dagster only observes it"],
    "ml": ["Target", "Nothing was launched from here yet."],
    "report": ["Target", ">orders</h1>"],
    "minimal": [],
}


def test_every_kind_of_pair_executes_next_to_a_live_server(
    paired: Make, client: DagsterClient, dagster_home: Path
) -> None:
    context = paired("orders")
    inputs = [{"name": "raw_orders", "asset": "raw/orders"}]
    render_notebooks(
        context.root,
        {"name": "orders", "asset": "orders", "inputs": inputs},
        {"name": "daily_sales", "asset": "daily_sales"},
        {"name": "grid", "asset": "grid"},
        {"name": "greeting", "job": "greeting"},
        {"name": "lake_events", "asset": "lake/events", "materializable": False},
        *(
            {"name": shape, "asset": "orders", "inputs": inputs, "template": shape}
            for shape in ("ml", "report", "minimal")
        ),
    )
    before = newest(client)
    shown = dict(json.loads(line) for line in python(context, "-c", EXECUTE).splitlines())
    assert set(shown) == set(WORDS)
    for name, words in WORDS.items():
        assert "did not answer" not in shown[name]
        assert all(word in shown[name] for word in words), (name, shown[name])
    assert len(newest(client)) == len(before) + 1  # the one that made the input


TEST = """
import runpy

def test_it() -> None:
    outputs, defs = runpy.run_path("notebooks/orders.py")["app"].run()
    assert defs["run"] is None
    pair = defs["pair"]
    button = pair.launch_button()
    button._update(1)  # a click, as the page would send it
    assert button.value
    assert pair.launch(defs["controls"], button) is None
    assert pair.materialize(defs["controls"], button=button, here=True) is None
"""
STEP = """

@dg.asset
def stepped() -> str:
    import runpy

    outputs, defs = runpy.run_path("notebooks/orders.py")["app"].run()
    button = defs["pair"].launch_button()
    button._update(1)  # a click, as the page would send it
    assert button.value
    assert defs["pair"].launch(defs["controls"], button) is None
    return "".join(getattr(output, "text", "") for output in outputs)

defs = dg.Definitions.merge(defs, dg.Definitions([stepped]))
"""
EXPORT = ("-m", "marimo", "-q", "export", "html", "--no-sandbox", "-f", "-o", "out.html")


A_STEP = pytest.param("a step", marks=pytest.mark.nightly)
EXPORTED = pytest.param("export", marks=pytest.mark.nightly)
PYTEST = pytest.param("pytest", marks=pytest.mark.nightly)  # the example's own tests do it too


@pytest.mark.parametrize("where", ["script", PYTEST, A_STEP, EXPORTED, "dagmar's export"])
def test_nothing_launches_by_itself(paired: Make, client: DagsterClient, where: str) -> None:
    context = paired("orders")
    file = write_notebook(context.start, "orders")
    before = newest(client)
    if where == "script":
        python(context, str(file))
    elif where == "pytest":
        (context.root / "test_it.py").write_text(TEST, "utf-8")
        assert "1 passed" in python(context, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    elif where == "a step":
        (module,) = context.root.glob("shop_*.py")
        module.write_text(module.read_text("utf-8") + STEP, "utf-8")
        python(
            context,
            "-m",
            "dagster",
            "asset",
            "materialize",
            "--select",
            "stepped",
            "-f",
            str(module),
        )
        stored = (context.root / "store" / "stepped.json").read_text("utf-8")
        assert "Nothing was launched from here yet." in stored
        assert read_run(client, newest(client)[0]).assets == ["stepped"]
        assert newest(client)[1:] == before
        return
    else:
        environ = {"_DAGMAR_EXPORT": "1"} if where == "dagmar's export" else {}
        python(context, *EXPORT, str(file), **environ)
        assert "Nothing was launched from here yet." in (context.root / "out.html").read_text()
    assert newest(client) == before


def test_several_partitions_are_one_backfill_with_config_whose_end_changes_the_state(
    paired: Make, client: DagsterClient, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_notebook(paired("dosed").start, "dosed")
    context = replace(paired("dosed"), file=str(file), last=LastRun())
    config = {"ops": {"dosed": {"config": {"label": tag}}}}
    options = LaunchOptions(("blue", "red"), config, {"test": tag})
    with pytest.raises(Invalid, match="2 partitions are selected, and Materialize here takes one"):
        buttons.materialize_here(context, options)
    started = StartedRuns()
    materialized = started.materialized(AssetKey("dosed"))
    launched = started.add(buttons.launch(context, options))
    assert backfills_tagged(client, tag) == [launched.backfill_id]
    watcher = BackfillWatcher(context, launched.backfill_id, started)
    deadline = time.monotonic() + 240
    while watcher._moves and time.monotonic() < deadline:
        watcher.look(client)
        time.sleep(0.2)
    page = watcher.page()
    assert "COMPLETED_SUCCESS" in page
    assert "2 of 2 partitions" in page
    assert materialized() == 1
    watcher.look(client)
    started.look(client, launched.backfill_id)
    assert materialized() == 1  # it counts once
    runs = runs_tagged(client, tag)
    assert len(runs) == 2
    for run_id in runs:
        tags = tags_of(client, run_id)
        assert tags["dagmar/notebook"] == "notebooks/dosed.py"
        assert f"{tags['dagster/partition']}: label={tag}" in logged(client, run_id)
    states = {row["partition"]: row["state"] for row in list_partitions(context, AssetKey(""))}
    assert (states["blue"], states["red"]) == ("materialized", "materialized")

    monkeypatch.setattr("dagmar.pair.opened._edited", lambda: True)
    restarted = buttons.opened_run(replace(context, last=LastRun()), StartedRuns())
    assert restarted
    assert restarted.backfill_id == launched.backfill_id


def test_a_range_of_a_single_run_policy_is_one_run(
    paired: Make, client: DagsterClient, tag: str
) -> None:
    options = LaunchOptions(("2026-01-03", "2026-01-02"), tags={"test": tag})
    launched = buttons.launch(paired("ranged"), options)
    assert (launched.backfill_id, runs_tagged(client, tag)) == ("", [launched.run_id])
    assert tags_of(client, launched.run_id)["dagster/asset_partition_range_end"] == "2026-01-03"
