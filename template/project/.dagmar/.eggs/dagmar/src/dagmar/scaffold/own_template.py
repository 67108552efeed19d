"""A user's own folder as the template of notebooks."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from dagmar.errors import DagmarError, Invalid, SetupError
from dagmar.notebook.cells import parse_source
from dagmar.project.layout import SCAFFOLD_PREFIX, SCRATCH, make_folder
from dagmar.scaffold.rendering import SHAPE

SAVES = 20
"""After how many times something in the text grows with each, such as the spaces in a string."""


def as_saved(
    texts: Mapping[Path, str], own: Path, root: Path
) -> tuple[dict[Path, str], dict[Path, DagmarError]]:
    """Return these rendered notebooks as marimo would save them.

    The second are the errors of those that are not notebooks, or that `marimo check --strict` would
    not pass.
    """
    from dagmar.notebook.checking import run_marimo_check

    output, hint = f"the output of the template {own}", f"Check {SHAPE} in {own}."
    saved: dict[Path, str] = {}
    errors: dict[Path, DagmarError] = {}
    for file, text in texts.items():
        if not parse_source(text, file.name).is_notebook:
            errors[file] = Invalid(f"{output} is not a marimo notebook", hint)
            continue
        try:
            saved[file] = save_until_stable(text)
        except Invalid as error:
            errors[file] = Invalid(f"{output}: {error.message}", hint)
    scratch = root / SCRATCH
    make_folder(scratch)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=SCAFFOLD_PREFIX) as folder:
        names = {(Path(folder) / file.name).resolve(): file for file in saved}
        for place, file in names.items():
            place.write_text(saved[file], "utf-8")
        for place, findings in run_marimo_check([*names]).items():
            for finding in findings[:1]:
                where = f"{finding.message} ({place.name}, line {finding.line})"
                message = f"{output} does not pass marimo's check: {where}"
                errors[names[place]] = Invalid(message, hint)
    return saved, errors


def save_until_stable(text: str) -> str:
    """Return the text that marimo leaves unchanged: each save removes one more blank line."""
    from dagmar.notebook.cells import canonical
    from dagmar.notebook.compatibility import guarded

    try:
        with guarded():
            for _ in range(SAVES):
                text, before = canonical(text), text
                if text == before:
                    break
    except SetupError:
        pass  # an untested marimo; `invoke check` says so
    return text
