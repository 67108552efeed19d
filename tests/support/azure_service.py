"""A small Azure Blob service on loopback: as much of its REST as adlfs uses to keep files."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

ACCOUNT = "devstoreaccount1"
# pragma: allowlist nextline secret
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key that everybody knows: the documented one of Azure's own emulators."""


def connection_string(url: str, secret: str = f"AccountName={ACCOUNT};AccountKey={KEY}") -> str:
    """Return what AZURE_STORAGE_CONNECTION_STRING is set to for a service at `url`."""
    return f"DefaultEndpointsProtocol=http;{secret};BlobEndpoint={url}/{ACCOUNT}"


@dataclass
class Blobs:
    """The files of containers that exist, and how the service misbehaves."""

    url: str
    files: dict[str, dict[str, tuple[bytes, dict[str, str]]]] = field(default_factory=dict)
    blocks: dict[str, bytes] = field(default_factory=dict)
    cuts: int = 0
    """So many uploads are read, and then their connection is cut."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    blobs: Blobs

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.blobs.cuts:
            self.blobs.cuts -= 1
            self.close_connection = True
            return
        found = self._find()
        if found is None:
            return
        files, name, query = found
        if query.get("comp") == ["block"]:
            self.blobs.blocks[query["blockid"][0]] = body
            self._reply(201)
            return
        if query.get("comp") == ["blocklist"]:
            ids = [one.text or "" for one in ElementTree.fromstring(body)]
            body = b"".join(self.blobs.blocks[id] for id in ids)
        prefix = "x-ms-blob-content-"
        kept = {
            key.lower().removeprefix("x-ms-blob-").title(): value
            for key, value in self.headers.items()
            if key.lower().startswith(prefix)
        }
        files[name] = (body, {"Content-Type": "application/octet-stream", **kept})
        self._reply(201)

    def do_GET(self) -> None:
        found = self._find()
        if found is None:
            return
        files, name, query = found
        if query.get("comp") == ["list"]:
            self._list(self.path.split("?")[0].rpartition("/")[2], files, query)
        elif name not in files:
            self._refuse(404, "BlobNotFound")
        else:
            body, headers = files[name]
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("x-ms-range", ""))
            if wanted and body:
                start, end = int(wanted[1]), min(int(wanted[2]), len(body) - 1)
                headers = {**headers, "Content-Range": f"bytes {start}-{end}/{len(body)}"}
                self._reply(206, body[start : end + 1], headers)
            else:
                self._reply(200, body, headers)

    do_HEAD = do_GET  # noqa: N815

    def do_DELETE(self) -> None:
        found = self._find()
        if found is None:
            return
        files, name, _ = found
        if files.pop(name, None) is None:
            self._refuse(404, "BlobNotFound")
        else:
            self._reply(202)

    def _find(self) -> tuple[dict[str, Any], str, dict[str, list[str]]] | None:
        """Return the container's files, the name that is asked for, and the query."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        container, _, name = unquote(parts.path).removeprefix(f"/{ACCOUNT}/").partition("/")
        reads = "sig" in query and self.command in ("GET", "HEAD")
        if not reads and "Authorization" not in self.headers:
            # A signature is as good as a key here, but allows to read and list only.
            self._refuse(403, "AuthorizationPermissionMismatch")
        elif container not in self.blobs.files:
            self._refuse(404, "ContainerNotFound")
        else:
            return self.blobs.files[container], name, query
        return None

    def _list(self, container: str, files: dict[str, Any], query: dict[str, list[str]]) -> None:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        lines, folders = [], set()
        for name, (body, headers) in sorted(files.items()):
            if not name.startswith(prefix):
                continue
            head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                folders.add(f"{prefix}{head}/")
                continue
            kind = escape(headers["Content-Type"])
            lines.append(
                f"<Blob><Name>{escape(name)}</Name><Properties><BlobType>BlockBlob</BlobType>"
                f"<Last-Modified>{formatdate(usegmt=True)}</Last-Modified><Etag>0x1</Etag>"
                f"<Content-Length>{len(body)}</Content-Length><Content-Type>{kind}</Content-Type>"
                "</Properties></Blob>"
            )
        lines += [f"<BlobPrefix><Name>{escape(one)}</Name></BlobPrefix>" for one in sorted(folders)]
        text = (
            '<?xml version="1.0" encoding="utf-8"?>'
            f'<EnumerationResults ContainerName="{container}">'
            f"<Prefix>{escape(prefix)}</Prefix><Delimiter>{delimiter}</Delimiter>"
            f"<Blobs>{''.join(lines)}</Blobs><NextMarker/></EnumerationResults>"
        )
        self._reply(200, text.encode(), {"Content-Type": "application/xml"})

    def _refuse(self, status: int, code: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
        head = {"x-ms-error-code": code, "Content-Type": "application/xml"}
        self._reply(status, body.encode(), head)

    def _reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        fixed = {
            "ETag": f'"{digest}"', "Last-Modified": formatdate(usegmt=True),
            "x-ms-blob-type": "BlockBlob", "x-ms-request-id": "0", "x-ms-version": "2021-12-02",
            "Content-Length": str(len(body)),
        }  # fmt: skip
        for key, value in {**fixed, **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def blob_service(*containers: str) -> Iterator[Blobs]:
    """Serve these containers, which are empty."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.block_on_close = False
    server.daemon_threads = True
    blobs = Blobs(f"http://127.0.0.1:{server.server_address[1]}", {name: {} for name in containers})
    handler.blobs = blobs  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield blobs
    finally:
        server.shutdown()
        server.server_close()
