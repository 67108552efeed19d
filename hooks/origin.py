"""Remembers the template's remote for updates: a clone is a folder of one machine only."""

from __future__ import annotations

from pathlib import Path

import yaml
from runner import TEMPLATE, installing, surveys, templates, worktree

ANSWERS = Path(".copier-answers.yml")


def remember_template() -> str:
    """Store the remote of the template's clone, or the clone's absolute path; return a remark."""
    answers = yaml.safe_load(ANSWERS.read_text("utf-8"))
    source, version = str(answers["_src_path"]), str(answers.get("_commit") or "")
    folder = None
    if templates.is_local(source):
        folder = find_clone(source, version)
        place = find_remote(folder, version) or str(folder)
    else:
        place = templates.masked(source)
    if place != source:
        for file in (ANSWERS, *Path(".dagmar/notebooks").glob("*.yml")):
            templates.write_origin(file, place)
    if not folder:
        what = "without the credentials that you gave: git has to find them"
        return f"Updates look for the template at {place}, {what}." if place != source else ""
    if templates.is_local(place):
        command = installing.run_command("invoke update --from URL", surveys.survey(Path.cwd()))
        return (
            f"Updates look for the template in {place}. Who does not have it there names another "
            f"place of it:\n  {command}"
        )
    return f"Updates look for the template at {place}, the remote of {folder}."


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
        if url and not templates.is_local(url):
            return templates.masked(url)
    return ""
