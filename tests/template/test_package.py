"""The package `dagmar`: what is in it, and its program, installed from an index on loopback."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import dagmar.__main__
import pytest
from dagmar.project import creating
from support.catalog_answers import ANSWERS
from support.git import git
from support.http_server import dagster, serve
from support.template_releases import ROOT, RUNNER, Template

pytestmark = pytest.mark.skipif(not shutil.which("uv"), reason="uv is not installed")


def build(to: Path, *flags: str) -> zipfile.ZipFile:
    """Build this checkout's package, and return its wheel."""
    command = ["uv", "build", "--quiet", *flags, "--out-dir", str(to), str(ROOT / RUNNER)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = to.glob("*.whl")
    return zipfile.ZipFile(wheel)


@pytest.mark.parametrize("flags", [["--wheel"], pytest.param([], marks=pytest.mark.nightly)])
def test_the_wheel_has_the_runner_and_the_whole_template(tmp_path: Path, flags: list[str]) -> None:
    wheel = build(tmp_path, *flags)  # without flags, from the source distribution
    files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    tracked = git(ROOT, "ls-files", "-z", "--", "copier.yml", "hooks", "template").split("\0")
    template = {f"dagmar/_template/{name}" for name in tracked if name and (ROOT / name).exists()}
    source = f"dagmar/_template/{RUNNER}/src/"
    assert files == template | {
        name.removeprefix(source) for name in template if name.startswith(source)
    }
    for name in ("dagmar/scaffold/cells/notebook.j2", "dagmar/server/documents/Assets.graphql"):
        assert wheel.read(name) == (ROOT / RUNNER / "src" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["discover"], 3, "there is no project here for `dagmar discover`"),
        (["init"], 3, "this dagmar is the copy in a project"),
        (["init", "--data", "x"], 2, "--data takes NAME=VALUE"),
        ([], 2, "usage: dagmar"),
    ],
)
def test_outside_of_a_project_the_program_says_what_it_needs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dagmar", *arguments])
    with pytest.raises(SystemExit) as caught:
        dagmar.__main__.main()
    assert (caught.value.code, says in capsys.readouterr().err) == (status, True)


def test_a_place_of_the_template_is_stored_without_secrets_and_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copier.yml").touch()
    monkeypatch.setattr(creating, "TEMPLATE", tmp_path)
    monkeypatch.chdir(tmp_path)
    given: list[str] = []
    keep = lambda *_, data, **__: given.append(data["installed"]["_src_path"])  # noqa: E731
    monkeypatch.setattr("copier.run_copy", keep)
    for origin in ("../x", "https://me:secret@example.com/x.git"):
        creating.create(tmp_path, origin, {}, ask=False)
    assert given == [f"{tmp_path.parent}/x", "https://example.com/x.git"]


@pytest.mark.nightly
def test_the_package_makes_a_project_and_has_its_tasks(released: Template, tmp_path: Path) -> None:
    wheels = tmp_path / "index/dagmar"
    build(wheels)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=wheels.parent)
    index = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=index.serve_forever, daemon=True).start()
    try:
        environ = {**os.environ, "UV_INDEX": f"http://127.0.0.1:{index.server_port}/"}
        environ["UV_TOOL_DIR"], environ["UV_TOOL_BIN_DIR"] = str(tmp_path / "t"), str(tmp_path)
        place = str(released.path)
        # The extra is installed on the way: `uvx dagmar` has none.
        init = ["uvx", "--refresh-package", "dagmar", "dagmar", "init", "made", "--defaults"]
        subprocess.run([*init, "--from", place], cwd=tmp_path, env=environ, check=True)
        answers = (tmp_path / "made/.copier-answers.yml").read_text("utf-8")
        assert f"_commit: v{dagmar.__version__}\n_src_path: {place}\n" in answers
        assert git(tmp_path / "made", "status", "--porcelain") == ""
        with serve(dagster(ANSWERS)) as server:
            command = ["uvx", "--from", "dagmar[cli]", "dagmar", "discover", "--kind", "assets"]
            done = subprocess.run(
                [*command, "--url", server.url],
                cwd=tmp_path / "made",
                env=environ,
                capture_output=True,
                text=True,
            )
        assert done.returncode == 0, done.stderr
        assert "raw/orders" in done.stdout
    finally:
        index.shutdown()
        index.server_close()
