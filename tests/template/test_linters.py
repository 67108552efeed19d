"""Linters, formatters and type checkers find the same in a repository before and after dagmar."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dagmar.scaffold.folder import files_for
from support.hooks import hook
from support.template_releases import ORDERS, SALES, Project, Template, write

THEIRS = {
    ".gitignore": "__pycache__/\n.eggs/\n",
    "pyproject.toml": '[project]\nname = "etl"\nversion = "1"\nrequires-python = ">=3.10"\n',
    "src/etl/__init__.py": "import os\n",
    "src/etl/definitions.py": 'import  os\nx: int = "text"\ny = undefined\nassert x\n',
    "tests/test_etl.py": "def test_it() -> None:\n    assert 1 == 2\n",
}
FILE = re.compile(r"[\w./-]+\.(?:py|toml|ya?ml)\b")
# What is installed runs in CI; the others are fetched in the nightly profile.
INSTALLED = {
    "ruff check": "ruff check --no-cache --output-format concise .",
    "ruff check --select ALL": "ruff check --no-cache --output-format concise --select ALL .",
    "ruff format": "ruff format --no-cache --check .",
}
FETCHED = {
    "mypy": "mypy --no-incremental --no-site-packages --ignore-missing-imports .",
    "black": "black --check .",
    "isort": "isort --check .",
    "flake8": "flake8 .",
    "pyright": f"pyright --level error --pythonpath {sys.executable}",
    "ty": f"ty check --output-format concise --python {sys.prefix}",
    "pytest": f"pytest -q -p no:cacheprovider -c {os.devnull} --rootdir .",
}
GROUP = {"name": "group", "select": "group:sales", "template": "selection", "marimo": "0.25.2"}
NOTEBOOKS = ({**ORDERS, "template": "ml"}, SALES, {**ORDERS, "name": "plain"}, GROUP)
# These see `tasks.py`, the file that has to be in the root.
KNOWN = {"ruff check --select ALL": {"tasks.py"}}


@pytest.fixture(scope="module")
def stages(released: Template, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The repository as it was, adopted, and with notebooks of several templates."""
    names = ("before", "adopted", "scaffolded")
    before, adopted, scaffolded = (tmp_path_factory.mktemp(name) / "etl" for name in names)
    write(before, THEIRS)
    shutil.copytree(before, adopted)
    released.copy(adopted)
    shutil.copytree(adopted, scaffolded)
    notebooks = [scaffolded / "notebooks" / f"{each['name']}.py" for each in NOTEBOOKS]
    for file, text in files_for(notebooks).items():
        write(scaffolded, {file.relative_to(scaffolded).as_posix(): text})
    Project(scaffolded, released).scaffold(*NOTEBOOKS)
    assert all(file.is_file() for file in notebooks)
    return [before, adopted, scaffolded]


def findings(command: str, folder: Path) -> tuple[int, set[str]]:
    """Return the status of a tool, and the files that it names."""
    program, _, rest = command.partition(" ")
    if command in INSTALLED.values():
        words = [sys.executable, "-m", program, *rest.split()]
    else:
        words = ["uvx", program, *rest.split()]
    environ = {**os.environ, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True)
    text = (done.stdout + done.stderr).replace(f"{folder}/", "")
    return done.returncode, {name.removeprefix("./") for name in FILE.findall(text)}


def check_same(tool: str, stages: list[Path]) -> None:
    command = {**INSTALLED, **FETCHED}[tool]
    status, named = findings(command, stages[0])
    assert named, "the repository itself has findings"
    for stage in stages[1:]:
        now, names = findings(command, stage)
        assert (now, names - KNOWN.get(tool, set())) == (status, named), stage.parent.name


@pytest.mark.parametrize("tool", INSTALLED)
def test_an_installed_tool_finds_the_same(tool: str, stages: list[Path]):
    check_same(tool, stages)


@pytest.mark.nightly
@pytest.mark.parametrize("tool", FETCHED)
def test_a_fetched_tool_finds_the_same(tool: str, stages: list[Path]):
    check_same(tool, stages)


# A team's own settings: the file before → with the line that an adoption prints.
OWN = {
    "flake8": ("setup.cfg", "[flake8]\nexclude = build\n", "extend-exclude = .dagmar\n"),
    "black --check .": (
        "pyproject.toml",
        "[tool.black]\nexclude = 'build'\n",
        "extend-exclude = '^/\\.dagmar/'\n",
    ),
    "isort --check .": (
        "pyproject.toml",
        "[tool.isort]\nskip = ['build']\n",
        "extend_skip = ['.dagmar']\n",
    ),
    "pylint --disable=all --enable=C0114,C0115,C0116 .": (
        ".pylintrc",
        "[MAIN]\nrecursive=yes\n",
        "ignore-paths = ^[.]dagmar\n",
    ),
    "yamllint .": (
        ".yamllint",
        "---\nextends: default\n",
        "ignore: [.dagmar/, dagmar.yaml, .copier-answers.yml]\n",
    ),
}


@pytest.mark.parametrize("tool", OWN)
def test_settings_that_make_a_linter_read_the_runner_are_named_with_the_line(
    tool: str, tmp_path: Path
):
    name, before, line = OWN[tool]
    write(tmp_path, {name: before})
    (_, said) = hook("linters").advice(tmp_path)
    assert said.startswith(f"  {name}")
    assert said.endswith(f": {line.strip()}")
    write(tmp_path, {name: before + line})
    assert hook("linters").advice(tmp_path) == []


def test_settings_that_skip_the_runner_are_left_as_they_are(tmp_path: Path):
    write(
        tmp_path,
        {
            "setup.cfg": "[flake8]\nmax-line-length = 99\n[isort]\nprofile = black\n",
            ".flake8": "[flake8]\nexclude = .*,build\n",
            "pyproject.toml": '[tool.black]\nexclude = "/(\\\\.eggs|build)/"\n[tool.pylint.main]\n'
            'jobs = 0\n[tool.ruff.lint]\nselect = ["E"]\n',
            ".pre-commit-config.yaml": "repos:\n- repo: x\n  hooks: [{id: ruff}, {id: check-yaml},"
            " {id: pytest, pass_filenames: false}]\n- {repo: y, hooks: 3}\n",
            ".bandit": "not an ini file",
        },
    )
    assert hook("linters").advice(tmp_path) == []


def test_hooks_of_pre_commit_and_lists_that_exist_get_the_words_to_add(tmp_path: Path):
    config = "repos:\n- repo: x\n  hooks: [{id: ruff}, {id: black}]\n"
    write(
        tmp_path,
        {
            ".pre-commit-config.yaml": f"exclude: ^docs/\n{config}",
            "tox.ini": "[flake8]\nexclude = build\nextend-exclude = docs\n",
            ".bandit": "[bandit]\nexclude = ./build\n",
            "pyproject.toml": '[tool.ruff.lint]\nselect = ["ALL"]\n[tool.pylint.main]\njobs = 0\n',
            "Makefile": "lint:\n\tpylint $(git ls-files '*.py')\n",
        },
    )
    linters = hook("linters")
    assert linters.named(linters.advice(tmp_path)) == [
        "tox.ini", ".bandit", "pyproject.toml", ".pre-commit-config.yaml",
    ]  # fmt: skip
    assert linters.advice(tmp_path)[1:] == [
        "  tox.ini, [flake8]: add .dagmar to extend-exclude",
        "  .bandit, [bandit]: add ./.dagmar to exclude",
        "  pyproject.toml, [tool.pylint.main]: ignore-paths = ['^[.]dagmar']",
        r"  .pre-commit-config.yaml: add |^\.dagmar/ to exclude  # for black",
        '  pyproject.toml, [tool.ruff.lint.per-file-ignores]: "tasks.py" = ["INP001", "CPY001"]',
    ]
    write(tmp_path, {".pre-commit-config.yaml": config})
    assert r"  .pre-commit-config.yaml: exclude: ^\.dagmar/  # for black" in hook("linters").advice(
        tmp_path
    )


@pytest.mark.nightly
@pytest.mark.parametrize("tool", OWN)
def test_the_printed_line_is_needed_and_is_enough(tool: str, stages: list[Path], tmp_path: Path):
    name, before, line = OWN[tool]
    root = Path(shutil.copytree(stages[1], tmp_path / "etl"))
    for text, reads in ((before, True), (before + line, False)):
        write(root, {name: text})
        _, named = findings(tool, root)
        assert any(each.startswith(".dagmar/") for each in named) is reads, text
