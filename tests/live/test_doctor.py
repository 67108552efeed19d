"""`invoke doctor` with a real Dagster."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from dagmar.upkeep.checks import CHECKS
from support.dagster_server import DagsterServer
from support.project import Project

ONLINE = [flag for check in CHECKS if check.online for flag in ("--only", check.name)]


def examine(live: Project, home: Path) -> dict[str, dict[str, Any]]:
    """Return what the checks of the server say; a busy one may answer late for once."""
    deadline = time.monotonic() + 240
    while True:
        done = live.invoke("doctor", *ONLINE, "--json", environ={"DAGSTER_HOME": str(home)})
        checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
        skipped = {name for name, check in checks.items() if check["status"] == "skip"}
        answered = skipped <= {"pairs"}  # for which every code location must load
        if answered or time.monotonic() > deadline:
            return checks


def test_a_real_server_is_reported_with_its_broken_code_location(
    live: Project, dagster: DagsterServer, dagster_home: Path
) -> None:
    (live.root / "notebooks").mkdir()
    pair = "import dagmar\n\ndagmar.Pair(asset='{}')\n"
    (live.root / "notebooks" / "gone.py").write_text(pair.format("no/such/asset"))
    checks = examine(live, dagster_home)
    assert checks["server"]["status"] == "pass", checks
    assert checks["server"]["message"].endswith(f"at {dagster.url}")
    assert checks["launching"]["status"] == "pass"
    assert " ms for a small query" in checks["latency"]["message"]
    assert checks["same-instance"]["status"] == "pass", checks
    assert checks["daemon"]["status"] in ("pass", "warn")
    broken = checks["code-locations"]
    assert broken["status"] == "fail"
    assert "'broken' does not load: RuntimeError: the warehouse password" in broken["message"]
    # A code location that does not load may hold the asset.
    assert checks["pairs"]["status"] == "skip"
    assert "see 'code-locations'" in checks["pairs"]["message"]
    elsewhere = examine(live, dagster_home.parent)["same-instance"]
    assert elsewhere["status"] == "warn"
    assert str(dagster_home) in elsewhere["message"]
