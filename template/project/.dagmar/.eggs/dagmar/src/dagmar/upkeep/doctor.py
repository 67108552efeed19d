"""`invoke doctor`: what is wrong with this project, and what to type.

Checks run in parallel and independently: one that crashes is a finding, and a check that waits for
another machine gets at most `ONLINE_SECONDS`.
"""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagmar import console
from dagmar.errors import SetupError, UsageError, counted, did_you_mean, suggestion
from dagmar.upkeep.checking import FAIL, PASS, SKIP, WARN, Check, Finding, Project, failed
from dagmar.upkeep.checks import CHECKS

# Requests have their own time-outs; this one is for calls without, such as a name lookup.
ONLINE_SECONDS = 3.5
MARKS = {PASS: ("ok", 32), WARN: ("warn", 33), FAIL: ("FAIL", 31), SKIP: ("skip", 2)}


@dataclass(frozen=True)
class CheckResult:
    """A check and its finding."""

    check: Check
    finding: Finding


@dataclass(frozen=True)
class DoctorRequest:
    """The flags of `invoke doctor`: checks by name, or all; or the list of the checks."""

    only: Sequence[str] = ()
    list: bool = False
    fix: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for flags that do not fit together and for an unknown check."""
        if self.list and (self.only or self.fix):
            raise UsageError("--list goes with no other choice", "Leave --only and --fix out.")
        choose(self.only)


@dataclass(frozen=True)
class CheckList:
    """The available checks."""

    checks: Sequence[Check]

    def as_document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {"checks": [{"name": check.name, "about": check.about} for check in self.checks]}

    def show(self) -> None:
        """Print one line for each check."""
        for check in self.checks:
            console.out(f"{check.name:22} {check.about}")

    def raise_for_status(self) -> None:
        """Return: nothing was checked."""


@dataclass(frozen=True)
class Diagnosis:
    """The findings of all checks."""

    results: Sequence[CheckResult]

    def as_document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "ok": not self._failed(),
            "checks": [
                {
                    "name": result.check.name,
                    "status": result.finding.status,
                    "message": result.finding.message,
                    "hint": suggestion(result.finding.hint, result.finding.command),
                }
                for result in self.results
            ],
        }

    def show(self) -> None:
        """Print one line for each check, with what to type below it."""
        width = max(len(result.check.name) for result in self.results)
        for result in self.results:
            finding = result.finding
            label, color = MARKS[finding.status]
            lines = finding.message.splitlines() or [""]
            text = console.pasteable(finding.hint, finding.command)
            if text and finding.status in (WARN, FAIL):
                lines.append(f"→ {text}")
            console.mark(label, color, f"{result.check.name:{width}}  {lines[0]}", 4)
            for line in lines[1:]:
                console.out(f"{'':{width + 8}}{line.strip()}")
        numbers = Counter(result.finding.status for result in self.results)
        texts = {
            PASS: f"{numbers[PASS]} ok",
            WARN: counted(numbers[WARN], "warning"),
            FAIL: counted(numbers[FAIL], "failure"),
            SKIP: f"{numbers[SKIP]} skipped",
        }
        console.say(", ".join(text for status, text in texts.items() if numbers[status]))

    def raise_for_status(self) -> None:
        """Raise SetupError if a check failed."""
        if names := self._failed():
            message = f"{counted(len(names), 'check')} failed: {', '.join(names)}"
            raise SetupError(message, "Type the command below each one, then:", "invoke doctor")

    def _failed(self) -> list[str]:
        return [result.check.name for result in self.results if result.finding.status == FAIL]


def choose(only: Sequence[str]) -> tuple[Check, ...]:
    """Return the checks of these names, or all. Raises UsageError for an unknown one."""
    known = [check.name for check in CHECKS]
    for name in only:
        if name not in known:
            message = f"there is no check '{name}'{did_you_mean(name, known)}"
            raise UsageError(message, "To see them, type:", "invoke doctor --list")
    return tuple(check for check in CHECKS if not only or check.name in only)


def examine(project: Project, checks: Sequence[Check]) -> list[CheckResult]:
    """Run the checks in parallel, and return their findings in the order of `checks`."""
    findings: dict[str, Finding] = {}

    def run(check: Check) -> None:
        findings[check.name] = check(project)

    deadline = time.monotonic() + ONLINE_SECONDS
    # Daemons: a check that hangs must not keep the process.
    threads = [threading.Thread(target=run, args=(check,), daemon=True) for check in checks]
    for thread in threads:
        thread.start()
    for check, thread in zip(checks, threads, strict=True):
        thread.join(max(deadline - time.monotonic(), 0) if check.online else None)
    command = "invoke doctor --only server"
    late = failed(f"there was no answer within {ONLINE_SECONDS:g} s", command=command)
    return [CheckResult(check, findings.get(check.name, late)) for check in checks]


def repair(project: Project, results: Sequence[CheckResult]) -> list[str]:
    """Make the safe repairs for failed checks and warnings, and return what was done."""
    done = []
    for result in results:
        if result.check.fix is None or result.finding.status not in (WARN, FAIL):
            continue
        try:
            did = result.check.fix(project)
        except Exception as error:  # a repair that crashes is reported, and the others continue
            reason = getattr(error, "strerror", None) or error
            console.warn(f"'{result.check.name}' could not be repaired: {reason}")
        else:
            done += [did] if did else []
    return done


def doctor(root: Path, request: DoctorRequest) -> Diagnosis | CheckList:
    """List the checks or run them; with `fix`, make the safe repairs and run the checks again."""
    checks = choose(request.only)
    if request.list:
        return CheckList(checks)
    with contextlib.redirect_stdout(io.StringIO()):  # libraries print, and stdout is for data
        results = examine(Project(root), checks)
        done = repair(Project(root), results) if request.fix else []
        if done:
            # A new Project, because facts are cached and were read before the repair.
            results = examine(Project(root), checks)
    for did in done:
        console.say(f"Repaired: {did}.")
    if request.fix and not done:
        console.say("There was nothing that can be repaired safely.")
    return Diagnosis(results)
