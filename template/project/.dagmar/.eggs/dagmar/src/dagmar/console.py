"""What tasks print: data on stdout, talk on stderr.

Text from a server is data too: control characters in it must not reach a terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO

from dagmar.errors import DagmarError, suggestion

if TYPE_CHECKING:
    from rich.progress import Progress
    from typing_extensions import Self

COLOR = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_PROGRAMS = "(?=(?:invoke|dg|marimo|dagster|dagster-daemon) )"
_OURS = re.compile(rf"(?:^|(?<=&& )){_PROGRAMS}", re.MULTILINE)
_OURS_IN_BACKTICKS = re.compile(rf"(?<=`){_PROGRAMS}")
_PACKAGE = re.compile("^(?=dagmar )")
# A variable that a package manager sets for what it starts, and what is typed for that. uv comes
# last: the others may have been started by `uvx`.
_STARTERS = {
    "PDM_RUN_CWD": "pdm run",
    "PIPENV_ACTIVE": "pipenv run",
    "PIXI_PROJECT_ROOT": "pixi run",
    "UV": "uv run",
}
_TASK = re.compile(r"(?<![^`\n])invoke (?=[a-z]+\b(?!\.))")
_TO_SERVER = re.compile(r"(?<![^`\n])invoke (?:run|discover|stats)\b[^`\n]*")
_collection = ""
_server_flags = ""
GAP = 3  # between two columns of a table


def tame(text: str) -> str:
    """Return `text` without colours and the control characters that could steer a terminal.

    What changes the direction of the text around it, and half of a surrogate pair, which no stream
    can encode, go too.
    """
    return _CONTROL.sub("�", COLOR.sub("", text.replace("\r\n", "\n")))


def format_duration(seconds: float | None) -> str:
    """Return a duration in one or two units, such as `1.5 s` or `2 min 3 s`; empty if unknown."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{seconds / 86400:.1f} days"


def format_moment(seconds: float) -> str:
    """Return a time, in seconds since 1970, in this machine's zone: `2026-03-01 06:00`."""
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"


def say(text: str = "") -> None:
    """Print talk: progress, hints, warnings."""
    write(tame(text), sys.stderr)


def out(text: str) -> None:
    """Print data."""
    write(tame(text), sys.stdout)


def mark(label: str, color: int, text: str, width: int = 0) -> None:
    """Print a line of data behind a label, which has a colour on a terminal."""
    _labelled(f"{label:{width}}", color, f" {text}", sys.stdout)


def complain(error: DagmarError) -> None:
    """Print an error and what to type next."""
    _labelled("error:", 31, error.message, sys.stderr)
    if text := pasteable(error.hint, error.command):
        say(f"  {text}")


def tasks_below(collection: str) -> None:
    """Print tasks from now on as those of an Invoke collection: `invoke dagmar.run`."""
    global _collection
    _collection = f"{collection}."


def server_is(flags: str) -> None:
    """Print tasks from now on with the flags that say which server this call talks to."""
    global _server_flags
    _server_flags = f" {flags}" if flags else ""


def _to_server(task: re.Match[str]) -> str:
    named = re.search(r" --(target|url)\b", task[0])
    return task[0] if named else task[0] + _server_flags


def pasteable(hint: str, command: str = "") -> str:
    """Join a hint and a command, with `uv run` or its like before our programs.

    That is what started this one: its programs may not be on the PATH of the terminal.
    """
    if _server_flags:
        hint, command = (_TO_SERVER.sub(_to_server, text) for text in (hint, command))
    if _collection:
        hint, command = (_TASK.sub(f"invoke {_collection}", text) for text in (hint, command))
    if os.environ.get("UV"):
        command = _PACKAGE.sub("uvx ", command)
    if starter := _starter():
        hint = _OURS_IN_BACKTICKS.sub(f"{starter} ", hint)
        command = _OURS.sub(f"{starter} ", command)
    return suggestion(hint, command)


def _starter() -> str:
    project = Path(sys.prefix).parent  # if its environment is in it
    with_poetry = (project / "poetry.lock").is_file() and not (project / "uv.lock").is_file()
    if "pypoetry" in project.parts or with_poetry:
        return "poetry run"  # which sets no variable
    starter = next((words for name, words in _STARTERS.items() if os.environ.get(name)), "")
    with contextlib.suppress(OSError):  # the working directory is gone
        here = Path.cwd()
        if (
            starter == "uv run"
            and here in project.parents
            and (project / "pyproject.toml").is_file()
        ):
            starter += f" --project {shlex.quote(project.relative_to(here).as_posix())}"
    return starter


def warn(text: str) -> None:
    """Print a warning."""
    _labelled("warning:", 33, text, sys.stderr)


def asks() -> bool:
    """Whether there is a terminal to ask a question at."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> bool:
    """Ask a question that is answered with yes or no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _labelled(label: str, color: int, text: str, stream: TextIO) -> None:
    if stream.isatty():
        label = f"\x1b[{color}m{label}\x1b[0m"
    write(f"{label} {tame(text)}", stream)


def write(text: str, stream: TextIO) -> None:
    """Print a line as it is, also where the stream cannot encode it or nobody reads on."""
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:
        # `invoke … | head`: what is being done goes on, and its exit status still counts.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def document(value: Any) -> None:
    """Print a JSON document."""
    indent = 2 if sys.stdout.isatty() else None
    write(json.dumps(value, indent=indent), sys.stdout)


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    spare: Sequence[str] = (),
    styles: Mapping[tuple[int, int], str] = MappingProxyType({}),
) -> None:
    """Print a table; columns that are empty in every row are left out.

    Where a terminal is too narrow, columns in `spare` are left out too, first the first. `styles`
    are colors of single cells, by row and column.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [[" ".join(tame(cell).splitlines()) for cell in row] for row in rows]
    shown = [i for i, _ in enumerate(columns) if i == 0 or any(row[i] for row in rows)]
    # A pipe has no width: rows stay on one line each, for grep.
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    lengths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    for name in spare:
        if sum(lengths[i] + GAP for i in shown) <= console.width + 1:
            break
        shown = [i for i in shown if columns[i] != name]
    grid = Table(
        title=f"{title} ({len(rows)})", title_justify="left", title_style="bold",
        box=box.SIMPLE_HEAD, pad_edge=False,
    )  # fmt: skip
    for i in shown:
        # Names stay whole, so that they can be copied.
        grid.add_column(columns[i], overflow="fold", no_wrap=i == 0)
    for number, row in enumerate(rows):
        grid.add_row(*(Text(row[i], styles.get((number, i), "")) for i in shown))
    with console.capture() as capture:
        console.print(grid)
    write("\n".join(line.rstrip() for line in capture.get().splitlines()), sys.stdout)


class LiveLine:
    """A context with a spinner, a text, a bar and the time; `counted` adds how many of how many.

    With `after` the line appears only when it takes longer than that many seconds.
    """

    def __init__(
        self, text: str, total: int | None = None, counted: bool = False, after: float = 0
    ) -> None:
        self._text, self._total, self._counted = text, total, counted
        self._bars: Progress | None = None
        self._later = threading.Timer(after, self._start) if after else None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            if self._later:
                self._later.daemon = True
                self._later.start()
            else:
                self._start()
        return self

    def _start(self) -> None:
        from rich import progress
        from rich.console import Console

        self._bars = progress.Progress(
            progress.SpinnerColumn(),
            *([progress.MofNCompleteColumn()] if self._counted else []),
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bars.add_task(self._text, total=self._total)
        self._bars.start()

    def __exit__(self, *exception: object) -> None:
        if self._later and self._later.ident:
            self._later.cancel()
            self._later.join()  # it may just be starting
        if self._bars:
            self._bars.stop()
            self._bars = None

    def put(self, text: str, done: int, total: int | None) -> None:
        """Change the line."""
        if self._bars and (lines := self._bars.task_ids):
            self._bars.update(lines[0], description=tame(text), completed=done, total=total)
