"""Sends exports to a folder or a bucket, through universal-pathlib: file, s3, gs, az, memory.

First a manifest that says `uploading`, then the files, the true manifest last: where it is there,
all that it names is, and what an upload leaves that dies is known as ours. What lies there already
is not sent again, so a second try finishes what the first did not. Credentials are found by the
storage library itself, and never pass through here.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, quote, unquote, urlsplit

from dagmar.errors import DagmarError, Invalid, NotAllowed, SetupError, StorageFailed, UsageError
from dagmar.export import folders, index, manifests
from dagmar.export.exporting import Exported
from dagmar.export.manifests import Manifest
from dagmar.files import write_atomically

if TYPE_CHECKING:
    from dagmar.export.retention import Policy

T = TypeVar("T")
TRIES = 3
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 10
"""Who has tried for so long has tried often: most libraries do by themselves."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".ipynb": "application/x-ipynb+json",
    ".md": "text/markdown; charset=utf-8",
}
LIBRARIES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}
LOCAL = ("", "file", "local")
for library in (
    "azure",
    "gcsfs",
    "google",
):  # they log what they raise as well, which Python would print
    logging.getLogger(library).addHandler(logging.NullHandler())


class Storage:
    """A place that exports are sent to: a folder, or a prefix of a bucket."""

    def __init__(self, address: str, public_url: str = "", compress: bool = False) -> None:
        """Open it; nothing is sent yet. Raises UsageError, SetupError or Invalid."""
        parts = urlsplit(address)
        if ":" in parts.netloc.rpartition("@")[0]:
            raise UsageError(
                "--upload takes no password in its address",
                "Give it the way that the storage library finds it: variables, or a profile.",
            )
        if parts.scheme in LOCAL:
            address = _folder_of(parts, address) if parts.scheme else address
            address = str(Path(address).expanduser().absolute())
        self.scheme = "" if parts.scheme in LOCAL else parts.scheme
        self.address, self.compress = address.rstrip("/"), compress
        self._public_url = public_url.rstrip("/")
        with self._explained():
            from upath import UPath

            root: Any = UPath(self.address) if self.scheme else Path(self.address)
            if self.scheme:
                # A missing library, bucket or credential is missed here.
                getattr(root / manifests.NAME, "fs")  # noqa: B009
            self.root = root

    def url(self, inside: str) -> str:
        """Return the address under which a file is opened."""
        if self._public_url:
            return f"{self._public_url}/{quote(inside)}"
        if not self.scheme:
            return (Path(self.address) / inside).as_uri()
        return f"{self.address}/{inside}"

    def send(self, exported: Exported, tell: Callable[[str], None] = lambda name: None) -> str:
        """Send an export, its manifest last, and return the address of its page.

        Notes it in the manifest, which the caller saves. Raises StorageFailed, NotAllowed,
        Invalid (also for a file that is not as it was exported) or SetupError; what was sent until
        then stays, and is not sent again.
        """
        manifest, folder = exported.manifest, exported.folder
        assert manifest is not None
        assert folder is not None
        base = f"{manifest.name}/{manifest.id}"
        for file in manifest.files:
            _read(folder, file)
        with self._explained():
            self._announce(base, manifest)
            if manifest.offline:
                self._send_shared(folder, tell)
            for file in manifest.files:
                tell(file.name)
                self._put(f"{base}/{file.name}", _read(folder, file))
            url = self.url(f"{base}/{manifest.page()}")
            place = {"to": self.address, "url": url}
            uploaded = [*(one for one in manifest.uploaded if one != place), place]
            there = replace(manifest, uploaded=uploaded)
            self._put(f"{base}/{manifests.NAME}", there.as_text().encode(), again=True)
            manifest.uploaded = uploaded
            self.write_index(manifest.name)
        return url

    def _announce(self, base: str, manifest: Manifest) -> None:
        """Write down what is about to be sent, unless all of it is there by now."""
        there = self._get(f"{base}/{manifests.NAME}")
        known = manifests.parse(there, manifest.id) if there is not None else None
        if known is not None and known.whole:
            return
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        marker = replace(
            manifest,
            status=manifests.UPLOADING,
            uploaded=[*manifest.uploaded, {"to": self.address, "since": since}],
        )
        self._put(f"{base}/{manifests.NAME}", marker.as_text().encode(), again=True)

    def _send_shared(self, folder: Path, tell: Callable[[str], None]) -> None:
        """Send the scripts that offline pages share, once for each marimo."""
        from dagmar.export.offline import FOLDER

        shared = folder.parent.parent / FOLDER
        for file in sorted(shared.rglob("*.js")):
            tell(file.name)
            inside = f"{FOLDER}/{file.relative_to(shared).as_posix()}"
            self._put(inside, file.read_bytes())

    def write_index(self, name: str) -> None:
        """Write the pages that list what lies there now."""
        if not self.scheme:
            index.write(self.root, name)
            return
        for file, text in index.pages(self.root, name).items():
            self._put(file, text.encode(), again=True)

    def expire(self, name: str, policy: Policy, dry_run: bool = False) -> list[str]:
        """Remove exports of a notebook that may go, and return their addresses."""
        from dagmar.export import retention

        with self._explained():
            if self.scheme:
                found = policy.choose(manifests.read_all(self.root / name))
                gone = [folder.name for folder, _ in found]
                for folder, manifest in () if dry_run else found:
                    retention.remove_remote(folder, manifest)
            else:
                gone = [one.name for one in retention.expire(self.root, name, policy, dry_run)]
            if gone and not dry_run:
                self.write_index(name)
        return [self.url(f"{name}/{id}") for id in gone]

    def _put(self, inside: str, data: bytes, again: bool = False) -> None:
        """Write one file, unless it is there; `again` is for those that change."""
        suffix = Path(inside).suffix
        # Manifests are read from there again, where nothing unpacks them.
        packed = self.compress and suffix in TYPES and suffix != ".json"
        if not self.scheme:
            # Nobody tells a browser that a file on a disk is packed.
            target = Path(self.address) / inside
            if again or not target.is_file() or target.stat().st_size != len(data):
                with folders.writable(target.parent):
                    write_atomically(target, data.decode())
            return
        data = gzip.compress(data, mtime=0) if packed else data
        path = self.root / inside

        def put() -> None:
            if again or _size(path) != len(data):
                path.fs.pipe_file(path.path, data, **self._headers(suffix, packed))

        _patiently(put)

    def _get(self, inside: str) -> str | None:
        """Return the text of a file, or None where there is none."""
        try:
            return _patiently(lambda: str((self.root / inside).read_text("utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _headers(self, suffix: str, packed: bool) -> dict[str, Any]:
        """Return what makes a browser show a file instead of saving it, in the library's words."""
        kind = TYPES.get(suffix, "application/octet-stream")
        library = LIBRARIES.get(self.scheme)
        if library == "s3fs":
            return {"ContentType": kind, **({"ContentEncoding": "gzip"} if packed else {})}
        if library == "gcsfs":
            fixed = {"fixed_key_metadata": {"content_encoding": "gzip"}} if packed else {}
            return {"content_type": kind, **fixed}
        if library == "adlfs":
            blob = importlib.import_module("azure.storage.blob")
            encoding = "gzip" if packed else None
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
        except ImportError:
            library = LIBRARIES.get(self.scheme, "universal-pathlib")
            raise SetupError(
                f"{library} is not installed, which {self.scheme or 'uploading'} needs",
                f"Type: uv add {library}",
            ) from None
        except Exception as error:  # each storage library has its own
            status, told = _status(error), _told(error)
            if status in (401, 403):
                raise NotAllowed(
                    f"{bucket} refuses access: {told}",
                    "Check the credentials in your environment, and what they allow.",
                ) from None
            if status == 404:
                raise Invalid(
                    f"there is no {bucket}: {told}", "Make the bucket, or correct --upload."
                ) from None
            if _lacks_credentials(error):
                raise NotAllowed(
                    f"there are no credentials for {bucket}: {told}",
                    "Set them in your environment, as the storage's own tools need them.",
                ) from None
            opened = hasattr(self, "root")
            if status == 400 or (isinstance(error, ValueError) and not opened):
                raise UsageError(
                    f"--upload takes no address like {bucket}: {told}",
                    "For example: --upload s3://bucket/reports",
                ) from None
            raise StorageFailed(
                f"{bucket} does not answer, or breaks off: {told}",
                "Try again: what was sent is not sent twice.",
            ) from None


def _folder_of(parts: SplitResult, address: str) -> str:
    """Return the folder that an address such as `file:///reports` names. Raises UsageError."""
    if parts.netloc not in ("", "localhost"):
        raise UsageError(
            f"{address} names a machine called {parts.netloc}",
            f"For a folder here, leave {parts.scheme}:// out, or write three slashes.",
        )
    return unquote(parts.path)


def _read(folder: Path, file: manifests.File) -> bytes:
    """Return a file of an export. Raises Invalid where it is not what the manifest says."""
    path = folder / file.name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", "Export it again.") from None
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise Invalid(f"{path} was changed since it was exported", "Export it again.")
    return data


def _patiently(act: Callable[[], T]) -> T:
    """Act, and act again where a connection breaks, unless the library was patient itself."""
    started = time.monotonic()
    for attempt in range(1, TRIES):
        try:
            return act()
        except OSError as error:
            if _status(error) or time.monotonic() - started > PATIENCE_SECONDS:
                raise
            time.sleep(PAUSE_SECONDS * 2**attempt)
    return act()


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status that says no to a request, however a library tells it, or None."""
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
    """Whether a library found no credentials that it could ask with."""
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    adlfs = isinstance(error, ValueError) and str(error).startswith("unable to connect to account")
    return "Credentials" in kinds or "Authentication" in kinds or adlfs


def _size(path: Any) -> int | None:
    """Return the size of a file, or None where there is none. Never the cached one."""
    try:
        path.fs.invalidate_cache()
        size = path.fs.info(path.path).get("size")
    except FileNotFoundError:
        return None
    return None if size is None else int(size)


def _told(error: BaseException) -> str:
    """Return the first line of a library's message, without what may be secret in addresses."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.partition("?")[0][:200]
