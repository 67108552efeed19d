"""The schema of the settings, and the messages about values that break it.

Messages name file, line and key and never a value: a value may be a secret
that a user wrote instead of the name of its variable.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagmar.errors import SettingsError, did_you_mean
from dagmar.files import UNUSABLE, unusable
from dagmar.project.sources import CORRECT_IT, KeyPath, Layer, plain

ADDRESS = "an address that starts with http:// or https://, without user name, query or fragment"


@functools.cache
def schema() -> dict[str, Any]:
    """Return the JSON schema that editors read too."""
    file = Path(__file__).with_name("settings.schema.json")
    return dict(json.loads(file.read_text("utf-8")))


def check(layer: Layer) -> None:
    """Validate the values; raise one SettingsError that lists every problem."""
    import fastjsonschema

    validate = fastjsonschema.compile(schema())
    problems: list[str] = []
    # Infinity and NaN are floats in YAML, but not numbers in JSON: they become text.
    values = json.loads(json.dumps(layer.values, default=str), parse_constant=str)
    for path in dict.fromkeys(unusable(values)):
        problems.append(f"{layer.place(path)}: '{'.'.join(path)}' has {UNUSABLE}")
        _remove(values, path)
    while True:
        try:
            validate(values)
            break
        except fastjsonschema.JsonSchemaValueException as error:
            path = tuple(str(part) for part in error.path[1:])
            messages = _problems(layer, path, error)
            problems += filter(None, messages.values())
            # Bad values are removed, so that the next round reports further problems.
            removed = [_remove(values, bad) for bad in messages]
            if not all(removed):
                break
    problems += _same_names(layer)
    if problems:
        message = "\n".join(sorted(problems, key=_line))
        raise SettingsError(message, CORRECT_IT)


def _line(problem: str) -> tuple[str, int]:
    file, _, rest = problem.partition(":")
    number = rest.partition(":")[0]
    return file, int(number) if number.isdigit() else 0


def _problems(layer: Layer, path: KeyPath, error: Any) -> dict[KeyPath, str]:
    """Return the bad paths with a message for each; an empty one if it was reported before."""
    key = ".".join(path)
    where = layer.place(path)
    rule, definition = error.rule, error.definition
    if rule == "additionalProperties":
        known = [*definition.get("properties", {})]
        unknown = [(*path, name) for name in error.value if name not in known]
        return {
            bad: f"{layer.place(bad)}: unknown key '{'.'.join(bad)}'{did_you_mean(bad[-1], known)}"
            for bad in unknown
        }
    if rule == "propertyNames":
        return {path: f"{where}: '{key}' holds a name with letters that are not allowed"}
    if rule == "required":
        # What was removed as bad is not missing.
        missing = [name for name in error.rule_definition if name not in _at(layer.values, path)]
        return {path: f"{where}: '{key}' needs {' and '.join(missing)}" if missing else ""}
    if rule == "anyOf":  # of several keys one is needed
        wanted = [name for each in error.rule_definition for name in each["required"]]
        removed = {*wanted} & {*_at(layer.values, path)}
        return {path: "" if removed else f"{where}: '{key}' needs {' or '.join(wanted)}"}
    if rule == "enum":
        allowed = ", ".join(str(item) for item in error.rule_definition)
        # Without its type, the rest of the mapping means nothing: remove all of it.
        return {path[:-1]: f"{where}: '{key}' must be one of {allowed}"}
    return {path: f"{where}: '{key}' must {_wanted(path, rule, definition)}"}


def _wanted(path: KeyPath, rule: str, definition: Mapping[str, Any]) -> str:
    if rule == "type":
        kinds = {
            "array": "a list",
            "object": "a mapping",
            "boolean": "true or false",
            "string": "text",
        }
        return f"be {kinds.get(definition['type'], 'a number')}"
    if path[-1] == "url":
        return f"be {ADDRESS}"
    if rule == "pattern":
        return "be the name of an environment variable, not a secret"
    limits = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than"}
    bounds = [f"{words} {definition[key]}" for key, words in limits.items() if key in definition]
    return f"be {' and '.join(bounds)}" if bounds else "not be empty"


def _at(values: Any, path: KeyPath) -> dict[str, Any]:
    """Return the mapping at `path`, or an empty one."""
    for part in path:
        values = values.get(part) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}


def _remove(values: Any, path: KeyPath) -> bool:
    return bool(path) and _at(values, path[:-1]).pop(path[-1], path) is not path


def _same_names(layer: Layer) -> list[str]:
    """Refuse targets that the same environment variables would set."""
    seen = {"local": "local"}  # which always exists
    problems = []
    targets = _at(layer.values, ("targets",))
    for name in targets:
        first = seen.setdefault(plain(str(name)), name)
        place = layer.place(("targets", name))
        if first != name and first not in targets:
            problems.append(
                f"{place}: the target '{name}' differs only in case from 'local', which always "
                "exists; call it local, or rename it"
            )
        elif first != name:
            problems.append(
                f"{place}: the targets '{first}' ({layer.place(('targets', first))}) and "
                f"'{name}' differ only in case or dashes; rename one"
            )
    return problems
