"""The checks of `invoke doctor` as objects, and the facts about a project that they share.

A check is one small function: it returns a `Finding`, or raises `Skip` if there is nothing to
check. Any other exception becomes a finding too: a broken project must not stop the doctor.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dagmar.errors import DagmarError, SetupError, Unreachable
from dagmar.orchestration.probe import Broken, find_broken
from dagmar.project.installing import add_command, installed_version, run_command, sync_command
from dagmar.project.layout import relative
from dagmar.project.locations import Workspace, check_command
from dagmar.project.survey import survey

if TYPE_CHECKING:
    from dagmar.project.settings import Settings, Target
    from dagmar.server.catalog import Item
    from dagmar.server.client import DagsterClient

PASS, WARN, FAIL, SKIP = "pass", "warn", "fail", "skip"
# A hanging server or disk must not hang the doctor: seconds for one connection, for one answer,
# and for one call of git. Calls that hang at the same time share the wait.
CONNECT_SECONDS, READ_SECONDS, GIT_SECONDS = 0.8, 2.0, 1.5

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """What a check found, and how to correct it, as in a `DagmarError`."""

    status: str
    message: str
    hint: str = ""
    command: str = ""


def passed(message: str) -> Finding:
    """Return what a check says that found nothing wrong."""
    return Finding(PASS, message)


def warned(message: str, hint: str = "", command: str = "") -> Finding:
    """Return what stops nothing today, and how to correct it."""
    return Finding(WARN, message, hint, command)


def failed(message: str, hint: str = "", command: str = "") -> Finding:
    """Return what stops something, and how to correct it."""
    return Finding(FAIL, message, hint, command)


class Skip(Exception):
    """There is nothing to check; the message says why."""


@dataclass(frozen=True)
class Check:
    """One check; `fix` is safe and returns what it did, `online` ones wait for other machines."""

    name: str
    about: str
    look: Callable[[Project], Finding]
    fix: Callable[[Project], str] | None = None
    online: bool = False

    def __call__(self, project: Project) -> Finding:
        """Run the check, and turn any exception into a finding."""
        try:
            return self.look(project)
        except Skip as reason:
            return Finding(SKIP, str(reason))
        except DagmarError as error:
            return failed(error.message, error.hint, error.command)
        except ModuleNotFoundError as error:
            package = (error.name or "a package").partition(".")[0]
            return failed(f"{package} is not installed", command=project.install)
        except ImportError:  # another thread failed to import the module
            return failed("a package that this check needs does not load", command=project.install)
        except Exception as error:  # a check that crashes is one more finding
            (line, *_) = str(error).strip().splitlines() or [""]
            hint = f"Leave out '{self.name}': `invoke doctor --list` shows the other names."
            return failed(f"this check crashed: {type(error).__name__}: {line}".rstrip(": "), hint)


def check(
    name: str, fix: Callable[[Project], str] | None = None, online: bool = False
) -> Callable[[Callable[[Project], Finding]], Check]:
    """Make a check of a function; the first line of its docstring is what `--list` shows."""

    def decorate(look: Callable[[Project], Finding]) -> Check:
        about = inspect.cleandoc(look.__doc__ or "").partition("\n")[0]
        return Check(name, about, look, fix, online)

    return decorate


class Fact(Generic[T]):
    """A property that is computed once, by whichever thread is first; exceptions are kept too."""

    def __init__(self, look: Callable[[Any], T]) -> None:
        self._look = look

    def __get__(self, project: Project, kind: type) -> T:
        own = Future[T]()
        kept: Future[T] = project.facts.setdefault(self._look.__name__, own)  # atomic
        if kept is own:
            try:
                own.set_result(self._look(project))
            except BaseException as error:  # other checks must not wait forever
                own.set_exception(error)
        return kept.result()


@dataclass
class Project:
    """The project in `root` and its surroundings, which tests replace."""

    root: Path
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    version: Callable[[str], str | None] = installed_version
    find_broken: Callable[[Path, Workspace, Mapping[str, str]], Broken] = find_broken
    python: tuple[int, ...] = tuple(sys.version_info[:3])
    prefix: str = sys.prefix
    facts: dict[str, Future[Any]] = field(default_factory=dict, repr=False)

    @property
    def install(self) -> str:
        """The command that installs what is missing."""
        return sync_command(self.root, self.environ)

    def add(self, *requirements: str) -> str:
        """Return the command that adds requirements; Dagster's own packages fit the installed."""
        known = self.version("dagster") or ""
        return add_command(*requirements, root=self.root, environ=self.environ, dagster=known)

    def run(self, command: str) -> str:
        """Return a command as it is typed to run in the project's environment."""
        return run_command(command, survey(self.root, self.environ))

    @property
    def check_command(self) -> str:
        """The command that shows whether the definitions load."""
        return check_command(self.root)

    def git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run git in the project. Raises SetupError if it is missing, or has timed out once."""
        from dagmar.project import templates

        if "git" in self.facts:
            self.facts["git"].result()
        try:
            return templates.git(self.root, *arguments, timeout=GIT_SECONDS)
        except SetupError as error:
            self.facts["git"] = known = Future[Any]()
            known.set_exception(error)
            raise

    def committed(self, name: str) -> bool:
        """Whether the last commit has a file of this name, relative to the project."""
        return self.in_git and not self.git("cat-file", "-e", f"HEAD:./{name}").returncode

    @Fact
    def in_git(self) -> bool:
        """Whether the project is in a repository that git is willing to read."""
        try:
            return self.git("rev-parse", "--is-inside-work-tree").stdout.strip() == "true"
        except SetupError:
            return False

    def require_git(self) -> None:
        """Raise Skip outside a repository."""
        if not self.in_git:
            raise Skip("the project is not in git")

    @Fact
    def settings(self) -> Settings:
        """The settings. Raises Skip if they are not valid, which one check reports."""
        from dagmar.project.settings import load

        try:
            return load(self.root, self.environ)
        except (DagmarError, ImportError):
            raise Skip("the settings are not valid; see 'settings'") from None

    @property
    def notebooks(self) -> Path:
        """The folder of the notebooks; the default if the settings cannot be read."""
        try:
            return self.settings.notebooks
        except Skip:
            return self.root / "notebooks"

    @Fact
    def target(self) -> Target:
        """The target of the settings, with short limits. Raises Skip if it is not complete."""
        try:
            target = self.settings.target()
        except DagmarError:
            raise Skip("the target is not complete; see 'targets'") from None
        connect, read = target.timeouts
        limits = (min(connect, CONNECT_SECONDS), min(read, READ_SECONDS))
        return replace(target, timeouts=limits)

    def connect(self) -> DagsterClient:
        """Return a client of the target, one for each check: a session is for one thread."""
        from dagmar.server.client import DagsterClient

        return DagsterClient(self.target)

    @Fact
    def workspace(self) -> Item:
        """The server's version and code locations; raises what the client raises."""
        from dagmar.server.client import member
        from dagmar.server.reach import require_listening

        require_listening(self.target)
        with self.connect() as client:
            answer = client.query("Workspace")
        member(answer["workspaceOrError"], "Workspace")
        return answer

    def require_server(self) -> None:
        """Raise Skip if Dagster does not answer, which one check reports."""
        try:
            self.workspace  # noqa: B018  asks once
        except Unreachable:
            raise Skip("Dagster does not answer; see 'server'") from None
        except (DagmarError, ImportError):
            raise Skip("Dagster cannot be asked; see 'server'") from None

    def relative(self, file: Path) -> str:
        """Return a path as the user would type it in the project."""
        return relative(file, self.root)


def unwritable(folder: Path) -> str:
    """Return why a folder cannot be written to, or an empty text."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)
