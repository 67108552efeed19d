"""The template that this project was generated from: the answers that name it, and its clone.

Only an update needs the clone, in `.dagmar/cache`. Its name ends in `.git`, by which Copier
recognizes a bare repository.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagmar.errors import Conflict, Invalid, SetupError, UsageError
from dagmar.files import UNREADABLE, expanded, unusable, write_atomically
from dagmar.project.layout import CACHE, NOTEBOOK_ANSWERS, make_folder
from dagmar.project.worktree import FOREIGN, read_file, run_git

ANSWERS = ".copier-answers.yml"
COPY_AGAIN = "uvx copier copy --trust /path/to/dagmar ."
SHORTCUTS = {"gh": "https://github.com/{}.git", "gl": "https://gitlab.com/{}.git"}
# The status of the template's hook for a file that git has no copy of.
IN_THE_WAY = 8
NO_SUCH_TAG = 2  # the status of `git ls-remote --exit-code`
REACH_S = 20  # for a question to a remote
# Its status for edits of the runner that a project would lose with its copy.
EDITED = 9
COPY, PACKAGE = RUNNERS = ("copy", "package")
"""What a project has: a copy of the runner in its repository, or a dependency on the package."""
FAULTY = "This is a fault of the template: report it to those who maintain it."
ELSEWHERE = "If the template is somewhere else, name its URL or path:"
UNREAD = "fatal: Could not read from remote repository."
LOGIN = re.compile(r"[^/]*@|[^/:\[]*:(?!\d*(?:[/?#]|$)).*@")
"""What is before the host in an address; a password that is not escaped may have a slash in it."""
LITERAL = ("file", "git", "ssh")
"""The schemes in whose paths a ? and a # mean nothing else."""
ADDRESS = re.compile(r"[\w.+-]+://[^\s'\"]+")
SOURCE_LINE = re.compile(r"^_src_path:.*(?:\n[ \t]+.*)*$", re.MULTILINE)


@dataclass(frozen=True)
class Template:
    """Where the template is, and the version that the project is on.

    `path` is the clone in the cache, or the template's own folder if that is not a repository;
    `commit` is empty then, and what was generated from it cannot be updated.
    """

    origin: str = field(repr=False)
    commit: str
    path: Path


def read_answers(file: Path) -> dict[str, Any]:
    """Read an answers file. Raises Invalid if it is not one."""
    import yaml

    name = _named(file)
    try:
        answers = yaml.safe_load(file.read_text("utf-8"))
        bad = [*unusable(answers)]
    except (OSError, yaml.YAMLError, *UNREADABLE) as error:
        reason = type(error).__name__
        raise Invalid(f"{name} cannot be read: {reason}", *restoring(file)) from None
    if bad or not isinstance(answers, dict) or not isinstance(answers.get("_src_path"), str):
        raise Invalid(f"{name} is not an answers file", *restoring(file))
    return answers


def restoring(file: Path) -> tuple[str, str]:
    """Return a hint and the command with which an answers file is as before; one may be empty."""
    with contextlib.suppress(OSError):  # no git, or no folder
        if read_file(file.parent, "HEAD", file.name) is not None:
            return "", f"git checkout HEAD -- {shlex.quote(_named(file))}"
    if file.name == ANSWERS:
        return "Git has no copy of it. To write it again, type:", COPY_AGAIN
    return "Git has no copy of it: remove it, then scaffold the notebook again.", ""


def _named(file: Path) -> str:
    return file.name if file.name == ANSWERS else f"{NOTEBOOK_ANSWERS}/{file.name}"


def is_package(root: Path) -> bool:
    """Whether the project depends on the package, and has no copy of the runner."""
    try:
        return runner_of(read_answers(root / ANSWERS)) == PACKAGE
    except Invalid:
        return False


def runner_of(answers: Mapping[str, Any]) -> str:
    """Return what a project has by its answers, which older ones do not say."""
    return PACKAGE if answers.get("runner") == PACKAGE else COPY


def notebooks_in(answers: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the answers for each notebook in an answers file; None if it does not hold such."""
    listed = answers.get("notebooks")
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        return None
    return listed if all(isinstance(entry.get("name"), str) for entry in listed) else None


def made_from(root: Path, name: str) -> tuple[Path | None, str]:
    """Return the answers file of a notebook, if any, and the template that it names, if any."""
    file = root / NOTEBOOK_ANSWERS / f"{name}.yml"
    if not file.is_file():
        return None, ""
    try:
        return file, str(read_answers(file)["notebooks"][0]["template"])
    except (Invalid, LookupError, TypeError):
        return file, ""


def open_template(root: Path, place: str = "") -> Template:
    """Return the template at the version that the project in `root` is on.

    Clones it the first time, and fetches later ones.
    `place` is a URL or a path of it, instead of the one that the project was generated from.
    Raises SetupError if the project was not generated by Copier, or the template does not exist.
    """
    if not (root / ANSWERS).is_file():
        message = f"there is no {ANSWERS}, so the template of this project is not known"
        raise SetupError(message, "Generate the project with `copier copy`.")
    answers = read_answers(root / ANSWERS)
    origin, commit = place or answers["_src_path"], str(answers.get("_commit") or "")
    if place and is_local(place):
        origin = as_stored(place)
    folder = root / expanded(origin)
    if not commit:
        if not (folder / "copier.yml").is_file():
            raise _not_there(origin)
        return Template(origin, "", folder)
    mark = hashlib.sha256(masked(origin).encode()).hexdigest()[:12]
    clone = root / CACHE / f"template-{mark}.git"
    address = str(folder.resolve()) if folder.exists() else _address(origin)
    if is_local(origin) and not folder.exists():
        raise _not_there(origin)
    if not (clone / "HEAD").is_file():
        _clone(address, clone, origin)
    else:
        every = ("--prune", "--tags", "--force", "--", address, "+refs/*:refs/*")
        try:
            _reach(origin, clone, "fetch", "--quiet", *every)
        finally:
            (clone / "FETCH_HEAD").unlink(missing_ok=True)  # which has the address
    if not has_version(clone, commit):
        message = f"the template at {masked(origin)} has no version {commit}"
        shallow = git(clone, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
        if shallow and folder.exists():
            command = f"git -C {shlex.quote(address)} fetch --unshallow --tags"
            raise SetupError(f"{message}: it is a shallow clone", command=command)
        hint, command = f"Push its tags there. {ELSEWHERE}", "invoke update --from URL"
        if re.search(r"-g[0-9a-f]+$", commit):
            what = "A project from a checkout with uncommitted changes cannot be updated"
            hint, command = f"{what}: generate it again from a tag.", ""
        raise SetupError(f"{message}, which this project was generated from", hint, command)
    return Template(masked(origin) if place else origin, commit, clone)


def find_version(place: str, version: str) -> None:
    """Raise SetupError unless a place of the template has the tag of a version."""
    address = place if is_local(place) else _address(place)
    wanted = ("ls-remote", "--exit-code", "--", address, f"refs/tags/{version}")
    done = git(Path.cwd(), *wanted, timeout=REACH_S)
    message = f"the template at {masked(place)}"
    if done.returncode == NO_SUCH_TAG:
        raise SetupError(
            f"{message} has no version {version}, which updates start from",
            "Push its tags there, or name another place:",
            "dagmar init --from URL",
        )
    if done.returncode:
        raise SetupError(
            f"{message} cannot be reached: {last_line(done)}",
            "Check the network, or name another place:",
            "dagmar init --from URL",
        )


def as_stored(place: str) -> str:
    """Return a place of the template for answers: an absolute path, or a masked address."""
    return str(expanded(place).resolve()) if is_local(place) else masked(place)


def write_origin(file: Path, origin: str) -> None:
    """Write another place of the template into an answers file, and leave the rest as it is.

    As Copier writes it, since another layout of the line would be a conflict in an update.
    """
    import yaml

    line = yaml.safe_dump({"_src_path": origin}, allow_unicode=True).rstrip("\n")
    write_atomically(file, SOURCE_LINE.sub(lambda _: line, file.read_text("utf-8"), count=1))


def _clone(address: str, clone: Path, origin: str) -> None:
    """Clone into a folder next to `clone` and move it there, so that half a clone is never used."""
    import shutil
    import tempfile

    make_folder(clone.parent)
    scratch = Path(tempfile.mkdtemp(dir=clone.parent, prefix=".template-"))
    try:
        _reach(origin, scratch, "clone", "--quiet", "--mirror", "--", address, ".")
        git(scratch, "remote", "set-url", "origin", masked(address))
        if not (clone / "HEAD").is_file():
            shutil.rmtree(clone, ignore_errors=True)
        try:
            scratch.replace(clone)
        except OSError:
            # Another process was faster, and its clone is as good.
            if not (clone / "HEAD").is_file():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def is_local(origin: str) -> bool:
    """Whether a Copier source is a folder of this machine."""
    return "://" not in origin and not re.match(r"(gh|gl|git\+\w+):|[^/\s]+@[^/\s]+:", origin)


def _address(origin: str) -> str:
    """Return the address that git understands for a Copier source."""
    scheme, _, path = origin.partition(":")
    if scheme in SHORTCUTS and not path.startswith("//"):
        return SHORTCUTS[scheme].format(path.removesuffix(".git"))
    return origin.removeprefix("git+")


def has_version(clone: Path, commit: str) -> bool:
    """Whether a clone of the template has this revision; an option is none."""
    return git(clone, "rev-parse", "--quiet", "--verify", f"{commit}^{{commit}}").returncode == 0


def _reach(origin: str, folder: Path, *arguments: str) -> None:
    done = git(folder, *arguments)
    if done.returncode:
        message = f"the template at {masked(origin)} cannot be reached: {last_line(done)}"
        raise SetupError(message, f"Check the network. {ELSEWHERE}", "invoke update --from URL")


def _not_there(origin: str) -> SetupError:
    what = "a folder that is not on this machine"
    if not expanded(origin).is_absolute():
        what = "a path from where the project was created"
    message = f"the template cannot be reached: it was at {masked(origin)}, {what}"
    return SetupError(message, ELSEWHERE, "invoke update --from URL")


def masked(origin: str) -> str:
    """Return a source of the template without what can be a secret: login, query and fragment.

    The user stays for ssh, which needs one.
    """
    if is_local(origin):
        return origin
    scheme, mark, rest = origin.partition("://")
    if not mark:
        short = origin.partition(":")[0] in SHORTCUTS
        return re.split(r"[?#]", origin)[0] if short else origin
    kind = scheme.rpartition("+")[2].lower()
    login = LOGIN.match(rest)
    if login and not (kind == "ssh" and re.fullmatch(r"[^/:@]+@", login[0])):
        rest = rest[login.end() :]
    return f"{scheme}://{rest if kind in LITERAL else re.split(r'[?#]', rest)[0]}"


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of git's that says something, with masked addresses."""
    lines = (done.stderr or done.stdout).strip().splitlines()
    if UNREAD in lines[1:]:  # the reason is before it, and advice behind it
        lines = lines[: lines.index(UNREAD)]
    if not lines:
        return f"git ended with status {done.returncode}"
    line = lines[-1]
    for argument in filter(ADDRESS.match, done.args):  # whole, whatever is in it
        line = line.replace(argument, masked(argument))
    return ADDRESS.sub(lambda found: masked(found[0]), line)


def git(
    folder: Path, *arguments: str, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run git in `folder`. Raises SetupError if it is missing, or needs over `timeout` seconds."""
    with git_errors(arguments[0]):
        return run_git(folder, *arguments, timeout=timeout)


@contextlib.contextmanager
def git_errors(command: str = "status") -> Iterator[None]:
    """Raise SetupError in this context if git is missing, or needs too long."""
    try:
        yield
    except FileNotFoundError:
        raise SetupError("git was not found", "Install git.") from None
    except subprocess.TimeoutExpired as error:
        message = f"`git {command}` did not end within {error.timeout:g} s"
        raise SetupError(message, command="git status") from None


@contextlib.contextmanager
def copier_errors() -> Iterator[None]:
    """Import Copier without warnings, in the current environment, and translate its errors.

    Raises Invalid for answers and templates that are wrong, Conflict for what Copier refuses,
    SetupError for files that cannot be written, UsageError for questions without a terminal.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import plumbum
        from copier.errors import (
            CopierAnswersInterrupt,
            CopierError,
            InteractiveSessionError,
            TaskError,
            UserMessageError,
        )
        from jinja2 import TemplateError

        try:
            # plumbum keeps the environment of the moment when it was imported.
            with plumbum.local.env(**{**os.environ, **_showing()}):
                for name in FOREIGN:
                    plumbum.local.env.pop(name, "")
                yield
        except TemplateError as error:
            raise Invalid(f"the template does not render: {error}", FAULTY) from None
        except TaskError as error:
            if error.returncode == EDITED:
                message = "nothing was changed: the files above have edits that the package lacks"
                hint = "Keep the copy; or delete these files, commit, and type:"
                command = f"invoke update --runner {PACKAGE}"
                raise Conflict(message, hint, command) from None
            if error.returncode != IN_THE_WAY:
                raise Conflict(str(error), "What it printed is above.") from None
            message = "nothing was changed: the files above are in the way of the update"
            raise Conflict(
                message, "Move them away or commit them, then type:", "invoke update"
            ) from None
        except CopierAnswersInterrupt:
            raise KeyboardInterrupt from None
        except InteractiveSessionError as error:
            raise UsageError("there is no terminal to answer questions", str(error)) from None
        except UserMessageError as error:
            hint = f"Copier goes by the template and the version in {ANSWERS}."
            raise Conflict(str(error), hint) from None
        except CopierError as error:
            hint = "See the copier.yml of the template, and your own settings of Copier."
            raise Invalid(f"Copier: {error}", hint) from None
        except OSError as error:
            place = error.filename or "a file"
            message = f"{place} cannot be read or written: {error.strerror}"
            raise SetupError(message, "Check its permissions, and those of its folder.") from None
        except ValueError as error:
            message = str(error).partition("': ")[2] or str(error)
            raise Invalid(message, f"Correct the answer, in --data or {ANSWERS}.") from None


def _showing() -> dict[str, str]:
    """Return variables by which git shows Copier the hunks that it could not merge."""
    number = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    return {
        "GIT_CONFIG_COUNT": str(number + 1),
        f"GIT_CONFIG_KEY_{number}": "status.showUntrackedFiles",
        f"GIT_CONFIG_VALUE_{number}": "normal",
    }
