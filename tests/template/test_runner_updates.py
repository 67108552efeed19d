"""The runner in an update: it moves, formatters do not matter, and no edit is lost."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.git import commit, git
from support.hooks import hook
from support.template_releases import COPIED, ROOT, RUNNER, Project, Template, tree, write

wiring = hook("migrations/v0_2_0")
OLD = "tools/dagmar"
MODULE = '''"""What is edited here."""

import os
import re

LIMITS = {"a": 1, "b": 2}


def first(text: str) -> str:
    """Return the first word."""
    return re.split(" ", text)[0]


def second(text: str) -> str:
    """Return the second word."""
    return re.split(" ", text)[1]


def last(text: str) -> str:
    """Return the last word, with the separator of paths."""
    return re.split(" ", text)[-1] + os.sep
'''
NEW = MODULE.replace("[0]", "[0].strip()")
FILES = {f"src/dagmar/{name}.py": MODULE for name in ("formatted", "edited", "both", "gone")}
UNFORMATTED = MODULE.replace('"', "'").replace("\n\n\n", "\n").replace(" text)", " text , )")


@pytest.fixture(scope="module")
def moved(small: Template, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project from before 0.2.0 with edits everywhere, after an update that moves the runner."""
    tmp = tmp_path_factory.mktemp("moved")
    path = shutil.copytree(small.path, tmp / "template", ignore=shutil.ignore_patterns(".git"))
    git(path, "init", "-q", "-b", "main")
    template = Template(path)
    (path / "hooks/migrations/v0_2_0.py").unlink()
    (path / "template/project/tools").mkdir()
    (path / RUNNER).rename(path / f"template/project/{OLD}")
    naming = git(
        path, "grep", "-l", "--untracked", "--fixed-strings", COPIED, "--", "*"
    ).splitlines()
    for file in (path / name for name in naming):
        file.write_text(file.read_text("utf-8").replace(COPIED, OLD), "utf-8")
    wiring_file = path / "template/project/pyproject.toml.jinja"  # did not know of the package
    text = wiring_file.read_text("utf-8").replace("{{ requirement }}", "dagmar[cli]")
    wiring_file.write_text(text, "utf-8")
    added = ('    "dagster>=', '    "dagmar",\n    "dagster>=')
    old = {f"template/project/{OLD}/{name}": text for name, text in FILES.items()}
    template.release("v0.1.0", {"template/project/pyproject.toml.jinja": added}, old)
    project = template.project(tmp / "my-project", example=False)
    names = {
        "formatted": UNFORMATTED,
        "edited": UNFORMATTED.replace("[1]", "[1].lower()"),
        "both": UNFORMATTED.replace("[0]", "[0].lower()"),
        "mine": "MINE = 1\n",
    }
    write(project.path, {f"{OLD}/src/dagmar/{name}.py": text for name, text in names.items()})
    (project.path / f"{OLD}/src/dagmar/gone.py").unlink()
    project.replace("pyproject.toml", '    "dagmar",\n', '    "boto3",  # for us\n    "dagmar",\n')
    schema = f"$schema={OLD}/src/dagmar/settings.schema.json"
    write(
        project.path,
        {
            "Dockerfile": f"RUN pip install -e {OLD}\n",
            "uv.lock": f'source = {{ editable = "{OLD}" }}\n',
            "dagmar.yaml": f"# yaml-language-server: {schema}\ntarget: prod\n",
        },
    )
    bytecode = f"{OLD}/src/dagmar/__pycache__/x.pyc"
    write(project.path, {bytecode: "x"})
    project.commit()
    for part in ("hooks", "template"):
        shutil.rmtree(path / part)
        shutil.copytree(small.path / part, path / part)
    shutil.copy2(small.path / "copier.yml", path)
    new = {f"{RUNNER}/{name}": NEW for name in FILES}
    template.release("v0.2.0", files={**new, f"{RUNNER}/README.md": "new\n"})
    project.update()
    return project


def test_the_runner_moves_with_the_users_edits_and_without_formatting(moved: Project):
    assert not (moved.path / "tools").exists()
    module = f"{COPIED}/src/dagmar"
    assert moved.read(f"{module}/formatted.py") == NEW
    edited = moved.read(f"{module}/edited.py")
    assert [line for line in edited.splitlines() if line not in NEW.splitlines()] == [
        "    return re.split(' ', text , )[1].lower()"
    ]
    assert moved.read(f"{module}/mine.py") == "MINE = 1\n"
    assert not (moved.path / f"{module}/gone.py").exists()
    assert moved.read(f"{COPIED}/README.md") == "new\n"


def test_only_what_both_changed_in_the_same_line_is_a_conflict(moved: Project):
    name = f"{COPIED}/src/dagmar/both.py"
    assert git(moved.path, "diff", "--name-only", "--diff-filter=U") == f"{name}\n"
    ours, _, theirs = moved.read(name).partition("=======\n")
    assert "<<<<<<< before updating\n    return re.split(' ', text , )[0].lower()\n" in ours
    assert theirs.startswith('    return re.split(" ", text)[0].strip()\n>>>>>>> after updating\n')
    stages = git(moved.path, "ls-files", "--unmerged").splitlines()
    assert [line.split()[2] for line in stages] == ["1", "2", "3"]


def test_what_names_the_runner_follows_it(moved: Project):
    pyproject = moved.read("pyproject.toml")
    production = pyproject.partition("[dependency-groups]")[0]
    assert '    "boto3",  # for us\n    "dagster>=' in production
    assert '"dagmar"' not in production
    assert f'dagmar = {{ path = "{COPIED}", editable = true }}' in pyproject
    assert moved.read("uv.lock") == f'source = {{ editable = "{COPIED}" }}\n'
    assert moved.read("dagmar.yaml").startswith(
        "# yaml-language-server: $schema=.dagmar/settings.schema.json\n"
    )
    assert moved.read("Dockerfile") == f"RUN pip install -e {OLD}\n"  # theirs: only reported


@pytest.mark.nightly  # without Copier: test_runner_files.py
def test_later_updates_ignore_formatting_and_keep_edits_too(
    moved: Project, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    template = Template(shutil.copytree(moved.template.path, tmp_path / "template"))
    project = Project(shutil.copytree(moved.path, tmp_path / "my-project"), template)
    answers = project.read(".copier-answers.yml")
    place, module = str(moved.template.path), f"{COPIED}/src/dagmar"
    formatted = NEW.replace('"', "'").replace("\n\n\n", "\n\n")
    write(
        project.path,
        {
            ".copier-answers.yml": answers.replace(place, str(template.path)),
            f"{module}/formatted.py": formatted.replace("\n", "\r\n"),
            f"{module}/both.py": formatted.replace("[1]", "[1].lower()  # mine"),
        },
    )
    project.commit()
    newest = {f"{RUNNER}/{name}": NEW.replace("[-1]", "[-1][:9]") for name in FILES}
    template.release("v0.3.0", files=newest)
    capfd.readouterr()
    project.update()
    said = capfd.readouterr().err
    assert "Replaced 1 files of the runner in which only the layout differed." in said
    assert f"into these files of the runner:\n  {module}/both.py\n  {module}/edited.py\n" in said
    assert project.read(f"{module}/formatted.py") == newest[f"{RUNNER}/src/dagmar/formatted.py"]
    for name in ("both", "edited"):
        text = project.read(f"{module}/{name}.py")
        assert ".lower()" in text
        assert "[-1][:9]" in text
    assert not (project.path / f"{module}/gone.py").exists()
    assert project.read(f"{module}/mine.py") == "MINE = 1\n"
    assert git(project.path, "diff", "--cached", "--name-only") == ""


PYPROJECT = """\
[project]
name = "x"
dependencies = [
    # ours
    "boto3>=1",
    "dagmar[cli]",  # tasks
    "zarr[x]>=2",
]

[project.optional-dependencies]
dev = ["dagmar-like"]

[tool.uv.sources]
dagmar = { path = "tools/dagmar", editable = true }
other = { path = "tools/dagmar-like" }

[tool.dg.project]
registry_modules = [
    "x.components.*",
    "dagmar",
    "y.*",
]

[tool.ruff]
extend-exclude = ["./tools/dagmar", "tools/dagmar/**"]  # tools/dagmar
"""


def test_only_dagmars_entry_of_an_adopted_project_changes():
    text = wiring.rewire(PYPROJECT)
    assert text == (
        PYPROJECT.replace('    "dagmar[cli]",  # tasks\n', "")
        .replace('    "dagmar",\n', "")
        .replace('"tools/dagmar"', f'"{COPIED}"')
        .replace("./tools/dagmar", f"./{COPIED}")
        .replace("tools/dagmar/**", f"{COPIED}/**")
        .replace("# tools/dagmar\n", f"# {COPIED}\n")
        + '\n[dependency-groups]\ndev = [\n    "dagmar[cli]",\n]\n'
    )
    assert wiring.rewire(text) == text
    kept = wiring.rewire(PYPROJECT, keep=True)
    assert '    "dagmar[cli]",  # tasks\n' in kept
    assert f'path = "{COPIED}"' in kept


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('dependencies = ["dagmar[cli]"]', "dependencies = []"),
        ('dependencies = ["a", "dagmar[cli]"]', 'dependencies = ["a"]'),
        ('dependencies = ["dagmar[cli]", "b"]', 'dependencies = ["b"]'),
        ("dependencies = [\n  'a',\n  'dagmar[cli]'\n]", "dependencies = [\n  'a',\n]"),
        ('dependencies = ["dagmar-like", "a]"]', 'dependencies = ["dagmar-like", "a]"]'),
        ('[tool.poetry]\ndependencies = ["dagmar"]', '[tool.poetry]\ndependencies = ["dagmar"]'),
        ("dependencies = [", "dependencies = ["),
    ],
)
def test_a_dependency_is_taken_out_of_any_array(before: str, after: str):
    text = wiring.rewire(f"[project]\n{before}\n")
    assert text.partition("\n\n[dependency-groups]")[0].rstrip("\n") == f"[project]\n{after}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[dependency-groups]\ndev = []\n", '[dependency-groups]\ndev = ["dagmar"]\n'),
        ('[dependency-groups]\ndev = ["b"]\n', '[dependency-groups]\ndev = ["dagmar", "b"]\n'),
        (
            '[dependency-groups]\ndev = [\n    "b",\n]\n',
            '[dependency-groups]\ndev = [\n    "dagmar",\n    "b",\n]\n',
        ),
        (
            '[dependency-groups]\nlint = ["b"]\n',
            '[dependency-groups]\ndev = [\n    "dagmar",\n]\nlint = ["b"]\n',
        ),
    ],
)
def test_a_dependency_is_added_to_any_group(before: str, after: str):
    assert wiring.add_to_dev(before, '"dagmar"') == after
    assert wiring.add_to_dev(after, '"dagmar"') == after


def test_dagmar_stays_in_production_where_definitions_import_it(tmp_path: Path):
    git(tmp_path, "init", "-q")
    notebook = "import marimo\napp = marimo.App()\nfrom dagmar import Pair\n"
    write(
        tmp_path,
        {
            "tasks.py": "from dagmar.tasks import namespace\n",
            "tests/test_x.py": "import dagmar\n",
            "notebooks/orders.py": notebook,
            "src/x/other.py": "import dagmarlike  # import dagmar\n",
        },
    )
    commit(tmp_path)
    assert wiring.find_uses(tmp_path) == []
    write(
        tmp_path,
        {
            "src/x/definitions.py": "import dagmar\n",
            "src/x/assets.py": "    from notebooks.orders import clean\n",
        },
    )
    commit(tmp_path)
    assert wiring.find_uses(tmp_path) == ["src/x/assets.py", "src/x/definitions.py"]


TASK = """

from invoke.tasks import task


@task
def ours(c):
    "Ours."


ns.add_task(ours)
"""
WORK = r"^\.dagmar/cache/|/__pycache__/"
VERSIONS = {
    "v0.0.1": "1b42ca4",  # the first from which a project could be made and updated
    "v0.0.2": "61421a1",
    "v0.0.3": "104d99a",  # modules had moved into rooms
    "v0.0.4": "cbd0d60",  # the last with the runner in tools/dagmar
}


@pytest.fixture(scope="module")
def history(released: Template, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A clone with old versions as tags, and the working tree's template as the newest."""
    known = [
        subprocess.run(["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=ROOT).returncode
        for commit in VERSIONS.values()
    ]
    if any(known):
        pytest.skip("the history is not here: git fetch --unshallow")
    path = tmp_path_factory.mktemp("history") / "template"
    git(ROOT, "clone", "-q", "--no-checkout", str(ROOT), str(path))
    for tag, version in VERSIONS.items():
        git(path, "tag", tag, version)
    git(path, "checkout", "-q", VERSIONS["v0.0.4"])
    for part in ("copier.yml", "hooks", "template"):
        place = released.path / part
        if place.is_dir():
            shutil.rmtree(path / part)
            shutil.copytree(place, path / part)
        else:
            shutil.copy2(place, path / part)
    template = Template(path)
    template.release("v0.2.0")
    return template


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_project_without_edits_becomes_a_new_one(
    history: Template, version: str, tmp_path: Path
):
    project = make(history, version, tmp_path / "my-project")
    update(project)
    history.copy(tmp_path / "fresh/my-project")
    found, wanted = (
        {name: text for name, text in tree(path).items() if not re.search(WORK, name)}
        for path in (project.path, tmp_path / "fresh/my-project")
    )
    once = {"dagmar.yaml", "tasks.py"}
    assert found.keys() ^ wanted.keys() == set()
    assert [name for name in wanted if found[name] != wanted[name] and name not in once] == []


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("version", VERSIONS)
def test_no_edit_of_an_old_project_is_lost(history: Template, version: str, tmp_path: Path):
    project = make(history, version, tmp_path / "my-project")
    runner = project.path / OLD / "src/dagmar"
    formatting = [sys.executable, "-m", "ruff", "format", "-q", "--isolated", "--line-length=70"]
    subprocess.run([*formatting, str(runner)], check=True)
    project.replace(f"{OLD}/src/dagmar/errors.py", "exit_code = 9", "exit_code = 19  # mine")
    project.replace(f"{OLD}/README.md", "# ", "# Our ")
    project.replace("pyproject.toml", '    "dagmar",\n', '    "boto3",\n    "dagmar",\n')
    notebook = project.read("notebooks/daily_delays.py")
    extra = '@app.cell\ndef _():\n    "mine"\n    return\n\n\nif __name__'
    write(
        project.path,
        {
            "notebooks/daily_delays.py": notebook.replace("if __name__", extra),
            f"{OLD}/src/dagmar/mine.py": "MINE = 1\n",
            "tasks.py": project.read("tasks.py") + TASK,
            "Makefile": f"install:\n\tpip install -e {OLD}\n",
        },
    )
    (project.path / "notebooks/on_time_rate.py").unlink()
    project.commit()
    update(project)
    assert git(project.path, "diff", "--name-only", "--diff-filter=U") == ""
    for name, text in {
        f"{COPIED}/src/dagmar/errors.py": "exit_code = 19  # mine\n",
        f"{COPIED}/README.md": "# Our ",
        f"{COPIED}/src/dagmar/mine.py": "MINE = 1\n",
        "pyproject.toml": '    "boto3",\n    "dagster',
        "tasks.py": TASK,
        "notebooks/daily_delays.py": '"mine"\n',
    }.items():
        assert text in project.read(name), name
    assert not (project.path / "notebooks/on_time_rate.py").exists()
    project.commit()
    environ = {**os.environ, "PYTHONPATH": f"{COPIED}/src"}
    for task in (["--list"], ["update", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *task],
            cwd=project.path,
            env=environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


def make(history: Template, version: str, path: Path) -> Project:
    """Make a project of an old version."""
    history.copy(path, vcs_ref=version)
    git(path, "init", "-q", "-b", "main")
    project = Project(path, history)
    project.commit()
    return project


def update(project: Project) -> None:
    """Type `invoke update`, with the runner that is moved by it."""
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "update"],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(project.path / OLD / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
