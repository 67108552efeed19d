"""Which marimo dagmar is tested with, and the errors about others."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from dagmar.errors import SetupError
from dagmar.notebook import compatibility, internals
from dagmar.notebook.checking import check
from dagmar.project.settings import load
from support.export_project import GOOD, export_project
from support.other_marimo import with_version


@pytest.mark.parametrize(
    ("version", "tested"),
    [
        ("0.25.0", True),
        ("0.25.12", True),
        ("0.26.0rc1", False),
        ("0.24.0", False),
        ("0.24.1", True),
        ("0.24.9", True),
        ("0.23.9", False),
        ("1.0", False),
    ],
)
def test_a_version_is_tested_or_not(version: str, tested: bool) -> None:
    assert compatibility.is_tested(version) is tested


def test_the_installed_marimo_is_tested() -> None:
    assert compatibility.is_tested(metadata.version("marimo"))


@pytest.mark.parametrize("error", [TypeError("no argument x"), AttributeError("y"), KeyError("z")])
def test_a_changed_signature_is_an_error_about_marimo(error: Exception) -> None:
    with pytest.raises(SetupError) as raised, compatibility.guarded():
        raise error
    assert f"marimo {metadata.version('marimo')}: {type(error).__name__}" in raised.value.message
    assert "uv add --dev 'marimo>=0.24.1,<0.26'" in raised.value.suggestion


def test_check_says_what_it_cannot_do_with_changed_internals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = export_project(tmp_path, good=GOOD)
    monkeypatch.setattr(internals, "compile_cell", lambda code: None)
    (checked,) = check(load(project.root), [tmp_path / "notebooks/good.py"], None).notebooks
    (finding,) = [finding for finding in checked.findings if finding.rule == "marimo"]
    assert finding.severity == "warning"
    assert "undefined names and form are not checked: dagmar does not support" in finding.message


def test_check_still_runs_marimos_own_rules_with_an_untested_marimo(tmp_path: Path) -> None:
    project = export_project(tmp_path / "project", first="a():\nx = 1", second="b():\nx = 2")
    environ = with_version(tmp_path / "other", "0.99.0")
    done = project.invoke("check", environ=environ, timeout=280)
    assert "Traceback" not in done.stderr
    assert done.stdout.count("[marimo]") == 2
    assert done.stdout.count("marimo 0.99.0: this version is not tested") == 2
