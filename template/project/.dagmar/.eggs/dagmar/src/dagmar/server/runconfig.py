"""Run config: read from files and flags, merged, and the errors if Dagster refuses it."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dagmar import scalars
from dagmar.errors import Invalid, InvalidConfig, UnexpectedAnswer, UsageError, did_you_mean
from dagmar.files import UNREADABLE, reading
from dagmar.flags import parse_pairs
from dagmar.project.sources import CHECK_YAML, merge
from dagmar.server.shapes import NOT_DAGSTER

EXECUTORS: dict[str, Any] = {"in_process": {"execution": {"config": {"in_process": {}}}}}
MISMATCH = re.compile(r'Invalid scalar at path .*? Value "(.*)" of type .* expected type "(\w+)"')
CORRECT_IT = "Correct the run config, and launch again."


def read_config(
    files: Sequence[str] = (), values: Sequence[str] = (), executor: str = ""
) -> dict[str, Any]:
    """Return the run config that `--config`, `--set` and `--executor` ask for.

    Later ones win, mapping by mapping. `-` is standard input, as YAML or JSON. Text without quotes
    is `Plain`: the schema of what is launched decides what it is.
    Raises UsageError for a malformed flag, Invalid for a file that cannot be used.
    """
    if executor and executor not in EXECUTORS:
        raise UsageError(
            f"there is no executor '{executor}' to choose",
            "Leave it out, or type:",
            command="in_process",
        )
    if list(files).count("-") > 1:
        message = "--config - reads standard input, which can be read once"
        raise UsageError(message, "Give the other ones as files.")
    parts = (EXECUTORS.get(executor, {}), *map(_read, files), *map(_value, values))
    return functools.reduce(merge, parts, {})


def _read(file: str) -> dict[str, Any]:
    name = f"--config {'standard input' if file == '-' else file}"
    with reading(name, Invalid):
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    return parse_config(text, name, f"{name} is not a mapping")


def parse_config(text: str, name: str, not_mapping: str) -> dict[str, Any]:
    """Return run config from YAML. Raises Invalid, with `not_mapping` for anything else."""
    value = parse_yaml(text, name)
    if value is not None and not isinstance(value, dict):
        raise Invalid(not_mapping, "Run config starts with `ops:`.")
    return value or {}


def read_yaml(text: str) -> dict[str, Any]:
    """Return run config that Dagster wrote, by the rules of YAML 1.1; a date stays text.

    Raises UnexpectedAnswer for what is not run config.
    """
    import yaml

    try:
        value = yaml.load(text, Loader=_loader()) or {}  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a number too long to read
        value = None
    if not isinstance(value, dict):
        raise UnexpectedAnswer("Dagster's answer has run config that is not a mapping", NOT_DAGSTER)
    return value


@functools.cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Leaves dates as text: Dagster writes them without quotes, and JSON has no dates."""

    Loader.yaml_implicit_resolvers = {
        first: [entry for entry in entries if entry[0] != "tag:yaml.org,2002:timestamp"]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


def parse_yaml(text: str, name: str, parse: Callable[[str], Any] = scalars.parse) -> Any:
    """Parse YAML (or JSON, which is YAML) that a user typed. Raises Invalid with the line."""
    import yaml

    try:
        value = parse(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        message = f"{name}: line {line} is not valid YAML: {error.problem}"
        raise Invalid(message, CHECK_YAML) from None
    except (yaml.YAMLError, *UNREADABLE):
        raise Invalid(f"{name} is not valid YAML", CHECK_YAML) from None
    if fault := scalars.unwalkable(value):
        raise Invalid(f"{name} cannot be used: {fault}", "Write the value out, and less deep.")
    return value


def named_ops(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the ops in a run config."""
    ops = config.get("ops")
    return [str(name) for name in ops] if isinstance(ops, Mapping) else []


def share(config: Mapping[str, Any], ops: frozenset[str]) -> Mapping[str, Any]:
    """Return the config with the part of these ops alone."""
    named = set(named_ops(config))
    kept = {
        name: config["ops"][name] for name in config.get("ops") or () if str(name) in named & ops
    }
    others = {key: value for key, value in config.items() if key != "ops"}
    return {**others, "ops": kept} if kept else others


def unsendable(config: Mapping[str, Any]) -> list[str]:
    """Return a line, with its path, for each value that JSON (and so a launch) cannot have."""
    if fault := scalars.unwalkable(config):
        return [fault]
    try:
        json.dumps(scalars.resolve(config), allow_nan=False)
    except (TypeError, ValueError):
        return list(_unsendable(config, ""))
    return []


def _unsendable(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, (Mapping, list)):
        for key, child in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _unsendable(child, f"{path}.{key}" if path else str(key))
        return
    value = scalars.resolve(value)
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
            f"--set {path}= has no value",
            "For an empty text, type:",
            command=f'''--set {path}="''"''',
        )
    config: Any = parse_yaml(value, f"--set {path}", scalars.parse_value)
    for part in reversed(path.split(".")):
        config = {part: config}
    return dict(config)


def config_error(what: str, errors: Iterable[Mapping[str, Any]], hint: str = CORRECT_IT) -> Invalid:
    """Return an error that names each field that Dagster refuses."""
    return not_valid(what, sorted({_line(error) for error in errors}), hint)


def no_such_ops(what: str, names: Iterable[str], known: frozenset[str], hint: str) -> Invalid:
    """Return the error for run config of ops that do not run, with the nearest that do."""
    lines = [f"ops.{name} is not an op of {what}{did_you_mean(name, known)}" for name in names]
    return not_valid(what, lines, hint)


def not_valid(what: str, lines: Iterable[str], hint: str = CORRECT_IT) -> InvalidConfig:
    """Return an error for a run config, with a line for each problem."""
    lines = list(lines)
    error = InvalidConfig(f"the run config of {what} is not valid:\n  " + "\n  ".join(lines), hint)
    error.lines = lines
    return error


def _line(error: Mapping[str, Any]) -> str:
    path = [
        str(entry.get("fieldName", entry.get("listIndex", entry.get("mapKey"))))
        for entry in error["stack"]["entries"]
    ]
    field_name = (error.get("field") or {}).get("name") or error.get("fieldName")
    missing = [field["name"] for field in error.get("fields", [])] or [field_name]
    kind, message = error["reason"], error["message"]
    if kind.startswith("MISSING_REQUIRED_FIELD"):
        example = message.partition("Example config for the missing entry: ")[2].strip()
        example = f", for example {example}" if example else ""
        return "; ".join(f"{'.'.join([*path, str(name)])} is missing{example}" for name in missing)
    if path == ["execution", "config"] and field_name == "in_process":
        return "the executor of this code location cannot be chosen: leave --executor out"
    if kind.startswith(("FIELD_NOT_DEFINED", "FIELDS_NOT_DEFINED")):
        # Dagster appends the schema as text: suggest one of its names.
        known = list(_fields(message.partition("Expected: ")[2]))
        return "; ".join(
            f"{'.'.join([*path, str(name)])} is not a field here{_nearest(path, str(name), known)}"
            for name in error.get("fieldNames") or [field_name]
        )
    first = message.split(" Expected: ")[0].strip().partition("\n")[0].strip()
    if wrong := MISMATCH.match(first):
        first = "'{}' is not of the type {}".format(*wrong.groups())
    return f"{'.'.join(path) or 'the root'}: {first}"


def _fields(schema: str) -> Iterator[list[str]]:
    """Yield the path of each field in a schema as Dagster writes it, `{ ops?: { a: Int } }`."""
    parents: list[str] = []
    name = ""
    for field_name, brace in re.findall(r"(\w+)\??:|([{}])", schema):
        if brace == "{":
            parents.append(name)
        elif brace:
            del parents[-1:]
        else:
            name = field_name
            yield [*parents[1:], name]


def _nearest(path: Sequence[str], name: str, known: Sequence[Sequence[str]]) -> str:
    """Suggest the field of the only op that has one of this name, or a similar name."""
    deeper = [[*path, *field] for field in known if field[-1] == name]
    if len(of_ops := [field for field in deeper if field[0] == "ops"]) == 1:
        return f" — did you mean '{'.'.join(of_ops[0])}'?"
    return did_you_mean(name, {field[-1] for field in known} - {name})
