"""What the history says of one run, one step and one failure. Times are seconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagmar.asset_key import AssetKey


@dataclass(frozen=True)
class RunRecord:
    """One run. `here` says that a notebook's kernel made it; `retry_of` is the run it retries.

    `assets` are those that were selected; None for a whole job. Tags say the last four:
    `dagmar/here`, `dagster/parent_run_id`, and for `versions` those that
    `project/provenance.py: versions_in` reads. A run that Dagster itself retries, or that is
    re-executed in its UI, has the tags of the run that it repeats, so its versions may be older.
    Without tags it was launched elsewhere: nothing is known of its versions.
    """

    run_id: str
    status: str
    job: str
    location: str
    assets: tuple[AssetKey, ...] | None
    created: float
    started: float | None
    ended: float | None
    updated: float
    partition: str | None = None
    user: str | None = None
    revision: str | None = None
    here: bool = False
    retry_of: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StepRecord:
    """One step of a run, with the assets that it materialized; `attempts` counts retries too."""

    run_id: str
    step: str
    assets: tuple[AssetKey, ...]
    status: str
    started: float | None
    ended: float | None
    attempts: int = 1


@dataclass(frozen=True)
class DetailRecord:
    """What only a run's own log says: its steps, and when it was queued and launched."""

    run_id: str
    enqueued: float | None
    launched: float | None
    steps: tuple[StepRecord, ...]


@dataclass(frozen=True)
class FailureRecord:
    """Why a step, or a cell of the notebook that it runs, failed; a run may fail without a step.

    `here` is that of the run: Dagster has no job to retry what a notebook's kernel made.
    """

    run_id: str
    at: float
    step: str | None
    cell: str | None
    error: str
    message: str
    assets: tuple[AssetKey, ...] = ()
    job: str = ""
    partition: str | None = None
    here: bool = False
