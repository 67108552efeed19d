"""Exported reports over http on loopback, so that links to them open in a browser."""

from __future__ import annotations

import threading
from collections.abc import Container
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dagmar.dev.ports import HOST

PORT = 2790
NEIGHBOURS = 20
# So long `stop` may take, of the ten seconds in which everything has to be over.
POLL_SECONDS = 0.1


class ReportsServer:
    """Serves a folder, read only, on the first free port from `PORT` on."""

    def __init__(self, folder: Path, avoid: Container[int] = ()) -> None:
        """Bind a port that is not in `avoid`; `start` answers. Raises OSError."""
        ports = [port for port in range(PORT, PORT + NEIGHBOURS) if port not in avoid]
        self._http = _bind(folder.resolve(), [*ports, 0])
        self.port = int(self._http.server_address[1])
        self.url = f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Answer from now on, in a thread."""
        serve = self._http.serve_forever
        threading.Thread(target=serve, args=(POLL_SECONDS,), daemon=True).start()

    def stop(self) -> None:
        """Answer no more, and free the port."""
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    folder: Path

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that went away is no news."""


def _bind(folder: Path, ports: list[int]) -> _Http:
    for port in ports:
        try:
            server = _Http((HOST, port), _Handler)
        except OSError:
            if port == 0:
                raise
            continue
        server.folder = folder
        return server
    raise AssertionError("the loop ends with port 0")


class _Handler(SimpleHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        if self._may_see():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._may_see():
            super().do_HEAD()

    def translate_path(self, path: str) -> str:
        # The handler is made by the server, which knows the folder.
        self.directory = str(self.server.folder)
        return super().translate_path(path)

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Referrer-Policy", "no-referrer")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _may_see(self) -> bool:
        """Answer 403 to a page of elsewhere that calls itself by our address, 404 outside."""
        port = self.server.server_address[1]
        if self.headers.get("Host", "") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self.send_error(HTTPStatus.FORBIDDEN, "This server answers on this machine only")
            return False
        file = Path(self.translate_path(self.path)).resolve()
        if file != self.server.folder and self.server.folder not in file.parents:
            self.send_error(HTTPStatus.NOT_FOUND)
            return False
        return True
