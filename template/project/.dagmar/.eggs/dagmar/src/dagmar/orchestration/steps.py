"""The steps of one run: what their functions yield is recorded, and yielded again later.

While a run is recorded, its outputs are kept in memory instead of stored, and nothing outside of
the functions and of the inputs' IO managers is called: no hook, and no second attempt.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import NotAllowed
from dagmar.orchestration.internals import internal, replaced

if TYPE_CHECKING:
    from dagster import InputContext, OutputContext

Report = Callable[[Any], None]


@dataclass
class Recording:
    """What the functions of a run's steps yielded and reported, by step, and the values of assets.

    An event is what was yielded; a report is a call that applies to the events after it. `input`
    is the one that was loaded last.
    """

    events: dict[str, list[tuple[bool, Any]]] = field(default_factory=dict)
    values: dict[AssetKey, Any] = field(default_factory=dict)
    input: str = ""


@contextlib.contextmanager
def recorded(run_id: str) -> Iterator[Recording]:
    """Record the steps of the run with this id inside the block, and store no output."""
    recording = Recording()
    outputs: dict[Any, Any] = {}
    step_events, compute = (
        internal("dagster_event_sequence_for_step"),
        internal("execute_core_compute"),
    )
    trigger_hook = internal("_trigger_hook")

    def in_memory(step: Any, *args: Any, **options: Any) -> Iterator[Any]:
        if step.run_id == run_id:
            step.__class__ = _kind(type(step), recording, outputs)
        yield from step_events(step, *args, **options)

    def no_hook(step: Any, *args: Any) -> Iterator[Any]:
        return iter(()) if step.run_id == run_id else trigger_hook(step, *args)

    def record(step: Any, *args: Any) -> Iterator[Any]:
        stream = compute(step, *args)
        if step.run_id != run_id:
            yield from stream
            return
        events = recording.events[step.step.key] = []
        while True:
            step.reports = events
            try:
                event = next(stream)
            except StopIteration:
                return
            finally:
                step.reports = None  # Dagster itself calls these methods in between
            events.append((True, event))
            yield event

    with (
        replaced("dagster_event_sequence_for_step", in_memory),
        replaced("_trigger_hook", no_hook),
        replaced("execute_core_compute", record),
    ):
        yield recording


@contextlib.contextmanager
def replayed(run_id: str, recording: Recording) -> Iterator[None]:
    """Yield what was recorded, instead of calling functions, in the run with this id."""
    from dagster import DagsterEvent

    compute = internal("execute_core_compute")

    def replay(step: Any, *args: Any) -> Iterator[Any]:
        if step.run_id != run_id:
            yield from compute(step, *args)
            return
        step.log.info("Kept from a preview in a notebook: nothing is executed again.")
        for is_event, item in recording.events.get(step.step.key, ()):
            if not is_event:
                item(step)
                continue
            if isinstance(item, DagsterEvent):  # by context.log_event, which has logged it
                item = item._replace(logging_tags=step.event_tags)
                step.log.log_dagster_event(logging.DEBUG, item.message or "", item)
            yield item

    with replaced("execute_core_compute", replay):
        yield


def _kind(base: Any, recording: Recording, outputs: dict[Any, Any]) -> type:
    """Return the class of a step's context whose outputs stay in memory."""

    def reporting(name: str) -> Callable[..., None]:
        def report(self: Any, *args: Any, **options: Any) -> None:
            getattr(base, name)(self, *args, **options)
            if self.reports is not None:
                self.reports.append((False, lambda step: getattr(step, name)(*args, **options)))

        return report

    class Previewed(base):  # type: ignore[misc]
        op_retry_policy = None  # an attempt may come minutes later
        reports: list[tuple[bool, Any]] | None = None
        add_output_metadata = reporting("add_output_metadata")
        add_asset_metadata = reporting("add_asset_metadata")
        set_data_version = reporting("set_data_version")

        def for_input_manager(self, name: str, *args: Any, **options: Any) -> Any:
            recording.input = name
            return super().for_input_manager(name, *args, **options)

        @property
        def step_launcher(self) -> None:
            if super().step_launcher:
                raise NotAllowed(
                    f"the step {self.step.key} is executed elsewhere by a step launcher, so what "
                    "it stores cannot be held back",
                    "Launch it instead.",
                )

        @property
        def retry_mode(self) -> Any:
            return type(super().retry_mode).DISABLED

        def get_io_manager(self, handle: Any) -> Any:
            super().get_io_manager(handle)  # raises what it would raise
            return _memory(handle, recording, outputs)

    return Previewed


def _memory(handle: Any, recording: Recording, outputs: dict[Any, Any]) -> Any:
    """Return an IO manager that keeps one output of one step."""
    from dagster import IOManager

    class Memory(IOManager):
        def handle_output(self, context: OutputContext, obj: Any) -> None:
            outputs[handle] = obj
            if context.has_asset_key:
                recording.values[AssetKey.from_parts(context.asset_key.path)] = obj

        def load_input(self, context: InputContext) -> Any:
            return outputs[handle]

    return Memory()
