"""The tasks of this repository that no project has: `invoke demo` and `invoke test`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import TAG, die_with_tests, tagged
from support.template_releases import ROOT, tree

INVOKE = (sys.executable, "-m", "invoke")


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short path, for the sockets below it."""
    path = Path(tempfile.mkdtemp(prefix="dm"))
    yield path
    shutil.rmtree(path)


def test_demo_leaves_a_folder_alone_that_holds_something(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine\n")
    before = tree(tmp_path)
    done = subprocess.run(
        [*INVOKE, "demo", "--path", str(tmp_path / "mine")],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(temporary)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 8
    assert "is there already" in done.stderr
    assert "Give --path a new folder." in done.stderr
    assert tree(tmp_path) == before
    assert list(temporary.iterdir()) == []


@pytest.mark.nightly
@pytest.mark.skipif(not shutil.which("uv"), reason="needs uv")
def test_demo_that_keeps_runs_until_it_is_ended_and_leaves_the_project(temporary: Path) -> None:
    tag = uuid.uuid4().hex
    with subprocess.Popen(
        [*INVOKE, "demo", "--keep"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary), TAG: tag},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_tests,
    ) as demo:
        assert demo.stdout
        said = []
        for line in demo.stdout:
            said.append(line)
            if "Ctrl-C stops both" in line:
                assert len(tagged(tag)) > 2
                demo.send_signal(signal.SIGTERM)
    assert demo.returncode == 0, "".join(said)
    assert tagged(tag) == []
    (project,) = temporary.glob("dagmar-demo-*/*")
    assert f"Nothing runs any more; the project is in {project}.\n" in said
    assert (project / "storage/raw/flights.parquet").is_file()
    assert not (project / ".dagmar/tmp/dev.json").exists()


@pytest.mark.parametrize(
    ("flags", "passed"),
    [((), []), (("--all",), ["--all"]), (("--nightly",), ["--nightly"])],
    ids=["plain", "all", "nightly"],
)
@pytest.mark.parametrize("status", [0, 1])
def test_test_runs_pytest_and_passes_the_profile_on(
    flags: tuple[str, ...], passed: list[str], status: int, tmp_path: Path
) -> None:
    (tmp_path / "pytest.py").write_text(f"import sys\nprint(sys.argv[1:])\nsys.exit({status})\n")
    done = subprocess.run(
        [*INVOKE, "test", *flags],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (4 if status else 0, f"{passed}\n")
    assert ("pytest ended with status 1" in done.stderr) is bool(status)
