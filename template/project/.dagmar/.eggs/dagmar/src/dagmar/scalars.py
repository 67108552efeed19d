"""Values that users type as text: YAML by the core schema of YAML 1.2, without its surprises.

PyYAML reads YAML 1.1, for which `NO` is false, `10:30` is 630, `0o17` is a text and `01067` is an
octal number. Of the core schema (yaml.org/spec/1.2.2, 10.3.2) one rule is left out: a number may
start with zeros there, and a postal code or an account number would lose them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""What means true and false if it is known that one of them is meant."""
WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
REAL = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
DIGITS = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*")

DEEPEST = 100
"""Levels of lists and mappings in a value; Python itself can walk through about 400."""
NOT_PLAIN = ("[", "{", "'", '"', "!!")


class Plain(str):
    """Text that was typed without quotes: what takes it decides what it means.

    Until then it is equal to what the core schema has for it.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return bool(scalar(self) == (scalar(other) if isinstance(other, Plain) else other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(scalar(self))


def parse(text: str) -> Any:
    """Return YAML, or JSON, with each value without quotes as `Plain`, and keys as they are typed.

    Raises yaml.YAMLError, and what PyYAML raises for text that is not what its tag says.
    """
    import yaml

    return yaml.load(text, Loader=_loader())  # noqa: S506  a SafeLoader


def parse_value(text: str) -> Any:
    """Return what is typed as one value: a list, a mapping or a quoted text, else it is whole.

    In YAML a `#` would begin a comment, and `@home` would be an error. Raises as `parse` does.
    """
    text = text.strip()
    return parse(text) if text.startswith(NOT_PLAIN) else Plain(text)


def unwalkable(value: Any, inside: tuple[int, ...] = ()) -> str:
    """Say why a value has no end, or more than `DEEPEST` levels; empty if it has neither fault."""
    if not isinstance(value, (Mapping, list)):
        return ""
    if id(value) in inside:
        return "it contains itself"
    if len(inside) == DEEPEST:
        return "it is nested too deeply"
    children = value.values() if isinstance(value, Mapping) else value
    return next(filter(None, (unwalkable(child, (*inside, id(value))) for child in children)), "")


def resolve(value: Any) -> Any:
    """Return a value with each `Plain` in it as the core schema has it."""
    if isinstance(value, Plain):
        return scalar(value)
    if isinstance(value, Mapping):
        return {str(key): resolve(child) for key, child in value.items()}
    return [resolve(child) for child in value] if isinstance(value, list) else value


def scalar(text: str) -> Any:
    """Return what a text without quotes is in the core schema."""
    text = str(text)
    if text in NULLS:
        return None
    if text in BOOLEANS:
        return BOOLEANS[text]
    if WHOLE.fullmatch(text):
        return int(text)
    if BASED.fullmatch(text):
        return int(text, 0)
    if REAL.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if SPECIAL.fullmatch(text) else text


def as_bool(text: str) -> bool:
    """Return what a text means to a boolean: yes and off, too. Raises ValueError."""
    if text.lower() not in WORDS:
        raise ValueError(text)
    return WORDS[text.lower()]


def as_int(text: str) -> int:
    """Return what a text means to a whole number: 007 and 1_000, too. Raises ValueError."""
    return int(text) if DIGITS.fullmatch(text) else int(text, 0)


def as_float(text: str) -> float:
    """Return what a text means to a number: 007 and 1_000.5, too. Raises ValueError."""
    return float(scalar(text)) if SPECIAL.fullmatch(text) else float(text)


def dump(value: Any) -> str:
    """Return YAML that `parse`, and YAML 1.1 as well, read as this value."""
    import yaml

    return str(yaml.dump(value, Dumper=_dumper(), sort_keys=False, allow_unicode=True))


@functools.cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Keeps apart what has quotes or a tag, and what has neither."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            values = super().construct_mapping(node, deep)
            return {str(key) if isinstance(key, Plain) else key: values[key] for key in values}

    # `<<` is of YAML 1.1 only, and in many a file.
    Loader.yaml_implicit_resolvers = {
        "<": [("tag:yaml.org,2002:merge", re.compile(r"<<"))],
        None: [("!plain", re.compile(""))],
    }
    Loader.add_constructor("!plain", lambda _, node: Plain(node.value))
    return Loader


@functools.cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes quotes around a text that either version of YAML takes for something else."""

    def text(dumper: Any, value: str) -> Any:
        style = None if scalar(value) == value else "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper
