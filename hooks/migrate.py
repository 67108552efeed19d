"""Runs the migrations between two versions of the template; see migrations/README.md.

Copier calls this twice in each `copier update`, in the project and under its own interpreter: in
the stage `before` the files are still those of the old version, in the stage `after` the update is
merged. The project and its notebooks have their own answers files and can be updated separately, so
a migration names the kind that it is for; `invoke update` updates everything at once, and runs all
of them.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import yaml  # Copier depends on both, so its interpreter has them
from packaging.version import Version

FOLDER = Path(__file__).parent / "migrations"


def version_of(script: Path) -> Version:
    """Return the version in a file name: v1_2_0.py is 1.2.0."""
    return Version(script.stem.replace("_", "."))


def due(folder: Path, old: Version, new: Version) -> list[Path]:
    """List the scripts that an update from old to new crosses, oldest first."""
    scripts = sorted(folder.glob("v*.py"), key=version_of)
    return [script for script in scripts if old < version_of(script) <= new]


def load(script: Path) -> ModuleType:
    """Import one migration from its file."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(answers_file: Path) -> int:
    """Run this stage's part of every migration that is due for this kind of answers."""
    stage = os.environ["STAGE"]
    scripts = due(
        FOLDER,
        Version(os.environ["VERSION_PEP440_FROM"]),
        Version(os.environ["VERSION_PEP440_TO"]),
    )
    kind = yaml.safe_load(answers_file.read_text("utf-8"))["kind"]
    for script in scripts:
        try:
            module = load(script)
            step = getattr(module, stage, None)
            if step is None or kind not in (module.KIND, "everything"):
                continue
            print(f"Migration {version_of(script)}, {stage} the update", file=sys.stderr)
            step(Path.cwd(), answers_file)
        except Exception as error:
            print(
                f"Migration {version_of(script)} failed {stage} the update: "
                f"{type(error).__name__}: {error}\n"
                "To go back, type: git reset --hard && git clean -d --interactive",
                file=sys.stderr,
            )
            return 1
    if scripts and stage == "before":
        # Copier merges what is in git's index. The tree was clean, so only migrations are added.
        subprocess.run(["git", "add", "--all", "."], check=True)
    return 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    raise SystemExit(main(Path(sys.argv[1])))
