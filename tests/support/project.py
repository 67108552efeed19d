"""A project folder and its command line, for tests."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import forked

TASKS = "from dagmar.tasks import namespace\n\nns = namespace(__file__)\n"


@dataclass(frozen=True)
class Project:
    """A folder with a `tasks.py`, and its command line."""

    root: Path

    def invoke(
        self,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Call `invoke` as a user would, in `folder` or the project's root."""
        nobody = {"XDG_CONFIG_HOME": str(self.root / "no-config")}
        return forked.invoke(arguments, folder or self.root, {**nobody, **(environ or {})}, timeout)


def make_project(root: Path, settings: str = "") -> Project:
    """Write a project's `tasks.py` and `dagmar.yaml`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "tasks.py").write_text(TASKS, "utf-8")
    (root / "dagmar.yaml").write_text(settings, "utf-8")
    return Project(root)


def run(live: Project, tag: str, *flags: str) -> tuple[int, dict[str, Any], str]:
    """Call `invoke run --json` and return its status, its document and its talk.

    What it launches carries the tag `test=<tag>`, so that it can be counted on the server.
    """
    done = live.invoke("run", *flags, "--tag", f"test={tag}", "--json")
    document = json.loads(done.stdout) if done.stdout else {}
    return done.returncode, document, done.stderr
