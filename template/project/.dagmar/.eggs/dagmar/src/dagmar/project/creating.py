"""Projects made, and repositories adopted, from the template that is in the installed package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import metadata
from pathlib import Path

from dagmar.errors import SetupError
from dagmar.project.templates import as_stored, copier_errors

TEMPLATE = Path(__file__).parents[1] / "_template"
"""Where the package has the template. A runner that was copied into a project has none."""


def create(path: Path, origin: str, data: Mapping[str, str], ask: bool) -> None:
    """Make a project in `path`, or adopt the one that is there.

    `origin` is where updates look for the template, by default the address of the package's
    repository; `data` are answers, and the rest is asked for or has its default.
    Raises SetupError without a template, and what `copier_errors` does.
    """
    if not (TEMPLATE / "copier.yml").is_file():
        message = "this dagmar is the copy in a project, which does not have the template"
        raise SetupError(message, command="uvx --from 'dagmar[cli]' dagmar init")
    package = metadata("dagmar")
    if not origin:
        (origin,) = (
            url.partition(", ")[2]
            for url in package.get_all("Project-URL", [])
            if url.startswith("Repository")
        )
    installed = {"_commit": f"v{package['Version']}", "_src_path": as_stored(origin)}
    with copier_errors():
        from copier import run_copy

        answers = {**data, "installed": installed}
        run_copy(str(TEMPLATE), path, data=answers, defaults=not ask, unsafe=True)
