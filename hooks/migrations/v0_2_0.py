"""Rewires a project to the runner's new place, which is no longer code of the project for linters.

The runner itself is carried over by every update. Here are the lines that name its folder, and the
dependency: tasks and notebooks need it, and what a project deploys does not.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from pathlib import Path

import yaml
from merging import change_text, mark_conflict, merge_texts, write_text
from runner import worktree

KIND = "project"
OLD, NEW = "tools/dagmar", ".dagmar/.eggs/dagmar"
TEMPLATE = Path(__file__).parents[2]
WIRING = "pyproject.toml"
PLACE = re.compile(r"(?<![\w/.-])((?:\./)?)tools/dagmar(?![\w.-])")
SCHEMA = re.compile(r"(?<=\$schema=)tools/dagmar/\S*")
ENTRY = r"""(["'])dagmar(?:\[[^\]"']*\])?(?:\s*[;<>=!~@][^\n]*?)?\1"""
IMPORT = r"^[[:space:]]*(from|import)[[:space:]]+(dagmar|notebooks)([[:space:].,]|$)"
COMPONENT = r"^[[:space:]]*type:[[:space:]]*[\"']?dagmar\."


def before(root: Path, answers_file: Path) -> None:
    """Name the new place in files of the user, and set aside a pyproject.toml of the template."""
    change_text(root / "dagmar.yaml", lambda text: SCHEMA.sub(".dagmar/settings.schema.json", text))
    for name in ("uv.lock", "ruff.toml", ".ruff.toml"):
        change_text(root / name, replace_place)
    if not (root / WIRING).is_file():
        return
    if base := render_old(answers_file):
        write_text(root / WIRING, base)
    else:
        change_text(root / WIRING, lambda text: rewire(text, bool(find_uses(root))))


def after(root: Path, answers_file: Path) -> None:
    """Merge the user's pyproject.toml, and say what is left to do."""
    uses = find_uses(root)
    users = worktree.run_git(root, "cat-file", "blob", f"HEAD:./{WIRING}")
    if (base := render_old(answers_file)) and not users.returncode:
        theirs = (root / WIRING).read_text("utf-8")
        ours = rewire(users.stdout, bool(uses))
        merged, failed = merge_texts(base := rewire(base), ours, theirs)
        write_text(root / WIRING, merged)
        worktree.run_git(root, "reset", "-q", "--", WIRING)
        if failed:
            mark_conflict(root, WIRING, base, ours, theirs)
    uv = (root / "uv.lock").is_file() or "[tool.uv" in users.stdout
    sync = "uv sync" if uv else f'pip install -e "{NEW}[cli]"'
    say(f"The environment still has {OLD}. After the update, type: {sync}")
    if uses:
        say(f"dagmar stays a dependency of what you deploy, because of {', '.join(uses[:3])}.")
    if left := find_mentions(root):
        say(f"These still name {OLD}; write {NEW} there:" + "".join(f"\n  {at}" for at in left))


def replace_place(text: str) -> str:
    """Write the new place of the runner in lines that are not comments."""
    return "".join(
        line if line.lstrip().startswith("#") else PLACE.sub(rf"\1{NEW}", line)
        for line in text.splitlines(keepends=True)
    )


def rewire(text: str, keep: bool = False) -> str:
    """Write the new place in a pyproject.toml, and move dagmar to the group dev unless it is kept.

    Only dagmar's own entry is changed; a file that is written in another way is left as it is.
    """
    text = replace_place(text)
    if keep:
        return text
    moved, entry = take_out(text, "project", "dependencies")
    if entry:
        moved = add_to_dev(moved, entry)
    moved, _ = take_out(moved, "tool.dg.project", "registry_modules")
    return moved if is_toml(moved) else text


def take_out(text: str, table: str, key: str) -> tuple[str, str]:
    """Return a text without dagmar in an array, and that entry; an empty one if there is none."""
    found = find_array(text, table, key)
    start, end = found or (0, 0)
    inside = text[start:end]
    entry = re.search(rf"{ENTRY}[ \t]*,?", inside)
    if not entry:
        return text, ""
    line = re.compile(rf"^[ \t]*{ENTRY}[ \t]*,?[ \t]*(?:#[^\n]*)?\r?\n", re.MULTILINE)
    less = line.sub("", inside, count=1)
    if less == inside:
        less = inside[: entry.start()] + inside[entry.end() :].lstrip(" ")
        if not inside[entry.end() :].strip(" \n"):  # it was the last one
            less = less.rstrip().removesuffix(",")
    return text[:start] + less + text[end:], entry[0].rstrip(", \t")


def is_toml(text: str) -> bool:
    """Whether a text can be read; Python 3.10 cannot tell."""
    with contextlib.suppress(ModuleNotFoundError):
        try:
            importlib.import_module("tomllib").loads(text)
        except ValueError:
            return False
    return True


def add_to_dev(text: str, entry: str) -> str:
    """Add a requirement to the dependency group dev, which is created if there is none."""
    line = f"    {entry},\n"
    if found := find_array(text, "dependency-groups", "dev"):
        start, end = found
        inside = text[start:end]
        if re.search(ENTRY, inside):
            return text
        if not inside.strip():
            return text[:start] + entry + text[end:]
        if inside.lstrip(" \t").startswith(("\n", "\r")):
            return text[:start] + "\n" + line.rstrip("\n") + inside + text[end:]
        return f"{text[:start]}{entry}, {inside.lstrip()}{text[end:]}"
    group = f"dev = [\n{line}]\n"
    if header := re.search(r"^\[dependency-groups\][^\n]*\n", text, re.MULTILINE):
        return text[: header.end()] + group + text[header.end() :]
    return f"{text.rstrip()}\n\n[dependency-groups]\n{group}"


def find_array(text: str, table: str, key: str) -> tuple[int, int] | None:
    """Return where the inside of an array of strings begins and ends."""
    header = re.search(rf"^\[{re.escape(table)}\][^\n]*$", text, re.MULTILINE)
    if not header:
        return None
    after = re.compile(r"^\[", re.MULTILINE).search(text, header.end())
    last = after.start() if after else len(text)
    first = re.compile(rf"^{key}\s*=\s*\[", re.MULTILINE).search(text, header.end(), last)
    if not first:
        return None
    # Brackets in strings and comments do not end it.
    for token in re.compile(r""""[^"\n]*"|'[^'\n]*'|\#[^\n]*|\]""").finditer(text, first.end()):
        if token[0] == "]":
            return first.end(), token.start()
    return None


def render_old(answers_file: Path) -> str:
    """Return the old version's pyproject.toml of this project; empty if it is not from there."""
    from jinja2 import Environment, StrictUndefined, TemplateError

    answers = yaml.safe_load(answers_file.read_text("utf-8"))
    if answers.get("adopt"):
        return ""
    name = f"{os.environ['VERSION_FROM']}:template/project/{WIRING}.jinja"
    source = worktree.run_git(TEMPLATE, "cat-file", "blob", name)
    try:
        environment = Environment(  # noqa: S701  it renders TOML, not HTML
            undefined=StrictUndefined, keep_trailing_newline=True
        )
        return environment.from_string(source.stdout).render(answers)
    except TemplateError:
        return ""  # Copier merges it


def find_uses(root: Path) -> list[str]:
    """List the files that need dagmar where the project is deployed: no notebooks, tests or tasks.

    Definitions that import notebooks need what those import.
    """
    found = grep(root, "-lE", IMPORT, "*.py") + grep(root, "-lE", COMPONENT, "*.yaml", "*.yml")
    notebooks = grep(root, "-lE", r"marimo\.App\(", "*.py")
    return [
        name
        for name in found
        if name not in notebooks
        and name != "tasks.py"
        and not re.search(r"(^|/)(tests?/|test_[^/]*$|conftest\.py$)", name)
    ]


def find_mentions(root: Path) -> list[str]:
    """List the lines that still name the old place, as `file:line: text`."""
    return [line.replace(":", ": ", 1)[:160] for line in grep(root, "-nF", OLD, ".")][:20]


def grep(root: Path, flags: str, pattern: str, *names: str) -> list[str]:
    """Search the files that git knows, without the runner."""
    places = (*names, ":(exclude).dagmar", f":(exclude){OLD}", ":(exclude).copier-answers.yml")
    done = worktree.run_git(root, "grep", "-I", flags, "-e", pattern, "--", *places)
    return str(done.stdout).splitlines()


def say(text: str) -> None:
    """Print on stderr."""
    print(text, file=sys.stderr)
