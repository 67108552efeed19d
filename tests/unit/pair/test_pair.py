"""`dagmar.Pair` without a server: cheap, polite, and never by itself."""

from __future__ import annotations

import contextlib
import importlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import dagmar
import marimo
import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Invalid, RunFailed, SetupError, UsageError
from dagmar.failure import Failure
from dagmar.notebook import reporting
from dagmar.notebook.fallbacks import as_static
from dagmar.pair import buttons, cards, controls, drawing, history, watching
from dagmar.pair.context import Context
from dagmar.server import runs
from dagmar.server.asset_history import PastNumbers
from dagmar.server.configtypes import ConfigType, ConfigTypes
from dagmar.server.launch import Launch
from dagmar.server.paired import PastRun
from support.project import Project

NASTY = '"); </div><script>alert(1)</script> {x} {{ y }} "quoted" \\ #9; 😀'


def context(project: Project, asset: str = "raw/orders") -> Context:
    return Context(AssetKey(asset), "", "", project.root)


@pytest.mark.parametrize(
    ("code", "slow"),
    [
        pytest.param(
            "import dagmar; repr(dagmar.Pair(asset='raw/orders'))",
            ("dagster", "marimo", "requests"),
            id="a pair",
        ),
        pytest.param(
            "import dagmar.orchestration.partitions, dagmar.orchestration.values",
            ("requests", "urllib3"),
            id="loading a value",
        ),
    ],
)
def test_nothing_slow_is_imported_before_it_is_needed(code: str, slow: tuple[str, ...]) -> None:
    code += f"; import sys; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_pair_knows_its_buttons_and_no_others() -> None:
    pair = dagmar.Pair(asset="raw/orders")
    for button in (pair.launch_button(), pair.launch_button("Again", "warn")):
        assert pair.launch(None, button) is None
    with pytest.raises(UsageError, match="cannot be counted"):
        pair.launch(None, marimo.ui.run_button())


def test_a_pair_prints_what_it_is(project: Project) -> None:
    (project.root / "dagmar.yaml").write_text("target: prod\ntargets: {prod: {}}\n", "utf-8")
    pair = dagmar.Pair(asset="raw/orders", root=project.root / "notebooks")
    assert repr(pair) == "Pair(asset='raw/orders', target='prod')"
    assert repr(dagmar.Pair(job="nightly", target="local")) == "Pair(job='nightly', target='local')"


@pytest.mark.parametrize(
    "names", [{}, {"asset": "a", "job": "b"}, {"asset": "a", "select": "group:b"}]
)
def test_a_pair_has_one_asset_or_one_job_or_one_selection(names: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        dagmar.Pair(**names)


def test_a_notebook_outside_a_project_says_so(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"dagmar\.yaml"):
        _ = Context("a", "", "", tmp_path).root


def test_the_project_is_that_of_the_notebooks_file_and_not_of_the_working_directory(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = project.root / "notebooks" / "deep" / "orders.py"
    file.parent.mkdir(parents=True)
    file.write_text("import dagmar\nroot = dagmar.Pair(asset='a')._context.root\n", "utf-8")
    scope: dict[str, Any] = {"__file__": str(file)}
    exec(file.read_text("utf-8"), scope)
    assert scope["root"] == project.root


def test_without_a_server_every_widget_says_what_to_type(project: Project) -> None:
    settings = "targets: {local: {url: 'http://127.0.0.1:9'}}"
    (project.root / "dagmar.yaml").write_text(settings, "utf-8")
    pair = dagmar.Pair(asset="raw/orders", root=project.root)
    importlib.import_module("marimo")  # the notebook's own cost
    started = time.process_time()
    shown = [pair.card(), pair.lineage(), pair.controls(), pair.history(), pair.metrics(rows=3)]
    assert reporting.take() == {"rows": 3}
    assert "<td" in shown[-1].text
    assert time.process_time() - started < 2
    for widget in shown:
        assert "did not answer at http://127.0.0.1:9" in widget.text
        assert "invoke dev" in widget.text
    assert pair.controls().value == {}
    assert pair.watch("some-run").text.count("did not answer") == 1


def test_text_from_dagster_stays_text() -> None:
    shown = [
        drawing.note(NASTY, NASTY),
        drawing.failure(Failure(NASTY, NASTY, NASTY, NASTY)),
        drawing.link("https://example.invalid/" + NASTY, NASTY),
        drawing.link(NASTY, NASTY),
        drawing.badge(NASTY),
        drawing.facts([(NASTY, "x")]),
        history.draw_history([past(1, NASTY)], "http://127.0.0.1:3000"),
    ]
    for html in map(as_static, shown):
        assert "<script" not in html
        assert "</div> <s" not in html
    assert drawing.link("javascript:alert(1)", "x") == "x"


def test_a_diagram_shows_names_of_any_kind() -> None:
    graph = {NASTY: [], "raw/orders": [NASTY, "unknown"]}
    diagram = cards.mermaid(graph, "raw/orders", [NASTY])
    first, *rest = diagram.splitlines()
    assert first == "graph LR"
    labels = [line for line in rest if "[" in line]
    assert len(labels) == 2
    assert all(line.count('"') == 2 and "<" not in line for line in labels)
    assert "  n0 --> n1" in rest


def past(number: int, status: str = "SUCCESS", seconds: float | None = 2.0) -> PastRun:
    return PastRun(f"run-{number}", status, "job", None, 1_700_000_000.0 + number, seconds)


def test_the_chart_has_a_bar_for_each_run_in_the_color_of_its_status() -> None:
    past_runs = [past(1), past(2, "FAILURE", 4.0), past(3, "STARTED", None)]
    drawn = history.draw_history(past_runs, "http://127.0.0.1:3000")
    assert drawn.count(" title=") == 3
    assert drawn.count(drawing.COLORS["FAILURE"]) == 1
    assert "http://127.0.0.1:3000/runs/run-2" in drawn
    assert "1 of 2" in history.summary(past_runs)


def test_metrics_are_shown_above_those_of_earlier_runs() -> None:
    earlier = [
        PastNumbers("a-run", time.time(), NASTY, {NASTY: 7, "score": 0.123456}),
        PastNumbers("", 0.0, None, {"score": 2.0}),
    ]
    drawn = history.draw_metrics({"score": 1 / 3, "kind": NASTY}, earlier, "http://127.0.0.1:3000")
    assert "<script" not in drawn
    head, *rows = [re.findall("<td[^>]*>(.*?)</td>", row) for row in drawn.split("</tr>")]
    assert head[1:3] == ["<b>score</b>", "<b>kind</b>"]
    assert [row[1] for row in rows[:3]] == ["0.3333", "0.1235", "2"]
    assert rows[1][3] == "7"
    assert "/runs/a-run" in rows[1][0]
    assert "<a" not in rows[2][0]


@pytest.mark.parametrize("exported", ["", "1"])
def test_a_time_is_a_date_in_a_report_and_an_age_on_a_page_that_is_viewed(
    monkeypatch: pytest.MonkeyPatch, exported: str
) -> None:
    import marimo as mo

    # marimo calls an export "edit" too.
    monkeypatch.setattr(mo, "app_meta", lambda: SimpleNamespace(mode="edit"))
    monkeypatch.setenv("_DAGMAR_EXPORT", exported)
    moment, date = 1_767_323_045.0, "2026-01-02 03:04 UTC"
    latest = {"run_id": "a-run", "at": moment, "partition": None}
    asset = {"latest": latest, "materializable": True}
    for drawn in (
        cards.latest_materialization("http://127.0.0.1:3000", asset),
        history.draw_metrics({}, [PastNumbers("a-run", moment, None, {})], "http://127.0.0.1:3000"),
    ):
        assert f'title="{date}"' in drawn
        assert f">{date}<" in drawn if exported else " days ago<" in drawn
        assert (" ago" in drawn) is not bool(exported)


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (None, controls.LaunchOptions()),
        ({"config": "", "tags": ""}, controls.LaunchOptions()),
        ({"partition": "a"}, controls.LaunchOptions(("a",))),
        ({"partition": "a", "partitions": []}, controls.LaunchOptions(("a",))),
        ({"partition": "a", "partitions": ["b|x", "c|y"]}, controls.LaunchOptions(("b|x", "c|y"))),
        (
            {"config": "ops: {a: {config: {b: 1}}}", "tags": "k=v, l = w=x,"},
            controls.LaunchOptions(
                (), {"ops": {"a": {"config": {"b": 1}}}}, {"k": "v", "l": "w=x"}
            ),
        ),
    ],
)
def test_the_value_of_the_controls_is_read(
    value: dict[str, Any] | None, options: controls.LaunchOptions
) -> None:
    assert controls.read_options(value) == options


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ({"config": "ops: ["}, Invalid, "run config: line"),
        ({"config": "- a"}, Invalid, "run config: this is not a mapping"),
        (
            {"tags": "dagster/partition=b"},
            UsageError,
            "the tag 'dagster/partition' cannot be given",
        ),
        ({"tags": "a=b, dagmar/here=1"}, UsageError, "the tag 'dagmar/here' cannot be given"),
        ({"tags": "gold"}, UsageError, "the field 'tags' takes KEY=VALUE, not 'gold'"),
    ],
)
def test_what_is_not_valid_names_its_field(
    value: dict[str, str], kind: type[DagmarError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        controls.read_options(value)


def test_config_is_validated_only_where_somebody_could_launch_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagmar.pair.validation.show", lambda *_: "rows is missing")
    pair = dagmar.Pair(asset="raw/orders", root=project.root)
    assert pair.validate({}) is None
    monkeypatch.setattr("dagmar.pair.pair.live", lambda: True)
    found = pair.validate({})
    assert found
    assert "rows is missing" in found.text


def can_choose(
    monkeypatch: pytest.MonkeyPatch,
    dimensions: dict[str, list[str]],
    config: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Let a server offer this."""
    choices = controls.Choices(Launch("shop", "repository", "job"), dimensions)
    types = ConfigTypes("root", {"root": ConfigType("")})
    monkeypatch.setattr(controls, "read_choices", lambda *_: choices)
    monkeypatch.setattr(controls, "default_config", lambda *_: config)
    monkeypatch.setattr("dagmar.server.launch.read_types", lambda *_: types)
    monkeypatch.setattr(Context, "client", lambda _: contextlib.nullcontext())


def test_a_picker_of_ten_thousand_partitions_is_quick(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"2026-{number:05}{{x}}" for number in range(10_000)]
    config = {"ops": {"a": {"config": {"rows": 3}}}}
    can_choose(monkeypatch, {"day": keys}, config)
    started = time.process_time()
    drawn = controls.draw_controls(context(project))
    assert time.process_time() - started < 1
    assert len(drawn.text) < 1_000_000
    assert controls.read_options(drawn.value).partitions == (keys[-1],)
    assert controls.read_options(drawn.value).config == config


DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]


@pytest.mark.parametrize(
    ("dimensions", "shown", "chosen"),
    [
        ({"day": DAYS}, "2026-01-02", "2026-01-02"),
        ({"day": DAYS}, None, "2026-01-03"),
        ({"day": DAYS}, "2025-12-31", "2026-01-03"),  # materialized on another server
        ({"day": ["a|b", "c"]}, "a|b", "a|b"),
        ({"day": DAYS, "color": ["blue", "red"]}, "blue|2026-01-01", "blue|2026-01-01"),
        ({"day": DAYS, "color": ["blue", "red"]}, "green|2026-01-01", "red|2026-01-03"),
        ({"day": DAYS, "color": ["blue", "red"]}, "blue", "red|2026-01-03"),
    ],
)
def test_the_partition_that_a_notebook_shows_is_the_one_that_is_launched(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    dimensions: dict[str, list[str]],
    shown: str | None,
    chosen: str,
) -> None:
    can_choose(monkeypatch, dimensions)
    monkeypatch.setattr(dagmar.Pair, "partition_key", lambda _: shown)
    drawn = dagmar.Pair(asset="daily").controls()
    assert controls.read_options(drawn.value).partitions == (chosen,)


def test_without_definitions_the_last_partition_is_chosen(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    can_choose(monkeypatch, {"day": DAYS})
    pair = dagmar.Pair(asset="daily", root=project.root)
    with pytest.raises(SetupError):
        pair.partition_key()
    assert controls.read_options(pair.controls().value).partitions == (DAYS[-1],)


def test_why_the_code_does_not_load_is_shown_instead_of_the_controls(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise Invalid("there is no asset 'raw/orders'")

    failure = Failure("no warehouse", "KeyError", 'File "shop.py", line 3\n')
    monkeypatch.setattr(controls, "read_choices", unknown)
    monkeypatch.setattr(controls, "reload_older", lambda *_: [failure])
    monkeypatch.setattr(Context, "client", lambda _: contextlib.nullcontext())
    drawn = controls.draw_controls(context(project))
    assert drawn.value == {}
    page = as_static(drawn.text)
    assert page.index("there is no asset") < page.index("KeyError: no warehouse")
    assert "shop.py" in page


def event(message: str, kind: str | None = None, level: str = "INFO") -> dict[str, Any]:
    return {
        "message": message, "eventType": kind, "level": level, "stepKey": NASTY,
        "timestamp": "1700000000000",
    }  # fmt: skip


def read_log(monkeypatch: pytest.MonkeyPatch, *pages: list[dict[str, Any]]) -> watching.RunLog:
    """Read a log that has these pages."""
    answers = [
        ("run", {"events": events, "cursor": str(number), "hasMore": number < len(pages)})
        for number, events in enumerate(pages, 1)
    ]
    read = dict(zip([None, *(page["cursor"] for _, page in answers)], answers, strict=False))
    monkeypatch.setattr(runs, "read_run_and_logs", lambda _, __, cursor: read[cursor])
    log = watching.RunLog("some-run")
    assert log.read(None) == "run"  # type: ignore[arg-type,comparison-overlap]
    return log


def test_a_log_shows_steps_what_users_log_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [
        event("it started", "STEP_START", "DEBUG"),
        event("rows=3"),
        event("watch out", level="WARNING"),
        event("it broke", "RUN_FAILURE", "ERROR"),
    ]
    noise = [
        event("loaded an input", "LOADED_INPUT", "DEBUG"),
        event("a process started", "ENGINE_EVENT", "DEBUG"),
        event("reading a file", level="DEBUG"),
        event("", "STEP_START"),
    ]
    drawn = read_log(monkeypatch, events, noise).draw()
    assert all(event["message"] in drawn for event in events)
    assert not any(event["message"] in drawn for event in noise if event["message"])
    assert drawing.COLORS["FAILURE"] in drawn
    assert read_log(monkeypatch, noise).draw() == ""


def test_a_log_is_bounded_and_its_text_stays_text(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [[event(f"{page}.{line} {NASTY}") for line in range(100)] for page in range(9)]
    log = read_log(monkeypatch, *pages)
    assert log.more  # a look reads a few pages; the next one goes on
    assert ">3.99 " in log.draw()
    assert ">1.99 " not in log.draw()
    log.read(None)  # type: ignore[arg-type]
    log.read(None)  # type: ignore[arg-type]
    assert not log.more
    drawn = log.draw()
    assert drawn.count("&lt;script&gt;") == 2 * watching.MOST_LINES  # as step, and as message
    assert "<script" not in drawn
    assert f"the last {watching.MOST_LINES} lines" in drawn
    long = read_log(monkeypatch, [event("x" * 100_000)])
    assert long.draw().count("x" * watching.MOST_LETTERS + "…") == 1


class Clicked:
    """Stands in for a button of marimo; the test sets its value."""

    def __init__(self, on_change: Any) -> None:
        self.value, self.click = False, lambda: on_change(1)


@pytest.fixture
def clicks(monkeypatch: pytest.MonkeyPatch) -> buttons.Clicks:
    import marimo as mo

    ui = SimpleNamespace(run_button=lambda label, kind, on_change: Clicked(on_change))
    monkeypatch.setattr(mo, "ui", ui)
    monkeypatch.setattr(buttons, "may_act", lambda: True)
    return buttons.Clicks()


def test_a_click_counts_once_even_where_the_value_stays_true(clicks: buttons.Clicks) -> None:
    button = clicks.button("Launch", "success")
    assert not clicks.take(button)
    button.click()
    assert not clicks.take(button)  # its cell has not run yet
    button.value = True
    assert [clicks.take(button) for _ in range(3)] == [True, False, False]
    button.click()
    assert clicks.take()


def test_a_click_shows_at_once_that_a_run_is_launched(
    clicks: buttons.Clicks, monkeypatch: pytest.MonkeyPatch
) -> None:
    import marimo as mo

    shown: list[str] = []

    @contextlib.contextmanager
    def spinner(title: str, subtitle: str) -> Iterator[SimpleNamespace]:
        shown.append(title)
        yield SimpleNamespace(update=lambda **_: None)
        shown.pop()

    def launch(*_: Any) -> buttons.Attempt:
        return buttons.Attempt(message=f"shown: {shown}")

    monkeypatch.setattr(mo.status, "spinner", spinner)
    monkeypatch.setattr(mo, "Thread", threading.Thread)
    monkeypatch.setattr(buttons, "launch", launch)
    pair = dagmar.Pair(asset="raw/orders")
    pair._clicks = clicks
    button = pair.launch_button()
    assert pair.launch(None, button) is None
    button.click()
    button.value = True
    run = pair.launch(None, button)
    assert run.message == "shown: ['Launching…']"
    assert pair.launch(None, button) is run
    assert shown == []


def test_a_value_that_is_true_without_a_click_does_nothing(clicks: buttons.Clicks) -> None:
    button = clicks.button("Launch", "success")
    button.value = True
    assert not clicks.take(button)


def test_a_click_on_one_button_does_not_count_for_another(clicks: buttons.Clicks) -> None:
    clicked, other = clicks.button("a", "success"), clicks.button("b", "success")
    clicked.click()
    clicked.value = other.value = True
    assert not clicks.take(other)
    assert clicks.take(clicked)


def test_a_foreign_button_is_refused(clicks: buttons.Clicks) -> None:
    with pytest.raises(UsageError, match="launch_button"):
        clicks.take(Clicked(print))


@pytest.mark.parametrize("mode", ["script", "test", None])
def test_nothing_acts_where_nobody_can_click(mode: str | None, monkeypatch: Any) -> None:
    import marimo as mo
    from dagmar.pair.context import may_act

    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.setattr(mo, "app_meta", lambda: SimpleNamespace(mode=mode))
    assert not may_act()
    monkeypatch.setattr(mo, "app_meta", lambda: SimpleNamespace(mode="edit"))
    assert may_act()
    monkeypatch.setenv("_DAGMAR_EXPORT", "1")
    assert not may_act()


def test_a_refusal_is_an_answer_and_shows_what_to_do(
    clicks: buttons.Clicks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(*_: Any) -> buttons.Attempt:
        raise RunFailed("it <failed>", "see <there>")

    monkeypatch.setattr(buttons, "busy", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(buttons, "launch", launch)
    pair = dagmar.Pair(asset="raw/orders")
    pair._clicks = clicks
    button = pair.launch_button()
    button.click()
    button.value = True
    attempt = pair.launch(None, button)
    assert not attempt.run_id
    html = as_static(attempt._repr_html_())
    assert "it &lt;failed&gt;" in html
    assert "see &lt;there&gt;" in html
