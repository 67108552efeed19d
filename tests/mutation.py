"""Mutation tests of the modules that `[tool.mutmut]` in pyproject.toml names.

    uv run --group mutation python tests/mutation.py            # all of them, and a table
    uv run --group mutation python tests/mutation.py show NAME  # any command of mutmut

mutmut wants sources in `src`, under the name by which tests import them. So it works in a folder
that git ignores, `.cache/mutation`, with links to the files of this repository.
"""

from __future__ import annotations

import collections
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STAGE = ROOT / ".cache/mutation"
HOOKS = ("merging.py", "runner_files.py")
LINKS = {
    **{name: name for name in ("copier.yml", "pyproject.toml", "template", "tests")},
    **{
        f"hooks/{file.name}": f"hooks/{file.name}"
        for file in (ROOT / "hooks").iterdir()
        if file.name not in (*HOOKS, "__pycache__")
    },
    **{f"src/{name}": f"hooks/{name}" for name in HOOKS},
    "src/dagmar": "template/project/.dagmar/.eggs/dagmar/src/dagmar",
}


def stage() -> None:
    """Link what mutmut reads; a hook that is mutated must be found in `src` alone."""
    for name, target in LINKS.items():
        link = STAGE / name
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(ROOT / target)


def table() -> str:
    """Return how many mutants of each module were killed, as Markdown.

    A time-out is counted apart: on a busy machine it says nothing.
    """
    from mutmut.stats import status_by_exit_code

    lines = [
        "| module | mutants | killed | survived | timed out | not run |",
        "|---|---|---|---|---|---|",
    ]
    for file in sorted((STAGE / "mutants/src").rglob("*.meta")):
        codes = json.loads(file.read_text("utf-8"))["exit_code_by_key"].values()
        seen = collections.Counter(status_by_exit_code[code] for code in codes)
        killed = seen["killed"] + seen["segfault"]
        shown = (killed, seen["survived"], seen["timeout"])
        name = file.relative_to(STAGE / "mutants/src").with_suffix("")
        cells = (f"`{name}`", len(codes), *shown, len(codes) - sum(shown))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    stage()
    arguments = sys.argv[1:] or ["run"]
    done = subprocess.run(["mutmut", *arguments], cwd=STAGE)
    if arguments[0] == "run":
        print(table())
    sys.exit(done.returncode)
