"""The answer `runner`: a copy of the runner or the package, and updates that move between both."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from dagmar.upkeep.update import Update
from support.git import git
from support.shop_project import invoke
from support.template_releases import COPIED, RUNNER, Project, Template, tree, write

PIN = "dagmar[cli]==1.0.0"
OLD_SCHEMA = f"# yaml-language-server: $schema={COPIED}/src/dagmar/project/settings.schema.json\n"


@pytest.mark.nightly
def test_a_project_of_the_package_has_no_copy(small: Template, tmp_path: Path) -> None:
    copy, package = tmp_path / "copy/shop", tmp_path / "package/shop"
    small.copy(copy)
    assert small.copy(package, data={"runner": "package"})["runner"] == "package"
    before, after = tree(copy), tree(package)
    gone = before.keys() - after.keys()
    assert gone == {name for name in before if name.startswith(".dagmar/.eggs/")} | {
        ".dagmar/.gitattributes"
    }
    assert after.keys() <= before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {".copier-answers.yml", "README.md", "pyproject.toml"}
    for name in ("README.md", "pyproject.toml"):
        text = after[name].decode()
        assert (PIN in text, ".eggs" in text, "tool.uv" in text) == (True, False, False)


def test_one_line_makes_the_package_the_default_of_new_projects_alone(
    questions: Template, tmp_path: Path
) -> None:
    template = Template(shutil.copytree(questions.path, tmp_path / "template"))
    text = (template.path / "copier.yml").read_text("utf-8")
    name, _, rest = text.partition("\nnew_runner:\n")
    rest = rest.replace("default: copy\n", "default: package\n", 1)
    init = f"{RUNNER}/src/dagmar/__init__.py"
    write(template.path, {"copier.yml": f"{name}\nnew_runner:\n{rest}", init: ""})
    assert questions.copy(tmp_path / "x", pretend=True)["runner"] == "copy"
    assert template.copy(tmp_path / "x", pretend=True)["runner"] == "package"
    write(tmp_path / "older", {".copier-answers.yml": "adopt: false\nkind: project\n"})
    assert template.copy(tmp_path / "older", pretend=True)["runner"] == "copy"


@pytest.fixture(scope="module")
def moved(small: Template, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project whose formatted copy was replaced with the package, and what was said."""
    tmp = tmp_path_factory.mktemp("moved")
    template = Template(shutil.copytree(small.path, tmp / "template"))
    project = template.project(tmp / "shop", example=False)
    module = f"{COPIED}/src/dagmar/errors.py"
    settings = project.read("dagmar.yaml").partition("\n")[2]
    cache = f"{COPIED}/src/dagmar/__pycache__/x.pyc"
    texts = {
        module: project.read(module).replace("\n\n\n", "\n"),
        "dagmar.yaml": OLD_SCHEMA + settings,
    }
    write(project.path, texts | {cache: "x"})
    (project.path / f"{COPIED}/src/dagmar/files.py").unlink()
    project.commit()
    done = invoke(project, "update", "--runner", "package", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["available"], document["runner"], document["move"]) == (
        True,
        "copy",
        "package",
    )
    return project, done.stderr


def test_a_copy_is_replaced_with_the_package(moved: tuple[Project, str], tmp_path: Path) -> None:
    project, said = moved
    assert f"{COPIED} was removed: this project depends on the package dagmar now.\n" in said
    assert "To install dagmar, type: uv sync\n" in said
    project.template.copy(tmp_path / "shop", data={"runner": "package", "example": False})
    found, wanted = tree(project.path), tree(tmp_path / "shop")
    assert {name: found[name] for name in wanted} == wanted
    assert f'"{PIN}"' in project.read("pyproject.toml")
    assert not (project.path / ".dagmar/.eggs").exists()
    assert git(project.path, "diff", "--cached", "--name-only") == ""


@pytest.mark.parametrize("move", ["package", ""])
def test_a_moved_copy_is_one_line_below_which_nothing_scrolls_away(
    move: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f".dagmar/.eggs/{name}" for name in ("ruff.toml", "dagmar/README.md")]
    Update("v1", "v2", move=move, merged=True, changed=["pyproject.toml", *names]).show()
    listed = [".dagmar/.eggs/  (2 files)"] if move else names
    assert capsys.readouterr().out.splitlines() == ["pyproject.toml", *listed]


@pytest.mark.nightly
def test_the_package_is_replaced_with_the_copy_of_the_newest_version(
    moved: tuple[Project, str], tmp_path: Path
) -> None:
    template = Template(shutil.copytree(moved[0].template.path, tmp_path / "template"))
    project = Project(shutil.copytree(moved[0].path, tmp_path / "shop"), template)
    place = str(moved[0].template.path)
    project.replace(".copier-answers.yml", place, str(template.path))
    project.commit()
    init = f"{RUNNER}/src/dagmar/__init__.py"
    release = {init: '__version__ = "1.1.0"\n', f"{RUNNER}/README.md": "new\n"}
    template.release("v1.1.0", files=release)
    done = invoke(project, "update")
    assert done.returncode == 0, done.stderr
    assert '"dagmar[cli]==1.1.0"' in project.read("pyproject.toml")
    assert not (project.path / ".dagmar/.eggs").exists()
    assert "To install dagmar, type: uv sync\n" in done.stderr
    project.commit()
    write(project.path, {f"{COPIED}/README.md": "mine\n", ".git/info/exclude": "README.md\n"})
    done = invoke(project, "update", "--runner", "copy")
    assert (done.returncode, f"  {COPIED}/README.md\n" in done.stderr) == (8, True)
    assert project.read(f"{COPIED}/README.md") == "mine\n"
    shutil.rmtree(project.path / ".dagmar/.eggs")
    write(project.path, {".git/info/exclude": ""})
    done = invoke(project, "update", "--runner", "copy")
    assert done.returncode == 0, done.stderr
    template.copy(tmp_path / "fresh/shop", data={"example": False})
    found, wanted = tree(project.path), tree(tmp_path / "fresh/shop")
    assert {name: found.get(name) for name in wanted} == wanted


@pytest.mark.nightly  # which files: test_runner_files.py
def test_edits_of_a_copy_are_listed_and_nothing_is_changed(project: Project) -> None:
    module = f"{COPIED}/src/dagmar/errors.py"
    project.replace(module, "exit_code = 3", "exit_code = 33")
    write(project.path, {f"{COPIED}/src/dagmar/mine.py": "MINE = 1\n"})
    project.replace(".dagmar/.eggs/ruff.toml", "exclude", "# mine\nexclude")
    project.commit()
    assert (
        "runner: copy → package" in invoke(project, "update", "--check", "--runner=package").stdout
    )
    done = invoke(project, "update", "--runner", "package")
    assert done.returncode == 8
    listed = [line.strip() for line in done.stderr.splitlines() if line.startswith("  .dagmar")]
    assert listed == [module, f"{COPIED}/src/dagmar/mine.py", ".dagmar/.eggs/ruff.toml"]
    assert "the files above have edits that the package lacks" in done.stderr
    assert project.status() == []
    done = invoke(project, "update", "--runner", "wheel")
    assert (done.returncode, "Give --runner copy or package." in done.stderr) == (2, True)


@pytest.mark.nightly  # the commands: test_survey.py
def test_an_adopted_repository_is_told_what_replaces_the_requirement(
    template: Template, tmp_path: Path
) -> None:
    theirs = '[project]\nname = "x"\ndependencies = ["dagmar"]\n'
    write(tmp_path / "legacy", {"pyproject.toml": theirs, "uv.lock": ""})
    project = template.project(tmp_path / "legacy")
    done = invoke(project, "update", "--runner", "package")
    assert done.returncode == 0, done.stderr
    assert (
        "type: uv remove --frozen --dev dagmar && uv remove --frozen dagmar && "
        f"uv add --dev '{PIN}' && uv add dagmar==1.0.0\n"
    ) in done.stderr
    assert project.read("pyproject.toml") == theirs
