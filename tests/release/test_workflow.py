"""The workflow of a release: what it runs, what it may do, and that it is pinned."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from support.template_releases import ROOT

FILE = ROOT / ".github/workflows/release.yml"
WORKFLOW: dict[Any, Any] = yaml.safe_load(FILE.read_text("utf-8"))
JOBS: dict[str, Any] = WORKFLOW["jobs"]


def steps(job: str) -> list[str]:
    """Return the commands and the actions of a job."""
    return [step.get("run") or step["uses"].partition("@")[0] for step in JOBS[job]["steps"]]


def test_only_a_tag_of_a_version_starts_it() -> None:
    assert WORKFLOW[True] == {"push": {"tags": ["v[0-9]*"]}}  # YAML's `on`


def test_nothing_is_published_before_the_check_and_an_approval() -> None:
    assert "uv run invoke release --check --to dist" in steps("build")
    assert JOBS["publish"]["needs"] == "build"
    assert JOBS["publish"]["environment"] == "pypi"
    assert steps("publish") == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]
    assert JOBS["publish"]["steps"][1]["with"] == {"attestations": True}
    assert JOBS["notes"]["needs"] == "publish"


def test_each_job_may_do_one_thing() -> None:
    assert WORKFLOW["permissions"] == {}
    assert {name: job["permissions"] for name, job in JOBS.items()} == {
        "build": {"contents": "read"},
        "publish": {"id-token": "write"},
        "notes": {"contents": "write"},
    }


def test_actions_are_pinned_by_hash_with_their_version() -> None:
    used = re.findall(r"uses: (.+)", FILE.read_text("utf-8"))
    assert len(used) >= 6
    assert [use for use in used if not re.search(r"@[0-9a-f]{40} # v[0-9.]+$", use)] == []


def test_zizmor_finds_nothing(tmp_path: Path) -> None:
    zizmor = str(Path(sys.executable).with_name("zizmor"))
    command = [zizmor, "--offline", "--persona", "pedantic", "--no-progress"]
    done = subprocess.run([*command, str(FILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    spoilt = tmp_path / "release.yml"
    spoilt.write_text(FILE.read_text("utf-8").replace("permissions: {}", "permissions: write-all"))
    assert subprocess.run([*command, str(spoilt)], capture_output=True).returncode != 0
