"""What to type to install packages, in the words of the project's own package manager."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from dagmar import __version__
from dagmar.errors import SetupError
from dagmar.project.layout import RUNNER, find_root
from dagmar.project.survey import (
    CONDA,
    PDM,
    PIP,
    PIPENV,
    PIXI,
    POETRY,
    UV,
    Survey,
    read_text,
    survey,
)
from dagmar.project.templates import is_package

OLDEST = 10  # of Python 3, for dagmar
# What installs everything that the project requires.
_SYNC = {
    UV: "uv sync",
    POETRY: "poetry install",
    PDM: "pdm install",
    PIPENV: "pipenv install --dev",
    PIXI: "pixi install",
}
# What adds a requirement, and the words for one of developers only.
_ADD = {
    UV: ("uv add", "--dev"),
    POETRY: ("poetry add", "--group dev"),
    PDM: ("pdm add", "-dG dev"),
    PIPENV: ("pipenv install", "--dev"),
    PIXI: ("pixi add --pypi", ""),
}
# What starts a program in the environment of the project.
RUN = {UV: "uv run", POETRY: "poetry run", PDM: "pdm run", PIPENV: "pipenv run", PIXI: "pixi run"}
# What installs a project for production, as an image does, without doing it.
_PRODUCTION = {
    UV: "uv sync --frozen --no-dev --dry-run",
    POETRY: "poetry install --only main --dry-run",
    PDM: "pdm install --prod --frozen-lockfile --dry-run",
    PIPENV: "pipenv verify",
}
# Packages of Dagster that must have its version; a resolver may move Dagster instead.
_FAMILY = {"dagster-webserver", "dagster-graphql", "dagster-dg-cli"}
# What a list of requirements has for the copied runner, or for the package.
_LISTED = rf"^([^#]*{re.escape(RUNNER.as_posix())}[^;# ]*|dagmar *(\[|[<>=~!])[^;#]*[^;# ])"


def sync_command(root: Path | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the command that installs what a project needs; of the working directory's by default.

    `environ` says where programs are.
    """
    found = survey(root or _here(), environ)
    if found.manager in _SYNC:
        # Without its extra, uv and Poetry would remove the webserver.
        part = found.place_of("dagster-webserver")
        return _with_part(found, environ, part) or _in_home(_SYNC[found.manager], found)
    listed = read_text(found.manifest)
    parts = [f'-e "{RUNNER.as_posix()}[cli]"'] if (found.root / RUNNER).is_dir() else []
    parts = [shlex.quote(requirement())] if is_package(found.root) else parts
    if _listed(listed):
        parts = [f"-r {_relative(found.manifest.with_suffix('.txt'), found)}"]
    parts += [
        shell for shell, line in _everything(found).items() if line not in listed.splitlines()
    ]
    return f"{_pip(found, environ)} {' '.join(parts or ['marimo', 'dagster-webserver'])}"


def add_command(
    *requirements: str,
    root: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    dagster: str = "",
) -> str:
    """Return the command that gives a project what is missing.

    Dagster's own packages get the version `dagster`, by default that of the project's lock. What
    the project requires already, if only in an extra or a group, is installed and not added.
    Everything but Dagster itself is for developers only, as dagmar is.
    """
    found = survey(root or _here(), environ)
    version = dagster or found.dagster
    parts = {found.place_of(name) for name in requirements}
    if len(parts) == 1 and (command := _with_part(found, environ, *parts)):
        return command
    if parts == {"always"} and found.manager in _SYNC:
        return sync_command(found.root, environ)
    add, dev_words = _ADD.get(found.manager, ("", ""))
    if not add:
        words = shlex.join(_with_version(name, version) for name in requirements)
        return f"{_pip(found, environ)} {words}"
    dev = not any(re.match(r"dagster(?![\w-])", name) for name in requirements)
    # Without a [project] table, uv has only the groups to add to.
    dev = dev or (found.manager == UV and "project" not in found.document)
    add = _in_home(" ".join(filter(None, [add, dev_words if dev else ""])), found)
    if found.manager != UV:
        return f"{add} {shlex.join(requirements)}"
    if version and _FAMILY & {*requirements}:
        # Not a pin: Dagster can be upgraded later as before.
        return f"echo {shlex.quote(f'dagster=={version}')} | {add} -c - {shlex.join(requirements)}"
    return f"{add} {shlex.join(requirements)}"


def installed_version(name: str) -> str | None:
    """Return the version of a distribution in this environment, or None."""
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _everything(found: Survey) -> dict[str, str]:
    """Return what installs all of a project with pip: words of a shell → lines of a file."""
    parts = {}
    if (found.home / "requirements.txt").is_file():
        parts["-r requirements.txt"] = "-r requirements.txt"
    if {*found.document} & {"project", "build-system"} or (found.home / "setup.py").is_file():
        extra = found.place_of("dagster-webserver").partition("extra ")[2]
        line = f"-e .[{extra}]" if extra else "-e ."
        parts[f'-e ".[{extra}]"' if extra else line] = line
    return parts


def requirement(version: str = __version__) -> str:
    """Return the requirement of the package, which is pinned to the template's version."""
    return f"dagmar[cli]=={version}"


def runner_commands(
    found: Survey,
    needed: Iterable[str] = (),
    environ: Mapping[str, str] = os.environ,
    version: str = __version__,
) -> list[str]:
    """Return the commands that add the runner, and packages `needed`, for developers only.

    The runner is the copy, or the package in this version.
    Raises SetupError for a project that admits no version of Python that dagmar supports.
    """
    admitted = found.minors
    if not any(minor >= OLDEST for minor in admitted):
        raise SetupError(
            f"this project is for Python {found.python}, and dagmar needs 3.{OLDEST} or newer",
            "Raise the range, and install again.",
        )
    missing = [name for name in needed if found.place_of(name) != "always"]
    package = requirement(version) if is_package(found.root) else ""
    if found.manager not in _ADD:
        return _listing_commands(found, package, missing, environ)
    more = [add_command(name, root=found.root, environ=environ) for name in missing]
    return [*dict.fromkeys([_runner_command(found, package, admitted), *more])]


def replace_commands(found: Survey) -> list[str]:
    """Return the commands that replace a copied runner with the package, or the other way round."""
    steps = runner_commands(found)
    # Each of these would keep the path of the one, or the version of the other.
    if found.manager == POETRY:
        steps.insert(0, "poetry remove --lock --group dev dagmar")
    if found.manager == PIXI:
        steps.insert(0, "pixi remove --no-install --pypi dagmar")
    if found.manager == UV:
        steps.insert(0, _in_home("uv remove --frozen --dev dagmar", found))
        production = found.document.get("project", {}).get("dependencies", ())
        if any(re.match(r"dagmar(?![\w-])", str(name)) for name in production):
            words = f"--no-workspace --editable ./{RUNNER.as_posix()}"
            if is_package(found.root):
                words = requirement().replace("[cli]", "")
            steps.insert(1, _in_home("uv remove --frozen dagmar", found))
            steps.append(_in_home(f"uv add {words}", found))
    return steps


def _listing_commands(
    found: Survey, package: str, missing: list[str], environ: Mapping[str, str]
) -> list[str]:
    """Return what adds lines to the requirements of developers, and installs them with pip."""
    file, listed = found.manifest, read_text(found.manifest)
    line = package or f"-e ./{RUNNER.as_posix()}[cli]"
    there = _listed(listed)
    lines = [] if there else [line]
    more = []
    for name in missing:
        if "extra" not in found.place_of(name):
            lines.append(_with_version(name, found.dagster))
        elif file.is_file():  # a new one has the extra
            more.append(_with_part(found, environ, found.place_of(name)))
    if not file.is_file() and file.suffix == ".txt":
        parts = _everything(found).values()
        hashed = "--hash=" in read_text(found.home / "requirements.txt")
        lines[:0] = [line for line in parts if not (hashed and line.startswith("-r"))]
    elif listed and not listed.endswith("\n"):
        lines.insert(0, "")
    name = _relative(file, found)
    commands = [f"printf '%s\\n' {shlex.join(lines)} >> {name}"] if any(lines) else []
    if there and (there != package if package else RUNNER.as_posix() not in there):
        commands.insert(0, _sed(f"-E {shlex.quote(f's,{_LISTED},{line},')}", name))
    if file.suffix == ".in":
        text = _relative(file.with_suffix(".txt"), found)
        by_uv = "autogenerated by uv" in read_text(file.with_suffix(".txt"))
        # pip-compile writes where the folder is on this machine.
        edit = _sed('"s|file://$PWD/|./|"', text)
        commands.append(
            f"uv pip compile {name} -o {text}" if by_uv else f"pip-compile {name} && {edit}"
        )
        name = text
    return [*commands, f"{_pip(found, environ)} -r {name}", *more]


def _listed(text: str) -> str:
    """Return what a list of requirements has for the runner, without a marker; empty if nothing."""
    matches = (re.match(_LISTED, line) for line in text.splitlines())
    return next((match[0] for match in matches if match), "")


def _runner_command(found: Survey, package: str, admitted: list[int]) -> str:
    """Return the command of a package manager that adds the runner for developers."""
    path = f"./{RUNNER.as_posix()}"
    copied = shlex.quote(f"{path}[cli]")
    add, dev = _ADD[found.manager]
    newer = f"python_version >= '3.{OLDEST}'" if min(admitted) < OLDEST and found.python else ""
    if found.manager == UV:
        marker = f' --marker "{newer}"' if newer else ""
        what = shlex.quote(package) if package else f"--no-workspace --editable {path} --extra cli"
        return _in_home(f"{add} {dev} {what}{marker}", found)
    if found.manager == POETRY:
        newest = f",<3.{max(admitted) + 1}" if max(admitted) < 39 else ""
        python = f" --python '>=3.{OLDEST}{newest}'" if newer else ""
        if not package:
            return _poetry_command(found, f"{dev} --editable{python} {copied}")
        dev += python
    if package:
        return " ".join(filter(None, [add, dev, shlex.quote(package)]))
    if found.manager == PIXI:
        return _pixi_command(found, path)
    return f"{add} {dev} -e {copied}"


def _poetry_command(found: Survey, words: str) -> str:
    """Return the command that adds the runner with a path that colleagues have, too.

    In `[dependency-groups]`, which Poetry prefers and creates, it writes where the folder is on
    this machine; in its own groups, a relative path.
    """
    own_groups = "group" in found.document.get("tool", {}).get("poetry", {})
    if "dependency-groups" not in found.document:
        table = "printf '\\n[tool.poetry.group.dev.dependencies]\\n' >> pyproject.toml && "
        return f"{'' if own_groups else table}poetry add {words}"
    entry = r's|\(dagmar\[cli]\) @ file:[^ ";]*|\1|'
    source = f's|^dagmar = {{|&path = "{RUNNER.as_posix()}", |'
    edit = _sed(f"-e '{entry}' -e '{source}'", "pyproject.toml")
    return f"poetry add --lock {words} && {edit} && poetry lock && poetry install"


def _sed(words: str, name: str) -> str:
    """Return a command that edits a file; the one of macOS needs a suffix for a copy."""
    return f"sed -i.dagmar {words} {name} && rm {name}.dagmar"


def _pixi_command(found: Survey, path: str) -> str:
    """Return the command that adds the runner; `pixi add` takes absolute paths only."""
    tool = "" if found.manifest.name == "pixi.toml" else "tool.pixi."
    lines = [f"[{tool}pypi-dependencies.dagmar]", f'path = "{path}"', "editable = true",
             'extras = ["cli"]']  # fmt: skip
    return f"printf '%s\\n' '' {shlex.join(lines)} >> {found.manifest.name} && pixi install"


def production_command(found: Survey) -> str:
    """Return a command that tries an installation for production; empty if there is none."""
    locked = found.lock is not None and found.lock.is_file()
    return _in_home(_PRODUCTION.get(found.manager, ""), found) if locked else ""


def run_command(command: str, found: Survey) -> str:
    """Return a command as it is typed to run in the project's environment."""
    run = _in_home(RUN.get(found.manager, ""), found)
    return f"{run} {command}" if run else command


def _in_home(command: str, found: Survey) -> str:
    """Return a command of uv for a project that is not in the root."""
    if found.manager != UV or found.home == found.root or not command:
        return command
    program, verb, *rest = command.split(" ", 2)
    folder = shlex.quote(os.path.relpath(found.home, found.root))
    return " ".join([program, verb, "--project", folder, *rest])


def _with_part(found: Survey, environ: Mapping[str, str], part: str) -> str:
    """Return what installs `extra dev` or `group docs`; empty if nothing has to be named."""
    kind, _, name = part.partition(" ")
    if not name:
        return ""
    if found.manager == UV:
        return _in_home(f"uv sync --{kind} {name}", found)
    if found.manager == POETRY:
        return f"poetry install --{'extras' if kind == 'extra' else 'with'} {name}"
    if found.manager == PDM:
        return f"pdm install -G {name}"
    if found.manager in (PIP, CONDA) and kind == "extra":
        return f'{_pip(found, environ)} -e ".[{name}]"'
    return ""


def _with_version(requirement: str, dagster: str) -> str:
    """Return the requirement of a package of Dagster with the version that goes with Dagster's."""
    if requirement not in _FAMILY or not dagster:
        return requirement
    if requirement == "dagster-dg-cli" and (old := re.fullmatch(r"1\.(\d|10)\.(\d+|\*)", dagster)):
        return f"{requirement}==0.{int(old[1]) + 16}.{old[2]}"  # its own numbers until 1.11
    return f"{requirement}=={dagster}"


def _relative(file: Path, found: Survey) -> str:
    return shlex.quote(Path(os.path.relpath(file, found.root)).as_posix())


def _here() -> Path:
    try:
        return find_root(Path.cwd())
    except SetupError:
        return Path.cwd()


def _pip(found: Survey, environ: Mapping[str, str]) -> str:
    """Return the installer; an environment that uv created has no pip, and conda's has."""
    has_uv = shutil.which("uv", path=environ.get("PATH"))
    return "uv pip install" if has_uv and found.manager == PIP else "pip install"
