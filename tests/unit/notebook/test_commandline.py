"""What a notebook reads from its command line, and how a parameter gets there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dagmar.errors import Invalid
from dagmar.notebook.cells import read_notebook
from dagmar.notebook.commandline import read_command_line
from dagmar.notebook.execute import Executed, execute
from dagmar.notebook.parameters import check_parameters, read_parameters
from support.export_project import write

ARGPARSE = """read():
import argparse

parser = argparse.ArgumentParser(exit_on_error=False)
parser.add_argument("-r", "--region", default="EU", choices=["EU", "US", "-", "a=b"])
parser.add_argument("--min-rows", type=int, default=1)
parser.add_argument("--verbose", action="store_true")
parser.add_argument("--no-color", action="store_false", dest="color")
parser.add_argument("--check", action=argparse.BooleanOptionalAction, default=True)
parser.add_argument("-d", action="count", default=0)
parser.add_argument("--days", nargs="+", default=[])
parser.add_argument("--to", dest="target")
"""
STRICT = f"{ARGPARSE}args = vars(parser.parse_args())\nreturn (args,)"


def run(file: Path, **texts: str) -> Executed:
    """Run a notebook with parameters, as an export does."""
    source = read_notebook(file)
    check_parameters(file, source, texts)
    values = read_parameters(source, texts)
    return execute(file, values, read_command_line(source).arguments(texts))


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        ({"region": "US"}, {"region": "US"}),
        ({"r": "US"}, {"region": "US"}),
        ({"region": "-"}, {"region": "-"}),
        ({"region": "a=b"}, {"region": "a=b"}),
        ({"min-rows": "7"}, {"min_rows": 7}),
        ({"min_rows": "-7"}, {"min_rows": -7}),
        ({"verbose": "true"}, {"verbose": True}),
        ({"verbose": "false"}, {"verbose": False}),
        ({"no-color": "yes"}, {"color": False}),
        ({"check": "false"}, {"check": False}),
        ({"d": "2"}, {"d": 2}),
        ({"days": "[NO, 007]"}, {"days": ["NO", "007"]}),
        ({"days": "007"}, {"days": ["007"]}),
        ({"target": "x"}, {"target": "x"}),
        ({"to": "007"}, {"target": "007"}),
    ],
)
def test_a_parameter_is_an_option_of_argparse(
    tmp_path: Path, texts: dict[str, str], values: dict[str, Any]
) -> None:
    executed = run(write(tmp_path, STRICT), **texts)
    assert executed.failure is None
    read = executed.values["args"]
    assert {name: read[name] for name in values} == values


def test_argparse_reads_what_it_reads_when_marimo_runs_the_notebook(tmp_path: Path) -> None:
    show = f"{ARGPARSE}print(sorted(vars(parser.parse_args()).items()))"
    file = write(tmp_path, show)
    with file.open("a") as tail:
        tail.write('\nif __name__ == "__main__":\n    app.run()\n')
    texts = {"region": "a=b", "min_rows": "-7", "days": "[1, 2]", "verbose": "true", "d": "2"}
    arguments = read_command_line(read_notebook(file)).arguments(texts)
    script = subprocess.check_output([sys.executable, str(file), *arguments], text=True)
    shown = run(file, **texts).capture.view.cell_notifications
    assert [output.data for cell in shown.values() for output in cell.console or ()] == [script]


@pytest.mark.parametrize(
    ("name", "meant"), [("regoin", "region"), ("min_row", "min-rows"), ("help", "")]
)
def test_a_misspelled_option_is_refused(tmp_path: Path, name: str, meant: str) -> None:
    for parse in ("parse_args", "parse_known_args"):
        file = write(tmp_path, f"{ARGPARSE}parser.{parse}()")
        with pytest.raises(Invalid) as refused:
            run(file, **{name: "x"})
        assert f"takes no parameter '{name}'" in refused.value.message
        assert f"did you mean '{meant}'" in refused.value.message or not meant
        assert "min-rows" in refused.value.hint


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"min_rows": "many"}, "argument --min-rows: invalid int value: 'many'"),
        ({"region": "XX"}, "argument -r/--region: invalid choice: 'XX'"),
        ({"verbose": "maybe"}, "--param verbose takes true or false, not 'maybe'"),
        ({"d": "x"}, "--param d takes a whole number"),
    ],
)
def test_what_argparse_refuses_is_refused_with_its_message(
    tmp_path: Path, texts: dict[str, str], message: str
) -> None:
    file = write(tmp_path, STRICT.replace("exit_on_error=False", ""))
    with pytest.raises(Invalid) as refused:
        run(file, **texts)
    assert message in refused.value.message


def test_a_name_that_no_option_of_a_helper_has_is_refused(tmp_path: Path) -> None:
    # The syntax does not show the names of these options.
    body = "import argparse\nparser = argparse.ArgumentParser()\ndef add(name):\n"
    body += "    parser.add_argument(name)\nadd('--region')\nparser.parse_args()"
    file = write(tmp_path, f"read():\n{body}")
    with pytest.raises(Invalid, match="unrecognized arguments: --regoin US"):
        run(file, regoin="US")


def test_an_option_that_is_required_is_named(tmp_path: Path) -> None:
    body = 'parser.add_argument("--day", required=True)\nday = parser.parse_args().day'
    file = write(tmp_path, f"read():\nimport argparse\nparser = argparse.ArgumentParser()\n{body}")
    with pytest.raises(Invalid, match="the following arguments are required: --day"):
        run(file)
    assert run(file, day="2026-01-31").values["day"] == "2026-01-31"


def test_what_is_given_by_position_keeps_its_order(tmp_path: Path) -> None:
    body = """read():
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("source")
parser.add_argument("target", nargs="?")
parser.add_argument("--days", nargs="*")
args = vars(parser.parse_args())"""
    file = write(tmp_path, body)
    executed = run(file, days="[1, 2]", target="b", source="a")
    assert executed.values["args"] == {"source": "a", "target": "b", "days": ["1", "2"]}
    with pytest.raises(Invalid, match="'source' is missing"):
        run(file, target="b")


def test_an_exit_of_the_notebook_itself_is_a_failure(tmp_path: Path) -> None:
    for body in ("import sys\nsys.exit(2)", f"{ARGPARSE[8:]}parser.parse_args(['--nothing'])"):
        executed = run(write(tmp_path, f"read():\n{body}"))
        assert executed.failure is not None


def test_the_inputs_cell_and_argparse_take_their_own(tmp_path: Path) -> None:
    file = write(tmp_path, STRICT, "inputs(args):\nlimit = 5\nregion = args['region']")
    executed = run(file, limit="7", region="US", verbose="true")
    assert executed.failure is None
    assert (executed.values["limit"], executed.values["region"]) == (7, "US")
    assert executed.values["args"]["verbose"]


@pytest.mark.parametrize(
    ("body", "accepted", "refused"),
    [
        ("# mo.cli_args()\nx = 'argparse sys.argv mo.cli_args()'", [], ["x1", "n"]),
        ("n = mo.cli_args().get('n', 3)", ["n"], ["m"]),
        ("n = mo.cli_args()['n']", ["n"], ["m"]),
        ("args = mo.cli_args()\nn = args.get('n')\nm = 'm' in args", ["n", "m"], ["o"]),
        ("args = mo.cli_args()\nreturn (args,)", [], ["n"]),
        ("n = dict(mo.cli_args())", ["n", "anything"], []),
        ("key = 'n'\nn = mo.cli_args().get(key)", ["n", "anything"], []),
        ("import sys\nn = sys.argv[1:]", ["n"], []),
        ("from sys import argv\nn = list(argv)", ["n"], []),
        ("import sys\nhere = sys.argv[0]", [], ["n"]),
        ("import argparse\nargparse.ArgumentParser().parse_args([])", [], ["n"]),
        ("import argparse, sys\nargparse.ArgumentParser().parse_args(sys.argv[1:])", [], ["n"]),
        ("from mine import parser\nn = parser.parse_args().n", ["n"], []),
        (
            "import argparse\nparser = argparse.ArgumentParser()\nfor _f in ('--n', '--m'):\n"
            "    parser.add_argument(_f)\nparser.parse_args()",
            ["n", "m"],
            [],
        ),
        ("day = pair.partition_key()", ["partition_key"], ["day"]),
        (
            "import click\n@click.command()\n@click.option('--n', default=1)\n"
            "@click.option('--loud/--quiet')\ndef f(n, loud):\n    pass",
            ["n", "loud"],
            ["m"],
        ),
        ("import typer", ["n"], []),
    ],
)
def test_what_a_notebook_accepts_is_read_from_its_syntax(
    tmp_path: Path, body: str, accepted: list[str], refused: list[str]
) -> None:
    file = write(tmp_path, f"read(mo):\n{body}")
    source = read_notebook(file)
    check_parameters(file, source, accepted)
    for name in refused:
        with pytest.raises(Invalid, match=f"takes no parameter '{name}'"):
            check_parameters(file, source, [name])


@pytest.mark.parametrize("text", ["US", "-x", "a=b", " x", "", "a b"])
def test_marimo_reads_the_same_text(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, "read():\nimport marimo as mo\nn = mo.cli_args().get('n')")
    assert run(file, n=text).values["n"] == text
