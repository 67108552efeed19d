"""`invoke discover --json` against an Invoke task that sends the same queries with requests.

On 1,000 and 10,000 generated assets, live; and against `dg list defs --json`, which imports them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagmar.server.client import DOCUMENTS
from pairs import Command, Count, Row, pair

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from support.dagster_server import DagsterServer

DEFINITIONS = """
import dagster as dg

COUNT = {count}


def make(i):
    above = [dg.AssetKey(["layer", f"a{{i - 1:05}}"])] if i % 10 else []

    @dg.asset(
        key=["layer", f"a{{i:05}}"], group_name=f"g{{i % 50}}", kinds={{"python", "polars"}},
        tags={{"tier": str(i % 3)}}, owners=["team:data"], deps=above,
        description=f"Asset number {{i}}.",
    )
    def made(): ...

    return made


defs = dg.Definitions(
    assets=[make(i) for i in range(COUNT)],
    jobs=[
        dg.define_asset_job(f"job_{{k}}", selection=dg.AssetSelection.groups(f"g{{k}}"))
        for k in range(10)
    ],
)
"""

PEER = """
import json
from pathlib import Path

import requests
from invoke import task


@task
def discover(c):
    with requests.Session() as session:
        answers = [
            session.post("{url}/graphql", json={{"query": Path(file).read_text()}}).json()
            for file in {files}
        ]
    print(json.dumps(answers))
"""

OURS = "from dagmar.tasks import namespace\n\nns = namespace(__file__)\n"
PROJECT = """\
[project]
name = "many"
version = "0.1.0"
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "many"
"""
DOCUMENT_NAMES = ("Workspace", "Assets", "Repositories")


@contextmanager
def serve(count: int, scratch: Path) -> Iterator[DagsterServer]:
    """Start a Dagster with `count` assets, whose files are in `scratch`."""
    package = scratch / "src" / "many"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "definitions.py").write_text(DEFINITIONS.format(count=count))
    (scratch / "pyproject.toml").write_text(PROJECT)
    home = scratch / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environ = {"DAGSTER_HOME": str(home), "PYTHONPATH": str(scratch / "src")}
    webserver = [sys.executable, "-m", "dagster_webserver", "-m", "many.definitions"]
    command = [*webserver, "--port", "{port}"]
    with DagsterServer(command, scratch, scratch / "log", environ) as dagster:
        dagster.wait(300)
        yield dagster


def measure(count: int, scratch: Path, pairs: int) -> Iterator[Row]:
    """Start a Dagster with `count` assets and time both ways of listing them."""
    with serve(count, scratch) as dagster:
        files = [str(DOCUMENTS / f"{name}.graphql") for name in DOCUMENT_NAMES]
        for name, text in (("ours", OURS), ("peer", PEER.format(url=dagster.url, files=files))):
            (scratch / name).mkdir()
            (scratch / name / "tasks.py").write_text(text)
        (scratch / "ours" / "dagmar.yaml").write_text(
            f"targets: {{local: {{url: '{dagster.url}'}}}}"
        )
        invoke = [sys.executable, "-m", "invoke", "discover"]
        peer = Command(f"requests, {count:,} assets", invoke, scratch / "peer")
        asked = Command(
            f"discover --refresh, {count:,} assets",
            [*invoke, "--json", "--refresh"],
            scratch / "ours",
        )
        cached = Command(f"discover, {count:,} assets", [*invoke, "--json"], scratch / "ours")
        yield from (pair(ours, peer, 1.25, pairs) for ours in (asked, cached))
        listing = Command(
            "dg list defs --json",
            [str(Path(sys.executable).with_name("dg")), "list", "defs", "--json"],
            scratch,
            {
                **os.environ,
                "DAGSTER_HOME": str(scratch / "home"),
                "PYTHONPATH": str(scratch / "src"),
            },
        )
        yield pair(asked, listing, 1, 1, warm_up=False)


def rows(count: Count) -> Iterator[Row]:
    """Time 11 pairs on 1,000 assets and 5 on 10,000."""
    sizes = ((100, 1),) if count.quick else ((1_000, 11), (10_000, 5))
    for assets, pairs in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            yield from measure(assets, Path(scratch), pairs)
