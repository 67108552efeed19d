"""Checks of the environment: Python, packages, programs, the disk."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from pathlib import Path

from dagmar.errors import SetupError
from dagmar.notebook.compatibility import TESTED_MARIMO, is_tested
from dagmar.project.layout import DAGMAR, RUNNER
from dagmar.project.locations import read_toml, uses_dg
from dagmar.upkeep.checking import Finding, Project, Skip, check, failed, passed, unwritable, warned

OLDEST = (3, 10)
# Released together with dagster, under the same version.
FAMILY = (
    "dagster-webserver", "dagster-graphql", "dagster-pipes", "dagster-shared", "dagster-dg-cli",
    "dagster-dg-core",
)  # fmt: skip
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
        command = f"uv sync --python {shlex.quote(fits)}"
        return failed(f"this is Python {version}, and the project needs {fits}", command=command)
    return passed(f"Python {version}")


@check("environment")
def environment(project: Project) -> Finding:
    """The task runs in the project's own environment."""
    own = project.root / ".venv"
    if not own.is_dir():
        raise Skip("the project has no .venv")
    if Path(project.prefix).resolve() != own.resolve():
        message = f"this is the Python in {project.prefix}, not the one in .venv"
        return warned(message, command="uv run invoke doctor")
    return passed(".venv")


@check("packages")
def packages(project: Project) -> Finding:
    """Everything that dagmar needs is installed, in supported versions."""
    from importlib import metadata

    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in metadata.requires("dagmar") or ()]
    except metadata.PackageNotFoundError:
        return failed("dagmar itself is not installed", project.install)
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
    shown = [name for name in found if name.split()[0] in ("dagster", "marimo", "copier", "invoke")]
    return passed(", ".join(sorted(shown)))


@check("dagster-versions")
def dagster_versions(project: Project) -> Finding:
    """The packages of Dagster are from one release."""
    own = project.version("dagster")
    if own is None:
        raise Skip("dagster is not installed")
    others = {name: project.version(name) for name in FAMILY}
    if odd := [f"{name} {found}" for name, found in others.items() if found not in (None, own)]:
        message = f"dagster is {own}, but {', '.join(odd)}"
        command = "uv sync --upgrade"
        if project.install != "uv sync":
            command = project.add(*(f"{name}=={own}" for name in FAMILY if others[name]))
        return failed(message, command=command)
    needed = ["dagster-webserver", *(["dagster-dg-cli"] if uses_dg(project.root) else [])]
    if missing := [name for name in needed if not others[name]]:
        message = f"{' and '.join(missing)} is not installed, so `invoke dev` cannot start Dagster"
        return warned(message, command=project.add(*missing, dev=True))
    return passed(f"all {own}")


@check("runner")
def runner(project: Project) -> Finding:
    """The dagmar that is imported is the project's own."""
    import dagmar

    own = project.root / RUNNER
    if not own.is_dir():
        raise Skip(f"the project has no {RUNNER.as_posix()}")
    used = Path(dagmar.__file__).resolve()
    if not used.is_relative_to(own.resolve()):
        message = f"dagmar is imported from {used.parent}, not from {RUNNER.as_posix()}"
        return warned(message, project.install)
    return passed(RUNNER.as_posix())


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
