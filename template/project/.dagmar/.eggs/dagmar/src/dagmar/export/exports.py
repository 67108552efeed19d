"""`invoke export`: runs notebooks, sends and links what they show, and reports the result."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dagmar import console
from dagmar.console import LiveLine
from dagmar.errors import DagmarError, all_of
from dagmar.export import attach, exporting
from dagmar.export.exporting import Exported, Problem
from dagmar.export.publish import Publisher, existing
from dagmar.export.request import ExportRequest, find_notebooks
from dagmar.project.settings import Settings


class Progress(LiveLine):
    """A context with a live line: how many notebooks are done, and what runs now."""

    def __init__(self, total: int) -> None:
        super().__init__("starting", total, counted=True)
        self._done = 0
        self._running: dict[str, str] = {}
        self._lock = threading.Lock()

    def report(self, notebook: str, what: str) -> None:
        """Show what is being done with a notebook; an empty text says that it is done."""
        with self._lock:
            if what:
                self._running[notebook] = what
            else:
                self._running.pop(notebook, None)
                self._done += 1
            now = " · ".join(f"{path}: {cell}" for path, cell in self._running.items())
            self.put(now, self._done, self._total)


@dataclass(frozen=True)
class Exports:
    """The exports of one `invoke export`; of a dry run, those that it would write."""

    exports: Sequence[Exported]
    dry_run: bool = False

    def as_document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {"exports": [export.as_document() for export in self.exports]}

    def show(self) -> None:
        """Print the address of each file that was written, the page to open first."""
        for export in self.exports:
            for url in export.urls:
                console.out(url)

    def raise_for_status(self) -> None:
        """Print what was done and what failed, by notebook; raise if something failed."""
        exports = self.exports
        for export in exports:
            self._say(export)
            _explain(export, len(exports) > 1)
        for warning in dict.fromkeys(filter(None, (export.warning for export in exports))):
            console.warn(warning)
        bad = [export for export in exports if not export.ok]
        if len(exports) > 1 and not self.dry_run:
            console.say(f"Exported {len(exports) - len(bad)} of {len(exports)} notebooks.")
        if not bad:
            return
        if len(exports) == 1:
            raise _error(bad[0])
        raise all_of(list(map(_error, bad)), len(exports))

    def _say(self, export: Exported) -> None:
        if self.dry_run:
            console.say(f"Would be exported: {export.manifest.notebook}")
        for removed in export.removed:
            console.say(f"{'Would be removed' if self.dry_run else 'Removed'}: {removed}")
        for attached in export.manifest.attached:
            page = attached.get("page", "Events on its page in Dagster")
            console.say(f"Attached to {attached['asset']}: {page}")


def export(settings: Settings, request: ExportRequest, target: str = "", url: str = "") -> Exports:
    """Run notebooks, or take an existing export, and send and link them as requested.

    A failure of one notebook is in its export. Raises Invalid or NotAllowed before any is run.
    """
    server = settings.target(target, url)
    publisher = Publisher(settings, request, target, url)
    if request.existing:
        exported = existing(settings, request)
        publisher.publish(exported)
        return Exports([exported])
    notebooks = find_notebooks(settings, request)
    if request.dry_run:
        return Exports(publisher.preview(notebooks), True)
    if request.attach:
        attach.check(server, request.attach, request.partition)
    with Progress(len(notebooks)) as progress:
        publish = partial(publisher.publish, report=progress.report)
        exports = exporting.export(settings, request, notebooks, progress.report, publish)
    return Exports(exports)


def _explain(export: Exported, several: bool) -> None:
    """Print the details of a failure besides its message."""
    failure = export.failure or export.manifest.error
    if failure and failure.traceback:
        console.say(failure.traceback)
    for problem in export.problems if several or export.error else export.problems[:-1]:
        console.complain(_with_repeat(problem, problem.error.message))
    if several and not export.ok:
        error = _error(export)
        message = f"{export.manifest.notebook}: {error.message}"
        console.complain(type(error)(message, error.hint, error.command))


def _error(export: Exported) -> DagmarError:
    if export.error:
        return export.error
    problem = export.problems[-1]
    error = _with_repeat(problem, f"{problem.step}: {problem.error.message}", "The page is kept. ")
    if problem.step == "attach" and not problem.repeat:
        id = export.manifest.id
        again = f"The page is kept. Correct that, and try again with --existing {id}"
        error.hint = "\n  ".join(filter(None, [error.hint, again]))
    return error


def _with_repeat(problem: Problem, message: str, remark: str = "") -> DagmarError:
    """Return the error of a problem, with the command that tries again."""
    error = problem.error
    if not problem.repeat:
        return type(error)(message, error.hint, error.command)
    first = f"First: `{error.command}`." if error.command else ""
    hint = "\n  ".join(filter(None, [error.hint, first, f"{remark}To try again:"]))
    return type(error)(message, hint, problem.repeat)
