"""Checks of notebooks and of the project's code: most read it as syntax, and execute nothing."""

from __future__ import annotations

import ast
import contextlib
import itertools
import os
import re
import shlex
import warnings
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from dagmar.errors import Invalid, NotHere, SetupError, counted, some
from dagmar.notebook.cells import read_source
from dagmar.orchestration.probe import SECONDS
from dagmar.project.layout import NOTEBOOK_ANSWERS
from dagmar.project.locations import (
    AUTOLOAD,
    FILE,
    GRPC,
    NOWHERE,
    CodeLocation,
    read_workspace,
    require_loadable,
)
from dagmar.project.templates import notebooks_in, read_answers, restoring
from dagmar.project.worktree import entries
from dagmar.upkeep.checking import Finding, Project, Skip, check, failed, passed, warned

# Dagster inspects the annotation, which becomes text under this import.
LAZY = "from __future__ import annotations"
CONTEXTS = re.compile(r"(^|\.)\w*ExecutionContext$")
DECORATORS = {
    "asset", "multi_asset", "graph_asset", "observable_source_asset", "op", "asset_check",
    "multi_asset_check",
}  # fmt: skip
ELSEWHERE = {".git", ".venv", "venv", "node_modules", "__pycache__", "__marimo__", "site-packages",
             ".dagmar", "build", "dist"}  # fmt: skip
SCRIPT_BLOCK = re.compile(r"^# /// script$", re.MULTILINE)
MOST_FILES = 5_000


def _python_files(project: Project) -> list[Path]:
    """Return the project's own Python files: those that git tracks or would track, else all."""
    files: Iterator[Path]
    if project.in_git:
        done = project.git("ls-files", "-co", "--exclude-standard", "-z", "--", "*.py")
        names = map(Path, entries(done))
        files = (project.root / name for name in names if not ELSEWHERE & set(name.parts[:-1]))
    else:
        files = _walk(project.root)
    return list(itertools.islice(filter(Path.is_file, files), MOST_FILES))


def _walk(root: Path) -> Iterator[Path]:
    """Yield the Python files below a folder, except those of environments and tools."""
    for folder, inner, names in os.walk(root):
        inner[:] = [
            name for name in sorted(inner)
            if name not in ELSEWHERE and not Path(folder, name, "pyvenv.cfg").exists()
        ]  # fmt: skip
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def _notebooks(project: Project) -> Iterator[tuple[Path, str]]:
    """Yield the marimo notebooks with their text, if they can be read."""
    for file in sorted(project.notebooks.rglob("*.py")):
        if "__marimo__" not in file.parts and file.is_file():
            text = _read(file)
            if "marimo" in text:
                yield file, text


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


@check("definitions")
def definitions(project: Project) -> Finding:
    """The project says where its Dagster definitions are, and they load."""
    try:
        workspace = require_loadable(project.root)
    except NotHere as error:
        return warned(error.message, error.hint, error.command)
    if not workspace.locations:
        hint = (
            "To create a project in it, type:"
            if workspace.with_dg
            else f"Add it to {workspace.declared_in}."
        )
        command = "uvx create-dagster project projects/first" if workspace.with_dg else ""
        return warned(f"{workspace.declared_in} lists no code location yet", hint, command)
    names = []
    for location in workspace.locations:
        if location.source is None and not _is_installed(location):
            named = f"{workspace.declared_in} names {location.target}"
            message = f"{named}, which is neither in src nor in the project"
            return failed(message, "Correct it, then type:", workspace.command_to_check(location))
        names.append(location.target)
    if project.version("dagster") is None:
        raise Skip("dagster is not installed; see 'packages'")
    # In another process, whatever a server has loaded before.
    errors, slow = project.find_broken(project.root, workspace, project.environ)
    if errors or slow:
        first = next(place for place in workspace.locations if place.name in (errors or slow))
        command = workspace.command_to_check(first)
        if errors:
            return failed("; ".join(errors.values()), "To see all of it, type:", command)
        message = f"not loaded within {SECONDS} s: {some([*slow])}"
        return warned(message, "To see whether it loads, type:", command)
    if workspace.guessed:
        message = f"{NOWHERE}: {some(names)} looks like it, and is used"
        return warned(message, command=workspace.declare_command)
    return passed(some(names))


def _is_installed(location: CodeLocation) -> bool:
    """Whether the definitions are loaded elsewhere, or are in a package of the environment."""
    if location.kind in (GRPC, FILE):
        return location.kind == GRPC
    return PathFinder.find_spec(location.target.partition(".")[0]) is not None


@check("annotations")
def lazy_annotations(project: Project) -> Finding:
    """No asset's `context: …` becomes text by `from __future__ import annotations`."""
    found = []
    for file in _python_files(project):
        text = _read(file)
        if LAZY in text and "context" in text:
            found += [f"{project.relative(file)}:{line}" for line in _lazy_contexts(text)]
    if found:
        message = f"Dagster refuses the annotation of context at {some(found)}"
        return failed(message, f"Remove `{LAZY}` there, then type:", project.check_command)
    return passed("none found")


def _lazy_contexts(text: str) -> Iterator[int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    if not any(map(_is_lazy, tree.body)):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and DECORATORS & {*map(_called, node.decorator_list)}:
            for argument in node.args.args[:1]:
                annotation = ast.unparse(argument.annotation) if argument.annotation else ""
                if argument.arg == "context" and CONTEXTS.search(annotation):
                    yield argument.lineno


def _is_lazy(node: ast.stmt) -> bool:
    if not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
        return False
    return any(alias.name == "annotations" for alias in node.names)


def _called(decorator: ast.expr) -> str:
    """Return the last name of a decorator: `asset` for `@dg.asset(…)`."""
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    return ast.unparse(decorator).rpartition(".")[2]


@check("notebooks")
def notebooks(project: Project) -> Finding:
    """Every notebook is valid Python."""
    if not project.notebooks.is_dir():
        raise Skip(f"there is no folder {project.relative(project.notebooks)}/")
    good, bad = 0, []
    for file, _ in _notebooks(project):
        try:
            read_source(file)
            good += 1
        except Invalid as error:
            bad.append(error.message)
    if bad:
        return failed("; ".join(bad), command="invoke check")
    return passed(counted(good, "notebook"))


@check("notebook-answers")
def notebook_answers(project: Project) -> Finding:
    """The answers of each notebook can be used by an update."""
    files = sorted((project.root / NOTEBOOK_ANSWERS).glob("*.yml"))
    if not files:
        raise Skip("no notebook has answers")
    for file in files:
        name = project.relative(file)
        try:
            known = notebooks_in(read_answers(file))
        except Invalid:
            return failed(f"{name} is not an answers file", *restoring(file))
        if known is None:
            return failed(f"{name} names no notebook", *restoring(file))
    return passed(counted(len(files), "file"))


@check("notebook-places")
def notebook_places(project: Project) -> Finding:
    """No notebook is in a folder where Dagster imports every file."""
    with contextlib.suppress(SetupError):  # the check `definitions` reports it
        workspace = read_workspace(project.root)
        if not workspace.with_dg and all(place.kind != AUTOLOAD for place in workspace.locations):
            raise Skip("the project has no folder of which Dagster imports every file")
    found = [
        project.relative(file)
        for file in _python_files(project)
        if "defs" in file.relative_to(project.root).parts[:-1]
        and not (file.parent / "defs.yaml").is_file()
        and "marimo.App(" in _read(file)
    ]
    if found:
        notebooks = shlex.quote(project.relative(project.notebooks))
        known = project.in_git and project.git("ls-files", "--", f":(literal){found[0]}").stdout
        move = "git mv" if known else "mv -i"
        command = f"{move} {shlex.quote(found[0])} {notebooks}/"
        return failed(f"Dagster imports, and so runs, the notebook {some(found)}", command=command)
    return passed("none is below defs/")


@check("notebook-environments")
def notebook_environments(project: Project) -> Finding:
    """No notebook declares a separate environment, in which the project is not installed."""
    found = [
        project.relative(file) for file, text in _notebooks(project)
        if SCRIPT_BLOCK.search(text) and "Pair(" in text
    ]  # fmt: skip
    if found:
        block = f"{some(found)} has a `# /// script` block"
        message = f"{block}: marimo may run it in an environment without this project"
        hint = "Remove the block; until then type:"
        return warned(message, hint, f"marimo edit --no-sandbox {found[0]}")
    return passed("none found")
