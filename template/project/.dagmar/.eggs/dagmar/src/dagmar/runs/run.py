"""`invoke run`: prepare a launch, send it once, and follow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dagmar import console
from dagmar.errors import DagmarError, UsageError
from dagmar.project.settings import Settings
from dagmar.runs import summary
from dagmar.runs.following import warn_on_error
from dagmar.runs.prepare import LaunchSpec, prepare
from dagmar.runs.tracking import FollowOptions, RunResult, TrackedRuns
from dagmar.server.client import DagsterClient
from dagmar.server.launch import Launch
from dagmar.server.launchable import Hints
from dagmar.stats.usual import DAYS, LEAST, Subject, Usual, of_launch, read_usual

SHORTEST_SECONDS = 60.0  # of --timeout auto: a start may be slow once

FLAGS = Hints(
    config="Give values with --config FILE or --set PATH=VALUE.",
    choose_partition=(
        "Add one of: --partition KEY, --latest, --missing, --failed, "
        "--partition-range 'A...B', --all-partitions"
    ),
    no_partitions="Leave the partition flags out.",
)


@dataclass(frozen=True)
class RunRequest(LaunchSpec):
    """The flags of `invoke run`; exactly one of those that name what to do is set."""

    follow: str = ""
    cancel: str = ""
    validate_only: bool = False
    summary: str = ""
    options: FollowOptions = field(default_factory=FollowOptions)

    def __post_init__(self) -> None:
        """Raise UsageError for flags that contradict each other."""
        subjects = (self.assets, self.select, self.job, self.retry, self.follow, self.cancel)
        if sum(map(bool, subjects)) != 1 or not all(self.assets):
            raise UsageError(
                "choose one of --asset, --select, --job, --retry, --follow and --cancel",
                "For example:",
                command="invoke run --asset raw/orders",
            )
        if not (self.assets or self.select or self.job):
            extra = {
                "partitions": self.partitions,
                "--config, --set and --executor": self.config and not self.retry,
                "--validate-only": self.validate_only,
                "--tag": self.tags and not self.retry,
            }
            for flags, value in extra.items():
                if value:
                    message = f"{flags} fit --asset, --select and --job only"
                    raise UsageError(message, f"Leave {flags} out.")
        if (self.follow or self.cancel) and self.options.usual:
            raise UsageError("--timeout auto fits what is launched", "For example: --timeout 600")


def run(settings: Settings, client: DagsterClient, request: RunRequest) -> RunResult:
    """Launch, follow or cancel what is requested, summarize it, and return the result.

    Raises UsageError, Invalid, NotAllowed or Unreachable if nothing was launched.
    """
    result: RunResult | DagmarError
    try:
        result = _run(settings, client, request)
        chosen = request.options.fail_on_checks or settings.fail_on_checks
        result = replace(result, fail_on_checks=chosen)
    except DagmarError as error:
        result = error
    if request.summary and not request.validate_only:
        summary.add(client, request.summary, result)
    if isinstance(result, DagmarError):
        raise result
    return result


def _run(settings: Settings, client: DagsterClient, request: RunRequest) -> RunResult:
    options = request.options
    tracked = TrackedRuns(client, settings.poll_seconds, options)
    if request.follow:
        return tracked.come_back(request.follow)
    if not request.validate_only:
        client.require_writable()
    if request.cancel:
        return tracked.cancel(request.cancel)
    launches = prepare(client, settings.root, request, FLAGS)
    if not launches:
        console.say("Nothing to do: none of the requested partitions is missing or failed.")
    if request.validate_only:
        for launch in launches:
            console.say(f"Valid: {launch.description}. Nothing was launched.")
        return RunResult()
    if options.usual and launches:
        options = replace(options, timeout=usual_timeout(client, launches))
    return TrackedRuns(client, settings.poll_seconds, options).launch(launches)


def usual_timeout(client: DagsterClient, launches: Sequence[Launch]) -> float | None:
    """Return twice the p95 of what is launched, or None if it is not known; and say so.

    Partitions of a backfill may run one after the other; several launches run at the same time.
    """
    found: Mapping[Subject, Usual | None] = {}
    with warn_on_error("how long it usually takes"):
        found = read_usual(client, map(of_launch, launches))
    timeouts = []
    for launch in launches:
        if (usual := found.get(of_launch(launch))) is None:
            last = f"{LEAST} successful runs in the last {DAYS} days"
            console.say(f"No time-out: {launch.what} has fewer than {last}.")
            return None
        timeouts.append(2 * usual.p95 * max(len(launch.partitions), 1))
    timeout = max(SHORTEST_SECONDS, *timeouts)
    console.say(f"Time-out: {timeout:.0f} s, twice the usual time of the last {DAYS} days.")
    return timeout
