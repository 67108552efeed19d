"""Projects made, and repositories adopted, from the template that is in the installed package."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import metadata
from pathlib import Path

from dagmar import console
from dagmar.errors import Conflict, Interrupted, Invalid, SetupError, did_you_mean
from dagmar.project import templates, worktree

TEMPLATE = Path(__file__).parents[1] / "_template"
"""Where the package has the template. A runner that was copied into a project has none."""
_STEP = re.compile(r" *(create|identical|conflict|skip|overwrite|> Running task)  ?\S")


def create(path: Path, origin: str, data: Mapping[str, str], ask: bool) -> None:
    """Make a project in `path`, or adopt the one that is there.

    `origin` is where updates look for the template, by default the address of the package's
    repository; `data` are answers, and the rest is asked for or has its default.
    Raises SetupError without a template, for an `origin` without the package's version and for a
    folder that cannot be written, Conflict for a project that has dagmar, Invalid for an unknown
    answer, Interrupted, and what `copier_errors` does.
    """
    if not (TEMPLATE / "copier.yml").is_file():
        message = "this dagmar is the copy in a project, which does not have the template"
        raise SetupError(message, command="uvx --from 'dagmar[cli]' dagmar init")
    with templates.copier_errors():  # a folder that cannot be read
        _check(path, data)
    package = metadata("dagmar")
    version, unreached = f"v{package['Version']}", ""
    place = templates.as_stored(origin or _published(package.get_all("Project-URL", [])))
    if origin or shutil.which("git"):  # without it, the hook says what to install
        try:
            templates.find_version(place, version)
        except SetupError as error:
            if origin:
                raise
            unreached = error.message
    answers = {**data, "installed": {"_commit": version, "_src_path": place}}
    steps = _Steps(path)
    try:
        with templates.copier_errors(), contextlib.redirect_stderr(steps):
            from copier import run_copy

            run_copy(str(TEMPLATE), path, data=answers, defaults=not ask, unsafe=True)
    except KeyboardInterrupt:
        if steps.into_nothing:
            _clear(path)
        nothing = steps.into_nothing is not False
        message = "interrupted: nothing was created" if nothing else "interrupted"
        raise Interrupted(message, "To go on, type the same command again.") from None
    if unreached:
        command = console.pasteable(
            "To name another place for updates, type in the project:", "invoke update --from URL"
        )
        console.warn(f"{unreached}\n  {command}")


def _check(path: Path, data: Mapping[str, str]) -> None:
    """Refuse a place that cannot become a project, and answers to no question."""
    import yaml

    occupied = next((folder for folder in (path, *path.parents) if folder.exists()), path)
    if not occupied.is_dir():
        raise Conflict(f"{occupied} is a file, not a folder", "Name a folder:", "dagmar init PATH")
    questions = yaml.safe_load((TEMPLATE / "copier.yml").read_text("utf-8"))
    for name in data:
        if name not in questions or name.startswith("_"):
            message = f"the template has no question '{name}'{did_you_mean(name, questions)}"
            known = ", ".join(name for name in questions if not name.startswith("_"))
            raise Invalid(message, f"The questions: {known}.")
    with contextlib.suppress(FileNotFoundError):  # without the folder, or without git
        done = worktree.run_git(
            path, "ls-files", "--error-unmatch", templates.ANSWERS, "dagmar.yaml"
        )
        if not done.returncode:
            message = f"dagmar is in {path.resolve()} already"
            raise Conflict(message, "For a newer version, type there:", "invoke update")


def _published(urls: list[str]) -> str:
    """Return the address of the package's repository, from its metadata."""
    (url,) = (url.partition(", ")[2] for url in urls if url.startswith("Repository"))
    return url


def _clear(path: Path) -> None:
    """Remove what was created in a folder that was empty or not there."""
    for inner in path.glob("*"):
        shutil.rmtree(inner) if inner.is_dir() and not inner.is_symlink() else inner.unlink()
    with contextlib.suppress(OSError):
        path.rmdir()


class _Steps(io.TextIOBase):
    """What Copier prints on stderr, without a line for each file."""

    into_nothing: bool | None = None
    """Whether the folder was empty when the last question was answered; None before that."""

    def __init__(self, path: Path) -> None:
        self._stream, self._line, self._path = sys.stderr, "", path

    def write(self, text: str) -> int:
        """Print the lines that are not about one file."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            plain = console.COLOR.sub("", line)
            if plain.startswith("Copying from template"):
                self.into_nothing = not (self._path.exists() and any(self._path.iterdir()))
                plain = f"Writing into {self._path.resolve()}"
            if plain.strip() and not _STEP.match(plain):
                console.write(plain, self._stream)
        return len(text)

    def isatty(self) -> bool:
        """Whether the user sees it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's own, for programs that Copier starts."""
        return self._stream.fileno()
