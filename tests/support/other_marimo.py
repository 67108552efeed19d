"""A marimo that dagmar does not know, for the processes that a test starts."""

from __future__ import annotations

from pathlib import Path

WITHOUT = """\
import sys

if "dagmar.export.worker" in sys.orig_argv:

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name == {module!r}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Absent())
"""


def with_version(folder: Path, version: str) -> dict[str, str]:
    """Return what an environment needs so that marimo says that it is of `version`."""
    package = folder / f"marimo-{version}.dist-info"
    package.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: marimo\nVersion: {version}\n"
    (package / "METADATA").write_text(text, "utf-8")
    return {"PYTHONPATH": str(folder)}


def without_module(folder: Path, module: str) -> dict[str, str]:
    """Return what an environment needs so that workers do not find one of marimo's modules."""
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(WITHOUT.format(module=module), "utf-8")
    return {"PYTHONPATH": str(folder)}
