"""The reference names everything that is public, and its messages are those of the code."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import dagmar
import pytest
from support.template_releases import RUNNER

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs/reference/notebook-api.md").read_text("utf-8")
ERRORS = (ROOT / "docs/reference/errors.md").read_text("utf-8")
SOURCE = ROOT / RUNNER / "src/dagmar"
MEMBERS = [name for name in dir(dagmar.Pair) if not name.startswith("_")]
FUNCTIONS = {
    "Pair": dagmar.Pair.__init__,
    "link_reports": dagmar.link_reports,
    **{name: getattr(dagmar.Pair, name) for name in MEMBERS},
}


def test_every_public_name_has_a_heading() -> None:
    headings = re.findall(r"^##+ (.+)$", API, re.MULTILINE)
    public = [f"dagmar.{name}" for name in dagmar.__all__ if name != "__version__"]
    assert [name for name in public if name not in headings] == []
    assert len(MEMBERS) > 20
    assert [name for name in MEMBERS if f"pair.{name}" not in headings] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_argument_is_explained(name: str) -> None:
    function = FUNCTIONS[name]
    if not callable(function):
        assert function.fget.__doc__
        return
    text = inspect.cleandoc(function.__doc__ or "")
    first, _, rest = text.partition("\n")
    assert first.endswith((".", ":")), first
    arguments = [each for each in inspect.signature(function).parameters if each != "self"]
    assert [each for each in arguments if f"`{each}`" not in text] == []
    assert rest or not arguments


def test_what_a_method_returns_is_on_the_page(generate: ModuleType) -> None:
    """A class of dagmar that an annotation names has a section, or is a field's own type."""
    sections = {kind.__name__ for kind in generate.RESULTS}
    named = set()
    for name in MEMBERS:
        value = inspect.getattr_static(dagmar.Pair, name)
        annotation = str(inspect.signature(getattr(value, "fget", value)).return_annotation)
        named |= set(re.findall(r"(?<![\w.])[A-Z]\w+", annotation))
    assert named - {"None", "Any", "Callable", "Item"} <= sections
    assert sections <= set(re.findall(r"^### (\w+)$", API, re.MULTILINE))


def entries() -> dict[str, str]:
    """Return the text below each class's heading."""
    parts = re.split(r"^## (\w+)$", ERRORS, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_class_of_errors_has_an_entry_with_its_status(generate: ModuleType) -> None:
    classes: list[Any] = generate.error_classes(generate.errors.DagmarError)
    assert list(entries()) == ["DagmarError", *sorted(entries().keys() - {"DagmarError"}, key=[
        *re.findall(r"── (\w+)", generate.errors.__doc__)].index)]  # fmt: skip
    assert entries().keys() == {"DagmarError", *(each.__name__ for each in classes)}
    for error in classes:
        base = error.__mro__[1].__name__
        status = f"Status {error.exit_code}"
        status += "." if base == "DagmarError" else f", a{'n' * (base[0] in 'IU')} `{base}`."
        assert entries()[error.__name__].strip().startswith(status)


@pytest.mark.parametrize("name", [name for name in entries() if name != "DagmarError"])
def test_the_example_of_each_error_is_a_message_of_the_code(name: str) -> None:
    (example,) = re.findall(r"^```text\nerror: (.+?)^```$", entries()[name], re.M | re.S)
    first = example.splitlines()[0]
    fitting = [pattern for pattern in messages() if re.search(rf"(?:^|(?<= )){pattern}$", first)]
    assert fitting, f"no message of the runner reads like: {first}"


@functools.cache
def messages() -> list[str]:
    """Return a pattern for the first line of each text with enough words to know it."""
    found = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [getattr(part, "value", None) for part in node.values]
            elif isinstance(node, ast.Constant):
                parts = [node.value]
            else:
                continue
            texts = [part if isinstance(part, str) else "\0" for part in parts]
            line = "".join(texts).partition("\n")[0]
            if len(re.findall(r"[a-z]+", line)) >= (3 if line.endswith("\0") else 2):
                found.append(re.escape(line).replace("\0", ".*"))
    return found
