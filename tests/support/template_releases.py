"""Throw-away releases of this repository's template, and projects made from them with real git."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from copier import run_copy, run_update
from dagmar.project.layout import NOTEBOOK_ANSWERS
from dagmar.project.templates import ANSWERS, write_origin
from support.git import commit, git

ROOT = Path(__file__).parents[2]
COPIED = ".dagmar/.eggs/dagmar"
RUNNER = f"template/project/{COPIED}"
SHELF = f"{RUNNER}/src/dagmar/scaffold"
NOTEBOOK_FILE = f"{SHELF}/cells/notebook.j2"
ORDERS = {"name": "orders", "asset": "raw/orders", "marimo": "0.25.2"}
SALES = {"name": "sales", "job": "sales_job", "marimo": "0.25.2"}


def tree(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder, but for git's own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files and the folders that they need."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


@dataclass
class Template:
    """A repository of the template's files, whose tags are releases."""

    path: Path

    def release(
        self,
        tag: str,
        edits: Mapping[str, tuple[str, str]] | None = None,
        files: Mapping[str, str] | None = None,
        removed: str = "",
    ) -> None:
        """Replace and add text, and tag the result."""
        for name, (old, new) in (edits or {}).items():
            text = (self.path / name).read_text("utf-8")
            assert old in text, f"{name} does not hold {old!r} any more"
            (self.path / name).write_text(text.replace(old, new), "utf-8")
        write(self.path, files or {})
        if removed:
            (self.path / removed).unlink()
        git(self.path, "add", "-A")
        git(self.path, "commit", "-q", "--allow-empty", "-m", tag)
        git(self.path, "tag", tag)

    def copy(self, to: Path, **options: Any) -> dict[str, Any]:
        """Run `copier copy` of a project and return its answers."""
        options = {"defaults": True, "quiet": True, "skip_tasks": True} | options
        return dict(run_copy(str(self.path), to, **options).answers.combined)

    def project(self, path: Path, **data: Any) -> Project:
        """Copy a project and commit it."""
        self.copy(path, data=data)
        git(path, "init", "-q", "-b", "main")
        project = Project(path, self)
        project.commit()
        return project


@dataclass
class Project:
    """A project made from a template, in git."""

    path: Path
    template: Template

    def duplicate(self, path: Path, template: Template) -> Project:
        """Return a copy, as if it were made from this copy of its template."""
        project = Project(shutil.copytree(self.path, path, symlinks=True), template)
        for file in (path / ANSWERS, *(path / NOTEBOOK_ANSWERS).glob("*.yml")):
            write_origin(file, str(template.path))
        git(path, "add", "-A")
        git(path, "commit", "-q", "--amend", "--no-edit")
        return project

    def read(self, name: str) -> str:
        """Read one file."""
        return (self.path / name).read_text("utf-8")

    def replace(self, name: str, old: str, new: str) -> None:
        """Edit one file as a user would."""
        assert old in self.read(name)
        write(self.path, {name: self.read(name).replace(old, new)})

    def commit(self) -> None:
        """Commit everything."""
        commit(self.path)

    def status(self) -> list[str]:
        """List what git finds changed."""
        return git(self.path, "status", "--porcelain", "-uall").splitlines()

    def answers(self, name: str = ".copier-answers.yml") -> dict[str, Any]:
        """Read an answers file."""
        answers: dict[str, Any] = yaml.safe_load(self.read(name))
        return answers

    def scaffold(self, *notebooks: Mapping[str, str], **options: Any) -> None:
        """Make notebooks in one Copier run; `invoke scaffold` makes the same."""
        self.template.copy(
            self.path,
            data={"kind": "notebook", "notebooks": list(notebooks)},
            answers_file=".dagmar/tmp/scaffold.yml",
            **options,
        )

    def update(self, answers_file: str = ".copier-answers.yml", quiet: bool = True) -> None:
        """Run `copier update`."""
        run_update(
            self.path,
            answers_file=answers_file,
            defaults=True,
            overwrite=True,
            quiet=quiet,
            unsafe=True,
        )
