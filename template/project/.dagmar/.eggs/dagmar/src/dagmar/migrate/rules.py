"""Rules for cells that are not code: Markdown, raw and empty ones, and those with a tag."""

from __future__ import annotations

import ast
import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote

from dagmar.console import tame
from dagmar.migrate.draft import ADDED, Draft, commented
from dagmar.migrate.model import Remark, SourceCell
from dagmar.notebook.cells import INPUTS

PARAMETERS = "parameters"
ATTACHED = re.compile(r"attachment:([^\s)\"'>]+)")
SPACES = re.compile("[\x0b\x0c\x1c-\x1e\x85\xa0\u2028\u2029]")
"""What marimo saves as other spaces: those that do not break, and what ends a line for some."""
LOCAL = re.compile(r"!\[[^\]]*\]\((?![a-z]+:|/|#|public/)([^)\s]+)")
SHOWN_LINES = 20
"""How many lines of an output become comments."""


def markdown(cell: SourceCell, folder: Path, files: dict[Path, bytes]) -> Draft:
    """Return a cell that shows Markdown, its attachments as files in `public/` of the folder."""
    remarks: list[Remark] = []
    names: dict[str, str] = {}
    for name, bundle in cell.attachments.items():
        safe = re.sub(r"[^\w.-]", "_", Path(name).name).lstrip(".") or "attachment"
        try:
            data = base64.b64decode("".join(next(iter(bundle.values()))), validate=False)
        except (StopIteration, binascii.Error, ValueError, TypeError):
            message = f"the attachment {name} cannot be decoded"
            todo = "Put the picture into public/ by hand."
            remarks.append(Remark(cell.number, None, "by hand", "attachment", message, todo))
            continue
        file = folder / "public" / safe
        if files.get(file, data) != data:
            safe = f"{cell.number}_{safe}"
            file = folder / "public" / safe
        files[file] = data
        names[name] = safe
        message = f"the attachment {name} is the file public/{safe}"
        remarks.append(Remark(cell.number, None, "converted", "attachment", message))

    def refer(match: re.Match[str]) -> str:
        name = match[1] if match[1] in names else unquote(match[1])
        return f"public/{quote(names[name])}" if name in names else match[0]

    for path in LOCAL.findall(cell.source):
        message = f"marimo only shows pictures of public/, and {path} is not in it"
        todo = f"Copy it to public/, and write ![…](public/{Path(path).name})."
        remarks.append(Remark(cell.number, None, "by hand", "picture", message, todo))
    draft = Draft.text_of(cell, _shown(ATTACHED.sub(refer, cell.source)))
    draft.remarks = [*remarks, *_rewritten(cell, draft)]
    return draft


def raw(cell: SourceCell) -> Draft:
    """Return a cell that shows the text of a raw cell as it is."""
    ticks = max((len(run) for run in re.findall("`+", cell.source)), default=0)
    fence = "`" * max(3, ticks + 1)
    draft = Draft.text_of(cell, _shown(f"{fence}text\n{cell.source}\n{fence}"))
    message = "a raw cell is shown as text"
    about = Remark(cell.number, None, "converted", "raw", message)
    draft.remarks = [about, *_rewritten(cell, draft)]
    return draft


def _rewritten(cell: SourceCell, draft: Draft) -> Iterator[Remark]:
    """Yield a remark for each line that is written in another way."""
    kept = {line.strip() for line in draft.lines}
    for number, line in enumerate(cell.lines, 1):
        if line.strip() not in kept:
            message = "is written with escapes, or refers to public/"
            yield Remark(cell.number, number, "converted", cell.kind, message)


def _shown(text: str) -> str:
    """Return the call that shows Markdown, as marimo writes it where the text allows that.

    Unusual spaces become plain ones: marimo would change them whenever it saves.
    """
    text = tame(SPACES.sub(" ", text))
    start, end = 'r"""', '"""'
    if '"""' in text:
        start = '"""'
        if "\\" in text:  # which marimo would not escape, if it took this for its own Markdown
            start, end = 'str("""', '""")'
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    if all(line[:1] in " \t" for line in text.split("\n") if line.strip()):
        text = f"<!-- -->\n\n{text}"  # marimo removes what all lines are indented by
    return f"mo.md({start}\n{text}\n{end})"


def spaces(cell: SourceCell) -> tuple[SourceCell, list[Remark]]:
    """Return a cell of code without unusual spaces, and a remark for each line that had some.

    They are escaped in strings, so that values stay; elsewhere they are plain spaces.
    """
    source, meant = cell.source, _meaning(cell.source)
    for found in reversed([*SPACES.finditer(source)]):
        before, after = source[: found.start()], source[found.end() :]
        plain, escaped = f"{before} {after}", f"{before}\\u{ord(found[0]):04x}{after}"
        in_a_value = meant and _meaning(plain) != meant and _meaning(escaped) == meant
        source = escaped if in_a_value else plain
    message = "has spaces that marimo would change: they are plain ones, in a string escaped"
    remarks = [
        Remark(cell.number, number, "converted", "spaces", message)
        for number, line in enumerate(cell.lines, 1)
        if SPACES.search(line)
    ]
    return replace(cell, source=source), remarks


def _meaning(code: str) -> str:
    """Return what code means, whatever its layout; empty if it is not Python."""
    try:
        return ast.dump(ast.parse(code))
    except (SyntaxError, ValueError):
        return ""


def parameters(draft: Draft) -> None:
    """Make it the cell whose variables can be set from outside."""
    draft.name = INPUTS
    message = f"the parameters are in the cell `{INPUTS}`"
    draft.remark(None, "converted", PARAMETERS, message)


def outputs(cell: SourceCell) -> Iterator[str]:
    """Yield what a cell had shown, as comments: of each output the first lines of its text."""
    for output in cell.outputs:
        data = output.get("data")
        shown = data.get("text/plain") if isinstance(data, dict) else output.get("text")
        if output.get("output_type") == "error":
            shown = f"{output.get('ename')}: {output.get('evalue')}"
        text = "".join(map(str, shown)) if isinstance(shown, Sequence) else ""
        lines = tame(text).splitlines()
        yield from (commented(line[:200]) for line in lines[:SHOWN_LINES])
        if len(lines) > SHOWN_LINES:
            yield commented(f"… {len(lines) - SHOWN_LINES} more lines")


def add_outputs(draft: Draft, cell: SourceCell) -> None:
    """Add what a cell had shown in Jupyter as comments at its end."""
    if lines := [*outputs(cell)]:
        draft.lines += ["# It showed:", *lines]
        draft.origins += [ADDED] * (len(lines) + 1)
