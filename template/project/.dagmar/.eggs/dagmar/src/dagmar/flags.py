"""The values that users type after flags and in fields: numbers, ports, pairs.

All of them arrive as text: Invoke itself answers a malformed number with a traceback.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

from dagmar.errors import UsageError

Number = TypeVar("Number", int, float)


def parse_number(
    name: str, text: str, example: float, least: float = 0, unit: str = ""
) -> float | None:
    """Return a number, None for a flag that was left out. Raises UsageError."""
    kind = f"number of {unit}" if unit else "number"
    return _parse(float, name, text, f"a {kind}, {least:g} or more", example, least)


def parse_whole(name: str, text: str, example: int, least: int = 1) -> int | None:
    """Return a whole number, None for a flag that was left out. Raises UsageError."""
    return _parse(_digits, name, text, f"a whole number, {least} or more", example, least)


def parse_port(name: str, text: str) -> int | None:
    """Return a port, None for a flag that was left out. Raises UsageError."""
    return _parse(_digits, name, text, "a port from 1 to 65535", 3100, 1, 65535)


def parse_pairs(
    name: str,
    texts: Iterable[str],
    example: str,
    form: str = "KEY=VALUE",
    is_key: Callable[[str], bool] = bool,
) -> tuple[tuple[str, str], ...]:
    """Split each text at its first equals sign, where `is_key` accepts what is before it.

    Raises UsageError.
    """
    pairs = []
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not (equals and key and is_key(key)):
            raise _malformed(name, form, text, example)
        pairs.append((key, value))
    return tuple(pairs)


def parse_tags(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the tags that `--tag` gives. Raises UsageError."""
    return parse_pairs("--tag", texts, "tier=gold")


def _malformed(name: str, form: str, text: str, example: str) -> UsageError:
    flag = f"{name} " if name.startswith("--") else ""
    return UsageError(f"{name} takes {form}, not '{text}'", f"For example: {flag}{example}")


def _parse(
    read: Callable[[str], Number],
    name: str,
    text: str,
    form: str,
    example: float,
    least: float,
    most: float = sys.float_info.max,
) -> Number | None:
    if not text:
        return None
    with contextlib.suppress(ValueError):
        if least <= (number := read(text)) <= most:
            return number
    raise _malformed(name, form, text, f"{example:g}")


def _digits(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(text)
    return int(text)
