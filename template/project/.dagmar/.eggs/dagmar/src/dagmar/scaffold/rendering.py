"""Notebooks rendered from the templates in this folder.

Copier renders the same files in an update, with the same result; without Copier it takes no time.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.errors import Invalid
from dagmar.files import UNREADABLE

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

TEMPLATES = ("default", "minimal", "ml", "report", "stats")
OWN = "own"
SELECTION = "selection"
"""The template of a notebook for a whole selection."""
SHAPE = "notebook.jinja"
CORRECT_IT = "Correct the template, then try again."
FOLDER = Path(__file__).parent


class Renderer:
    """Renders notebooks, from the user's own folder `own` if there is one.

    A name in `include` is `cells/NAME.j2`, or `cells/own/NAME.j2` for a file of that folder. The
    names of older versions, `template/cells/NAME.jinja`, mean the same.
    """

    def __init__(self, own: Path | None = None) -> None:
        self._own = own

    def notebook(self, answers: Mapping[str, Any]) -> str:
        """Return the notebook of these answers. Raises Invalid if its template does not render."""
        return self._render(f"shapes/{answers.get('template') or 'default'}.j2", nb=answers)

    def answers_file(self, answers: Mapping[str, Any], source: Mapping[str, str]) -> str:
        """Return its answers file; `source` is the template as Copier's answers name it."""
        return self._render("cells/answers.j2", nb=answers, _copier_answers=source)

    def _render(self, name: str, **context: object) -> str:
        from jinja2 import TemplateError

        try:
            text = self._environment.get_template(name).render(context)
            text.encode()  # half of a surrogate pair cannot be written
        except TemplateError as error:
            file, line = getattr(error, "filename", None), getattr(error, "lineno", None)
            where = _where(file, line) if file and line else _last_template(error)
            raise Invalid(f"the template does not render: {error}{where}", CORRECT_IT) from None
        except OSError as error:
            raise Invalid(f"the template cannot be read: {error}", CORRECT_IT) from None
        # What an expression in a template can raise, and reading a file that is not text.
        except UNREADABLE as error:
            where = _last_template(error)
            if not where and not isinstance(error, UnicodeError):
                raise
            message = f"the template does not render: {type(error).__name__}: {error}{where}"
            raise Invalid(message, CORRECT_IT) from None
        return text

    @cached_property
    def _environment(self) -> SandboxedEnvironment:
        """The environment that Copier has with the settings in copier.yml."""
        from jinja2 import FunctionLoader, StrictUndefined
        from jinja2.sandbox import SandboxedEnvironment

        environment = SandboxedEnvironment(
            extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"],
            keep_trailing_newline=True,
            loader=FunctionLoader(self._load),
            undefined=StrictUndefined,
        )
        environment.globals["scaffold"] = ""  # in Copier, the path of FOLDER in the template
        return environment

    def _load(self, name: str) -> tuple[str, str, None] | None:
        """Return the text of a template and its file, or None if there is none."""
        short = re.fullmatch(r"(?:template/)?(cells|shapes)/(.+)\.(?:j2|jinja)", name)
        if not short or ".." in short[2].split("/"):
            return None
        kind, stem = short.groups()
        file = FOLDER / kind / f"{stem}.j2"
        if self._own and (kind, stem) == ("shapes", OWN):
            file = self._own / SHAPE
        elif self._own and kind == "cells" and stem.startswith(f"{OWN}/"):
            file = self._own / f"{stem.removeprefix(f'{OWN}/')}.jinja"
        return (file.read_text("utf-8"), str(file), None) if file.is_file() else None


def _where(file: str, line: int) -> str:
    return f" ({Path(file).name}, line {line})"


def _last_template(error: BaseException) -> str:
    """Return the place of the last template in the traceback, or an empty text."""
    steps = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename.endswith((".jinja", ".j2"))
    ]
    return _where(*steps[-1]) if steps else ""
