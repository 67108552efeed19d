"""Failures grouped by step or cell, exception and normalized message."""

from __future__ import annotations

import importlib
import random
import shlex
import time
import traceback
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.stats import causes
from dagmar.stats.causes import cell_of, group, normalize
from dagmar.stats.records import FailureRecord
from hypothesis import given
from hypothesis import strategies as st

TUESDAY = 1_795_521_600.0  # 2026-11-24T12:00Z


def failure(message: str = "timed out", run: int = 1, **more: Any) -> FailureRecord:
    values = {"step": "load", "cell": None, "error": "TimeoutError", "assets": (AssetKey("raw"),)}
    return FailureRecord(f"run-{run}", TUESDAY + run, message=message, **values | more)


@pytest.mark.parametrize(
    ("first", "second", "normalized"),
    [
        ("timed out after 30.0 s", "timed out after 4 s", "timed out after <n> s"),
        ("took 30s", "took -1.5e3s", "took <n>s"),
        ("no row 12 in 'users'", "no row 13 in 'its'", "no row <n> in <value>"),
        ("column 'a b' is missing", 'column "c" is missing', "column <value> is missing"),
        ("can't read `x`", "can't read `y z`", "can't read <value>"),
        ("no /data/eu/1.csv", "no /tmp/x/y/z.parquet", "no <path>"),
        (r"no C:\data\x.csv", "no ../data/x.csv", "no <path>"),
        ("no data/eu/x.csv here", "no data/x.csv here", "no <path> here"),
        ("s3://b/k?x=1 is gone", "gs://other/key is gone", "<url> is gone"),
        ("at 2026-01-31T10:30:00.5+01:00", "at 2025-12-01 09:00 UTC", "at <time>"),
        ("on Tue, 24 Nov 2026", "on Wednesday, Nov 3 2025", "on <time> <n>"),
        (
            "job 8f14e45f-ceea-467f-a9b5-1c2d3e4f5a6b died",
            "job 00000000-0000-0000-0000-00000000000a died",
            "job <id> died",
        ),
        ("query_20260131_x failed", "query_1234 failed", "<id> failed"),
        ("at 0x7f3a", "at 0xFF", "at <id>"),
        ("commit 7c731501a2b", "commit 34ab1e0", "commit <id>"),
        ("10.0.0.1:5432 refused", "192.168.1.20:80 refused", "<n> refused"),
        ("part-00012 of 3", "part-7 of 1,000", "part-<n> of <n>"),
        ("\n\n  a \t b\nmore 1", "a b\nothers", "a b"),
    ],
)
def test_messages_that_differ_by_values_are_equal(first: str, second: str, normalized: str) -> None:
    assert normalize(first) == normalize(second) == normalized


@pytest.mark.parametrize(
    "message",
    [
        "asset raw/orders and/or raw/users is missing",
        "int64 cannot be cast to float32",
        "the users' table isn't there, can't go on",
        "utf8 codec",
        "",
    ],
)
def test_what_names_the_cause_stays(message: str) -> None:
    assert normalize(message) == message


def test_other_causes_stay_apart() -> None:
    texts = ["timed out after 3 s", "refused after 3 s", "asset raw/a", "asset raw/b", "int64"]
    assert len({normalize(text) for text in texts}) == len(texts)


def test_a_partition_is_replaced_as_a_whole_word_with_its_dimensions() -> None:
    assert normalize("eu of europe, EU", "eu") == "<partition> of europe, EU"
    assert normalize("eu on 2026-01-31", "2026-01-31|eu") == "<partition> on <partition>"
    assert normalize("partition", "partition") == "<partition>"
    assert normalize("a (.*) b", "(.*)") == "a <partition> b"


TEXT = st.text() | st.text(alphabet="<>nid'\"`/\\.:-+ 019afT_x|\n%")


@given(TEXT, st.none() | TEXT)
def test_a_normalized_message_stays_as_it_is(message: str, partition: str | None) -> None:
    once = normalize(message, partition)
    assert normalize(once, partition) == once
    assert len(once) <= causes.LONGEST
    assert "\n" not in once


@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.uuids(), st.datetimes())
def test_values_of_any_size_do_not_matter(number: int, real: float, id: Any, time: Any) -> None:
    text = normalize(f"{number} x {real} x {id} x {time.isoformat(' ')} x")
    assert text == "<n> x <n> x <id> x <time> x"


@pytest.mark.parametrize(
    "hostile",
    [
        "'" * 10**6,
        "/a" * 10**6,
        "1" * 10**6,
        "a1" * 10**6,
        "<" * 10**6,
        "\n" * 10**6,
        "\x1b[31m\ud800",
    ],
)
def test_hostile_text_of_any_length_takes_no_time(hostile: str) -> None:
    began = time.process_time()
    assert len(normalize(hostile, hostile[:1000])) <= causes.LONGEST
    assert cell_of(hostile) is None
    assert time.process_time() - began < 1


def test_failures_of_one_cause_are_one_entry_with_its_newest_run() -> None:
    failures = [
        failure(f"timed out after {n} s", n, partition="eu", assets=(AssetKey(f"raw/{n % 2}"),))
        for n in (3, 14, 1)
    ]
    cause, other = group([*failures, failure("refused")])
    document = cause.as_document("http://x/")
    assert (cause.count, cause.newest.run_id, other.count) == (3, "run-14", 1)
    assert document["first"] == "2026-11-24T12:00:01+00:00"
    assert document["last"] == "2026-11-24T12:00:14+00:00"
    assert document["message"] == "timed out after <n> s"
    assert document["example"] == "timed out after 14 s"
    assert document["url"] == "http://x/runs/run-14"
    assert (document["partitions"], document["assets"]) == (["eu"], ["raw/1", "raw/0"])
    assert cause.text == (
        "3 × TimeoutError in step load, first on Tue 2026-11-24 12:00 UTC, all of partition eu"
    )


def test_a_partition_that_only_some_have_is_not_shared() -> None:
    (cause,) = group([failure(partition="eu"), failure()])
    assert cause.shared_partition is None
    assert "partition" not in cause.text


def test_steps_cells_and_exceptions_stay_apart() -> None:
    places = [
        failure(),
        failure(step="save"),
        failure(step=None),
        failure(cell="sales.py, line 3"),
        failure(cell="users.py, line 3"),
        failure(error="OSError"),
    ]
    assert len(group(places)) == len(places)
    moved = [failure(cell="sales.py, line 3"), failure(cell="sales.py, line 14", run=2)]
    (cause,) = group(moved)  # the notebook was edited in between
    assert cause.newest.cell == "sales.py, line 14"
    assert "in cell sales.py, line 14" in cause.text


@pytest.mark.parametrize(
    "message",
    [
        "Steps failed: ['load', 'save'].",
        "Execution of run for \"__ASSET_JOB\" failed. Steps failed: ['load'].",
        "Dependencies for step report failed: ['load']. Not executing.",
        "Dependencies for step report were not executed: ['load']. Not executing.",
    ],
)
def test_an_upstream_failure_is_not_a_cause(message: str) -> None:
    assert group([failure(message, step=None, error="")]) == []


def test_the_newest_run_is_retried_if_one_run_is_enough() -> None:
    (cause,) = group([failure(run=n, partition="eu") for n in range(3)])
    assert cause.retry == "invoke run --retry run-2"


def test_each_partition_that_failed_is_retried() -> None:
    keys = ["eu", "it's", "$x"]
    (cause,) = group([failure(run=n, partition=key) for n, key in enumerate(keys)])
    words = shlex.split(cause.retry)
    assert words == [
        "invoke", "run", "--asset", "raw", *(w for key in keys for w in ("--partition", key))
    ]  # fmt: skip


def test_many_partitions_are_retried_by_what_failed() -> None:
    (cause,) = group([failure(run=n, partition=f"p{n}") for n in range(1000)])
    assert cause.retry == "invoke run --asset raw --failed"
    assert "in at least 100 partitions" in cause.text


def test_what_a_kernel_made_is_not_retried_by_its_run() -> None:
    (cause,) = group([failure(here=True, partition="eu")])
    assert cause.retry == "invoke run --asset raw --partition eu"


def test_memory_does_not_grow_with_the_number_of_causes() -> None:
    words = random.Random(1)

    def failures(number: int) -> Any:
        for n in range(number):
            letters = "".join(words.choices("abcdefgh", k=20))
            yield failure("frequent" if n % 3 == 0 else letters, n, partition=str(n))

    peaks = []
    for number in (1_500, 7_500):
        tracemalloc.start()
        (first, *_) = found = group(failures(number))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (first.message, len(found)) == ("frequent", causes.MOST_CAUSES)
        assert first.count == (number + 2) // 3
    assert peaks[1] < 1.1 * peaks[0]


def test_the_cell_of_a_notebook_that_dagster_ran_is_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sales.py").write_text(
        "import marimo\n\napp = marimo.App()\n\n\n@app.cell\ndef load():\n    x = 1\n"
        "    return (x,)\n\n\n@app.cell\ndef total(x):\n    y = x / 0\n    return (y,)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError) as raised:
        importlib.import_module("sales").app.run()
    trace = "".join(traceback.format_exception(raised.value))
    assert cell_of(trace) == "sales.py, line 14"
    assert cell_of(trace.replace("/marimo/", "/other/")) is None
