"""The summary of `invoke run` for a CI."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Invalid, TimedOut
from dagmar.failure import Failure
from dagmar.project.settings import Target, load
from dagmar.runs import summary
from dagmar.runs.run import RunRequest, run
from dagmar.runs.tracking import RunResult
from dagmar.server.checks import Check
from dagmar.server.client import DagsterClient
from dagmar.server.runs import Run
from support.http_server import asked, dagster, serve
from support.project import Project

HOSTILE = (
    "</code></pre></details><script>alert(1)</script>\n# title\n| a | b |\n"
    "[x](http://evil.test) ![y](http://evil.test/z.png) http://evil.test www.evil.test @team #1 "
    "``` ~~~ `````` \x1b[31m\x1b]0;x\x07 &lt;b&gt; <!-- \\ \udce9\n\n- [ ] task"
)


def a_run(status: str = "SUCCESS", **more: Any) -> Run:
    values = {"job": "__ASSET_JOB", "location": "shop", "assets": [AssetKey("raw/orders")], **more}
    return Run("abcdef01-2345", "http://dagster.test/runs/abcdef01-2345", status, **values)


def history(*seconds: float) -> dict[str, Any]:
    runs = [
        {
            "runId": f"r-{number}", "creationTime": 1.0, "startTime": 2.0, "endTime": 2.0 + each,
            "parentRunId": None, "tags": [], "assetSelection": [{"path": ["raw", "orders"]}],
            "repositoryOrigin": {"repositoryLocationName": "shop"},
        }
        for number, each in enumerate(seconds)
    ]  # fmt: skip
    return {"HistoryRuns": {"runsOrError": {"__typename": "Runs", "results": runs}}}


def summarized(
    file: Path, result: RunResult | DagmarError, answers: dict[str, Any] | None = None
) -> str:
    with asked(answers or history()) as (client, _):
        summary.add(client, str(file), result)
    return file.read_text("utf-8") if file.is_file() else ""


class Page(HTMLParser):
    """What a browser would see of a summary: its elements, its links, its text."""

    def __init__(self, text: str) -> None:
        from markdown_it import MarkdownIt

        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_it_has_status_checks_and_the_duration_next_to_the_usual_one(tmp_path: Path) -> None:
    checks = [Check("rows", AssetKey("raw/orders"), True, "ERROR")]
    checks.append(Check("fresh", AssetKey("raw/orders"), False, "WARN"))
    ended = a_run(started=10.0, ended=22.0, partition="2026-01-01", checks=checks)
    page = Page(summarized(tmp_path / "s.md", RunResult([ended]), history(8, 9, 10, 11, 12)))
    row = "abcdef01 SUCCESS raw/orders 2026-01-01 12.0 s 10.0 s (+20%) 1 passed, 1 not"
    assert row in " ".join(page.words.split())
    assert "check 'fresh' of the asset 'raw/orders' failed (WARN)" in page.words
    assert page.words.startswith("invoke run: ok")
    assert page.links == ["http://dagster.test/runs/abcdef01-2345"]


def test_a_failure_has_its_cause_and_a_folded_traceback(tmp_path: Path) -> None:
    error = Failure(
        "no rows\nmore", "ValueError", "  File a.py\nValueError: no rows\nmore\n", "load"
    )
    text = summarized(tmp_path / "s.md", RunResult([a_run("FAILURE", error=error)]))
    page = Page(text)
    assert page.words.startswith("invoke run: status 4")
    assert "abcdef01 failed in step load: ValueError: no rows" in page.words
    assert "<details><summary>Traceback</summary>" in text
    assert "File a.py" in page.words


def test_text_from_a_server_stays_text(tmp_path: Path) -> None:
    check = Check(HOSTILE, AssetKey("a"), False, "ERROR", description=HOSTILE)
    error = Failure(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    runs = [
        a_run("FAILURE", error=error, partition=HOSTILE, checks=[check]),
        a_run(HOSTILE, assets=[], job=HOSTILE),
    ]
    text = summarized(tmp_path / "s.md", RunResult(runs, error=TimedOut(HOSTILE, HOSTILE)))
    page = Page(text)
    ours = "h3 table thead tbody tr th td a code strong p details summary pre ul li"
    assert set(page.tags) <= set(ours.split())
    assert (page.tags.count("h3"), page.tags.count("tr"), page.tags.count("details")) == (1, 3, 1)
    assert set(page.links) == {"http://dagster.test/runs/abcdef01-2345"}
    assert "\x1b" not in text
    assert page.words.count("<script>alert(1)</script>") >= 6


def test_it_is_added_to_what_other_steps_wrote_up_to_a_mebibyte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "s.md"
    file.write_text("# Theirs\n", "utf-8")
    error = Failure("x", "E", "`é" * 50_000, "load")
    large = RunResult([a_run("FAILURE", error=error)] * 500)
    text = summarized(file, large)
    assert text.startswith("# Theirs\n\n### invoke run")
    assert text.count("| <a") == summary.MOST_RUNS
    assert "and 300 more runs\n" in text
    assert "and 480 more failures\n" in text
    for _ in range(3):
        text = summarized(file, large)
    assert file.stat().st_size <= summary.MOST_BYTES
    assert text.endswith("The rest is left out: a summary has 1 MiB at most.\n")
    assert text.count("<details>") == text.count("</details>")
    file.write_bytes(b"x" * summary.MOST_BYTES)
    capsys.readouterr()
    assert len(summarized(file, large)) == summary.MOST_BYTES
    assert "cannot be written: it is full" in capsys.readouterr().err


def test_a_summary_that_cannot_be_written_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summarized(tmp_path / "absent/s.md", RunResult([a_run()]))
    said = capsys.readouterr().err
    assert "warning: the summary" in said
    assert "No such file" in said


def test_why_nothing_was_launched_is_summarized_too(project: Project) -> None:
    file = project.root / "s.md"
    with (
        serve(dagster({"RunState": {"runOrError": {"__typename": "RunNotFoundError"}}})) as server,
        DagsterClient(Target("local", server.url)) as client,
        pytest.raises(DagmarError),
    ):
        run(load(project.root), client, RunRequest(follow="gone", summary=str(file)))
    assert "### invoke run: status" in file.read_text("utf-8")
    refused = summarized(file, Invalid("there is no job 'x'", "Type:", "invoke discover"))
    assert "there is no job 'x'\nType: invoke discover\n" in refused
