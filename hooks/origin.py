"""Remembers the template's remote for updates: a clone is a folder of one machine only."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from runner import worktree

TEMPLATE = Path(__file__).parents[1]
ANSWERS = Path(".copier-answers.yml")
SOURCE_LINE = re.compile(r"^_src_path:.*(?:\n[ \t]+.*)*$", re.MULTILINE)
PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")


def remember_template() -> str:
    """Store the remote of the template's clone, or the clone's absolute path; return a remark."""
    answers = yaml.safe_load(ANSWERS.read_text("utf-8"))
    source, version = str(answers["_src_path"]), str(answers.get("_commit") or "")
    if not is_local(source):
        return ""
    folder = find_clone(source, version)
    place = find_remote(folder, version) or str(folder)
    if place != source:
        for file in (ANSWERS, *Path(".dagmar/notebooks").glob("*.yml")):
            text = file.read_text("utf-8")
            line = f"_src_path: {json.dumps(place, ensure_ascii=False)}"
            file.write_text(SOURCE_LINE.sub(lambda _: line, text, count=1), "utf-8")  # noqa: B023
    if is_local(place):
        return (
            f"Updates look for the template in {place}. Who does not have it there names another "
            "place of it:\n  uv run invoke update --from URL"
        )
    return f"Updates look for the template at {place}, the remote of {folder}."


def is_local(place: str) -> bool:
    """Whether a Copier source is a folder of this machine."""
    return "://" not in place and not re.match(r"(gh|gl|git\+\w+):|[^/\s]+@[^/\s]+:", place)


def find_clone(source: str, version: str) -> Path:
    """Return the folder that Copier took the template from, also if it was given relatively.

    Copier runs hooks in a clone of it, whose remote is that folder, or in a folder without git.
    """
    place = Path(source).expanduser()
    if place.is_absolute() or not version:
        return place if place.is_absolute() else TEMPLATE
    return Path(worktree.run_git(TEMPLATE, "remote", "get-url", "origin").stdout.strip())


def find_remote(folder: Path, version: str) -> str:
    """Return the URL of a remote that has this version, without credentials; empty if none has."""
    if not version:
        return ""
    done = worktree.run_git(folder, "branch", "--remotes", "--contains", f"{version}^{{commit}}")
    names = [line.strip().partition("/")[0] for line in done.stdout.splitlines()]
    for name in sorted(set(names), key=lambda name: (name != "origin", name)):
        url = worktree.run_git(folder, "remote", "get-url", name).stdout.strip()
        if url and not is_local(url):
            return PASSWORD.sub("", url)
    return ""
