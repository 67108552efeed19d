"""What the files of a repository say, and the commands that follow from it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest
from dagmar import __version__
from dagmar.dev.environment import dagster_command
from dagmar.errors import SettingsError, SetupError
from dagmar.project.installing import (
    add_command,
    production_command,
    replace_commands,
    run_command,
    runner_commands,
    sync_command,
)
from dagmar.project.layout import RUNNER
from dagmar.project.locations import check_command, read_workspace, uses_dg
from dagmar.project.settings import load
from dagmar.project.survey import requirements, survey
from support.layouts import defs

Tree = Callable[[Mapping[str, str]], Path]
UV_ONLY = {"PATH": ""}
TABLE = '[project]\nname = "shop"\n'
LOCK = '[[package]]\nname = "{}"\nversion = "1.12.13"\n'


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Write files into a repository."""

    def write(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            file = tmp_path / "shop" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        return tmp_path / "shop"

    return write


MANAGERS = {
    "uv": ({"pyproject.toml": TABLE, "uv.lock": LOCK.format("dagster")}, "uv", "uv.lock"),
    "uv by its table": ({"pyproject.toml": "[tool.uv]\n"}, "uv", "pyproject.toml"),
    "uv by a command": (
        {"pyproject.toml": TABLE, "Dockerfile": "RUN uv sync --frozen\n"},
        "uv",
        "Dockerfile",
    ),
    "poetry": ({"pyproject.toml": "[tool.poetry]\n"}, "poetry", "pyproject.toml"),
    "poetry 2": (
        {"pyproject.toml": TABLE + '[build-system]\nbuild-backend = "poetry.core.masonry.api"\n'},
        "poetry",
        "pyproject.toml",
    ),
    "moved to poetry": (
        {"pyproject.toml": "[tool.poetry]\n", "poetry.lock": "", "uv.lock": ""},
        "poetry",
        "poetry.lock",
    ),
    "pdm": ({"pyproject.toml": TABLE, "pdm.lock": LOCK.format("dagster")}, "pdm", "pdm.lock"),
    "pipenv": ({"Pipfile": ""}, "pipenv", "Pipfile"),
    "pixi": ({"pixi.toml": ""}, "pixi", "pixi.toml"),
    "conda": ({"environment.yml": ""}, "conda", "environment.yml"),
    "pip": ({"requirements.txt": "dagster==1.12.13\n"}, "pip", ""),
    "setup.py": ({"setup.py": "", "pyproject.toml": "[tool.dagster]\n"}, "pip", ""),
    "pip by a command": (
        {"pyproject.toml": TABLE, "Makefile": "x:\n\tpip install -e .\n"},
        "pip",
        "",
    ),
}


@pytest.mark.parametrize("layout", MANAGERS)
def test_the_package_manager_is_known_by_its_files(layout: str, tree: Tree) -> None:
    files, manager, said_by = MANAGERS[layout]
    found = survey(tree(files), UV_ONLY)
    assert (found.manager, found.said_by) == (manager, said_by)


def test_a_member_of_a_uv_workspace_is_managed_by_uv(tree: Tree) -> None:
    root = tree(
        {
            "pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n',
            "uv.lock": LOCK.format("dagster"),
            "packages/etl/pyproject.toml": TABLE,
            "other/pyproject.toml": TABLE,
        }
    )
    found = survey(root / "packages/etl", UV_ONLY)
    assert (found.manager, found.dagster) == ("uv", "1.12.13")
    assert survey(root / "other", UV_ONLY).manager == "pip"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", LOCK.format("dagster-shared").replace("12.13", "1.1") + LOCK.format("dagster")),
        ("poetry.lock", LOCK.format("dagster")),
        ("Pipfile.lock", json.dumps({"default": {"dagster": {"version": "==1.12.13"}}})),
        ("pixi.lock", "- pypi: https://x/dagster.whl\n  name: dagster\n  version: 1.12.13\n"),
        ("requirements.txt", "dagster-webserver==1.1\ndagster == 1.12.13  # pinned\n"),
        ("environment.yml", "dependencies:\n- dagster=1.12.13\n"),
        ("pyproject.toml", '[project]\ndependencies = ["dagster==1.12.13"]\n'),
        ("pyproject.toml", '[tool.poetry.dependencies]\ndagster = "1.12.13"\n'),
        ("setup.py", 'setup(install_requires=["dagster==1.12.13"])\n'),
    ],
)
def test_the_version_of_dagster_is_that_of_the_lock_or_the_pin(
    name: str, text: str, tree: Tree
) -> None:
    assert survey(tree({name: text})).dagster == "1.12.13"


def test_a_pin_of_a_minor_version_is_one_that_an_installer_takes(tree: Tree) -> None:
    root = tree({"requirements.txt": "dagster==1.12.*\n"})
    assert survey(root).dagster == "1.12.*"
    assert "'dagster-webserver==1.12.*'" in add_command("dagster-webserver", root=root)


@pytest.mark.parametrize(
    ("wanted", "oldest", "newest"),
    [
        (">=3.9,<3.13", 9, 12),
        ("^3.9", 9, 39),
        ("~3.11", 11, 11),
        (">=3.9.2,<=3.12.4", 9, 12),
        ("", 0, 39),
        ("nonsense", 0, 39),
    ],
)
def test_the_range_of_python_versions(wanted: str, oldest: int, newest: int, tree: Tree) -> None:
    root = tree({"pyproject.toml": f'{TABLE}requires-python = "{wanted}"\n'})
    minors = survey(root).minors
    assert (minors[0], minors[-1]) == (oldest, newest)


EDITABLE = "-e ./.dagmar/.eggs/dagmar[cli]"
UV_ADD = "uv add --dev --no-workspace --editable ./.dagmar/.eggs/dagmar --extra cli"
RUNNER_COMMANDS = {
    "uv": [UV_ADD],
    "poetry": [
        r"printf '\n[tool.poetry.group.dev.dependencies]\n' >> pyproject.toml && "
        "poetry add --group dev --editable './.dagmar/.eggs/dagmar[cli]'"
    ],
    "pdm": ["pdm add -dG dev -e './.dagmar/.eggs/dagmar[cli]'"],
    "pipenv": ["pipenv install --dev -e './.dagmar/.eggs/dagmar[cli]'"],
    "pixi": [
        r"printf '%s\n' '' '[pypi-dependencies.dagmar]' "
        """'path = "./.dagmar/.eggs/dagmar"' 'editable = true' 'extras = ["cli"]' """
        ">> pixi.toml && pixi install"
    ],
    "conda": [
        rf"printf '%s\n' '{EDITABLE}' >> requirements-dev.txt",
        "pip install -r requirements-dev.txt",
    ],
    "pip": [
        rf"printf '%s\n' '-r requirements.txt' '{EDITABLE}' >> requirements-dev.txt",
        "pip install -r requirements-dev.txt",
    ],
}


@pytest.mark.parametrize("layout", RUNNER_COMMANDS)
def test_the_runner_is_added_for_developers_by_the_package_manager(layout: str, tree: Tree) -> None:
    found = survey(tree(MANAGERS[layout][0]), UV_ONLY)
    assert runner_commands(found, (), UV_ONLY) == RUNNER_COMMANDS[layout]


LISTED = {
    "a list of developers": (
        {"requirements-dev.txt": "-r requirements.txt\npytest"},
        [rf"printf '%s\n' '' '{EDITABLE}' dagster-webserver==1.12.13 >> requirements-dev.txt"],
    ),
    "in a folder": (
        {"requirements/dev.txt": "pytest\n"},
        [rf"printf '%s\n' '{EDITABLE}' dagster-webserver==1.12.13 >> requirements/dev.txt"],
    ),
    "written by pip-compile from another file": (
        {"requirements-dev.txt": "# autogenerated by pip-compile\ndagster-webserver\n"},
        [rf"printf '%s\n' '-r requirements.txt' '{EDITABLE}' >> requirements-dagmar.txt"],
    ),
    "with hashes": (
        {"requirements.txt": "dagster==1.12.13 --hash=sha256:0\ndagster-webserver\n"},
        [rf"printf '%s\n' '{EDITABLE}' >> requirements-dev.txt"],
    ),
    "pip-tools": (
        {"requirements-dev.in": "dagster-webserver\n", "requirements-dev.txt": "# pip-compile\n"},
        [
            rf"printf '%s\n' '{EDITABLE}' >> requirements-dev.in",
            'pip-compile requirements-dev.in && sed -i.dagmar "s|file://$PWD/|./|" '
            "requirements-dev.txt && rm requirements-dev.txt.dagmar",
        ],
    ),
    "uv pip compile": (
        {"dev-requirements.in": "", "dev-requirements.txt": "# autogenerated by uv\n"},
        [
            rf"printf '%s\n' '{EDITABLE}' dagster-webserver==1.12.13 >> dev-requirements.in",
            "uv pip compile dev-requirements.in -o dev-requirements.txt",
        ],
    ),
    "a project with an extra": (
        {"setup.py": 'setup(extras_require={"dev": ["dagster-webserver"]})\n'},
        [rf"printf '%s\n' '-r requirements.txt' '-e .[dev]' '{EDITABLE}' >> requirements-dev.txt"],
    ),
}


@pytest.mark.parametrize("layout", LISTED)
def test_with_pip_the_runner_is_listed_for_developers_and_not_for_production(
    layout: str, tree: Tree
) -> None:
    files, commands = LISTED[layout]
    root = tree({"requirements.txt": "dagster==1.12.13\n", **files})
    *listing, install = runner_commands(survey(root), ["dagster-webserver"], UV_ONLY)
    assert listing == commands
    file = re.findall(r">> (\S+)", listing[0])[0].replace(".in", ".txt")
    assert install == f"pip install -r {file}"
    production = (root / "requirements.txt").read_text()
    for command in listing[:1]:
        subprocess.run(command, shell=True, cwd=root, check=True)
    assert EDITABLE in survey(root).manifest.read_text().splitlines()
    assert (root / "requirements.txt").read_text() == production
    # Typed again, nothing is listed twice; what colleagues type installs dagmar.
    assert ">>" not in str(runner_commands(survey(root), ["dagster-webserver"], UV_ONLY))
    (root / RUNNER).mkdir(parents=True)
    assert sync_command(root, UV_ONLY).startswith(install)


def test_poetry_writes_a_path_that_colleagues_have(tree: Tree) -> None:
    groups = '[dependency-groups]\ndev = ["pytest"]\n[tool.poetry]\n'
    root = tree({"pyproject.toml": groups, "poetry.lock": ""})
    (command,) = runner_commands(survey(root), (), UV_ONLY)
    add, edit, *rest = command.split(" && ")
    assert add == "poetry add --lock --group dev --editable './.dagmar/.eggs/dagmar[cli]'"
    assert rest == ["rm pyproject.toml.dagmar", "poetry lock", "poetry install"]
    written = (
        "[tool.poetry.group.dev.dependencies]\ndagmar = {develop = true}\n[dependency-groups]\n"
        f'dev = ["pytest", "dagmar[cli] @ file://{root}/.dagmar/.eggs/dagmar ; python<4"]\n'
    )
    (root / "pyproject.toml").write_text(written)
    subprocess.run(edit, shell=True, cwd=root, check=True)
    text = (root / "pyproject.toml").read_text()
    assert 'dagmar = {path = ".dagmar/.eggs/dagmar", develop = true}\n' in text
    assert '"dagmar[cli] ; python<4"]' in text
    (root / "pyproject.toml").write_text("[tool.poetry.group.dev.dependencies]\n")
    (command,) = runner_commands(survey(root), (), UV_ONLY)
    assert command == "poetry add --group dev --editable './.dagmar/.eggs/dagmar[cli]'"


@pytest.mark.parametrize("active", [True, False])
def test_without_a_pin_the_version_of_dagster_is_the_installed_one(
    active: bool, tree: Tree, tmp_path: Path
) -> None:
    folder = "elsewhere" if active else ".venv"
    packages = f"{folder}/lib/python3.12/site-packages"
    installed = {f"{packages}/dagster-1.12.13.dist-info/METADATA": "",
                 f"{packages}/dagster_shared-1.1.dist-info/METADATA": "",
                 f"{folder}/bin/python": ""}  # fmt: skip
    root = tree({"definitions.py": "", **installed})
    environ = {**UV_ONLY, **({"VIRTUAL_ENV": str(root / folder)} if active else {})}
    assert survey(root, environ).dagster == "1.12.13"
    command = add_command("dagster-webserver", root=root, environ=environ)
    assert command == "pip install dagster-webserver==1.12.13"


PACKAGE = f"'dagmar[cli]=={__version__}'"
PACKAGE_COMMANDS = {
    "uv": [f"uv add --dev {PACKAGE}"],
    "poetry": [f"poetry add --group dev {PACKAGE}"],
    "pdm": [f"pdm add -dG dev {PACKAGE}"],
    "pipenv": [f"pipenv install --dev {PACKAGE}"],
    "pixi": [f"pixi add --pypi {PACKAGE}"],
    "conda": [each.replace(EDITABLE, PACKAGE[1:-1]) for each in RUNNER_COMMANDS["conda"]],
    "pip": [each.replace(EDITABLE, PACKAGE[1:-1]) for each in RUNNER_COMMANDS["pip"]],
}
ANSWERS = "_src_path: /x\nrunner: package\n"


@pytest.mark.parametrize("layout", PACKAGE_COMMANDS)
def test_the_package_is_added_with_the_version_of_the_template(layout: str, tree: Tree) -> None:
    root = tree({**MANAGERS[layout][0], ".copier-answers.yml": ANSWERS})
    found = survey(root, UV_ONLY)
    assert runner_commands(found, (), UV_ONLY) == PACKAGE_COMMANDS[layout]
    assert ("dagmar[cli]==" in sync_command(root, UV_ONLY)) is (layout in ("conda", "pip"))


def test_uv_forgets_the_one_before_it_adds_the_other(tree: Tree) -> None:
    root = tree({"pyproject.toml": TABLE, "uv.lock": "", ".copier-answers.yml": ANSWERS})
    remove = "uv remove --frozen --dev dagmar"
    assert replace_commands(survey(root)) == [remove, *PACKAGE_COMMANDS["uv"]]
    deployed = f'{TABLE}dependencies = ["dagmar-like", "dagmar>=0.1"]\n'
    (root / "pyproject.toml").write_text(deployed)
    (root / ".copier-answers.yml").write_text("_src_path: /x\n")
    assert replace_commands(survey(root)) == [
        remove,
        "uv remove --frozen dagmar",
        *RUNNER_COMMANDS["uv"],
        "uv add --no-workspace --editable ./.dagmar/.eggs/dagmar",
    ]


@pytest.mark.parametrize("name", ["requirements-dev.txt", "requirements-dev.in"])
def test_a_list_gets_the_one_in_the_place_of_the_other(name: str, tree: Tree) -> None:
    texts = [
        f"pytest\n{line}  # tasks\ndagmar-like\n"
        for line in (EDITABLE, "dagmar[cli]==0.1.0", PACKAGE[1:-1], EDITABLE)
    ]
    root = tree({"requirements.txt": "dagster\n", name: texts[0]})
    assert len(replace_commands(survey(root))) == (1 if name.endswith(".txt") else 2)
    for answers, before, after in zip([ANSWERS, ANSWERS, ""], texts[:-1], texts[1:], strict=True):
        (root / ".copier-answers.yml").write_text(answers or "_src_path: /x\n")
        (root / name).write_text(before)
        version = "0.1.0" if "0.1.0" in after else __version__
        replace, *_ = runner_commands(survey(root), (), UV_ONLY, version)
        subprocess.run(replace, shell=True, cwd=root, check=True)
        assert (root / name).read_text() == after
        (root / RUNNER).mkdir(parents=True, exist_ok=True)
        installed = name.replace(".in", ".txt")
        assert sync_command(root, UV_ONLY).startswith(f"pip install -r {installed}")


def test_an_older_python_is_left_out_by_a_marker(tree: Tree) -> None:
    older = f'{TABLE}requires-python = ">=3.9,<3.13"\n'
    root = tree({"pyproject.toml": older, "uv.lock": ""})
    uv = f"{UV_ADD} --marker \"python_version >= '3.10'\""
    assert runner_commands(survey(root)) == [uv]
    (root / "uv.lock").rename(root / "poetry.lock")
    assert "--python '>=3.10,<3.13'" in runner_commands(survey(root))[0]


def test_without_a_common_python_nothing_is_installed(tree: Tree) -> None:
    root = tree({"pyproject.toml": f'{TABLE}requires-python = ">=3.8,<3.10"\n'})
    with pytest.raises(SetupError, match=r"for Python >=3.8,<3.10, and dagmar needs 3.10"):
        runner_commands(survey(root))


def test_a_dg_workspace_is_installed_in_its_local_environment(tree: Tree) -> None:
    local = f'{TABLE}dependencies = ["dagster==1.13.2", "dagster-webserver"]\n'
    root = tree({"dg.toml": "[workspace]\n", "deployments/local/pyproject.toml": local})
    found = survey(root, {"PATH": os.environ["PATH"]})
    inside = "--project deployments/local"
    assert runner_commands(found)[0].startswith(
        f"uv add {inside} --dev --no-workspace --editable ./.d"
    )
    assert run_command("invoke dev", found) == f"uv run {inside} invoke dev"
    assert sync_command(root) == f"uv sync {inside}"
    assert found.place_of("dagster-webserver") == "always"


SETUP = 'setup(extras_require={"dev": ["dagster-webserver", "pytest"]})\n'
EXTRA = f'{TABLE}[project.optional-dependencies]\ndev = ["dagster-webserver>=1", "pytest"]\n'


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (
            {"pyproject.toml": TABLE, "uv.lock": LOCK.format("dagster")},
            "echo dagster==1.12.13 | uv add --dev -c - dagster-webserver",
        ),
        ({"pyproject.toml": "[tool.uv]\n"}, "uv add --dev dagster-webserver"),
        ({"pyproject.toml": EXTRA, "uv.lock": ""}, "uv sync --extra dev"),
        ({"pyproject.toml": EXTRA, "poetry.lock": ""}, "poetry install --extras dev"),
        ({"pyproject.toml": EXTRA, "pdm.lock": ""}, "pdm install -G dev"),
        ({"setup.py": SETUP}, 'pip install -e ".[dev]"'),
        ({"requirements.txt": "dagster==1.12.13"}, "pip install dagster-webserver==1.12.13"),
        ({"pyproject.toml": TABLE, "poetry.lock": ""}, "poetry add --group dev dagster-webserver"),
    ],
)
def test_the_webserver_is_installed_at_dagsters_version_or_with_the_extra_that_has_it(
    files: Mapping[str, str], command: str, tree: Tree
) -> None:
    root = tree(files)
    assert add_command("dagster-webserver", root=root, environ=UV_ONLY) == command


def test_dg_has_numbers_of_its_own_until_dagster_1_11(tree: Tree) -> None:
    root = tree({"requirements.txt": "dagster==1.10.17\n"})
    command = add_command("dagster-dg-cli", root=root, environ=UV_ONLY)
    assert command == "pip install dagster-dg-cli==0.26.17"


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"setup.py": SETUP}, 'pip install -e ".[dev]"'),
        ({"pyproject.toml": EXTRA, "uv.lock": ""}, "uv sync --extra dev"),
        ({"pyproject.toml": EXTRA, "poetry.lock": ""}, "poetry install --extras dev"),
    ],
)
def test_an_extra_with_the_webserver_is_installed_with_the_project(
    files: Mapping[str, str], command: str, tree: Tree
) -> None:
    assert sync_command(tree(files), UV_ONLY) == command


def test_what_is_required_already_is_installed_and_not_added(tree: Tree) -> None:
    required = f'{TABLE}dependencies = ["dagster-webserver"]\n'
    root = tree({"pyproject.toml": required, "uv.lock": LOCK.format("marimo")})
    for name in ("dagster-webserver", "marimo"):  # dagmar requires marimo
        assert add_command(name, root=root, environ=UV_ONLY) == "uv sync"
    (root / "pyproject.toml").unlink()
    (root / "uv.lock").rename(root / "requirements.txt")
    assert add_command("marimo", root=root, environ=UV_ONLY) == "pip install marimo"


def test_only_dagster_itself_is_added_for_production(tree: Tree) -> None:
    root = tree({"pyproject.toml": TABLE, "uv.lock": ""})
    commands = [add_command(each, root=root) for each in ("dagster==1.13.2", "s3fs", "marimo>=1")]
    assert [" --dev " in each for each in commands] == [False, True, True]


@pytest.mark.parametrize("name", ["uv.lock", "poetry.lock", "pdm.lock"])
def test_an_installation_for_production_is_tried_where_there_is_a_lock(
    name: str, tree: Tree
) -> None:
    root = tree({"pyproject.toml": TABLE})
    assert production_command(survey(root)) == ""
    (root / name).touch()
    assert "--dry-run" in production_command(survey(root))


def test_a_member_of_a_uv_workspace_has_the_lock_of_the_workspace(tree: Tree) -> None:
    above = '[tool.uv.workspace]\nmembers = ["services/*"]\n'
    member = f"{TABLE}[tool.uv]\npackage = false\n"
    root = tree({"pyproject.toml": above, "uv.lock": "", "services/etl/pyproject.toml": member})
    found = survey(root / "services/etl")
    assert found.lock == root / "uv.lock"
    assert production_command(found)


STARTED = {
    "Makefile": (
        {"Makefile": "dev:\n\tuv run dagster dev -p 3333 -f etl/main.py -d etl && echo\n"},
        ("main.py", "etl"),
    ),
    "Makefile with cd": (
        {"Makefile": "dev:\n\tcd etl && dagster dev -f main.py\n"},
        ("main.py", "etl"),
    ),
    "continued": ({"run.sh": "dagster \\\n  dev \\\n  -f etl/main.py \\\n  -a other\n"},
                  ("main.py:other", ".")),
    "Dockerfile": (
        {
            "Dockerfile": 'WORKDIR /opt/app\nCMD ["dagster", "api", "grpc", "-p", "4000", '
            '"-f", "/opt/app/etl/main.py", "-d", "/opt/app/etl"]\n'
        },
        ("main.py", "etl"),
    ),
    "compose": (
        {"docker-compose.yml": "command:\n  - dagster\n  - api\n  - grpc\n  - -m\n  - etl.main\n"},
        ("etl.main", "."),
    ),
    "code server": (
        {"Procfile": "code: dagster code-server start --module-name=etl.main\n"},
        ("etl.main", "."),
    ),
    "README": ({"README.md": "Run:\n\n```bash\ndagster dev -m etl.main\n```\n"}, ("etl.main", ".")),
    "dagster_cloud.yaml": (
        {"dagster_cloud.yaml": "locations:\n- location_name: prod\n"
         "  code_source: {module_name: main}\n  working_directory: etl\n"},
        ("prod", "etl"),
    ),
    "its name": ({"etl/definitions.py": "import main\n" + defs()}, ("definitions.py", "etl")),
}  # fmt: skip


@pytest.mark.parametrize("layout", STARTED)
def test_definitions_are_found_by_how_dagster_is_started(layout: str, tree: Tree) -> None:
    files, (name, folder) = STARTED[layout]
    root = tree({"etl/main.py": defs(), "etl/gone.py": "", **files})
    workspace = read_workspace(root)
    assert [place.name for place in workspace.locations] == [name]
    (place,) = workspace.locations
    assert place.working_directory == (root / folder).resolve()
    assert place.source
    assert place.source.is_file()
    assert (workspace.guessed, workspace.known, uses_dg(root)) == (True, False, False)
    # What the settings then say is the same, and is not a guess any more.
    (root / "dagmar.yaml").write_text(workspace.as_settings(root), "utf-8")
    stated = read_workspace(root)
    assert stated.locations == workspace.locations
    assert (stated.guessed, stated.declared_in) == (False, "dagmar.yaml")
    load(root, {})


def test_a_command_of_developers_comes_before_one_of_a_deployment(tree: Tree) -> None:
    root = tree(
        {
            "Dockerfile": "CMD dagster api grpc -f a.py\n",
            "README.md": "`dagster dev -f b.py`",
            "a.py": defs(),
            "b.py": defs(),
        }
    )
    assert read_workspace(root).locations[0].name == "b.py"


def test_every_server_of_a_deployment_is_a_code_location(tree: Tree) -> None:
    services = "".join(
        f"  {name}:\n    command: dagster api grpc -f {name}.py\n" for name in ("a", "b", "gone")
    )
    root = tree({"compose.yaml": f"services:\n{services}", "a.py": defs(), "b.py": defs()})
    assert [place.name for place in read_workspace(root).locations] == ["a.py", "b.py"]


def test_what_dagster_itself_reads_comes_before_what_is_found(tree: Tree) -> None:
    root = tree(
        {"Makefile": "x:\n\tdagster dev -f a.py\n", "a.py": defs(), "b.py": defs(),
         "workspace.yaml": "load_from: [python_file: b.py]\n"}
    )  # fmt: skip
    assert read_workspace(root).declared_in == "workspace.yaml"


def test_another_workspace_file_is_started_with_its_flag(tree: Tree) -> None:
    root = tree(
        {
            "Makefile": "x:\n\tdagster dev -w deploy/local.yaml\n",
            "deploy/local.yaml": "load_from: [python_file: ../b.py]\n",
            "b.py": defs(),
        }
    )
    settings = read_workspace(root).as_settings(root)
    assert "workspace: deploy/local.yaml" in settings
    (root / "dagmar.yaml").write_text(settings, "utf-8")
    assert dagster_command(root, 3000, "")[-6:-4] == ["-w", str(root / "deploy/local.yaml")]
    assert check_command(root).endswith(f"-w {root}/deploy/local.yaml")
    (root / "deploy/local.yaml").unlink()
    with pytest.raises(SetupError, match=r"dagmar.yaml names deploy/local.yaml, which is not"):
        read_workspace(root)


def test_two_projects_below_the_root_are_two_code_locations(tree: Tree) -> None:
    root = tree(
        {
            "etl/pyproject.toml": '[tool.dagster]\nmodule_name = "shop"\n',
            "etl/shop.py": defs(),
            "ml/workspace.yaml": "load_from: [python_file: shop.py]\n",
            "ml/shop.py": defs(),
        }
    )
    found = {place.name: place.working_directory.name for place in read_workspace(root).locations}
    assert found == {"shop": "etl", "shop.py": "ml"}


def test_dagster_is_started_with_the_locations_of_the_settings(tree: Tree) -> None:
    root = tree(
        {
            "dagmar.yaml": "dagster: {load_from: [python_file: etl/a.py, python_module: b]}\n",
            "pyproject.toml": '[tool.dg.project]\nroot_module = "hidden"\n',
            "etl/a.py": defs(),
            "b.py": defs(),
        }
    )
    assert not uses_dg(root)
    command = dagster_command(root, 3000, "")
    file = Path(command[command.index("-w") + 1])
    assert file == root / ".dagmar/tmp/workspace.yaml"
    file.rename(root / "workspace.yaml")  # absolute paths mean the same from anywhere
    stated = read_workspace(root)
    for name in ("dagmar.yaml", "pyproject.toml"):
        (root / name).unlink()
    assert read_workspace(root).locations == stated.locations


@pytest.mark.parametrize(
    "files",
    [
        {
            "pyproject.toml": """
                [project]
                dependencies = ["dagster>=1.10", "Dagster_DuckDB[pandas] ; python_version > '3'"]
                [dependency-groups]
                dev = ["pytest"]"""
        },
        {
            "pyproject.toml": """
                [tool.poetry.dependencies]
                dagster = "^1"
                dagster-duckdb = {version = "*", extras = ["pandas"]}
                [tool.poetry.group.dev.dependencies]
                pytest = "*\""""
        },
        {
            "Pipfile": """
                [packages]
                dagster = "*"
                dagster-duckdb = "*"
                [dev-packages]
                pytest = "*\""""
        },
        {"pixi.toml": '[dependencies]\ndagster = "*"\n[pypi-dependencies]\ndagster-duckdb = "*"'},
        {
            "requirements.in": "# ours\ndagster>=1.10\ndagster-duckdb  # a store\n",
            "requirements.txt": "click==8\ndagster==1.13.0\n",
            "requirements-dev.txt": "pytest\n",
        },
        {"environment.yml": "dependencies:\n  - dagster=1.13\n  - pip:\n      - dagster-duckdb\n"},
        {
            "setup.py": """
                setup(name="shop", install_requires=["dagster>=1,<2", 'dagster-duckdb[a]'],
                      extras_require={"dev": ["pytest"]})"""
        },
        {
            "setup.cfg": "[options]\ninstall_requires =\n    dagster>=1\n    dagster-duckdb\n\n"
            "[options.extras_require]\ndev =\n    pytest\n"
        },
        {"pyproject.toml": "not = = toml", "requirements.txt": "dagster\ndagster-duckdb\n"},
    ],
)
def test_what_a_project_requires_itself_is_read_from_its_own_files(
    files: Mapping[str, str], tree: Tree
) -> None:
    found = requirements(tree({name: dedent(text) for name, text in files.items()}))
    assert [name for name in found if name.startswith("dagster")] == ["dagster", "dagster-duckdb"]
    assert not {"pytest", "click"} & set(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dagster: {load_from: []}", "'dagster.load_from' must"),
        ("dagster: {load_from: a.py}", "'dagster.load_from' must be a list"),
        ("dagster: {files: [a.py]}", "unknown key 'dagster.files'"),
    ],
)
def test_settings_that_name_no_location_are_refused(text: str, said: str, tree: Tree) -> None:
    with pytest.raises(SettingsError, match=said):
        load(tree({"dagmar.yaml": text}), {})


def test_without_a_reader_of_toml_the_survey_says_so(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tomllib", None)
    monkeypatch.setitem(__import__("sys").modules, "tomli", None)
    found = survey(tree({"pyproject.toml": TABLE, "uv.lock": LOCK.format("dagster")}))
    assert (found.manager, found.dagster) == ("uv", "1.12.13")
    (why,) = found.unread
    assert "pyproject.toml is not read: Python 3." in why
