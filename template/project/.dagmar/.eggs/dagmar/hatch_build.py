"""Puts the template into the package, if it is built in dagmar's own repository.

In a project, where this is a copy, and for an editable installation it does nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

IN_THE_REPOSITORY = ("template", "project", ".dagmar", ".eggs", "dagmar")


class CustomBuildHook(BuildHookInterface[Any]):
    """Adds the template, which is above this folder."""

    _copy = ""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Copy the template: hatchling would leave out files that are included a second time."""
        here = Path(self.root)
        if version == "editable" or here.parts[-5:] != IN_THE_REPOSITORY:
            return
        repository = here.parents[4]
        command = ["git", "ls-files", "-z", "--", "copier.yml", "hooks", "template"]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
        self._copy = tempfile.mkdtemp(prefix="dagmar-template-")
        for name in filter(None, done.stdout.split("\0")):
            file = Path(self._copy, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, file)
        place = "src/dagmar/_template" if self.target_name == "sdist" else "dagmar/_template"
        build_data["force_include"][self._copy] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copy."""
        if self._copy:
            shutil.rmtree(self._copy)
