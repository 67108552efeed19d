"""What a user's type checker and editor know of `dagmar.Pair` and `dagmar.link_reports`."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dagmar.pair.pair import Pair

NOTEBOOK = """\
import dagmar
import dagster as dg

pair = dagmar.Pair(asset="raw/orders")
controls, button = pair.controls(), pair.launch_button()
run = pair.launch(controls, button)
here = pair.materialize(controls, button=button, here=True)

preview = pair.preview(controls, button, keys=["id"])
kept = pair.keep(preview, button)

reveal_type(preview)
reveal_type(kept)
reveal_type(controls)
reveal_type(button)
reveal_type(run)
reveal_type(here)
reveal_type(pair.watch(run))
reveal_type(pair.card("# Orders", after=[run, here]))
reveal_type(pair.lineage())
reveal_type(pair.history(after=run))
reveal_type(pair.report(rows=3))
reveal_type(pair.metrics(share=0.5, note="all"))
reveal_type(pair.export())
reveal_type(pair.partition_key())
reveal_type(dagmar.link_reports(dg.Definitions()))

if run and run.error:
    reveal_type(run.error)
    reveal_type(run.url)
pair.launch(controls, "a button")
"""
REPOSITORY = Path(__file__).parents[3]
HTML = "marimo._output.hypertext.Html"
ATTEMPT = "dagmar.pair.buttons.Attempt | None"


# Without the cache that `uv run mypy` leaves, mypy reads all of dagster and marimo.
@pytest.mark.timeout(900)
def test_a_user_sees_what_each_method_returns(tmp_path: Path) -> None:
    file = tmp_path / "notebook.py"
    file.write_text(NOTEBOOK, "utf-8")
    command = [sys.executable, "-m", "mypy", "--no-pretty", str(file)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    revealed = re.findall(r'Revealed type is "(.+)"', done.stdout)
    assert [text.replace("builtins.", "") for text in revealed] == [
        "dagmar.pair.previewing.Previewed | None",
        ATTEMPT,
        "marimo._plugins.ui._impl.batch.batch",
        "marimo._plugins.ui._impl.run_button.run_button",
        *[ATTEMPT] * 2,
        *[HTML] * 7,
        "str | None",
        "dagster._core.definitions.definitions_class.Definitions",
        "dagmar.errors.DagmarError",
        "str",
    ], done.stdout
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1, done.stdout
    assert 'Argument 2 to "launch" of "Pair"' in errors[0]


def test_no_signature_says_any_but_that_of_a_loaded_value() -> None:
    vague = [
        f"{name}: {parameter}"
        for name, method in inspect.getmembers(Pair, inspect.isfunction)
        if not name.startswith("_") or name == "__init__"
        for parameter, annotation in inspect.get_annotations(method).items()
        if re.search(r"\bAny\b", annotation)
    ]
    assert vague == ["load: return"]
