"""Tells what was found in an adopted repository and what to type next, or types it when asked to.

The facts that no file of Dagster's states are added to `dagmar.yaml`, while it is still as the
template wrote it. Nothing else of the project is changed, unless `-d install=true` was given.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import linters
from runner import TEMPLATE, errors, installing, layout, locations, surveys, worktree

OURS = (".copier-answers.yml", ".dagmar", "dagmar.yaml", "tasks.py")
OWN_TASKS = "tasks/__init__.py"
"""Of the user, who adds lines to it."""
MESSAGE = "chore: add dagmar"
IGNORE = ".gitignore"
IN_GIT = (".gitignore", ".gitattributes", "dagster_home/dagster.yaml")
LEFT_BY_TOOLS = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "dagmar.egg-info"}
CAUSE = re.compile(r"\s*[\w.]*(?:Error|Exception)\b: .")  # Dagster prints the first one last
NOT_LOCKING = ("UV_FROZEN", "UV_LOCKED", "UV_NO_SYNC")


@dataclass(frozen=True)
class Command:
    """What to type, and why; `optional` if the project works without it."""

    text: str
    why: str = ""


def adopt(root: Path, answer: str, to: str, install: bool, separate_tasks: bool) -> str:
    """Return what to say about an adopted repository, after doing what was asked for.

    `separate_tasks` says that the user's tasks hide dagmar's until lines are added to them.
    """
    found = surveys.survey(root)
    said = ["dagmar was added; no existing file was changed."]
    where = [] if to in ("", ".") else [Command(f"cd {shlex.quote(to)}")]
    if problem := named_dagmar(root, found, where):
        return "\n".join([*said, problem])
    said += [*found.unread, *facts_of(found), *definitions(root, answer)]
    advice = linters.advice(root)
    said += advice
    commits = [Command(f"git init && git add . && git commit -m '{MESSAGE}'", "updates need git")]
    if is_repository(root):
        said += filter(None, [own_changes(root, found)])
        names = list(dict.fromkeys([*changed(root, found), *linters.named(advice)]))
        commits = [Command(f"git add {shlex.join(names)} && git commit -m '{MESSAGE}'")]
        if taken_back := ignored(root):
            words = shlex.join(taken_back)
            why = "git ignores what dagmar added"
            commits.insert(0, Command(f"printf '%s\\n' {words} >> {IGNORE}", why))
            commits[1] = Command(commits[1].text.replace("git add ", f"git add {IGNORE} ", 1))
    try:
        steps = installation(root, found)
    except errors.SetupError as error:
        return "\n".join([*said, f"error: {error.message}", f"  {error.hint}"])
    tries = [
        Command(
            installing.run_command("invoke dev", found), "Dagster and marimo; Ctrl-C stops both"
        ),
        Command(installing.run_command("invoke discover", found), "in a second terminal"),
    ]
    python = environment_of(root)
    active = os.environ.get("VIRTUAL_ENV") or (python and not python.is_relative_to(root))
    if found.manager not in installing.RUN and python and not active:
        tries.insert(0, Command(f"source {os.path.relpath(python.parent, root)}/activate"))
    if not install:
        return "\n".join([*said, "Next:", *typed([*where, *steps, *tries, *commits])])
    print("\n".join(said), file=sys.stderr, flush=True)
    if left := run(root, steps):
        return "\n".join(["This is left to type:", *typed([*where, *left, *tries, *commits])])
    works = verify(root, found, separate_tasks)
    return "\n".join([*works, "Next:", *typed([*where, *tries, *commits])])


def named_dagmar(root: Path, found: surveys.Survey, folder: list[Command]) -> str:
    """Return what to say if the repository also has a package called dagmar."""
    places = [*(root / "src").glob("dagmar*"), *root.glob("dagmar*")]
    theirs = [place for place in places if place.name in ("dagmar", "dagmar.py")]
    name = found.document.get("project", {}).get("name")
    where = theirs[0].relative_to(root) if theirs else "pyproject.toml" if name == "dagmar" else ""
    if not where:
        return ""
    mine = [name for name in OURS if not is_kept(root / name)]
    remove = " && ".join([*(step.text for step in folder), f"rm -r {' '.join(mine)}"])
    return (
        f"error: this repository has a package called dagmar ({where}), and Python would import "
        f"that one.\n  Rename it, or remove what was added: {remove}"
    )


def is_kept(file: Path) -> bool:
    """Whether a file of the template is missing here, or was here before."""
    plain = TEMPLATE / "template/project" / file.name
    return not file.exists() or (plain.is_file() and file.read_bytes() != plain.read_bytes())


def facts_of(found: surveys.Survey) -> Iterator[str]:
    """Yield the facts of the survey in one line."""
    manager = f"{found.manager} ({found.said_by})" if found.said_by else found.manager
    facts = [manager]
    facts += [f"Python {found.python}"] if found.python else []
    facts += [f"Dagster {found.dagster}"] if found.dagster else []
    yield f"Found: {', '.join(facts)}"


def definitions(root: Path, answer: str) -> Iterator[str]:
    """Yield where the definitions are, and write it to dagmar.yaml if Dagster cannot know."""
    try:
        workspace = locations.of_answer(root, answer) or locations.read_workspace(root)
    except errors.SetupError as error:
        yield f"warning: {error.message}"
        yield "  Write into dagmar.yaml: dagster: {load_from: [{python_file: path/to/repo.py}]}"
        return
    names = ", ".join(
        os.path.relpath(place.target, root) if place.kind == locations.FILE else place.name
        for place in workspace.locations
    )
    where = "found by its name" if workspace.declared_in == "nothing" else workspace.declared_in
    yield f"Definitions: {names or 'none yet'} ({where})"
    projects = {os.path.relpath(folder_of(place, root), root) for place in workspace.locations}
    if workspace.declared_in == "nothing" and len(projects) > 1:
        yield (
            f"warning: {' and '.join(sorted(projects))} are separate projects. To work on all "
            "from here, install\n  their requirements in one environment; or run copier in each."
        )
    if workspace.known or workspace.declared_in == layout.SETTINGS_FILE:
        return
    mine, lines = root / layout.SETTINGS_FILE, workspace.as_settings(root)
    if not is_kept(mine):
        mine.write_text(f"{mine.read_text('utf-8')}\n{lines}\n", "utf-8")
        yield "  written to dagmar.yaml, for `invoke dev` and notebooks"
    else:
        yield "  Your dagmar.yaml was kept. To say it there, add:"
        yield from (f"    {line}" for line in lines.splitlines())


def folder_of(place: locations.CodeLocation, root: Path) -> Path:
    """Return the folder of the project that a code location is in."""
    if place.kind != locations.FILE:
        return place.working_directory
    above = (folder for folder in Path(place.target).parents if folder.is_relative_to(root))
    return next((folder for folder in above if (folder / "pyproject.toml").is_file()), root)


def own_changes(root: Path, found: surveys.Survey) -> str:
    """Return a warning if the repository has other changes that are not committed."""
    others = [f":(exclude){name}" for name in (*OURS, *written(root, found))]
    others.append(":(exclude,glob)**/__pycache__/**")
    done = worktree.run_git(root, "status", "--porcelain", "--", ".", *others)
    if done.returncode or not done.stdout.strip():
        return ""
    return "warning: the repository has changes of yours that are not committed; commit them first"


def written(root: Path, found: surveys.Survey) -> list[str]:
    """List the files with requirements that an earlier call has changed: dagmar came into them."""
    files = [found.manifest, *([found.lock] if found.lock else surveys.requirement_files(root))]
    names = [os.path.relpath(file, root) for file in dict.fromkeys(files) if file.is_file()]
    return [
        name
        for name in names
        if "dagmar" in surveys.read_text(root / name)
        and "dagmar" not in worktree.run_git(root, "show", f"HEAD:./{name}").stdout
    ]


def ignored(root: Path) -> list[str]:
    """Return the lines for .gitignore that let git keep what it would leave out."""
    runner = root / layout.RUNNER.parent
    files = [root / name for name in OURS if (root / name).is_file()]
    files += [root / layout.DAGMAR / name for name in IN_GIT]
    files += [file for file in runner.rglob("*") if not LEFT_BY_TOOLS & {*file.parts}]
    names = [os.path.relpath(file, root) for file in files if file.is_file()]
    text = "\0".join([*names, IGNORE])
    done = worktree.run_git(root, "check-ignore", "-z", "--stdin", text=text)
    left_out = {name.split("/")[0] for name in done.stdout.split("\0") if name}
    if left_out <= {IGNORE}:
        return []
    folder = [f"!/{layout.DAGMAR}/", f"!/{layout.DAGMAR}/**"]
    lines = [f"!/{name}" for name in sorted(left_out - {str(layout.DAGMAR)})]
    end = surveys.read_text(root / IGNORE)[-1:].strip()  # not a line break
    return [*([""] if end else []), *lines, *(folder if str(layout.DAGMAR) in left_out else [])]


def is_repository(root: Path) -> bool:
    """Whether git tracks the folder; it may not be installed."""
    try:
        return worktree.run_git(root, "rev-parse", "--is-inside-work-tree").returncode == 0
    except FileNotFoundError:
        return False


def changed(root: Path, found: surveys.Survey) -> list[str]:
    """List what an adoption adds or changes, as it is given to git."""
    names = [name for name in (*OURS, OWN_TASKS) if (root / name).exists()]
    compiled = [found.manifest.with_suffix(".txt")] if found.manifest.suffix == ".in" else []
    files = [found.manifest, *([found.lock] if found.lock else compiled)]
    kept = (os.path.relpath(file, root) for file in files)
    left_out = ("check-ignore", "-q")
    return names + [name for name in kept if worktree.run_git(root, *left_out, name).returncode]


def installation(root: Path, found: surveys.Survey) -> list[Command]:
    """List what installs the runner, and the parts of Dagster that `invoke dev` starts."""
    where = "" if found.manager in installing.RUN else "in your project's environment"
    needed = ["dagster-webserver", *(["dagster-dg-cli"] if locations.uses_dg(root) else [])]
    texts = installing.runner_commands(found, needed)
    steps = [Command(text, why_of(text, found, where)) for text in texts]
    locked = [name for name in NOT_LOCKING if os.environ.get(name)]
    if found.manager == surveys.UV and locked:
        unset = " ".join(f"-u {name}" for name in locked)
        why = f"{' and '.join(locked)} would keep uv from it"
        texts = [re.sub(r"\buv\b", f"env {unset} uv", step.text, count=1) for step in steps]
        return [Command(text, why) for text in texts]
    return steps


def why_of(command: str, found: surveys.Survey, where: str) -> str:
    """Return the reason for a command that installs something."""
    if ">>" in command and found.manager not in installing.RUN:
        return "for developers; production does not read it"
    runner = any(name in command for name in (layout.RUNNER.as_posix(), "dagmar[cli]"))
    if not runner and found.manager in installing.RUN:
        return "for `invoke dev`"
    return where


def typed(commands: list[Command]) -> Iterator[str]:
    """Yield commands as they are shown, with the reasons in one column."""
    width = max(len(command.text) for command in commands if command.why or len(commands) == 1)
    width = min(width, 60)
    for command in commands:
        yield f"  {command.text:{width}}  # {command.why}" if command.why else f"  {command.text}"


def run(root: Path, steps: list[Command]) -> list[Command]:
    """Type the commands; return what is left if one fails."""
    for index, step in enumerate(steps):
        if "env -u" in step.text:
            return steps[index:]
        print(f"$ {step.text}", file=sys.stderr, flush=True)
        text = step.text
        if re.match(r"(uv )?pip install", text):
            python = environment_of(root)
            if not python:
                print("error: this repository has no .venv, and none is active", file=sys.stderr)
                return steps[index:]
            flag = f"--python {shlex.quote(str(python))} "
            text = text.replace("uv pip install ", f"uv pip install {flag}")
            text = re.sub(r"^pip ", f"{shlex.quote(str(python))} -m pip ", text)
        done = subprocess.run(  # noqa: S602  what is printed for the user to type
            text, shell=True, cwd=root, stdin=subprocess.DEVNULL, stdout=sys.stderr
        )
        if done.returncode:
            print(f"error: that ended with status {done.returncode}", file=sys.stderr)
            return steps[index:]
    return []


def environment_of(root: Path) -> Path | None:
    """Return the interpreter of the active environment, or else of the one in the repository."""
    own = Path(sys.prefix).resolve()
    folders = (each for each in surveys.environments(root) if each.resolve() != own)
    return next((folder / "bin/python" for folder in folders), None)


def verify(root: Path, found: surveys.Survey, separate_tasks: bool) -> Iterator[str]:
    """Yield what works: the definitions, a start, and an installation for production."""
    python = environment_of(root)
    path = os.environ.get("PATH", "")
    if found.manager not in installing.RUN and python:
        path = f"{python.parent}{os.pathsep}{path}"
    loaded = installing.run_command(locations.check_command(root), found)
    started = installing.run_command("invoke dev --once --no-open", found)
    tried = (
        ("the definitions load", "they do not load", loaded),
        ("`invoke dev` starts", "it does not start", started),
        ("a production install works", "it fails", installing.production_command(found)),
    )
    for what, otherwise, command in tried:
        if not command or (separate_tasks and "invoke " in command):
            continue
        done = subprocess.run(  # noqa: S602  what the user would type
            command, shell=True, cwd=root, env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode == 0:
            yield f"ok: {what}"
            continue
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        causes = [line.strip() for line in lines if CAUSE.match(line)]
        yield f"error: tried whether {what}, and {otherwise}"
        yield from (f"  {line}" for line in causes[-1:] or lines[-4:])
        yield f"  To try again, type: {command}"
