"""What the folder of the notebooks gets with the first of them: `ruff.toml` and `.gitignore`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from dagmar.errors import SetupError
from dagmar.files import read_toml
from dagmar.project.templates import git

IGNORE, RUFF = ".gitignore", "ruff.toml"
IGNORED = "__marimo__/\n"
RULES = Path(__file__).with_name("notebooks.toml")
RUFF_FILES = (f".{RUFF}", RUFF)


def files_for(notebooks: Collection[Path]) -> dict[Path, str]:
    """Return the files that the folder of new notebooks lacks, and their texts.

    A folder with other Python files keeps its rules: they hold for these, too. So does one from
    which the user removed the rules.
    """
    folder = next(iter(notebooks)).parent
    texts = {}
    if not is_ignored(folder / "__marimo__" / "x"):
        texts[folder / IGNORE] = IGNORED
    if folder.is_dir():
        others = set(folder.rglob("*.py")) - set(notebooks)
        if others or any(os.path.lexists(folder / name) for name in RUFF_FILES):
            return {file: text for file, text in texts.items() if not os.path.lexists(file)}
    return {**texts, folder / RUFF: rules_for(folder)}


def is_ignored(file: Path) -> bool:
    """Whether git ignores a file; it need not exist."""
    place = next(folder for folder in file.parents if folder.is_dir())
    try:
        return git(place, "check-ignore", "--quiet", str(file)).returncode == 0
    except SetupError:  # no git
        return False


def rules_for(folder: Path) -> str:
    """Return the `ruff.toml` of a folder, which extends the one that counts there without it."""
    upper = next(_settings_above(folder), None)
    text = RULES.read_text("utf-8")
    if upper is None:
        return text
    name = Path(os.path.relpath(upper, folder)).as_posix()
    return f'extend = "{name}"\n\n{text}'


def _settings_above(folder: Path) -> Iterator[Path]:
    """Yield the files that ruff reads for a folder, the nearest first, inside the repository."""
    for place in folder.parents:
        yield from (place / name for name in RUFF_FILES if (place / name).is_file())
        if _configures_ruff(place / "pyproject.toml"):
            yield place / "pyproject.toml"
        if (place / ".git").exists():
            return


def _configures_ruff(file: Path) -> bool:
    try:
        return "ruff" in read_toml(file).get("tool", {})
    except SetupError:
        return False
