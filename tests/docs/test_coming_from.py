"""The commands of the pages about migrations, executed as they are written."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from support.jupyter import code, markdown, write_ipynb
from support.project import Project

HOW_TO = Path(__file__).parents[2] / "docs/how-to"
JSON = HOW_TO.parent / "reference/json.md"
INSTALLED = "uv add --dev nbclient ipykernel"

pytestmark = pytest.mark.xdist_group("kernel")


def commands(page: str) -> list[list[str]]:
    """Return the calls of `invoke` on a page; what it installs is there."""
    text = (HOW_TO / page).read_text("utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line != INSTALLED]
    assert lines
    assert all(line.startswith("uv run invoke ") for line in lines)
    return [shlex.split(line)[3:] for line in lines]


def test_somebody_comes_from_jupyter(project: Project) -> None:
    cells = [markdown("# Orders"), "", "total = sum([1, 2])\nprint(total)"]
    write_ipynb(project.root / "analysis/orders.ipynb", cells)
    for command in commands("come-from-jupyter.md"):
        done = project.invoke(*command, "--json")
        assert done.returncode == 0, done.stderr
    (shown,) = re.findall(
        r"^## invoke migrate --json$.*?^```json\n(.*?)^```$",
        JSON.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    (example,), (real,) = (json.loads(text)["notebooks"] for text in (shown, done.stdout))
    for document in (example, real):
        document["status"] = document["verified"]["jupyter_s"] = None
        document["verified"]["marimo_s"] = None
    assert real == example
    report = (project.root / real["report"]).read_text("utf-8")
    assert "**equal**" in report


def test_somebody_comes_from_dagstermill(project: Project) -> None:
    cells = [
        "import dagstermill",
        code("rows = 10", "parameters"),
        code("rows = 20", "injected-parameters"),
        "context = dagstermill.get_context()",
        "dagstermill.yield_result(rows * 2, 'total')",
    ]
    write_ipynb(project.root / "notebooks/train.ipynb", cells)
    for command in commands("come-from-dagstermill.md"):
        done = project.invoke(*command)
        assert done.returncode in (0, 8), done.stderr
    text = (project.root / "notebooks/train.py").read_text("utf-8")
    assert 'dagmar.Pair(asset="model")' in text
    assert "def inputs():\n    rows = 10\n" in text
    assert "rows = 20" not in text
