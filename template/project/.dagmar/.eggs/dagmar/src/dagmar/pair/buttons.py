"""The buttons of a notebook: each click counts once, and launches or materializes.

Launches are prepared by `runs/prepare.py`, as those of `invoke run` are.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from dagmar.asset_key import AssetKey
from dagmar.console import format_duration
from dagmar.errors import (
    DagmarError,
    Interrupted,
    NotAllowed,
    RunFailed,
    Unreachable,
    UsageError,
)
from dagmar.pair import drawing, opened
from dagmar.pair.context import Context, may_act
from dagmar.pair.controls import CHOOSE_PARTITION, LaunchOptions
from dagmar.pair.selection import one_run
from dagmar.server.reach import require_listening

if TYPE_CHECKING:
    import marimo as mo

    from dagmar.orchestration.here import LocalRun
    from dagmar.pair.started import StartedRuns
    from dagmar.runs.prepare import LaunchSpec
    from dagmar.server.checks import Check
    from dagmar.server.client import DagsterClient
    from dagmar.server.launch import Launch

LAST = "The last run launched from this notebook; the controls have its values."

AGAIN = "Click again."
MAYBE_LAUNCHED = "It may have been launched: look in the Dagster UI before you click again."


@dataclass(frozen=True)
class Attempt:
    """The result of a click: a run, a backfill, or the reason why there is none.

    `materialized` are the assets that a run in this kernel has materialized; it is None for a run
    on the server. An `earlier` run was not launched by this copy of the notebook.
    """

    run_id: str = ""
    url: str = ""
    message: str = ""
    error: DagmarError | None = None
    checks: Sequence[Check] = ()
    materialized: Collection[AssetKey] | None = None
    earlier: bool = False
    backfill_id: str = ""

    @property
    def id(self) -> str:
        """The id of the run or the backfill; empty if there is none."""
        return self.run_id or self.backfill_id

    def _repr_html_(self) -> str:
        found = drawing.checks(self.checks)
        if self.error:
            link = f"<p>{drawing.link(self.url, self.id)}</p>" if self.id else ""
            return drawing.refusal(self.error) + link + found
        if not self.id:
            return drawing.note(self.message)
        return f"<p>{escape(self.message)} {drawing.link(self.url, self.id[:8])}</p>{found}"


@dataclass
class Clicks:
    """The clicks on the buttons of one notebook that have not launched anything yet.

    A button's value alone would not do: if cells run lazily, marimo leaves it true, and
    every later run of the cell would launch again.
    """

    # Not a WeakKeyDictionary: elements of marimo cannot be hashed.
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
        """Return once whether `button`, or any of them, was clicked for this run of the cell.

        Raises UsageError for a button that `button` did not return.
        """
        buttons = [(ref(), waiting) for ref, waiting in self._waiting]
        if button is not None:
            buttons = [entry for entry in buttons if entry[0] is button]
            if not buttons:
                raise UsageError(
                    "this button's clicks cannot be counted",
                    "Create it with pair.launch_button(), alone in a cell.",
                )
        for known, waiting in buttons:
            if known is not None and known.value and waiting[0]:
                waiting[0] = False
                return may_act()
        return False


@contextlib.contextmanager
def busy(what: str, hint: str = AGAIN) -> Iterator[None]:
    """Show what is going on, and for how long, until it has ended.

    Raises Interrupted, with the hint, if it is interrupted.
    """
    import marimo as mo

    over = threading.Event()
    started = time.monotonic()
    with mo.status.spinner(title=f"{what}…", subtitle="") as spinner:

        def count() -> None:
            while not over.wait(1.0):
                spinner.update(subtitle=format_duration(time.monotonic() - started))

        thread = mo.Thread(target=count, daemon=True)
        thread.start()
        try:
            yield
        except KeyboardInterrupt:
            raise Interrupted(f"{what[0].lower()}{what[1:]} was interrupted", hint) from None
        finally:
            # Before the spinner is removed: an update would bring it back.
            over.set()
            thread.join()


def launch(context: Context, options: LaunchOptions) -> Attempt:
    """Launch one run on the target's server, or for several partitions one backfill.

    Raises Invalid that names the field, NotAllowed, Unreachable, AnswerLost.
    """
    from dagmar.runs.prepare import LaunchSpec
    from dagmar.server.backfills import backfill_url
    from dagmar.server.launch import launch_backfill, launch_run
    from dagmar.server.partitions import Choice
    from dagmar.server.runs import run_url

    spec = LaunchSpec(
        assets=(context.asset,) if context.asset else (),
        job=context.job,
        select=context.select,
        partitions=Choice(keys=options.partitions),
        config=options.config,
        tags=options.tags,
    )
    with context.client() as client:
        prepared = _prepare(context, client, spec)
        message = f"Launched {prepared.description}."
        if prepared.partitions:
            id = launch_backfill(client, prepared)
            return Attempt(url=backfill_url(client, id), message=message, backfill_id=id)
        id = launch_run(client, prepared)
        return Attempt(id, run_url(client, id), message)


def opened_run(context: Context, started: StartedRuns) -> Attempt | None:
    """Return the run that the notebook was opened with, else the last one launched from it.

    It is for `watch`, and followed if it is in progress. It is None if there is none, and without
    a server.
    """
    message = "Opened with the values of the run"
    if not (id := opened.run_id()):
        message = LAST
        with contextlib.suppress(DagmarError):
            id = opened.last_run(context)
    if not id:
        return None
    base, backfill = f"{context.target.url}/runs", context.last.backfill
    if backfill and message == LAST:
        run = Attempt("", f"{base}/b/{backfill}", message, earlier=True, backfill_id=backfill)
    else:
        run = Attempt(id, f"{base}/{id}", message, earlier=True)
    return started.add(run) if context.last.in_progress else run


def launch_retry(
    context: Context, client: DagsterClient, run_id: str, changes: LaunchOptions | None = None
) -> str:
    """Launch the failed steps of a run and those after them; return the new run's id.

    The config and the tags in `changes` are merged over those of the run.
    Raises what `launch` raises.
    """
    from dagmar.runs.prepare import LaunchSpec
    from dagmar.server.launch import launch_run

    options = changes or LaunchOptions()
    spec = LaunchSpec(retry=run_id, config=options.config, tags=options.tags)
    return launch_run(client, _prepare(context, client, spec))


def _prepare(context: Context, client: DagsterClient, spec: LaunchSpec) -> Launch:
    """Return the one run or backfill to launch, which the server has validated."""
    from dagmar.runs.prepare import prepare
    from dagmar.server.launchable import Hints

    client.require_writable()
    spec = replace(spec, tags={**spec.tags, **context.tags})
    hints = Hints(
        config="Correct it in the run config of the controls.",
        choose_partition=CHOOSE_PARTITION,
        no_partitions="Run the cell of the controls again.",
    )
    launches = prepare(client, context.root, spec, hints)
    one_run(context, launches)
    (prepared,) = launches
    return prepared


def materialize_here(context: Context, options: LaunchOptions) -> Attempt:
    """Materialize the asset, or run the job, in this process and in the project's instance.

    Raises NotAllowed if the target is not this project's local instance or is read-only, and what
    `here.materialize` raises.
    """
    from dagmar.orchestration import here

    require_local(context)
    run = here.materialize(
        context.root,
        context.asset,
        context.job,
        options.require_one("Materialize here"),
        options.config,
        tags_here(context, options.tags),
    )
    done = "Materialized" if context.asset else "Ran"
    used = f"{run.cpu:.1f} s of processor time, {run.memory / 1e6:.0f} MB at most"
    return attempt_here(context, run, f"{done} {context.what} here, in this kernel: {used}.")


def tags_here(context: Context, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a run in this process."""
    from dagmar.project.provenance import HERE_TAG, own_tags, version_tags, versions

    root = context.root
    own = {**own_tags(root), **version_tags(versions(root))}
    return {**own, **tags, **context.tags, HERE_TAG: "true"}


def attempt_here(context: Context, run: LocalRun, message: str) -> Attempt:
    """Return the result of a run in this process; `message` is for one that succeeded."""
    from dagmar.orchestration import here
    from dagmar.server.runs import NO_REASON

    url = f"{context.target.url}/runs/{run.run_id}"
    if run.success:
        return Attempt(run.run_id, url, message, None, run.checks, run.materialized)
    error = run.error or NO_REASON
    message = f"the run of {context.what} was interrupted, and has failed"
    interrupted = Interrupted(message, f"Its page: {url}")
    refused = interrupted if error == here.INTERRUPTED else RunFailed(error.text, error.trace)
    return Attempt(run.run_id, url, "", refused, run.checks, run.materialized)


def require_local(context: Context) -> None:
    """Raise NotAllowed unless the target's server uses the instance of this kernel."""
    from dagmar.orchestration.instance import home, is_own_instance
    from dagmar.server import paired

    target = context.target
    instead = "Use the launch button instead: it runs on the server."
    if context.select:
        raise NotAllowed(f"{context.what} does not run in this kernel: one asset does", instead)
    if target.read_only:
        raise NotAllowed(f"the target '{target.name}' is read_only in the settings", instead)
    if not target.loopback:
        raise NotAllowed(
            f"the target '{target.name}' is not on this machine, so nothing runs here for it",
            instead,
        )
    try:
        require_listening(target)
    except Unreachable:
        return  # without a server there is only the project's own instance
    try:
        with context.client() as client:
            info = paired.read_instance_info(client)
    except Unreachable as error:
        raise NotAllowed(
            f"cannot tell which instance the Dagster at {target.url} uses: {error.message}",
            "Wait until it answers, or stop it, and click again.",
        ) from None
    if not is_own_instance(context.root, info):
        raise NotAllowed(
            f"the Dagster at {target.url} does not use the instance of this kernel "
            f"({home(context.root) or 'none'})",
            "Start both with the same DAGSTER_HOME. " + instead,
        )
