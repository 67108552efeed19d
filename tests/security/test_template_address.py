"""Secrets in the address of the template: git gets them, and nobody else."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from dagmar.errors import SetupError
from dagmar.project import templates
from support.git import commit, git
from support.git_server import private_repository
from support.http_server import closed_port, page, serve
from support.project import make_project

SECRETS = ("s3cret-user", "s3cret-password", "s3cret-query", "s3cret-fragment")
USER, PASSWORD, QUERY, FRAGMENT = SECRETS


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"https://{USER}:{PASSWORD}@git.example/x.git", "https://git.example/x.git"),
        (f"https://{USER}@git.example:8443/x.git", "https://git.example:8443/x.git"),
        (f"https://ann:s3cret/{PASSWORD}@git.example/x.git", "https://git.example/x.git"),
        (f"https://ann:s3cret@{PASSWORD}@git.example/x.git", "https://git.example/x.git"),
        (f"https://ann:s3cret#{PASSWORD}@git.example/x.git", "https://git.example/x.git"),
        (f"https://s3cret?{PASSWORD}@git.example/x.git", "https://git.example/x.git"),
        (f"https://ann:s3cret {PASSWORD}'@git.example/x.git", "https://git.example/x.git"),
        (f"https://git.example/x.git?private_token={QUERY}", "https://git.example/x.git"),
        (f"https://git.example/x.git#{FRAGMENT}", "https://git.example/x.git"),
        (f"git+https://{USER}@git.example/x?a={QUERY}", "git+https://git.example/x"),
        (f"HTTPS://{USER}@git.example/x?a={QUERY}", "HTTPS://git.example/x"),
        (f"ssh://ann:{PASSWORD}@git.example/x.git", "ssh://git.example/x.git"),
        (f"gh:team/x?access_token={QUERY}", "gh:team/x"),
    ],
)
def test_what_can_be_a_secret_in_an_address_is_not_shown(
    address: str, shown: str, tmp_path: Path
) -> None:
    assert templates.masked(address) == templates.as_stored(address) == shown
    assert "s3cret" not in repr(templates.Template(address, "v1.0.0", tmp_path))
    given = templates._address(address)
    said = f"fatal: unable to access '{given}/': Could not resolve host"
    done = subprocess.CompletedProcess(["git", "clone", "--", given], 128, "", said)
    assert "s3cret" not in templates.last_line(done)


@pytest.mark.parametrize(
    "address",
    [
        "https://git.example:8443/@team/x.git",
        "https://[::1]:8443/@team/x.git",
        "ssh://git@git.example:22/c#/x.git",
        "git+ssh://git@git.example/x.git",
        "git@git.example:team/c#-template.git",
        "file:///home/ann/c#/x?",
        "/home/ann/c#/x?",
        "gh:team/x",
    ],
)
def test_an_address_without_a_secret_stays(address: str) -> None:
    assert templates.masked(address) == address


def test_what_git_says_of_another_address_is_without_its_secrets() -> None:
    said = f"fatal: unable to update url base from redirection: https://sso.example/?x={QUERY}"
    done = subprocess.CompletedProcess(["git", "clone", "--", "https://a.example"], 128, "", said)
    assert templates.last_line(done).endswith("redirection: https://sso.example/")


def project(root: Path, origin: str, commit: str = "v1.0.0") -> Path:
    """Write a project with these answers."""
    make_project(root)
    answers = {"_commit": commit, "_src_path": origin} if commit else {"_src_path": origin}
    (root / templates.ANSWERS).write_text(json.dumps(answers))
    return root


def address_at(url: str) -> str:
    """Return the address of a repository on a server, with a secret in each part."""
    login = f"{USER}:{PASSWORD}@"
    return f"{url.replace('//', f'//{login}')}/dagmar.git?private_token={QUERY}"


def in_files(folder: Path) -> dict[str, list[str]]:
    """Return the files that have a secret, and which."""
    texts = {str(file): file.read_text("latin-1") for file in folder.rglob("*") if file.is_file()}
    assert texts
    found = {name: [one for one in SECRETS if one in text] for name, text in texts.items()}
    return {name: secrets for name, secrets in found.items() if secrets}


def test_a_clone_that_needs_secrets_keeps_none_of_them(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "copier.yml").touch()
    git(source, "init", "-q", "-b", "main")
    commit(source)
    git(source, "tag", "v1.0.0")
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--mirror", str(source), str(bare))
    with serve(private_repository(bare, USER, PASSWORD, QUERY)) as server:
        root = project(tmp_path / "shop", address_at(server.url))
        first = templates.open_template(root)
        assert in_files(root / ".dagmar") == {}
        commit(source)
        git(source, "tag", "v2.0.0")
        git(bare, "fetch", "-q", "--tags", str(source))
        git(bare, "update-server-info")
        again = templates.open_template(root)  # which fetches into the same clone
        assert first == again
        assert git(again.path, "tag").split() == ["v1.0.0", "v2.0.0"]
        assert in_files(root / ".dagmar") == {}
        templates.find_version(address_at(server.url), "v2.0.0")
        with pytest.raises(SetupError, match=re.escape(f"at {server.url}/dagmar.git has no")):
            templates.find_version(address_at(server.url), "v3.0.0")


@pytest.mark.parametrize("commit", ["v1.0.0", ""], ids=["a version", "no version"])
def test_a_template_that_cannot_be_reached_is_named_without_secrets(
    commit: str, tmp_path: Path
) -> None:
    holder, closed = closed_port()
    with holder, serve(page(403)) as refusing:
        for number, url in enumerate((closed, refusing.url)):
            address = f"{address_at(url)}#{FRAGMENT}"
            root = project(tmp_path / f"shop-{number}", address, commit)
            with pytest.raises(SetupError, match=re.escape(f"{url}/dagmar.git")) as caught:
                templates.open_template(root)
            with pytest.raises(SetupError, match=re.escape(f"{url}/dagmar.git")) as other:
                templates.find_version(address, "v1.0.0")
            said = f"{caught.value} {caught.value.hint} {caught.value.command} {other.value}"
            assert "s3cret" not in said
            (root / templates.ANSWERS).unlink()
            assert in_files(root) == {}


def test_the_address_of_a_shallow_template_is_not_in_a_command(tmp_path: Path) -> None:
    source = tmp_path / "source"
    git(tmp_path, "init", "-q", "-b", "main", str(source))
    for _ in range(2):
        commit(source)
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", "--depth=1", source.as_uri(), str(bare))
    with pytest.raises(SetupError, match="has no version") as caught:
        templates.open_template(project(tmp_path / "near", str(bare)))
    assert caught.value.command == f"git -C {bare} fetch --unshallow --tags"
    with pytest.raises(SetupError, match="has no version") as caught:
        templates.open_template(project(tmp_path / "far", bare.as_uri()))
    assert caught.value.command == "invoke update --from URL"


def test_doctor_warns_of_an_address_with_a_secret_and_does_not_show_it(tmp_path: Path) -> None:
    address = f"{address_at('https://git.invalid')}#{FRAGMENT}"
    root = project(tmp_path / "shop", address)
    git(root, "init", "-q")
    commit(root)
    done = make_project(root).invoke("doctor", "--json", "--only", "answers", "--only", "template")
    found = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert (found["answers"]["status"], found["template"]["status"]) == ("warn", "skip")
    assert "invoke update --from https://git.invalid/dagmar.git" in str(found["answers"])
    assert "https://git.invalid/dagmar.git is remote" in found["template"]["message"]
    assert [one for one in SECRETS if one in done.stdout + done.stderr] == []
