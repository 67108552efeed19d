"""What dagmar is for, once, on a live Dagster: the quick run's only look at everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from support.dev_process import running_dev
from support.project import Project
from support.template_releases import Template


@pytest.mark.timeout(900)
def test_an_asset_is_discovered_run_paired_and_reported(released: Template, tmp_path: Path) -> None:
    root = released.project(tmp_path / "my-project").path
    environ = {"PYTHONPATH": str(root / "src")}

    def invoke(*arguments: str) -> dict[str, Any]:
        done = Project(root).invoke(*arguments, "--json", environ=environ, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    with running_dev(root, environ=environ) as dev:
        ready = dev.until("ready")
        assert requests.get(ready["marimo_url"], timeout=240).ok

        found = {asset["key"] for asset in invoke("discover")["assets"]}
        assert {"raw/flights", "clean/flights"} <= found

        (run,) = invoke("run", "--asset", "raw/flights")["runs"]
        assert (run["status"], run["assets"]) == ("SUCCESS", ["raw/flights"])
        assert (root / "storage/raw/flights.parquet").is_file()

        (notebook,) = invoke("scaffold", "--asset", "raw/flights")["notebooks"]
        opened = subprocess.run(
            [sys.executable, notebook["path"]],
            cwd=root, env={**os.environ, **environ}, capture_output=True, text=True,
        )  # fmt: skip
        assert opened.returncode == 0, opened.stdout + opened.stderr

        flags = ("--notebook", notebook["path"], "--attach", "raw/flights")
        (export,) = invoke("export", *flags)["exports"]
        assert (export["status"], export["attached_to"]) == ("ok", ["raw/flights"])
        assert "raw/flights" in requests.get(export["url"], timeout=240).text
    assert dev.processes() == []
