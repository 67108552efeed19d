"""The key of an asset: its components, and the one text that stands for them."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote


class AssetKey(str):
    r"""An asset key as Dagster's escaped text: `wh/orders`, or `wh/a\/b` for `["wh", "a/b"]`.

    It is that text wherever text is wanted: in JSON, as the key of a dict, in a message.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> AssetKey:
        r"""Read what a user or a file says; `\` before a character stands for that character."""
        if isinstance(text, cls):
            return text
        return super().__new__(cls, text) if "\\" not in text else cls.from_parts(_split(text))

    @classmethod
    def from_parts(cls, parts: Iterable[str]) -> AssetKey:
        """Return the key of these components."""
        escaped = (part.replace("\\", "\\\\").replace("/", "\\/") for part in parts)
        return super().__new__(cls, "/".join(escaped))

    @property
    def parts(self) -> tuple[str, ...]:
        """The components."""
        return tuple(_split(self))

    @property
    def as_input(self) -> dict[str, list[str]]:
        """The key as GraphQL takes it."""
        return {"path": list(self.parts)}

    @property
    def as_url_path(self) -> str:
        """The key as the path of its page in the Dagster UI, percent-encoded by component."""
        return "/".join(quote(part, safe="") for part in self.parts)


def _split(text: str) -> list[str]:
    """Return the components of an escaped text, as Dagster does; an empty last one is kept."""
    if "\\" not in text:
        return text.split("/")
    parts, escaped = [""], False
    for character in text:
        if not escaped and character == "/":
            parts.append("")
        elif not escaped and character == "\\":
            escaped = True
            continue
        else:
            parts[-1] += character
        escaped = False
    return parts
