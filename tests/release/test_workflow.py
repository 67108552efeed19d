"""The workflow of a release: what it runs, and what it may do.

That its actions are pinned, and what zizmor finds: tests/template/test_supply_chain.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.template_releases import ROOT, RUNNER, write

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
    assert JOBS["attest"]["needs"] == "publish"
    assert JOBS["notes"]["needs"] == "attest"


def test_each_job_may_do_one_thing() -> None:
    assert WORKFLOW["permissions"] == {}
    assert {name: job["permissions"] for name, job in JOBS.items()} == {
        "build": {"contents": "read"},
        "publish": {"id-token": "write"},
        "attest": {"id-token": "write", "attestations": "write"},
        "notes": {"contents": "write"},
    }


def type_step(job: str, words: str, folder: Path, **environ: str) -> None:
    """Type the script of a step that has these words in it, as a release of 0.2.0."""
    (script,) = [text for text in steps(job) if words in text]
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, check=True,
        env={**os.environ, "TAG": "v0.2.0", **environ}, timeout=300,
    )  # fmt: skip


def uploaded(job: str) -> dict[str, str]:
    """Return the artifacts that a job keeps, each with its folder or file."""
    return {
        step["with"]["name"]: step["with"]["path"]
        for step in JOBS[job]["steps"]
        if "upload-artifact" in step.get("uses", "")
    }


@pytest.mark.skipif(not shutil.which("uv"), reason="needs uv")
def test_a_release_lists_what_its_package_installs(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "hatch_build.py", "src/dagmar/__init__.py"):
        write(tmp_path, {f"{RUNNER}/{name}": (ROOT / RUNNER / name).read_text("utf-8")})
    type_step("build", "cyclonedx", tmp_path)
    assert uploaded("build")["sbom"] == "sbom/"
    (file,) = (tmp_path / "sbom").iterdir()
    assert file.name == "dagmar-0.2.0.cdx.json"  # a name that Scorecard knows
    listed = json.loads(file.read_text("utf-8"))
    assert listed["bomFormat"] == "CycloneDX"
    assert listed["metadata"]["component"]["name"] == "dagmar"
    packages = {part["name"]: part["purl"] for part in listed["components"]}
    for name in ("dagster", "marimo", "copier", "invoke"):
        assert packages[name].startswith(f"pkg:pypi/{name}@")
    assert "pytest" not in packages


def test_a_release_has_the_package_its_list_and_its_attestation(tmp_path: Path) -> None:
    signed = JOBS["attest"]["steps"][1]
    assert signed["with"]["subject-path"].split() == ["dist/*", "sbom/*"]
    (tmp_path / "bundle.json").write_text('{"dsseEnvelope": {}}\n')
    write(tmp_path, {
        "dist/dagmar-0.2.0.tar.gz": "x", "dist/dagmar-0.2.0-py3-none-any.whl": "x",
        "sbom/dagmar-0.2.0.cdx.json": "x", "notes/notes.md": "x",
        "bin/gh": '#!/bin/sh\nprintf "%s\\n" "$@" >called\n',
    })  # fmt: skip
    (tmp_path / "bin/gh").chmod(0o755)
    type_step("attest", "intoto", tmp_path, BUNDLE=str(tmp_path / "bundle.json"))
    assert uploaded("attest") == {"provenance": "provenance/"}
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    type_step("notes", "gh release create", tmp_path, PATH=path)
    called = (tmp_path / "called").read_text("utf-8").splitlines()
    assert called[:4] == ["release", "create", "v0.2.0", "--verify-tag"]
    attached = called[called.index("notes/notes.md") + 1 :]
    assert attached == [
        "dist/dagmar-0.2.0-py3-none-any.whl",
        "dist/dagmar-0.2.0.tar.gz",
        "sbom/dagmar-0.2.0.cdx.json",
        "provenance/dagmar-0.2.0.intoto.jsonl",  # a name that Scorecard knows
    ]
    assert (tmp_path / attached[-1]).read_text("utf-8") == '{"dsseEnvelope": {}}\n'
