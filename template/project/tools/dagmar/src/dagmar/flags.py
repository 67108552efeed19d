"""The values that users type after flags and in fields: numbers, ports, pairs.

All of them arrive as text: Invoke itself answers a malformed number with a traceback.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from dagmar.errors import UsageError


def parse_number(
    name: str, text: str, example: float, least: float = 0, unit: str = ""
) -> float | None:
    """Return a number, None for a flag that was left out.

    Raises UsageError.
    """
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number < math.inf:
        kind = f"number of {unit}" if unit else "number"
        raise _malformed(name, f"a {kind}, {least:g} or more", text, f"{example:g}")
    return number


def parse_whole(name: str, text: str, example: int, least: int = 1) -> int | None:
    """Return a whole number, None for a flag that was left out.

    Raises UsageError.
    """
    if not text:
        return None
    number = _digits(text)
    if number is None or number < least:
        raise _malformed(name, f"a whole number, {least} or more", text, str(example))
    return number


def parse_port(name: str, text: str) -> int | None:
    """Return a port, None for a flag that was left out.

    Raises UsageError.
    """
    if not text:
        return None
    number = _digits(text)
    if number is None or not 1 <= number <= 65535:
        raise _malformed(name, "a port from 1 to 65535", text, "3100")
    return number


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


def _digits(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
