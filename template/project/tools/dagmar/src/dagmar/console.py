"""What tasks print: data on stdout, talk on stderr.

Text from a server is data too: control characters in it must not reach a terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from dagmar.errors import DagmarError, UsageError, typed

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
GAP = 3  # between two columns of a table
_documents = 0


def tame(text: str) -> str:
    """Return `text` without the control characters that could steer a terminal.

    Half of a surrogate pair, which no stream can encode, goes too.
    """
    return _CONTROL.sub("�", text.replace("\r\n", "\n"))


def say(text: str = "") -> None:
    """Print talk: progress, hints, warnings."""
    _write(tame(text), sys.stderr)


def out(text: str) -> None:
    """Print data."""
    _write(tame(text), sys.stdout)


def mark(label: str, color: int, text: str, width: int = 0) -> None:
    """Print a line of data behind a label, which has a colour on a terminal."""
    shown = f"{label:{width}}"
    if sys.stdout.isatty():
        shown = f"\x1b[{color}m{shown}\x1b[0m"
    _write(f"{shown}  {tame(text)}", sys.stdout)


def complain(error: DagmarError) -> None:
    """Print an error and what to type next."""
    _labelled("error:", 31, error.message)
    if error.hint:
        say(typed(f"  {error.hint}"))


def warn(text: str) -> None:
    """Print a warning."""
    _labelled("warning:", 33, text)


def _labelled(label: str, color: int, text: str) -> None:
    if sys.stderr.isatty():
        label = f"\x1b[{color}m{label}\x1b[0m"
    _write(f"{label} {tame(text)}", sys.stderr)


def _write(text: str, stream: TextIO) -> None:
    """Print a line, also where the stream cannot encode it or nobody reads on."""
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:
        # `invoke … | head`: what is being done goes on, and its exit status still counts.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def document(value: Any) -> None:
    """Print the one JSON document of this invocation.

    Raises UsageError for a second one: two documents on stdout are none.
    """
    global _documents
    if _documents:
        raise UsageError("--json prints one document", "Give --json to one task only.")
    _documents += 1
    indent = 2 if sys.stdout.isatty() else None
    _write(json.dumps(value, indent=indent), sys.stdout)


def event(value: Any) -> None:
    """Print one line of JSON, of a task that tells what happens while it happens."""
    _write(json.dumps(value), sys.stdout)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], spare: Sequence[str] = ()
) -> None:
    """Print a table; columns that are empty in every row are left out.

    Where a terminal is too narrow, columns in `spare` are left out too, first the first.
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
    for row in rows:
        grid.add_row(*(Text(row[i]) for i in shown))
    with console.capture() as capture:
        console.print(grid)
    _write("\n".join(line.rstrip() for line in capture.get().splitlines()), sys.stdout)
