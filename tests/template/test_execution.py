"""Every template with every kind of pair, executed with the real `dagmar.Pair` and no server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from support.shop_project import PAIRS, TEMPLATES
from support.template_releases import Project

pytestmark = pytest.mark.xdist_group("full")  # one worker makes the notebooks

LOADED = {
    "asset": {"orders": 6},
    "partitioned": {"orders": 6, "raw_orders": 6},
    "multi": {"orders": 6},
    "day by day": {"daily": 3},
    "cell by cell": {"grid": 2},
}
PARTITION = {"partitioned": "2026-01-03", "multi": "a|2026-01-03", "day by day": "2026-01-03"}
PARTITION["cell by cell"] = "a|2026-01-03"
# One process for all: what takes time is importing Dagster and marimo.
EXECUTE = """
import json, os, pathlib, runpy, sys

from dagmar.orchestration import here
from dagmar.orchestration.instance import instance

root = pathlib.Path.cwd()
for key in ("raw/orders", "orders"):
    assert here.materialize(root, key).success
for day in ("2026-01-03", "2026-01-02"):
    assert here.materialize(root, "daily", partition=day).success
    assert here.materialize(root, "grid", partition=f"a|{day}").success
results = {}
for file in sorted(root.glob("notebooks/*/*.py")):
    print(file, file=sys.stderr)
    app = runpy.run_path(str(file))["app"]
    outputs, defs = app.run()
    results[f"{file.parent.name}/{file.stem}"] = {
        "shown": [getattr(output, "text", "") for output in outputs],
        "mean_error": float(defs["errors"].mean()) if "errors" in defs else None,
        "mean_baseline": float(defs["baseline"].mean()) if "baseline" in defs else None,
        "partition": defs.get("partition_key"),
        "days": sorted(defs["daily"]) if isinstance(defs.get("daily"), dict) else None,
        "loaded": {name: len(value) for name, value in defs.items() if hasattr(value, "columns")},
    }
results["runs"] = len(instance(root).get_runs())
pathlib.Path(os.environ["DAGSTER_HOME"], "results.json").write_text(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(full: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of each notebook, as the other process wrote it."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EXECUTE],
        cwd=full.path,
        env={**os.environ, "DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((home / "results.json").read_text("utf-8"))
    return result


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", PAIRS)
def test_it_executes_and_says_that_there_is_no_server(
    results: dict[str, Any], template: str, kind: str
) -> None:
    name = PAIRS[kind][1].replace("/", "_").replace("-", "_").replace(".", "_")
    notebook = results[f"{template}/{name}"]
    shown = "\n".join(notebook["shown"])
    assert ("Dagster did not answer at" in shown) == (template != "minimal")
    if template == "stats":
        return  # it is about runs, and loads nothing
    assert LOADED.get(kind, {}).items() <= notebook["loaded"].items()
    assert notebook["partition"] == PARTITION.get(kind)
    if kind == "cell by cell":
        assert notebook["days"] == ["2026-01-02", "2026-01-03"]  # partitioned otherwise: whole
    if template in ("default", "ml") and kind != "external":
        assert "Nothing was launched from here yet." in shown


@pytest.mark.parametrize("kind", ["asset", "partitioned", "multi"])
def test_the_ml_template_learns_from_the_inputs(results: dict[str, Any], kind: str) -> None:
    notebook = results[f"ml/{PAIRS[kind][1]}"]
    assert 0 < notebook["mean_error"] < notebook["mean_baseline"]


def test_nothing_was_launched(results: dict[str, Any]) -> None:
    assert results["runs"] == 6  # those that made the inputs
