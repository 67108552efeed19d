"""The context of a notebook: its project, its target, and whether a click may launch."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.project.layout import find_root, relative
from dagmar.server.reach import require_listening

if TYPE_CHECKING:
    from dagmar.project.settings import Settings, Target
    from dagmar.server.catalog import Asset
    from dagmar.server.client import DagsterClient
    from dagmar.server.located import LocatedAsset


@dataclass
class LastRun:
    """The last run of the notebook, as this copy of it knows it.

    `own` is the last one that this copy launched; another copy's never is. `earlier` is the newest
    one from before that: None until it was looked up, empty if there is none. It may be one of a
    `backfill`, which is then what is in progress or not.
    """

    own: str = ""
    earlier: str | None = None
    in_progress: bool = False
    backfill: str = ""


@dataclass(frozen=True)
class Context:
    """What is paired, and where; read when it is first needed."""

    asset: AssetKey
    job: str
    target_name: str
    start: Path
    select: str = ""
    file: str = ""
    last: LastRun = field(default_factory=LastRun, compare=False)

    @property
    def what(self) -> str:
        """The asset, the job or the selection, as in a sentence."""
        if self.select:
            return f"selection {self.select}"
        return f"asset {self.asset}" if self.asset else f"job {self.job}"

    @functools.cached_property
    def root(self) -> Path:
        """The nearest folder upwards that has a dagmar.yaml. Raises SetupError if none has."""
        return find_root(self.start)

    @functools.cached_property
    def tags(self) -> dict[str, str]:
        """The tag of the runs that the notebook launches; empty without a file in the project.

        Those of an app have another one: they are not the last runs of who edits the notebook.
        Raises SetupError.
        """
        import marimo as mo

        from dagmar.project.provenance import APP_TAG, NOTEBOOK_TAG

        path = relative(Path(self.file).resolve(), self.root)
        known = Path(self.file).is_file() and not Path(path).is_absolute()
        tag = APP_TAG if mo.app_meta().mode == "run" else NOTEBOOK_TAG
        return {tag: path} if known else {}

    @functools.cached_property
    def settings(self) -> Settings:
        """The project's settings. Raises SettingsError."""
        from dagmar.project.settings import load

        return load(self.root)

    @property
    def target(self) -> Target:
        """The target, read on each use: a server may have been started since."""
        return self.settings.target(self.target_name)

    @contextlib.contextmanager
    def client(self) -> Iterator[DagsterClient]:
        """Open a session with the target's server. Raises Unreachable if nothing listens."""
        target = self.target
        require_listening(target)
        from dagmar.server.client import DagsterClient

        with DagsterClient(target) as client:
            yield client

    def located(self, client: DagsterClient) -> LocatedAsset:
        """Return the paired asset. Raises Invalid if it is unknown or ambiguous."""
        from dagmar.server.located import locate_asset

        return locate_asset(client, self.asset)

    def selected(self, client: DagsterClient) -> dict[str, Asset]:
        """Return the assets of the selection by name. Raises Invalid and UsageError."""
        from dagmar.orchestration.selection import select_materializable

        return select_materializable(self.select, client, self.root)


def live() -> bool:
    """Return whether somebody views the notebook and can see a page change."""
    if os.environ.get("_DAGMAR_EXPORT") or "marimo" not in sys.modules:
        return False
    import marimo as mo

    return mo.app_meta().mode in ("edit", "run")


def may_act() -> bool:
    """Return whether a click can launch: never in a script, an export, a test or an asset."""
    return live() and "PYTEST_CURRENT_TEST" not in os.environ


def read_parameter(name: str) -> str | None:
    """Return a parameter from the page's address or the command line, as text."""
    import marimo as mo

    flags = [f"--{name}", f"--{name.replace('_', '-')}"]
    in_marimo = mo.app_meta().mode in ("edit", "run", "script")
    values: list[Any] = [mo.query_params().get(name)] if in_marimo else []
    # marimo turns what looks like a number into one; keys of partitions are text.
    for position, argument in enumerate(sys.argv):
        flag, equals, value = argument.partition("=")
        if flag in flags:
            values.append(value if equals else next(iter(sys.argv[position + 1 :]), None))
    if in_marimo:
        values.append(mo.cli_args().get(name))
    for value in values:
        last = value[-1] if isinstance(value, list) and value else value
        if last not in (None, "", []):
            return str(last)
    return None
