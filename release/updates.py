"""Updates from every released tag, with edits: each must equal the new version with those edits."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product, repeat
from pathlib import Path

from dagmar.errors import Conflict, SetupError
from dagmar.project.templates import COPY, PACKAGE
from packaging.version import Version

from release.version import RUNNER as SOURCE
from release.version import git, released, run, tagged_here, write_version

RUNNER = ".dagmar/.eggs/dagmar"
ONCE = ("dagmar.yaml", "tasks.py")
"""An update leaves these as they are."""
SOMEBODY = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{
        f"GIT_{role}_{what}": text
        for role in ("AUTHOR", "COMMITTER")
        for what, text in (("NAME", "Release"), ("EMAIL", "release@example.com"))
    },
}
FUTURE = "from __future__ import annotations\n"
CELL = '@app.cell\ndef _():\n    "Our cell."\n    return\n\n\n'
EDITS = {
    "README.md": ("\n", "\nOur project.\n"),
    f"{RUNNER}/README.md": ("\n", "\nOur copy.\n"),
    f"{RUNNER}/src/dagmar/console.py": (FUTURE, f"{FUTURE}\nOURS = 1\n"),
    "notebooks/clean_flights.py": ("if __name__ ==", f"{CELL}if __name__ =="),
    "notebooks/orders.py": ("if __name__ ==", f"{CELL}if __name__ =="),
}
"""File → text in it, and what is there instead once. A file that a project lacks has no edit."""
OURS = {"ours.txt": "ours\n", f"{RUNNER}/src/dagmar/ours.py": '"""Our module."""\n'}
SETTINGS = "targets: {local: {url: 'http://127.0.0.1:9'}}\n"
"""Nobody listens there: what the assets are comes from the definitions."""
DELETED = (f"{RUNNER}/src/dagmar/export/index.html", "notebooks/ruff.toml")
LEGACY = {
    "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\n\n[tool.dg]\n'
    'directory_type = "project"\n\n[tool.dg.project]\nroot_module = "shop"\n',
    "src/shop/__init__.py": "",
    "src/shop/definitions.py": "import dagster as dg\n\n\n@dg.asset\ndef orders(): ...\n",
}


@dataclass(frozen=True)
class Kind:
    """A project as it is made, and the commands that update it."""

    name: str
    files: dict[str, str]
    asset: str
    updates: tuple[tuple[str, ...], ...]
    runner: str = COPY


INVOKE = ("invoke", "update")
COPIER = ("copier", "update", "--trust", "--defaults", "--quiet")
KINDS = (
    Kind("new", {}, "raw/flights", (INVOKE,)),
    Kind("adopted", LEGACY, "orders", (COPIER, INVOKE)),  # the second one for the notebooks
    Kind("new package", {}, "raw/flights", (INVOKE,), PACKAGE),
    Kind("adopted package", LEGACY, "orders", (COPIER, INVOKE), PACKAGE),
)


def check_updates(root: Path, version: str, scratch: Path, say: Callable[[str], None]) -> None:
    """Update projects of every released version to this commit, and of this commit to a next one.

    Raises Conflict with what an update lost, or left different from a new project.
    """
    template = scratch / "template"
    git(root, "clone", "--quiet", "--no-hardlinks", str(root), str(template))
    earlier = [tag for tag in released(root) if tag not in tagged_here(root)]
    git(template, "tag", "--force", f"v{version}")
    after = f"{Version(version).major + 1}.0.0"
    ignore = template / "template/project/.dagmar/.gitignore"
    ignore.write_text(ignore.read_text("utf-8") + "/next/\n", "utf-8")
    write_version(template, after)
    run(["git", "commit", "--quiet", "--all", "--message", "next"], template, SOMEBODY)

    packages = scratch / "packages"

    def place(version: str, kind: Kind) -> Path:
        return scratch / f"{version} {kind.name}/shop"

    def make(version: str, kind: Kind) -> None:
        _make(template, kind, version, place(version, kind), packages)

    def check(old: str, kind: Kind, new: str) -> None:
        say(f"{old} → {'a next version' if new == after else new}, {kind.name} project")
        project = scratch / f"{old} {kind.name} updated/shop"
        shutil.copytree(place(old, kind), project, symlinks=True)
        _check_update(kind, project, old, place(new, kind), new, packages)
        shutil.rmtree(project)

    # Each is a chain of processes; as many at once as there are processors.
    for tag in (*earlier, version):
        _unpack(template, tag, packages)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(make, *zip(*product([*earlier, version], KINDS), strict=True)))
        for tag in earlier:
            list(pool.map(check, repeat(tag), KINDS, repeat(version)))
        git(template, "tag", f"v{after}")  # not before: an update goes to the newest tag
        _unpack(template, after, packages)
        list(pool.map(make, repeat(after), KINDS))
        list(pool.map(check, repeat(version), KINDS, repeat(after)))


def _unpack(template: Path, version: str, packages: Path) -> None:
    """Put what the package of a version installs where `_environ` has it."""
    packages.mkdir(exist_ok=True)
    archive = packages / f"{version}.tar"
    git(template, "archive", "--output", str(archive), f"v{version}:{SOURCE}/src", "dagmar")
    with tarfile.open(archive) as packed:
        packed.extractall(packages / version, filter="data")


def _check_update(
    kind: Kind, project: Path, old: str, like: Path, new: str, packages: Path
) -> None:
    """Update a project. Raise Conflict unless it is then `like` the new version's."""
    before = _files(project)
    python = _environ(kind, project, packages / old)
    for command in kind.updates:
        try:
            run([sys.executable, "-m", *command], project, python)
        finally:  # with conflicts, `invoke update` ends with a status
            if unmerged := git(project, "diff", "--name-only", "--diff-filter=U").split():
                raise Conflict(f"an update from {old} has conflicts in {unmerged}")
        run(["git", "add", "--all"], project)
        run(["git", "commit", "--quiet", "--message", "update"], project, SOMEBODY)
    expected = _files(like) | {name: before[name] for name in ONCE}
    updated = _files(project)
    names = sorted(updated.keys() | expected.keys())
    if different := [name for name in names if updated.get(name) != expected.get(name)]:
        message = f"a project updated from {old} differs from one of {new}, with the same edits, in"
        raise Conflict(f"{message}:\n" + "".join(f"  {name}\n" for name in different))


def _make(template: Path, kind: Kind, version: str, project: Path, packages: Path) -> None:
    """Create or adopt a project with a version, scaffold a notebook, and edit both; commit it."""
    project.mkdir(parents=True)
    git(project, "init", "--quiet", "--initial-branch", "main")
    for name, text in kind.files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, "utf-8")
    copy = ["copy", "--trust", "--defaults", "--quiet", "--data", f"runner={kind.runner}"]
    copier = [sys.executable, "-m", "copier", *copy, "--vcs-ref", f"v{version}"]
    run([*copier, str(template), str(project)], project, SOMEBODY)
    if (kind.runner == COPY) is not (project / RUNNER).is_dir():
        raise Conflict(f"a {kind.name} project of {version} does not have runner={kind.runner}")
    python = _environ(kind, project, packages / version)
    (project / "dagmar.yaml").write_text(SETTINGS, "utf-8")
    scaffold = ["scaffold", "--asset", kind.asset, "--name", "orders"]
    run([sys.executable, "-m", "invoke", *scaffold], project, python)
    for name, (text, ours) in EDITS.items():
        if (file := project / name).exists() and name not in kind.files:
            if text not in file.read_text("utf-8"):
                raise SetupError(f"{name} of {version} does not have {text!r}: move the edit")
            file.write_text(file.read_text("utf-8").replace(text, ours, 1), "utf-8")
    for name, text in OURS.items():
        if (project / name).parent.is_dir():
            (project / name).write_text(text, "utf-8")
    for name in DELETED:
        (project / name).unlink(missing_ok=True)
    run(["git", "add", "--all"], project)
    run(["git", "commit", "--quiet", "--message", "ours"], project, SOMEBODY)


def _environ(kind: Kind, project: Path, package: Path) -> dict[str, str]:
    """Return variables by which Python finds the project's runner and its definitions."""
    runner = package if kind.runner == PACKAGE else project / RUNNER / "src"
    return {"PYTHONPATH": os.pathsep.join((str(runner), str(project / "src"))), **SOMEBODY}


def _files(project: Path) -> dict[str, bytes]:
    """Read what is or would be in git."""
    listed = git(project, "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    return {name: file.read_bytes() for name in listed if (file := project / name).is_file()}
