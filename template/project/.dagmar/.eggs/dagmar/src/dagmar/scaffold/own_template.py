"""A user's own folder as the template of notebooks."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Mapping
from pathlib import Path

from dagmar.errors import DagmarError, Invalid, SetupError
from dagmar.project import templates

OWN = "own"
SHAPE = "notebook.jinja"


def combine(template: templates.Template, own: Path, to: Path) -> Path:
    """Copy the template with the user's folder in it: Jinja includes only files of one template."""
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
        message = f"the template folder {own} cannot be read: {error}"
        raise Invalid(message, "Check the files in it.") from None
    return to


def as_saved(
    texts: Mapping[Path, str], own: Path
) -> tuple[dict[Path, str], dict[Path, DagmarError]]:
    """Return these rendered notebooks as marimo would save them, and write them like that.

    The second are the errors of those that are not notebooks, or that `marimo check --strict` would
    not pass.
    """
    from dagmar.notebook.cells import Source
    from dagmar.notebook.checking import run_marimo_check

    output, hint = f"the output of the template {own}", f"Check {SHAPE} in {own}."
    saved: dict[Path, str] = {}
    errors: dict[Path, DagmarError] = {}
    for file, text in texts.items():
        if not Source(text, ast.parse(text)).is_notebook:
            errors[file] = Invalid(f"{output} is not a marimo notebook", hint)
            continue
        try:
            saved[file] = _save_until_stable(text)
        except Invalid as error:
            errors[file] = Invalid(f"{output}: {error.message}", hint)
            continue
        file.write_text(saved[file], "utf-8")
    names = {file.resolve(): file for file in saved}
    for real, findings in run_marimo_check([*names]).items():
        for finding in findings[:1]:
            where = f"{finding.message} ({real.name}, line {finding.line})"
            errors[names[real]] = Invalid(f"{output} does not pass marimo's check: {where}", hint)
    return saved, errors


def _save_until_stable(text: str) -> str:
    """Return the text that marimo leaves unchanged: each save removes one more blank line."""
    from dagmar.notebook.cells import canonical
    from dagmar.notebook.compatibility import guarded

    try:
        with guarded():
            while (saved := canonical(text)) != text:
                text = saved
    except SetupError:
        pass  # an untested marimo; `invoke check` says so
    return text
