"""A TCP proxy before a Dagster server that cuts launches where a test wants it."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

Cut = Literal[
    "",
    "before the request is complete",
    "after the request, before the commit",
    "after the commit, before the answer",
    "with the commit delayed",
]
Fault = Literal["", "502", "slow", "lost request", "lost answer", "half an answer"]
"""What may happen to any request: `slow` is answered late, the others are not, or not in full."""
SLOW_SECONDS = 2.0
BAD_GATEWAY = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
    b"<html><h1>502 Bad Gateway"
)
LAUNCHES = ("LaunchRun", "LaunchBackfill")
DELAY_SECONDS = 3.0
LOGIN_PAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
    b"<!doctype html><p>Down for maintenance"
)


class FaultProxy:
    """Listens on its own port and passes requests on to `url`, one connection each.

    `cut` says at which point a launch loses its connection. All requests are noted. While
    `page` is set, a web page answers in place of the server. `choose` returns the fault of a
    request, given its operation; it is called in the threads of the connections.
    """

    def __init__(
        self, url: str, cut: Cut = "", choose: Callable[[str], Fault] = lambda _: ""
    ) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 80)
        self.cut = cut
        self.page = False
        self._choose = choose
        self.bodies: list[str] = []
        self.moments: list[float] = []
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._listen(0)

    def _listen(self, port: int) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(50)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.go_away()
        for thread in self._threads:
            thread.join(30)

    def go_away(self) -> None:
        """Refuse connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def come_back(self) -> None:
        """Accept connections again, on the same port."""
        self._listen(self.port)

    def wait_for(self, operation: str, count: int) -> None:
        """Wait until an operation was asked for `count` times."""
        with self._changed:
            found = self._changed.wait_for(lambda: self.operations.count(operation) >= count, 60)
        assert found, f"{operation} was asked for {self.operations.count(operation)} times"

    @property
    def operations(self) -> list[str]:
        """The names of the operations that were asked for, in order."""
        return [json.loads(body)["operationName"] for body in self.bodies]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            header, _, body = _read_until(client, b"\r\n\r\n").partition(b"\r\n\r\n")
            while len(body) < int(_header(header, "content-length") or 0):
                body += client.recv(65536)
            self._note(body)
            if self.page:
                return client.sendall(LOGIN_PAGE)
            fault = self._choose(json.loads(body)["operationName"])
            if fault == "502":
                return client.sendall(BAD_GATEWAY)
            if fault == "lost request":
                return _reset(client)
            if fault == "slow":
                time.sleep(SLOW_SECONDS)
            cut = self.cut if json.loads(body)["operationName"] in LAUNCHES else ""
            if cut == "with the commit delayed":
                _reset(client)
                time.sleep(DELAY_SECONDS)
            with socket.create_connection(self._server) as server:
                request = _closing(header) + b"\r\n\r\n" + body
                if cut == "before the request is complete":
                    server.sendall(request[: -len(body) // 2])
                    return _reset(client)
                server.sendall(request)
                if cut == "after the request, before the commit":
                    return _reset(client)
                answer = b""
                while news := server.recv(65536):
                    answer += news
            if fault == "half an answer":
                client.sendall(answer[: len(answer) * 2 // 3])
            if cut == "after the commit, before the answer" or fault in (
                "lost answer",
                "half an answer",
            ):
                return _reset(client)
            if not cut:
                client.sendall(answer)
        return None

    def _note(self, body: bytes) -> None:
        with self._changed:
            self.bodies.append(body.decode())
            self.moments.append(time.monotonic())
            self._changed.notify_all()


def _read_until(client: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        news = client.recv(65536)
        if not news:
            raise OSError("closed")
        data += news
    return data


def _header(head: bytes, name: str) -> str:
    for line in head.decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
    return ""


def _closing(header: bytes) -> bytes:
    """Return the header with `Connection: close`: the answer ends where the connection does."""
    lines = header.split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*kept, b"Connection: close"])


def _reset(client: socket.socket) -> None:
    """Close with RST: what was in flight is lost."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
