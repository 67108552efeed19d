"""How far the start of `invoke dev` is, said stage by stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from dagmar.dev.editor import Editor
from dagmar.dev.servers import MARIMO, Server
from dagmar.dev.voice import Voice
from dagmar.errors import TimedOut

START_SECONDS = 300.0
PATIENCE_SECONDS = 20.0


class Stages:
    """Says what each server does until all are ready, and for how long already."""

    def __init__(self, voice: Voice) -> None:
        """The time is counted from here."""
        self._voice = voice
        self._began = time.monotonic()
        self._patient = PATIENCE_SECONDS

    def seconds(self) -> float:
        """How long it takes already."""
        return round(time.monotonic() - self._began, 3)

    def taken(self, server: Server, port: int) -> None:
        """Say that another program has a port that the server was to get."""
        self._voice.event(
            "port_taken",
            f"Port {port} is taken by another program: {server.title} gets {server.port}.",
            server=server.name,
            wanted=port,
            port=server.port,
        )

    def starting(self, server: Server, pid: int) -> None:
        """Say that a server was started."""
        self._voice.event(
            "starting",
            f"Starting {server.title} on port {server.port}",
            server=server.name,
            port=server.port,
            pid=pid,
        )

    def loading(self, server: Server) -> None:
        """Say that a server runs, and loads what the project defines."""
        self._tell("loading", server, "is up, loading code locations")

    def ready(self, server: Server) -> None:
        """Say that a server is ready."""
        self._tell("server_ready", server, "is ready", url=server.url)

    def _tell(self, name: str, server: Server, how: str, **fields: Any) -> None:
        seconds = self.seconds()
        text = f"{server.title} {how} ({seconds:.0f} s)"
        self._voice.event(name, text, server=server.name, **fields, seconds=seconds)

    def waiting(self, servers: Sequence[Server]) -> None:
        """Say from time to time which servers are waited for. Raises TimedOut."""
        late = [server for server in servers if not server.ready]
        seconds = self.seconds()
        if not late or seconds < self._patient:
            return
        names = " and ".join(server.title for server in late)
        if seconds > START_SECONDS:
            raise TimedOut(
                f"{names} did not get ready within {START_SECONDS:g} s",
                "What was printed is in .dagmar/logs/.",
            )
        self._patient = seconds + PATIENCE_SECONDS
        self._voice.event(
            "waiting",
            f"Still waiting for {names} ({seconds:.0f} s); what was printed is in .dagmar/logs/.",
            servers=[server.name for server in late],
            seconds=seconds,
        )

    def all_ready(
        self, servers: Sequence[Server], editor: Editor | None, reports: str, once: bool
    ) -> list[str]:
        """Say that all are ready, and where; more of servers' lines is shown from now on.

        Returns the addresses for a browser.
        """
        self._voice.ready()
        places = {server.title: server.url for server in servers}
        fields = {f"{server.name}_url": server.url for server in servers}
        pages = {server.name: server.url for server in servers}
        if editor:
            pages[MARIMO] = fields["marimo_page"] = page = editor.page.as_uri()
            places[MARIMO] = f"{page}  (at {fields['marimo_url']}, logs you in)"
        places["Reports"] = fields["reports_url"] = reports
        lines = [f"Ready after {self.seconds():.1f} s.", ""]
        lines += [f"  {name:8} {place}" for name, place in places.items()]
        lines += [] if once else ["", "Ctrl-C stops everything."]
        self._voice.event("ready", "\n".join(lines), **fields, seconds=self.seconds())
        return list(pages.values())
