"""Files that name dagmar as a dependency, without it: the bytes from before if git has them."""

from __future__ import annotations

import pytest
from dagmar.upkeep.wiring import without

SOURCE = '[tool.uv.sources]\ndagmar = { path = ".dagmar/.eggs/dagmar", editable = true }\n'
BEFORE = '[project]\nname = "etl"\ndependencies = [\n    "dagster",  # ours\n]\n'
ADOPTED = f'{BEFORE}\n{SOURCE}\n[dependency-groups]\ndev = [\n    "dagmar[cli]",\n]\n'


def cut(text: str, name: str = "pyproject.toml") -> str:
    return without(name, text.encode(), None).decode()


def test_without_later_edits_the_bytes_are_those_from_before():
    for ending in ("", "\n\n", "# the end, without a line feed"):
        before = BEFORE + ending
        assert without("pyproject.toml", (ADOPTED + "x").encode(), None) != before
        change = (before.encode(), ADOPTED.encode())
        assert without("pyproject.toml", ADOPTED.encode(), change) == before.encode()


def test_a_file_without_an_entry_is_not_changed():
    for text in ("[dependency-groups]\ndev = []\n\n\n", "[project]", "# dagmar\r\n[a]\n\n"):
        assert cut(text) == text


def test_line_endings_of_windows_stay():
    before, adopted = (text.replace("\n", "\r\n") for text in (BEFORE, ADOPTED))
    assert cut(adopted) == before
    change = (before.encode(), adopted.encode())
    assert without("pyproject.toml", adopted.encode(), change) == before.encode()


def test_later_edits_of_the_team_stay():
    change = (BEFORE.encode(), ADOPTED.encode())
    now = ADOPTED.replace('"dagster",', '"dagster>=1.12",') + "\n[tool.ruff]\nline-length = 99\n"
    expected = (
        BEFORE.replace('"dagster",', '"dagster>=1.12",') + "\n[tool.ruff]\nline-length = 99\n"
    )
    assert without("pyproject.toml", now.encode(), change).decode() == expected


def test_what_the_team_changed_in_the_commit_of_the_adoption_stays():
    adopted = ADOPTED.replace('"dagster",', '"dagster", "polars",')
    found = without("pyproject.toml", adopted.encode(), (BEFORE.encode(), adopted.encode()))
    assert found.decode() == BEFORE.replace('"dagster",', '"dagster", "polars",')


def test_a_group_that_the_team_fills_stays():
    adopted = ADOPTED.replace('    "dagmar[cli]",\n', '    "dagmar[cli]",\n    "pytest",\n')
    assert cut(adopted) == f'{BEFORE}\n[dependency-groups]\ndev = [\n    "pytest",\n]\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('dev = ["pytest", "dagmar[cli]"]\n', 'dev = ["pytest"]\n'),
        ('dev = ["dagmar[cli]", "pytest"]\n', 'dev = ["pytest"]\n'),
        ("dev = ['a', 'dagmar[cli]>=1; python_version > \"3.9\"', 'b']\n", "dev = ['a', 'b']\n"),
        ('x = ["dagmar-like", "adagmar"]\n', 'x = ["dagmar-like", "adagmar"]\n'),
        (
            '[tool.poetry.group.dev.dependencies]\ndagmar = {path = "x"}\na = "1"\n',
            '[tool.poetry.group.dev.dependencies]\na = "1"\n',
        ),
        (
            'dev = [\n  "-e file:///${X}/.dagmar/.eggs/dagmar#egg=dagmar[cli]",\n  "a",\n]\n',
            'dev = [\n  "a",\n]\n',
        ),
        (
            '[a]\nb = 1\n\n[tool.pdm.workspace]\nmembers = [".dagmar/.eggs/dagmar"]\n',
            "[a]\nb = 1\n",
        ),
        ('[a]\nb = []\n\n[dependency-groups]\ndev = ["dagmar"]\n\n[c]\n', "[a]\nb = []\n\n[c]\n"),
    ],
)
def test_every_spelling_of_the_entry_goes_and_nothing_else(text: str, expected: str):
    assert cut(text) == expected


def test_the_line_of_pip_goes_from_requirements():
    text = "dagster\n-e .dagmar/.eggs/dagmar[cli]\npolars\n"
    assert cut(text, "requirements-dev.txt") == "dagster\npolars\n"
