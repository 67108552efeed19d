"""The workflow of a release: what it runs, and what it may do.

That its actions are pinned, and what zizmor finds: tests/template/test_supply_chain.py.
"""

from __future__ import annotations

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
