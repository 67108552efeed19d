"""Exports sent to storages: a folder, memory, and a real S3 server."""

from __future__ import annotations

import gzip
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from dagmar.errors import DagmarError, Invalid, NotAllowed, StorageFailed, UsageError
from dagmar.export import manifests, retention
from dagmar.export.publish import Publisher
from dagmar.export.request import ExportRequest
from dagmar.export.retention import Policy
from dagmar.export.upload import Storage
from dagmar.project.settings import load
from moto.server import ThreadedMotoServer
from support.export_project import (
    GOOD,
    PAGE,
    assert_whole,
    export,
    export_project,
    orders_export,
)
from support.project import make_project

RESETS: list[None] = []
ORDERS = Policy("notebooks/orders.py", keep=1)


def cut_off(patch: pytest.MonkeyPatch, name: str, after: int = 0) -> None:
    """Break the connection whenever a file is sent, except for the first `after` times."""
    put, seen = Storage._put, [0]

    def cut(self: Storage, inside: str, data: bytes, overwrite: bool = False) -> None:
        if inside.endswith(name):
            seen[0] += 1
            if seen[0] > after:
                raise ConnectionResetError("Connection reset by peer")
        put(self, inside, data, overwrite)

    patch.setattr(Storage, "_put", cut)


def status_of(s3: Any, base: str) -> str:
    """Return the status in the manifest of a folder of the bucket."""
    text = s3.get_object(Bucket="team", Key=f"{base}/manifest.json")["Body"].read()
    return str(json.loads(text)["status"])


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of a real S3 server on loopback, which s3fs uses as well.

    The server resets as many connections of PUT requests as `RESETS` holds.
    """
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    wsgi: Any = server._server
    answer = wsgi.app

    def reset_or_answer(environ: dict[str, Any], start_response: Any) -> Any:
        if RESETS and environ["REQUEST_METHOD"] == "PUT":
            RESETS.pop()
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        return answer(environ, start_response)

    wsgi.app = reset_or_answer
    host, port = server.get_host_and_port()
    environ = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "s3cret-key",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    saved = {name: os.environ.get(name) for name in environ}
    os.environ.update(environ)
    client = boto3.client("s3")
    client.create_bucket(Bucket="team")
    yield client
    for name, value in saved.items():
        if value is None:
            os.environ.pop(name)
        else:
            os.environ[name] = value
    server.stop()


@pytest.fixture(autouse=True)
def _no_shared_connections() -> Iterator[None]:
    """Storage libraries cache their clients: each test gets new ones."""
    yield
    _forget_connections()


def _forget_connections() -> None:
    import fsspec
    import s3fs

    fsspec.filesystem("memory").store.clear()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_bucket_gets_all_files_that_a_browser_shows(s3: Any, tmp_path: Path) -> None:
    exported = orders_export(tmp_path)
    storage = Storage("s3://team/first/", "https://reports.example.com/x/")
    url = storage.send(exported)
    base = f"first/orders/{exported.manifest.id}"
    assert url == f"https://reports.example.com/x/orders/{exported.manifest.id}/orders.html"
    page = s3.get_object(Bucket="team", Key=f"{base}/orders.html")
    assert page["ContentType"] == "text/html; charset=utf-8"
    assert page["Body"].read().decode() == PAGE
    manifest = s3.get_object(Bucket="team", Key=f"{base}/manifest.json")
    assert manifest["ContentType"] == "application/json"
    there = manifests.parse(manifest["Body"].read().decode(), exported.manifest.id)
    assert there is not None
    assert there.uploaded == [{"to": "s3://team/first", "url": url}]
    index = s3.get_object(Bucket="team", Key="first/orders/index.html")["Body"].read().decode()
    assert f"{exported.manifest.id}/orders.html" in index
    whole = s3.get_object(Bucket="team", Key="first/index.html")["Body"].read().decode()
    assert "orders/index.html" in whole


def test_compressed_files_say_so(s3: Any, tmp_path: Path) -> None:
    exported = orders_export(tmp_path)
    Storage("s3://team/packed", compress=True).send(exported)
    key = f"packed/orders/{exported.manifest.id}/orders.html"
    page = s3.get_object(Bucket="team", Key=key)
    assert page["ContentEncoding"] == "gzip"
    body = page["Body"].read()
    assert len(body) < len(PAGE) / 10
    assert gzip.decompress(body).decode() == PAGE
    # The index page there is complete, although it was compressed.
    Storage("s3://team/packed", compress=True).send(orders_export(tmp_path, 2))
    index = s3.get_object(Bucket="team", Key="packed/orders/index.html")["Body"].read()
    assert gzip.decompress(index).decode().count('orders.html">html') == 2


def test_a_second_try_finishes_what_the_first_did_not(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = orders_export(tmp_path)
    base = f"again/orders/{exported.manifest.id}"
    with monkeypatch.context() as patch:
        cut_off(patch, "manifest.json", after=1)
        with pytest.raises(StorageFailed, match="files that were sent are not sent again"):
            Storage("s3://team/again").send(exported)
    assert exported.manifest.uploaded == []
    first = s3.head_object(Bucket="team", Key=f"{base}/orders.html")["LastModified"]
    assert status_of(s3, base) == "uploading"
    Storage("s3://team/again").send(exported)
    assert s3.head_object(Bucket="team", Key=f"{base}/orders.html")["LastModified"] == first
    assert status_of(s3, base) == "ok"
    # A complete report stays complete while it is sent once more.
    with monkeypatch.context() as patch:
        cut_off(patch, "orders.html")
        with pytest.raises(StorageFailed):
            Storage("s3://team/again").send(exported)
    assert status_of(s3, base) == "ok"


@pytest.mark.parametrize("address", ["s3://team/left", "left"])
def test_an_interrupted_upload_is_listed_as_incomplete_and_removed_after_a_day(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    address = address if "://" in address else str(tmp_path / address)
    storage = Storage(address)
    root = storage.root / "orders"
    storage.send(orders_export(tmp_path, 1))
    left = orders_export(tmp_path, 2)
    home = root / left.manifest.id
    with monkeypatch.context() as patch:
        cut_off(patch, "orders.ipynb")
        with pytest.raises(StorageFailed):
            storage.send(left)
    assert (home / "orders.html").exists()
    if not storage.scheme:
        (home / ".orders.ipynb.a1b2c3d4").write_text("{", "utf-8")
    storage.send(orders_export(tmp_path, 3))
    listed = (root / "index.html").read_text("utf-8")
    assert f"upload not complete: {left.manifest.id}" in listed
    assert f"{left.manifest.id}/orders.html" not in listed
    # A process may still be sending it.
    assert Storage(address).expire("orders", replace(ORDERS, keep=2)) == []
    monkeypatch.setattr(retention, "ABANDONED", timedelta(0))
    (root / "20260101T000000Z-11111111").mkdir(parents=True)
    (root / "20260101T000000Z-11111111" / "x.html").write_text("mine", "utf-8")
    assert Storage(address).expire("orders", replace(ORDERS, keep=2)) == [
        storage.url(f"orders/{home.name}")
    ]
    there = sorted(path.name for path in Storage(address).root.joinpath("orders").iterdir())
    assert there == [
        "20260101T000000Z-00000000", "20260101T000000Z-11111111", "20260103T000000Z-00000000",
        "index.html",
    ]  # fmt: skip
    assert "upload not complete" not in (root / "index.html").read_text("utf-8")


def test_a_connection_that_breaks_is_tried_again(s3: Any, tmp_path: Path) -> None:
    exported = orders_export(tmp_path)
    RESETS.append(None)
    Storage("s3://team/flaky").send(exported)
    assert RESETS == []
    assert status_of(s3, f"flaky/orders/{exported.manifest.id}") == "ok"


def test_old_exports_go_from_a_bucket_and_foreign_files_stay(s3: Any, tmp_path: Path) -> None:
    storage = Storage("s3://team/old")
    for number in (1, 2, 3):
        storage.send(orders_export(tmp_path, number))
    s3.put_object(Bucket="team", Key="old/orders/20250101T000000Z-00000000/x.html", Body=b"mine")
    removed = Storage("s3://team/old").expire("orders", ORDERS, dry_run=True)
    assert len(removed) == 2
    assert Storage("s3://team/old").expire("orders", ORDERS) == removed
    left = [file["Key"] for file in s3.list_objects_v2(Bucket="team", Prefix="old/")["Contents"]]
    assert left == [
        "old/index.html",
        "old/orders/20250101T000000Z-00000000/x.html",
        "old/orders/20260103T000000Z-00000000/manifest.json",
        "old/orders/20260103T000000Z-00000000/orders.html",
        "old/orders/20260103T000000Z-00000000/orders.ipynb",
        "old/orders/index.html",
    ]


def test_a_missing_bucket_and_a_server_that_does_not_answer_are_reported(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Invalid, match="Create the bucket"):
        Storage("s3://no-such-bucket/x").send(orders_export(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    with pytest.raises(StorageFailed) as caught:
        Storage("s3://team/x").send(orders_export(tmp_path, 2))
    assert "s3cret-key" not in str(caught.value)


@contextmanager
def iam_is_enforced() -> Iterator[None]:
    """Let the server check credentials and permissions."""
    address = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    before = requests.post(address, data="0", timeout=10).json()
    try:
        yield
    finally:
        requests.post(
            address, data=before["PREVIOUS_INITIAL_NO_AUTH_ACTION_COUNT"], timeout=10
        ).raise_for_status()


def test_denied_access_is_reported(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    iam = boto3.client("iam")
    iam.create_user(UserName="reader")
    only_reads = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [only_reads]})
    iam.put_user_policy(UserName="reader", PolicyName="reads", PolicyDocument=policy)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    exported = orders_export(tmp_path)
    with iam_is_enforced(), pytest.raises(NotAllowed, match=r"refuses access: .*Denied") as denied:
        Storage("s3://team/closed").send(exported)
    assert key["SecretAccessKey"] not in str(denied.value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-this-one")
    _forget_connections()
    with iam_is_enforced(), pytest.raises(NotAllowed, match="refuses access"):
        Storage("s3://team/closed").send(exported)
    assert "Contents" not in s3.list_objects_v2(Bucket="team", Prefix="closed/")


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("s3://key:secret@bucket/x", UsageError, "no password"),
        ("s3://key:a/secret@bucket/x", UsageError, "no password"),
        ("https://team.example/reports?sig=secret", UsageError, "no query"),
        ("az://reports/x?sv=1&sig=secret", UsageError, "no query"),
        ("nosuch://bucket/x", UsageError, "cannot use the address"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(
    address: str, error: type[DagmarError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        Storage(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["", "file://", "memory://"])
def test_folders_and_memory_get_the_same_files_as_a_bucket(tmp_path: Path, scheme: str) -> None:
    address = f"{scheme}{tmp_path / 'to'}" if scheme != "memory://" else "memory://to"
    exported = orders_export(tmp_path / "from")
    url = Storage(address).send(exported)
    inside = f"orders/{exported.manifest.id}/orders.html"
    if scheme == "memory://":
        import fsspec

        assert url == f"memory://to/{inside}"
        assert fsspec.filesystem("memory").cat(f"/to/{inside}").decode() == PAGE
        return
    assert url == (tmp_path / "to" / inside).as_uri()
    assert assert_whole(tmp_path / "to") == 1


def test_an_address_of_a_folder_is_read_as_browsers_read_it(tmp_path: Path) -> None:
    assert Storage(f"file://{tmp_path}/my%20reports").root == tmp_path / "my reports"
    assert Storage(f"file://localhost{tmp_path}/x").root == tmp_path / "x"
    with pytest.raises(UsageError, match="is a folder on the machine reports"):
        Storage("file://reports/x")


@pytest.mark.parametrize("address", ["memory://edited", "edited"])
def test_a_page_that_was_changed_since_is_not_sent(tmp_path: Path, address: str) -> None:
    storage = Storage(address if "://" in address else str(tmp_path / address))
    exported = orders_export(tmp_path / "from")
    (exported.folder / "orders.ipynb").write_text("{ }", "utf-8")
    with pytest.raises(Invalid, match=r"orders\.ipynb was changed since it was exported"):
        storage.send(exported)
    (exported.folder / "orders.ipynb").unlink()
    with pytest.raises(Invalid, match=r"orders\.ipynb cannot be read"):
        storage.send(exported)
    assert not (storage.root / "orders").exists()


@pytest.mark.parametrize("address", ["s3://team/changed", "memory://changed"])
def test_files_of_others_stay_when_old_exports_go(s3: Any, tmp_path: Path, address: str) -> None:
    for number in (1, 2, 3):
        Storage(address, compress=True).send(orders_export(tmp_path, number))
    storage = Storage(address)
    changed, added, _ = (
        storage.root / "orders" / f"2026010{n}T000000Z-00000000" for n in (1, 2, 3)
    )
    (changed / "orders.html").write_bytes(b"annotated")
    (added / "notes.txt").write_bytes(b"mine")
    assert len(storage.expire("orders", ORDERS)) == 2
    left = {str(file.path).partition("/orders/")[2] for file in storage.root.rglob("*.*")}
    assert left == {
        "", "index.html",  # that of the folder, and that of the notebook
        f"{changed.name}/orders.html", f"{added.name}/notes.txt",
        *(f"20260103T000000Z-00000000/{name}" for name in (
            "manifest.json", "orders.html", "orders.ipynb")),
    }  # fmt: skip


def test_a_failed_upload_keeps_the_page_and_says_how_to_try_again(tmp_path: Path) -> None:
    settings = load(make_project(tmp_path, "export: {public_url: https://r.example.com}\n").root)
    exported = orders_export(tmp_path / ".dagmar/exports")
    blocked = tmp_path / "blocked"
    blocked.write_text("a file", "utf-8")
    request = ExportRequest(notebooks=["orders.py"], upload=str(blocked))
    Publisher(settings, request).publish(exported)
    (problem,) = exported.problems
    assert problem.step == "upload"
    again = f"invoke export --existing {exported.manifest.id} --upload {blocked}"
    assert problem.repeat == again
    assert assert_whole(tmp_path / ".dagmar/exports") == 1
    blocked.unlink()
    exported.problems.clear()
    second = ExportRequest(existing=exported.manifest.id, upload=str(blocked))
    Publisher(settings, second).publish(exported)
    assert exported.problems == []
    assert exported.url.startswith("https://r.example.com/orders/")
    assert assert_whole(blocked) == 1


def test_a_failed_notebook_is_not_sent_unless_it_is_named(tmp_path: Path) -> None:
    settings = load(make_project(tmp_path).root)
    exported = orders_export(tmp_path / ".dagmar/exports", status=manifests.FAILED)
    Publisher(settings, ExportRequest(notebooks=["x"], upload=str(tmp_path / "to"))).publish(
        exported
    )
    assert not (tmp_path / "to").exists()


def test_compress_packs_what_is_sent(s3: Any, tmp_path: Path) -> None:
    project = export_project(tmp_path, good=GOOD)
    flags = ("--notebook", "good.py", "--upload", "s3://team/line", "--compress")
    status, (good,), stderr = export(project, *flags)
    assert status == 0, stderr
    key = f"line/good/{good['id']}/good.html"
    assert good["uploaded_to"] == [f"s3://team/{key}"]
    page = s3.get_object(Bucket="team", Key=key)
    assert page["ContentEncoding"] == "gzip"
    assert "forty-two" in gzip.decompress(page["Body"].read()).decode()
