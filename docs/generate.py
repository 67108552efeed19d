"""Writes the parts of the documentation that are taken from the code.

A page marks such a part with `<!-- generated: NAME -->` and `<!-- end -->`; the rest of the page
is written by hand. What stands between the marks is replaced by what the function called NAME in
`PARTS` returns.

    uv run python docs/generate.py            write
    uv run python docs/generate.py --check    compare; status 1 and the pages' names if they differ
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from dagmar import errors
from dagmar.project import settings as settings_module
from dagmar.project.schema import schema
from dagmar.tasks import namespace
from invoke import Argument, Collection, Task

ROOT = Path(__file__).resolve().parents[1]
PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """Return README, CONTRIBUTING, CHANGELOG and every page below docs/."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def render(page: Path) -> str:
    """Return the text of a page with its generated parts as they should be."""
    return PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}{found[3]}", page.read_text())


def main(arguments: list[str]) -> int:
    """Write the pages, or say which of them differ."""
    stale = [page for page in pages() if render(page) != page.read_text()]
    for page in stale:
        if "--check" in arguments:
            print(f"{page.relative_to(ROOT)} is out of date", file=sys.stderr)
        else:
            page.write_text(render(page))
            print(page.relative_to(ROOT))
    return int("--check" in arguments and bool(stale))


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


PARTS: dict[str, Callable[[], str]] = {
    "adopted": _adopted,
    "tasks": _tasks,
    "settings": _settings,
    "precedence": _precedence,
    "exit-codes": _exit_codes,
    "error-classes": _error_classes,
}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
