"""Finds the settings of a team with which its linters would read the copied runner.

By default they skip `.eggs`, the folder that it is in. A list of a team's own replaces the
defaults, some tools have none, and pre-commit names each file.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from runner import errors, files, layout, surveys

FOLDER = layout.DAGMAR.as_posix()
# pylint reads it as a path of Windows too: no backslash.
PATH = FOLDER.replace(".", "^[.]", 1)
READS_ALL = re.compile(r"\bpylint\b[^\n]*(?:ls-files|\*\.py|--recursive)")
# Rules that ruff finds broken in `tasks.py`, and what selects them.
OF_TASKS = {"INP001": "INP", "CPY001": "CPY"}
# Settings that leave out the folder, or what it is in.
SKIPPED = re.compile(r"\.\]?(?:dagmar|eggs)|(?:^|[\s,\"'\[(|/])(?:\.\*|\\\.|\[\.])")
CONFIGS = ("setup.cfg", "tox.ini")
# Hooks of pre-commit that find no fault with the files that an adoption adds, or read none.
HARMLESS = {
    "check-added-large-files", "check-ast", "check-builtin-literals", "check-case-conflict",
    "check-json", "check-merge-conflict", "check-symlinks", "check-toml", "check-yaml",
    "debug-statements", "detect-private-key", "end-of-file-fixer", "fix-byte-order-marker",
    "mixed-line-ending", "nbstripout", "no-commit-to-branch", "poetry-check", "poetry-lock",
    "requirements-txt-fixer", "ruff", "ruff-check", "ruff-format", "trailing-whitespace", "uv-lock",
}  # fmt: skip


@dataclass(frozen=True)
class Tool:
    """A linter: where its settings are, which of them makes it read the folder, and the remedy."""

    section: str
    files: tuple[str, ...]
    """INI files; `pyproject.toml` has the section below `tool`."""
    cause: str
    """The setting that replaces the defaults."""
    remedy: str
    value: str


TOOLS = (
    Tool("flake8", (".flake8", *CONFIGS), "exclude", "extend-exclude", FOLDER),
    Tool("black", ("pyproject.toml",), "exclude", "extend-exclude", rf"^/\{FOLDER}/"),
    Tool("isort", ("pyproject.toml",), "skip", "extend_skip", FOLDER),
    Tool("isort", CONFIGS, "skip", "extend_skip", FOLDER),
    Tool("settings", (".isort.cfg",), "skip", "extend_skip", FOLDER),
    Tool("bandit", (".bandit",), "exclude", "exclude", f"./{FOLDER}"),
    Tool("MAIN", (".pylintrc", "pylintrc"), "recursive", "ignore-paths", PATH),
    Tool("MASTER", (".pylintrc", "pylintrc"), "recursive", "ignore-paths", PATH),
    Tool("pylint.main", ("pyproject.toml",), "recursive", "ignore-paths", PATH),
    Tool("pylint.master", ("pyproject.toml",), "recursive", "ignore-paths", PATH),
)


def advice(root: Path) -> list[str]:
    """Return which settings have to be completed, one a line; nothing if there is none."""
    lines = [*_of_settings(root), *_of_pre_commit(root), *_of_yamllint(root), *_of_ruff(root)]
    return ["To keep the findings of your linters as they are, write:", *lines] if lines else []


def named(lines: list[str]) -> list[str]:
    """Return the files that the advice tells to complete."""
    return list(dict.fromkeys(re.split("[,:]", line.strip())[0] for line in lines[1:]))


def _of_settings(root: Path) -> Iterator[str]:
    all_of_it = any(READS_ALL.search(text) for _, text in surveys.scripts(root))
    for tool in TOOLS:
        for name in tool.files:
            settings = _section(root / name, tool.section)
            given = str((settings or {}).get(tool.cause, "no")).lower()
            if settings is None or (
                given in ("no", "false", "n") and not (tool.cause == "recursive" and all_of_it)
            ):
                continue
            said = {key.replace("_", "-"): value for key, value in settings.items()}
            own = said.get(tool.remedy.replace("_", "-"))
            values = [said.get(tool.cause), own, said.get("ignore"), said.get("ignore-patterns")]
            if SKIPPED.search("\n".join(str(value) for value in values if value)):
                continue
            title = f"tool.{tool.section}" if name.endswith(".toml") else tool.section
            if own is not None:
                between = "|" if isinstance(own, str) and name.endswith(".toml") else ""
                yield f"  {name}, [{title}]: add {between}{tool.value} to {tool.remedy}"
            else:
                yield f"  {name}, [{title}]: {tool.remedy} = {_written(tool, name)}"


def _written(tool: Tool, name: str) -> str:
    if not name.endswith(".toml"):
        return tool.value
    return f"'{tool.value}'" if tool.section == "black" else f"['{tool.value}']"


def _section(file: Path, name: str) -> Mapping[str, Any] | None:
    """Return a section of a file of settings; None without it, or if it cannot be read."""
    if file.suffix == ".toml":
        found = _toml(file).get("tool")
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else None
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(surveys.read_text(file))
    except configparser.Error:
        return None
    return dict(parser[name]) if name in parser else None


def _toml(file: Path) -> Mapping[str, Any]:
    try:
        return files.read_toml(file)
    except errors.SetupError:
        return {}


def _yaml(file: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(surveys.read_text(file))
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _of_pre_commit(root: Path) -> Iterator[str]:
    """Yield the line that keeps the folder from hooks, which get names of files."""
    name = ".pre-commit-config.yaml"
    config = _yaml(root / name)
    own = config.get("exclude")
    if SKIPPED.search(str(own or "")):
        return
    repositories = [each for each in config.get("repos") or () if isinstance(each, dict)]
    lists = [each["hooks"] for each in repositories if isinstance(each.get("hooks"), list)]
    hooks = [hook for each in lists for hook in each]
    reading = [
        hook["id"]
        for hook in hooks
        if isinstance(hook, dict) and hook.get("id") and hook["id"] not in HARMLESS
        and hook.get("pass_filenames") is not False and not SKIPPED.search(str(hook.get("exclude")))
    ]  # fmt: skip
    if reading and own:
        yield rf"  {name}: add |^\{FOLDER}/ to exclude  # for {', '.join(reading)}"
    elif reading:
        yield rf"  {name}: exclude: ^\{FOLDER}/  # for {', '.join(reading)}"


def _of_yamllint(root: Path) -> Iterator[str]:
    for name in (".yamllint", ".yamllint.yaml", ".yamllint.yml"):
        if not (root / name).is_file():
            continue
        own = _yaml(root / name).get("ignore")
        ours = (f"{FOLDER}/", layout.SETTINGS_FILE, ".copier-answers.yml")
        missing = [each for each in ours if each not in str(own or "")]
        if missing and own:
            yield f"  {name}: add {' and '.join(missing)} to ignore"
        elif missing:
            yield f"  {name}: ignore: [{', '.join(missing)}]"
        return


def _of_ruff(root: Path) -> Iterator[str]:
    """Yield the line for `tasks.py`, which has no package and no copyright notice."""
    for name, top in (("ruff.toml", ""), (".ruff.toml", ""), ("pyproject.toml", "tool.ruff.")):
        if not (ruff := _section(root / name, "ruff") if top else _toml(root / name)):
            continue
        lint = ruff.get("lint")
        rules = {**ruff, **(lint if isinstance(lint, dict) else {})}
        selected = {*(rules.get("select") or ()), *(rules.get("extend-select") or ())}
        said = str([rules.get("ignore"), rules.get("per-file-ignores")])
        broken = [
            f'"{rule}"'
            for rule, group in OF_TASKS.items()
            if selected & {"ALL", group, f"{group}0", f"{group}00", rule} and group not in said
        ]
        if broken:
            yield f'  {name}, [{top}lint.per-file-ignores]: "tasks.py" = [{", ".join(broken)}]'
        return
