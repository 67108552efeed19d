"""Asset checks of a run: what each of them found, and which of them count as a failure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.failure import Failure
from dagmar.server.client import DagsterClient, member
from dagmar.server.metadata import VALUES, read_metadata

ERROR, WARN, NEVER = FAIL_ON = ("error", "warn", "never")
# What Dagster raises in a step if a blocking check failed: nothing after it runs.
BLOCKED = "DagsterAssetCheckFailedError"


@dataclass(frozen=True)
class Check:
    """One asset check of a run; `passed` is None if it was not evaluated.

    `severity` is that of its result, `ERROR` or `WARN`. `blocking` is known of a check that failed
    and ended its step.
    """

    name: str
    asset: AssetKey
    passed: bool | None = None
    severity: str | None = None
    blocking: bool = False
    description: str | None = None
    metadata: Mapping[str, float | str] = field(default_factory=dict)

    @classmethod
    def from_graphql(cls, evaluation: Mapping[str, Any]) -> Check:
        """Return an `AssetCheckEvaluation` of an answer."""
        return cls(
            evaluation["checkName"],
            evaluation["assetKey"],
            evaluation["success"],
            evaluation["severity"],
            description=evaluation["description"] or None,
            metadata=read_metadata(evaluation["metadataEntries"], VALUES),
        )

    def fails(self, fail_on: str) -> bool:
        """Whether the check failed and counts: `error`, `warn` (both severities) or `never`."""
        counts = {ERROR: ("ERROR",), WARN: ("ERROR", "WARN")}.get(fail_on, ())
        return self.passed is False and self.severity in counts

    def as_document(self) -> dict[str, Any]:
        """Return the check in the shape of `invoke run --json`."""
        return {**vars(self), "metadata": dict(self.metadata)}

    @property
    def result(self) -> str:
        """What it found, in words."""
        if self.passed is None:
            return "not evaluated"
        return "passed" if self.passed else f"failed ({self.severity})"

    @property
    def what(self) -> str:
        """Which check it is, for messages."""
        return f"{'blocking ' * self.blocking}check '{self.name}' of the asset '{self.asset}'"

    @property
    def details(self) -> str:
        """Its description and its metadata in one line; empty without them."""
        values = ", ".join(f"{name}={value}" for name, value in self.metadata.items())
        description = " ".join((self.description or "").split())
        return " ".join(filter(None, [description, values and f"({values})"]))

    @property
    def text(self) -> str:
        """The check, its result and its details in one line."""
        return ": ".join(filter(None, [f"{self.what} {self.result}", self.details]))


def planned_checks(client: DagsterClient, run_id: str) -> list[Check]:
    """Return the checks that a run was to evaluate, or has evaluated, without their results."""
    run = member(client.query("RunChecks", id=run_id)["runOrError"], "Run")
    return of_handles(run["assetChecks"])


def of_handles(handles: Iterable[Mapping[str, Any]] | None) -> list[Check]:
    """Return checks that are only named so far; a run without a plan has None."""
    return [Check(handle["name"], handle["assetKey"]) for handle in handles or ()]


def with_results(
    planned: Iterable[Check], evaluated: Iterable[Check], failure: Failure | None
) -> list[Check]:
    """Return each check once, with its last result, by asset and name.

    `failure` is why the run failed: it names the checks that blocked it.
    """
    # A step that is retried evaluates its checks again.
    checks = {(check.asset, check.name): check for check in (*planned, *evaluated)}
    blocking = _blocking(failure)
    return [
        replace(check, blocking=("/".join(check.asset.parts), check.name) in blocking)
        for _, check in sorted(checks.items())
    ]


def _blocking(failure: Failure | None) -> set[tuple[str, str]]:
    """Return the checks that Dagster names as the reason, by unescaped key and name."""
    if failure is None or failure.kind != BLOCKED:
        return set()
    lines = [line.rpartition(": ") for line in failure.message.splitlines()[1:]]
    return {(key, name) for key, _, names in lines for name in names.split(",")}


def in_words(failure: Failure, checks: Sequence[Check]) -> Failure:
    """Return the failure; that of blocking checks names them, without Dagster's own traceback."""
    blocking = [check for check in checks if check.blocking]
    if failure.kind != BLOCKED or not blocking:
        return failure
    message = "; ".join(check.text for check in blocking)
    return replace(failure, message=f"{message}; nothing downstream of it ran", traceback=None)
