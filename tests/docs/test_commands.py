"""The commands of the README and the tutorial, executed as they are written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from support.processes import die_with_tests
from support.template_releases import NOTEBOOK_FILE

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs/tutorial.md"
START, REPORTS, PIP = "Start a project", "Reports", "With plain pip"
ADOPT, UPDATE = "Add it to an existing Dagster repository", "Update"
EXECUTED_HERE = {START, REPORTS, PIP, ADOPT, UPDATE}
EXECUTED_BY_CI = {"uv run invoke demo", "uv run pytest"}
NOT_EXECUTED = {"pip install uv": "uv is what runs these tests"}
NEWER = (
    'echo "# upstream" >> template/project/.gitignore && '
    f"sed -i \"s/marimo.App(/marimo.App(app_title='newer', /\" {NOTEBOOK_FILE} && "
    "git commit -q -a -m y"
)
"""What the template's authors commit."""
BLOCK = re.compile(r"^```(?:bash|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.xdist_group("docs")
needs_uv = pytest.mark.skipif(not shutil.which("uv"), reason="there is no uv")


def sections(page: Path) -> dict[str, list[str]]:
    """Return the blocks of commands under each heading that has some."""
    parts = re.split(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)[1:]
    found = {title: BLOCK.findall(text) for title, text in zip(parts[::2], parts[1::2])}  # noqa: B905
    return {title: blocks for title, blocks in found.items() if blocks}


@dataclass
class Terminal:
    """A shell in a folder, where blocks of a page are typed one after the other."""

    folder: Path
    environ: dict[str, str]
    words: dict[str, str] = field(default_factory=dict)
    """What a page says → what it is here."""

    def type(self, block: str) -> subprocess.CompletedProcess[str]:
        """Type a block; the next one starts in the folder where this one ends."""
        # Nobody is there to answer questions.
        text = re.sub(r"copier (copy|update)(?!.* --defaults)", r"copier \1 --defaults", block)
        for said, meant in self.words.items():
            text = text.replace(said, meant)
        where = self.folder / ".where"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f'{text}\npwd > "$WHERE"'],
            cwd=self.folder,
            env={**self.environ, "WHERE": str(where)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        self.folder = Path(where.read_text("utf-8").strip())
        where.unlink()
        return done


@contextlib.contextmanager
def running(terminal: Terminal, block: str, log: Path) -> Iterator[str]:
    """Keep `invoke dev` running, on its own ports; yield the address of its Dagster."""
    with socket.socket() as probe, socket.socket() as another:
        probe.bind(("127.0.0.1", 0))
        another.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        ports = f"--dagster-port {port} --marimo-port {another.getsockname()[1]}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", f"{block.strip()} --no-open {ports}"],
            cwd=terminal.folder,
            env=terminal.environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_tests,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process, log)
        yield url
    finally:
        stop(process)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/server_info", timeout=5)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until Dagster answers."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/server_info", timeout=5).ok:
                return
        time.sleep(0.2)
    pytest.fail(f"Dagster is not ready:\n{log.read_text('utf-8', 'replace')[-3000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Press Ctrl-C; what does not listen is killed, and the test fails."""
    for number, seconds in ((signal.SIGINT, 30), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                assert number == signal.SIGINT, "Dagster did not stop at Ctrl-C"
                return
            time.sleep(0.1)
    pytest.fail("Dagster cannot be stopped")


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who has uv and git, and nothing of this repository's."""
    mine = ("VIRTUAL_ENV", "UV_PROJECT", "PYTHONPATH", "PYTEST_", "DAGMAR_", "DAGSTER_", "GIT_")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(mine)}
    settings = tmp_path_factory.mktemp("settings")
    (settings / "copier.yml").write_text("{}\n")
    kept |= {
        "COPIER_SETTINGS_PATH": str(settings / "copier.yml"),
        "XDG_CONFIG_HOME": str(settings),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }
    for role in ("AUTHOR", "COMMITTER"):
        kept |= {f"GIT_{role}_NAME": "Tester", f"GIT_{role}_EMAIL": "tester@example.com"}
    path = [part for part in kept["PATH"].split(os.pathsep) if not part.startswith(str(ROOT))]
    return {**kept, "PATH": os.pathsep.join(path)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Path:
    """A clone of this repository as the working tree stands, everything committed."""
    path = tmp_path_factory.mktemp("clone") / "dagmar"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():  # deleted, and not committed yet
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    Terminal(path, environ).type("git init -q -b main && git add -A && git commit -q -m x")
    return path


@pytest.fixture(scope="module")
def project(clone: Path, environ: dict[str, str]) -> Path:
    """The project that the README starts."""
    terminal = Terminal(clone, environ)
    terminal.type(sections(README)[START][0])
    return terminal.folder


@pytest.fixture(scope="module")
def dagster(
    project: Path, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Its Dagster, started as the README says."""
    log = tmp_path_factory.mktemp("log") / "dagster.log"
    with running(Terminal(project, environ), sections(README)[START][1], log) as url:
        yield url


@pytest.fixture
def second(project: Path, environ: dict[str, str], dagster: str) -> Terminal:
    """A second terminal in the project."""
    return Terminal(project, environ)


def test_every_command_of_the_readme_is_executed_or_has_a_reason() -> None:
    commands = [
        line
        for title, blocks in sections(README).items()
        if title not in EXECUTED_HERE
        for block in blocks
        for line in block.splitlines()
    ]
    assert sorted(commands) == sorted(EXECUTED_BY_CI | NOT_EXECUTED.keys())
    ci = (ROOT / ".ci/run").read_text("utf-8")
    assert [command for command in EXECUTED_BY_CI if command not in ci] == []
    assert ".ci/run" in (ROOT / ".github/workflows/ci.yml").read_text("utf-8")


@needs_uv
def test_the_readme_gives_the_reason_that_copier_gives(
    clone: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    command = ["uvx", "copier", "copy", "--defaults", str(clone), str(tmp_path / "x")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 4
    (said,) = re.findall(r"refuses with `([^`]+)`", README.read_text("utf-8"))
    assert said in done.stderr


@needs_uv
def test_the_readme_starts_a_project_and_launches_a_run(second: Terminal) -> None:
    found, launched = (
        second.type(line) for line in sections(README)[START][2].strip().splitlines()
    )
    for asset in ("raw/flights", "clean/flights", "daily_delays"):
        assert re.search(rf"^ {asset} .* never( |$)", found.stdout, re.MULTILINE)
    assert launched.stdout.startswith("SUCCESS")
    assert "Launched raw/flights: http://" in launched.stderr
    after = second.type("uv run invoke discover --kind assets --match raw/flights").stdout
    assert "never" not in after
    assert (second.folder / "storage/raw/flights.parquet").is_file()
    assert second.type("git log --format=%s").stdout == "chore: start from the dagmar template\n"


@needs_uv
def test_the_readme_makes_a_report_and_links_it(second: Terminal) -> None:
    second.type("uv run invoke run --asset raw/flights --asset clean/flights")
    (block,) = sections(README)[REPORTS]
    done = second.type(block)
    assert "Attached to clean/flights" in done.stderr
    page = requests.get(done.stdout.strip(), timeout=240)
    assert page.ok
    assert "clean_flights" in page.text


@needs_uv
def test_the_tree_in_the_readme_is_the_projects(project: Path) -> None:
    (tree,) = re.findall(r"^my-project/\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)
    names = re.findall(r"^[├└]── (\S+)", tree, re.MULTILINE)
    assert len(names) == len(tree.splitlines())
    assert [name for name in names if not (project / name).exists()] == []
    hidden = {".copier-answers.yml", ".github", ".gitignore", ".pre-commit-config.yaml"}
    hidden |= {".git", ".venv"}
    made_by_work = {"README.md", "uv.lock", "storage"}
    shown = {name.split("/")[0] for name in names}
    assert {path.name for path in project.iterdir()} <= shown | hidden | made_by_work


@needs_uv
def test_the_examples_of_json_are_real(second: Terminal) -> None:
    page = (ROOT / "docs/reference/json.md").read_text("utf-8")
    documents = map(json.loads, re.findall(r"```json\n(.*?)```", page, re.DOTALL))
    discovered, ran = next(documents), next(documents)
    found = json.loads(second.type("uv run invoke discover --json").stdout)
    assert list(found) == list(discovered)
    for kind, examples in discovered.items():
        assert [example for example in examples if example not in found[kind]] == []
    done = json.loads(second.type("uv run invoke run --asset raw/flights --json").stdout)
    assert shape(done) == shape(ran)
    (run,) = done["runs"]
    assert run["status"] == ran["runs"][0]["status"]


@needs_uv
@pytest.mark.nightly
def test_the_example_of_a_backfill_is_real(second: Terminal) -> None:
    page = (ROOT / "docs/reference/json.md").read_text("utf-8")
    filled = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[2])
    second.type("uv run invoke run --asset clean/flights")
    days = "--partition 2013-01-01 --partition 2013-01-02"
    done = json.loads(second.type(f"uv run invoke run --asset daily_delays {days} --json").stdout)
    assert shape(done["backfill"]) == shape(filled["backfill"])
    assert done["backfill"]["status"] == filled["backfill"]["status"]
    assert [run["partition"] for run in done["runs"]] == ["2013-01-01", "2013-01-02"]


def shape(value: Any) -> Any:
    """Return keys and types, without values."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


@needs_uv
def test_the_readme_adds_dagmar_to_a_repository(
    clone: Path, environ: dict[str, str], dagster: str, tmp_path: Path
) -> None:
    legacy = tmp_path / "legacy"
    (legacy / "legacy").mkdir(parents=True)
    (legacy / "legacy/definitions.py").write_text(
        "import dagster as dg\n\ndefs = dg.Definitions()\n"
    )
    (legacy / "pyproject.toml").write_text(
        '[project]\nname = "legacy"\nversion = "1"\nrequires-python = ">=3.10"\n'
        'dependencies = ["dagster>=1.10"]\n'
    )
    terminal = Terminal(legacy, environ, {"/path/to/dagmar": str(clone)})
    (legacy / ".gitignore").write_text(".venv/\n.where\n")
    terminal.type("git init -q && git add -A && git commit -q -m theirs")
    for block in sections(README)[ADOPT]:
        terminal.type(block)
    assert terminal.type("git status --porcelain").stdout == ""
    changed = terminal.type("git diff --name-only --diff-filter=MD HEAD~1").stdout.split()
    assert changed == ["pyproject.toml"]
    found = terminal.type(f"uv run invoke discover --url {dagster}")
    assert "raw/flights" in found.stdout
    ran = terminal.type(f"uv run invoke run --asset raw/flights --url {dagster}")
    assert ran.stdout.startswith("SUCCESS")
    assert f"{dagster}/runs/" in ran.stdout


@needs_uv
@pytest.mark.nightly
def test_the_readme_installs_with_plain_pip(
    clone: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    upstream = Terminal(shutil.copytree(clone, tmp_path / "dagmar", symlinks=True), environ)
    upstream.type(sections(README)[START][0].partition("\n")[0])
    terminal = Terminal(tmp_path / "my-project", environ)
    for block in sections(README)[PIP]:
        terminal.type(block)
    assert "discover" in terminal.type(".venv/bin/invoke --list").stdout
    terminal.type(".venv/bin/dg check defs && .venv/bin/pytest -q")


@needs_uv
def test_the_pages_name_notebooks_that_are_there_and_what_a_pair_has(project: Path) -> None:
    import dagmar

    made = {f"notebooks/{file.name}" for file in (project / "notebooks").glob("*.py")}
    assert len(made) == 5
    for page in (README, TUTORIAL):
        text = page.read_text("utf-8")
        assert "--asset raw/flights" in text  # scaffolds the one that is not there yet
        named = set(re.findall(r"notebooks/\w+\.py", text))
        assert named <= made | {"notebooks/raw_flights.py"}
        assert named & made
        called = set(re.findall(r"pair\.(\w+)\(", text))
        assert called
        assert [name for name in called if not hasattr(dagmar.Pair, name)] == []


@needs_uv
@pytest.mark.nightly
def test_the_tutorial_works_from_the_first_line_to_the_last(
    clone: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (make,), (start,), *rest = sections(TUTORIAL).values()
    terminal = Terminal(tmp_path, environ, {"/path/to/dagmar": str(clone)})
    terminal.type(make)
    with running(terminal, start, tmp_path / "dagster.log"):
        done = [terminal.type(line) for blocks in rest for block in blocks
                for line in block.strip().splitlines()]  # fmt: skip
    said = "".join(one.stdout for one in done)
    assert said.count("SUCCESS  ") == 7
    assert "status 4" in said
    assert "status 7" in said
    assert "Materialize at least one day of daily_delays first." in "".join(
        one.stderr for one in done
    )
    assert (terminal.folder / "src/flights/defs/orders.py").is_file()
    assert (terminal.folder / "notebooks/raw_flights.py").is_file()
    assert "Checked 6 notebooks." in "".join(one.stderr for one in done)
    assert "raw_flights.py  (asset raw/flights, default)" in said


@needs_uv
def test_the_readme_updates_a_project(clone: Path, environ: dict[str, str], project: Path) -> None:
    """The last test of the project that the others use: it gets an update."""
    upstream = Terminal(clone, environ)
    upstream.type(NEWER)
    try:
        (project / "mine.txt").write_text("mine\n")
        Terminal(project, environ).type(sections(README)[UPDATE][0])
    finally:
        upstream.type("git reset -q --hard HEAD~1")
    assert_updated(project)


@needs_uv
@pytest.mark.nightly
def test_copier_alone_updates_a_project_and_names_the_command_for_its_notebooks(
    clone: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    upstream = Terminal(shutil.copytree(clone, tmp_path / "dagmar", symlinks=True), environ)
    terminal = Terminal(upstream.folder, environ)
    terminal.type(sections(README)[START][0])
    upstream.type(NEWER)
    (terminal.folder / "mine.txt").write_text("mine\n")
    commit, *update = sections(README)[UPDATE][0].splitlines(keepends=True)
    terminal.type(commit)
    (alone,) = re.findall(r"`(uvx copier update[^`]*)`", README.read_text("utf-8"))
    done = terminal.type(alone)
    assert "uv run invoke update " in done.stdout + done.stderr
    terminal.type("git add -A && git commit -q -m update")
    terminal.type("".join(update))
    assert_updated(terminal.folder)


def assert_updated(project: Path) -> None:
    for notebook in (project / "notebooks").glob("*.py"):
        assert "app_title='newer'" in notebook.read_text("utf-8")
    assert (project / ".gitignore").read_text("utf-8").endswith("# upstream\n")
    assert (project / "mine.txt").read_text("utf-8") == "mine\n"
    assert (project / ".venv").is_dir()
