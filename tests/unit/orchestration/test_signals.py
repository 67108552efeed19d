"""A process in which Dagster loaded or materialized something still ends on SIGTERM."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DEFINITIONS = """
import dagster as dg


@dg.asset
def orders():
    return 1


defs = dg.Definitions(assets=[orders])
"""
SCRIPT = """
import signal
from pathlib import Path

from dagmar.orchestration import here, values


def handler(*_): ...


signal.signal(signal.SIGTERM, handler)
run = here.materialize(Path.cwd(), "orders")
assert run.success, run
assert signal.getsignal(signal.SIGTERM) is handler, "after materialize"
assert values.load_value(Path.cwd(), "orders") == 1
assert signal.getsignal(signal.SIGTERM) is handler, "after load_value"
"""


def test_sigterm_keeps_its_handler_when_an_asset_is_materialized_and_loaded(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (tmp_path / "shop.py").write_text(DEFINITIONS)
    (tmp_path / "pyproject.toml").write_text('[tool.dagster]\nmodule_name = "shop"\n')
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
