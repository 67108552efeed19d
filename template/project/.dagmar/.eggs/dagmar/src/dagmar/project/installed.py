"""The distributions on disk, compared with those that this process has imported.

An upgrade does not reach what is imported: without a look at the disk, old library code would run
silently, and a run would be recorded with the versions of the new.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dagmar.errors import SetupError, some

_Found = dict[str, tuple[Path, int]]
"""The folder with a distribution's facts, and when it was written, by the distribution's name."""

_states: dict[str, int] = {}
_known: _Found = {}
_outdated: dict[str, str] = {}


def note_installed() -> None:
    """Remember what is installed now, unless that was done before. It takes a millisecond."""
    if not _states:
        _states.update(_folders())
        _known.update(_read())


def require_current() -> None:
    """Raise SetupError if a distribution was changed on disk after this process imported it."""
    note_installed()
    if (states := _folders()) != _states:
        found = _read()
        for name, (folder, at) in _known.items():
            if found.get(name) != (folder, at) and _imported(name, found):
                _outdated[name] = _difference(folder, found[name][0] if name in found else None)
        # What was not imported yet will be imported as it is now.
        _known.update({name: found[name] for name in found if name not in _outdated})
        _states.clear()
        _states.update(states)
    if _outdated:
        raise SetupError(
            f"{some(list(_outdated.values()))}, after this process had imported it",
            "Restart the kernel: until then the old code would run.",
        )


def editable_folders() -> list[Path]:
    """Return the folders of the distributions that are installed as editable."""
    found = []
    for folder, _ in _read().values():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            origin = json.loads((folder / "direct_url.json").read_bytes())
            if origin["dir_info"].get("editable"):
                found.append(Path(unquote(urlsplit(origin["url"]).path)))
    return found


def _folders() -> Mapping[str, int]:
    """Return the folders that packages are installed in, and when a name in them changed last."""
    found = {}
    for folder in sys.path:
        if os.path.basename(folder) in ("site-packages", "dist-packages"):
            with contextlib.suppress(OSError):
                found[folder] = os.stat(folder).st_mtime_ns
    return found


def _read() -> _Found:
    found: _Found = {}
    for folder in _folders():
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                name, _, end = entry.name.partition("-")
                if end.endswith(".dist-info"):
                    with contextlib.suppress(OSError):
                        found.setdefault(name, (Path(entry.path), entry.stat().st_mtime_ns))
    return found


def _imported(name: str, found: _Found) -> bool:
    """Return whether a module of a distribution was imported, as its list of files says."""
    if name not in found:
        return name.lower() in sys.modules
    folder, _ = found[name]
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    try:
        lines = (folder / "RECORD").read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return name.lower() in sys.modules
    return any(str(folder.parent / line.partition(",")[0]) in files for line in lines)


def _difference(old: Path, new: Path | None) -> str:
    (name, _, was), now = old.stem.partition("-"), new.stem.partition("-")[2] if new else ""
    name = name.replace("_", "-")
    if not now:
        return f"{name} {was} was removed"
    again = f"{name} {was} was installed again"
    return again if was == now else f"{name} was changed from {was} to {now}"
