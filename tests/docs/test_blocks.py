"""Every block of code on every page is executed, or has a reason; and each reads as it should."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import dagmar
import jsonschema
import pytest
import yaml
from dagmar.project.schema import schema
from support.pages import ALL, IN_A_NOTEBOOK, PAGES, ROOT, Block, session

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LANGUAGES = {"text", "bash", "python", "yaml", "json", "toml", "jinja", "dockerfile"}
EXECUTED_BY = {
    "README.md": "tests/docs/test_commands.py",
    "docs/tutorial.md": "tests/docs/test_commands.py",
    "docs/how-to/come-from-jupyter.md": "tests/docs/test_coming_from.py",
    "docs/how-to/come-from-dagstermill.md": "tests/docs/test_coming_from.py",
    "docs/how-to/update-a-project.md": "tests/docs/test_commands.py",
    "docs/how-to/deploy.md": "tests/template/test_deploying.py",
}
"""Pages whose blocks have their own tests, which read the page."""
NOT_EXECUTED = 6
"""How many blocks say why they are not executed. Raise it only with a reason that is true."""
SESSIONS = {"the project", "the project, with a bucket", "a copy of the project", "a folder"}
NAMES = "import dagmar, dagster as dg, marimo as mo, polars as pl\nfrom typing import Any\n"
GIVEN = ("app", "pair", "controls", "button", "defs", "ns", "namespace")
"""What a reader of a fragment has already."""


def of(*languages: str) -> list[Block]:
    return [block for block in ALL if block.language in languages]


each = pytest.mark.parametrize


def test_every_block_has_a_language_that_is_checked_here() -> None:
    assert [str(block) for block in ALL if block.language not in LANGUAGES] == []


def test_every_command_is_executed_or_has_a_reason() -> None:
    loose = []
    for block in of("bash"):
        where = session(ROOT / block.page)
        assert not where or where in SESSIONS, block.page
        if not (where or executed_by(block) or block.says("not executed")):
            loose.append(f"{block}: {block.text}")
    assert loose == []


def test_every_python_block_is_executed_or_has_a_reason() -> None:
    """A session writes those that name their file, and the commands of the page use it."""
    loose = []
    for block in of("python"):
        written = session(ROOT / block.page) and (block.says("file") or block.says("cell"))
        if not (
            written
            or block.page in IN_A_NOTEBOOK
            or executed_by(block)
            or block.says("not executed")
        ):
            loose.append(f"{block}: {block.text}")
    assert loose == []


def executed_by(block: Block) -> str:
    """Return the test that executes the block, which must know the page or a word of it."""
    test = block.says("executed by") or EXECUTED_BY.get(block.page, "")
    if test:
        file, _, name = test.partition("::")
        source = (ROOT / file).read_text("utf-8")
        assert name in source, f"{block}: there is no {test}"
        assert name or Path(block.page).stem in source or Path(block.page).name in source
    return test


def test_few_commands_are_not_executed() -> None:
    reasons = [block.says("not executed") for block in ALL if block.says("not executed")]
    assert len(reasons) == NOT_EXECUTED
    assert all(len(reason.split()) >= 3 for reason in reasons)


def commands() -> Iterator[tuple[str, str]]:
    """Yield each call of `invoke` on a page: in a block, or between backticks."""
    for page in PAGES:
        text = re.sub(r"\\\n", " ", page.read_text("utf-8"))
        for line in text.splitlines():
            for found in re.findall(r"\binvoke ([a-z]+(?: [^`\n]*)?)", line):
                yield str(page.relative_to(ROOT)), found


def test_every_task_and_flag_that_a_page_names_exists(generate: ModuleType) -> None:
    tasks = {**generate.project_tasks(), **generate.own_tasks()}
    seen, wrong = 0, []
    for page, found in commands():
        name, *words = re.split(r"\s+", found.partition("#")[0].partition(" > ")[0].strip())
        if name not in tasks:
            continue
        seen += 1
        flags = {
            word.split("=")[0] for word in words if re.fullmatch(r"--[a-z][a-z-]*(=.*)?", word)
        }
        wrong += [f"{page}: invoke {name} {flag}" for flag in flags - {*tasks[name][1], "--help"}]
    assert seen > 150
    assert wrong == []


@each("page", sorted({block.page for block in of("python")}))
def test_python_on_a_page_compiles_and_knows_its_names(page: str) -> None:
    own = [block for block in of("python") if block.page == page]
    code = NAMES + "".join(f"{given}: Any = ...\n" for given in GIVEN)
    code += "\n".join(block.text for block in own)
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "F821,E9",
        "-q",
        "-",
    ]
    done = subprocess.run(command, input=code, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    for block in own:
        for call in (
            node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.Call)
        ):
            if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "pair":
                method = getattr(dagmar.Pair, call.func.attr)
                keywords = {str(each.arg): None for each in call.keywords}
                inspect.signature(method).bind(None, *call.args, **keywords)


@each("block", of("yaml"), ids=str)
def test_yaml_is_valid_and_settings_are_settings(block: Block) -> None:
    document = yaml.safe_load(block.text)
    if "ca_file" in document:  # keys of one target
        document = {"targets": {"prod": {"url": "https://dagster.example.com", **document}}}
    if "prod" in document:
        document = {"targets": document}
    if document.keys() & schema()["properties"].keys():
        jsonschema.validate(document, schema())
        return
    # Settings in the environment of a CI are settings, too.
    assert block.page == "docs/how-to/use-in-ci.md"
    for name, text in re.findall(r"DAGMAR_TARGETS__PROD__(\w+): (.+)", block.text):
        value = (
            yaml.safe_load(yaml.safe_load(text)) if "{{" not in text else "https://x.example.com"
        )
        jsonschema.validate({"targets": {"prod": {name.lower(): value}}}, schema())


@each("block", of("json", "toml"), ids=str)
def test_json_and_toml_are_valid(block: Block) -> None:
    read = json.loads if block.language == "json" else tomllib.loads
    assert read(block.text)


def test_a_shell_can_read_every_command() -> None:
    for block in of("bash"):
        text = block.text.replace("…", "x")
        done = subprocess.run(
            ["bash", "-n"], input=text, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{block}: {done.stderr}"
        assert shlex.split(text, comments=True)


def test_jinja_and_dockerfiles_are_on_pages_that_execute_them() -> None:
    for block in of("jinja", "dockerfile"):
        executed = session(ROOT / block.page) and block.says("file")
        assert executed or block.page in EXECUTED_BY, str(block)
