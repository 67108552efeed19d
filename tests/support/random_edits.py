"""Edits of a project as people make them, chosen by a seed, with what an update must keep."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.git import git
from support.template_releases import COPIED, tree

LEFT_ALONE = (".copier-answers.yml", ".dagmar/notebooks/", ".dagmar/.gitattributes")
"""What people do not edit by hand."""
COMMENTS = {".py": "#", ".toml": "#", ".yaml": "#", ".yml": "#", ".j2": "#", ".md": "", ".csv": ""}
PARSED = {".json"}
"""Files in which a line more is a syntax error."""


@dataclass
class Edits:
    """Edits of the project in `root`; `random` chooses them.

    `marks` has, for each file, texts that were typed into it, and no other file has; `gone` the
    names of files that were deleted or renamed; `kinds` how many edits of each kind there were.
    """

    root: Path
    random: random.Random
    marks: dict[str, list[str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)
    _number: int = 0

    def make(self, count: int) -> None:
        """Make `count` edits, and commit them."""
        while count:
            kind = self.random.choice(KINDS)
            name = self.random.choice(self._files())
            if kind(self, name):
                self.kinds[kind.__name__.strip("_")] += 1
                count -= 1
        git(self.root, "add", "-A")
        git(self.root, "commit", "-q", "--allow-empty", "-m", "edit")

    def _files(self) -> list[str]:
        listed = git(self.root, "ls-files", "-co", "--exclude-standard", "-z").split("\0")
        return [
            name
            for name in filter(None, listed)
            if not name.startswith(LEFT_ALONE) and (self.root / name).is_file()
        ]

    def mark(self, name: str) -> str:
        """Return a text that occurs nowhere else."""
        self._number += 1
        text = f"edited {self._number} by {self.random.getrandbits(40):010x}"
        self.marks.setdefault(name, []).append(text)
        return text

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file, with their ends."""
        return (self.root / name).read_bytes().decode().splitlines(keepends=True)

    def write(self, name: str, lines: list[str]) -> None:
        """Write the lines of a file."""
        (self.root / name).write_bytes("".join(lines).encode())


def _places(lines: list[str]) -> list[int]:
    """Return the lines before which a comment changes nothing: code starts there, or nothing."""
    return [
        number for number, line in enumerate(lines)
        if line.startswith(("import ", "from ", "def ", "class ", "@", "#", "- ", "["))
    ]  # fmt: skip


def insert_lines(edits: Edits, name: str) -> bool:
    """Insert comments of one to three lines."""
    if Path(name).suffix in PARSED:
        return False
    lines = edits.lines(name)
    places = _places(lines) if name.endswith(".py") else [*range(len(lines) + 1)]
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if not places or (lines and not lines[-1].endswith("\n")):
        return False
    place = edits.random.choice(places)
    if name.endswith(".py") and _is_in_text(lines, place):
        return False
    comment = COMMENTS.get(Path(name).suffix, "#")
    new = [f"{comment} {edits.mark(name)}{end}" for _ in range(edits.random.randint(1, 3))]
    edits.write(name, [*lines[:place], *new, *lines[place:]])
    return True


def _is_in_text(lines: list[str], place: int) -> bool:
    """Whether a line is inside a text of several lines."""
    return "".join(lines[:place]).count('"""') % 2 == 1


def change_a_line(edits: Edits, name: str) -> bool:
    """Add a comment to the end of a line."""
    if Path(name).suffix in PARSED:
        return False
    lines = edits.lines(name)
    simple = [
        number for number, line in enumerate(lines)
        if line.strip() and '"' not in line and "'" not in line and "\\" not in line
        and not (name.endswith(".py") and _is_in_text(lines, number))
    ]  # fmt: skip
    if not simple:
        return False
    number = edits.random.choice(simple)
    text = lines[number].rstrip("\r\n")
    end = lines[number][len(text) :]
    edits.write(name, [*lines[:number], f"{text}  # {edits.mark(name)}{end}", *lines[number + 1 :]])
    return True


def delete_lines(edits: Edits, name: str) -> bool:
    """Delete a comment or an empty line, or lines of text."""
    lines = edits.lines(name)
    text = Path(name).suffix in (".md", ".csv")
    idle = [
        number for number, line in enumerate(lines)
        if (text or not line.strip() or line.startswith("#")) and not _is_marked(edits, line)
        and not (name.endswith(".py") and _is_in_text(lines, number))
    ]  # fmt: skip
    if not idle or Path(name).suffix in PARSED:
        return False
    number = edits.random.choice(idle)
    edits.write(name, [*lines[:number], *lines[number + 1 :]])
    return True


def _is_marked(edits: Edits, line: str) -> bool:
    return any(mark in line for marks in edits.marks.values() for mark in marks)


def add_a_file(edits: Edits, name: str) -> bool:
    """Add a file next to another one."""
    new = Path(name).with_name(f"mine_{edits.random.getrandbits(24):06x}.py").as_posix()
    edits.write(new, [f"# {edits.mark(new)}\n", "MINE = 1\n"])
    ignored = subprocess.run(["git", "check-ignore", "-q", new], cwd=edits.root)
    if ignored.returncode == 0:
        (edits.root / new).unlink()
        edits.marks.pop(new)
        return False
    return True


def delete_a_file(edits: Edits, name: str) -> bool:
    """Delete a file."""
    if name in KEPT:
        return False
    (edits.root / name).unlink()
    edits.marks.pop(name, None)
    edits.gone.add(name)
    return True


def rename_a_file(edits: Edits, name: str) -> bool:
    """Rename a file in its folder."""
    if name in KEPT:
        return False
    old = edits.root / name
    new = old.with_name(f"renamed_{edits.random.getrandbits(16):04x}_{old.name}")
    old.rename(new)
    if subprocess.run(["git", "check-ignore", "-q", new], cwd=edits.root).returncode == 0:
        new.rename(old)
        return False
    if name in edits.marks:
        edits.marks[new.relative_to(edits.root).as_posix()] = edits.marks.pop(name)
    edits.gone.add(name)
    return True


KEPT = (
    "tasks.py",
    "dagmar.yaml",
    "pyproject.toml",
    f"{COPIED}/src/dagmar/__init__.py",
)
"""Without these it is not a project any more."""


def change_the_mode(edits: Edits, name: str) -> bool:
    """Make a file executable."""
    file = edits.root / name
    if file.stat().st_mode & 0o111:
        return False
    file.chmod(file.stat().st_mode | 0o111)
    return True


def use_the_lines_of_windows(edits: Edits, name: str) -> bool:
    """End lines with CRLF."""
    text = (edits.root / name).read_bytes()
    if b"\r" in text or not text:
        return False
    (edits.root / name).write_bytes(text.replace(b"\n", b"\r\n"))
    return True


def reformat(edits: Edits, name: str) -> bool:
    """Format a Python file in another style."""
    if not name.endswith(".py"):
        return False
    options = ["--config", "format.quote-style='single'", "--line-length", "79", "--isolated"]
    command = [sys.executable, "-m", "ruff", "format", "-q", *options, name]
    subprocess.run(command, cwd=edits.root, check=True, timeout=60)
    return True


KINDS: tuple[Callable[[Edits, str], bool], ...] = (
    insert_lines, insert_lines, insert_lines, change_a_line, change_a_line, delete_lines,
    add_a_file, delete_a_file, rename_a_file, change_the_mode, use_the_lines_of_windows, reformat,
)  # fmt: skip


def state(root: Path) -> dict[str, tuple[bytes, bool]]:
    """Return the bytes of each file that git has or sees, and whether it is executable."""
    names = set(git(root, "ls-files", "-co", "--exclude-standard", "-z").split("\0"))
    return {
        name: (data, bool((root / name).stat().st_mode & 0o100))
        for name, data in tree(root).items()
        if name in names
    }
