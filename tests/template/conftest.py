"""Fixtures: a released template to share, one to release more of, and projects made from them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from plumbum import local
from support.git import git
from support.http_server import closed_port, dagster, serve
from support.shop_project import ANSWERS, PAIRS, TEMPLATES, make_shop, scaffold
from support.template_releases import ROOT, RUNNER, SHELF, Project, Template, write


@pytest.fixture(scope="session", autouse=True)
def _same_copier_everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the settings of whoever runs the tests out of them."""
    settings = tmp_path_factory.mktemp("settings") / "copier.yml"
    settings.write_text("{}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COPIER_SETTINGS_PATH", str(settings))
        # Copier starts git and hooks with the environment that plumbum saw when it was imported.
        with local.env(COPIER_SETTINGS_PATH=str(settings)):
            yield


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The working tree's template, tagged v1.0.0. Shared: do not change it."""
    path = tmp_path_factory.mktemp("released") / "template"
    parts = ("copier.yml", "hooks", "template")
    listed = git(ROOT, "ls-files", "-co", "--exclude-standard", "-z", "--", *parts)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():  # deleted, and not committed yet
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    git(path, "init", "-q", "-b", "main")
    template = Template(path)
    template.release("v1.0.0")
    return template


@pytest.fixture(scope="session")
def small(released: Template, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The same without the runner's modules, which only take time. Shared: do not change it."""
    path = tmp_path_factory.mktemp("small") / "template"
    shutil.copytree(released.path, path, ignore=shutil.ignore_patterns(".git"))
    # Included by the template, and loaded by its hooks.
    package = path / RUNNER / "src/dagmar"
    files = [package / name for name in ("dev/dagster.yaml", "errors.py", "files.py")]
    files += package.glob("project/*.*")
    files += [file for file in (path / SHELF).rglob("*.*") if file.suffix not in (".py", ".pyc")]
    texts = {file.relative_to(path).as_posix(): file.read_text("utf-8") for file in files}
    shutil.rmtree(path / RUNNER / "src")
    write(path, {f"{RUNNER}/src/dagmar/__init__.py": '__version__ = "1.0.0"\n', **texts})
    git(path, "init", "-q", "-b", "main")
    template = Template(path)
    template.release("v1.0.0")
    return template


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The questions alone, in a folder without git: the fastest way to an answer."""
    path = tmp_path_factory.mktemp("questions")
    shutil.copy2(ROOT / "copier.yml", path)
    reserved = f"{SHELF}/reserved.yml"
    text = (ROOT / reserved).read_text("utf-8")
    write(path, {reserved: text, "template/notebook/x": ""})
    return Template(path)


@pytest.fixture
def template(small: Template, tmp_path: Path) -> Template:
    """A small template at v1.0.0 that may be changed, to release more versions of."""
    return Template(shutil.copytree(small.path, tmp_path / "template"))


@pytest.fixture(scope="session")
def _project(small: Template, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One project for all; each test has a copy."""
    return small.project(tmp_path_factory.mktemp("small-project") / "my-project")


@pytest.fixture
def project(_project: Project, template: Template, tmp_path: Path) -> Project:
    """A committed project at v1.0.0 of the small template."""
    return _project.duplicate(tmp_path / "my-project", template)


@pytest.fixture(scope="session")
def fresh(released: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a project with all defaults. Shared: do not change it."""
    path = tmp_path_factory.mktemp("fresh") / "my-project"
    released.copy(path)
    return path


@pytest.fixture(scope="session")
def nobody() -> Iterator[str]:
    """The address of a port that nobody listens on."""
    holder, url = closed_port()
    with holder:
        yield url


@pytest.fixture(scope="session")
def _shop(small: Template, tmp_path_factory: pytest.TempPathFactory, nobody: str) -> Project:
    """One project for all; each test has a copy."""
    tmp = tmp_path_factory.mktemp("shop")
    template = Template(shutil.copytree(small.path, tmp / "template"))
    return make_shop(template, tmp / "shop", nobody)


@pytest.fixture
def shop(_shop: Project, tmp_path: Path) -> Project:
    """A committed project with definitions, and no server."""
    return Project(shutil.copytree(_shop.path, tmp_path / "shop"), _shop.template)


@pytest.fixture(scope="session")
def _online(_shop: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    path = shutil.copytree(_shop.path, tmp_path_factory.mktemp("online") / "shop")
    project = Project(path, _shop.template)
    with serve(dagster(ANSWERS)) as server:
        write(path, {"dagmar.yaml": f"targets: {{local: {{url: '{server.url}'}}}}\n"})
        project.commit()
        yield project


@pytest.fixture
def online(_online: Project, tmp_path: Path) -> Project:
    """The same project, with a server that has the same assets; querying it is faster."""
    return Project(shutil.copytree(_online.path, tmp_path / "shop"), _online.template)


@pytest.fixture(scope="session")
def full(_shop: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a notebook of every template for every kind of pair. Do not change it."""
    path = shutil.copytree(_shop.path, tmp_path_factory.mktemp("full") / "shop")
    shop = Project(path, _shop.template)
    pairs = [flag for pair in PAIRS.values() for flag in pair]
    for template in TEMPLATES:
        scaffold(shop, *pairs, "--template", template, "--force")
        (path / "notebooks").rename(path / template)
    (path / "notebooks").mkdir()
    for template in TEMPLATES:
        (path / template).rename(path / "notebooks" / template)
    return shop
