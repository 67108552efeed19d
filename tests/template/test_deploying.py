"""What a project deploys: the Dockerfiles of docs/how-to/deploy.md, typed without Docker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.git import git
from support.template_releases import ROOT, Project, Template

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = (ROOT / "docs/how-to/deploy.md").read_text("utf-8")
PLAIN, WITH_DAGMAR = re.findall(r"```dockerfile\n(.*?)```", PAGE, re.DOTALL)
ADD = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)[0].strip()


def typed(command: str, folder: Path) -> str:
    """Type a command in a folder that has no other environment than its own."""
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    path = f"{folder / '.venv/bin'}{os.pathsep}{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=folder,
        env={**environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def build(dockerfile: str, project: Path, image: Path) -> None:
    """Do what the COPY and RUN lines say, in an empty folder."""
    image.mkdir()
    for line in dockerfile.splitlines():
        word, _, rest = line.partition(" ")
        if word == "RUN":
            typed(rest, image)
        elif word == "COPY" and not rest.startswith("--from"):
            *names, target = rest.split()
            for name in names:
                to = image / target / ("" if (project / name).is_dir() else name)
                if (project / name).is_dir():
                    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__")
                    shutil.copytree(project / name, to, dirs_exist_ok=True, ignore=ignored)
                else:
                    shutil.copy2(project / name, to)


def imports(image: Path) -> set[str]:
    """Return which of these can be imported in the image, and load the definitions."""
    look = "import importlib.util as u; print(*filter(u.find_spec, ['dagmar', 'copier', 'invoke']))"
    typed(".venv/bin/python -c 'import my_project.definitions as d; d.defs()'", image)
    return set(typed(f'.venv/bin/python -c "{look}"', image).split())


@pytest.fixture
def deployed(released: Template, tmp_path: Path) -> Project:
    project = released.project(tmp_path / "my-project")
    typed("uv lock --quiet", project.path)
    return project


def test_a_project_requires_dagmar_for_developers_only(fresh: Path):
    document = tomllib.loads((fresh / "pyproject.toml").read_text("utf-8"))
    developers = document.pop("dependency-groups")
    assert "dagmar[cli]" in developers["dev"]
    assert "dagmar" not in str(document["project"]) + str(document["build-system"])
    copied = [line for line in PLAIN.splitlines() if line.startswith("COPY ")]
    assert not [line for line in copied if ".dagmar" in line]
    assert "COPY .dagmar/.eggs .dagmar/.eggs\n" in WITH_DAGMAR


@pytest.mark.nightly
def test_the_image_of_a_project_does_not_contain_dagmar(deployed: Project, tmp_path: Path):
    build(PLAIN, deployed.path, tmp_path / "image")
    assert imports(tmp_path / "image") == set()
    # With the runner, uv finds that the lock is up to date.
    locked = PLAIN.replace("--frozen", "--locked").replace(
        "RUN", "COPY .dagmar/.eggs .dagmar/.eggs\nRUN", 1
    )
    build(locked, deployed.path, tmp_path / "locked")
    assert "dagmar" not in typed("uv export --quiet --frozen --no-dev", deployed.path)
    typed("uv build --quiet --wheel --out-dir dist", deployed.path)
    (wheel,) = (deployed.path / "dist").glob("*.whl")
    assert "dagmar" not in typed(f"unzip -p {wheel} '*/METADATA'", deployed.path)


@pytest.mark.nightly
def test_a_project_that_uses_dagmar_in_production_has_its_core(deployed: Project, tmp_path: Path):
    typed(f"{ADD} --quiet --no-sync", deployed.path)
    build(WITH_DAGMAR, deployed.path, tmp_path / "image")
    assert imports(tmp_path / "image") == {"dagmar"}


@pytest.mark.nightly
@pytest.mark.parametrize("uses_dagmar", [False, True])
def test_pip_installs_a_project(deployed: Project, tmp_path: Path, uses_dagmar: bool):
    commands = re.findall(r"`RUN (pip .*?)`", PAGE)
    if uses_dagmar:
        typed(f"{ADD} --quiet --no-sync", deployed.path)
    image = tmp_path / "image"
    build(
        f"RUN uv venv --quiet --seed\nCOPY . .\nRUN {commands[uses_dagmar]}", deployed.path, image
    )
    assert imports(image) == ({"dagmar"} if uses_dagmar else set())


@pytest.mark.nightly
def test_a_developers_clone_has_everything(deployed: Project, tmp_path: Path):
    deployed.commit()
    git(tmp_path, "clone", "-q", str(deployed.path), "clone")
    typed("uv sync --quiet --locked", tmp_path / "clone")
    assert imports(tmp_path / "clone") == {"dagmar", "copier", "invoke"}
