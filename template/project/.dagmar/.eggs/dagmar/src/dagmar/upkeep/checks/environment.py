"""Checks of the environment: Python, packages, programs, the disk."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dagmar.errors import SetupError, some
from dagmar.files import read_toml
from dagmar.notebook.compatibility import TESTED_MARIMO, is_tested
from dagmar.project.installing import runner_commands
from dagmar.project.layout import DAGMAR, RUNNER
from dagmar.project.locations import uses_dg
from dagmar.project.survey import survey
from dagmar.project.templates import ANSWERS, is_package, read_answers
from dagmar.project.versions import DAGSTER, PYTHON, as_requirement, minor
from dagmar.upkeep.checking import Finding, Project, Skip, check, failed, passed, unwritable, warned

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OLDEST = tuple(map(int, PYTHON[0].split(".")))
NEW_ENVIRONMENT = "Create the environment again with such a Python, then:"
LITTLE, TOO_LITTLE = 500_000_000, 20_000_000  # bytes


@check("python")
def python(project: Project) -> Finding:
    """The Python version is one that the project supports."""
    version = ".".join(map(str, project.python))
    wanted, unknown = "", False
    with contextlib.suppress(SetupError):  # Python's own tools report it
        table = read_toml(project.root / "pyproject.toml").get("project", {})
        wanted = table.get("requires-python", "")
    if wanted:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            unknown = version not in SpecifierSet(wanted)
        except InvalidSpecifier:
            wanted = ""
    if project.python < OLDEST or unknown:
        oldest = ">=" + ".".join(map(str, OLDEST))
        fits = ",".join(filter(None, [wanted, "" if unknown else oldest]))
        message, install = (
            f"this is Python {version}, and the project needs {fits}",
            project.install,
        )
        if install == "uv sync":
            return failed(message, command=f"{install} --python {shlex.quote(fits)}")
        return failed(message, NEW_ENVIRONMENT, install)
    if minor(version) not in PYTHON:
        message = f"dagmar is not tested with Python {version}"
        tested, install = as_requirement("", PYTHON), project.install
        if install == "uv sync":
            return warned(message, command=f"{install} --python {shlex.quote(tested)}")
        return warned(f"{message}, but with {tested}", NEW_ENVIRONMENT, install)
    return passed(f"Python {version}")


@check("environment")
def environment(project: Project) -> Finding:
    """The task runs in the project's own environment."""
    own = project.root / ".venv"
    if not own.is_dir():
        raise Skip("the project has no .venv")
    if Path(project.prefix).resolve() != own.resolve():
        message = f"this is the Python in {project.prefix}, not the one in .venv"
        command = "invoke doctor"
        if (run := project.run(command)) == command:  # no package manager has a word for it
            inside = "Scripts" if os.name == "nt" else "bin"
            run = f".venv/{inside}/python -m {command}"
        return warned(message, command=run)
    return passed(".venv")


@check("packages")
def packages(project: Project) -> Finding:
    """Everything that dagmar needs is installed, in tested versions."""
    from importlib import metadata

    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in metadata.requires("dagmar") or ()]
    except metadata.PackageNotFoundError:
        return failed("dagmar itself is not installed", command=project.install)
    found, problems = [], []
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"extra": "cli"}):
            continue
        version = project.version(requirement.name)
        if version is None:
            problems.append(f"{requirement.name} is not installed")
        elif not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{requirement.name} is {version}, and must be {requirement.specifier}")
        else:
            found.append(f"{requirement.name} {version}")
    if problems:
        return failed("; ".join(problems), command=project.install)
    marimo = project.version("marimo")
    if marimo and not is_tested(marimo):
        untested = f"dagmar is not tested with marimo {marimo}"
        message = f"{untested}: reports are written by `marimo export`"
        return warned(message, command=project.add(TESTED_MARIMO))
    dagster = project.version("dagster") or ""
    if minor(dagster) not in DAGSTER:
        message = f"dagmar is not tested with Dagster {dagster}"
        return warned(message, command=project.add(as_requirement("dagster", DAGSTER)))
    shown = [name for name in found if name.split()[0] in ("dagster", "marimo", "copier", "invoke")]
    return passed(", ".join(sorted(shown)))


@check("dagster-versions")
def dagster_versions(project: Project) -> Finding:
    """The packages of Dagster fit together, as each one requires of the others."""
    own = project.version("dagster")
    if own is None:
        raise Skip("dagster is not installed")
    odd, together = [], {"dagster"}
    for name, requirement in _required_of_dagster():
        version, needed = project.version(requirement.name), str(requirement.specifier)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            found = f"{version} is installed" if version else "which is not installed"
            odd.append(f"{name} needs {requirement.name}{needed}, {found}")
            together |= {name, requirement.name}
    if odd:
        command = project.install
        if "pip install" in command:  # what is installed already would not be changed by it
            fitting = sorted(together - {"dagster"})
            command = project.add(f"dagster=={own}", *fitting)
        return failed(some(odd), command=command)
    needed_here = ["dagster-webserver", *(["dagster-dg-cli"] if uses_dg(project.root) else [])]
    if missing := [name for name in needed_here if not project.version(name)]:
        verb = "are" if missing[1:] else "is"
        named = f"{' and '.join(missing)} {verb} not installed"
        message = f"{named}, so `invoke dev` cannot start Dagster"
        return warned(message, command=project.add(*missing))
    return passed(f"dagster {own}, and what fits it")


def _required_of_dagster() -> Iterator[tuple[str, Requirement]]:
    """Yield what installed packages of Dagster require of each other, each with who requires it."""
    from importlib import metadata

    from packaging.requirements import Requirement

    # Their folders, because reading the metadata of every distribution would take too long.
    found = (file for place in sys.path for file in Path(place or ".").glob("dagster*.dist-info"))
    for name in sorted({file.name.partition("-")[0].replace("_", "-") for file in found}):
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            used = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if used and requirement.name.startswith("dagster"):
                yield name, requirement


@check("runner")
def runner(project: Project) -> Finding:
    """The dagmar that is imported is the project's own, and has the template's version."""
    import dagmar

    own = project.root / RUNNER
    if own.is_dir():
        used = Path(dagmar.__file__).resolve()
        if not used.is_relative_to(own.resolve()):
            message = f"dagmar is imported from {used.parent}, not from {RUNNER.as_posix()}"
            return warned(message, command=project.install)
        return passed(RUNNER.as_posix())
    if not is_package(project.root):
        raise Skip(f"the project has no {RUNNER.as_posix()}")
    version = str(read_answers(project.root / ANSWERS).get("_commit") or "").removeprefix("v")
    if re.fullmatch(r"[\d.]+", version) and version != dagmar.__version__:
        message = f"dagmar is {dagmar.__version__}, and the template of this project is {version}"
        steps = runner_commands(survey(project.root), version=version)
        return warned(message, command=" && ".join(steps))
    return passed(f"the package dagmar {dagmar.__version__}")


@check("uv")
def uv(project: Project) -> Finding:
    """uv is installed for a project that is locked with it."""
    found = shutil.which("uv", path=project.environ.get("PATH"))
    if found:
        return passed(found)
    if not (project.root / "uv.lock").exists():
        raise Skip("uv is not installed, and the project has no uv.lock")
    return warned("the project has a uv.lock, but uv was not found", command="pip install uv")


@check("permissions")
def permissions(project: Project) -> Finding:
    """The project, its .dagmar and its notebooks can be written to."""
    for folder in (project.root, project.root / DAGMAR, project.notebooks):
        name = project.relative(folder)
        if not folder.exists():
            continue
        if not folder.is_dir():
            command = f"rm -i {shlex.quote(name)}"
            return failed(f"{name} is a file, and must be a folder", command=command)
        if reason := unwritable(folder):
            command = f"ls -ld {shlex.quote(name)} && id"
            return failed(f"{folder} cannot be written to: {reason}", command=command)
    return passed("the project can be written to")


@check("disk")
def disk(project: Project) -> Finding:
    """There is disk space for runs, logs and reports."""
    free = shutil.disk_usage(project.root).free
    message = f"{free / 1e9:.1f} GB free"
    if free < TOO_LITTLE:
        return failed(message, command="invoke clean")
    if free < LITTLE:
        return warned(message, command="invoke clean")
    return passed(message)
