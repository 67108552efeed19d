"""What `invoke export` prints: progress on a terminal, then a line for each page, then errors."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from dagmar import console
from dagmar.console import LiveLine
from dagmar.errors import DagmarError, RunFailed
from dagmar.export.exporting import Exported
from dagmar.export.manifests import cell_of


class Progress(LiveLine):
    """A context with a live line: how many notebooks are done, and what runs now."""

    def __init__(self, total: int) -> None:
        super().__init__("starting", total, counted=True)
        self._done = 0
        self._running: dict[str, str] = {}
        self._lock = threading.Lock()

    def tell(self, notebook: str, what: str) -> None:
        """Show what is being done with a notebook; with nothing, that it is done."""
        with self._lock:
            if what:
                self._running[notebook] = what
            else:
                self._running.pop(notebook, None)
                self._done += 1
            now = " · ".join(f"{path}: {cell}" for path, cell in self._running.items())
            self.put(now, self._done, self._total)


def as_lines(exported: Sequence[Exported]) -> list[str]:
    """Return the data: the address of each file that was made, of a page to open first."""
    return [url for one in exported for url in one.urls]


def finish(exported: Sequence[Exported], dry_run: bool = False) -> None:
    """Tell what failed, notebook by notebook, and raise what the exit status is."""
    for one in exported:
        if dry_run:
            console.say(f"Would be exported: {one.notebook}")
        for removed in one.removed:
            console.say(f"{'Would be removed' if dry_run else 'Removed'}: {removed}")
        for attached in one.manifest.attached if one.manifest else ():
            where = attached.get("page", "Events on its page in Dagster")
            console.say(f"Attached to {attached['asset']}: {where}")
        _explain(one, len(exported) > 1)
    for warning in dict.fromkeys(filter(None, (one.warning for one in exported))):
        console.warn(warning)
    bad = [one for one in exported if not one.ok]
    if len(exported) > 1:
        console.say(f"Exported {len(exported) - len(bad)} of {len(exported)} notebooks.")
    if not bad:
        return
    if len(exported) == 1:
        raise _error(bad[0])
    codes = {_error(one).exit_code for one in bad}
    error = RunFailed(f"{len(bad)} of {len(exported)} notebooks failed")
    if len(codes) == 1:
        error.exit_code = codes.pop()
    raise error


def _explain(one: Exported, several: bool) -> None:
    """Print what is known of a failure besides its message."""
    manifest = one.manifest
    if manifest and manifest.error and (trace := manifest.error.traceback):
        console.say(trace)
    for problem in one.problems if several or (manifest and manifest.error) else one.problems[:-1]:
        again = f"To try again: {problem.repeat}" if problem.repeat else ""
        hint = "\n  ".join(filter(None, [problem.error.hint, again]))
        console.complain(type(problem.error)(problem.error.message, hint))
    if several and not one.ok:
        error = _error(one)
        console.complain(type(error)(f"{one.notebook}: {error.message}", error.hint))


def _error(one: Exported) -> DagmarError:
    """Return why an export did not go well."""
    if one.refused:
        return one.refused
    manifest = one.manifest
    if manifest and manifest.error:
        page = f"The page was kept: {one.url}" if one.url else ""
        where = cell_of(manifest.error) or "the notebook"
        failed = RunFailed(f"{where} failed: {manifest.error.text}", page)
        failed.exit_code = one.exit_code
        return failed
    problem = one.problems[-1]
    error = problem.error
    again = f"The page is kept. To try again: {problem.repeat}" if problem.repeat else ""
    if problem.step == "attach" and manifest and not again:
        again = f"The page is kept. Correct that, and try again with: --existing {manifest.id}"
    told_error = type(error)(f"{problem.step}: {error.message}", error.hint)
    told_error.hint = "\n  ".join(part for part in (error.hint, again) if part)
    return told_error
