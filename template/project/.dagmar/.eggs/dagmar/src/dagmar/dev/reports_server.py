"""Exported reports over http on loopback, so that links to them open in a browser."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Container
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dagmar.dev.ports import HOST

PORT = 2790
NEIGHBOURS = 20
# How long `stop` may take, of the ten seconds within which all has to end.
POLL_SECONDS = 0.1


class ReportsServer:
    """Serves a folder, read only, on the first free port from `PORT` on."""

    def __init__(self, folder: Path, avoid: Container[int] = ()) -> None:
        """Answer, in a thread, on a port that is not in `avoid`. Raises OSError."""
        self._http = _bind(folder.resolve(), avoid)
        self.port = int(self._http.server_address[1])
        self.url = f"http://{HOST}:{self.port}"
        serve = self._http.serve_forever
        threading.Thread(target=serve, args=(POLL_SECONDS,), daemon=True).start()

    def stop(self) -> None:
        """Stop answering, and free the port."""
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: browsers close connections all the time."""


def _bind(folder: Path, avoid: Container[int]) -> _Http:
    handler = functools.partial(_Handler, directory=str(folder))
    for port in range(PORT, PORT + NEIGHBOURS):
        if port not in avoid:
            with contextlib.suppress(OSError):
                return _Http((HOST, port), handler)
    return _Http((HOST, 0), handler)


class _Handler(SimpleHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    timeout = 30

    def send_head(self) -> Any:
        return super().send_head() if self._may_see() else None

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Referrer-Policy", "no-referrer")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def _may_see(self) -> bool:
        """Answer 403 to any other host name (DNS rebinding), and 404 outside the folder."""
        port = self.server.server_address[1]
        if self.headers.get("Host", "") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self.send_error(HTTPStatus.FORBIDDEN, "This server answers on this machine only")
            return False
        file = Path(self.translate_path(self.path)).resolve()
        if not file.is_relative_to(self.directory):
            self.send_error(HTTPStatus.NOT_FOUND)
            return False
        return True
