"""A folder of the user's own as a template for notebooks."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Mapping
from pathlib import Path

from dagmar.errors import Invalid, SetupError
from dagmar.project import templates

OWN = "own"
SHAPE = "notebook.jinja"


def beside_ours(template: templates.Template, own: Path, to: Path) -> Path:
    """Put the user's folder beside our cells: Jinja includes nothing from outside a template."""
    if template.commit:
        templates.git(to.parent, "clone", "--quiet", "--no-checkout", str(template.path), to.name)
        templates.git(to, "checkout", "--quiet", template.commit, "--", "copier.yml", "template")
        shutil.rmtree(to / ".git")
    else:
        shutil.copytree(template.path, to, ignore=shutil.ignore_patterns(".git"))
    try:
        shutil.copytree(
            own,
            to / "template" / "cells" / OWN,
            ignore=shutil.ignore_patterns(".git", ".venv", ".dagmar", "__pycache__"),
            ignore_dangling_symlinks=True,
        )
        shutil.copy2(own / SHAPE, to / "template" / "shapes" / f"{OWN}.jinja")
    except OSError as error:
        raise Invalid(
            f"the template folder {own} cannot be read: {error}", "Look at the files in it."
        ) from None
    return to


def as_saved(texts: Mapping[Path, str], own: Path) -> dict[Path, str]:
    """Return what the user's template made in these files, as marimo would save it.

    The files are written like that, too. Raises Invalid where one is no notebook, or one that
    `marimo check --strict` would not pass.
    """
    from dagmar.notebook.cells import Source
    from dagmar.notebook.checking import run_marimo_check

    where = f"Look at {SHAPE} in {own}."
    saved = {}
    for file, text in texts.items():
        if not Source(text, ast.parse(text)).is_notebook:
            raise Invalid(f"the template {own} makes no marimo notebook", where)
        try:
            saved[file] = _settled(text)
        except Invalid as error:
            raise Invalid(f"what the template {own} makes: {error}", where) from None
        file.write_text(saved[file], "utf-8")
    for file, findings in run_marimo_check([file.resolve() for file in texts]).items():
        for finding in findings:
            raise Invalid(
                f"what the template {own} makes does not pass marimo's check: "
                f"{finding.message} ({file.name}, line {finding.line})",
                where,
            )
    return saved


def _settled(text: str) -> str:
    """Return the text that marimo leaves as it is: each save takes one more blank line away."""
    from dagmar.notebook.cells import canonical
    from dagmar.notebook.compatibility import guarded

    try:
        with guarded():
            while (saved := canonical(text)) != text:
                text = saved
    except SetupError:
        pass  # a marimo that dagmar does not know; `invoke check` says so
    return text
