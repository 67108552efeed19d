"""A run that failed, and the notebook for it, against a real Dagster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dagmar.asset_key import AssetKey
from dagmar.pair import buttons
from dagmar.pair.context import Context
from dagmar.pair.controls import draw_controls, read_options
from dagmar.pair.started import StartedRuns
from dagmar.server.client import DagsterClient
from support.dagster_server import logged
from support.project import Project, run


def fail(live: Project, tag: str, dagster_home: Path) -> str:
    """Return the id of a new run in which two assets fail."""
    fails = dagster_home / "second-fails"
    fails.touch()
    rows = ("--set", "ops.limited.config.rows=7")
    try:
        _, document, _ = run(live, tag, "--asset", "limited", "--asset", "failing", *rows)
    finally:
        fails.unlink()
    return str(document["runs"][0]["run_id"])


def test_a_failed_run_gets_its_notebook_with_its_values(
    live: Project, tag: str, dagster_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = fail(live, tag, dagster_home)
    done = live.invoke("scaffold", "--run", failed, "--asset", "limited", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [book["path"] for book in document["notebooks"]] == ["notebooks/limited.py"]
    assert sorted(document["run"]["failed_steps"]) == ["failing", "limited"]
    command = f"marimo edit notebooks/limited.py -- --run {failed}"
    assert document["run"]["open"] == {"command": command, "url": None}
    assert failed not in (live.root / "notebooks" / "limited.py").read_text("utf-8")

    monkeypatch.setattr("sys.argv", ["marimo", "--run", failed])
    context = Context(AssetKey("limited"), "", "", live.root)
    chosen = read_options(draw_controls(context).value)
    # That of the other asset is not this notebook's.
    assert chosen.config == {"ops": {"limited": {"config": {"rows": 7, "label": "small"}}}}
    assert chosen.tags["test"] == tag
    attempt = buttons.opened_run(context, StartedRuns())
    assert attempt
    assert attempt.run_id == failed


@pytest.mark.nightly
def test_a_failed_run_is_retried_with_other_config(
    live: Project, client: DagsterClient, tag: str, dagster_home: Path
) -> None:
    failed = fail(live, tag, dagster_home)
    changed = ("--retry", failed, "--set", "ops.limited.config.label=repaired")
    _, document, _ = run(live, f"{tag}-again", *changed)
    assert "rows=7 label=repaired" in logged(client, document["runs"][0]["run_id"])
    done = live.invoke("run", "--retry", failed, "--set", "ops.limitd.config.label=x")
    assert done.returncode == 7
    assert "did you mean 'limited'" in done.stderr
