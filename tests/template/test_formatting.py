"""What a formatter did to the runner is not an edit; what a person did to formatted code is."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.hooks import hook
from support.template_releases import ROOT, RUNNER

undo = hook("formatting").undo_formatting
SOURCES = ROOT / RUNNER / "src/dagmar"
BEFORE = '''"""Say what this is."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

LIMITS = {"one": 1, "two": 2}  # of each


class Shop:
    """A shop."""

    @property
    def name(self) -> str:
        """Return its name."""
        # Not the whole path.
        if os.sep in self.path:
            return self.path.rpartition(os.sep)[2]
        elif not self.path:
            return "none"
        else:
            return str(PurePath(self.path))


def read(path: Path, *, limit: int = 1) -> str:
    """Read a file.

    Raises OSError.
    """
    match limit:
        case 1:
            text = path.read_text("utf-8")
        case _:
            text = """two
              lines"""
    return text[:limit]
'''
FORMATTED = """'''Say what this is.'''
from __future__ import annotations
import os
from pathlib import Path
from pathlib import PurePath
LIMITS = {
\t'one': 1,
\t'two': 2,
} # of each
class Shop:
\t'''A shop.'''
\t@property
\tdef name(self)->str:
\t\t'''
\t\tReturn its name.
\t\t'''
\t\t#Not the whole path.
\t\tif (os.sep in self.path):
\t\t\treturn self.path.rpartition(
\t\t\t\tos.sep,
\t\t\t)[2]
\t\telif not self.path:
\t\t\treturn 'none'
\t\telse:
\t\t\treturn str(PurePath(self.path))
def read(
\tpath: Path,
\t*,
\tlimit: int = 1,
) -> str:
\t'''Read a file. Raises OSError.'''
\tmatch limit:
\t\tcase 1:
\t\t\ttext = path.read_text('utf-8')
\t\tcase _:
\t\t\ttext = '''two
              lines'''
\treturn text[:limit]
"""


def test_layout_quotes_indentation_and_the_order_of_imports_are_no_edit():
    assert undo("x.py", BEFORE, FORMATTED) == BEFORE
    assert undo("x.py", BEFORE, BEFORE.replace("\n", "\r\n")) == BEFORE


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (("'none'", "'nothing'"), ('            return "none"', "            return 'nothing'")),
        (
            ("\treturn text[:limit]", "\t#mine\n\treturn text[:limit]"),
            ("    return text", "    #mine\n    return text"),
        ),
        (("# of each", "# of all"), None),
        (("\tmatch", "\tlimit += 1\n\tmatch"), ("    match", "    limit += 1\n    match")),
        (("import os\n", "import os\nimport re\n"), ("import os\n", "import os\nimport re\n")),
        (("\t@property\n", ""), ("\n    @property\n", "")),
        (("              lines", "            lines"), None),
        (("elif not", "elif"), ("elif not", "elif")),
    ],
)
def test_an_edit_of_formatted_code_is_kept_and_nothing_else(
    edit: tuple[str, str], expected: tuple[str, str] | None
):
    text = FORMATTED.replace(*edit, 1)
    assert text != FORMATTED
    found = undo("x.py", BEFORE, text)
    if expected:
        assert found == BEFORE.replace(*expected, 1)
    else:
        changed = set(found.splitlines()) ^ set(BEFORE.splitlines())
        assert edit[1] in found
        assert len(changed) <= 7
    compile(found, "x.py", "exec")


def test_an_added_import_does_not_meet_those_of_a_new_version():
    added = FORMATTED.replace("import os\n", "import os\nimport re\n", 1)
    new = BEFORE.replace("import Path, PurePath\n", "import Path, PurePath\nimport that\n")
    merged = hook("merging").merge_texts(BEFORE, undo("x.py", BEFORE, added), new)
    assert merged == (new.replace("import os\n", "import os\nimport re\n"), False)


@pytest.mark.parametrize(
    ("name", "before", "text", "same"),
    [
        ("a.json", '{"a": [1, 2]}\n', '{\n\t"a": [\n1, 2 ]\n}', True),
        ("a.json", '{"a": [1, 2]}\n', '{\n\t"a": [\n1, 3 ]\n}', False),
        ("a.yaml", "a:\n  b: 1\n", "a:  \r\n  b: 1", True),
        ("a.yaml", "a:\n  b: 1\n", "a:\nb: 1\n", False),
        ("a.graphql", "query A {\n  a(b: 1) { c }\n}\n", "query A { a( b: 1 ) {c} }\n", True),
        ("a.py", "a = 1\n", "a = = 1\n", False),
    ],
)
def test_other_files_have_a_layout_too(name: str, before: str, text: str, same: bool):
    assert (undo(name, before, text) == before) == same


def test_the_runner_formatted_as_a_whole_is_the_runner(tmp_path: Path):
    names = ["errors.py", "runs/tracking.py", "notebook/cells.py", "upkeep/update.py"]
    check(tmp_path, names, [ruff("format", "--line-length=60", "--config=indent-width=2")])


@pytest.mark.nightly
@pytest.mark.parametrize(
    "tool",
    ["black --line-length=79", "isort --force-single-line-imports", "pyupgrade --py310-plus"],
)
def test_every_file_formatted_by_another_tool_is_the_runner(tool: str, tmp_path: Path):
    command = ["uvx", *tool.split()]
    check(tmp_path, [path.relative_to(SOURCES).as_posix() for path in files()], [command])


@pytest.mark.nightly
def test_a_changed_word_in_any_formatted_file_is_the_same_change(tmp_path: Path):
    """Change a name in each file, format it, and undo that: only the change is left."""
    chance = random.Random(1)

    def change(name: str, text: str) -> str:
        places = list(re.finditer(r"(?<=    return )(?=[a-z_.]+\n)", text))
        if not places:
            return text
        at = chance.choice(places).start()
        return f"{text[:at]}not {text[at:]}"

    names = [path.relative_to(SOURCES).as_posix() for path in files()]
    check(tmp_path, names, [ruff("format", "--line-length=60")], change)


def files() -> list[Path]:
    return sorted(SOURCES.rglob("*.py"))


def ruff(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ruff", *arguments, "--isolated"]


def check(
    folder: Path,
    names: list[str],
    commands: list[list[str]],
    change: Callable[[str, str], str] = lambda name, text: text,
) -> None:
    """Change and format copies, and see that undoing the formatting leaves the change alone."""
    texts = {name: (SOURCES / name).read_text("utf-8") for name in names}
    wanted = {name: change(name, text) for name, text in texts.items()}
    for name, text in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    paths = [str(folder / name) for name in names]
    for command in commands:
        subprocess.run([*command, *paths], check=command[1] != "pyupgrade", capture_output=True)
    found = {name: (folder / name).read_text("utf-8") for name in names}
    if change(".", ".") == "." and commands[0][1] != "pyupgrade":
        assert found != texts  # the tool does something
    wrong = [name for name in names if undo(name, texts[name], found[name]) != wanted[name]]
    assert wrong == [], json.dumps(wrong)
