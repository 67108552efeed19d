"""`invoke stats`: what got slower since when, what fails and why, and a verdict."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dagmar import Pair
from dagmar.errors import Conflict, Unreachable
from dagmar.project.provenance import REVISION_TAG, VERSION_TAG
from dagmar.project.settings import Target, load
from dagmar.server.client import DagsterClient
from dagmar.stats.stats import Stats, StatsRequest, read_stats
from dagmar.stats.verdict import parse_rules
from support import history
from support.history import DAY, IMPLICIT_JOB, Past, PastStep, Served
from support.project import Project, make_project

END = 1_790_000_000.0
SLOWER = 40


def run(number: int, reason: tuple[str, str] | None = None) -> Past:
    """Return a run of `orders`, six hours after the one before."""
    at = END - 14 * DAY + number * DAY / 4
    late = number >= SLOWER
    took = (60 + number % 7) * (1.5 if late else 1)
    step = PastStep("orders", at + 2, at + 2 + took, assets=("orders",))
    tags = {REVISION_TAG: ("b" if late else "a") * 40, f"{VERSION_TAG}polars": f"1.{int(late)}"}
    past = Past(
        str(uuid.UUID(int=number + 1)), IMPLICIT_JOB, "shop", "SUCCESS", at, at, at + 1, at + 2,
        at + 2 + took, ("orders",), tags, (step,),
    )  # fmt: skip
    if reason is None:
        return past
    failed = replace(step, status="FAILURE", error=reason)
    return replace(
        past,
        run_id=str(uuid.UUID(int=number + 1000)),
        created=at + 1,
        status="FAILURE",
        tags={**tags, "dagster/partition": "eu"},
        steps=(failed,),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    reasons = [("TimeoutError", f"no answer after {n} s for eu") for n in range(40, 54)]
    runs = [*map(run, range(56)), *(run(40 + i, reason) for i, reason in enumerate(reasons))]
    runs.append(run(55, ("KeyError", "'caf\udce9'")))
    with history.open_instance(tmp_path_factory.mktemp("why")) as instance:
        history.generate(instance, sorted(runs, key=lambda past: past.created))
        with history.serve(instance, END) as served:
            yield served


@pytest.fixture(scope="module")
def here(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    return make_project(folder, f"targets: {{local: {{url: '{served.url}'}}}}\n")


def ask(project: Project, url: str, **request: Any) -> Stats:
    with DagsterClient(Target("local", url)) as client:
        return read_stats(load(project.root), client, StatsRequest(**request))


def test_failures_are_grouped_by_cause(here: Project, served: Served) -> None:
    first, second = ask(here, served.url).as_document()["failures"]
    assert (first["count"], first["class"], first["step"]) == (14, "TimeoutError", "orders")
    assert first["message"] == "no answer after <n> s for <partition>"
    assert (first["partitions"], first["assets"]) == (["eu"], ["orders"])
    newest = str(uuid.UUID(int=1000 + 53))
    assert first["run_id"] == newest
    assert first["url"] == f"{served.url}/runs/{newest}"
    assert first["retry"] == f"invoke run --retry {newest}"
    assert first["first"] < first["last"]
    assert (second["count"], second["class"], second["message"]) == (1, "KeyError", "<value>")


def test_a_slowdown_has_its_first_run_and_what_changed_with_it(
    here: Project, served: Served
) -> None:
    (slowdown,) = ask(here, served.url).slowdowns
    assert slowdown["name"] == "orders"
    assert slowdown["run_id"] == str(uuid.UUID(int=SLOWER + 1))
    assert slowdown["factor"] == pytest.approx(1.5, abs=0.05)
    assert slowdown["changed"] == [
        {
            "what": "git revision",
            "from": "a" * 40,
            "to": "b" * 40,
            "command": f"git log {'a' * 12}..{'b' * 12}",
        },
        {"what": "polars", "from": "1.0", "to": "1.1"},
    ]


def test_it_is_printed_for_people(
    here: Project,
    served: Served,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UV", "uv")
    ask(here, served.url).show()
    shown = capsys.readouterr().out
    assert "14 × TimeoutError in step orders, first on Thu 2026-09-17 14:14 UTC, " in shown
    assert ", all of partition eu: no answer after <n> s for <partition>\n" in shown
    assert f"    {served.url}/runs/{uuid.UUID(int=1053)}\n" in shown
    assert f"    To retry, type: uv run invoke run --retry {uuid.UUID(int=1053)}" in shown
    assert "1.5 times as long as before" in shown
    assert "polars: 1.0 → 1.1" in shown
    assert f"git log {'a' * 12}..{'b' * 12}" in shown


def test_a_broken_rule_is_status_4_and_the_page_is_written(
    here: Project, served: Served, tmp_path: Path
) -> None:
    page = tmp_path / "history.html"
    rules = ("--fail-if", "p95 > +20%", "--fail-if", "success < 95%")
    done = here.invoke("stats", *rules, "--html", str(page), "--json")
    assert done.returncode == 4
    document = json.loads(done.stdout)
    assert [each["rule"] for each in document["violations"]] == ["p95 > +20%", "success < 95%"]
    assert "orders: p95 is 9" in done.stderr
    assert "14 × TimeoutError" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        (["--fail-if", "p96 > 3 s"], 2, "did you mean 'p95'?"),
        (["--html", "dagmar.yaml"], 8, "is not a page of `invoke stats`"),
        (["--fail-if", "p95 > +1%", "--since", "14d"], 0, "cannot be judged for orders"),
    ],
)
def test_what_is_refused_or_unknown_is_said(
    here: Project, served: Served, flags: list[str], status: int, said: str
) -> None:
    before = len(served.requests)
    done = here.invoke("stats", *flags)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert status == 0 or len(served.requests) == before  # nothing was read


def test_open_without_a_name_writes_a_page_into_the_cache(here: Project, served: Served) -> None:
    assert here.invoke("stats", "--open").returncode == 0
    assert "TimeoutError" in (here.root / ".dagmar/cache/history.html").read_text("utf-8")


def test_a_page_of_somebody_else_is_kept(here: Project, served: Served, tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<html>mine</html>", "utf-8")
    with pytest.raises(Conflict):
        ask(here, served.url, html=mine, fail_if=tuple(parse_rules(["runs > 0"])))
    assert mine.read_text("utf-8") == "<html>mine</html>"


def test_a_notebook_has_the_same_numbers(here: Project, served: Served) -> None:
    pair = Pair(asset="orders", root=here.root)
    stats = pair.stats()
    assert stats.document == ask(here, served.url, whole=True).as_document()
    (row,) = stats.rows
    assert (row["name"], row["failed"], row["failed before"]) == ("orders", 15, 0)
    assert [each["count"] for each in stats.failures] == [14, 1]
    assert [each["name"] for each in stats.slowdowns] == ["orders"]
    shown = stats._repr_html_()
    assert "14 × TimeoutError" in shown
    assert "<script" not in shown
    assert [row["runs"] for row in pair.stats("1h", everything=False).rows] == [0]


def test_a_notebook_without_a_server_says_so(tmp_path: Path) -> None:
    project = make_project(tmp_path, "targets: {local: {url: 'http://127.0.0.1:9'}}\n")
    stats = Pair(job="nightly", root=project.root).stats(by="job", everything=False)
    assert isinstance(stats.error, Unreachable)
    assert (stats.rows, stats.failures, stats.slowdowns) == ([], [], [])
    assert "the statistics cannot be shown" in stats._repr_html_()
    wrong = Pair(job="nightly", root=project.root).stats(by="jobs")
    assert "did you mean" in wrong._repr_html_()
