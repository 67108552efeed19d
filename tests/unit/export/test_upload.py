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
from dagmar.export import upload as uploading
from dagmar.export.exporting import Exported
from dagmar.export.manifests import Manifest
from dagmar.export.publish import Publisher
from dagmar.export.request import ExportRequest
from dagmar.export.retention import Policy
from dagmar.export.upload import Storage
from dagmar.project.settings import load
from moto.server import ThreadedMotoServer
from support.export_project import GOOD, assert_whole, export, export_project
from support.project import make_project

ORDERS = Policy("notebooks/orders.py", keep=1)
PAGE = "<!doctype html><p>" + "orders " * 500 + "</html>"


def made(folder: Path, number: int = 1, status: str = manifests.OK) -> Exported:
    """Make an export by hand."""
    id = f"202601{number:02d}T000000Z-00000000"
    home = folder / "orders" / id
    home.mkdir(parents=True)
    (home / "orders.html").write_text(PAGE, "utf-8")
    (home / "orders.ipynb").write_text("{}", "utf-8")
    files = [manifests.describe(file) for file in sorted(home.iterdir())]
    manifest = Manifest(
        notebook="notebooks/orders.py", notebook_sha256="0", name="orders", id=id, status=status,
        started_at="", ended_at="", duration_s=1.0, files=files,
    )  # fmt: skip
    (home / "manifest.json").write_text(manifest.as_text(), "utf-8")
    return Exported("notebooks/orders.py", manifest, home)


def cut_off(patch: pytest.MonkeyPatch, name: str, after: int = 0) -> None:
    """Break the connection when a file is sent, but for the first times."""
    put, seen = Storage._put, [0]

    def cut(self: Storage, inside: str, data: bytes, again: bool = False) -> None:
        if inside.endswith(name):
            seen[0] += 1
            if seen[0] > after:
                raise ConnectionResetError("Connection reset by peer")
        put(self, inside, data, again)

    patch.setattr(Storage, "_put", cut)


def status_of(s3: Any, base: str) -> str:
    """Return what the manifest in a folder of the bucket says."""
    text = s3.get_object(Bucket="team", Key=f"{base}/manifest.json")["Body"].read()
    return str(json.loads(text)["status"])


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of a real S3 server on loopback, that s3fs talks to as well."""
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
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
    """Storage libraries keep their clients: a test gets its own."""
    yield
    _forget_connections()


def _forget_connections() -> None:
    import fsspec
    import s3fs

    fsspec.filesystem("memory").store.clear()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_bucket_gets_all_files_that_a_browser_shows(s3: Any, tmp_path: Path) -> None:
    exported = made(tmp_path)
    storage = Storage("s3://team/first/", "https://reports.example.com/x/")
    url = storage.send(exported)
    assert exported.manifest is not None
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
    exported = made(tmp_path)
    Storage("s3://team/packed", compress=True).send(exported)
    assert exported.manifest is not None
    key = f"packed/orders/{exported.manifest.id}/orders.html"
    page = s3.get_object(Bucket="team", Key=key)
    assert page["ContentEncoding"] == "gzip"
    body = page["Body"].read()
    assert len(body) < len(PAGE) / 10
    assert gzip.decompress(body).decode() == PAGE
    # What is listed from there is read through the packing.
    Storage("s3://team/packed", compress=True).send(made(tmp_path, 2))
    index = s3.get_object(Bucket="team", Key="packed/orders/index.html")["Body"].read()
    assert gzip.decompress(index).decode().count('orders.html">html') == 2


def test_a_second_try_finishes_what_the_first_did_not(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = made(tmp_path)
    assert exported.manifest is not None
    base = f"again/orders/{exported.manifest.id}"
    with monkeypatch.context() as patch:
        cut_off(patch, "manifest.json", after=1)
        with pytest.raises(StorageFailed, match="what was sent is not sent twice"):
            Storage("s3://team/again").send(exported)
    assert exported.manifest.uploaded == []
    first = s3.head_object(Bucket="team", Key=f"{base}/orders.html")["LastModified"]
    assert status_of(s3, base) == "uploading"
    Storage("s3://team/again").send(exported)
    assert s3.head_object(Bucket="team", Key=f"{base}/orders.html")["LastModified"] == first
    assert status_of(s3, base) == "ok"
    # What is there as a whole stays a report while it is sent once more.
    with monkeypatch.context() as patch:
        cut_off(patch, "orders.html")
        with pytest.raises(StorageFailed):
            Storage("s3://team/again").send(exported)
    assert status_of(s3, base) == "ok"


@pytest.mark.parametrize("address", ["s3://team/left", "left"])
def test_an_upload_that_nobody_ends_is_listed_as_that_and_goes_after_a_day(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    address = address if "://" in address else str(tmp_path / address)
    storage = Storage(address)
    root = storage.root / "orders"
    storage.send(made(tmp_path, 1))
    left = made(tmp_path, 2)
    assert left.manifest is not None
    home = root / left.manifest.id
    with monkeypatch.context() as patch:
        cut_off(patch, "orders.ipynb")
        with pytest.raises(StorageFailed):
            storage.send(left)
    assert (home / "orders.html").exists()
    if not storage.scheme:
        (home / ".orders.ipynb.a1b2c3d4").write_text("{", "utf-8")
    storage.send(made(tmp_path, 3))
    listed = (root / "index.html").read_text("utf-8")
    assert f"not sent to the end: {left.manifest.id}" in listed
    assert f"{left.manifest.id}/orders.html" not in listed
    assert (
        Storage(address).expire("orders", replace(ORDERS, keep=2)) == []
    )  # somebody may be at work on it
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
    assert "not sent to the end" not in (root / "index.html").read_text("utf-8")


def test_a_connection_that_breaks_is_tried_again(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setattr(uploading, "PAUSE_SECONDS", 0.01)
    calls: list[str] = []
    pipe = s3fs.S3FileSystem.pipe_file

    def flaky(self: Any, path: str, *rest: Any, **named: Any) -> Any:
        calls.append(path)
        if len(calls) == 1:
            raise ConnectionResetError("Connection reset by peer")
        return pipe(self, path, *rest, **named)

    monkeypatch.setattr(s3fs.S3FileSystem, "pipe_file", flaky)
    Storage("s3://team/flaky").send(made(tmp_path))
    assert calls[0] == calls[1]


def test_old_exports_go_from_a_bucket_and_foreign_files_stay(s3: Any, tmp_path: Path) -> None:
    storage = Storage("s3://team/old")
    for number in (1, 2, 3):
        storage.send(made(tmp_path, number))
    s3.put_object(Bucket="team", Key="old/orders/20250101T000000Z-00000000/x.html", Body=b"mine")
    removed = Storage("s3://team/old").expire("orders", ORDERS, dry_run=True)
    assert len(removed) == 2
    assert Storage("s3://team/old").expire("orders", ORDERS) == removed
    left = [one["Key"] for one in s3.list_objects_v2(Bucket="team", Prefix="old/")["Contents"]]
    assert left == [
        "old/index.html",
        "old/orders/20250101T000000Z-00000000/x.html",
        "old/orders/20260103T000000Z-00000000/manifest.json",
        "old/orders/20260103T000000Z-00000000/orders.html",
        "old/orders/20260103T000000Z-00000000/orders.ipynb",
        "old/orders/index.html",
    ]


def test_a_bucket_that_is_not_there_and_one_that_does_not_answer_are_told(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Invalid, match="Make the bucket"):
        Storage("s3://no-such-bucket/x").send(made(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(uploading, "PAUSE_SECONDS", 0.01)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    with pytest.raises(StorageFailed) as caught:
        Storage("s3://team/x").send(made(tmp_path, 2))
    assert "s3cret-key" not in str(caught.value)


@contextmanager
def iam_is_enforced() -> Iterator[None]:
    """Let the server check who asks, and what they may do."""
    address = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    before = requests.post(address, data="0", timeout=10).json()
    try:
        yield
    finally:
        requests.post(
            address, data=before["PREVIOUS_INITIAL_NO_AUTH_ACTION_COUNT"], timeout=10
        ).raise_for_status()


def test_access_that_is_denied_is_told(
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
    exported = made(tmp_path)
    with iam_is_enforced(), pytest.raises(NotAllowed, match=r"refuses access: .*Denied") as denied:
        Storage("s3://team/closed").send(exported)
    assert key["SecretAccessKey"] not in str(denied.value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-this-one")
    _forget_connections()
    with iam_is_enforced(), pytest.raises(NotAllowed, match="refuses access"):
        Storage("s3://team/closed").send(exported)
    assert "Contents" not in s3.list_objects_v2(Bucket="team", Prefix="closed/")


@pytest.mark.parametrize(
    ("address", "error", "told"),
    [
        ("s3://key:secret@bucket/x", UsageError, "no password"),
        ("nosuch://bucket/x", UsageError, "no address like"),
    ],
)
def test_an_address_that_cannot_be_used_is_told(
    address: str, error: type[DagmarError], told: str
) -> None:
    with pytest.raises(error, match=told) as caught:
        Storage(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["", "file://", "memory://"])
def test_folders_and_memory_hold_what_a_bucket_would(tmp_path: Path, scheme: str) -> None:
    address = f"{scheme}{tmp_path / 'to'}" if scheme != "memory://" else "memory://to"
    exported = made(tmp_path / "from")
    url = Storage(address).send(exported)
    assert exported.manifest is not None
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
    with pytest.raises(UsageError, match="names a machine called reports"):
        Storage("file://reports/x")


@pytest.mark.parametrize("address", ["memory://edited", "edited"])
def test_a_page_that_is_not_as_it_was_exported_is_not_sent(tmp_path: Path, address: str) -> None:
    storage = Storage(address if "://" in address else str(tmp_path / address))
    exported = made(tmp_path / "from")
    assert exported.folder is not None
    (exported.folder / "orders.ipynb").write_text("{ }", "utf-8")
    with pytest.raises(Invalid, match=r"orders\.ipynb was changed since it was exported"):
        storage.send(exported)
    (exported.folder / "orders.ipynb").unlink()
    with pytest.raises(Invalid, match=r"orders\.ipynb cannot be read"):
        storage.send(exported)
    assert not (storage.root / "orders").exists()


@pytest.mark.parametrize("address", ["s3://team/changed", "memory://changed"])
def test_files_of_others_stay_where_old_exports_go(s3: Any, tmp_path: Path, address: str) -> None:
    for number in (1, 2, 3):
        Storage(address, compress=True).send(made(tmp_path, number))
    storage = Storage(address)
    changed, added, _ = (
        storage.root / "orders" / f"2026010{n}T000000Z-00000000" for n in (1, 2, 3)
    )
    (changed / "orders.html").write_bytes(b"annotated")
    (added / "notes.txt").write_bytes(b"mine")
    assert len(storage.expire("orders", ORDERS)) == 2
    left = {str(one.path).partition("/orders/")[2] for one in storage.root.rglob("*.*")}
    assert left == {
        "", "index.html",  # that of the folder, and that of the notebook
        f"{changed.name}/orders.html", f"{added.name}/notes.txt",
        *(f"20260103T000000Z-00000000/{name}" for name in (
            "manifest.json", "orders.html", "orders.ipynb")),
    }  # fmt: skip


def test_a_failed_upload_keeps_the_page_and_says_how_to_try_again(tmp_path: Path) -> None:
    settings = load(make_project(tmp_path, "export: {public_url: https://r.example.com}\n").root)
    exported = made(tmp_path / ".dagmar/exports")
    assert exported.manifest is not None
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


def test_a_failed_notebook_goes_nowhere_by_itself(tmp_path: Path) -> None:
    settings = load(make_project(tmp_path).root)
    exported = made(tmp_path / ".dagmar/exports", status=manifests.FAILED)
    Publisher(settings, ExportRequest(notebooks=["x"], upload=str(tmp_path / "to"))).publish(
        exported
    )
    assert not (tmp_path / "to").exists()


def test_compress_packs_what_is_sent(s3: Any, tmp_path: Path) -> None:
    project = export_project(tmp_path, good=GOOD)
    flags = ("--notebook", "good.py", "--upload", "s3://team/line", "--compress")
    status, (one,), talk = export(project, *flags)
    assert status == 0, talk
    key = f"line/good/{one['id']}/good.html"
    assert one["uploaded_to"] == [f"s3://team/{key}"]
    page = s3.get_object(Bucket="team", Key=key)
    assert page["ContentEncoding"] == "gzip"
    assert "forty-two" in gzip.decompress(page["Body"].read()).decode()
