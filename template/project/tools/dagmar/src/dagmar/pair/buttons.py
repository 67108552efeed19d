"""The buttons of a notebook: each click counts once, and launches or runs what is paired.

Launches are prepared by `runs/prepare.py`, as those of `invoke run` are.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from dagmar.errors import DagmarError, NotAllowed, RunFailed, Unreachable, UsageError
from dagmar.pair import drawing
from dagmar.pair.context import Context, may_act
from dagmar.pair.controls import Chosen
from dagmar.server.reach import require_listening

if TYPE_CHECKING:
    import marimo as mo

    from dagmar.runs.prepare import LaunchSpec
    from dagmar.server.client import DagsterClient
    from dagmar.server.launch import Launch

HERE_TAG = "dagmar/here"


@dataclass(frozen=True)
class Attempt:
    """What came of a click: a run, or the reason why there is none."""

    run_id: str = ""
    url: str = ""
    told: str = ""
    error: DagmarError | None = None

    def _repr_html_(self) -> str:
        if self.error:
            text = drawing.refusal(self.error)
            return text + (f"<p>{drawing.link(self.url, self.run_id)}</p>" if self.run_id else "")
        if not self.run_id:
            return drawing.note(self.told)
        return f"<p>{escape(self.told)} {drawing.link(self.url, self.run_id[:8])}</p>"


@dataclass
class Clicks:
    """The clicks on the buttons of one notebook that nothing was launched for yet.

    A button's value alone would not do: where cells run lazily marimo leaves it true, and
    every later run of the cell would launch again.
    """

    _waiting: list[tuple[weakref.ref[mo.ui.run_button], list[bool]]] = field(default_factory=list)

    def button(
        self, label: str, kind: Literal["neutral", "success", "warn", "danger"]
    ) -> mo.ui.run_button:
        """Return a button whose clicks are counted."""
        import marimo as mo

        waiting = [False]

        def clicked(_: Any) -> None:
            waiting[0] = True

        button = mo.ui.run_button(label=label, kind=kind, on_change=clicked)
        self._waiting = [entry for entry in self._waiting if entry[0]() is not None]
        self._waiting.append((weakref.ref(button), waiting))
        return button

    def take(self, button: mo.ui.run_button | None = None) -> bool:
        """Whether `button`, or any of them, was clicked for this very run; only once.

        Raises UsageError for a button that is not from here.
        """
        known = [(found, waiting) for ref, waiting in self._waiting if (found := ref()) is not None]
        if button is not None:
            known = [entry for entry in known if entry[0] is button]
            if not known:
                raise UsageError(
                    "this button's clicks cannot be counted",
                    "Make it with pair.launch_button(), alone in a cell.",
                )
        for found, waiting in known:
            if found.value and waiting[0]:
                waiting[0] = False
                return may_act()
        return False


def attempt(act: Callable[[], Attempt]) -> Attempt:
    """Return what `act` comes to; a refusal is an answer too."""
    try:
        return act()
    except DagmarError as error:
        return Attempt(error=error)


@contextlib.contextmanager
def busy(what: str) -> Iterator[None]:
    """Show that something goes on, and for how long, until it has ended."""
    import threading

    import marimo as mo

    over = threading.Event()
    started = time.monotonic()
    with mo.status.spinner(title=f"{what}…", subtitle="") as spinner:

        def count() -> None:
            while not over.wait(1.0):
                spinner.update(subtitle=drawing.took(time.monotonic() - started))

        thread = mo.Thread(target=count, daemon=True)
        thread.start()
        try:
            yield
        finally:
            # Before the spinner goes: an update would bring it back.
            over.set()
            thread.join()


def launch(context: Context, chosen: Chosen) -> Attempt:
    """Launch one run on the target's server.

    Raises Invalid that names the field, NotAllowed, Unreachable, AnswerLost.
    """
    from dagmar.runs.prepare import LaunchSpec
    from dagmar.server.launch import launch_run
    from dagmar.server.partitions import Choice
    from dagmar.server.runs import run_url

    spec = LaunchSpec(
        assets=(context.asset,) if context.asset else (),
        job=context.job,
        partitions=Choice(keys=() if chosen.partition is None else (chosen.partition,)),
        config=chosen.config,
        tags=chosen.tags,
    )
    with context.client() as client:
        client.require_writable()
        prepared = prepare_one(context, client, spec)
        run_id = launch_run(client, prepared)
        return Attempt(run_id, run_url(client, run_id), f"Launched {prepared.description}.")


def launch_retry(context: Context, client: DagsterClient, run_id: str) -> str:
    """Launch what failed in a run, and what comes after it; return the new run's id.

    Raises what `launch` raises.
    """
    from dagmar.runs.prepare import LaunchSpec
    from dagmar.server.launch import launch_run

    client.require_writable()
    return launch_run(client, prepare_one(context, client, LaunchSpec(retry=run_id)))


def prepare_one(context: Context, client: DagsterClient, spec: LaunchSpec) -> Launch:
    """Return the one launch that is wanted, checked by the server."""
    from dagmar.runs.prepare import prepare
    from dagmar.server.launchable import Hints

    hints = Hints(
        config="Correct it in the run config of the controls.",
        choose_partition="Pick one in the controls.",
        no_partitions="Run the cell of the controls again.",
    )
    (prepared,) = prepare(client, context.root, spec, hints)
    return prepared


def materialize_here(context: Context, chosen: Chosen) -> Attempt:
    """Run the asset, or the job, in this process, recorded in the project's instance.

    Raises NotAllowed where the target is not this project's local instance or is read-only,
    RunFailed with the user's traceback, and whatever makes the run impossible.
    """
    from dagmar.orchestration import here
    from dagmar.project.provenance import own_tags
    from dagmar.server.runs import NO_REASON

    _require_local(context)
    target = context.target
    run = here.materialize(
        context.root,
        context.asset,
        context.job,
        chosen.partition,
        chosen.config,
        {**own_tags(context.root), **chosen.tags, HERE_TAG: "true"},
    )
    url = f"{target.url}/runs/{run.run_id}"
    if run.success:
        return Attempt(run.run_id, url, f"Made {context.what} here, in this kernel.")
    error = run.error or NO_REASON
    return Attempt(run.run_id, url, error=RunFailed(error.text, error.trace))


def _require_local(context: Context) -> None:
    """Raise NotAllowed unless what is run here belongs where the target records its runs."""
    from dagmar.orchestration.instance import home, is_own_instance
    from dagmar.server import paired

    target = context.target
    instead = "Use the launch button instead: it runs on the server."
    if target.read_only:
        raise NotAllowed(f"the target '{target.name}' is read_only in the settings", instead)
    if not target.loopback:
        raise NotAllowed(
            f"the target '{target.name}' is not on this machine: nothing is run here for it",
            instead,
        )
    try:
        require_listening(target)
    except Unreachable:
        return  # Without a server there is no other instance than the project's own.
    try:
        with context.client() as client:
            info = paired.read_instance_info(client)
    except Unreachable as error:
        raise NotAllowed(
            f"cannot tell which instance the Dagster at {target.url} keeps: {error.message}",
            "Wait until it answers, or stop it, and click again.",
        ) from None
    if not is_own_instance(context.root, info):
        raise NotAllowed(
            f"the Dagster at {target.url} keeps its runs in another instance than this kernel "
            f"({home(context.root) or 'none'})",
            "Start both with the same DAGSTER_HOME. " + instead,
        )
