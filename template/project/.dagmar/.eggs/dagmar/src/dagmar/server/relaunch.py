"""What a run was launched with, as a notebook offers it for another one; secrets stay out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dagmar.project.provenance import HERE_TAG, QUIET
from dagmar.server.client import DagsterClient
from dagmar.server.launch import PARTITION_TAG, is_of_partition
from dagmar.server.launchable import is_kept, read_to_retry
from dagmar.server.paired import MASK
from dagmar.server.runconfig import read_yaml

SECRET = re.compile(r"pass(word|wd|phrase)|secret|token|credential|(private|api|access)_?key", re.I)


@dataclass(frozen=True)
class LaunchedWith:
    """The partition, config and tags of a run, without what Dagster sets by itself.

    `secrets` are the paths of values that are left out of the config: their names say that they
    are secret, and a page or a file would show them. A retry has them from Dagster.
    """

    partition: str | None
    config: Mapping[str, Any]
    tags: Mapping[str, str]
    secrets: tuple[str, ...] = ()


def read_launched_with(client: DagsterClient, run_id: str) -> LaunchedWith:
    """Return what a run was launched with. Raises Invalid if it is unknown."""
    run = read_to_retry(client, run_id)
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    kept = {key: value for key, value in tags.items() if is_kept(key) and not is_of_partition(key)}
    secrets: list[str] = []
    config = without_secrets(read_yaml(run["runConfigYaml"]), "", secrets)
    if HERE_TAG in tags and config.get("loggers") == QUIET:
        del config["loggers"]
    # A run of a range of partitions has no tag for one of them.
    return LaunchedWith(tags.get(PARTITION_TAG), config, kept, tuple(secrets))


def without_secrets(value: Any, path: str, found: list[str]) -> Any:
    """Return run config without secrets, and add their paths to `found`."""
    if isinstance(value, list):
        return [without_secrets(item, f"{path}.{n}", found) for n, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    kept = {}
    for name, inner in value.items():
        place = f"{path}.{name}".strip(".")
        hidden = inner == MASK or (SECRET.search(str(name)) and not isinstance(inner, Mapping))
        if hidden and inner is not None:
            found.append(place)
        else:
            kept[name] = without_secrets(inner, place, found)
    return kept
