"""Whatever a server answers, a task or a notebook ends well or says what is wrong."""

from __future__ import annotations

import functools
import io
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import dagmar
import pytest
from dagmar.errors import DagmarError
from dagmar.export.attach import attach
from dagmar.export.attach import check as check_attachable
from dagmar.export.exporting import Exported
from dagmar.export.manifests import unwritten
from dagmar.pair import buttons, controls, history
from dagmar.pair.context import Context
from dagmar.project import settings
from dagmar.runs import following, tracking
from dagmar.server import launch
from dagmar.server.backfills import cancel_backfill
from dagmar.server.client import DagsterClient
from dagmar.server.runs import cancel_run
from invoke import Program
from support.fuzzed_answers import RUN_ID, Fuzzed
from support.http_server import serve
from support.project import Project, make_project
from support.refusals import DOCUMENTED

ASSET = "raw/orders"
TASKS = [
    "discover --refresh",
    "discover --refresh --json",
    f"run --asset {ASSET} --no-wait",
    f"run --asset {ASSET} --timeout 1",
    f"run --asset {ASSET} --missing --failed --no-wait --json",
    f"run --asset {ASSET} --all-partitions --timeout 1",
    f"run --asset {ASSET} --latest --validate-only",
    "run --job nightly --set ops.a.config.b=1 --no-wait",
    "run --job nightly --timeout auto --cancel-on-timeout --logs",
    f"run --retry {RUN_ID} --no-wait",
    f"run --follow {RUN_ID} --timeout 1 --logs --summary summary.md",
    "run --follow abcdefgh --timeout 1 --json",
    f"run --cancel {RUN_ID} --timeout 1",
    "run --cancel abcdefgh --timeout 1",
    "stats",
    "stats --json --html page.html",
    f"stats --by step --asset {ASSET} --since 4w",
    "doctor",
    f"scaffold --asset {ASSET} --force",
    f"scaffold --run {RUN_ID} --force",
]
LAUNCHES = ("LaunchRun", "LaunchBackfill")


def notebook_parts(project: Project) -> dict[str, Callable[[], object]]:
    """Return what the cells of a notebook call, once for an asset, a job and a selection."""
    parts: dict[str, Callable[[], object]] = {}
    pairs = {"asset": ASSET}, {"job": "nightly"}, {"select": "*"}
    for kind in pairs:
        pair = dagmar.Pair(**kind)
        object.__setattr__(pair._context, "start", project.root)
        (name,) = kind
        parts |= {
            f"{name}: card": pair.card,
            f"{name}: lineage": pair.lineage,
            f"{name}: controls": lambda pair=pair: read_choices(pair),
            f"{name}: history": pair.history,
            f"{name}: read history": lambda pair=pair: draw_history(pair),
            f"{name}: watch": lambda pair=pair: pair.watch(RUN_ID),
            f"{name}: watch backfill": lambda pair=pair: pair.watch("abcdefgh"),
            f"{name}: stats": pair.stats,
            f"{name}: list assets": pair.list_assets,
            f"{name}: list jobs": pair.list_jobs,
            f"{name}: list partitions": pair.list_partitions,
            f"{name}: list runs": pair.list_runs,
            f"{name}: earlier": lambda pair=pair: history.read_earlier(pair._context),
            f"{name}: launch": lambda pair=pair: buttons.launch(pair._context, ONE),
            f"{name}: launch a backfill": lambda pair=pair: buttons.launch(pair._context, TWO),
            f"{name}: retry": lambda pair=pair: with_client(pair, retry, pair._context),
            f"{name}: cancel": lambda pair=pair: with_client(pair, cancel_run, RUN_ID),
            f"{name}: cancel backfill": lambda pair=pair: with_client(
                pair, cancel_backfill, "abcdefgh"
            ),
        }
    return parts


ONE = controls.LaunchOptions()
TWO = controls.LaunchOptions(partitions=("2026-01-01", "orders"), tags={"team": "data"})


def with_client(pair: dagmar.Pair, call: Callable[..., object], about: object) -> object:
    with pair._context.client() as client:
        return call(client, about)


def retry(client: DagsterClient, context: Context) -> str:
    return buttons.launch_retry(context, client, RUN_ID, ONE)


def export_parts(project: Project) -> dict[str, Callable[[], object]]:
    """Return what an export of a notebook does with the server, without running the notebook."""
    parts: dict[str, Callable[[], object]] = {}
    for name, partition in ((ASSET, ""), (ASSET, "2026-01-01"), ("nightly", "")):

        def checks(name: str = name, partition: str = partition) -> None:
            check_attachable(settings.load(project.root).target(), name, partition)

        def attaches(name: str = name, partition: str = partition) -> None:
            loaded = settings.load(project.root)
            manifest = unwritten("notebooks/orders.py", "ok", "20260101T000000Z-00000000")
            exported = Exported(manifest, project.root, "https://reports.example/orders.html")
            attach(loaded, loaded.target(), exported, name, partition)

        parts |= {f"check {name} {partition}": checks, f"attach {name} {partition}": attaches}
    return parts


def read_choices(pair: dagmar.Pair) -> object:
    with pair._context.client() as client:
        return controls.read_choices(pair._context, client, "rows")


def draw_history(pair: dagmar.Pair) -> object:
    return history.draw_history(history.read_history(pair._context, 30), "http://x")


def call_task(words: str) -> int:
    """Call a task as `invoke` does, in this process, and return its status."""
    argv = ["invoke", *words.split()]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", argv)
            Program().run(argv)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = make_project(tmp_path / "project", "run: {poll_seconds: 0.1}\n")
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(launch, "SEARCH_SECONDS", 0.1)
    monkeypatch.setattr(launch, "SEARCH_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(following, "LOST_SECONDS", 1.0)
    monkeypatch.setattr(tracking, "CANCEL_SECONDS", 1.0)
    return project


def look(project: Project, seed: int, counts: Counter[str]) -> list[str]:
    """Call everything once against a server of this seed, and return what went wrong."""
    fuzzed = Fuzzed(seed, *((0.4, 0.2), (0.05, 0.01))[seed % 2])
    wrong = []
    with serve(fuzzed) as server:
        (project.root / "dagmar.yaml").write_text(
            f"run: {{poll_seconds: 0.1}}\ntargets: {{local: {{url: '{server.url}'}}}}\n"
        )
        calls = {words: functools.partial(call_task, words) for words in TASKS}
        for name, call in {**calls, **notebook_parts(project), **export_parts(project)}.items():
            before = sum(fuzzed.operations[launch] for launch in LAUNCHES)
            try:
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as stderr:
                    status = call()
                if name in calls:
                    counts[f"status {status}"] += 1
                    if status and status not in DOCUMENTED:
                        wrong.append(f"{name}: status {status}\n{stderr.getvalue()}")
                    if status and "error: " not in stderr.getvalue():
                        wrong.append(f"{name}: status {status} without a reason")
            except DagmarError as error:
                counts[f"status {error.exit_code}"] += 1
                if not error.suggestion or error.exit_code not in DOCUMENTED:
                    wrong.append(f"{name}: {error!r} does not say what to do")
            except Exception:
                wrong.append(f"{name}, seed {seed}\n{traceback.format_exc(limit=-3)}")
            launched = sum(fuzzed.operations[launch] for launch in LAUNCHES) - before
            counts["launches"] += launched
            if launched > 1:
                wrong.append(f"{name}: {launched} launches")
    counts["damages"] += fuzzed.damages
    return wrong


def check(project: Project, seeds: range) -> Counter[str]:
    counts: Counter[str] = Counter()
    wrong = [each for seed in seeds for each in look(project, seed, counts)]
    assert wrong == [], "\n\n".join(wrong)
    return counts


def test_no_answer_of_a_server_ends_in_a_traceback_or_launches_twice(project: Project) -> None:
    counts = check(project, range(10, 14))
    assert counts["damages"] > 20
    assert counts["launches"] > 0
    assert counts["status 5"] > 0


@pytest.mark.nightly
def test_no_answer_of_many_servers_ends_in_a_traceback(project: Project) -> None:
    counts = check(project, range(100, 300))
    assert counts["launches"] > 10
