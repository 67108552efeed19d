"""`invoke stats` of a real server: what it says to type does what it says."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from support.project import Project, run


@pytest.mark.nightly
def test_the_command_of_a_cause_retries_its_run(
    live: Project, tag: str, dagster_home: Path
) -> None:
    fails = dagster_home / "second-fails"
    fails.touch()
    try:
        status, document, _ = run(live, tag, "--job", "counting")
    finally:
        fails.unlink()
    assert status == 4
    failed = document["runs"][0]["run_id"]
    done = live.invoke("stats", "--job", "counting", "--since", "1h", "--json")
    assert done.returncode == 0, done.stderr
    (cause,) = (one for one in json.loads(done.stdout)["failures"] if one["step"] == "second")
    assert (cause["run_id"], cause["class"]) == (failed, "ValueError")
    assert cause["message"] == "second is not ready"
    program, *words = shlex.split(cause["retry"])
    assert program == "invoke"
    again = live.invoke(*words, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["runs"][0]["status"] == "SUCCESS"
