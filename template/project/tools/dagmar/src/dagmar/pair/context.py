"""Where a notebook stands: its project, its target, and whether a click may do anything."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.project.layout import find_root
from dagmar.server.reach import require_listening

if TYPE_CHECKING:
    from dagmar.project.settings import Settings, Target
    from dagmar.server.client import DagsterClient


@dataclass(frozen=True)
class Context:
    """What is paired, and where: everything is found out when it is first needed."""

    asset: AssetKey
    job: str
    target_name: str
    start: Path

    @property
    def what(self) -> str:
        """The asset or job, in words."""
        return f"asset {self.asset}" if self.asset else f"job {self.job}"

    @functools.cached_property
    def root(self) -> Path:
        """The project: the nearest folder upwards that holds dagmar.yaml.

        Raises SetupError where there is none.
        """
        return find_root(self.start)

    @functools.cached_property
    def settings(self) -> Settings:
        """The project's settings. Raises SettingsError."""
        from dagmar.project.settings import load

        return load(self.root)

    @property
    def target(self) -> Target:
        """The target, looked up anew: a server may have been started meanwhile."""
        return self.settings.target(self.target_name)

    @contextlib.contextmanager
    def client(self) -> Iterator[DagsterClient]:
        """Open a session with the target's server. Raises Unreachable where nothing listens."""
        target = self.target
        require_listening(target)
        from dagmar.server.client import DagsterClient

        with DagsterClient(target) as client:
            yield client


def live() -> bool:
    """Whether somebody sits before the notebook and can see a page change."""
    if os.environ.get("_DAGMAR_EXPORT") or "marimo" not in sys.modules:
        return False
    import marimo as mo

    return mo.app_meta().mode in ("edit", "run")


def may_act() -> bool:
    """Whether a click can launch anything: never in a script, an export, a test or an asset."""
    return live() and "PYTEST_CURRENT_TEST" not in os.environ


def asked_for(name: str) -> str | None:
    """Return what the page's address or the command line says of a parameter, as text."""
    import marimo as mo

    given: list[Any] = []
    flags = [f"--{name}", f"--{name.replace('_', '-')}"]
    in_marimo = mo.app_meta().mode in ("edit", "run", "script")
    if in_marimo:
        given += [mo.query_params().get(name)]
    # marimo makes numbers of what looks like one; here it is the text that counts.
    for place, part in enumerate(sys.argv):
        flag, equals, value = part.partition("=")
        if flag in flags:
            given.append(value if equals else next(iter(sys.argv[place + 1 :]), None))
    if in_marimo:
        given += [mo.cli_args().get(name)]
    for value in given:
        last = value[-1] if isinstance(value, list) and value else value
        if last not in (None, "", []):
            return str(last)
    return None
