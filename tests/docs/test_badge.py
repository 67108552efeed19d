"""The badge of the README, compared with what coverage has measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BADGE = "docs/images/coverage.svg"
REPORT = ".coverage/report.json"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)


def compare(folder: Path, covered: int) -> subprocess.CompletedProcess[str]:
    """Measure a module of 100 statements, run as many, and compare the badge with the result."""
    lines = ["x = 1"] * (covered - 1) + ["if x > 1:"] + ["    x = 2"] * (100 - covered)
    (folder / "module.py").write_text("\n".join(lines), "utf-8")
    (folder / REPORT).parent.mkdir(exist_ok=True)
    data = "--data-file=.coverage/data"
    assert run(folder, "-m", "coverage", "run", data, "module.py").returncode == 0
    assert run(folder, "-m", "coverage", "json", data, "-o", REPORT).returncode == 0
    (script,) = re.findall(
        rf"^  uv run python (\S+) {re.escape(REPORT)}$", (ROOT / ".ci/run").read_text("utf-8"), re.M
    )
    return run(folder, script, REPORT)


def percents(text: str) -> set[str]:
    return set(re.findall(r"(\d+) %", text))


@pytest.fixture
def badge(tmp_path: Path) -> Path:
    """A copy of the badge that shows 94 %, with the script that draws it."""
    (tmp_path / BADGE).parent.mkdir(parents=True)
    text = (ROOT / BADGE).read_text("utf-8")
    assert len(percents(text)) == 1
    (tmp_path / BADGE).write_text(re.sub(r"\d+ %", "94 %", text), "utf-8")
    (tmp_path / "docs/badge.py").write_bytes((ROOT / "docs/badge.py").read_bytes())
    return tmp_path / BADGE


@pytest.mark.parametrize("covered", [93, 95])
def test_a_badge_that_is_a_point_off_is_kept(badge: Path, tmp_path: Path, covered: int) -> None:
    before = badge.read_bytes()
    done = compare(tmp_path, covered)
    assert (done.returncode, done.stderr) == (0, "")
    assert badge.read_bytes() == before


@pytest.mark.parametrize("covered", [92, 96, 61])
def test_a_badge_that_is_further_off_fails_and_says_what_to_commit(
    badge: Path, tmp_path: Path, covered: int
) -> None:
    done = compare(tmp_path, covered)
    assert done.returncode == 1
    assert done.stderr == (
        f"The badge shows 94 %, and {covered}.0 % are covered. "
        f"Commit the new one: git add {BADGE}\n"
    )
    assert percents(badge.read_text("utf-8")) == {str(covered)}
    assert compare(tmp_path, covered).returncode == 0


def test_a_missing_badge_is_drawn_to_be_committed(badge: Path, tmp_path: Path) -> None:
    badge.unlink()
    assert compare(tmp_path, 94).returncode == 1
    assert percents(badge.read_text("utf-8")) == {"94"}


def test_the_badge_in_the_readme_is_the_one_that_ci_compares() -> None:
    assert f"]({BADGE})" in (ROOT / "README.md").read_text("utf-8")
    assert ".ci/run --coverage" in (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
