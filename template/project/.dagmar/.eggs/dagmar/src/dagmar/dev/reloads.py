"""Loads code locations of the running Dagster again when their files change, and reports it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dagmar.dev.own_dagster import client_of
from dagmar.dev.watcher import Files, Watcher, look
from dagmar.errors import DagmarError, SetupError, counted
from dagmar.project import code, installed, locations
from dagmar.project.layout import SETTINGS_FILE
from dagmar.project.locations import CodeLocation

if TYPE_CHECKING:
    from dagmar.dev.reporter import Reporter
    from dagmar.server.client import DagsterClient
    from dagmar.server.reloading import Changes, LoadedLocation, Outline

TIMEOUTS = (5.0, 600.0)
SHOWN_NAMES = 3
AGAIN = "Stop invoke dev, and start it again."
# The class of what Dagster raises if the process with the code does not answer, and how long it may
# take to start that process again.
UNREACHABLE = "_InactiveRpcError"
UNREACHABLE_SECONDS, RETRY_SECONDS = 30.0, 1.0
SIGNS = {"added": "+", "removed": "\N{MINUS SIGN}", "changed": "~"}


class Reloads:
    """Reloads on save, for one `invoke dev`: its thread waits for changes and for Dagster.

    Changes during a reload become one more reload after it. While Dagster is not ready they wait;
    a Dagster that starts again reads every file by itself.
    """

    def __init__(self, root: Path, env_file: Path | None, reporter: Reporter) -> None:
        """Read where the code locations are. Raises SetupError if nothing says it."""
        self._root, self._reporter, self._env_file = root.resolve(), reporter, env_file
        self._workspace = locations.read_workspace(self._root)
        self._editable = self._shared()
        # What Dagster has loaded; None if it has not been asked since it became ready.
        self._known: dict[str, Outline] | None = None
        self._waiting: set[Path] = set()
        self._url = ""
        self._stopped = False
        self._news = threading.Condition()
        self._watcher = Watcher(self._look, self._changed, self._polls)
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Watch the files, before Dagster reads them."""
        self._watcher.start()
        self._thread.start()

    def stop(self) -> None:
        """Watch no file any more. A reload under way is left to Dagster."""
        with self._news:
            self._stopped = True
            self._news.notify()
        self._watcher.stop()

    def ready(self, url: str) -> None:
        """Reload from now on what changes, on the Dagster at this address; pause without one."""
        with self._news:
            self._url = url
            if not url:
                self._known = None
                self._waiting.clear()
            self._news.notify()

    def _look(self) -> Files:
        places = {place for each in self._workspace.locations for place in each.places}
        places.update(self._editable)
        outer = {place for place in places if places.isdisjoint(place.parents)}
        return look(outer, self._named())

    def _shared(self) -> list[Path]:
        """Return the editable packages that every code location may import, of a monorepo e.g.

        The runner is one too, and a code location may be.
        """
        places = [place for each in self._workspace.locations for place in each.places]
        return [
            folder
            for folder in installed.editable_folders()
            if not any(folder.is_relative_to(place) for place in places)
            and not (
                folder.is_relative_to(self._root)
                and not code.may_be_imported(folder / "__init__.py", self._root)
            )
        ]

    def _named(self) -> set[Path]:
        """Return the files that declare the code locations, or set variables for them."""
        folders = {self._root, *(each.folder for each in self._workspace.locations if each.folder)}
        names = (*locations.DECLARING_FILES, ".env")
        named = {folder / name for folder in folders for name in names}
        named |= {file for file in (self._workspace.file, self._env_file) if file}
        return {*named, self._root / SETTINGS_FILE}

    def _polls(self, reason: str) -> None:
        self._reporter.event("polling", f"Looking for changed files every second: {reason}.")

    def _changed(self, files: set[Path]) -> None:
        with self._news:
            self._waiting |= files
            self._news.notify()

    def _work(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(
                    lambda: self._stopped or (self._url and (self._waiting or self._known is None))
                )
                if self._stopped:
                    return
                files, self._waiting, url = self._waiting, set(), self._url
                known = self._known = self._known or {}
            try:
                with client_of(url, TIMEOUTS) as client:
                    self._reload(client, known, files)
            except (
                DagmarError, OSError, ValueError, LookupError, TypeError, AttributeError
            ) as error:  # fmt: skip
                with self._news:
                    gone = self._stopped or self._url != url
                if not gone:
                    text = str(error).partition("\n")[0] or type(error).__name__
                    self._reporter.warn(f"the code locations could not be reloaded: {text}")

    def _reload(self, client: DagsterClient, known: dict[str, Outline], files: set[Path]) -> None:
        """Load the code locations of these files again, and report each; keep what is `known`."""
        from dagmar.server.reloading import changes, read_outline, reload_location

        if not known:
            known.update(read_outline(client))
        for place in self._of(files):
            began = time.monotonic()
            loaded = reload_location(client, place.name)
            while _is_gone(loaded) and time.monotonic() - began < UNREACHABLE_SECONDS:
                with self._news:
                    if self._news.wait_for(lambda: self._stopped, RETRY_SECONDS):
                        return
                loaded = reload_location(client, place.name)
            seconds = round(time.monotonic() - began, 2)
            found: Changes = {}
            if loaded.failure is None:
                outline = read_outline(client).get(place.name, {})
                found = changes(known.get(place.name, {}), outline)
                known[place.name] = outline
            self._report(loaded, files, seconds, found)

    def _of(self, files: set[Path]) -> list[CodeLocation]:
        """Return the code locations that may import one of the files, or that it configures."""
        named = files & self._named()
        declaring = {file for file in named if file.name != ".env"}
        if declaring and (reason := self._needs_restart(declaring)):
            self._reporter.event("restart_needed", reason, files=self._names(declaring))
            named -= declaring
        named.discard(self._root / SETTINGS_FILE)
        return [
            place
            for place in self._workspace.locations
            if place.kind != locations.GRPC
            and (
                any(file.parent == self._root or _is_of(file, place) for file in named)
                or any(
                    file.is_relative_to(up)
                    for file in files - named
                    for up in (*place.places, *self._editable)
                )
            )
        ]

    def _needs_restart(self, declaring: set[Path]) -> str:
        """Return why Dagster cannot take in changes of these files; nothing if it can."""
        if self._env_file in declaring:
            return f"{self._env_file} has changed. {AGAIN}"
        try:
            same = locations.read_workspace(self._root).locations == self._workspace.locations
        except SetupError as error:
            return error.message
        return (
            ""
            if same
            else f"{', '.join(self._names(declaring))} changed the code locations. {AGAIN}"
        )

    def _names(self, files: set[Path]) -> list[str]:
        return sorted(os.path.relpath(file, self._root) for file in files)

    def _report(
        self, loaded: LoadedLocation, files: set[Path], seconds: float, found: Changes
    ) -> None:
        fields = {"location": loaded.name, "files": self._names(files), "seconds": seconds}
        several = len(self._workspace.locations) > 1
        if failure := loaded.failure:
            where = code.last_place(self._root, failure.trace, self._editable)
            text = f"{loaded.name} does not load: {failure.line}" + f" ({where})" * bool(where)
            if _is_gone(loaded):
                text = f"The code server of {loaded.name} is gone. {AGAIN}"
            error = {**failure.as_document(), "place": where or None}
            self._reporter.event("reload_failed", text, **fields, error=error)
        else:
            name = f" {loaded.name}" * several
            text = f"Reloaded{name} in {seconds:.1f} s" + f": {as_line(found)}" * bool(found)
            self._reporter.event("reloaded", text, **fields, changes=found)


def _is_gone(loaded: LoadedLocation) -> bool:
    return loaded.failure is not None and loaded.failure.kind == UNREACHABLE


def _is_of(file: Path, place: CodeLocation) -> bool:
    return place.folder in (None, file.parent)


def as_line(found: Changes) -> str:
    """Return changes in one line: `+ asset b, ~ 2 assets`."""
    parts = []
    for how, sign in SIGNS.items():
        for kind, names in found.items():
            listed = names[how]
            if len(listed) <= (1 if how == "changed" else SHOWN_NAMES):
                parts += [f"{sign} {kind[:-1]} {name}" for name in listed]
            else:
                parts.append(f"{sign} {counted(len(listed), kind[:-1])}")
    return ", ".join(parts)
