"""Names for notebook files, and for the variables of their inputs cell."""

from __future__ import annotations

import builtins
import hashlib
import keyword
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

from dagmar.asset_key import AssetKey
from dagmar.errors import UsageError

# Tools add prefixes and suffixes to a name, and file systems allow 255 bytes.
LONGEST = 120
# Devices of Windows, which no file may be called, whatever its suffix.
DEVICES = re.compile(r"aux|con|nul|prn|(com|lpt)[0-9]")
# What the cells of the shipped templates define, and what every notebook module has.
TAKEN = {
    "app", "baseline", "button", "by", "controls", "dagmar", "ended", "errors", "everything",
    "feature", "frame", "here", "inputs", "keep", "lines", "look", "marimo", "materialized", "mo",
    "numbers", "nw", "pair", "partition_key", "predicted", "preview", "rows", "run", "since",
    "slope", "stats", "table", "tables", "tabs", "target", "test", "title", "train", "x", "y",
}  # fmt: skip


@dataclass(frozen=True)
class Names:
    """Creates and checks names.

    `folders` are where the project's own modules are imported from.
    """

    folders: Sequence[Path] = ()

    def of_notebook(self, key: str) -> str:
        """Return the name of the notebook for an asset or a job: `raw_orders` for `raw/orders`.

        It depends on the key alone, so the same call always means the same file. Letters of all
        alphabets are letters; a key without one is named after its hash.
        """
        name = _plain(_lower(key))
        mark = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:8]
        if not name.strip("_"):
            name = mark
        if not name[0].isidentifier():
            name = f"nb_{name}"
        if len(name.encode()) > LONGEST:
            name = name.encode()[: LONGEST - 9].decode("utf-8", "ignore") + f"_{mark}"
        return f"{name}_notebook" if self._is_taken(name) else name

    def check(self, name: str) -> str:
        """Return a valid name of a notebook unchanged. Raises UsageError."""
        if not name.isidentifier() or name != _lower(name):
            hint = "Use lower-case letters, digits and underscores: --name orders_by_day"
            raise UsageError(f"--name takes the name of a Python module, not {name!r}", hint)
        if len(name.encode()) > LONGEST:
            raise UsageError(f"--name takes at most {LONGEST} bytes", "Choose a shorter name.")
        if self._is_taken(name):
            message = f"a notebook called {name} would shadow the Python module of that name"
            raise UsageError(message, f"Add a word: --name {name}_notebook")
        return name

    def of_variables(self, keys: Sequence[str]) -> list[str]:
        """Return a variable for each upstream key: its last part, or more if that is taken."""
        plain_keys = [[_plain(part) for part in AssetKey(key).parts] for key in keys]
        last = Counter(self._usable(parts[-1]) for parts in plain_keys)
        names: list[str] = []
        for parts in plain_keys:
            choices = ["_".join(parts[-count:]) for count in range(1, len(parts) + 1)]
            if last[self._usable(parts[-1])] > 1:  # shared by several keys, so none gets it
                choices = choices[1:] or choices
            free = [name for name in map(self._usable, choices) if name not in names]
            longest = self._usable(choices[-1])
            numbered = (f"{longest}_{number}" for number in range(2, len(keys) + 2))
            names.append(next(name for name in (*free, *numbered) if name not in names))
        return names

    def _usable(self, name: str) -> str:
        """Return plain text as a variable; a leading underscore would keep it in its cell."""
        name = name.strip("_") or "value"
        if not name[0].isidentifier():
            name = f"n{name}"
        taken = name in TAKEN or hasattr(builtins, name) or self._is_taken(name)
        return f"{name}_value" if taken else name

    def _is_taken(self, name: str) -> bool:
        """Whether this is a keyword of Python, or `import name` already finds a module."""
        if keyword.iskeyword(name) or keyword.issoftkeyword(name):
            return True
        if DEVICES.fullmatch(name) or name in reserved_names() or name in sys.stdlib_module_names:
            return True
        for folder in self.folders:
            if (folder / f"{name}.py").is_file() or any((folder / name).glob("*.py")):
                return True
        installed = [folder for folder in sys.path if "site-packages" in folder]
        return PathFinder.find_spec(name, installed) is not None


@cache
def reserved_names() -> frozenset[str]:
    """Return the names that would shadow a module, also of another Python or not installed yet."""
    import yaml

    return frozenset(yaml.safe_load(Path(__file__).with_name("reserved.yml").read_text("utf-8")))


def _lower(text: str) -> str:
    """Return text in lower case as Python reads a name: a letter of mathematics is a letter."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())


def _plain(text: str) -> str:
    """Return text as Python reads a name, with `_` for everything that no name may have in it."""
    text = unicodedata.normalize("NFKC", text)
    return re.sub("_+", "_", "".join(c if f"x{c}".isidentifier() else "_" for c in text))
