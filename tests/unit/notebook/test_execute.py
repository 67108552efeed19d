"""One execution of a notebook: its values, its outputs, and where its cells failed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dagmar.errors import Invalid
from dagmar.failure import Failure
from dagmar.notebook.capture import CONSOLE_LIMIT, ENTRY_SIZE
from dagmar.notebook.cells import read_notebook
from dagmar.notebook.execute import Executed, execute, load
from dagmar.notebook.fallbacks import as_static, find_figure, traces
from dagmar.notebook.nocode import LEFT_OUT, Code
from dagmar.notebook.parameters import check_parameters
from dagmar.notebook.render import as_notebook, render

HEAD = "import marimo\n\napp = marimo.App()\n\n"


def write(folder: Path, *cells: str, name: str = "notebook") -> Path:
    """Write a notebook of cells, each `name: body`."""
    parts = [HEAD]
    for cell in cells:
        head, _, body = cell.partition("\n")
        parts.append(f"\n@app.cell\ndef {head}\n{textwrap.indent(textwrap.dedent(body), '    ')}\n")
    file = folder / f"{name}.py"
    file.write_text("".join(parts), "utf-8")
    return file


def outputs(executed: Executed, cell: int) -> list[dict[str, object]]:
    """Return the outputs of a cell in the Jupyter notebook."""
    shown: list[dict[str, object]] = as_notebook(executed)["cells"][cell]["outputs"]
    return shown


def test_values_are_returned_and_cells_run_in_the_order_of_their_dependencies(
    tmp_path: Path,
) -> None:
    file = write(
        tmp_path,
        "second(first_value):\nsecond_value = first_value + 1\nreturn (second_value,)",
        "first():\nfirst_value = 1\nreturn (first_value,)",
    )
    executed = execute(file)
    assert executed.failure is None
    assert executed.values == {"first_value": 1, "second_value": 2}


def test_a_failing_cell_stops_its_dependents_and_nothing_else(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "bad():\n\nvalue = 1 / 0\nreturn (value,)",
        "needs(value):\nafter = value\nreturn (after,)",
        "other():\nfine = 3\nreturn (fine,)",
    )
    executed = execute(file)
    assert executed.values == {"fine": 3}
    assert executed.failure is not None
    assert (executed.failure.place, executed.failure.kind) == ("bad", "ZeroDivisionError")
    line = file.read_text("utf-8").splitlines().index("    value = 1 / 0") + 1
    assert f'File "notebook.py", line {line}, in <module>' in executed.failure.traceback
    shown = [outputs(executed, cell)[0] for cell in (0, 1)]
    assert [output["output_type"] for output in shown] == ["error", "error"]
    assert "An ancestor raised" in str(shown[1]["evalue"])


def test_sys_exit_in_a_cell_is_a_failure_of_that_cell(tmp_path: Path) -> None:
    executed = execute(
        write(tmp_path, "leaves():\nimport sys\n\nsys.exit(3)", "other():\nx = 1\nreturn (x,)")
    )
    assert executed.failure is not None
    assert executed.failure.message == "the cell called sys.exit(3)"
    assert executed.values["x"] == 1


def test_an_exception_with_a_cause_is_reported_itself(tmp_path: Path) -> None:
    executed = execute(
        write(tmp_path, "bad():\n\nraise ValueError('outer') from KeyError('inner')")
    )
    assert executed.failure is not None
    assert (executed.failure.kind, executed.failure.message) == ("ValueError", "outer")
    assert "KeyError: 'inner'" in executed.failure.traceback


def test_a_stopped_cell_shows_its_output_and_is_not_a_failure(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        'stops():\nimport marimo as mo\nmo.stop(True, mo.md("enough"))\nx = 1\nreturn (x,)',
        "after(x):\ny = x\nreturn (y,)",
    )
    executed = execute(file)
    assert executed.failure is None
    assert "y" not in executed.values
    assert "enough" in json.dumps(outputs(executed, 0))


def test_prints_are_kept_up_to_a_limit_with_beginning_and_end(tmp_path: Path) -> None:
    file = write(tmp_path, "prints():\nfor i in range(60_000):\n    print('line', i)")
    (stream,) = outputs(execute(file), 0)
    text = "".join(stream["text"])  # type: ignore[call-overload]
    assert text.startswith("line 0\n")
    assert text.endswith("line 59999\n")
    assert "characters left out" in text
    assert len(text) < CONSOLE_LIMIT + 100


def test_a_cell_that_prints_to_both_streams_in_turn_makes_no_endless_page(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "prints():\nimport sys\n\nfor i in range(9_000):\n"
        "    print('out', i)\n    print('err', i, file=sys.stderr)",
    )
    shown = outputs(execute(file), 0)
    assert len(shown) < 2 * CONSOLE_LIMIT // ENTRY_SIZE
    assert shown[0]["text"] == ["out 0\n"]
    assert shown[-1]["text"] == ["err 8999\n"]
    assert "characters left out" in json.dumps(shown, ensure_ascii=False)


def test_an_asynchronous_cell_is_awaited(tmp_path: Path) -> None:
    file = write(tmp_path, "x():\nimport asyncio").read_text("utf-8")
    file = file.replace("def x():", "async def x():") + (
        "    await asyncio.sleep(0)\n    done = 1\n    return (done,)\n"
    )
    (tmp_path / "notebook.py").write_text(file, "utf-8")
    # In another thread: browser tests keep an event loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        executed = thread.submit(execute, tmp_path / "notebook.py").result()
    assert executed.values["done"] == 1


INTERRUPTED = """\
import json, signal, sys
from pathlib import Path
from dagmar.notebook.execute import Interruption, execute
from dagmar.notebook.render import render

interruption = Interruption()
signal.signal(signal.SIGINT, interruption)
started = []
executed = execute(Path(sys.argv[1]), on_cell=started.append, interruption=interruption)
page = render(executed, "md", True)
print(json.dumps([started, executed.interrupted, executed.failure.as_document("cell"), page]))
"""
SIGNAL = "import os\nimport signal\n"


@pytest.mark.parametrize(
    ("cell", "trace"),
    [
        (
            "async hangs():\nimport asyncio\n" + SIGNAL + "import threading\n\nprint('started')\n"
            "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
            "await asyncio.sleep(600)",
            "await asyncio.sleep(600)",
        ),
        (
            "async hangs():\n" + SIGNAL + "print('started')\nos.kill(os.getpid(), signal.SIGINT)\n"
            "while True:\n    pass",
            "os.kill",
        ),
        (
            "hangs():\n" + SIGNAL + "import time\n\nprint('started')\n\nclass Slow:\n"
            "    def _repr_html_(self):\n        os.kill(os.getpid(), signal.SIGINT)\n"
            "        time.sleep(600)\n\nSlow()",
            "KeyboardInterrupt",
        ),
        (
            "hangs():\n" + SIGNAL + "print('started')\n\ntry:\n"
            "    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass",
            "KeyboardInterrupt",
        ),
        (
            "hangs():\n" + SIGNAL + "print('started')\n\ntry:\n"
            "    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    1 / 0",
            "ZeroDivisionError",
        ),
    ],
)
def test_an_interrupted_cell_is_the_last_even_if_it_catches_the_exception(
    tmp_path: Path, cell: str, trace: str
) -> None:
    early = "early():\nnothing = 1 / 0"
    later = "later():\nx = 1\nprint('this is late')"
    file = write(tmp_path, early, cell.removeprefix("async "), later)
    if cell.startswith("async "):
        file.write_text(file.read_text("utf-8").replace("def hangs", "async def hangs"), "utf-8")
    # In a separate process: signals are delivered to its main thread.
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    started, interrupted, failure, page = json.loads(done.stdout)
    assert started == ["early", "hangs"]
    assert interrupted
    assert (failure["cell"], failure["class"]) == ("hangs", "KeyboardInterrupt")
    assert trace in failure["traceback"]
    assert "started" in page
    assert "this is late\n`" not in page


def test_parameters_replace_inputs_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "inputs():\nregion = 'EU'\nlimit = 1\nreturn limit, region",
        "used(region, limit):\nresult = f'{region}{limit + 1}'\nreturn (result,)",
    )
    assert execute(file, {"limit": 9}).values["result"] == "EU10"
    with pytest.raises(Invalid, match="takes no parameter 'limt' — did you mean 'limit'"):
        check_parameters(file, read_notebook(file), {"limt": "9"})


def test_values_that_inputs_derive_from_a_parameter_fit_it(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """inputs():
# What a parameter replaces is not evaluated.
partition_key = 1 / 0
limit: int = 1
rows = f'rows of {partition_key}' * limit
bad = rows.nothing if limit == 3 else None
rows
return limit, partition_key, rows""",
    )
    executed = execute(file, {"partition_key": "a", "limit": 2})
    assert executed.values["rows"] == "rows of arows of a"
    assert "rows of arows of a" in json.dumps(outputs(executed, 0))
    failed = execute(file, {"partition_key": "a", "limit": 3}).failure
    assert failed is not None
    line = (
        file.read_text("utf-8").splitlines().index("    bad = rows.nothing if limit == 3 else None")
    )
    assert f"line {line + 1}, in <module>" in failed.traceback
    failed = execute(file).failure
    assert failed is not None
    assert failed.kind == "ZeroDivisionError"


def test_the_command_line_reaches_a_notebook_that_reads_it(tmp_path: Path) -> None:
    file = write(tmp_path, "x():\nimport marimo as mo\nn = mo.cli_args().get('n')\nreturn (n,)")
    check_parameters(file, read_notebook(file), {"n": "5"})
    assert execute(file, argv=["--n", "5"]).values["n"] == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("print(1)\n", "has no marimo.App"),
        ("", "has no marimo.App"),
        ("def (\n", "is not valid Python"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_a_notebook_is_refused_before_anything_runs(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "notebook.py"
    file.write_text(text, "utf-8")
    with pytest.raises(Invalid, match=message):
        load(file)


SECRETIVE = (
    "veiled_cell():\nveiled = 40 + 2\nprint('printed text')\nveiled\nreturn (veiled,)",
    "shown():\nimport marimo as mo\nmo.md('# The heading')\nreturn (mo,)",
    "fails(veiled):\nprint('printed before')\nlost = veiled / 0\nreturn (lost,)",
    "dependent(lost):\nlost",
    "says(veiled):\nif veiled:\n    raise ValueError(f'no rows for {veiled}\\nsee the log')",
    "misses():\nveiled_typo",
    "reads():\nquery = 'SELECT 1 FROM veiled'\nraise LookupError(f'{query} failed')",
    "draft(lost, mo):\n_ = lost\nmo.md('veiled draft')",
)
DISABLED = "\n@app.cell(disabled=True)\ndef off(mo):\n    mo.md('a veiled remark')\n    return\n"


def test_without_code_no_format_contains_code_prints_or_tracebacks(tmp_path: Path) -> None:
    file = write(tmp_path, *SECRETIVE)
    text = f'"""A veiled header."""\n\n{file.read_text("utf-8")}{DISABLED}'
    file.write_text(text, "utf-8")
    executed = execute(file)
    for format in ("html", "ipynb", "md"):
        text = render(executed, format, code=True)
        for part in ("veiled_cell", "printed text", "printed before", "raise ValueError"):
            assert part in text or (part, format) == ("veiled_cell", "md"), (format, part)
        text = render(executed, format, code=False)
        secret = ("veiled", "printed", "Traceback", "see the log")
        assert [part for part in secret if part in text] == [], format
        for kept in ("42", "The heading", "division by zero", "ZeroDivisionError", LEFT_OUT):
            assert kept in text, (format, kept)
        assert "no rows for 42" in text


@pytest.mark.parametrize(
    ("message", "quotes"),
    [
        ("division by zero", False),
        ("no rows for EU", False),
        ("name 'margin' is not defined", True),
        ("compute() takes 1 positional argument but 2 were given", True),
        ("'region'", True),
        ("'elsewhere'", False),
        ("Execution failed on sql 'SELECT price FROM t': no such table", True),
        ("Command '['psql', '-c', 'SELECT price FROM t']' failed", True),
        ("in: margin  =  compute(1)", True),
    ],
)
def test_a_message_stays_unless_it_quotes_a_line_a_text_or_a_name_of_the_code(
    message: str, quotes: bool
) -> None:
    code = Code(
        "def compute(price):\n    raise ValueError(f'no rows for {price}')\n\n"
        "margin = compute(1)\ncolumn = 'region'\nquery = 'SELECT price FROM t'\n"
    )
    concealed = code.conceal(Failure(f"{message}\nmore", "E", "the traceback", "cell 2"))
    assert concealed == Failure(LEFT_OUT if quotes else message, "E", None, "cell 2")


def test_a_page_of_marimos_own_command_is_concealed_and_stays_a_page(tmp_path: Path) -> None:
    file = write(tmp_path, "bad():\nhidden = 1\nraise ValueError('see </script> hidden = 1')")
    page = render(execute(file), "html")
    errors = re.findall(r'"evalue": "([^"]*)"', Code(file.read_text("utf-8")).conceal_page(page))
    assert errors == [LEFT_OUT]
    (kept,) = re.findall(r'"evalue": "([^"]*)"', Code("").conceal_page(page))
    assert kept == r"see \u003C/script\u003E hidden = 1"


RICH = (
    "table():\nimport marimo as mo\nmo.ui.table([{'name': 'a<b', 'n': 7}])\nreturn (mo,)",
    "chart():\nimport altair as alt\nalt.Chart(alt.Data(values=[{'x': 1}])).mark_point()",
    "stat(mo):\nmo.hstack([mo.stat(5, label='rows'), mo.callout('careful', kind='warn')])",
    "json():\n{'deep': [1, None]}",
    "mermaid(mo):\nmo.mermaid('graph LR; a-->b')",
    "slider(mo):\nmo.ui.slider(1, 9, value=4, label='size')",
)


def test_a_jupyter_notebook_has_static_forms_of_what_only_marimo_draws(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    executed = execute(write(tmp_path, *RICH))
    assert executed.failure is None
    notebook = as_notebook(executed)
    nbformat.validate(nbformat.from_dict(notebook))
    shown = [
        {kind: "".join(text) if isinstance(text, list) else text for kind, text in data.items()}
        for cell in notebook["cells"]
        for data in [cell["outputs"][0]["data"]]
    ]
    assert "<marimo-" not in json.dumps(notebook)
    table, chart, stat, tree, mermaid, slider = shown
    assert "a&lt;b</td>" in table["text/html"]
    assert ">7</td>" in table["text/html"]
    assert chart["image/svg+xml"].startswith("<svg")
    assert ">5</div>" in stat["text/html"]
    assert "careful" in stat["text/html"]
    assert "&quot;deep&quot;" in tree["text/html"]
    assert "graph LR; a--&gt;b" in mermaid["text/html"]
    assert "size" in slider["text/html"]
    assert "<code>4</code>" in slider["text/html"]


def test_a_plotly_figure_has_its_numbers_in_a_table(tmp_path: Path) -> None:
    parts = (
        "parts():\nimport marimo as mo\nimport plotly.graph_objects as go\n\n"
        "figure = go.Figure(go.Bar(x=['a<b', 'c'], y=[3, 4.5], name='sold'))\n"
        "figure.update_layout(title='Sales', xaxis_title='kind')\nreturn figure, mo"
    )
    file = write(tmp_path, parts, "plain(figure):\nfigure", "ui(figure, mo):\nmo.ui.plotly(figure)")
    executed = execute(file)
    assert executed.failure is None
    for cell in (1, 2):
        (output,) = outputs(executed, cell)
        shown = "".join(output["data"]["text/html"])  # type: ignore[index]
        for text in ("<b>Sales</b>", ">sold<", ">kind</th>", "a&lt;b</td>", ">4.5</td>"):
            assert text in shown
        assert "<script" not in shown
        assert "script&gt;" not in shown


def test_packed_numbers_of_a_figure_are_read_and_invalid_ones_are_left_out() -> None:
    packed = {"dtype": "f8", "bdata": "AAAAAAAA8D8AAAAAAAAEQA=="}
    trace = {"type": "scatter", "x": packed, "y": [1, 2], "z": {"dtype": "f8", "bdata": "AA"}}
    assert traces({"data": [trace]}) == [("scatter", [{"x": 1.0, "y": 1}, {"x": 2.5, "y": 2}])]
    assert find_figure('Plotly.newPlot("a", [') is None
    assert find_figure("<p>no chart</p>") is None


def test_markdown_contains_code_outputs_and_pictures(tmp_path: Path) -> None:
    text = render(execute(write(tmp_path, *RICH, "says():\nprint('``` text')")), "md")
    assert "```python\nimport marimo as mo" in text
    assert "<svg" in text
    assert "````\n``` text\n````" in text


def test_text_around_marimos_elements_is_unchanged() -> None:
    html = '<p class="a">1 &lt; 2 &#945;</p><marimo-lazy></marimo-lazy><br/>'
    assert as_static(html) == '<p class="a">1 &lt; 2 &#945;</p><br/>'
