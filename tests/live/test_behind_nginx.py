"""dagmar through a real reverse proxy.

A path prefix, basic auth, bearer tokens, tokens that expire, a login page, a private authority.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from dagmar.dev.ports import free_port
from dagmar.server.client import DagsterClient
from support.certificates import make_authority
from support.dagster_server import DagsterServer, runs_tagged
from support.project import Project, make_project, run

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
CONFIG = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $http_authorization $fresh {{ include {folder}/tokens; }}
  server {{
    listen 127.0.0.1:{tls_port} ssl;
    ssl_certificate {folder}/tls/server.pem;
    ssl_certificate_key {folder}/tls/server.pem;
    location /team-a/ {{
      if ($http_authorization != "Bearer s3cret-token") {{ return 401; }}
      proxy_pass {dagster}/;
    }}
  }}
  server {{
    listen 127.0.0.1:{port};
    location /basic/ {{
      auth_basic "Dagster";
      auth_basic_user_file {folder}/users;
      proxy_pass {dagster}/;
    }}
    location /bearer/ {{
      if ($http_authorization != "Bearer s3cret-token") {{ return 403; }}
      proxy_pass {dagster}/;
    }}
    location /team/ {{
      if ($http_x_team_key != "s3cret-key") {{ return 401; }}
      proxy_pass {dagster}/;
    }}
    location /expiring/ {{
      if ($fresh = "") {{ return 401; }}
      proxy_pass {dagster}/;
    }}
    location /sso/ {{ return 302 http://127.0.0.1:{port}/login; }}
    location /login {{ default_type text/html; return 200 "<!doctype html><p>Log in"; }}
    location /down/ {{ proxy_pass http://127.0.0.1:9/; }}
  }}
}}
"""
SETTINGS = """\
targets:
  basic:
    url: {url}/basic
    auth: {{type: basic, username: ann, password_env: BASIC_PASSWORD}}
  bearer:
    url: {url}/bearer/
    auth: {{type: bearer, token_env: BEARER_TOKEN}}
  team:
    url: {url}/team
    auth: {{type: headers, headers: {{X-Team-Key: TEAM_KEY}}}}
  sso: {{url: "{url}/sso"}}
  login: {{url: "{url}/login"}}
  down: {{url: "{url}/down"}}
"""
SECRETS = {
    "BASIC_PASSWORD": "s3cret-password",
    "BEARER_TOKEN": "s3cret-token",
    "TEAM_KEY": "s3cret-key",
}

if NGINX is None and os.environ.get("CI"):
    raise RuntimeError("nginx must be installed where CI runs")
pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.xdist_group("live"),
]


@dataclass(frozen=True)
class Nginx:
    """A real nginx in front of the live Dagster: its addresses, and the folder of its files."""

    url: str
    tls_url: str
    folder: Path

    def accept(self, token: str) -> None:
        """Let `/expiring/` accept this token alone, once the old workers are gone."""
        (self.folder / "tokens").write_text(f'"Bearer {token}" yes;\n')
        os.kill(int((self.folder / "nginx.pid").read_text()), signal.SIGHUP)
        deadline = time.monotonic() + 120
        headers = {"Authorization": f"Bearer {token}"}
        while (
            requests.get(
                f"{self.url}/expiring/server_info", headers=headers, timeout=60
            ).status_code
            != 200
        ):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    @property
    def log(self) -> str:
        """What was asked for, and how it was answered."""
        return (self.folder / "access.log").read_text()


@pytest.fixture(scope="module")
def nginx(dagster: DagsterServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """A real nginx in front of the live Dagster."""
    folder = tmp_path_factory.mktemp("nginx")
    port = free_port()
    tls_port = free_port(avoid={port})
    make_authority(folder / "tls")
    (folder / "tokens").touch()
    digest = base64.b64encode(hashlib.sha1(b"s3cret-password").digest()).decode()
    (folder / "users").write_text(f"ann:{{SHA}}{digest}\n")
    config = folder / "nginx.conf"
    # Started by root, its workers would be another user, who cannot read this folder.
    user = "user root;" if os.geteuid() == 0 else ""
    text = CONFIG.format(
        user=user, folder=folder, port=port, tls_port=tls_port, dagster=dagster.url
    )
    config.write_text(text)
    process = subprocess.Popen([str(NGINX), "-c", str(config), "-p", str(folder)])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                requests.get(f"{url}/login", timeout=1)
                break
            except requests.ConnectionError:
                time.sleep(0.05)
        yield Nginx(url, f"https://127.0.0.1:{tls_port}", folder)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def proxied(nginx: Nginx, tmp_path: Path) -> Project:
    """A project with a target for each way of logging in."""
    return make_project(tmp_path / "proxied", SETTINGS.format(url=nginx.url))


@pytest.mark.parametrize("target", ["basic", "bearer", "team"])
def test_discover_logs_in_behind_a_path_prefix(proxied: Project, target: str) -> None:
    flags = ("discover", "--kind", "assets", "--json", "--target", target)
    done = proxied.invoke(*flags, environ=SECRETS)
    assert done.returncode == 0, done.stderr
    assert "raw/orders" in [asset["key"] for asset in json.loads(done.stdout)["assets"]]
    wrong = proxied.invoke(*flags, environ=dict.fromkeys(SECRETS, "s3cret-wrong"))
    assert (wrong.returncode, wrong.stdout) == (6, "")
    assert f"targets.{target}.auth" in wrong.stderr
    for secret in (*SECRETS.values(), "s3cret-wrong"):
        assert secret not in done.stdout + done.stderr + wrong.stderr


@pytest.mark.parametrize("target", ["basic", "bearer"])
def test_a_run_is_launched_and_followed_behind_the_proxy(
    proxied: Project, client: DagsterClient, tag: str, target: str
) -> None:
    os.environ.update(SECRETS)
    try:
        status, document, talk = run(proxied, tag, "--asset", "raw/orders", "--target", target)
    finally:
        for name in SECRETS:
            del os.environ[name]
    assert status == 0, talk
    (ended,) = document["runs"]
    assert f"/{target}/runs/" in ended["url"]
    assert runs_tagged(client, tag) == [ended["run_id"]]


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("sso", 6, "login page"),
        ("login", 6, "login page"),
        ("down", 5, "cannot reach Dagster (502)"),
    ],
)
def test_what_answers_instead_of_dagster_is_reported(
    proxied: Project, target: str, status: int, words: str
) -> None:
    done = proxied.invoke("discover", "--target", target, environ=SECRETS)
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    hint = "read the proxy's log" if status == 5 else f"targets.{target}.auth"
    assert hint in done.stderr


def test_a_secret_that_is_not_set_is_named_with_its_place(proxied: Project) -> None:
    done = proxied.invoke("discover", "--target", "bearer")
    assert done.returncode == 7
    assert "dagmar.yaml:7" in done.stderr
    assert "targets.bearer.auth.token_env" in done.stderr


def test_a_token_that_expires_while_a_run_is_followed_is_renewed(
    nginx: Nginx, dagster_home: Path, client: DagsterClient, tag: str, tmp_path: Path
) -> None:
    project = make_project(
        tmp_path / "expiring",
        f"targets:\n  local:\n    url: {nginx.url}/expiring\n    auth:\n      type: bearer\n"
        f"      token_command: [{sys.executable}, read_token.py]\n",
    )
    (project.root / "read_token.py").write_text(
        "from pathlib import Path\n"
        "Path('calls').open('a').write('x')\n"
        "print(Path('token').read_text())\n"
    )
    (project.root / "token").write_text("s3cret-first")
    nginx.accept("s3cret-first")
    go_on = dagster_home / "go-on"
    go_on.unlink(missing_ok=True)
    results = []
    thread = threading.Thread(
        target=lambda: results.append(run(project, tag, "--asset", "slow", "--timeout", "600"))
    )
    thread.start()
    try:
        deadline = time.monotonic() + 300
        while not (ids := runs_tagged(client, tag)):
            assert time.monotonic() < deadline, results
            time.sleep(0.05)
        (project.root / "token").write_text("s3cret-second")
        nginx.accept("s3cret-second")
        while '"POST /expiring/graphql HTTP/1.1" 401' not in nginx.log:
            assert time.monotonic() < deadline, results
            time.sleep(0.05)
    finally:
        go_on.touch()
        thread.join()
        go_on.unlink()
    ((status, document, talk),) = results
    assert status == 0, talk
    assert [ended["status"] for ended in document["runs"]] == ["SUCCESS"]
    assert runs_tagged(client, tag) == ids, "still one run"
    assert (project.root / "calls").read_text() == "xx"
    assert "s3cret" not in talk + json.dumps(document) + nginx.log


@pytest.mark.parametrize(
    ("authority", "status", "words"),
    [
        ("right", 0, ""),
        ("missing", 5, "The certificate of https://127.0.0.1"),
        ("wrong", 5, "The certificate of https://127.0.0.1"),
    ],
)
def test_a_private_authority_is_accepted_if_ca_file_names_it(
    authority: str, status: int, words: str, nginx: Nginx, tmp_path: Path
) -> None:
    files = {"right": nginx.folder / "tls/ca.pem", "wrong": make_authority(tmp_path / "other").ca}
    ca_file = f"    ca_file: {files[authority]}\n" if authority in files else ""
    project = make_project(
        tmp_path / "tls",
        f"targets:\n  local:\n    url: {nginx.tls_url}/team-a\n{ca_file}"
        "    auth: {type: bearer, token_env: BEARER_TOKEN}\n",
    )
    flags = ("discover", "--kind", "assets", "--json")
    done = project.invoke(*flags, environ=SECRETS)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    if status:
        assert "targets.local.ca_file" in done.stderr
    else:
        assert "raw/orders" in [asset["key"] for asset in json.loads(done.stdout)["assets"]]
        wrong = project.invoke(*flags, environ={"BEARER_TOKEN": "s3cret-wrong"})
        assert wrong.returncode == 6
