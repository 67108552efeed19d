"""100 notebooks in one `invoke scaffold` against one `copier copy` call for each of them.

Both render the same answers with the same templates. Only some of the peer's calls are run, and
the rest is estimated; the row says how many.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from example import PACKAGE, VERSION, environment, make_project
from pairs import Command, Count, Row, pair

COUNT = 100
MANY = f"""
import dagster as dg


def make(i):
    @dg.asset(key=["many", f"a{{i:03}}"], group_name="many", deps=[["clean", "flights"]])
    def made(): ...

    return made


@dg.definitions
def many():
    return dg.Definitions(assets=[make(i) for i in range({COUNT})])
"""


@dataclass(frozen=True)
class Calls:
    """One `copier copy` for each notebook, or for the first few of them."""

    arguments: list[list[str]]
    folder: Path
    environ: dict[str, str]

    @property
    def name(self) -> str:
        """What was run, and what was not."""
        count = len(self.arguments)
        return f"{COUNT} × copier copy" + (f" ({count} run)" if count < COUNT else "")

    def seconds(self) -> float:
        """Run all calls one after the other; if there are fewer, estimate the rest."""
        calls = [Command(self.name, one, self.folder, self.environ) for one in self.arguments]
        return sum(call.seconds() for call in calls) * COUNT / len(calls)


def rows(count: Count) -> Iterator[Row]:
    """Time 3 pairs, with 10 of the peer's calls in each."""
    run = count(10, 2)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        project = make_project(scratch)
        (project / "src" / PACKAGE / "defs" / "many.py").write_text(MANY)
        # Nobody listens there: what the assets are comes from the definitions.
        (project / "dagmar.yaml").write_text("targets: {local: {url: 'http://127.0.0.1:9'}}\n")
        scaffold = [sys.executable, "-m", "invoke", "scaffold", "--select", "group:many"]
        ours = Command(
            f"invoke scaffold, {COUNT} notebooks",
            [*scaffold, "--force"],
            project,
            environment(project),
        )
        ours.seconds()
        made = sorted((project / ".dagmar" / "notebooks").glob("many_*.yml"))
        assert len(made) == COUNT, f"{len(made)} notebooks were created"
        copier = [sys.executable, "-m", "copier", "copy", "--defaults", "--quiet", "--skip-tasks"]
        copier += ["--overwrite", "--vcs-ref", VERSION]
        calls = []
        for answers in made[:run]:
            data = scratch / "peer" / answers.name
            data.parent.mkdir(exist_ok=True)
            data.write_text(answers.read_text("utf-8"), "utf-8")
            own = ["--answers-file", "unused.yml", "--data-file", str(data)]
            calls.append([*copier, *own, str(scratch / "template"), str(scratch / "copied")])
        peer = Calls(calls, scratch, environment(project))
        yield pair(ours, peer, 1 / 8, count(3), warm_up=False)
        _compare(project, scratch / "copied", [file.stem for file in made[:run]])


def _compare(project: Path, copied: Path, names: list[str]) -> None:
    """Check that both created the same notebooks."""
    for name in names:
        ours, peer = (folder / "notebooks" / f"{name}.py" for folder in (project, copied))
        assert ours.read_bytes() == peer.read_bytes(), f"{name} differs"
