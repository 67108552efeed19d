"""The package `dagmar`: what is in it, and its program, installed from an index on loopback."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagmar.__main__
import pytest
from dagmar.errors import SetupError
from dagmar.project import creating
from dagmar.project.templates import open_template
from support.catalog_answers import ANSWERS
from support.git import commit, git
from support.http_server import dagster, serve
from support.template_releases import COPIED, ROOT, RUNNER, Project, Template, tree, write

pytestmark = pytest.mark.skipif(not shutil.which("uv"), reason="uv is not installed")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["discover"], 3, "there is no project here for `dagmar discover`"),
        (["init", "--defaults"], 3, "this dagmar is the copy in a project"),
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


FILE = "file:///x/dagmar.whl"
GIT = {"url": "https://x/y", "vcs_info": {"vcs": "git", "commit_id": "12"}, "subdirectory": "a/b"}


@pytest.mark.parametrize(
    ("place", "package"),
    [
        ({}, f"dagmar[cli]=={dagmar.__version__}"),
        ({"url": FILE, "dir_info": {"editable": True}}, f"dagmar[cli]=={dagmar.__version__}"),
        ({"url": FILE, "archive_info": {}}, f"dagmar[cli] @ {FILE}"),
        (GIT, "dagmar[cli] @ git+https://x/y@12#subdirectory=a/b"),
    ],
)
def test_the_program_starts_again_with_the_extra_of_the_same_package(
    monkeypatch: pytest.MonkeyPatch, place: dict[str, Any], package: str
) -> None:
    started: list[str] = []
    installed = SimpleNamespace(
        version=dagmar.__version__, read_text=lambda _: json.dumps(place) if place else None
    )
    monkeypatch.setattr(dagmar.__main__, "distribution", lambda _: installed)
    monkeypatch.setattr(dagmar.__main__, "find_spec", lambda _: None)
    monkeypatch.setattr(os, "execv", lambda _, words: sys.exit(started.extend(words)))
    monkeypatch.setenv("UV", "uv")
    monkeypatch.setenv("DAGMAR_WITHOUT_EXTRA", "")
    monkeypatch.delenv("DAGMAR_WITHOUT_EXTRA")
    monkeypatch.setattr(sys, "argv", ["dagmar", "init", "x"])
    with pytest.raises(SystemExit):
        dagmar.__main__.main()
    assert started == ["uv", "tool", "run", "--from", package, "dagmar", "init", "x"]


VERSION = f"v{dagmar.__version__}"
REFUSED = {
    "a file": (["file"], 8, "file is a file, not a folder"),
    "below a file": (["file/x"], 8, "file is a file, not a folder"),
    "a project": (["adopted"], 8, "dagmar is in {tmp_path}/adopted already\n  For a newer version"),
    "no question": (
        ["x", "--data", "exmple=no"],
        7,
        "no question 'exmple' — did you mean 'example'",
    ),
    "another template": (["other"], 7, "was made from another template"),
    "no terminal": (
        ["x"],
        2,
        "To take the default answers, and those of --data: dagmar init x --de",
    ),
    "no tag": (["x", "--from", "untagged"], 3, f"/untagged has no version {VERSION}"),
    "no git": (
        ["x", "--from", "file"],
        3,
        "/file cannot be reached: fatal: ",
    ),
    "not read": (["x", "--from", "file:///x/y"], 3, "file:///x/y cannot be reached: "),
    "read-only": (["/proc/x"], 3, "/proc/x cannot be read or written: "),
}


@pytest.fixture
def tiny(tmp_path: Path) -> Template:
    """Two files and no hooks, with a tag of the package's version."""
    answers = "{{ dict(_copier_answers, **installed) | to_nice_yaml }}"
    files = {f"tiny/{name}": name for name in ("dagmar.yaml", "src/a.py")}
    files |= {"tiny/copier.yml": "adopt: false\n_exclude: [.git, copier.yml]\n"}
    write(tmp_path, {**files, "tiny/{{ _copier_conf.answers_file }}.jinja": answers})
    git(tmp_path / "tiny", "init", "-q")
    template = Template(tmp_path / "tiny")
    template.release(VERSION)
    return template


@pytest.fixture
def init(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str]]:
    """Call `dagmar init`, and return its status and what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def call(*arguments: str, defaults: bool = True) -> tuple[int, str]:
        monkeypatch.setattr(
            sys, "argv", ["dagmar", "init", *arguments, *["--defaults"][: int(defaults)]]
        )
        status: object = 0
        try:
            dagmar.__main__.main()
        except SystemExit as end:
            status = end.code
        assert isinstance(status, int)
        return status, capfd.readouterr().err

    return call


def test_init_refuses_before_it_writes_anything(
    init: Callable[..., tuple[int, str]],
    questions: Template,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(creating, "TEMPLATE", questions.path)
    files = {
        "file": "",
        "adopted/.copier-answers.yml": "",
        "adopted/dagmar.yaml": "",
        "other/.copier-answers.yml": "_src_path: gh:another/template\n",
        "untagged/file": "",
    }
    write(tmp_path, files)
    for name in ("adopted", "untagged"):
        git(tmp_path / name, "init", "-q")
        commit(tmp_path / name)
    before = tree(tmp_path)
    for arguments, status, says in REFUSED.values():
        done, said = init(*arguments, defaults="To take" not in says)
        assert done == status, said
        assert says.format(tmp_path=tmp_path) in said
        assert len(said.splitlines()) <= 3
    assert tree(tmp_path) == before


def test_init_makes_a_project_and_says_little(
    init: Callable[..., tuple[int, str]],
    small: Template,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(creating, "TEMPLATE", small.path)
    template = shutil.copytree(small.path, tmp_path / "template")
    git(template, "tag", VERSION)
    status, said = init("made", "--from", "template")
    lines = said.splitlines()
    assert (status, lines[0]) == (0, f"Writing into {tmp_path}/made")
    assert "made is ready. Next:" in lines
    assert len(lines) < 12
    answers = (tmp_path / "made/.copier-answers.yml").read_text("utf-8")
    assert f"_commit: {VERSION}\n_src_path: {template}\n" in answers
    assert git(tmp_path / "made", "status", "--porcelain") == ""
    assert init("made")[0] == 8


def test_an_address_that_cannot_be_reached_is_said_by_init_and_by_update(
    init: Callable[..., tuple[int, str]],
    tiny: Template,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    nobody: str,
) -> None:
    monkeypatch.setattr(creating, "TEMPLATE", tiny.path)
    address = nobody.replace("//", "//me:secret@")
    monkeypatch.setattr(creating, "_published", lambda _: address)
    status, said = init("etl")
    assert status == 0
    warning = said.partition("warning: ")[2]
    assert warning.startswith(
        f"the template at {address.replace('me:secret@', '')} cannot be reach"
    )
    assert "invoke update --from URL" in warning
    with pytest.raises(SetupError) as refused:
        open_template(tmp_path / "etl")
    assert refused.value.command == "invoke update --from URL"
    assert "secret" not in said + refused.value.message


@pytest.mark.parametrize(
    "new", [True, pytest.param(False, marks=pytest.mark.nightly)], ids=["new", "existing"]
)
def test_an_interrupted_init_leaves_no_half_of_a_project_and_goes_on_in_a_repository(
    init: Callable[..., tuple[int, str]],
    tiny: Template,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    new: bool,
) -> None:
    monkeypatch.setattr(creating, "TEMPLATE", tiny.path)
    theirs = {} if new else {"etl/definitions.py": "# Definitions\n", "etl/pyproject.toml": ""}
    write(tmp_path, theirs)
    written = 0

    def interrupted(self: Path, content: bytes, write: Any = Path.write_bytes) -> int:
        nonlocal written
        written += 1
        if written == 2:
            raise KeyboardInterrupt
        return int(write(self, content))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", interrupted)
        status, said = init("etl", "--from", str(tiny.path))
    assert (status, (tmp_path / "etl").exists()) == (130, not new)
    assert ("nothing was created" if new else "type the same command again") in said
    assert init("etl", "--from", str(tiny.path))[0] == 0
    assert {"dagmar.yaml", "src/a.py"} <= {*tree(tmp_path / "etl")}
    assert all((tmp_path / name).read_text() == text for name, text in theirs.items())


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a uv whose index on loopback has this checkout's package."""
    tmp = tmp_path_factory.mktemp("index")
    build = ["uv", "build", "--quiet", "--out-dir", str(tmp / "index/dagmar"), str(ROOT / RUNNER)]
    subprocess.run(build, check=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp / "index")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environ |= {"UV_INDEX": f"http://127.0.0.1:{server.server_port}/"}
    environ |= {"UV_TOOL_DIR": str(tmp / "tools"), "UV_TOOL_BIN_DIR": str(tmp)}
    yield environ
    server.shutdown()
    server.server_close()


# The extra is installed on the way: `uvx dagmar` has none.
INIT = ["uvx", "--refresh-package", "dagmar", "dagmar", "init", "made", "--defaults"]


def test_files_that_come_while_questions_are_asked_stay(
    init: Callable[..., tuple[int, str]], tiny: Template, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def answered(*_: object, **__: object) -> None:
        write(tmp_path, {"etl/theirs.py": ""})
        raise KeyboardInterrupt

    monkeypatch.setattr(creating, "TEMPLATE", tiny.path)
    monkeypatch.setattr("copier.run_copy", answered)
    status, said = init("etl", "--from", str(tiny.path))
    assert (status, "nothing was created" in said) == (130, True)
    assert (tmp_path / "etl/theirs.py").is_file()


def test_a_folder_that_cannot_be_read_is_an_error_and_no_traceback(
    init: Callable[..., tuple[int, str]], tiny: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/secret/etl")

    monkeypatch.setattr(creating, "TEMPLATE", tiny.path)
    monkeypatch.setattr(creating, "_check", refused)
    status, said = init("/secret/etl")
    assert (status, "/secret/etl cannot be read or written: Permission" in said) == (3, True)


@pytest.mark.nightly
def test_the_package_makes_a_project_and_has_its_tasks(
    released: Template, index: dict[str, str], tmp_path: Path
) -> None:
    place = str(tmp_path / "template")
    git(shutil.copytree(released.path, place), "tag", VERSION)
    subprocess.run([*INIT, "--from", place], cwd=tmp_path, env=index, check=True)
    answers = (tmp_path / "made/.copier-answers.yml").read_text("utf-8")
    assert f"_commit: {VERSION}\n_src_path: {place}\n" in answers
    assert git(tmp_path / "made", "status", "--porcelain") == ""
    with serve(dagster(ANSWERS)) as server:
        command = ["uvx", "--from", "dagmar[cli]", "dagmar", "discover", "--kind", "assets"]
        done = subprocess.run(
            [*command, "--url", server.url],
            cwd=tmp_path / "made",
            env=index,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert "raw/orders" in done.stdout


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_a_project_of_the_package_works_and_moves_to_a_copy_and_back(
    released: Template, index: dict[str, str], nobody: str, tmp_path: Path
) -> None:
    template = Template(shutil.copytree(released.path, tmp_path / "template"))
    git(template.path, "tag", VERSION)
    flags = ("--from", str(template.path), "--data", "runner=package")
    subprocess.run([*INIT, *flags], cwd=tmp_path, env=index, check=True)
    project = Project(tmp_path / "made", template)

    def call(*command: str, status: int = 0) -> str:
        done = subprocess.run(command, cwd=project.path, env=index, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    where = ("uv", "run", "python", "-c", "import dagmar; print(dagmar.__file__)")
    invoke = ("uv", "run", "invoke")
    call("uv", "sync", "--refresh-package", "dagmar")
    write(project.path, {"dagmar.yaml": f"targets: {{local: {{url: '{nobody}'}}}}\n"})
    project.commit()
    with serve(dagster(ANSWERS)) as server:
        assert "raw/orders" in call(*invoke, "discover", "--url", server.url)
    call(*invoke, "scaffold", "--asset", "raw/flights")
    call(*invoke, "check")
    assert f"the package dagmar {dagmar.__version__}" in call(*invoke, "doctor", "--only=runner")
    assert "site-packages" in call(*where)
    project.commit()
    assert "type: uv sync\n" in call(*invoke, "update", "--runner", "copy")
    assert f"{COPIED}/src/dagmar/__init__.py" in call(*where)
    project.commit()
    module = f"{COPIED}/src/dagmar/errors.py"
    project.replace(module, "exit_code = 9", "exit_code = 19")
    project.commit()
    assert f"  {module}\n" in call(*invoke, "update", "--runner", "package", status=8)
    assert project.status() == []
    git(project.path, "reset", "-q", "--hard", "HEAD~1")
    said = call(*invoke, "update", "--runner", "package")  # of the copy, which it removes
    assert ("was removed" in said, "Merged." in said) == (True, True)
    assert not (project.path / ".dagmar/.eggs").exists()
    assert "site-packages" in call(*where)
    call(*invoke, "doctor", "--only=runner")
