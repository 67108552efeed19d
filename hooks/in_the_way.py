"""Finds the files that an update would overwrite or delete though git has no copy of them.

It asks the template: the names of its files tell which ones an update could touch, in a fraction of
a second; only if one of them is in doubt are the old and the new version rendered in a scratch
folder, and compared.
"""

from __future__ import annotations

import itertools
import os
import re
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import yaml
from runner import worktree

TEMPLATE = Path(__file__).parents[1]
ANSWERS = ".copier-answers.yml"
ONE_NAME = r"[^\x2f]+"  # without a slash, at which patterns are split


def list_in_the_way(
    root: Path, answers_file: Path, old: str, new: str = "HEAD", runner: str = ""
) -> list[str]:
    """List what an update between two versions of the template must not touch.

    Besides files without a copy, these are places where Copier would fail half-way: a file where
    it needs a folder, a folder where it needs a file, and a link that leads out of the project.
    """
    settings = yaml.safe_load((TEMPLATE / "copier.yml").read_text("utf-8"))
    never = [rule for rule in settings["_exclude"] if "{" not in rule]
    tree = worktree.read_worktree(root, [f"--exclude={rule}" for rule in never])
    kept = {rule.lstrip("/") for rule in settings["_skip_if_exists"] if "{" not in rule}
    # What Copier and `invoke update` write there themselves, from the answers that were there.
    kept |= {answers_file.as_posix(), ANSWERS}
    rejected = list_rejected(root)
    if not _touches((old, new), root, tree.saved, tree.unsaved - kept, answers_file):
        return rejected
    with tempfile.TemporaryDirectory(prefix="dagmar-update-") as scratch:
        before = _render(Path(scratch, "old"), root, answers_file, old)
        after = _render(Path(scratch, "new"), root, answers_file, new, runner)
        found = {
            place
            for name in {*before, *after} - kept
            if (place := _place(root, name, before, after, tree.saved))
        }
    return sorted({*rejected, *found})


def list_rejected(root: Path) -> list[str]:
    """List `.rej` files anywhere in the repository: Copier would take them for its own."""
    top = Path(worktree.run_git(root, "rev-parse", "--show-toplevel").stdout.rstrip("\n"))
    done = worktree.run_git(top, "ls-files", "--others", "-z", "--", "*.rej")
    return sorted(os.path.relpath(top / name, root) for name in worktree.entries(done))


def _touches(
    versions: Iterable[str],
    root: Path,
    saved: frozenset[str],
    unsaved: frozenset[str],
    answers_file: Path,
) -> bool:
    """Whether names in the template match a file without a copy, or one in place of a folder."""
    answers = yaml.safe_load((root / answers_file).read_text("utf-8"))
    own = {nb.get("folder") or "notebooks" for nb in answers.get("notebooks") or ()}
    files, folders = set[str](), set[str]()
    for version in versions:
        listed = ("ls-tree", "-r", "-z", "--name-only", version, "template/")
        for name in worktree.entries(worktree.run_git(TEMPLATE, *listed)):
            if not name.startswith(("template/project/", "template/notebook/")):
                continue
            for folder in own | {"notebooks"}:
                pattern = _pattern(name.split("/", 2)[2], answers_file, folder)
                files.add(pattern)
                steps = pattern.split("/")
                folders.update("/".join(steps[:count]) for count in range(1, len(steps)))
    file = re.compile("|".join(sorted(files)), re.IGNORECASE | re.DOTALL)
    above_it = re.compile("|".join(sorted(folders)), re.IGNORECASE | re.DOTALL)
    above = {name.rpartition("/")[0] for name in saved | unsaved} - {""}
    while more := {name.rpartition("/")[0] for name in above} - {""} - above:
        above |= more
    return (
        any(map(file.fullmatch, unsaved))
        or any(map(above_it.fullmatch, saved | unsaved))
        or any(map(file.fullmatch, above))
    )


def _pattern(name: str, answers_file: Path, folder: str) -> str:
    """Return a pattern of the paths that a file of the template can be written to.

    `folder` is one of notebooks; without it, each Python file could be one.
    """
    if not re.search(r"['{}]", folder):
        name = name.replace("nb.get('folder') or 'notebooks'", f"'{folder}'")
    name = name.removesuffix(".jinja")
    name = name.replace("{{ _copier_conf.answers_file }}", answers_file.as_posix())
    parts = re.split(r"\{\{ (.*?) \}\}", re.sub(r"\{%.*?%\}", "", name))
    return "".join(
        _value(part) if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )


def _value(expression: str) -> str:
    """Return a pattern of what an expression in a path can be: only `pathjoin` gives folders."""
    joined = re.fullmatch(r"pathjoin\((.*)\)", expression)
    if not joined:
        return ONE_NAME
    known = itertools.takewhile(re.compile("'[^']*'").fullmatch, joined[1].split(", "))
    folders = [re.escape(part.strip("'")) for part in known]
    rest = len(folders) < len(joined[1].split(", "))
    return "/".join([*folders, ".+"] if rest else folders)


def _render(
    scratch: Path, root: Path, answers_file: Path, version: str, runner: str = ""
) -> dict[str, bytes]:
    """Return the files of one version of the template, with the project's answers.

    `runner` is another answer to that question.
    """
    from copier import run_copy

    answers = yaml.safe_load((root / answers_file).read_text("utf-8"))
    answers |= {"runner": runner} if runner else {}
    source, out = scratch / "template", scratch / root.name
    source.mkdir(parents=True)
    archive = source.with_suffix(".tar")
    parts = ("--", "copier.yml", "template")
    worktree.run_git(TEMPLATE, "archive", f"--output={archive}", version, *parts).check_returncode()
    with tarfile.open(archive) as files:
        files.extractall(source)  # noqa: S202  git has just written it
    run_copy(
        str(source),
        out,
        data={name: answer for name, answer in answers.items() if not name.startswith("_")},
        answers_file=answers_file,
        defaults=True,
        overwrite=True,
        quiet=True,
        skip_tasks=True,
    )
    return {
        file.relative_to(out).as_posix(): file.read_bytes()
        for file in out.rglob("*")
        if file.is_file()
    }


def _place(
    root: Path,
    name: str,
    before: Mapping[str, bytes],
    after: Mapping[str, bytes],
    saved: frozenset[str],
) -> str:
    """Return what is in the way of this file of the template; an empty text if nothing is."""
    file = root / name
    for folder in _above(name):
        place = root / folder
        if place.is_symlink() and not place.resolve().is_relative_to(root.resolve()):
            return folder
        if os.path.lexists(place) and not place.is_dir():
            return folder if name in after else ""
    if not os.path.lexists(file):
        return ""
    if file.is_dir() and not file.is_symlink():
        return name if name in after else ""
    if file.is_symlink() and name not in after:
        return ""  # Copier removes no link
    real = (file.parent.resolve() / file.name).relative_to(root.resolve()).as_posix()
    if real in saved:
        return ""
    same = not file.is_symlink() and file.read_bytes() == after.get(name)
    return "" if same else name


def _above(name: str) -> Iterator[str]:
    """Yield the folders of a file, the outermost first."""
    steps = name.split("/")
    yield from ("/".join(steps[:count]) for count in range(1, len(steps)))
