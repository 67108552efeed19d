"""A server that nobody named is used only if it has this project's code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from dagmar.errors import NotAllowed, WrongServer
from dagmar.project import devfile, settings
from dagmar.project.settings import Target, load
from dagmar.server.client import DagsterClient
from dagmar.server.identity import FIELD, require_project
from dagmar.upkeep import checks
from dagmar.upkeep.checking import Project
from support.http_server import data, serve

URL = "http://127.0.0.1:3000"
ELSEWHERE = "/opt/dagster/app"
"""A folder in a container: it is not on this machine."""


def entry(name: str, **facts: str) -> dict[str, Any]:
    """Return a code location as a server describes it, with the keys of `displayMetadata`."""
    return {
        "name": name,
        "displayMetadata": [{"key": key, "value": value} for key, value in facts.items()],
    }


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        file = root / name.replace("__", "/").replace("_toml", ".toml").replace("_yaml", ".yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a module `shop.definitions`, next to a clone of it."""
    for name in ("shop", "clone"):
        root = tmp_path / name
        write(
            root,
            dagmar_yaml="",
            pyproject_toml='[tool.dagster]\nmodule_name = "shop.definitions"\n'
            'code_location_name = "sales"\n',
        )
        for file in ("src/shop/definitions.py", "definitions.py"):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text("", "utf-8")
    return tmp_path / "shop"


def accepts(root: Path, *entries: dict[str, Any], **process: str) -> bool:
    try:
        require_project(Target("local", URL, project=root), entries, process)
    except WrongServer:
        return False
    return True


def test_its_file_says_whose_a_code_location_is_whatever_it_is_called(root: Path) -> None:
    clone = root.parent / "clone"
    for folder, ours in ((root, True), (clone, False)):
        module = {"module_name": "shop.definitions"}
        assert accepts(root, entry("any", **module, working_directory=str(folder))) is ours
        assert accepts(root, entry("any", **module, working_directory=f"{folder}/src")) is ours
        # `dagster dev -f` and a workspace.yaml; `dagster dev` in a subfolder
        file = f"{folder}/definitions.py"
        assert accepts(root, entry("sales", python_file=file)) is ours
        below = {"python_file": "shop/definitions.py", "working_directory": f"{folder}/src"}
        assert accepts(root, entry("definitions.py", **below)) is ours
        # A folder of definitions, and a package that is installed from elsewhere
        defs = {"autoload_defs_module_name": "shop", "working_directory": str(folder)}
        assert accepts(root, entry("shop", **defs, host="localhost", socket="/tmp/x")) is ours
        unknown = {"package_name": "installed", "working_directory": str(folder)}
        assert accepts(root, entry("sales", **unknown)) is ours


@pytest.mark.parametrize("folder", ["", "src"], ids=["no folder", "relative"])
def test_two_clones_with_modules_alone_are_told_apart_by_the_servers_instance_or_interpreter(
    root: Path, folder: str
) -> None:
    where = {"working_directory": folder} if folder else {}
    place = entry("sales", module_name="shop.definitions", **where)
    clone = root.parent / "clone"
    for own in (root, clone):
        write(own, **{".venv/bin/python": "", ".dagmar__home__x": "", ".tmp_dagster_home_1/x": ""})

    def info(home: Path) -> str:
        return f"local_artifact_storage:\n  class: X\n  config:\n    base_dir: {home}\nrun: {{}}\n"

    for own, ours in ((root, True), (clone, False)):
        python = str(own / ".venv/bin/python")
        assert accepts(root, place, executablePath=python) is ours
        with_own = entry("sales", module_name="shop.definitions", executable_path=python, **where)
        assert accepts(root, with_own, executablePath="/usr/bin/python3") is ours
        for home in (own / ".dagmar/home", own / ".tmp_dagster_home_1"):  # of invoke, dagster dev
            assert accepts(root, place, info=info(home)) is ours
            shared = str(root / ".venv/bin/python")
            assert accepts(root, place, info=info(home), executablePath=shared) is ours
    # An instance and an interpreter outside of both say nothing, nor do those of a container.
    for process in ({}, {"executablePath": "/usr/bin/python3"}, {"info": info(root.parent / "no")}):
        assert accepts(root, place, **process)
    assert accepts(root, place, executablePath=f"{ELSEWHERE}/.venv/bin/python")


def test_a_module_of_the_project_may_be_loaded_from_a_folder_above_it(root: Path) -> None:
    above = {"module_name": "shop.src.shop.definitions", "working_directory": str(root.parent)}
    assert accepts(root, entry("x", **above))


def test_one_of_several_code_locations_is_enough(root: Path) -> None:
    other = entry("other", module_name="a.b", working_directory=str(root.parent))
    ours = entry("x", module_name="shop.definitions", working_directory=str(root))
    assert accepts(root, other, ours)
    assert not accepts(root, other, other)


def test_a_project_inside_another_one_is_its_own(root: Path) -> None:
    inner = root / "services" / "inner"
    write(inner, dagmar_yaml="")
    place = entry("inner", module_name="x", working_directory=str(inner))
    assert not accepts(root, place)
    assert accepts(inner, place)
    (inner / "dagmar.yaml").unlink()  # a project of this repository, which is adopted as one
    assert accepts(root, place)


def test_a_project_without_settings_knows_its_code(root: Path) -> None:
    (root / "dagmar.yaml").unlink()
    place = {"module_name": "shop.definitions", "working_directory": str(root)}
    assert accepts(root, entry("x", **place))


def test_a_link_to_the_project_is_the_project(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root, target_is_directory=True)
    place = {"module_name": "shop.definitions", "working_directory": str(link)}
    assert accepts(root, entry("x", **place))
    assert accepts(link, entry("x", **{**place, "working_directory": str(root)}))


@pytest.mark.parametrize(
    ("place", "ours"),
    [
        (entry("x", module_name="shop.definitions", working_directory=ELSEWHERE), True),
        (entry("sales", module_name="x", working_directory=ELSEWHERE), True),
        (entry("x", module_name="shop.definitions"), True),
        (entry("x", module_name="shop.definitions", working_directory="src"), True),
        (entry("x", module_name="x", working_directory=ELSEWHERE), False),
        (entry("sales", host="localhost", port="4000"), True),
        (entry("sales"), True),
        (entry("grpc:localhost:4000", host="localhost", port="4000"), False),
        (entry("x"), False),
    ],
    ids=str,
)
def test_a_name_or_module_has_to_do_for_what_is_not_on_this_machine(
    place: dict[str, Any], ours: bool, root: Path
) -> None:
    assert accepts(root, place) is ours


def test_a_declared_grpc_server_is_known_by_its_address_and_its_name(root: Path) -> None:
    (root / "pyproject.toml").unlink()
    server = "{host: localhost, port: 4000, location_name: own}"
    write(root, workspace_yaml=f"load_from: [{{grpc_server: {server}}}]")
    assert accepts(root, entry("renamed", host="localhost", port="4000"))
    assert accepts(root, entry("own", host="code", port="4000"))
    assert not accepts(root, entry("renamed", host="localhost", port="4001"))


def test_the_name_of_a_file_says_nothing(root: Path) -> None:
    (root / "pyproject.toml").unlink()
    write(root, workspace_yaml="load_from: [{python_file: definitions.py}]")
    assert not accepts(root, entry("definitions.py", python_file=f"{ELSEWHERE}/definitions.py"))
    assert not accepts(root, entry("definitions.py:defs", python_file=f"{ELSEWHERE}/a.py"))


def test_a_project_that_declares_nothing_goes_by_files_alone(root: Path) -> None:
    (root / "pyproject.toml").write_text("", "utf-8")
    ours = {"module_name": "shop.definitions", "working_directory": str(root)}
    assert accepts(root, entry("x", **ours))
    assert not accepts(root, entry("x", host="localhost", port="4000"))


def test_another_projects_server_is_named_with_its_code(root: Path) -> None:
    clone = root.parent / "clone"
    entries = [
        entry("sales", module_name="shop.definitions", working_directory=str(clone)),
        entry("a.b", module_name="a.b", working_directory=str(root.parent)),
        entry("definitions.py", python_file=f"{clone}/definitions.py"),
        entry("far", host="code", port="4000"),
    ]
    for places, text in (
        (
            entries[:2],
            f"another project's code: 'sales' (shop.definitions in {clone}), 'a.b' ({root.parent})",
        ),
        (
            entries[2:],
            f"another project's code: 'definitions.py' ({clone}/definitions.py), 'far' "
            "(gRPC server code:4000)",
        ),
        ([], "no code location"),
    ):
        with pytest.raises(WrongServer) as refused:
            require_project(Target("local", URL, project=root), places, {})
        assert refused.value.message == f"Dagster at {URL} has {text}"
        assert (refused.value.exit_code, refused.value.command) == (8, "invoke dev")
        assert f"--url {URL}" in refused.value.hint
        assert "targets.local.url" in refused.value.hint


# Who names a server


def test_a_server_that_somebody_named_is_trusted(root: Path) -> None:
    def project(name: str = "", url: str = "", **environ: str) -> Path | None:
        return load(root, environ, root / "home").target(name, url).project

    assert project() == root
    assert project("local") == root
    assert project(url=URL) is None
    assert project(DAGMAR_TARGETS__LOCAL__URL=URL) is None
    assert project("prod", DAGMAR_TARGETS="{prod: {read_only: true}}") == root
    write(root, dagmar_yaml=f"targets: {{local: {{url: '{URL}'}}}}")
    assert project() is None
    write(root, dagmar_yaml="")
    devfile.write(root, devfile.Running(os.getpid(), devfile.now(), "http://127.0.0.1:3001"))
    assert project() is None
    devfile.write(root, devfile.Running(os.getpid(), devfile.now()))  # with --no-dagster
    assert project() == root


# What is sent


def workspace(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"__typename": "Workspace", "locationEntries": list(entries)}


def test_the_first_query_asks_and_no_other(root: Path) -> None:
    ours = entry("x", module_name="shop.definitions", working_directory=str(root))
    with (
        serve(data(**{FIELD: workspace(ours)}, run={}), data(run={})) as server,
        DagsterClient(Target("local", server.url, project=root)) as client,
    ):
        assert client.query("RunState", id="r") == {"run": {}}
        assert client.query("RunState", id="r") == {"run": {}}
        client.mutate("CancelRun", id="r")
        first, second, third = (seen.sent["query"] for seen in server.seen)
    assert first.count("displayMetadata") == 1
    assert "displayMetadata" not in second + third


@pytest.mark.parametrize("project", [True, False], ids=["unnamed", "named"])
def test_nothing_is_changed_on_another_projects_server(project: bool, root: Path) -> None:
    answer = data(**{FIELD: workspace(entry("other"))}, run={})
    with (
        serve(answer) as server,
        DagsterClient(Target("local", server.url, project=root if project else None)) as client,
    ):
        if not project:
            client.mutate("CancelRun", id="r")
        else:
            for _ in range(2):
                with pytest.raises(WrongServer):
                    client.query("RunState", id="r")
                with pytest.raises(WrongServer):
                    client.mutate("CancelRun", id="r")
                with pytest.raises(WrongServer):
                    client.report("report_asset_observation/a", {})
        asked = [seen.sent["query"] for seen in server.seen]
    assert any("mutation" in text for text in asked) is not project
    assert {seen.path for seen in server.seen} == {"/graphql"}


def test_the_doctor_decides_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(data(**{FIELD: workspace(entry("other"))})) as server:
        monkeypatch.setattr(settings, "DEFAULT_URL", server.url)
        project = Project(root, {"XDG_CONFIG_HOME": str(root)})
        found = checks.server.server(project)
        assert (found.status, found.command) == ("warn", "invoke dev")
        assert "has another project's code: 'other'" in found.message
        assert checks.server.same_instance(project).status == "skip"
        assert len(server.seen) == 1


def test_a_read_only_target_is_refused_before_anything_is_asked(root: Path) -> None:
    with (
        serve(data()) as server,
        DagsterClient(Target("local", server.url, read_only=True, project=root)) as client,
    ):
        with pytest.raises(NotAllowed):
            client.mutate("CancelRun", id="r")
        assert server.seen == []
