"""SIGKILL at every write, rename and upload part of an export: every manifest stays true.

A hook counts the changes of the process to the exports folder, and kills it at the n-th. The next
export must succeed, and clean up. A bucket is on a real S3 server, which kills at the n-th request.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from dagmar.export import manifests
from moto.server import ThreadedMotoServer
from support.export_project import GOOD, assert_whole, export, export_project
from support.project import Project

HOOK = """\
import os, signal, sys

WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def watch():
    worker = "dagmar.export.worker" in " ".join(sys.orig_argv)
    if worker != (os.environ["KILL_WHO"] == "worker"):
        return
    folders = os.environ["KILL_IN"].split(":")
    log = os.open(os.environ["KILL_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    left = [int(os.environ["KILL_AT"])]

    def hook(event, arguments):
        if event not in WATCHED:
            return
        path = arguments[0]
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, (str, os.PathLike)) or not str(path).startswith(tuple(folders)):
            return
        if event == "open" and not (arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        os.write(log, f"{event} {path}\\n".encode())
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


watch()
"""


def command(to: str) -> list[str]:
    """Return the export that is killed, as `invoke` gets it."""
    first = ["export", "--notebook", "good.py", "--json"]
    return [*first, "--format", "html", "--format", "md", "--upload", to, "--keep", "2"]


def run(root: Path, who: str = "", at: int = 0) -> subprocess.CompletedProcess[str]:
    """Export and send a notebook, killing `who` at its `at`-th step; 0 only counts the steps."""
    if not who:
        return Project(root).invoke(*command(str(root / "sent")), timeout=300)
    hooks = root / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "sitecustomize.py").write_text(HOOK, "utf-8")
    (root / "log").unlink(missing_ok=True)
    environ = {
        **os.environ,
        "PYTHONPATH": str(hooks),
        "KILL_WHO": who,
        "KILL_AT": str(at),
        "KILL_IN": f"{root / '.dagmar/exports'}:{root / 'sent'}",
        "KILL_LOG": str(root / "log"),
    }
    return subprocess.run(
        [sys.executable, "-m", "invoke", *command(str(root / "sent"))],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
    )


def steps(root: Path) -> int:
    """Return the number of steps that were counted."""
    return len((root / "log").read_text("utf-8").splitlines())


def assert_good(root: Path) -> None:
    """Assert that all exports are complete, here and in the folder that they were sent to."""
    assert_whole(root / ".dagmar/exports")
    assert_whole(root / "sent", unfinished=True)


def kill_at(root: Path, who: str, at: int) -> None:
    """Kill an export at one point, and run the next one on what it left."""
    killed = run(root, who, at)
    if who == "main":
        assert killed.returncode == -9, (at, killed.stderr)
    else:
        assert killed.returncode in (3, 4), (at, killed.stderr)
    assert_good(root)
    again = run(root)
    assert again.returncode == 0, (at, again.stderr)
    (exported,) = json.loads(again.stdout)["exports"]
    assert exported["status"] == "ok"
    assert_good(root)
    left = [path.name for path in (root / ".dagmar/exports/good").iterdir()]
    assert not [name for name in left if re.match(r"\..*partial", name)], (at, left)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project that was exported and sent before, so that every file has a predecessor."""
    export_project(tmp_path, good=GOOD)
    for who in ("", "main"):
        done = run(tmp_path, who)
        assert done.returncode == 0, done.stderr
    return tmp_path


def test_a_sample_of_points_at_which_an_export_is_killed(root: Path) -> None:
    whole = steps(root)
    assert whole > 15
    kill_at(root, "main", 2 * whole // 3)
    kill_at(root, "worker", 1)


@pytest.mark.nightly
def test_every_point_at_which_an_export_is_killed(root: Path) -> None:
    for who in ("main", "worker"):
        run(root, who, 0)
        for at in range(1, steps(root) + 1):
            kill_at(root, who, at)


LIMITED = """\
limited():
import resource
import signal

# The system kills this process in the middle of the page that is larger.
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))"""


def test_a_page_is_removed_if_its_process_was_killed_while_it_wrote_it(
    tmp_path: Path,
) -> None:
    project = export_project(tmp_path, limited=LIMITED)
    flags = ("--notebook", "limited.py", "--format", "md", "--format", "html")
    status, (one,), stderr = export(project, *flags)
    assert status == 4, stderr
    assert one["error"]["class"] == "ProcessEnded"
    assert f"killed by signal {signal.SIGXFSZ:d}" in one["error"]["message"]
    assert [Path(file).name for file in one["files"]] == ["limited.md"]
    folder = tmp_path / ".dagmar/exports/limited" / one["id"]
    assert sorted(file.name for file in folder.iterdir()) == ["limited.md", manifests.NAME]
    assert assert_whole(tmp_path / ".dagmar/exports") == 1


class Bucket:
    """A bucket on a real S3 server on loopback, which can kill its client at the n-th change."""

    def __init__(self) -> None:
        import boto3

        self.changes: list[str] = []
        self._at, self._taken = 0, False
        self._process: subprocess.Popen[str] | None = None
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        wsgi: Any = self._server._server
        self._answer, wsgi.app = wsgi.app, self
        host, port = self._server.get_host_and_port()
        self._environ = {
            **os.environ,
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._client: Any = boto3.client(
            "s3", endpoint_url=f"http://{host}:{port}", aws_access_key_id="test",
            aws_secret_access_key="test", region_name="us-east-1",
        )  # fmt: skip
        self._client.create_bucket(Bucket="killed")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer one request; at the n-th change kill the client, before or after the change."""
        if environ["REQUEST_METHOD"] not in ("PUT", "POST", "DELETE"):
            return self._answer(environ, start_response)
        self.changes.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        due = self._process is not None and len(self.changes) == self._at
        if due and not self._taken:
            self._kill()
            start_response("500 Internal Server Error", [])
            return []
        answer = list(self._answer(environ, start_response))
        if due:
            self._kill()
        return answer

    def _kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    def export(self, root: Path, at: int = 0, taken: bool = False) -> tuple[int, str, str]:
        """Export and send a notebook, and return status, stdout and stderr.

        It is killed at its `at`-th change, before the server applies it, or with `taken` after.
        """
        self.changes.clear()
        self._at, self._taken = at, taken
        words = command("s3://killed/reports")
        if not at:
            self._process = None
            done = Project(root).invoke(*words, environ=self._environ, timeout=300)
            return done.returncode, done.stdout, done.stderr
        with subprocess.Popen(
            [sys.executable, "-m", "invoke", *words], cwd=root, env=self._environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as self._process:  # fmt: skip
            stdout, stderr = self._process.communicate(timeout=300)
        return self._process.returncode, stdout, stderr

    def assert_whole(self) -> set[str]:
        """Assert that every manifest is true, and return the ids of complete exports.

        Every file in an export's folder is named by the manifest there: it can be found and
        removed even if that export is never sent again.
        """
        listed = self._client.list_objects_v2(Bucket="killed").get("Contents", [])
        keys = [file["Key"] for file in listed]
        files = {
            key: self._client.get_object(Bucket="killed", Key=key)["Body"].read() for key in keys
        }
        whole, named = set(), set()
        for key, data in files.items():
            if key.endswith("index.html"):
                assert data.endswith(b"</html>\n"), key
            folder, _, name = key.rpartition("/")
            if name != manifests.NAME:
                continue
            manifest = manifests.parse(data.decode(), folder.rpartition("/")[2])
            assert manifest is not None, key
            named.update((key, *(f"{folder}/{file.name}" for file in manifest.files)))
            if not manifest.whole:
                continue
            for file in manifest.files:
                assert sha256(files[f"{folder}/{file.name}"]).hexdigest() == file.sha256
            whole.add(manifest.id)
        assert {key for key in files if not key.endswith("index.html")} <= named
        return whole

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    bucket = Bucket()
    yield bucket
    bucket.stop()


def kill_in_upload(root: Path, bucket: Bucket, at: int, taken: bool) -> None:
    """Kill an export at one change of the bucket, and let the next one complete it."""
    status, _, stderr = bucket.export(root, at, taken)
    assert status == -signal.SIGKILL, (at, stderr)
    bucket.assert_whole()
    assert_whole(root / ".dagmar/exports")
    status, stdout, stderr = bucket.export(root)
    assert status == 0, (at, stderr)
    (one,) = json.loads(stdout)["exports"]
    assert one["id"] in bucket.assert_whole()


def test_an_export_that_is_killed_while_a_bucket_gets_its_manifest(
    tmp_path: Path, bucket: Bucket
) -> None:
    export_project(tmp_path, good=GOOD)
    kill_in_upload(tmp_path, bucket, 4, taken=False)
    assert bucket.changes[3].endswith(manifests.NAME)
    assert len(bucket.assert_whole()) == 1


@pytest.mark.nightly
def test_every_part_of_an_upload_at_which_an_export_is_killed(
    tmp_path: Path, bucket: Bucket
) -> None:
    export_project(tmp_path, good=GOOD)
    for _ in range(3):
        status, _, stderr = bucket.export(tmp_path)
        assert status == 0, stderr
    changes = list(bucket.changes)
    assert any(change.startswith(("DELETE", "POST")) for change in changes)
    for at in range(1, len(changes) + 1):
        for taken in (False, True):
            kill_in_upload(tmp_path, bucket, at, taken)
    assert len(bucket.assert_whole()) == 2
