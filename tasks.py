"""Tasks of this repository: those of a project, and the maintainer's own."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from dagmar.errors import Conflict, RunFailed, SetupError, UsageError
from dagmar.tasks import namespace
from dagmar.tasks.command import command
from invoke import Context

ROOT = Path(__file__).resolve().parent
DEMO_ASSETS = ("raw/flights", "clean/flights")
DEMO_NOTEBOOK = "notebooks/clean_flights.py"
LOG = "dev.log"

ns = namespace(__file__)


class Clock:
    """Says what is being done, and how long each step took."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Announce a step and measure it."""
        print(f"\n== {what}", flush=True)
        started = time.monotonic()
        yield
        self.steps.append((what, time.monotonic() - started))
        print(f"   {self.steps[-1][1]:.1f} s", flush=True)

    def tell(self) -> None:
        """Print all steps with their seconds."""
        print("\nseconds  step")
        for what, seconds in self.steps:
            print(f"{seconds:7.1f}  {what}")
        print(f"{sum(seconds for _, seconds in self.steps):7.1f}  in all")


@command
def demo(
    context: Context,
    path: Annotated[
        str, "Folder for the project; a temporary one is used, and removed, otherwise."
    ] = "",
    keep: Annotated[bool, "Keep the project, and `invoke dev` running there until Ctrl-C."] = False,
) -> None:
    """Make a project, start Dagster and marimo, launch two assets and follow them to success.

    Examples:
      invoke demo
      invoke demo --path ../flights --keep
    """
    scratch = Path(tempfile.mkdtemp(prefix="dagmar-demo-"))
    project = Path(path).resolve() if path else scratch / "flights"
    # A terminal that is closed, or a `kill`, ends it as Ctrl-C does: nothing stays behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    clock = Clock()
    try:
        if project.exists() and (not project.is_dir() or any(project.iterdir())):
            raise Conflict(f"{path} is there already", "Give --path a new folder.")
        _demo(project, scratch, keep, clock)
    except OSError as error:
        raise SetupError(f"{project} cannot be written: {error.strerror}") from None
    finally:
        kept = bool(path) or keep
        if kept and project.parent == scratch:
            (scratch / LOG).unlink(missing_ok=True)
        else:
            shutil.rmtree(scratch, ignore_errors=True)
        if clock.steps:
            print(
                f"\nNothing runs any more; the project is {f'in {project}' if kept else 'removed'}."
            )
    clock.tell()


def _demo(project: Path, scratch: Path, keep: bool, clock: Clock) -> None:
    with clock.step(f"Make a project with Copier in {project}"):
        _copy(project)
    with clock.step("Install it"):
        _install(project)
    dev = _start_dev(project, scratch / LOG)
    try:
        with clock.step("invoke dev"):
            ready = _until_ready(dev, scratch / LOG)
        with clock.step("invoke discover"):
            _invoke(project, "discover")
        flags = [flag for key in DEMO_ASSETS for flag in ("--asset", key)]
        with clock.step(f"invoke run {' '.join(flags)}"):
            _invoke(project, "run", *flags)
        if keep:
            _wait(project, ready)
    finally:
        with clock.step("Stop invoke dev"):
            dev.send_signal(signal.SIGINT)
            dev.wait()


def _copy(project: Path) -> None:
    """Render the template as it is in this checkout."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a checkout with changes
        from copier import run_copy
        from copier.errors import CopierError

        try:
            run_copy(
                str(ROOT),
                project,
                data={"runner": "copy"},  # a checkout is not published
                defaults=True,
                quiet=True,
                unsafe=True,
                vcs_ref="HEAD",
            )
        except CopierError as error:
            raise SetupError(f"Copier cannot make the project: {error}") from None


def _install(project: Path) -> None:
    """Install the project with uv, or with pip without uv."""
    environ = _clean_environ()
    if uv := shutil.which("uv"):
        commands = [[uv, "sync", "--quiet"]]
    else:
        python = str(project / ".venv/bin/python")
        pip = [python, "-m", "pip", "install", "--quiet"]
        commands = [
            [sys.executable, "-m", "venv", ".venv"],
            [*pip, "--upgrade", "pip"],
            [*pip, "-e", ".dagmar/.eggs/dagmar[cli]", "-e", ".", "--group", "dev"],
        ]
    for arguments in commands:
        done = subprocess.run(arguments, cwd=project, env=environ)
        if done.returncode:
            raise SetupError(
                f"`{' '.join(arguments)}` failed", f"Try it by hand in {project}, then look there."
            )


def _clean_environ() -> dict[str, str]:
    """Return the environment without this repository's own environment and settings."""
    mine = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "DAGSTER_HOME")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in mine and not name.startswith("DAGMAR_")
    }


def _start_dev(project: Path, log: Path) -> subprocess.Popen[str]:
    """Start `invoke dev` in the project as its user would, apart from the terminal's Ctrl-C."""
    with log.open("w", encoding="utf-8") as talk:
        return subprocess.Popen(
            [str(project / ".venv/bin/invoke"), "dev", "--no-open", "--json"],
            cwd=project,
            env=_clean_environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=talk,
            text=True,
            start_new_session=True,
        )


def _until_ready(dev: subprocess.Popen[str], log: Path) -> dict[str, str]:
    """Wait until both servers are ready, and return their addresses."""
    assert dev.stdout
    for line in dev.stdout:
        event: dict[str, str] = json.loads(line)
        if event["event"] == "ready":
            print(f"   Dagster at {event['dagster_url']}, marimo at {event['marimo_url']}")
            return event
    raise SetupError(f"`invoke dev` ended before it was ready:\n{log.read_text('utf-8')}")


def _invoke(project: Path, *arguments: str) -> None:
    """Call `invoke` in the project as its user would."""
    program = str(project / ".venv/bin/invoke")
    done = subprocess.run([program, *arguments], cwd=project, env=_clean_environ())
    if done.returncode:
        raise RunFailed(f"`invoke {' '.join(arguments)}` ended with status {done.returncode}")


def _wait(project: Path, ready: dict[str, str]) -> None:
    print(
        f"\nDagster is at {ready['dagster_url']}, marimo at {ready['marimo_page']},\n"
        f"the project in {project}.\n"
        f"In another terminal: cd {project} && uv run invoke discover\n"
        f"A notebook to open there: {DEMO_NOTEBOOK}\n"
        "Ctrl-C stops both and keeps the project.",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


@command
def test(
    context: Context,
    all: Annotated[bool, "All tests, as CI runs them."] = False,
    nightly: Annotated[bool, "The long matrices too."] = False,
) -> None:
    """Run the tests: without a flag those that take a few minutes.

    Examples:
      invoke test
      invoke test --all
      invoke test --nightly
    """
    profile = ["--nightly"] if nightly else ["--all"] if all else []
    done = subprocess.run([sys.executable, "-m", "pytest", *profile], cwd=ROOT)
    if done.returncode:
        raise RunFailed(f"pytest ended with status {done.returncode}")


@command
def release(
    context: Context,
    prepare: Annotated[bool, "Write the version and the changelog, and commit both."] = False,
    check: Annotated[bool, "Build, inspect, install, and update from every released tag."] = False,
    tag: Annotated[bool, "Check, and tag the current commit."] = False,
    notes: Annotated[bool, "Print the notes of this version."] = False,
    new: Annotated[str, "Version to prepare; the one that the commits ask for otherwise."] = "",
    to: Annotated[str, "Folder for the checked package."] = "",
) -> None:
    """Release a version of dagmar, one step at a time: RELEASING.md has all of them.

    Examples:
      invoke release --notes
      invoke release --prepare --new 0.3.0
      invoke release --check --to dist
      invoke release --tag
    """
    sys.path.insert(0, str(ROOT))
    from release import steps

    if [prepare, check, tag, notes].count(True) != 1:
        raise UsageError("one of --prepare, --check, --tag and --notes is needed")
    if (new and not prepare) or (to and not check):
        raise UsageError("--new belongs to --prepare, and --to to --check")
    if notes:
        print(steps.read_notes(ROOT), end="")
    elif prepare:
        print(f"Committed {steps.prepare(ROOT, new)}.")
    elif check:
        print(f"dagmar {steps.check(ROOT, Path(to).resolve() if to else None)} can be tagged.")
    else:
        print(f"Tagged v{steps.tag(ROOT)}.")


@command
def bench(
    context: Context,
    only: Annotated[Sequence[str], "Benchmark to run; may be repeated."] = (),
    quick: Annotated[
        bool, "Only two, a few times, on little data; a missed limit is fine."
    ] = False,
    trend: Annotated[str, "File of JSON lines to compare with and append to; never fails."] = "",
    write: Annotated[bool, "Keep the results for docs/reference/benchmarks.md."] = False,
) -> None:
    """Time dagmar's commands against their peers, for about 20 minutes, and print one table.

    Nothing else may run on the machine.

    Examples:
      invoke bench --write
      invoke bench --only export --only start
      invoke bench --quick --trend bench.jsonl
    """
    sys.path.append(str(ROOT / "benchmarks"))
    if write and quick:
        raise UsageError("--quick measures too little for --write")
    run = importlib.import_module("bench").bench
    missed = None
    try:
        run(only, quick, write, Path(trend) if trend else None)
    except RunFailed as error:  # what misses its limit is kept as well
        missed = error
    if write:
        subprocess.run([sys.executable, "docs/generate.py"], cwd=ROOT, check=True)
    if missed:
        raise missed
