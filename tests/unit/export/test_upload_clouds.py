"""Exports sent to gs:// and az://, by the libraries that people use, to servers on loopback.

For gs:// the server is an emulator of Google's JSON API, for az:// it is `blobs`, which implements
the part of Blob REST that is needed. In the nightly profile, if `azurite-blob` is on the PATH (npm
install azurite), the same tests run against Azurite as well. They were compared with its 3.35.0:
both keep types and encodings, and give the same answers for a missing container (404
ContainerNotFound) and for a signature that only reads (403 AuthorizationPermissionMismatch). Only
Azurite checks keys.
"""

from __future__ import annotations

import gzip
import importlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from dagmar.errors import DagmarError, Invalid, NotAllowed, SetupError, StorageFailed, UsageError
from dagmar.export import manifests
from dagmar.export.retention import Policy
from dagmar.export.upload import Storage
from support.azure_service import ACCOUNT, KEY, blob_service, connection_string
from support.export_project import PAGE, orders_export
from support.http_server import closed_port, document, page, reset, serve

SECRET = "c2VjcmV0LWtleQ=="  # pragma: allowlist secret


@dataclass
class Cloud:
    """A service with the bucket `team`, and how a test looks into it."""

    scheme: str
    look: Callable[[str], tuple[bytes, str, str | None]]
    """Return a file's bytes, its content type and its content encoding."""
    names: Callable[[str], list[str]]


@contextmanager
def google(patch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """An emulator of Google's storage."""
    from gcp_storage_emulator.server import create_server

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="team")
    server._api.daemon = True
    server.start()
    patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    kept = server._storage

    def look(name: str) -> tuple[bytes, str, str | None]:
        about = kept.get_file_obj("team", name)
        return kept.get_file("team", name), about["contentType"], about.get("contentEncoding")

    def names(prefix: str) -> list[str]:
        return sorted(file["name"] for file in kept.get_file_list("team", prefix)[0])

    yield Cloud("gs", look, names)
    server.stop()


@contextmanager
def azure(patch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A small Blob service."""
    with blob_service("team") as blobs:
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string(blobs.url))
        team = blobs.files["team"]

        def look(name: str) -> tuple[bytes, str, str | None]:
            body, head = team[name]
            return body, head["Content-Type"], head.get("Content-Encoding")

        yield Cloud("az", look, lambda prefix: sorted(n for n in team if n.startswith(prefix)))


@contextmanager
def azurite(patch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Azure's own emulator."""
    from azure.storage.blob import BlobServiceClient

    executable = shutil.which("azurite-blob")
    if executable is None:
        pytest.skip("azurite is not installed: npm install azurite")
    holder, url = closed_port()
    holder.close()
    flags = ("--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck")
    port = url.rpartition(":")[2]
    process = subprocess.Popen([executable, *flags, "--blobPort", port], stdout=subprocess.DEVNULL)
    try:
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string(url))
        client = BlobServiceClient.from_connection_string(connection_string(url), retry_total=0)
        deadline = time.monotonic() + 240
        while True:
            try:
                client.create_container("team")
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        team = client.get_container_client("team")

        def look(name: str) -> tuple[bytes, str, str | None]:
            blob = team.get_blob_client(name)
            about = blob.get_blob_properties().content_settings
            return (
                blob.download_blob(decompress=False).readall(),
                about.content_type,
                about.content_encoding,
            )

        yield Cloud(
            "az", look, lambda prefix: sorted(team.list_blob_names(name_starts_with=prefix))
        )
    finally:
        process.kill()
        process.wait()


CLOUDS = {"gs": google, "az": azure, "azurite": azurite}
AZURITE = pytest.param("azurite", marks=pytest.mark.nightly)


@pytest.fixture(params=["gs", "az", AZURITE])
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Each of the services, one after the other."""
    with CLOUDS[request.param](monkeypatch) as service:
        yield service


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No credentials of this user, no pauses, and a new client for each test."""
    import adlfs
    import fsspec
    from azure.storage.blob._shared.policies_async import ExponentialRetry

    for name in list(os.environ):
        if name.startswith(("AZURE_", "GOOGLE_", "CLOUDSDK_", "STORAGE_EMULATOR")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setattr(ExponentialRetry, "get_backoff_time", lambda self, settings: 0.01)
    kinds = (adlfs.AzureBlobFileSystem, fsspec.get_filesystem_class("gs"))
    yield
    for kind in kinds:
        kind.clear_instance_cache()


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gcsfs, which pauses for half a minute, retry as often without pauses."""
    import gcsfs.retry

    async def at_once(seconds: float) -> None:
        pass

    stub = type("asyncio", (), {"sleep": staticmethod(at_once)})
    monkeypatch.setattr(gcsfs.retry, "asyncio", stub)


def test_a_bucket_gets_all_files_as_what_they_are(cloud: Cloud, tmp_path: Path) -> None:
    exported = orders_export(tmp_path)
    storage = Storage(f"{cloud.scheme}://team/first/")
    base = f"first/orders/{exported.manifest.id}"
    assert storage.send(exported) == f"{cloud.scheme}://team/{base}/orders.html"
    body, kind, encoding = cloud.look(f"{base}/orders.html")
    assert (body.decode(), encoding) == (PAGE, None)
    # Google's emulator drops what follows the semicolon; Google does not.
    assert kind == ("text/html" if cloud.scheme == "gs" else "text/html; charset=utf-8")
    body, kind, _ = cloud.look(f"{base}/manifest.json")
    assert kind == "application/json"
    there = manifests.parse(body.decode(), exported.manifest.id)
    assert there is not None
    assert there.status == "ok"
    index = cloud.look("first/orders/index.html")[0].decode()
    assert f"{exported.manifest.id}/orders.html" in index
    assert "orders/index.html" in cloud.look("first/index.html")[0].decode()


def test_gcsfs_sends_the_whole_content_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(document({"error": {"code": 404, "message": ""}}, 404)) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        with pytest.raises(FileNotFoundError):
            Storage("gs://team/x", compress=True)._put("orders.html", b"page")
    (sent,) = (request for request in server.seen if request.method == "POST")
    assert b"\nContent-Type: text/html; charset=utf-8\n" in sent.body
    assert b'"contentEncoding": "gzip"' in sent.body


def test_compressed_files_say_so_and_are_not_sent_again(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = orders_export(tmp_path)
    address = f"{cloud.scheme}://team/packed"
    Storage(address, compress=True).send(exported)
    page = f"packed/orders/{exported.manifest.id}/orders.html"
    body, _, encoding = cloud.look(page)
    assert encoding == "gzip"
    assert gzip.decompress(body).decode() == PAGE
    sent: list[str] = []
    files = Storage(address).root.fs
    pipe = files.pipe_file

    def noted(path: str, *rest: Any, **named: Any) -> Any:
        sent.append(path)
        return pipe(path, *rest, **named)

    monkeypatch.setattr(files, "pipe_file", noted)
    Storage(address, compress=True).send(exported)
    assert f"team/{page}" not in sent
    assert "team/packed/index.html" in sent


def test_old_exports_go(cloud: Cloud, tmp_path: Path) -> None:
    address = f"{cloud.scheme}://team/old"
    for number in (1, 2, 3):
        Storage(address).send(orders_export(tmp_path, number))
    gone = Storage(address).expire("orders", Policy("notebooks/orders.py", keep=1))
    newest = "20260103T000000Z-00000000"
    assert len(gone) == 2
    assert cloud.names("old/") == [
        "old/index.html", *(f"old/orders/{newest}/{name}" for name in
        ("manifest.json", "orders.html", "orders.ipynb")), "old/orders/index.html",
    ]  # fmt: skip
    index = cloud.look("old/orders/index.html")[0].decode()
    assert newest in index
    assert "20260102T" not in index


def test_a_missing_bucket_is_reported(cloud: Cloud, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="Create the bucket"):
        Storage(f"{cloud.scheme}://no-such-bucket/x").send(orders_export(tmp_path))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_google_is_reported_and_not_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    with serve(document({"error": {"code": status, "message": "Denied."}}, status)) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        with pytest.raises(NotAllowed, match="refuses access") as caught:
            Storage("gs://team/x").send(orders_export(tmp_path))
        assert len(server.seen) <= 3  # which is gcsfs trying one name as a file and as a folder
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("service", ["az", AZURITE])
def test_a_signature_that_only_reads_is_reported_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    import adlfs
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    ends = datetime.now(timezone.utc) + timedelta(hours=1)
    reads = ContainerSasPermissions(read=True, list=True)
    token = generate_container_sas(
        ACCOUNT, "team", account_key=KEY, permission=reads, expiry=ends, version="2021-12-02"
    )
    exported = orders_export(tmp_path)
    with CLOUDS[service](monkeypatch) as cloud:
        for number in (2, 3):
            Storage("az://team/x").send(orders_export(tmp_path / "before", number))
        url = os.environ["AZURE_STORAGE_CONNECTION_STRING"].rpartition("BlobEndpoint=")[2]
        by_token = f"BlobEndpoint={url};SharedAccessSignature={token}"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", by_token)
        adlfs.AzureBlobFileSystem.clear_instance_cache()
        with pytest.raises(NotAllowed, match="refuses access") as caught:
            Storage("az://team/x").send(exported)
        # While old exports are removed, adlfs wraps the refusal into a RuntimeError.
        with pytest.raises(NotAllowed, match="refuses access") as removing:
            Storage("az://team/x").expire("orders", Policy("notebooks/orders.py", keep=1))
        assert len(cloud.names("x/")) == 8
    signature = token.rpartition("sig=")[2]
    for error in (caught.value, removing.value):
        assert signature not in repr(error)
    assert "sig=" not in exported.manifest.as_text()


@pytest.mark.nightly
def test_a_wrong_key_is_reported_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with azurite(monkeypatch):
        wrong = os.environ["AZURE_STORAGE_CONNECTION_STRING"].replace(KEY, SECRET)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", wrong)
        with pytest.raises(NotAllowed, match="refuses access") as caught:
            Storage("az://team/x").send(orders_export(tmp_path))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"AZURE_STORAGE_CONNECTION_STRING": f"AccountKey={SECRET}"},
        {"AZURE_STORAGE_CONNECTION_STRING": f"secret {SECRET}"},
    ],
)
def test_azure_without_credentials_is_reported(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NotAllowed, match="no credentials for az://team/x") as caught:
        Storage("az://team/x")
    assert SECRET not in str(caught.value)


def test_a_malformed_key_is_reported_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = connection_string("http://127.0.0.1:9", f"AccountName={ACCOUNT};AccountKey=secret-1")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", broken)
    with pytest.raises(NotAllowed) as caught:
        Storage("az://team/x").send(orders_export(tmp_path))
    assert "secret-1" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["gs", "az"])
@pytest.mark.usefixtures("_hasty")
def test_a_service_that_does_not_answer_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    holder, url = closed_port()
    secret = f"AccountName={ACCOUNT};AccountKey={SECRET}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string(url, secret))
    with holder, pytest.raises(StorageFailed, match="does not answer") as caught:
        Storage(f"{scheme}://team/x").send(orders_export(tmp_path))
    assert SECRET not in str(caught.value)


def test_a_cut_connection_is_tried_again_on_azure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with blob_service("team") as blobs:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string(blobs.url))
        blobs.cuts = 1
        Storage("az://team/x").send(orders_export(tmp_path))
        assert blobs.cuts == 0
        assert len(blobs.files["team"]) == 5


@pytest.mark.usefixtures("_hasty")
def test_a_cut_connection_is_tried_again_on_google(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = document({}, 404)
    done = document({"name": "x/a.html", "size": "4"})
    with serve(gone, gone, reset, done) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        Storage("gs://team/x")._put("a.html", b"page")
    assert [request.method for request in server.seen] == ["GET", "GET", "POST", "POST"]


def test_an_address_that_google_refuses_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(document({"error": {"code": 400, "message": "invalid bucket name"}}, 400)) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        with pytest.raises(UsageError, match="cannot use the address"):
            Storage("gs://TEAM/x").send(orders_export(tmp_path))


def test_an_address_without_a_bucket_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot use the address"):
        Storage("gs:///x")


@pytest.mark.usefixtures("_hasty")
def test_a_page_that_is_not_a_storage_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(page()) as server:  # such as the sign-in of a network
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        with pytest.raises(StorageFailed, match="does not answer"):
            Storage("gs://team/x").send(orders_export(tmp_path))


def test_what_libraries_log_is_not_printed() -> None:
    code = (
        "import sys\n"
        "from dagmar.export.upload import Storage\n"
        "try:\n    Storage('gs://team/x')._put('a.html', b'')\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
    )
    with serve(document({"error": {"code": 401, "message": "Denied."}}, 401)) as server:
        env = {"STORAGE_EMULATOR_HOST": server.url, "NO_GCE_CHECK": "true"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60
        )
    assert (done.stdout, done.stderr) == ("HttpError\n", "")


@pytest.mark.parametrize(("scheme", "library"), [("gs", "gcsfs"), ("az", "adlfs")])
def test_a_library_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, scheme: str, library: str
) -> None:
    known = vars(importlib.import_module("fsspec.registry"))["_registry"]
    for name in [name for name, kind in known.items() if library in kind.__module__]:
        monkeypatch.delitem(known, name)
    monkeypatch.setitem(sys.modules, library, None)
    message = f"{library} is not installed, which {scheme} needs"
    with pytest.raises(SetupError, match=message) as caught:
        Storage(f"{scheme}://bucket/x")
    assert isinstance(caught.value, DagmarError)
