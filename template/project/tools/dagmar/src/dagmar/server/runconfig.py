"""Run config from files, standard input and `--set`, merged in that order."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dagmar.errors import Invalid, UsageError
from dagmar.flags import parse_pairs
from dagmar.project.sources import UNREADABLE

IN_PROCESS: dict[str, Any] = {"execution": {"config": {"in_process": {}}}}
EXECUTORS = {"in_process": IN_PROCESS}


def read_config(
    files: Sequence[str] = (), values: Sequence[str] = (), executor: str = ""
) -> dict[str, Any]:
    """Return the run config that `--config`, `--set` and `--executor` ask for.

    A later one wins, mapping by mapping. `-` is standard input, as YAML or JSON.
    Raises UsageError for a malformed flag, Invalid for a file that cannot be used.
    """
    if executor and executor not in EXECUTORS:
        raise UsageError(
            f"there is no executor '{executor}' to choose", "Leave it out, or type: in_process"
        )
    if list(files).count("-") > 1:
        raise UsageError("--config - reads standard input, which can be read once")
    config: dict[str, Any] = dict(EXECUTORS.get(executor, {}))
    for file in files:
        config = merge(config, _read(file))
    for text in values:
        config = merge(config, _value(text))
    return config


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return `upper` merged over `lower`, mapping by mapping; lists are replaced."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def _read(file: str) -> dict[str, Any]:
    name = "standard input" if file == "-" else file
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Invalid(f"--config {name} cannot be read: {reason}") from None
    value = parse_yaml(text, f"--config {name}")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(f"--config {name} holds no mapping", "Run config starts with `ops:`.")
    return value


def read_yaml(text: str) -> Any:
    """Return what YAML holds as Dagster reads run config: a date stays text.

    Raises yaml.YAMLError.
    """
    import yaml

    return yaml.load(text, Loader=_loader())


@functools.cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Makes no dates of text: Dagster writes dates without quotes, and JSON has none."""

    Loader.yaml_implicit_resolvers = {
        first: [entry for entry in entries if entry[0] != "tag:yaml.org,2002:timestamp"]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


def parse_yaml(text: str, name: str, dates: bool = False) -> Any:
    """Parse YAML (or JSON, which is YAML), dates as text unless `dates` are wanted.

    Raises Invalid with the line.
    """
    import yaml

    try:
        return yaml.safe_load(text) if dates else read_yaml(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Invalid(f"{name}: line {line} is not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, *UNREADABLE):
        raise Invalid(f"{name} is not valid YAML") from None


def named_ops(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the ops that a run config has something for."""
    ops = config.get("ops")
    return [str(name) for name in ops] if isinstance(ops, Mapping) else []


def unsendable(config: Mapping[str, Any]) -> list[str]:
    """Return a line for each value that JSON, and so a launch, cannot carry; by its path."""
    try:
        json.dumps(config, allow_nan=False)
    except RecursionError:
        return ["it is nested too deeply"]
    except (TypeError, ValueError):
        try:
            return list(_unsendable(config, ""))
        except RecursionError:
            return ["it contains itself"]
    return []


def _unsendable(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, (Mapping, list)):
        for key, child in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _unsendable(child, f"{path}.{key}" if path else str(key))
        return
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        yield f"{path}: {value!r} cannot be sent: JSON has no such value"


def _value(text: str) -> dict[str, Any]:
    ((path, value),) = parse_pairs(
        "--set",
        [text],
        "ops.orders.config.rows=10",
        "PATH=VALUE",
        lambda path: all(path.split(".")),
    )
    if not value.strip():
        raise UsageError(
            f"--set {path}= has no value", f"For an empty text, type: --set {path}=\"''\""
        )
    nested: Any = parse_yaml(value, f"--set {path}")
    for part in reversed(path.split(".")):
        nested = {part: nested}
    config: dict[str, Any] = nested
    return config
