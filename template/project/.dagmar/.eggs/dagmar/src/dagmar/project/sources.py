"""Where settings are written: YAML files, `.env`, and the environment, each value with its place.

Every source becomes a `Layer`: nested plain values, and for each path into them
the place (`dagmar.yaml:12`) that an error message can point at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagmar import scalars
from dagmar.errors import SettingsError, did_you_mean
from dagmar.files import UNREADABLE, reading
from dagmar.project.environ import bindings

KeyPath = tuple[str, ...]

PREFIX = "DAGMAR_"
READERS: Mapping[str, Callable[[str], Any]] = {
    "boolean": scalars.as_bool,
    "integer": scalars.as_int,
    "number": scalars.as_float,
}
CHECK_YAML = "Check indentation, colons and quotes around this line."
CORRECT_IT = "Correct the settings, then try again."


@dataclass
class Layer:
    """Nested values, and where each path in them was written."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """Return where `path`, or else its nearest parent, was written."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, "")

    def over(self, lower: Layer) -> Layer:
        """Return this layer merged over `lower`, mapping by mapping."""
        values = merge(lower.values, self.values, _is_other_auth)
        return Layer(values, {**lower.places, **self.places})


def merge(
    lower: Mapping[str, Any],
    upper: Mapping[str, Any],
    replaces: Callable[[str, Any, Any], bool] = lambda key, below, value: False,
) -> dict[str, Any]:
    """Return `upper` merged over `lower`, mapping by mapping; lists are replaced.

    `replaces(key, below, value)` decides whether a mapping is replaced as a whole too.
    """
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if not (isinstance(below, Mapping) and isinstance(value, Mapping)):
            merged[key] = value
        else:
            merged[key] = value if replaces(key, below, value) else merge(below, value, replaces)
    return merged


def _is_other_auth(key: str, below: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    # The keys of one type of login mean nothing to another.
    return key == "auth" and "type" in value and below.get("type") != value["type"]


def read_yaml(file: Path, name: str) -> Layer:
    """Read a YAML file, called `name` in messages. A missing file is an empty layer.

    Raises SettingsError for a file that cannot be read or is not a mapping of names.
    """
    import yaml

    with reading(name, SettingsError):
        try:
            text = file.read_text("utf-8")
        except FileNotFoundError:
            return Layer()
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        node = loader.get_single_node()
        places = _places(loader, node, name)
        values = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        last = len(text.splitlines()) or 1  # what is not closed is reported after the end
        raise SettingsError(
            f"{name}:{min(line, last)}: this is not valid YAML ({_without_quotes(error.problem)})",
            CHECK_YAML,
        ) from None
    except (yaml.YAMLError, *UNREADABLE):
        raise SettingsError(f"{name}: this is not valid YAML", CHECK_YAML) from None
    if values is None:
        return Layer()
    if not isinstance(values, dict):
        message = f"{name}:1: settings are a mapping, as in `target: local`"
        raise SettingsError(message, CORRECT_IT)
    return Layer(values, places)


def _without_quotes(problem: str | None) -> str:
    """Return YAML's problem without quotes from the file, but with marks: `expected ',' or ']'`."""
    match = re.match(r"(?:[^'\"]|'[],}:-]')*", problem or "")
    return (match[0].partition(", but ")[0].strip() if match else "") or "malformed"


def _places(loader: Any, node: Any, name: str) -> dict[KeyPath, str]:
    """Map each path of a YAML document to `name:line`, and refuse what settings cannot be."""
    import yaml

    places: dict[KeyPath, str] = {}
    budget = 10_000

    def walk(node: Any, path: KeyPath, seen: frozenset[int]) -> None:
        nonlocal budget
        line = f"{name}:{node.start_mark.line + 1}" if node else ""
        if id(node) in seen:
            raise SettingsError(f"{line}: '{'.'.join(path)}' contains itself", CORRECT_IT)
        budget -= 1
        if budget < 0:
            message = f"{name} is too large, or repeats itself through aliases"
            raise SettingsError(message, CORRECT_IT)
        seen |= {id(node)}
        if isinstance(node, yaml.ScalarNode):
            what = f"'{'.'.join(path)}'" if path else "this"
            try:
                value = loader.construct_object(node)
            except UNREADABLE:
                problem = f"{line}: {what} is not a valid {node.tag.rpartition(':')[2]}"
                raise SettingsError(problem, "For a text, put it in quotes.") from None
            if type(value) in (int, float) and value == value != scalars.scalar(node.value):
                problem = f"{line}: {what} is a number that versions of YAML read differently"
                raise SettingsError(
                    problem, "Put quotes around a text, and write a number as in JSON."
                )
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                walk(item, (*path, str(index)), seen)
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            line = f"{name}:{key.start_mark.line + 1}"
            here = (*path, str(key.value))
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.tag != "tag:yaml.org,2002:str":
                raise SettingsError(f"{line}: a key is a name; put this one in quotes", CORRECT_IT)
            if here in places:
                raise SettingsError(f"{line}: '{'.'.join(here)}' is set twice", CORRECT_IT)
            places[here] = line
            walk(value, here, seen)

    walk(node, (), frozenset())
    return places


def read_dotenv(file: Path) -> dict[str, tuple[str, str]]:
    """Return a `.env` file's `DAGMAR_` variables and their places; ignore all other lines."""
    if not file.is_file():
        return {}
    variables: dict[str, tuple[str, str]] = {}
    with reading(file.name, SettingsError):
        for binding, line in bindings(file):
            if binding.key and binding.key.startswith(PREFIX) and binding.value is not None:
                variables[binding.key] = (binding.value, f"{file.name}:{line}")
    return variables


def variables_layer(
    variables: Mapping[str, tuple[str, str]], schema: Mapping[str, Any], below: Layer
) -> Layer:
    """Turn `DAGMAR_TARGETS__PROD__URL` into `targets.prod.url`.

    `variables` maps a name to (text, place). Names are matched without regard to case,
    and `-` as `_`, against the keys of `schema` and those already set in `below`;
    text is read as the type that the schema gives. A new header has `-` for `_`.
    """
    layer = Layer()
    for name, (text, place) in variables.items():
        path, spec = _find(name[len(PREFIX) :].split("__"), schema, below.values, name, place)
        here = layer.values
        for depth, part in enumerate(path[:-1], 1):
            here = here.setdefault(part, {})
            if not isinstance(here, dict):
                parent = path[:depth]
                where = f"{layer.place(parent)}: '{'.'.join(parent)}'"
                raise SettingsError(f"{where} must be a mapping", CORRECT_IT)
        here[path[-1]] = _typed(text, spec)
        layer.places[path] = place
    return layer


def _find(
    parts: list[str], schema: Mapping[str, Any], below: Any, name: str, place: str
) -> tuple[KeyPath, Mapping[str, Any]]:
    path: KeyPath = ()
    definitions = schema.get("definitions", {})
    for part in parts:
        below = below if isinstance(below, dict) else {}
        known, free = schema.get("properties", {}), schema.get("additionalProperties") or {}
        match = next((key for key in [*known, *below] if plain(key) == plain(part)), "")
        if not (match or free):
            meant = did_you_mean(part.lower(), known)
            variable = place if name in place else f"{place}: {name}"
            hint = "Correct the name of the variable, or unset it."
            raise SettingsError(f"{variable} is not a setting of dagmar{meant}", hint)
        # In a shell, the name of a variable cannot have the `-` of a header's name.
        new = part.lower().replace("_", "-") if path[-1:] == ("headers",) else part.lower()
        path = (*path, match or new)
        schema = known.get(path[-1]) or free
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rpartition("/")[2]]
        below = below.get(path[-1])
    return path, schema


def plain(key: str) -> str:
    """Return a name as environment variables have it: in one case, and with `_` for `-`."""
    return key.lower().replace("-", "_")


def _typed(text: str, spec: Mapping[str, Any]) -> Any:
    """Return the value of a text for a setting; what does not fit stays text, and is refused."""
    kind = str(spec.get("type"))
    if kind == "string" or "enum" in spec:
        return text
    import yaml

    try:
        if kind in READERS:
            return READERS[kind](text.strip())
        return json.loads(json.dumps(yaml.safe_load(text)))
    except (yaml.YAMLError, *UNREADABLE):
        return text  # not YAML, or what JSON does not have: dates, cycles
