"""The commands of the README and the tutorial, executed as they are written."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.pages import IN_A_NOTEBOOK, PAGES, blocks
from support.pages import session as pages_session
from support.template_releases import NOTEBOOK_FILE
from support.terminal import Terminal, running, sections

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

RUNNER_IN_PROJECT = ".dagmar/.eggs/dagmar"
SAMPLE = {"add-a-task"}
"""Pages whose commands CI types; the nightly profile types all."""
EXPECTED = {
    "add-a-task": ("refresh", "SUCCESS  "),
    "write-a-notebook-template": ("counted.py", "Checked 1 notebook"),
    "parametrize-a-notebook": ("clean_flights.html", "daily_delays.html"),
    "publish-reports": ("s3://team/reports/clean_flights/",),
    "make-reports": ("Attached to clean/flights",),
    "make-notebooks": ("group_delays.py", "Checked "),
}
"""What the commands of a page print, among other things."""

pytestmark = pytest.mark.xdist_group("docs")
needs_uv = pytest.mark.skipif(not shutil.which("uv"), reason="there is no uv")


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
    assert "Launched raw/flights, clean/flights: http://" in launched.stderr
    after = second.type("uv run invoke discover --kind assets --match raw/flights").stdout
    assert "never" not in after
    assert (second.folder / "storage/raw/flights.parquet").is_file()
    assert second.type("git log --format=%s").stdout == "chore: start from the dagmar template\n"


@needs_uv
def test_the_readme_makes_a_report_and_links_it(second: Terminal) -> None:
    second.type(sections(README)[START][2])
    (block,) = sections(README)[REPORTS]
    done = second.type(block)
    assert "Attached to clean/flights" in done.stderr
    page = requests.get(done.stdout.strip(), timeout=240)
    assert page.ok
    assert "clean_flights" in page.text


@needs_uv
def test_the_commands_for_agents_print_one_document_each(second: Terminal) -> None:
    page = second.folder / "AGENTS.md"
    ((block,),) = sections(page).values()
    commands = block.strip().splitlines()
    named = [command.split()[3] for command in commands]
    assert named == ["discover", "run", "scaffold", "check", "export", "doctor"]
    for command in commands:
        assert isinstance(json.loads(second.type(command).stdout), dict), command
    statuses = re.findall(r"^\| (\d+) \|", page.read_text("utf-8"), re.MULTILINE)
    assert {int(status) for status in statuses} == {0, *range(2, 10)}
    # The others change nothing on the server.
    (launch,) = [command for command in commands if " run --asset" in command]
    read_only = {**second.environ, "DAGMAR_TARGETS__LOCAL__READ_ONLY": "true"}
    refused = subprocess.run(
        ["bash", "-c", launch], cwd=second.folder, env=read_only, capture_output=True, text=True
    )
    assert refused.returncode == 6, refused.stderr
    second.type("rm notebooks/raw_flights.py .dagmar/notebooks/raw_flights.yml")


def test_the_commands_for_agents_of_this_repository_are_those_of_ci() -> None:
    ((block,),) = sections(ROOT / "AGENTS.md").values()
    executed = (ROOT / ".ci/run").read_text("utf-8") + "uv run python docs/generate.py --check"
    assert [command for command in block.splitlines() if command not in executed] == []
    named = re.findall(r"`([\w./-]+/[\w./-]*)`", (ROOT / "AGENTS.md").read_text("utf-8"))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


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


def session_of(*kinds: str) -> list[Any]:
    """Return the pages that are executed in one of these; CI takes a sample."""
    pages = [page for page in PAGES if pages_session(page) in kinds]
    return [
        pytest.param(page, id=page.stem, marks=() if page.stem in SAMPLE else pytest.mark.nightly)
        for page in pages
    ]


def type_page(page: Path, terminal: Terminal) -> str:
    """Write the files of a page and type its commands, from the top; return what they printed."""
    said = []
    for block in blocks(page):
        if name := block.says("file"):
            name, _, end = name.partition(",")
            file = terminal.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            before = file.read_text("utf-8") + "\n\n" if end else ""
            file.write_text(before + block.text)
        elif name := block.says("cell"):
            replace_cell(terminal.folder / name, block.text)
        elif block.language == "bash" and not block.says("not executed"):
            done = terminal.type(block.text)
            said += [done.stdout, done.stderr]
    return "".join(said)


def replace_cell(notebook: Path, code: str) -> None:
    """Put the function of a cell in the place of the one with its name."""
    (name,) = re.findall(r"^def \w+\(", code, re.MULTILINE)
    text = notebook.read_text("utf-8")
    cell = rf"^@app\.cell\n{re.escape(name)}.*?(?=^@app\.|^if __name__)"
    changed, count = re.subn(cell, lambda _: f"{code}\n\n", text, flags=re.MULTILINE | re.DOTALL)
    assert count == 1
    notebook.write_text(changed)


@pytest.fixture
def clean(second: Terminal) -> Iterator[Terminal]:
    """A second terminal, in a project that is afterwards as it was before."""
    # The lock is not committed yet, as after the README's first commands.
    keep = "cp uv.lock .git/uv.lock.before && git rev-parse HEAD"
    where = second.type(keep).stdout.strip()
    yield Terminal(second.folder, second.environ, dict(second.words))
    second.type(f"git reset -q --hard {where} && git clean -q -fd")
    second.type("mv .git/uv.lock.before uv.lock")


@needs_uv
@pytest.mark.parametrize("page", session_of("the project", "the project, with a bucket"))
def test_the_commands_of_a_page_work_in_a_project(
    page: Path, clean: Terminal, dagster: str, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        if "bucket" in pages_session(page):
            clean.environ = {**clean.environ, **stack.enter_context(bucket("team"))}
        clean.environ = {
            **clean.environ,
            "BROWSER": "true",
            "DAGMAR_TARGETS__PROD__URL": dagster,
            "DAGMAR_TARGETS__PLUS__URL": dagster,
        }
        clean.words |= {
            # The page's own settings are in the environment.
            "export DAGMAR_TARGETS__PROD__URL=https://dagster.example.com": "true",
            "clean --exports --older-than 30": "clean --exports --older-than 30 --yes",
            # A rule may be broken: another page's run failed.
            "--fail-if 'success < 95%'": "--fail-if 'success < 95%' || test $? = 4",
        }
        text = page.read_text("utf-8")
        if "RUN_ID" in text:
            clean.words["RUN_ID"] = failed_run(clean)
        if "20260115T060000Z-1a2b3c4d" in text:
            clean.words["20260115T060000Z-1a2b3c4d"] = export_id(clean)
        said = type_page(page, clean)
    assert "Traceback" not in said
    for expected in EXPECTED.get(page.stem, ()):
        assert expected in said


@needs_uv
@pytest.mark.parametrize(
    ("page", "asset"),
    [
        pytest.param(
            page,
            asset,
            id=Path(page).stem,
            marks=() if page == "README.md" else pytest.mark.nightly,
        )
        for page, asset in IN_A_NOTEBOOK.items()
    ],
)
def test_the_python_of_a_page_runs_in_a_notebook(page: str, asset: str, clean: Terminal) -> None:
    """Each statement is a cell, as the pages have them; a name that comes again replaces the first.

    Nobody clicks a button there: what a click does, tests/browser shows.
    """
    code = f"import dagmar\nimport polars as pl\npair = dagmar.Pair(asset={asset!r})\n"
    code += "".join(b.text for b in blocks(ROOT / page) if b.language == "python")
    partitioned = "partition=partition_key" in code
    loaded = {
        "orders": "daily_delays" if partitioned else "raw/flights",
        "customers": "raw/flights",
    }
    for word, asset in loaded.items():
        code = code.replace(f'pair.load("{word}"', f'pair.load("{asset}"')
    cells: dict[str, str] = {}
    for statement in ast.parse(code).body:
        text = ast.unparse(statement)
        # `x = …` and a cell that only shows `x` are two.
        cells[text.partition(" = ")[0] + " =" * isinstance(statement, ast.Assign)] = text
    text = "import marimo\n\napp = marimo.App()\n\n"
    text += "".join(f"@app.cell\ndef _():\n    {cell}\n    return\n\n" for cell in cells.values())
    text += 'if __name__ == "__main__":\n    app.run()\n'
    (clean.folder / "notebooks/of_a_page.py").write_text(text, "utf-8")
    clean.type("test -e storage/raw/flights || uv run invoke run --asset raw/flights")
    if partitioned:
        clean.type("uv run invoke run --asset clean/flights")
        clean.type("uv run invoke run --asset daily_delays --latest")
    done = clean.type("uv run python notebooks/of_a_page.py")
    assert "Traceback" not in done.stdout + done.stderr


def failed_run(terminal: Terminal) -> str:
    """Launch a run that fails, and return its id."""
    command = "uv run invoke run --asset on_time_rate --json || test $? = 4"
    terminal.type("rm -rf storage/daily_delays")
    run = json.loads(terminal.type(command).stdout)["runs"][0]
    assert run["status"] == "FAILURE"
    return str(run["run_id"])


def export_id(terminal: Terminal) -> str:
    """Export a notebook, and return the report's id."""
    terminal.type("uv run invoke run --asset raw/flights --asset clean/flights")
    command = "uv run invoke export --notebook notebooks/clean_flights.py --json"
    return str(json.loads(terminal.type(command).stdout)["exports"][0]["id"])


@contextlib.contextmanager
def bucket(name: str) -> Iterator[dict[str, str]]:
    """Serve an S3 with one bucket; yield the variables that lead to it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret"}
    environ = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    client = boto3.client(
        "s3",
        endpoint_url=environ["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket=name)
    try:
        yield keys | environ
        found = [each["Key"] for each in client.list_objects_v2(Bucket=name)["Contents"]]
        assert any(key.endswith(".html") for key in found)
    finally:
        server.stop()


@needs_uv
@pytest.mark.nightly
@pytest.mark.parametrize("page", session_of("a copy of the project", "a folder"))
def test_the_commands_of_a_page_work_without_a_server(
    page: Path, clone: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    terminal = Terminal(tmp_path, environ, {"/path/to/dagmar": str(clone)})
    if pages_session(page) == "a copy of the project":
        terminal.type(f"uvx copier copy -q --trust --defaults {clone} my-project")
        terminal.type("cd my-project && uv sync -q && git add -A && git commit -q -m lock")
    terminal.words["uv run invoke leave\n"] = "uv run invoke leave --yes\n"
    said = type_page(page, terminal)
    assert "Traceback" not in said
    if page.stem == "leave":
        assert not (terminal.folder / "tasks.py").exists()
        assert not (terminal.folder / ".dagmar").exists()
        assert "dagmar" not in (terminal.folder / "pyproject.toml").read_text("utf-8")
    else:
        assert (terminal.folder / ".dagmar/.eggs/dagmar").is_dir()
        assert terminal.type("git status --porcelain").stdout == ""


@needs_uv
@pytest.mark.nightly
def test_somebody_updates_a_project_and_resolves_a_conflict(
    clone: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    """The page update-a-project.md, from an update that conflicts to the commit."""
    upstream = Terminal(shutil.copytree(clone, tmp_path / "dagmar", symlinks=True), environ)
    terminal = Terminal(tmp_path, environ)
    terminal.type(f"uvx copier copy -q --trust --defaults {upstream.folder} my-project")
    terminal.type("cd my-project && uv sync -q")
    readme = f"{RUNNER_IN_PROJECT}/README.md"
    terminal.type(f"sed -i '1s/.*/# mine/' {readme} && git add -A && git commit -q -m mine")
    upstream.type(f"sed -i '1s/.*/# theirs/' template/project/{readme} && git commit -qam theirs")
    page = ROOT / "docs/how-to/update-a-project.md"
    update, _, _, listed, resolved = (b.text for b in blocks(page) if b.language == "bash")
    terminal.words["uv run invoke update\n"] = "uv run invoke update || test $? = 8\n"
    assert "<<<<<<< before updating" not in (terminal.folder / readme).read_text("utf-8")
    terminal.type(update)
    text = (terminal.folder / readme).read_text("utf-8")
    assert "<<<<<<< before updating\n# mine\n=======\n# theirs\n>>>>>>> after updating" in text
    assert terminal.type(listed).stdout == f"{readme}\n"
    terminal.type(resolved)
    assert (terminal.folder / readme).read_text("utf-8").startswith("# mine\n")
    assert terminal.type("git status --porcelain").stdout == ""


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
