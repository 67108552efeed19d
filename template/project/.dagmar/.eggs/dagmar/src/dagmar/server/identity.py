"""Whether a Dagster server has this project's code.

A server that nobody named, found on the default port, may be another project's. The client asks
it for its code locations with the first query, in the same request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dagmar.errors import SetupError, WrongServer, some
from dagmar.project.layout import find_root
from dagmar.project.locations import AUTOLOAD, FILE, GRPC, MODULE, CodeLocation, read_workspace
from dagmar.project.settings import Target

FIELD = "code"
PROCESS = "process"
"""The fields of an answer that `require_project` reads."""
QUESTION = f"""
  {PROCESS}: instance {{ executablePath info }}
  {FIELD}: workspaceOrError {{
    __typename
    ... on Workspace {{ locationEntries {{ name displayMetadata {{ key value }} }} }}
    ... on PythonError {{ message }}
  }}"""
_LOADERS = {
    "python_file": FILE, "module_name": MODULE, "package_name": MODULE,
    "autoload_defs_module_name": AUTOLOAD,
}  # fmt: skip
# Its temporary folder is where `dagster dev` was typed; `invoke dev` has one in the project.
_INSTANCE = re.compile(r"^ +base_dir: (/.*)$", re.MULTILINE)
# What many projects have in common.
_FILE_NAME = re.compile(r"\.py(:|$)")


def require_project(
    target: Target, entries: Sequence[Mapping[str, Any]], process: Mapping[str, Any]
) -> None:
    """Raise WrongServer unless one of a server's code locations is of the target's project.

    `process` says which interpreter and instance the server has.
    """
    if target.project is None:
        return
    root = target.project.resolve()
    served = [_location(entry, process) for entry in entries]
    try:
        declared = read_workspace(root).locations
    except SetupError:
        declared = ()
    if any(_is_of(root, location, declared) for location in served):
        return
    has = f"has another project's code: {some([_described(location) for location in served])}"
    raise WrongServer(
        f"Dagster at {target.url} {has if served else 'has no code location'}",
        f"If this server is meant, add `--url {target.url}`, or set targets.{target.name}.url in "
        "dagmar.yaml.",
        "invoke dev",
    )


def is_from(root: Path, entry: Mapping[str, Any], process: Mapping[str, Any]) -> bool:
    """Return whether a server loads a code location from files of the project in `root`."""
    file = _file(_location(entry, process))
    return file is not None and _has(root.resolve(), file)


def _location(entry: Mapping[str, Any], process: Mapping[str, Any]) -> CodeLocation:
    """Return a code location from what a server says about how it was loaded.

    A module of a workspace.yaml often has no absolute folder: then it is one above the instance or
    the interpreter of the server, if that has the module.
    """
    facts = {fact["key"]: fact["value"] for fact in entry["displayMetadata"]}
    folder = Path(facts.get("working_directory", ""))
    for key, kind in _LOADERS.items():
        if target := facts.get(key):
            target = str(folder / target) if kind == FILE else target
            location = CodeLocation(entry["name"], kind, target, folder)
            if kind == FILE or folder.is_absolute():
                return location
            near = (above / folder for above in _near(facts, process))
            placed = (replace(location, working_directory=place) for place in near)
            return next((place for place in placed if place.source), location)
    address = facts.get("socket") or ":".join(filter(None, map(facts.get, ("host", "port"))))
    return CodeLocation(entry["name"], GRPC, address, folder)


def _near(facts: Mapping[str, str], process: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the folders above a server's instance, and above its interpreter, that are here."""
    instance = _INSTANCE.search(process.get("info") or "")
    python = facts.get("executable_path") or process.get("executablePath") or ""
    for path in (Path(instance[1] if instance else ""), Path(python)):
        if path.is_absolute() and path.exists():
            yield from path.parents


def _is_of(root: Path, location: CodeLocation, declared: Iterable[CodeLocation]) -> bool:
    """Whether a code location is of the project in `root`.

    Its file says so if it is on this machine. Without one, as in a container or for a gRPC server,
    a name or module that the project declares has to do.
    """
    with suppress(OSError):  # a folder that is not ours to read
        if file := _file(location):
            return _has(root, file)
    known = {name for place in declared for name in (place.name, place.target)}
    return any(
        name in known and not _FILE_NAME.search(name) for name in (location.name, location.target)
    )


def _file(location: CodeLocation) -> Path | None:
    """Return the file of a code location, or the folder that it is imported from, if here."""
    place = location.working_directory
    if location.kind == FILE:
        place = Path(location.target).parent
    if location.kind == GRPC or not place.is_absolute() or not place.exists():
        return None
    return location.source or place


def _has(root: Path, file: Path) -> bool:
    """Whether a file is in the project, and not in another one in one of its folders."""
    file = file.resolve()
    try:
        return file.is_relative_to(root) and find_root(file) in (root, *root.parents)
    except SetupError:  # the project has no dagmar.yaml
        return True


def _described(location: CodeLocation) -> str:
    if location.kind == GRPC:
        place = f"gRPC server {location.target}" if location.target else ""
    elif location.kind == FILE:
        place = location.target
    else:
        folder = location.working_directory
        module = "" if location.target == location.name else location.target
        place = " in ".join(filter(None, [module, str(folder) if folder.name else ""]))
    return f"'{location.name}'" + (f" ({place})" if place else "")
