"""Writes the parts of the documentation that are taken from the code.

A page marks such a part with `<!-- generated: NAME -->` and `<!-- end -->`; the rest of the page
is written by hand. What stands between the marks is replaced by what the function called NAME in
`PARTS` returns.

    uv run python docs/generate.py               write
    uv run python docs/generate.py --check       compare; status 1 and the names if they differ
    uv run python docs/generate.py --site site   add to a site that was built: the pages' Markdown,
                                                 and llms-full.txt, all of them in one file

`docs/llms.txt` is written too: the navigation of zensical.toml, with the headings of each page.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import dagmar
from dagmar import errors
from dagmar.diff.model import Difference
from dagmar.files import read_toml
from dagmar.pair.buttons import Attempt
from dagmar.pair.previewing import Previewed
from dagmar.pair.statistics import Statistics
from dagmar.project import settings as settings_module
from dagmar.project.schema import schema
from dagmar.tasks import namespace
from invoke import Argument, Collection, Task

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
ACTION = re.compile(r"(?<=uses: )([\w./-]+)@.+")
PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """Return README, CONTRIBUTING, CHANGELOG and every page below docs/."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def render(page: Path) -> str:
    """Return the text of a page with its generated parts, and actions, as they should be."""
    text = PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}{found[3]}", page.read_text())
    return ACTION.sub(lambda found: actions().get(found[1], found[0]), text)


@functools.cache
def actions() -> dict[str, str]:
    """Return how our workflows use each action: pinned by its hash, with its version."""
    files = sorted((ROOT / ".github/workflows").glob("*.yml"))
    return {found[1]: found[0] for file in files for found in ACTION.finditer(file.read_text())}


def main(arguments: list[str]) -> int:
    """Write the pages, or say which of them differ."""
    if arguments[:1] == ["--site"]:
        return complete_site(Path(arguments[1]))
    files = {page: render(page) for page in pages()}
    files[ROOT / "docs/llms.txt"] = llms()
    stale = {file: text for file, text in files.items() if not _reads(file, text)}
    for file, text in stale.items():
        if "--check" in arguments:
            print(f"{file.relative_to(ROOT)} is out of date", file=sys.stderr)
        else:
            file.write_text(text)
            print(file.relative_to(ROOT))
    return int("--check" in arguments and bool(stale))


def _reads(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text("utf-8") == text


def navigation() -> dict[str, list[str]]:
    """Return the pages of the site, relative to docs/, by the path of their section."""
    found: dict[str, list[str]] = {}

    def walk(entries: Any, section: str) -> None:
        for entry in entries:
            titled = entry if isinstance(entry, dict) else {"": entry}
            for title, below in titled.items():
                if isinstance(below, str):
                    found.setdefault(section, []).append(below)
                else:
                    walk(below, ": ".join(filter(None, [section, title])))

    walk(read_toml(ROOT / "zensical.toml")["project"]["nav"], "")
    return found


def headings(page: Path) -> list[tuple[int, str]]:
    """Return the level and the text of each heading of a page."""
    text = FENCE.sub("", page.read_text("utf-8"))
    return [(len(marks), title) for marks, title in HEADING.findall(text)]


def llms() -> str:
    """Return the list of pages in the format of llms.txt: sections, links, what a page has."""
    project = read_toml(ROOT / "zensical.toml")["project"]
    lines = [f"# {project['site_name']}", "", f"> {project['site_description']}"]
    for section, names in navigation().items():
        lines += ["", *([f"## {section}", ""] if section else [])]
        for name in names:
            (_, title), *rest = headings(ROOT / "docs" / name)
            parts = "; ".join(text for level, text in rest if level == 2)
            lines.append(f"- [{title}]({name})" + f": {parts}" * bool(parts))
    return "\n".join(lines) + "\n"


def complete_site(site: Path) -> int:
    """Put the Markdown of each page into a built site, and all of it into llms-full.txt."""
    texts = []
    for name in (name for names in navigation().values() for name in names):
        text = (ROOT / "docs" / name).read_text("utf-8")
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
        texts.append(f"<!-- {name} -->\n\n{text}")
    (site / "llms-full.txt").write_text("\n".join(texts))
    return 0


def _pages() -> str:
    """Return the list of pages that the home page of the site has."""
    rows = []
    for section, names in navigation().items():
        links = (f"[{headings(ROOT / 'docs' / name)[0][1]}]({name})" for name in names)
        rows.append((section, " · ".join(links)))
    return "\n" + table(("", ""), [row for row in rows if row[0]]) + "\n"


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *rows]
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


@functools.cache  # Invoke takes the help texts out of a task when it is asked for the flags
def project_tasks() -> dict[str, tuple[Task[Any], dict[str, Argument]]]:
    """Return the tasks that every project has, each with its flags as a user types them."""
    return _with_flags(namespace(str(ROOT / "tasks.py")))


@functools.cache
def own_tasks() -> dict[str, tuple[Task[Any], dict[str, Argument]]]:
    """Return the tasks that only this repository has, in the same shape."""
    spec = importlib.util.spec_from_file_location("tasks", ROOT / "tasks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tasks = Collection.from_module(module).tasks.items()
    return _with_flags(Collection(*(task for name, task in tasks if name not in project_tasks())))


def _with_flags(collection: Collection) -> dict[str, tuple[Task[Any], dict[str, Argument]]]:
    tasks: dict[str, Task[Any]] = collection.tasks
    return {
        str(name): (
            tasks[name],
            {
                _flag(argument): argument
                for argument in sorted(tasks[name].get_arguments(), key=lambda one: str(one.name))
            },
        )
        for name in sorted(tasks)
    }


def _flag(argument: Argument) -> str:
    return f"--{str(argument.name).strip('_').replace('_', '-')}"


def _tasks() -> str:
    parts = []
    for name, (task, flags) in project_tasks().items():
        summary, _, more = inspect.cleandoc(task.__doc__ or "").partition("\n")
        before, _, examples = more.partition("Examples:\n")
        text = f"\n{before.strip()}\n" if before.strip() else ""
        code = inspect.cleandoc(examples)
        rows = [
            (f"`{flag}{_takes(argument)}`", argument.help or "") for flag, argument in flags.items()
        ]
        parts.append(
            f"\n## {name}\n\n{summary}\n{text}\n```text\n{code}\n```\n\n"
            f"{table(('flag', 'meaning'), rows)}"
        )
    return "".join(parts) + "\n"


def _takes(argument: Argument) -> str:
    if argument.kind is bool:
        return ""
    return " …" if argument.kind is list else " TEXT"


def _settings() -> str:
    rows = [
        (f"`{'.'.join(path)}`", _kind(spec), _default(spec), str(spec["description"]))
        for path, spec in _leaves(schema())
    ]
    return "\n" + table(("key", "type", "default", "meaning"), rows) + "\n"


def _leaves(
    spec: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield each key of the settings that holds a value; NAME stands for a free name."""
    free = spec.get("additionalProperties")
    for name, below in {
        **spec.get("properties", {}),
        **({"NAME": free} if isinstance(free, dict) else {}),
    }.items():
        if "properties" in below or isinstance(below.get("additionalProperties"), dict):
            yield from _leaves(below, (*path, name))
        else:
            yield (*path, name), below


def _kind(spec: dict[str, Any]) -> str:
    if "enum" in spec:
        return ", ".join(f"`{value}`" for value in spec["enum"])
    if "$ref" in spec:
        name = spec["$ref"].rpartition("/")[2]
        return {"variable": "name of a variable", "headers": "header: name of a variable"}[name]
    kinds = {"array": "list", "string": "text", "boolean": "true or false"}
    limits = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than"}
    bounds = [f"{words} {spec[key]}" for key, words in limits.items() if key in spec]
    return ", ".join([kinds.get(spec["type"], spec["type"]), *bounds])


def _default(spec: dict[str, Any]) -> str:
    return f"`{json.dumps(spec['default'])}`" if "default" in spec else ""


def _precedence() -> str:
    text = inspect.cleandoc(settings_module.__doc__ or "")
    found = re.search(r"Precedence, highest first: (.*?)\.\n", text, re.DOTALL)
    assert found, "the docstring of settings.py no longer tells the precedence"
    items = " ".join(found[1].split()).split(", ")
    return "\n" + "".join(f"{i}. {item}\n" for i, item in enumerate(items, 1)) + "\n"


def error_classes(base: type[errors.DagmarError]) -> list[type[errors.DagmarError]]:
    """Return the classes below `base`, by exit status."""
    found = [*base.__subclasses__()]
    for error in base.__subclasses__():
        found += error_classes(error)
    return sorted(found, key=lambda error: error.exit_code)


def statuses() -> list[tuple[str, int, str]]:
    """Return (class, status, meaning) from the tree in the docstring of errors.py."""
    lines = re.findall(r"(\w+) +(\d+)   (.+)", errors.__doc__ or "")
    return [(name, int(status), meaning) for name, status, meaning in lines]


def _exit_codes() -> str:
    meanings: dict[int, str] = {0: "done", 1: "Invoke refuses the command line, or a bug in dagmar"}
    for _, status, meaning in statuses():
        meanings[status] = "; ".join(filter(None, [meanings.get(status), meaning]))
    rows = ((str(status), meaning) for status, meaning in meanings.items())
    return "\n" + table(("status", "meaning"), rows) + "\n"


def _error_classes() -> str:
    rows = [
        (
            str(error.exit_code),
            f"`{error.__name__}`",
            inspect.cleandoc(error.__doc__ or "").splitlines()[0],
        )
        for error in error_classes(errors.DagmarError)
    ]
    return "\n" + table(("status", "class in `dagmar.errors`", "meaning"), rows) + "\n"


RESULTS: tuple[type, ...] = (Attempt, Previewed, Difference, Statistics)
"""Classes of what the methods of a pair return, in the order of the page."""


ALIASES = {
    "Controls": "mo.ui.batch | Mapping[str, object]",
    "Number": "float | str | bool | None",
    "Item": "dict[str, Any]",
    "Kind": "str",
}


def public_members(kind: type) -> list[str]:
    """Return the names of a class's own public methods and properties, as its file has them."""
    return [
        name
        for name, value in vars(kind).items()
        if not name.startswith("_")
        and (callable(value) or isinstance(value, (property, functools.cached_property)))
    ]


def _notebook_api() -> str:
    pair = dagmar.Pair
    constructed = _described("dagmar.Pair", pair, pair.__init__)
    parts = [f"\n## dagmar.Pair\n\n{_prose(pair)}{constructed}"]
    parts += [f"### pair.{name}\n\n{_member('pair', pair, name)}" for name in public_members(pair)]
    link = dagmar.link_reports
    parts.append(f"## dagmar.link_reports\n\n{_described('dagmar.link_reports', link, link)}")
    parts.append("## What the methods return\n\n")
    for kind in RESULTS:
        fields = [
            (f"`{field.name}`", f"`{_plain(field.type)}`")
            for field in dataclasses.fields(kind)
            if not field.name.startswith("_")
        ]
        parts.append(f"### {kind.__name__}\n\n{_prose(kind)}{table(('field', 'type'), fields)}\n")
        for name in public_members(kind):
            parts.append(f"`.{name}`: {_member('', kind, name, short=True)}")
    return "".join(parts)


def _member(before: str, kind: type, name: str, short: bool = False) -> str:
    value = inspect.getattr_static(kind, name)
    if callable(value):
        return _described(f"{before}.{name}", value, value)
    get = value.fget if isinstance(value, property) else value.func
    returned = _plain(inspect.signature(get).return_annotation)
    if short:
        return f"{_prose(get).strip()} (`{returned}`)\n\n"
    return f"```text\n{before}.{name}: {returned}\n```\n\n{_prose(get)}"


def _described(title: str, value: Any, function: Callable[..., Any]) -> str:
    """Return the signature of a function as it is called, and its docstring."""
    signature = inspect.signature(function)
    lines: list[str] = []
    for each in (each for name, each in signature.parameters.items() if name != "self"):
        if each.kind is each.KEYWORD_ONLY and "*" not in lines:
            lines.append("*")
        stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        default = "" if each.default is each.empty else f" = {each.default!r}"
        lines.append(f"{stars}{each.name}: {_plain(each.annotation)}{default}".replace("'", '"'))
    arguments = ", ".join(lines)
    if len(arguments) > 60:
        arguments = "\n" + "".join(f"    {line},\n" for line in lines)
    returned = signature.return_annotation
    result = "" if title == "dagmar.Pair" else f" -> {_plain(returned)}"
    return f"```text\n{title}({arguments}){result}\n```\n\n{_prose(function)}"


def _plain(annotation: Any) -> str:
    """Return an annotation without aliases that only the module knows."""
    text = str(annotation)
    for alias, meaning in ALIASES.items():
        text = re.sub(rf"\b{alias}\b", meaning, text)
    return text


def _prose(value: Any) -> str:
    """Return a docstring as Markdown: what it raises, and its example, are paragraphs."""
    text = inspect.cleandoc(value.__doc__ or "")
    text = re.sub(r"(?<=[.:])\s+(Raises )", r"\n\n\1", text)
    known = {error.__name__ for error in error_classes(errors.DagmarError)}
    parts = []
    for paragraph in re.split(r"\n\n", text):
        line = " ".join(paragraph.split())
        if line.startswith("Raises "):
            line = re.sub(
                r"\b[A-Z]\w+\b",
                lambda found: (
                    f"[`{found[0]}`](errors.md#{found[0].lower()})"
                    if found[0] in known
                    else found[0]
                ),
                line,
            )
        parts.append(line + "\n\n")
    return "".join(parts)


def _adopted() -> str:
    """Return what tests/template/test_adopting.py saw: a row for each repository."""
    seen = json.loads((ROOT / "tests/template/adopted.json").read_text("utf-8"))
    rows = []
    for name, row in seen.items():
        commands = "<br>".join(f"`{command}`" for command in row["commands"])
        trouble = [f"`{task}`: {text}" for task, text in row["not fine"].items()]
        trouble += [f"`leave` leaves changes in {', '.join(row['left behind'])}"] * bool(
            row["left behind"]
        )
        rows.append((name, row["made by"], commands, "; ".join(trouble) or "all work"))
    columns = ("repository", "made by", "what installs dagmar", "tasks")
    return "\n" + table(columns, rows) + "\n"


def _benchmarks() -> str:
    sys.path.append(str(ROOT / "benchmarks"))
    page: Callable[[], str] = importlib.import_module("bench").page
    return page()


PARTS: dict[str, Callable[[], str]] = {
    "adopted": _adopted,
    "benchmarks": _benchmarks,
    "notebook-api": _notebook_api,
    "pages": _pages,
    "tasks": _tasks,
    "settings": _settings,
    "precedence": _precedence,
    "exit-codes": _exit_codes,
    "error-classes": _error_classes,
}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
