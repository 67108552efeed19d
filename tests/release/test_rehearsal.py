"""Two releases, rehearsed: the commands of RELEASING.md, an index on loopback, an update."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from support.git import commit, git
from support.processes import die_with_tests
from support.template_releases import COPIED, ROOT, RUNNER

from release import package

PAGE = ROOT / "RELEASING.md"
BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
REHEARSAL = "uv run pytest --nightly tests/release"
SHOP = {
    "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\n\n[tool.dg]\n'
    'directory_type = "project"\n\n[tool.dg.project]\nroot_module = "shop"\n',
    "src/shop/__init__.py": "",
    "src/shop/definitions.py": "import dagster as dg\n\ndefs = dg.Definitions()\n",
}


def commands() -> list[str]:
    """Return the commands of RELEASING.md, in their order."""
    blocks = BLOCK.findall(PAGE.read_text("utf-8"))
    return [line.strip() for block in blocks for line in block.splitlines()]


@contextmanager
def index(folder: Path, log: Path) -> Iterator[str]:
    """Serve a package index on a free port of loopback, to which anybody may upload."""
    (folder / "packages").mkdir(parents=True)
    command = [sys.executable, "-m", "pypiserver", "run", "--interface", "127.0.0.1"]
    command += ["--port", "0", "--server", "wsgiref", "--authenticate", ".", "--passwords", "."]
    command += ["--disable-fallback", "-v", str(folder / "packages")]
    with log.open("w") as out:
        server = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, preexec_fn=die_with_tests
        )
    try:
        yield _address(server, log)
    finally:
        server.kill()
        server.wait()


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the index answers, and return its address."""
    import psutil

    while server.poll() is None:
        for connection in psutil.Process(server.pid).net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                address = f"http://127.0.0.1:{connection.laddr.port}"
                assert requests.get(address, timeout=60).ok
                return address
    raise AssertionError(log.read_text("utf-8"))


def test_the_page_has_the_commands_that_are_rehearsed() -> None:
    assert commands() == [
        "git pull --tags origin main",
        "uv run invoke release --notes",
        "uv run invoke release --prepare",
        "uv run invoke release --tag",
        "git push --atomic --follow-tags origin main",
        REHEARSAL,
    ]


@pytest.mark.nightly
@pytest.mark.skipif(not shutil.which("uv"), reason="uv is not installed")
def test_two_releases_are_tagged_published_installed_and_updated_to(
    make_clone: Callable[[str], Path], tmp_path: Path
) -> None:
    origin = tmp_path / "origin.git"
    clone = make_clone(origin.as_uri())
    git(tmp_path, "clone", "-q", "--bare", str(clone), str(origin))
    git(clone, "remote", "add", "origin", str(origin))
    # The clone's own environment would be this one again: its Python is used.
    environ = {name: text for name, text in os.environ.items() if name != "VIRTUAL_ENV"}
    environ |= {"UV_PROJECT_ENVIRONMENT": sys.prefix, "UV_NO_SYNC": "1"}
    environ |= {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path)}

    def call(*command: str, folder: Path = clone, status: int = 0) -> str:
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
        assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    with index(tmp_path / "index", tmp_path / "index.log") as address:
        environ["UV_INDEX"] = f"{address}/simple/"

        def release() -> str:
            """Type the page's commands, then publish as the workflow does; return the version."""
            for command in commands():
                if command != REHEARSAL:
                    call(*command.split())
            pushed = git(origin, "describe", "main").strip()
            fresh = tmp_path / f"machine-{pushed}"
            call("git", "clone", "-q", "--no-hardlinks", str(origin), str(fresh), folder=tmp_path)
            invoke = ("uv", "run", "invoke", "release")
            version = pushed.removeprefix("v")
            if version == "0.2.0":
                assert "can be tagged" in call(*invoke, "--check", "--to", "dist", folder=fresh)
            else:  # `--tag` has checked the same; once is enough to see a clean machine do it
                package.build(fresh, fresh / "dist")
            assert f"## {version} - " in call(*invoke, "--notes", folder=fresh)
            files = sorted(str(file) for file in (fresh / "dist").glob("dagmar-*"))
            assert len(files) == 2
            twine = (sys.executable, "-m", "twine", "upload", "--non-interactive")
            call(*twine, "-u", "x", "-p", "x", "--repository-url", address, *files)
            return version

        assert release() == "0.2.0"
        # The program of the index makes a project, whose answers name the tag of the origin.
        init = ("uvx", "--refresh-package", "dagmar", "dagmar", "init", "--defaults")
        shop, adopted = tmp_path / "new/shop", tmp_path / "adopted/shop"
        shop.parent.mkdir()
        call(*init, "shop", folder=shop.parent)
        for name, text in SHOP.items():
            (adopted / name).parent.mkdir(parents=True, exist_ok=True)
            (adopted / name).write_text(text, "utf-8")
        git(adopted, "init", "-q")
        copy = ("uvx", "copier", "copy", "--quiet", "--trust", "--defaults")
        call(*copy, str(origin), ".", folder=adopted)
        for project in (shop, adopted):
            answers = (project / ".copier-answers.yml").read_text("utf-8")
            assert "_commit: v0.2.0\n" in answers
            readme = project / COPIED / "README.md"
            readme.write_text(readme.read_text("utf-8").replace("# ", "# Our ", 1), "utf-8")
            commit(project)

        upstream = clone / RUNNER / "README.md"
        upstream.write_text(upstream.read_text("utf-8") + "\nNew upstream.\n", "utf-8")
        git(clone, "commit", "-q", "-a", "-m", "feat: say more")
        assert release() == "0.3.0"
        said = call(*init, "shop", folder=shop.parent, status=8)
        assert "dagmar is in" in said
        for project in (shop, adopted):
            python = f"{project / COPIED / 'src'}{os.pathsep}{project / 'src'}"
            environ["PYTHONPATH"] = python
            call(sys.executable, "-m", "invoke", "update", folder=project)
            del environ["PYTHONPATH"]
            text = (project / COPIED / "README.md").read_text("utf-8")
            assert (text.startswith("# Our "), text.endswith("\nNew upstream.\n")) == (True, True)
            assert "_commit: v0.3.0\n" in (project / ".copier-answers.yml").read_text("utf-8")
            assert git(project, "diff", "--name-only", "--diff-filter=U") == ""
        fresh = ("uvx", "--refresh-package", "dagmar", "--from", "dagmar[cli]", "dagmar")
        assert "0.3.0" in call(*fresh, "--version", folder=tmp_path)
