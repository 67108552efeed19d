"""A kernel that keeps a preview, and dies by SIGKILL at a moment that is chosen before."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.pair.context import Context
from dagmar.pair.previewing import keep, show
from support import forked

HALF_WRITTEN = 0
"""The moment in the middle of the value; a number from 1 on is that of an event of the run."""
ARMED = "KILL_IN_THE_MIDDLE"
SECONDS = 300.0
DEFINITIONS = """\
import os
import signal

import dagster as dg

VERSION = {version}


class Middle:
    def __reduce__(self):
        if "KILL_IN_THE_MIDDLE" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        return Middle, ()


@dg.asset
def orders():
    return [VERSION, "x" * 5_000_000, Middle(), VERSION]


defs = dg.Definitions(assets=[orders])
"""


def write_project(root: Path) -> Path:
    """Write a project with one asset, whose instance is its own."""
    home = root / ".dagmar/dagster_home"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    (root / "dagmar.yaml").write_text("", "utf-8")
    name = "killed_kernel_shop"
    (root / "pyproject.toml").write_text(f'[tool.dagster]\nmodule_name = "{name}"\n', "utf-8")
    write_version(root, 1)
    return root


def write_version(root: Path, version: int) -> None:
    """Write the asset, whose value starts and ends with its version."""
    text = DEFINITIONS.format(version=version)
    (root / "killed_kernel_shop.py").write_text(text, "utf-8")


def keep_in_a_kernel(root: Path, moment: int | None = None) -> int:
    """Preview the asset and keep it in a separate process; return the status of that."""
    process = forked._context().Process(target=_main, args=(str(root), moment))
    process.start()
    process.join(SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
    return int(process.exitcode or 0)


def _main(root: str, moment: int | None) -> None:
    from dagster import DagsterInstance

    os.environ.pop("DAGSTER_HOME", None)
    os.chdir(root)
    context = Context(AssetKey("orders"), "", "", Path(root))
    shown = show(context, None)
    assert shown.error is None, shown.error
    if moment == HALF_WRITTEN:
        os.environ[ARMED] = "1"
    elif moment:
        handle, handled = DagsterInstance.handle_new_event, []

        def handle_new_event(self: Any, event: Any, **options: Any) -> None:
            handle(self, event, **options)
            handled.append(event)
            if len(handled) == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        DagsterInstance.handle_new_event = handle_new_event  # type: ignore[method-assign]
    kept = keep(context, shown)
    assert kept.error is None, kept.error
