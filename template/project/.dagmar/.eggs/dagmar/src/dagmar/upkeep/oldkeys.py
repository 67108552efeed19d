"""Renames settings that still have an old name, in the file itself.

The old names are in the schema: a renamed key lists them in `formerly`. A key
that differs from a known one in capitals or dashes only (`readOnly`, `poll-seconds`) is renamed
too. The key alone is replaced, at the place where the parser found it: comments, order, quotes and
values stay byte for byte, which a round trip through a YAML library does not promise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OldKey:
    """A key as it is written, its new name, and its position in the text."""

    path: tuple[str, ...]
    name: str
    line: int
    start: int
    end: int


def find_old_keys(text: str, schema: Mapping[str, Any]) -> list[OldKey]:
    """Return the old keys of a settings file, in the order of its lines.

    A file that is not valid YAML has none, and neither has a key whose new name is also there: a
    person has to decide which of the two values counts.
    """
    import yaml

    try:
        node = yaml.compose(text, getattr(yaml, "SafeLoader"))  # noqa: B009  marks count characters
    except (yaml.YAMLError, RecursionError, ValueError):
        return []
    return list(_walk(node, schema, ()))


def _walk(node: Any, schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[OldKey]:
    import yaml

    if not isinstance(node, yaml.MappingNode) or len(path) > 10:
        return
    known: Mapping[str, Any] = schema.get("properties", {})
    free = schema.get("additionalProperties")
    taken = [str(key.value) for key, _ in node.value]
    new_names = [_new_name(name, known) if name not in known else "" for name in taken]
    for (key, value), name, new in zip(node.value, taken, new_names, strict=True):
        if name in known:
            yield from _walk(value, known[name], (*path, name))
        elif new and new not in taken and new_names.count(new) == 1:
            start, end = key.start_mark, key.end_mark
            yield OldKey((*path, name), new, start.line + 1, start.index, end.index)
            yield from _walk(value, known[new], (*path, name))
        elif isinstance(free, dict):
            yield from _walk(value, free, (*path, name))


def _new_name(name: str, known: Mapping[str, Any]) -> str:
    for new, spec in known.items():
        if name in spec.get("formerly", ()) or _plain(name) == _plain(new):
            return new
    return ""


def _plain(name: str) -> str:
    """Return a key without differences of style: `pollSeconds`, `poll-seconds`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|-", "_", name).lower()


def rename(text: str, old: list[OldKey]) -> str:
    """Return the text with the new names; everything else stays as it is."""
    for key in sorted(old, key=lambda key: key.start, reverse=True):
        text = text[: key.start] + key.name + text[key.end :]
    return text
