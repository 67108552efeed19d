"""A project in which every check of `invoke doctor` is content, to break one thing at a time."""

from __future__ import annotations

from pathlib import Path

from support.git import commit, git
from support.project import TASKS

RUNNER = Path(__file__).parents[2] / "template" / "project"
NOTEBOOK = """\
import marimo

app = marimo.App()

with app.setup:
    import dagmar

    pair = dagmar.Pair(asset="raw/orders")
    other = dagmar.Pair(job="nightly")
"""
PYPROJECT = """\
[project]
name = "shop"
requires-python = ">=3.10,<3.15"

[tool.dg.project]
root_module = "shop"
"""


def make_sound(root: Path, template: Path) -> None:
    """Write and commit the project in `root`, and the template that its answers name."""
    (template / "copier.yml").write_text("name: {type: str, default: x}\n")
    git(template, "init", "-q", "-b", "main")
    commit(template)
    git(template, "tag", "v1.0.0")
    answers = f"_commit: v1.0.0\n_src_path: {template}\n"
    files = {
        "tasks.py": TASKS,
        "dagmar.yaml": "targets:\n  local: {}  # mine\n",
        "pyproject.toml": PYPROJECT,
        ".gitignore": (RUNNER / ".gitignore").read_text("utf-8"),
        "notebooks/.gitignore": (RUNNER / "notebooks/.gitignore").read_text("utf-8"),
        ".dagmar/.gitignore": (RUNNER / ".dagmar/.gitignore").read_text("utf-8"),
        ".dagmar/dagster_home/dagster.yaml": "telemetry: {enabled: false}\n",
        ".copier-answers.yml": answers,
        ".dagmar/notebooks/orders.yml": f"{answers}notebooks:\n- name: orders\n",
        "notebooks/orders.py": NOTEBOOK,
        "src/shop/definitions.py": "import dagster as dg\nfrom shop.defs import assets\n\n"
        "defs = dg.Definitions(dg.load_assets_from_modules([assets]))\n",
        "src/shop/defs/assets.py": "import dagster as dg\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    git(root, "init", "-q", "-b", "main")
    commit(root)
