"""The command line, as users call it: real processes against a real (small) server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.catalog_answers import ANSWERS, asset, by_repository
from support.http_server import Server, closed_port, dagster, data, serve
from support.project import Project, make_project

TASKS_OF_A_PROJECT = Path(__file__).parents[3] / "template/project/tasks.py"
HEAVY = ("copier", "dagster", "marimo", "pydantic", "requests", "rich")

NOTEBOOK = """\
import marimo

__generated_with = "0.25.0"
app = marimo.App()


@app.cell
def _():
    import dagmar

    pair = dagmar.Pair(asset="orders")
    return


if __name__ == "__main__":
    app.run()
"""
DRIVER = """
import sys
from invoke.main import program
sys.argv[0] = "invoke"
try:
    program.run(exit=False)
finally:
    loaded = {name.partition(".")[0] for name in sys.modules}
    print(*sorted(loaded), file=sys.stderr)
"""


@pytest.fixture
def nobody() -> Iterator[str]:
    """The address of a port that nobody listens on."""
    holder, url = closed_port()
    with holder:
        yield url


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(dagster(ANSWERS)) as server:
        yield server


def test_the_list_shows_every_task_with_a_line_of_help(project: Project) -> None:
    done = project.invoke("--list", "--list-format", "json")
    assert done.returncode == 0
    tasks = {task["name"]: task["help"] for task in json.loads(done.stdout)["tasks"]}
    assert {"discover", "run"} <= set(tasks)
    for name, line in tasks.items():
        assert line, name
        assert line.endswith("."), name


@pytest.mark.parametrize("arguments", [["--list"], ["dev", "--once"]])
def test_the_invoke_of_another_environment_says_what_to_type(
    arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "tasks.py").write_text(TASKS_OF_A_PROJECT.read_text("utf-8"), "utf-8")
    driver = (
        "import sys\nsys.modules['dagmar'] = None\nfrom invoke.main import program\nprogram.run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", driver, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert "Type: uv run invoke …" in line


@pytest.mark.parametrize("arguments", [["--list"], ["run", "--help"], ["--version"]])
def test_what_runs_no_task_loads_nothing_heavy(arguments: list[str], project: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *arguments],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    loaded = done.stderr.splitlines()[-1].split()
    assert "invoke" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_dagmar_itself_loads_neither_dagster_nor_marimo() -> None:
    code = "import dagmar, sys; dir(dagmar); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "dagmar" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_every_tasks_help_shows_an_example_and_explains_every_flag(project: Project) -> None:
    listed = json.loads(project.invoke("--list", "--list-format", "json").stdout)
    for name in (task["name"] for task in listed["tasks"]):
        shown = project.invoke(name, "--help")
        assert shown.returncode == 0
        assert f"    invoke {name}" in shown.stdout
        flags = shown.stdout.partition("Options:")[2].splitlines()
        bare = [line for line in flags if line.startswith("  --") and len(line.split()) == 1]
        assert bare == []


WRONG_USAGE: dict[str, list[str]] = {
    "run with nothing": ["run"],
    "run with an empty --asset": ["run", "--asset"],
    "run with a second --asset that is empty": ["run", "--asset", "orders", "--asset"],
    "an empty flag before another one": ["run", "--asset", "a", "--asset", "--json"],
    "an empty --tag before --no-wait": ["run", "--job", "a", "--tag", "a=1", "--tag", "--no-wait"],
    "run with two things": ["run", "--asset", "orders", "--job", "nightly"],
    "a timeout that is not a number": ["run", "--asset", "orders", "--timeout", "abc"],
    "a negative timeout": ["run", "--asset", "orders", "--timeout", "-5"],
    "an endless timeout": ["run", "--asset", "orders", "--timeout", "inf"],
    "a malformed tag": ["run", "--asset", "orders", "--tag", "tier"],
    "a tag that dagster sets": ["run", "--asset", "orders", "--tag", "dagster/partition=a"],
    "an unknown target": ["discover", "--target", "prod"],
    "a malformed url": ["discover", "--url", "localhost:3000"],
    "an unknown kind": ["discover", "--kind", "asset"],
    "filters that do not fit": ["discover", "--kind", "jobs", "--group", "raw"],
    "two documents": ["discover", "--json", "run", "--asset", "orders", "--json"],
}


@pytest.mark.parametrize("arguments", WRONG_USAGE.values(), ids=WRONG_USAGE)
def test_wrong_usage_is_status_2(arguments: list[str], project: Project) -> None:
    done = project.invoke(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) >= 2, "what to type next is missing"
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [["discover", "--bogus"], ["nonsense"]])
def test_usage_that_invoke_refuses_is_status_1(arguments: list[str], project: Project) -> None:
    done = project.invoke(*arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_malformed_settings_are_status_7(tmp_path: Path) -> None:
    done = make_project(tmp_path, "targets:\n  local: {url: [s3cret\n").invoke("discover")
    assert done.returncode == 7
    assert done.stderr.startswith("error: dagmar.yaml:")
    assert "s3cret" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_malformed_variable_is_status_7(project: Project) -> None:
    done = project.invoke("discover", environ={"DAGMAR_TARGE": "x"})
    assert done.returncode == 7
    assert "DAGMAR_TARGE is not a setting" in done.stderr


@pytest.mark.parametrize("arguments", [["discover", "--json"], ["run", "--job", "nightly"]])
def test_a_server_that_is_down_is_status_5(
    arguments: list[str], project: Project, nobody: str
) -> None:
    done = project.invoke(*arguments, "--url", nobody)
    assert done.returncode == 5
    assert done.stderr.startswith(f"error: Dagster did not answer at {nobody}\n")
    assert "start it with" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.fixture
def next_to_another(tmp_path: Path) -> Iterator[tuple[Project, Server]]:
    """A project, and the Dagster of another one on the default port."""
    place = {"key": "working_directory", "value": str(tmp_path / "other")}
    entry = {"name": "theirs", "displayMetadata": [place]}
    (tmp_path / "other").mkdir()
    code = {"__typename": "Workspace", "locationEntries": [entry]}
    project = make_project(tmp_path / "project")
    (project.root / "notebooks").mkdir()
    (project.root / "notebooks" / "n.py").write_text(NOTEBOOK, "utf-8")
    with serve(data(code=code)) as server:
        default = f"from dagmar.project import settings\nsettings.DEFAULT_URL = '{server.url}'\n"
        tasks = project.root / "tasks.py"
        tasks.write_text(default + tasks.read_text("utf-8"), "utf-8")
        yield project, server


@pytest.mark.parametrize(
    "task",
    [
        "discover --json", "run --asset orders", "run --job nightly", "run --retry a-run",
        "run --follow a-run", "run --cancel a-run", "scaffold --asset orders",
        "export --notebook notebooks/n.py --attach orders", "check --target local",
    ],
)  # fmt: skip
def test_another_projects_dagster_is_named_and_not_used(
    task: str, next_to_another: tuple[Project, Server]
) -> None:
    project, server = next_to_another
    done = project.invoke(*task.split())
    assert (done.returncode, done.stdout) == (8, "")
    first, *more = done.stderr.splitlines()
    assert first.startswith(f"error: Dagster at {server.url} has another project's code: 'theirs'")
    assert [line.strip() for line in more] == [
        "Type: invoke dev",
        f"If this server is meant, add `--url {server.url}`, or set targets.local.url in "
        "dagmar.yaml.",
    ]
    assert not any("mutation" in seen.sent["query"] for seen in server.seen)
    assert list((project.root / "notebooks").iterdir()) == [project.root / "notebooks" / "n.py"]


def test_what_is_only_read_comes_from_the_definitions_next_to_another_projects_dagster(
    next_to_another: tuple[Project, Server],
) -> None:
    project, _ = next_to_another
    (project.root / "definitions.py").write_text(
        "import dagster as dg\n\n@dg.asset\ndef orders(): ...\n\n"
        "defs = dg.Definitions(assets=[orders])\n"
    )
    done = project.invoke("check", "--json")
    assert "has another project's code: 'theirs'" in done.stderr
    assert "reading the project's definitions instead" in done.stderr
    assert "there is no asset" not in done.stdout


def test_what_uv_run_started_tells_commands_with_uv_run(project: Project, nobody: str) -> None:
    for variables, command in (({}, "`invoke dev`"), ({"UV": "/bin/uv"}, "`uv run invoke dev`")):
        for task in (["discover", "--url", nobody], ["doctor", "--only", "server"]):
            environ = {**variables, "DAGMAR_TARGETS__LOCAL__URL": nobody}
            done = project.invoke(*task, environ=environ)
            assert f"start it with {command}" in done.stdout + done.stderr


def test_a_call_from_a_subfolder_finds_the_project(tmp_path: Path, server: Server) -> None:
    project = make_project(tmp_path / "project", f"targets: {{local: {{url: '{server.url}'}}}}")
    (project.root / ".env").write_text("DAGMAR_NOTEBOOKS=books\n")
    (project.root / "books").mkdir()
    (project.root / "books" / "n.py").write_text("Pair(asset='orders')\n")
    deep = project.root / "src" / "deep"
    deep.mkdir(parents=True)
    done = project.invoke("discover", "--kind", "assets", "--json", folder=deep)
    assert done.returncode == 0, done.stderr
    assets = {item["key"]: item for item in json.loads(done.stdout)["assets"]}
    assert assets["orders"]["notebooks"] == ["books/n.py"]
    assert list((project.root / ".dagmar").iterdir())
    assert list(deep.iterdir()) == []


def test_json_is_one_line_of_data_and_talk_goes_elsewhere(project: Project, server: Server) -> None:
    done = project.invoke("discover", "--json", "--url", server.url)
    assert done.returncode == 0
    assert set(json.loads(done.stdout)) == {
        "locations", "assets", "jobs", "schedules", "sensors", "resources",
    }  # fmt: skip
    assert done.stdout.count("\n") == 1
    assert "warning: the code location 'broken' does not load" in done.stderr


def test_a_table_is_for_grep(project: Project, server: Server) -> None:
    done = project.invoke("discover", "--url", server.url)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.split()[:1] == ["raw/orders"]]
    assert line.split()[1:4] == ["raw", "csv,", "python"]


def test_nothing_that_matches_is_no_failure(project: Project, server: Server) -> None:
    done = project.invoke("discover", "--match", "zzz", "--url", server.url)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"at {server.url}: nothing matches" in done.stderr


def test_tasks_compose(project: Project, server: Server) -> None:
    arguments = ("--kind", "jobs", "--url", server.url)
    done = project.invoke("discover", *arguments, "discover", "--match", "week*", *arguments)
    assert done.returncode == 0
    assert done.stdout.count("Jobs (") == 2


def test_a_value_that_looks_like_a_flag_is_a_value(project: Project, server: Server) -> None:
    first = ("discover", "--kind", "assets", "--url", server.url, "--match", "--x")
    done = project.invoke(*first, "discover", "--kind", "jobs", "--url", server.url)
    assert done.returncode == 0, done.stderr


def test_a_task_that_fails_stops_the_ones_behind_it(
    project: Project, server: Server, nobody: str
) -> None:
    done = project.invoke("discover", "--url", nobody, "discover", "--url", server.url)
    assert done.returncode == 5
    assert server.seen == []


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_reader_that_goes_away_is_no_traceback(flags: list[str], project: Project) -> None:
    many = {**ANSWERS, "Assets": by_repository(*(asset(f"a/{i:05}", "g") for i in range(4000)))}
    with serve(dagster(many)) as server:
        command = [sys.executable, "-m", "invoke", "discover", "--url", server.url, *flags]
        with subprocess.Popen(
            command, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout
            assert process.stderr
            assert process.stdout.read(1)
            process.stdout.close()
            said = process.stderr.read().decode()
            process.wait(60)
    assert process.returncode == 0
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
