"""Sends exports to a folder or a bucket, through universal-pathlib: file, s3, gs, az, memory.

A manifest with the status `uploading` goes first, then the files, and the final manifest last: it
proves that all files are there, and what an interrupted upload leaves can be identified. Files that
are there are not sent again, so a second try completes the first. The storage libraries find the
credentials, which never pass through here, and retry what fails on the way.
"""

from __future__ import annotations

import gzip
import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from dagmar.errors import DagmarError, Invalid, NotAllowed, SetupError, StorageFailed, UsageError
from dagmar.export import folders, index, manifests
from dagmar.export.exporting import Exported
from dagmar.export.manifests import Manifest
from dagmar.export.request import require_no_password
from dagmar.files import expanded, write_atomically
from dagmar.project.installing import add_command

if TYPE_CHECKING:
    from dagmar.export.retention import Policy

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".ipynb": "application/x-ipynb+json",
    ".md": "text/markdown; charset=utf-8",
}
LOCAL = ("", "file", "local")
for library in ("azure", "gcsfs", "google"):
    # They also log what they raise, which Python would print.
    logging.getLogger(library).addHandler(logging.NullHandler())


class Storage:
    """A destination of exports: a folder, or a prefix of a bucket."""

    def __init__(self, address: str, public_url: str = "", compress: bool = False) -> None:
        """Open it; nothing is sent yet. Raises UsageError, SetupError, Invalid or NotAllowed."""
        require_no_password(address)
        parts = urlsplit(address)
        self.scheme = "" if parts.scheme in LOCAL else parts.scheme
        if not self.scheme:
            if parts.netloc not in ("", "localhost"):
                hint = f"For a local folder leave {parts.scheme}:// out, or write three slashes."
                raise UsageError(f"{address} is a folder on the machine {parts.netloc}", hint)
            address = unquote(parts.path) if parts.scheme else address
            address = str(expanded(address).absolute())
        self.address, self.compress = address.rstrip("/"), compress
        self._public_url = public_url.rstrip("/")
        with self._explained():
            from upath import UPath

            root: Any = UPath(self.address) if self.scheme else Path(self.address)
            if self.scheme:
                # Raises for a missing library, bucket or credential.
                getattr(root / manifests.NAME, "fs")  # noqa: B009
            self.root = root

    def url(self, inside: str) -> str:
        """Return the address under which a file is opened."""
        if self._public_url:
            return f"{self._public_url}/{quote(inside)}"
        return f"{self.address}/{inside}" if self.scheme else (self.root / inside).as_uri()

    def send(self, exported: Exported, report: Callable[[str], None] = lambda name: None) -> str:
        """Send an export, its manifest last, and return the address of its page.

        The address is added to the manifest, which the caller saves. Raises StorageFailed,
        NotAllowed, Invalid (also for a file that was changed since) or SetupError; files that were
        sent by then stay, and are not sent again.
        """
        manifest, folder = exported.manifest, exported.folder
        base = f"{manifest.name}/{manifest.id}"
        contents = {file.name: _read(folder, file) for file in manifest.files}
        with self._explained():
            self._announce(base, manifest)
            if manifest.offline:
                self._send_shared(folder, report)
            for name, data in contents.items():
                report(name)
                self._put(f"{base}/{name}", data)
            url = self.url(f"{base}/{manifest.page()}")
            upload = {"to": self.address, "url": url}
            uploaded = [*(known for known in manifest.uploaded if known != upload), upload]
            final = replace(manifest, uploaded=uploaded)
            self._put(f"{base}/{manifests.NAME}", final.as_text().encode(), overwrite=True)
            manifest.uploaded = uploaded
            self.write_index(manifest.name)
        return url

    def _announce(self, base: str, manifest: Manifest) -> None:
        """Write a manifest of what is about to be sent, unless all of it is there already."""
        try:
            text = (self.root / base / manifests.NAME).read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            text = ""
        known = manifests.parse(text, manifest.id)
        if known is not None and known.whole:
            return
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        uploaded = [*manifest.uploaded, {"to": self.address, "since": since}]
        marker = replace(manifest, status=manifests.UPLOADING, uploaded=uploaded)
        self._put(f"{base}/{manifests.NAME}", marker.as_text().encode(), overwrite=True)

    def _send_shared(self, folder: Path, report: Callable[[str], None]) -> None:
        """Send the scripts that offline pages share, once for each marimo."""
        from dagmar.export.offline import FOLDER

        exports = folder.parent.parent
        for file in sorted((exports / FOLDER).rglob("*.js")):
            report(file.name)
            self._put(file.relative_to(exports).as_posix(), file.read_bytes())

    def write_index(self, name: str) -> None:
        """Write the pages that list the exports of a notebook, and the notebooks."""
        if not self.scheme:
            index.write(self.root, name)
            return
        for file, text in index.pages(self.root, name).items():
            self._put(file, text.encode(), overwrite=True)

    def expire(self, name: str, policy: Policy, dry_run: bool = False) -> list[str]:
        """Remove the exports of a notebook that may go, and return their addresses."""
        from dagmar.export import retention

        remove = retention.expire_uploaded if self.scheme else retention.expire
        with self._explained():
            removed = remove(self.root, name, policy, dry_run)
            if removed and not dry_run:
                self.write_index(name)
        return [self.url(f"{name}/{folder.name}") for folder in removed]

    def _put(self, inside: str, data: bytes, overwrite: bool = False) -> None:
        """Write one file unless it is there; `overwrite` is for those that change."""
        path = self.root / inside
        if not self.scheme:
            # Not compressed: a browser does not unpack a file from a disk.
            if overwrite or not path.is_file() or path.stat().st_size != len(data):
                with folders.writable(path.parent):
                    write_atomically(path, data.decode())
            return
        suffix = Path(inside).suffix
        # Manifests are read from there again, where nothing unpacks them.
        packed = self.compress and suffix in TYPES and suffix != ".json"
        data = gzip.compress(data, mtime=0) if packed else data
        if overwrite or _size(path) != len(data):
            path.fs.pipe_file(path.path, data, **self._headers(suffix, packed))

    def _headers(self, suffix: str, packed: bool) -> dict[str, Any]:
        """Return the library's arguments that make a browser show a file instead of saving it."""
        kind = TYPES.get(suffix, "application/octet-stream")
        encoding = "gzip" if packed else None
        library = type(self.root.fs).__module__.partition(".")[0]
        if library == "s3fs":
            return {"ContentType": kind, **({"ContentEncoding": encoding} if packed else {})}
        if library == "gcsfs":
            fixed = {"fixed_key_metadata": {"content_encoding": encoding}} if packed else {}
            return {"content_type": kind, **fixed}
        if library == "adlfs":
            blob = importlib.import_module("azure.storage.blob")
            settings = blob.ContentSettings(content_type=kind, content_encoding=encoding)
            return {"content_settings": settings, "overwrite": True}
        return {}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what storage libraries raise into errors with a hint."""
        bucket = self.address
        try:
            yield
        except DagmarError:
            raise
        except ImportError as error:
            # fsspec raises an error without a name from the one with it.
            library = str(getattr(error.__cause__ or error, "name", "")).partition(".")[0]
            message = f"{library} is not installed, which {self.scheme} needs"
            raise SetupError(message, command=add_command(library)) from None
        except Exception as error:  # each storage library has its own
            status, message = _status(error), _message(error)
            kind: type[DagmarError]
            if status in (401, 403):
                kind, what = NotAllowed, f"{bucket} refuses access: {message}"
                hint = "Check the credentials in your environment, and what they allow."
            elif status == 404:
                kind, what = Invalid, f"{bucket} does not exist: {message}"
                hint = "Create the bucket, or correct --upload."
            elif _lacks_credentials(error):
                kind, what = NotAllowed, f"there are no credentials for {bucket}: {message}"
                hint = "Set them in your environment, as the storage's own tools need them."
            elif status == 400 or (isinstance(error, ValueError) and not hasattr(self, "root")):
                kind, what = UsageError, f"--upload cannot use the address {bucket}: {message}"
                hint = "For example: --upload s3://bucket/reports"
            else:
                kind = StorageFailed
                what = f"{bucket} does not answer, or the connection broke: {message}"
                hint = "Try again: files that were sent are not sent again."
            raise kind(what, hint) from None


def _read(folder: Path, file: manifests.File) -> bytes:
    """Return a file of an export. Raises Invalid if it is not what the manifest says."""
    path = folder / file.name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", "Export it again.") from None
    if manifests.digest(data) != file.sha256:
        raise Invalid(f"{path} was changed since it was exported", "Export it again.")
    return data


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status that refused a request, or None."""
    while error is not None:
        if isinstance(error, PermissionError):
            return 403
        if isinstance(error, FileNotFoundError):
            return 404
        for name in ("status_code", "code"):  # adlfs, gcsfs
            if str(getattr(error, name, "")) in ("400", "401", "403", "404"):
                return int(getattr(error, name))
        # gcsfs has no more than words for these.
        for words, status in (("Forbidden: ", 403), ("Bad Request: ", 400)):
            if str(error).startswith(words):
                return status
        error = error.__cause__
    return None


def _lacks_credentials(error: Exception) -> bool:
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    adlfs = isinstance(error, ValueError) and str(error).startswith("unable to connect to account")
    return "Credentials" in kinds or "Authentication" in kinds or adlfs


def _size(path: Any) -> int | None:
    """Return the size of a file, or None if there is none. Never the cached one."""
    try:
        path.fs.invalidate_cache()
        size = path.fs.info(path.path).get("size")
    except FileNotFoundError:
        return None
    return None if size is None else int(size)


def _message(error: BaseException) -> str:
    """Return the first line of a library's message, without what may be secret in addresses."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.partition("?")[0][:200]
