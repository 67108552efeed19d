"""The template that this project was made from: its clone in `.dagmar/cache`, and Copier runs.

The clone is what makes scaffolding work without a network. Its name ends in `.git`, because by
that Copier knows a bare one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagmar.errors import Conflict, Invalid, SetupError
from dagmar.project.layout import CACHE, NOTEBOOK_ANSWERS, SCAFFOLD_ANSWERS

ANSWERS = ".copier-answers.yml"
# Set inside a git hook; they would lead git to that repository.
FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
SHORTCUTS = {"gh": "https://github.com/{}.git", "gl": "https://gitlab.com/{}.git"}
PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True)
class Template:
    """Where the template is, which version the project is on, and what a run may start from.

    `path` is the clone in the cache, or the template's own folder where that is no repository;
    `commit` is empty then, and nothing made from it can be updated.
    """

    origin: str
    commit: str
    path: Path


def read_answers(file: Path) -> dict[str, Any]:
    """Read an answers file. Raises Invalid for one that is none."""
    import yaml

    name = file.name if file.name == ANSWERS else f"{NOTEBOOK_ANSWERS}/{file.name}"
    hint = f"Type: git checkout HEAD -- {shlex.quote(name)}"
    try:
        answers = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Invalid(f"{name} cannot be read: {type(error).__name__}", hint) from None
    if not isinstance(answers, dict) or not isinstance(answers.get("_src_path"), str):
        raise Invalid(f"{name} is no answers file", hint)
    return answers


def made_from(root: Path, name: str) -> tuple[Path | None, str]:
    """Return the answers file of a notebook, if any, and the template that it tells, if it does."""
    file = root / NOTEBOOK_ANSWERS / f"{name}.yml"
    if not file.is_file():
        return None, ""
    try:
        return file, str(read_answers(file)["notebooks"][0]["template"])
    except (Invalid, LookupError, TypeError):
        return file, ""


def open_template(root: Path, fetch: bool = False) -> Template:
    """Return the template at the version that the project in `root` is on.

    Clones it the first time, and fetches where the clone lacks that version, or with `fetch`.
    Raises SetupError where the project was not made with Copier, or the template is not there.
    """
    if not (root / ANSWERS).is_file():
        raise SetupError(
            f"there is no {ANSWERS}, so the template of this project is not known",
            "Make the project with `copier copy`.",
        )
    answers = read_answers(root / ANSWERS)
    origin, commit = answers["_src_path"], str(answers.get("_commit") or "")
    folder = root / Path(origin).expanduser()
    if not commit:
        if not (folder / "copier.yml").is_file():
            raise SetupError(
                f"the template is not at {masked(origin)} any more",
                f"Correct _src_path in {ANSWERS}.",
            )
        return Template(origin, "", folder)
    mark = hashlib.sha256(origin.encode()).hexdigest()[:12]
    clone = root / CACHE / f"template-{mark}.git"
    address = str(folder.resolve()) if folder.exists() else _address(origin)
    if not (clone / "HEAD").is_file():
        _clone(address, clone, origin)
    elif fetch or not _holds(clone, commit):
        every = ("--prune", "--tags", "--force", address, "+refs/*:refs/*")
        done = git(clone, "fetch", "--quiet", *every)
        if done.returncode:
            raise _no_template(origin, done)
    if not _holds(clone, commit):
        raise SetupError(
            f"the template has no version {commit}, which this project was made from",
            "A project made from a checkout with uncommitted changes cannot be updated: "
            "make it again from a tag.",
        )
    return Template(origin, commit, clone)


def reserved_names(template: Template) -> frozenset[str]:
    """Return the names that the template refuses for notebooks and variables."""
    import yaml

    if template.commit:
        text = git(template.path, "show", f"{template.commit}:copier.yml").stdout
    else:
        text = (template.path / "copier.yml").read_text("utf-8")
    return frozenset(yaml.safe_load(yaml.safe_load(text)["reserved"]["default"]))


def _clone(address: str, clone: Path, origin: str) -> None:
    """Clone beside the place and move it there, so that half a clone is never used."""
    import shutil
    import tempfile

    clone.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=clone.parent, prefix=".template-"))
    try:
        done = git(scratch, "clone", "--quiet", "--mirror", "--", address, ".")
        if done.returncode:
            raise _no_template(origin, done)
        if not (clone / "HEAD").is_file():
            shutil.rmtree(clone, ignore_errors=True)
        try:
            scratch.replace(clone)
        except OSError:
            # Another process was quicker, and its clone is as good.
            if not (clone / "HEAD").is_file():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _address(origin: str) -> str:
    """Return what git understands by a Copier source."""
    scheme, _, path = origin.partition(":")
    if scheme in SHORTCUTS and not path.startswith("//"):
        return SHORTCUTS[scheme].format(path.removesuffix(".git"))
    return origin.removeprefix("git+")


def _holds(clone: Path, commit: str) -> bool:
    return git(clone, "rev-parse", "--quiet", "--verify", f"{commit}^{{commit}}").returncode == 0


def _no_template(origin: str, done: subprocess.CompletedProcess[str]) -> SetupError:
    return SetupError(
        f"the template at {masked(origin)} cannot be reached: {last_line(done)}",
        f"Check the network, or correct _src_path in {ANSWERS}.",
    )


def masked(text: str) -> str:
    """Return a source of the template without the credentials in it."""
    return PASSWORD.sub("", text)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last thing that git said, without credentials."""
    lines = (done.stderr or done.stdout).strip().splitlines()
    return masked(lines[-1]) if lines else f"git ended with status {done.returncode}"


def git(
    folder: Path, *arguments: str, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run git in `folder` and keep what it prints.

    Raises SetupError where there is no git, or where it does not end within `timeout` seconds.
    """
    environ = {name: text for name, text in os.environ.items() if name not in FOREIGN}
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
        )
    except FileNotFoundError:
        raise SetupError("git was not found", "Install git.") from None
    except subprocess.TimeoutExpired:
        raise SetupError(
            f"`git {arguments[0]}` did not end within {timeout:g} s", "Type: git status"
        ) from None


def copy(source: Path, to: Path, data: Mapping[str, Any], version: str) -> None:
    """Render notebooks into `to` in one Copier run. Raises what `copier_errors` does."""
    with copier_errors():
        from copier import run_copy

        # The folder is passed explicitly: `.copier-answers.yml` in `to` is the project's.
        run_copy(
            str(source),
            to,
            data={**data, "kind": "notebook"},
            answers_file=SCAFFOLD_ANSWERS,
            vcs_ref=version or None,
            defaults=True,
            overwrite=True,
            quiet=True,
            skip_tasks=True,
        )


@contextlib.contextmanager
def copier_errors() -> Iterator[None]:
    """Import Copier quietly, with today's environment, and tell its errors as ours.

    Raises Invalid for answers and templates that are wrong, Conflict for what Copier refuses.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import plumbum
        from copier.errors import CopierError, UserMessageError
        from jinja2 import TemplateError

        try:
            # plumbum keeps the environment that it was imported in.
            with plumbum.local.env(**os.environ):
                for name in FOREIGN:
                    if name in plumbum.local.env:
                        del plumbum.local.env[name]
                yield
        except TemplateError as error:
            place = getattr(error, "name", None) or getattr(error, "filename", None)
            line = getattr(error, "lineno", None)
            where = _where(place, line) if place and line else _last_template(error)
            raise Invalid(f"the template does not render: {error}{where}") from None
        except UserMessageError as error:
            raise Conflict(str(error)) from None
        except CopierError as error:
            raise Invalid(f"Copier: {error}") from None
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
            # What an expression in a template can raise; elsewhere it is no answer to a user.
            if not (where := _last_template(error)):
                raise
            raise Invalid(
                f"the template does not render: {type(error).__name__}: {error}{where}"
            ) from None
        except ValueError as error:
            said = str(error).partition("': ")[2] or str(error)
            raise Invalid(said) from None


def _where(place: str, line: int) -> str:
    # The user's own template is copied to this name.
    name = Path(place).name
    return f" ({'notebook.jinja' if name == 'own.jinja' else name}, line {line})"


def _last_template(error: BaseException) -> str:
    """Return the last template that stands in the traceback, or nothing."""
    where, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(".jinja"):
            where = _where(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return where
