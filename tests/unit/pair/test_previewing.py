"""What `pair.preview` shows on the page, and when `pair.keep` refuses."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Interrupted, Invalid, NotAllowed, RunFailed, UsageError
from dagmar.notebook.fallbacks import as_static
from dagmar.orchestration.instance import instance
from dagmar.pair import buttons
from dagmar.pair.buttons import Attempt
from dagmar.pair.context import Context
from dagmar.pair.controls import LaunchOptions
from dagmar.pair.previewing import Previewed, keep, show
from support.http_server import closed_port

DEFINITIONS = """
import dagster as dg
import pandas as pd

META = {"<b>": "<i>", "rows": dg.MetadataValue.md("| id |\\n|----|\\n| 1  |")}


@dg.multi_asset(outs={"orders": dg.AssetOut(), "total": dg.AssetOut()})
def sales():
    yield dg.Output(pd.DataFrame({"id": [1, 2], "price": [3, 4]}), "orders", META)
    yield dg.Output(7, "total")


@dg.asset
def broken():
    raise ValueError("no such table")


@dg.asset(output_required=False)
def empty():
    yield from ()


defs = dg.Definitions(assets=[sales, broken, empty])
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the module of a project whose instance is its own, and for which nothing listens."""
    root = tmp_path_factory.mktemp("previewing")
    file = root / "previewing_shop.py"
    file.write_text(DEFINITIONS, "utf-8")
    (root / "pyproject.toml").write_text(f'[tool.dagster]\nmodule_name = "{file.stem}"\n', "utf-8")
    home = root / ".dagmar/dagster_home"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    holder, url = closed_port()
    targets = f"{{local: {{url: '{url}'}}, prod: {{url: '{url}', read_only: true}}}}"
    (root / "dagmar.yaml").write_text(f"targets: {targets}\n", "utf-8")
    with holder, pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        patch.setattr(sys, "path", [*sys.path])
        yield file
        instance(root).dispose()


def context(module: Path, asset: str = "orders", job: str = "", target: str = "") -> Context:
    return Context(AssetKey(asset), job, target, module.parent)


def html(shown: Previewed | Attempt) -> str:
    page = shown._display_().text if isinstance(shown, Previewed) else shown._repr_html_()
    return unescape(as_static(page))


def error_of(shown: Previewed | Attempt) -> DagmarError:
    assert shown.error
    return shown.error


def test_an_edit_shows_what_would_differ_and_keeping_it_stores_that(module: Path) -> None:
    sales = context(module)
    first = show(sales, {"tags": "team=shop"})
    assert first.difference
    assert "was never materialized" in first.difference.reason
    assert "was never materialized" in html(first)
    assert "nothing is stored or recorded" in html(first)
    assert "<i>" not in as_static(first._display_().text)
    page = html(first)
    assert page.index("was never materialized") < page.index("<summary") < page.index("| id |")
    first.value["price"] = 0  # a cell's own copy
    kept = keep(sales, first)
    assert kept.run_id
    assert "is kept: its value is the one that was shown" in html(kept)
    run = instance(module.parent).get_run_by_id(kept.run_id)
    assert run
    assert (run.tags["team"], run.tags["dagmar/here"]) == ("shop", "true")
    assert float(run.tags["dagmar/peak-memory-mb"]) > 1
    again = keep(sales, first)
    assert again.run_id == kept.run_id
    assert "was kept already" in html(again)

    module.write_text(DEFINITIONS.replace("[3, 4]", "[3, 5]"), "utf-8")
    second = show(sales, None, ["id"])
    assert list(second.value["price"]) == [3, 5]
    assert second.difference
    assert not second.difference.equal
    assert second.difference.rows
    assert second.difference.rows.changed == 1
    assert second.differences[AssetKey("total")].equal
    # The code is newer, but that of the first one is kept already.
    assert keep(sales, first).run_id == kept.run_id
    assert "kept as it is here" in html(first)

    module.write_text("def orders(:\n", "utf-8")
    broken = html(show(sales, None))
    assert f'File "{module}", line 1' in broken
    assert "def orders(:" in broken
    assert "loader.py" not in broken
    module.write_text(DEFINITIONS, "utf-8")


def test_an_interrupt_is_said_quietly_and_the_next_click_works(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = instance(module.parent).get_runs_count()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    stop = "\n\n    import signal\n    signal.raise_signal(signal.SIGINT)\n"
    try:
        for edited in (
            DEFINITIONS + stop.replace("    ", ""),
            DEFINITIONS.replace("sales():\n", f"sales():{stop}"),
        ):
            module.write_text(edited, "utf-8")
            stopped = show(context(module), None)
            assert isinstance(stopped.error, Interrupted)
            assert stopped.error.__cause__ is None
            assert "was interrupted" in html(stopped)
            assert "Traceback" not in html(stopped)
        here = buttons.materialize_here(context(module), LaunchOptions())
        assert isinstance(here.error, Interrupted)
        assert "Traceback" not in html(here)
    finally:
        signal.signal(signal.SIGINT, before)
    module.write_text(DEFINITIONS, "utf-8")
    assert show(context(module), None).error is None
    assert instance(module.parent).get_runs_count() == runs + 1


def test_why_nothing_is_previewed_or_kept_is_shown(module: Path) -> None:
    broken = show(context(module, "broken"), None)
    assert isinstance(broken.error, RunFailed)
    assert 'raise ValueError("no such table")' in html(broken)
    assert isinstance(keep(context(module, "broken"), broken).error, RunFailed)
    assert "has no output" in html(show(context(module, "empty"), None))
    assert isinstance(error_of(show(context(module, "", "sales_job"), None)), UsageError)
    assert isinstance(error_of(show(context(module, "renamed"), None)), Invalid)
    assert isinstance(error_of(show(context(module), {"tags": "no pair"})), DagmarError)
    assert isinstance(error_of(keep(context(module), None)), Invalid)
    prod = context(module, target="prod")
    runs = instance(module.parent).get_runs_count()
    refused = keep(prod, show(prod, None))
    assert isinstance(refused.error, NotAllowed)
    assert instance(module.parent).get_runs_count() == runs
