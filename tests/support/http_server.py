"""Real HTTP servers on this machine that answer as badly as a test wants."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from dagmar.project.settings import Target
from dagmar.server.client import DagsterClient

Answer = Callable[["Handler"], None]


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def sent(self) -> dict[str, Any]:
        """The GraphQL request in the body."""
        sent: dict[str, Any] = json.loads(self.body)
        return sent


class Handler(BaseHTTPRequestHandler):
    """Notes a request, then gives the answer whose turn it is; the last one stays."""

    server: _Http

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen, answers = self.server.seen, self.server.answers
        with self.server.lock:
            answer = answers[min(len(seen), len(answers) - 1)]
            seen.append(Seen(self.command, self.path, dict(self.headers.items()), body))
        answer(self)

    do_GET = do_HEAD = do_CONNECT = do_POST  # noqa: N815

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Http(ThreadingHTTPServer):
    block_on_close = False

    def __init__(self, answers: list[Answer], tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.seen: list[Seen] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@dataclass
class Server:
    """A server on a free port, as a context manager; the nth request gets the nth answer."""

    answers: list[Answer]
    tls: ssl.SSLContext | None = None
    _http: _Http = field(init=False)

    def __enter__(self) -> Server:
        self._http = _Http(self.answers, self.tls)
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.closing.set()
        self._http.shutdown()
        self._http.server_close()

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def seen(self) -> list[Seen]:
        """The requests so far."""
        return self._http.seen


def serve(*answers: Answer, tls: ssl.SSLContext | None = None) -> Server:
    """Return a server that gives these answers."""
    return Server(list(answers), tls)


def document(value: Any, status: int = 200, **headers: str) -> Answer:
    """Answer with JSON."""
    body = json.dumps(value).encode()
    return lambda handler: handler.reply(status, body, Content_Type="application/json", **headers)


def data(status: int = 200, **fields: Any) -> Answer:
    """Answer as GraphQL does."""
    return document({"data": fields}, status)


SIGN_IN = b"<!doctype html><p>Sign in</p>"


def page(status: int = 200, body: bytes = SIGN_IN, **headers: str) -> Answer:
    """Answer with a web page."""
    return lambda handler: handler.reply(
        status, body, **{"Content_Type": "text/html; charset=utf-8", **headers}
    )


def redirect(place: str, status: int = 302) -> Answer:
    """Answer that what is asked for is at `place`."""
    return lambda handler: handler.reply(status, b"", Location=place)


def silence(handler: Handler) -> None:
    """Read the request, and let the client wait."""
    handler.server.closing.wait(5)


def reset(handler: Handler) -> None:
    """Read the request, then break the connection."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def hang_up(handler: Handler) -> None:
    """Read the request, then close the connection without a word."""
    handler.close_connection = True


def cut_short(handler: Handler) -> None:
    """Announce more than is sent."""
    handler.reply(200, b'{"data": {"vers', Content_Length="1000")


def broken_tls(handler: Handler) -> None:
    """Read the request, then send what no TLS is."""
    socket.socket.sendall(handler.connection, b"this is not a TLS record at all")
    handler.close_connection = True


def dagster(answers: Mapping[str, Mapping[str, Any]]) -> Answer:
    """Answer each GraphQL operation with its data in `answers`."""

    def answer(handler: Handler) -> None:
        operation = handler.server.seen[-1].sent["operationName"]
        document({"data": answers[operation]})(handler)

    return answer


@contextmanager
def asked(answers: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[DagsterClient, Server]]:
    """Yield a client of a stand-in for Dagster, and the stand-in, which knows what was sent."""
    with serve(dagster(answers)) as server, DagsterClient(Target("local", server.url)) as client:
        yield client, server


def closed_port() -> tuple[socket.socket, str]:
    """Return a socket that holds a port and refuses connections, and its address."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    return holder, f"http://127.0.0.1:{holder.getsockname()[1]}"
