"""Data on stdout, talk on stderr, and nothing in either that could steer a terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from dagmar import console
from dagmar.errors import DagmarError

HOSTILE = {
    "a colour": "\x1b[31mred",
    "a title": "\x1b]0;owned\x07",
    "a carriage return": "safe\roverwritten",
    "backspaces": "abc\x08\x08\x08xyz",
    "one-byte escapes": "\x9b2J",
    "delete": "a\x7f",
    "null": "a\x00b",
    "a vertical tab": "a\x0bb",
    "right to left": "a\u202eb\u2066c",
}


def dangerous(text: str) -> list[str]:
    return [
        c
        for c in text
        if (ord(c) < 32 and c not in "\n\t")
        or 127 <= ord(c) < 160
        or c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    ]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_control_characters_are_tamed_wherever_text_is_printed(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dangerous(text)
    console.say(text)
    console.out(text)
    console.warn(text)
    console.complain(DagmarError(text, text))
    console.table("Assets", ("asset", "notebooks"), [(text, text)])
    printed = capsys.readouterr()
    assert dangerous(printed.out) == []
    assert dangerous(printed.err) == []
    coloured = text == HOSTILE["a colour"]  # of which nothing is left
    assert printed.out.count("red" if coloured else "�") >= 3
    assert printed.err.count("red" if coloured else "�") >= 4
    assert not coloured or "[31m" not in printed.out + printed.err


def test_ordinary_text_is_left_alone() -> None:
    text = "naïve — 日本語 🎉\n\ttabbed"
    assert console.tame(text) == text
    assert console.tame("one\r\ntwo") == "one\ntwo"


def test_half_a_surrogate_pair_can_be_printed() -> None:
    code = (
        "from dagmar import console; console.out('a\\ud800b'); console.table('t', 'k', ['\\udfff'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("a�b".encode())


def test_printed_commands_name_the_server_of_this_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(console, "_server_flags", "")
    console.server_is("--target prod")
    shown = console.pasteable(
        "`invoke discover` lists them, and `git log` too:", "invoke run --retry x"
    )
    assert "`invoke discover --target prod` lists them, and `git log` too" in shown
    assert shown.endswith("invoke run --retry x --target prod")
    named = "invoke run --target NAME"
    assert console.pasteable("", named).endswith(named)
    assert "--target" not in console.pasteable("Start it with `invoke dev`.")
    console.server_is("")
    assert "--target" not in console.pasteable("", "invoke run --retry x")


def test_talk_goes_to_stderr_and_data_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("talk")
    console.warn("careful")
    console.complain(DagmarError("broken", "repair it"))
    console.out("data")
    printed = capsys.readouterr()
    assert printed.out == "data\n"
    assert printed.err == "talk\nwarning: careful\nerror: broken\n  repair it\n"


def test_a_json_document_is_one_line_for_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    console.document({"key": "raw/örders\x1b"})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"key": "raw/örders\x1b"}
    assert printed.count("\n") == 1
    assert dangerous(printed) == []


@pytest.mark.parametrize(
    ("width", "shown"),
    [(80, ["asset", "kinds", "notebook"]), (40, ["asset", "notebook"])],
)
def test_a_table_for_a_narrow_terminal_does_without_what_is_spare(
    width: int,
    shown: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    rows = [("raw/orders", "parquet, polars", "notebooks/orders.py")]
    console.table("Assets", ("asset", "kinds", "notebook"), rows, spare=("kinds",))
    text = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out)
    lines = [line.split() for line in text.splitlines()]
    assert shown in lines
    assert any((line[0], line[-1]) == ("raw/orders", rows[0][-1]) for line in lines if line)


def test_a_table_for_a_pipe_has_one_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    rows = [("a", long), ("b\nb", "two\r\nlines\u2028more"), ("[red]c[/red]", "")]
    console.table("Assets", ("asset", "notebooks"), rows)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    title, header, rule, *body = lines
    assert title == "Assets (3)"
    assert header.split() == ["asset", "notebooks"]
    assert set(rule) <= set("─ ━╶╴-")
    assert len(body) == 3
    assert body[0].split() == ["a", long]
    assert body[1].split() == ["b", "b", "two", "lines", "more"]
    assert body[2].strip() == "[red]c[/red]"
    assert not any(line.endswith(" ") or "\x1b" in line for line in lines)


def test_a_column_without_values_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("Jobs", ("name", "empty", "cron"), [("nightly", "", "0 0 * * *"), ("x", "", "")])
    assert "empty" not in capsys.readouterr().out
    console.table("Jobs", ("name", "empty"), [("", "")])
    assert "name" in capsys.readouterr().out
