"""IPython's syntax in a cell: what is one of its commands, and the Python that does the same.

Each rule is a function in one of two tables, and gets the rest of the line: `LINES` for `%name`,
`CELLS` for `%%name`. A rule that returns None leaves the command to a hand.
"""

from __future__ import annotations

import ast
import re
import shlex
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dagmar.migrate.draft import Draft, commented
from dagmar.migrate.helpers import helper_name
from dagmar.migrate.model import Level, SourceNotebook
from dagmar.migrate.scopes import read_scopes
from dagmar.notebook.cells import PREDEFINED
from dagmar.project.installing import add_command, installed_version

ASSIGNED = re.compile(
    r"(?P<left>\s*[\w\s,.*:()\[\]'\"]+?)\s*=\s*(?P<sign>!|%(?=[A-Za-z_]))(?P<rest>.*)"
)
ESCAPED = re.compile(r"(?P<left>\s*)(?P<sign>!!?|%|\?\??(?=[\w.%*]))(?P<rest>.*)")
HELP = re.compile(r"\s*%{0,2}(?!\d)[\w*][\w.*\[\]]*\s*\?{1,2}\s*")
CELL = re.compile(r"\s*%%(?P<name>[!\w.]+)(?P<rest>.*)")
STRING = re.compile(
    r"(?i:[rbuf]{0,2})(?P<quote>\"\"\"|''')(?:\\.|(?!(?P=quote)).)*(?:(?P=quote)|\Z)"
    r"|(?P<single>[\"'])(?:\\.|(?!(?P=single))[^\n])*(?:(?P=single)|(?=\n)|\Z)",
    re.DOTALL,
)
QUIET = frozenset((
    "alias", "autosave", "bookmark", "colors", "config", "debug", "dhist", "hist", "history",
    "load_ext", "logstart", "logstop", "matplotlib", "notebook", "pdb", "pdef", "pdoc",
    "pfile", "pinfo", "precision", "prun", "psource", "pylab", "reload_ext", "autoreload",
    "rerun", "tb", "timeit", "unload_ext", "who", "who_ls", "whos", "xmode", "lprun", "mprun",
    "memit", "snakeviz",
))  # fmt: skip
"""Magics that change how Jupyter shows something, or measure: nothing of a notebook's values."""
PROGRAMS = ("cat", "cp", "ls", "ll", "mkdir", "mv", "rm", "rmdir", "head", "tail", "man", "less")


@dataclass(frozen=True)
class About:
    """What a rule may have to know of the whole notebook.

    `known` are words that may be variables, `words` are all, `duckdb` is whether SQL is for a
    DuckDB in memory, `folder` is where relative paths start.
    """

    known: frozenset[str]
    words: frozenset[str]
    duckdb: bool
    folder: Path

    @classmethod
    def of(cls, source: SourceNotebook) -> About:
        """Return what is to know of a notebook."""
        text = "\n".join(cell.source for cell in source.cells if cell.kind == "code")
        words = frozenset(re.findall(r"[^\W\d]\w*", text))
        known = frozenset(BOUND.findall(text))
        return cls(known, words, bool(DUCKDB.search(text)), source.path.parent)


@dataclass
class Call:
    """One command of IPython; `left` is what its value is assigned to, `body` what is below."""

    rest: str
    about: About
    draft: Draft
    left: str = ""
    body: list[str] = field(default_factory=list)
    todo: str = ""

    def need(self, helper: str) -> str:
        """Return the name of a helper, which the notebook then has."""
        self.draft.needs.add(helper)
        return helper_name(helper, self.about.known)

    def text(self, rest: str | None = None) -> str:
        """Return the expression for a text in which IPython replaces `{expression}` and `$name`."""
        return _expanded(self.rest.strip() if rest is None else rest, self.about.known)


Rule = Callable[[Call], "list[str] | None"]
DUCKDB = re.compile(r"^\s*%sql\s+duckdb://(/:memory:)?\s*$", re.MULTILINE)
BOUND = re.compile(r"(?:\b(?:import|as|for|def|class)\s+|^\s*|,\s*)([^\W\d]\w*)", re.MULTILINE)


def convert_magics(draft: Draft, about: About) -> None:
    """Replace what is IPython's in a cell; that includes lines that are all indented."""
    start = next((number for number, line in enumerate(draft.lines) if line.strip()), 0)
    if indent := re.match(r"[ \t]*", "".join(draft.lines[start : start + 1]))[0]:  # type: ignore[index]
        draft.lines[:] = [line.removeprefix(indent) for line in draft.lines]
    match = CELL.fullmatch(draft.lines[start])
    if not match or _convert_cell(draft, start, match["name"], match["rest"], about):
        _convert_lines(draft, about)


def _convert_cell(draft: Draft, start: int, name: str, rest: str, about: About) -> bool:
    """Convert a cell magic; return whether what is below it is Python."""
    body = draft.lines[start + 1 :]
    if name in ("time", "prun") or (name == "capture" and not rest.strip()):
        draft.remark(start, "dropped", f"%%{name}", "is left out: marimo shows times and output")
        draft.lines[start] = commented(draft.lines[start])
        return True
    call = Call(rest.strip(), about, draft, body=body)
    rule = CELLS.get(name)
    code = rule(call) if rule else None
    if code is None:
        reason = f"%%{name} has no equal in marimo"
        todo = call.todo or "Write what it did in Python, and remove the comment."
        draft.comment_out(reason, f"%%{name}", todo)
        return False
    last = len(draft.lines) - 1
    draft.remark(0, "converted", f"%%{name}", f"is Python now: {name}", last=last)
    draft.lines[:] = code
    draft.origins[:] = [draft.origins[start]] * len(code)
    return False


def _convert_lines(draft: Draft, about: About) -> None:
    for first, last, sign, left, rest in reversed([*_commands(draft.lines)]):
        indent = re.match(r"\s*", draft.lines[first])[0]  # type: ignore[index]
        original = [line.strip() for line in draft.lines[first : last + 1]]
        target = left.strip()
        name, rest = _named(sign, rest)
        command = sign + (name if sign == "%" else "")
        call = Call(rest.strip(), about, draft, target)
        if sign.startswith("?"):
            message = "asks for documentation, which marimo shows while you type"
            new: list[str] = []
            level: Level = "dropped"
        elif name in QUIET and not target:
            message = "is left out: it does not change a value"
            new, level = [], "dropped"
        else:
            rule = LINES.get(name)
            made = rule(call) if rule else None
            new, level = made or [], "converted"
            message = f"is Python now: {command}"
            if made is None:
                level = "by hand"
                message = f"{command} is left to you" if call.todo else f"{command} has no equal"
                new = [f"{target} = None"] if target else []
        todo = call.todo or "Write what it did in Python." if level == "by hand" else ""
        draft.remark(first, level, command, message, todo, last)
        kept = [] if level == "converted" else [commented(line) for line in original]
        if indent and not new:
            new = ["pass"]
        draft.replace(first, last, [f"{indent}{line}" for line in (*kept, *new)])


def _named(sign: str, rest: str) -> tuple[str, str]:
    if sign != "%":
        return sign, rest
    name, _, rest = rest.strip().partition(" ")
    return name, rest


def _commands(lines: list[str]) -> Iterator[tuple[int, int, str, str, str]]:
    """Yield the first and last line of each command, its sign, what is left of it, and the rest.

    As in IPython, one is at the start of a logical line: not in a text, in brackets, or after a
    backslash.
    """
    number = 0
    while number < len(lines):
        line = lines[number]
        if HELP.fullmatch(line):
            yield number, number, "?", "", line.strip()
            number += 1
            continue
        match = ESCAPED.fullmatch(line) or ASSIGNED.fullmatch(line)
        if match:
            first, rest = number, match["rest"]
            while rest.endswith("\\") and number + 1 < len(lines):
                number += 1
                rest = f"{rest[:-1]} {lines[number].strip()}"
            yield first, number, match["sign"], match["left"], rest
            number += 1
            continue
        number = _after(lines, number)


def _after(lines: list[str], number: int) -> int:
    """Return the number of the line after a logical line of Python."""
    text = "\n".join(lines[number:])
    place = depth = 0
    while place < len(text):
        if match := STRING.match(text, place):
            place = max(match.end(), place + 1)
            continue
        letter = text[place]
        if letter == "#":
            end = text.find("\n", place)
            place = len(text) if end < 0 else end
            continue
        if letter == "\\":
            place += 2
            continue
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "\n" and depth <= 0:
            break
        place += 1
    return number + text[:place].count("\n") + 1


def _expanded(text: str, known: frozenset[str]) -> str:
    """Return an expression for a text as IPython expands it; all of it is kept if a part fails."""
    try:
        parts = [*string.Formatter().parse(text)]
        pieces = [piece for part in parts for piece in _pieces(*part, known)]
        values = [piece for piece in pieces if isinstance(piece, ast.FormattedValue)]
        if not values:
            return _quoted("".join(str(p.value) for p in pieces if isinstance(p, ast.Constant)))
        return ast.unparse(ast.fix_missing_locations(ast.JoinedStr(pieces)))
    except (ValueError, SyntaxError):
        return _quoted(text)


def _pieces(
    literal: str, expression: str | None, spec: str | None, conversion: str | None,
    known: frozenset[str],
) -> Iterator[ast.expr]:  # fmt: skip
    place = 0
    for match in re.finditer(r"\$(\$?[\w.]+)(?=(?:[^']*'[^']*')*[^']*$)", literal):
        top = match[1].partition(".")[0]
        yield ast.Constant(literal[place : match.start()])
        if match[1].startswith("$"):
            yield ast.Constant(match[1])
        elif top in known:
            yield _value(match[1])
        else:
            yield ast.Constant(match[0])
        place = match.end()
    yield ast.Constant(literal[place:])
    if expression is not None:
        value = _value(expression)
        names = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
        if not names <= known | PREDEFINED:
            raise ValueError(expression)
        value.conversion = ord(conversion) if conversion else -1
        if spec:
            value.format_spec = ast.JoinedStr([ast.Constant(spec)])
        yield value


def _value(expression: str) -> ast.FormattedValue:
    return ast.FormattedValue(ast.parse(expression.strip(), mode="eval").body, -1, None)


def _quoted(text: str) -> str:
    """Return a text as Python writes it, in double quotes if it has none."""
    if '"' not in text and "\\" not in text and text.isprintable():
        return f'"{text}"'
    return repr(text)


def _block(lines: list[str]) -> list[str]:
    """Return the lines of an expression for a text of several lines, each as it is if possible."""
    text = "\n".join(lines)
    if '"""' not in text and not text.endswith(('"', "\\")):
        return ['r"""' + lines[0], *lines[1:], '"""'] if lines else ['""']
    return [repr(f"{text}\n")]


def _assigned(call: Call, expression: str) -> list[str]:
    return [f"{call.left} = {expression}" if call.left else expression]


def _shell(call: Call) -> list[str] | None:
    words = call.rest.replace("python -m pip", "pip").replace("uv pip", "pip").split()
    if words[:2] in (["pip", "install"], ["pip3", "install"]) and not call.left:
        return _pip(Call(" ".join(words[1:]), call.about, call.draft), call)
    helper = "captured" if call.left else "shell"
    return _assigned(call, f"{call.need(helper)}({call.text()})")


def _captured(call: Call) -> list[str]:
    return _assigned(call, f"{call.need('captured')}({call.text()})")


def _pip(call: Call, outer: Call | None = None) -> list[str] | None:
    words = [word for word in call.rest.split() if not word.startswith("-")]
    packages = [re.split(r"[<>=!~\[;@]", word.strip("'\""))[0] for word in words[1:]]
    if words[:1] == ["install"] and packages:
        missing = [name for name in packages if not _is_installed(name)]
        if not missing:
            names = ", ".join(packages)
            return [f"# {names}: installed in the project's environment"]
        (outer or call).todo = f"Add it to the project: `{add_command(*missing)}`"
    return None


def _is_installed(name: str) -> bool:
    try:
        return bool(installed_version(name))
    except ValueError:
        return False


def _env(call: Call) -> list[str] | None:
    name, sign, value = call.rest.partition("=")
    if not sign:
        name, sign, value = call.rest.partition(" ")
    if not sign:
        return _assigned(call, f"{call.need('variables')}({_quoted(name) if name else ''})")
    if not name.strip() or " " in name.strip():
        return None
    return [f"{call.need('set_variable')}({_quoted(name.strip())}, {call.text(value.strip())})"]


def _cd(call: Call) -> list[str] | None:
    words = call.rest.split()
    quiet = ", quiet=True" if "-q" in words else ""
    path = " ".join(word for word in words if word != "-q").strip("'\"")
    if path.startswith("-"):
        return None
    given = call.text(path) if path else '"~"'
    return [f"{call.need('change_folder')}({given}{quiet})"]


def _pwd(call: Call) -> list[str]:
    return _assigned(call, f"{call.need('current_folder')}()")


def _time(call: Call) -> list[str] | None:
    try:
        ast.parse(call.rest, mode="eval" if call.left else "exec")
    except SyntaxError:
        return None
    return _assigned(call, call.rest)


def _run(call: Call) -> list[str] | None:
    try:
        words = shlex.split(call.rest)
    except ValueError:
        return None
    if not words or words[0].startswith("-") or not words[0].endswith(".py"):
        return None
    file = call.about.folder / words[0]
    try:
        bound = read_scopes(file.read_text("utf-8")).bound() & call.about.words
    except (OSError, ValueError, SyntaxError):
        call.todo = f"{words[0]} cannot be read: import from it what later cells use."
        return None
    made = f"{call.need('run_file')}({', '.join(call.text(word) for word in words)})"
    if not bound:
        return [made]
    return [f"_ran = {made}", *(f'{name} = _ran["{name}"]' for name in sorted(bound))]


def _program(name: str) -> Rule:
    return lambda call: _shell(
        Call(f"{name} {call.rest}".strip(), call.about, call.draft, call.left)
    )


def _script(program: str) -> Rule:
    """Return the rule for a cell that another program runs."""

    def rule(call: Call) -> list[str] | None:
        words = [*program.split(), *call.rest.split()]
        check = ""
        if "--no-raise-error" in words:
            words.remove("--no-raise-error")
            check = "check=False"
        if not words or any(word.startswith("--") for word in words):
            return None
        text = _block(call.body or [""])
        command = ", ".join(map(_quoted, words))
        start = f"{call.need('script')}([{command}], {text[0]}"
        end = f", {check})" if check else ")"
        return [start, *text[1:-1], text[-1] + end] if len(text) > 1 else [start + end]

    return rule


def _writefile(call: Call) -> list[str] | None:
    words = call.rest.split()
    mode = ', mode="a"' if "-a" in words else ""
    paths = [word for word in words if word not in ("-a", "--append")]
    if len(paths) != 1:
        return None
    body = call.body or [""]
    # The file ends with one newline, also if the cell does.
    text = _block(body[:-1] if len(body) > 1 and not body[-1] else body)
    start = f"{call.need('write_file')}({call.text(paths[0])}, {text[0]}"
    end = f"{mode})"
    return [start, *text[1:-1], text[-1] + end] if len(text) > 1 else [start + end]


def _shown(function: str) -> Rule:
    """Return the rule for a cell of text that marimo shows with this function."""

    def rule(call: Call) -> list[str] | None:
        text = _block(call.body)
        if call.rest or not call.body or len(text) == 1:
            return None
        return [f"{function}({text[0]}", *text[1:-1], f"{text[-1]})"]

    return rule


def _html(call: Call) -> list[str] | None:
    if re.search(r"<script\b", "\n".join(call.body), re.IGNORECASE):
        call.todo = "Scripts in mo.Html are not run; use mo.iframe."
        return None
    return _shown("mo.Html")(call)


def _sql(call: Call) -> list[str] | None:
    """Convert SQL for DuckDB's own connection; any other is a connection of the user's."""
    call.todo = 'Run it with mo.sql("…", engine=…), with the engine of its connection.'
    target, arrow, rest = call.rest.partition("<<")
    body = [*([rest] if rest.strip() else []), *call.body] if arrow else call.body
    if (call.rest and not arrow) or not call.about.duckdb or not installed_version("duckdb"):
        return None
    if re.search(r"\{\{|(?<!:):[A-Za-z]|\{", "\n".join(body)):
        return None
    name = target.strip() if arrow else "_rows"
    text = _block(body)
    return [f"{name} = mo.sql({text[0]}", *text[1:-1], f"{text[-1]})"]


def _sql_line(call: Call) -> list[str] | None:
    if call.about.duckdb and DUCKDB.fullmatch(f"%sql {call.rest}"):
        return ["# DuckDB needs no connection in marimo."]
    target, _, query = call.rest.rpartition("<<")
    name = call.left or target.strip()
    inner = Call(f"{name} <<" if name else "", call.about, call.draft, body=[query.strip()])
    code, call.todo = _sql(inner), inner.todo
    return code


def _timeit(call: Call) -> list[str]:
    lines = ["# Only measured, and left out:", commented(f"%%timeit {call.rest}")]
    return [*lines, *map(commented, call.body)]


LINES: dict[str, Rule] = {
    "!": _shell,
    "!!": _captured,
    "sx": _captured,
    "system": _captured,
    "pip": _pip,
    "conda": _pip,
    "env": _env,
    "set_env": _env,
    "cd": _cd,
    "pwd": _pwd,
    "time": _time,
    "run": _run,
    "sql": _sql_line,
    **{name: _program(name) for name in PROGRAMS},
}
CELLS: dict[str, Rule] = {
    "bash": _script("bash"),
    "sh": _script("sh"),
    "script": _script(""),
    "perl": _script("perl"),
    "ruby": _script("ruby"),
    "writefile": _writefile,
    "file": _writefile,
    "html": _html,
    "HTML": _html,
    "markdown": _shown("mo.md"),
    "latex": _shown("mo.md"),
    "sql": _sql,
    "timeit": _timeit,
}
