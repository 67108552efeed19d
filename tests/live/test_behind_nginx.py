"""dagmar through a real reverse proxy: a path prefix, basic auth, bearer tokens, a login page."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from dagmar.dev.ports import free_port
from dagmar.server.client import DagsterClient
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


@pytest.fixture(scope="module")
def nginx(dagster: DagsterServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real nginx in front of the live Dagster; the address it listens on."""
    folder = tmp_path_factory.mktemp("nginx")
    port = free_port()
    digest = base64.b64encode(hashlib.sha1(b"s3cret-password").digest()).decode()
    (folder / "users").write_text(f"ann:{{SHA}}{digest}\n")
    config = folder / "nginx.conf"
    # Started by root, its workers would be another user, who cannot read this folder.
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(CONFIG.format(user=user, folder=folder, port=port, dagster=dagster.url))
    process = subprocess.Popen([str(NGINX), "-c", str(config), "-p", str(folder)])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                requests.get(f"{url}/login", timeout=1)
                break
            except requests.ConnectionError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def proxied(nginx: str, tmp_path: Path) -> Project:
    """A project with a target for each way of logging in."""
    return make_project(tmp_path / "proxied", SETTINGS.format(url=nginx))


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


def test_a_secret_that_is_not_set_is_named_with_its_place(proxied: Project) -> None:
    done = proxied.invoke("discover", "--target", "bearer")
    assert done.returncode == 7
    assert "dagmar.yaml:7" in done.stderr
    assert "targets.bearer.auth.token_env" in done.stderr
