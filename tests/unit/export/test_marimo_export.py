"""Reports with a marimo that dagmar is not tested with: by `marimo export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.export_project import GOOD, assert_whole, export, export_project, write
from support.other_marimo import with_version, without_module

pytestmark = pytest.mark.timeout(600)
BAD = "bad():\nnothing = 1 / 0"
ASKS = (
    "asks():\nimport marimo as mo\n\nprint('printed')\n"
    "mo.md(f\"rows: {mo.cli_args().get('rows')}\")"
)


def by_name(exports: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {Path(export["notebook"]).stem: export for export in exports}


@pytest.mark.nightly
def test_an_untested_marimo_writes_reports_and_one_warning_says_what_is_missing(
    tmp_path: Path,
) -> None:
    project = export_project(tmp_path / "project", good=GOOD, bad=BAD)
    environ = with_version(tmp_path / "other", "0.99.0")
    status, exports, stderr = export(
        project, "--all", "--workers", "2", "--format", "html", environ=environ, timeout=500
    )
    good, bad = (by_name(exports)[name] for name in ("good", "bad"))
    assert status == 4
    assert stderr.count("warning: dagmar does not support marimo 0.99.0") == 1
    assert "without the values of pair.report, the name and traceback of a failing cell" in stderr
    assert "Traceback" not in stderr
    assert (good["status"], good["error"]) == ("ok", None)
    assert "forty-two" in Path(good["files"][0]).read_text("utf-8")
    assert bad["status"] == "failed"
    assert "some cells failed" in bad["error"]["message"]
    assert "ZeroDivisionError" in Path(bad["files"][0]).read_text("utf-8")
    assert assert_whole(project.root / ".dagmar/exports") == 2
    for exported in (good, bad):
        manifest = json.loads(
            (Path(exported["files"][0]).parent / "manifest.json").read_text("utf-8")
        )
        assert manifest["executed_by"] == "marimo export"
        assert manifest["notebook_sha256"]


def test_a_marimo_that_moved_a_private_name_runs_a_notebook_with_its_arguments(
    tmp_path: Path,
) -> None:
    project = export_project(tmp_path / "project", asks=ASKS)
    environ = without_module(tmp_path / "other", "marimo._export.serialization")
    status, (one,), stderr = export(
        project,
        *("--notebook", "asks.py", "--format", "md", "--format", "ipynb", "--no-code"),
        *("--param", "rows=7"),
        environ=environ,
        timeout=500,
    )
    assert status == 0, stderr
    assert "No module named 'marimo._export.serialization'" in one["warning"]
    assert [Path(file).suffix for file in one["files"]] == [".ipynb", ".md"]
    for file in one["files"]:
        text = Path(file).read_text("utf-8")
        assert "rows: 7" in text
        assert "cli_args" not in text
        assert "printed" not in text


def test_parameters_that_marimos_command_cannot_pass_are_refused(tmp_path: Path) -> None:
    project = export_project(tmp_path / "project", takes="inputs():\nrows = 3\nreturn (rows,)")
    write(project.root / "notebooks", "inputs():\nrows = 3", ASKS, name="both")
    environ = with_version(tmp_path / "other", "0.23.9")
    status, exports, _ = export(project, "--all", "--param", "rows=7", environ=environ, timeout=500)
    assert status == 3
    for exported in exports:
        assert exported["files"] == []
        assert "does not read 'rows' from its command line" in exported["error"]["message"]
        assert "dagmar does not support marimo 0.23.9" in exported["error"]["message"]


def test_marimos_command_is_stopped_when_the_time_is_over(tmp_path: Path) -> None:
    project = export_project(tmp_path / "project", hangs="hangs():\nimport time\n\ntime.sleep(600)")
    environ = with_version(tmp_path / "other", "0.99.0")
    status, (one,), _ = export(
        project, "--notebook", "hangs.py", "--timeout", "3", environ=environ, timeout=300
    )
    assert status == 9
    assert one["error"]["class"] == "TimedOut"
    assert one["files"] == []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(project.root) not in process.read_bytes().decode()
        except OSError:
            continue
