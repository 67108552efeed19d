"""Names of assets and jobs. `NAME@LOCATION` says which of several with one name is meant.

A code location may have several repositories: `NAME@REPOSITORY@LOCATION`, as in Dagster's UI.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, TypeVar

from dagmar.errors import Invalid

Kind = Literal["asset", "job"]
Named = TypeVar("Named", bound=Mapping[str, Any])
"""An asset or a job: `key` or `name`, `location` and `repository`."""


def name_of(item: Mapping[str, Any]) -> str:
    """Return the key of an asset, or the name of a job."""
    return str(item["key"] if "key" in item else item["name"])


def names_of(item: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return every name that may mean an asset or a job, the shortest first."""
    name, location = name_of(item), item["location"]
    return name, f"{name}@{location}", f"{name}@{item['repository']}@{location}"


def choose(kind: Kind, name: str, items: Iterable[Named]) -> Named | None:
    """Return the one of these that `name` means, or None.

    Raises Invalid if it may mean several, with the names that tell them apart.
    """
    found = [item for item in items if name in names_of(item)]
    if len(found) > 1:
        raise ambiguous(kind, name, found)
    return found[0] if found else None


def ambiguous(kind: Kind, name: str, found: Collection[Mapping[str, Any]]) -> Invalid:
    """Return the error for a name that these share."""
    names = sorted(distinct_name(item, found) for item in found)
    places = {item["location"] for item in found}
    where = "code locations" if len(places) > 1 else f"repositories of {places.pop()}"
    article = "an" if kind == "asset" else "a"
    flags = ", ".join(f"--{kind} {shlex.quote(choice)}" for choice in names)
    return Invalid(
        f"several {where} have {article} {kind} '{name}'",
        f'Choose one: {flags}. In a notebook: dagmar.Pair({kind}="{names[0]}").',
    )


def distinct_name(item: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> str:
    """Return the shortest name that means this one of the items only."""
    others = {name for other in items if other is not item for name in names_of(other)}
    return next((name for name in names_of(item) if name not in others), names_of(item)[-1])


def possible_names(name: str) -> list[str]:
    """Return what a name may be without the place at its end; it may have an @ itself."""
    parts = name.split("@")
    return ["@".join(parts[:count]) for count in range(len(parts), 0, -1)][:3]


def similar_names(name: str, items: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the names to suggest for one that is not known.

    With an @ in it, those are names with code locations, of the same key if there is one.
    """
    if "@" not in name:
        return {name_of(item) for item in items}
    items = list(items)
    same = [item for item in items if name_of(item) in possible_names(name)]
    return {known for item in same or items for known in names_of(item)[:2]}


def distinct_names(chosen: Iterable[Mapping[str, Any]], items: Iterable[Named]) -> list[str]:
    """Return for each of the chosen items the shortest name that means it alone."""
    same: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        same.setdefault(name_of(item), []).append(item)
    return [distinct_name(item, same[name_of(item)]) for item in chosen]


def require_one_each(kind: Kind, chosen: Iterable[Mapping[str, Any]]) -> None:
    """Raise Invalid if a name was chosen in several places: only one of them can be meant."""
    first: dict[str, Mapping[str, Any]] = {}
    for item in chosen:
        name = name_of(item)
        if name in first:
            raise ambiguous(kind, name, [first[name], item])
        first[name] = item
