"""The summary of `invoke run` for a CI: Markdown that is added to a file, as GitHub shows it.

Text from a server is data: in a line it is code without any punctuation that Markdown or HTML
knows, in a block it is behind a fence that is longer than any in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from dagmar import console
from dagmar.errors import DagmarError, counted, cut
from dagmar.runs.following import warn_on_error
from dagmar.runs.tracking import RunResult
from dagmar.server.client import DagsterClient
from dagmar.server.runs import SUCCESS, Run
from dagmar.stats.usual import DAYS, Subject, Usual, of_run, read_usual

MOST_BYTES = 1024 * 1024
"""GitHub drops a file that is larger; other steps may have written to it."""
MOST_RUNS, MOST_FAILURES = 200, 20
MOST_LETTERS = 20_000  # of a traceback, whose end says most
MOST_IN_LINE = 300
_HEAD = f"| run | status | of | partition | duration | usually | checks |\n{'|---' * 7}|\n"
_LEFT_OUT = "\nThe rest is left out: a summary has 1 MiB at most.\n"


def add(client: DagsterClient, file: str, result: RunResult | DagmarError) -> None:
    """Add the summary of a result, or of why nothing was launched, to the file `file`.

    What prevents it is a warning.
    """
    usual: Mapping[Subject, Usual | None] = {}
    runs = result.runs if isinstance(result, RunResult) else ()
    with warn_on_error("how long the runs usually take"):
        ended = [run for run in runs if run.seconds is not None]
        usual = read_usual(client, map(of_run, ended), [run.run_id for run in runs])
    try:
        with Path(file).open("ab") as stream:
            room, begun = MOST_BYTES - stream.tell(), stream.tell() > 0
            text = _fitting(_blocks(result, usual), room - begun)
            if not text:
                raise OSError(0, "it is full")
            stream.write(b"\n" * begun + text)
    except OSError as error:
        console.warn(f"the summary {file} cannot be written: {error.strerror or error}")


def _fitting(blocks: Iterator[str], room: int) -> bytes:
    """Return the blocks that fit into `room` bytes, with a remark if others do not."""
    text, remark = b"", _LEFT_OUT.encode()
    for block in blocks:
        more = block.encode("utf-8", "backslashreplace")
        if len(text) + len(more) + len(remark) > room:
            return text + remark if text else b""
        text += more
    return text


def _blocks(
    result: RunResult | DagmarError, usual: Mapping[Subject, Usual | None]
) -> Iterator[str]:
    error = _error(result)
    yield f"### invoke run: {f'status {error.exit_code}' if error else 'ok'}\n\n"
    if isinstance(result, DagmarError):
        yield _block(str(result))
        return
    if backfill := result.backfill:
        yield f"Backfill {_link(backfill.url, backfill.backfill_id)}: {_code(backfill.status)}\n\n"
    yield _HEAD if result.runs else "Nothing was launched.\n\n"
    for run in result.runs[:MOST_RUNS]:
        yield _row(run, usual.get(of_run(run)))
    if len(result.runs) > MOST_RUNS:
        yield f"\nand {counted(len(result.runs) - MOST_RUNS, 'more run')}\n"
    if any(usual.values()):
        yield f"\nUsually: the median of the last successful runs, within {DAYS} days.\n"
    failed = [run for run in result.runs if run.error]
    yield "\n"
    yield from map(_failure, failed[:MOST_FAILURES])
    if len(failed) > MOST_FAILURES:
        yield f"and {counted(len(failed) - MOST_FAILURES, 'more failure')}\n\n"
    for run in result.runs:
        yield from (f"- {_code(check.text)}\n" for check in run.checks or () if not check.passed)
    if error and (result.error or not failed):
        yield f"\n{_block(str(error))}"


def _error(result: RunResult | DagmarError) -> DagmarError | None:
    if isinstance(result, DagmarError):
        return result
    try:
        result.raise_for_status()
    except DagmarError as error:
        return error
    return None


def _row(run: Run, usual: Usual | None) -> str:
    checks = [check for check in run.checks or () if check.passed]
    others = len(run.checks or ()) - len(checks)
    found = [f"{len(checks)} passed"] * bool(checks) + [f"**{others} not**"] * bool(others)
    seconds, usually = run.seconds, ""
    if usual and seconds is not None:
        change = f" ({seconds / usual.median - 1:+.0%})" if usual.median > 0 else ""
        usually = f"{usual.median:.1f} s{change}"
    cells = (
        _link(run.url, run.run_id[:8]),
        _code(run.status) if run.status == SUCCESS else f"**{_code(run.status)}**",
        _code(", ".join(run.assets) or run.job),
        _code(run.partition or ""),
        "" if seconds is None else f"{seconds:.1f} s",
        usually,
        ", ".join(found),
    )
    return f"| {' | '.join(cells)} |\n"


def _failure(run: Run) -> str:
    assert run.error
    place = f" in step {_code(run.error.place)}" if run.error.place else ""
    head = f"{_link(run.url, run.run_id[:8])} failed{place}: {_code(run.error.line)}\n\n"
    trace = run.error.trace or run.error.text
    return f"{head}<details><summary>Traceback</summary>\n\n{_block(trace)}</details>\n\n"


def _code(text: str) -> str:
    """Return text of one line as code in which nothing has a meaning; empty if it is."""
    words = " ".join(console.tame(text).split())
    escaped = r"[!-/:-@\[-`{-~]"
    plain = re.sub(escaped, lambda match: f"&#{ord(match[0])};", cut(words, MOST_IN_LINE + 1))
    return f"<code>{plain}</code>" if plain else ""


def _link(url: str, text: str) -> str:
    return f'<a href="{escape("".join(console.tame(url).split()))}">{_code(text)}</a>'


def _block(text: str) -> str:
    tame = console.tame(text)
    tame = tame if len(tame) <= MOST_LETTERS else f"…{tame[-MOST_LETTERS:]}"
    fence = "`" * (max(map(len, re.findall("`+", tame)), default=0) + 3)
    return f"{fence}text\n{tame.rstrip()}\n{fence}\n\n"
