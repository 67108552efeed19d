"""Checks of the environment: Python, packages, programs, the disk."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from dagmar.notebook.compatibility import INSTALL_TESTED, is_tested
from dagmar.project.layout import DAGMAR
from dagmar.upkeep.checking import FAIL, PASS, WARN, Finding, Project, Skip, check, unwritable

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
    wanted = _pyproject(project.root).get("project", {}).get("requires-python", "")
    unknown = False
    if wanted:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            unknown = version not in SpecifierSet(wanted)
        except InvalidSpecifier:
            wanted = ""
    if project.python < OLDEST or unknown:
        oldest = ">=" + ".".join(map(str, OLDEST))
        fits = ",".join(filter(None, [wanted, "" if unknown else oldest]))
        return Finding(
            FAIL, f"this is Python {version}, and the project needs {fits}",
            command=f"uv sync --python {shlex.quote(fits)}",
        )  # fmt: skip
    return Finding(PASS, f"Python {version}")


def _pyproject(root: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return {}


@check("environment")
def environment(project: Project) -> Finding:
    """The task runs in the project's own environment."""
    own = project.root / ".venv"
    if not own.is_dir():
        raise Skip("the project has no .venv")
    if Path(project.prefix).resolve() != own.resolve():
        return Finding(
            WARN, f"this is the Python in {project.prefix}, not the one in .venv",
            command="uv run invoke doctor",
        )  # fmt: skip
    return Finding(PASS, ".venv")


@check("packages")
def packages(project: Project) -> Finding:
    """Everything that dagmar needs is installed, in supported versions."""
    from importlib import metadata

    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in metadata.requires("dagmar") or ()]
    except metadata.PackageNotFoundError:
        return Finding(FAIL, "dagmar itself is not installed", project.install)
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
        return Finding(FAIL, "; ".join(problems), command=project.install)
    marimo = project.version("marimo")
    if marimo and not is_tested(marimo):
        return Finding(
            WARN,
            f"dagmar is not tested with marimo {marimo}: reports are written by `marimo export`",
            command=INSTALL_TESTED,
        )
    shown = [name for name in found if name.split()[0] in ("dagster", "marimo", "copier", "invoke")]
    return Finding(PASS, ", ".join(sorted(shown)))


@check("dagster-versions")
def dagster_versions(project: Project) -> Finding:
    """The packages of Dagster are from one release."""
    own = project.version("dagster")
    if own is None:
        raise Skip("dagster is not installed")
    others = {name: project.version(name) for name in FAMILY}
    if odd := [f"{name} {found}" for name, found in others.items() if found not in (None, own)]:
        return Finding(
            FAIL, f"dagster is {own}, but {', '.join(odd)}",
            command="uv sync --upgrade",
        )  # fmt: skip
    if missing := [name for name in ("dagster-webserver", "dagster-dg-cli") if not others[name]]:
        return Finding(
            WARN, f"{' and '.join(missing)} is not installed, so Dagster cannot be started here",
            command=f"uv add --dev {' '.join(missing)}",
        )  # fmt: skip
    return Finding(PASS, f"all {own}")


@check("runner")
def runner(project: Project) -> Finding:
    """The dagmar that is imported is the project's own."""
    import dagmar

    own = project.root / "tools" / "dagmar"
    if not own.is_dir():
        raise Skip("the project has no tools/dagmar")
    used = Path(dagmar.__file__).resolve()
    if not used.is_relative_to(own.resolve()):
        return Finding(
            WARN, f"dagmar is imported from {used.parent}, not from tools/dagmar", project.install
        )
    return Finding(PASS, "tools/dagmar")


@check("uv")
def uv(project: Project) -> Finding:
    """uv is installed for a project that is locked with it."""
    found = shutil.which("uv", path=project.environ.get("PATH"))
    if found:
        return Finding(PASS, found)
    if not (project.root / "uv.lock").exists():
        raise Skip("uv is not installed, and the project has no uv.lock")
    return Finding(
        WARN, "the project has a uv.lock, but uv was not found", command="pip install uv"
    )


@check("permissions")
def permissions(project: Project) -> Finding:
    """The project, its .dagmar and its notebooks can be written to."""
    for folder in (project.root, project.root / DAGMAR, project.notebooks):
        name = project.relative(folder)
        if not folder.exists():
            continue
        if not folder.is_dir():
            return Finding(FAIL, f"{name} is a file, and must be a folder", command=f"rm -i {name}")
        if reason := unwritable(folder):
            return Finding(
                FAIL, f"{folder} cannot be written to: {reason}", command=f"ls -ld {name} && id"
            )
    return Finding(PASS, "the project can be written to")


@check("disk")
def disk(project: Project) -> Finding:
    """There is disk space for runs, logs and reports."""
    free = shutil.disk_usage(project.root).free
    message = f"{free / 1e9:.1f} GB free"
    if free < LITTLE:
        return Finding(FAIL if free < TOO_LITTLE else WARN, message, command="invoke clean")
    return Finding(PASS, message)


CHECKS = (
    python, environment, packages, dagster_versions, runner, uv, permissions, disk,
)  # fmt: skip
