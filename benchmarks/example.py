"""The example project, created from a release of this checkout, for benchmarks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "airline"
VERSION = "v1.0.0"


def make_project(scratch: Path) -> Path:
    """Release the template as it stands here, copy a project from it, and return its folder."""
    from copier import run_copy

    template, project = scratch / "template", scratch / PACKAGE
    parts = ("copier.yml", "hooks", "template")
    listed = git(ROOT, "ls-files", "-co", "--exclude-standard", "-z", "--", *parts)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():  # deleted, and not committed yet
            (template / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, template / name)
    git(template, "init", "-q")
    git(template, "add", "-A")
    git(template, "commit", "-q", "-m", VERSION)
    git(template, "tag", VERSION)
    run_copy(str(template), project, defaults=True, quiet=True, skip_tasks=True)
    return project


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody, and return what it prints."""
    somebody = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    return subprocess.run(
        ["git", *somebody, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def environment(project: Path) -> dict[str, str]:
    """Return the environment in which the project's package and instance are found."""
    return {
        **os.environ,
        "DAGSTER_HOME": str(project / ".dagmar" / "dagster_home"),
        "PYTHONPATH": str(project / "src"),
    }


def program(name: str) -> str:
    """Return the path of a program that is installed next to this Python."""
    return str(Path(sys.executable).with_name(name))
