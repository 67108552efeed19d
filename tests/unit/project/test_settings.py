"""Where settings come from, which of them wins, and how wrong ones are reported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from dagmar import files
from dagmar.errors import DagmarError, SettingsError, Unreachable, UsageError
from dagmar.project import devfile, templates
from dagmar.project.environ import instance_folder
from dagmar.project.layout import LOCAL_INSTANCE
from dagmar.project.locations import read_workspace
from dagmar.project.schema import schema
from dagmar.project.settings import DEFAULT_URL, Settings, load
from dagmar.project.sources import UNREADABLE
from dagmar.server.client import DagsterClient
from dagmar.server.reach import require_listening
from hypothesis import given
from hypothesis import strategies as st
from support.certificates import make_authority
from support.http_server import closed_port
from support.project import Project
from support.source import ROOT


@dataclass(frozen=True)
class Place:
    """A project folder, and everything that settings are read from."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    def write(
        self, project: str | bytes = "", user: str = "", dotenv: str | bytes = "", dev: str = ""
    ) -> None:
        for path, text in (
            ("dagmar.yaml", project),
            ("home/.config/dagmar/config.yaml", user),
            (".env", dotenv),
            (".dagmar/tmp/dev.json", dev),
        ):
            if text:
                file = self.root / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(text.encode() if isinstance(text, str) else text)

    def load(self, **environ: str) -> Settings:
        return load(self.root, environ, self.home)

    def refused(self, **environ: str) -> str:
        """Return the message about these settings."""
        with pytest.raises(SettingsError) as caught:
            self.load(**environ)
        return caught.value.message


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# Precedence

SOURCES = ("flag", "environment", ".env", "dagmar.yaml", "user", "default")
PAIRS = [(high, low) for i, high in enumerate(SOURCES) for low in SOURCES[i + 1 :]]


@pytest.mark.parametrize(("high", "low"), PAIRS, ids=[" over ".join(pair) for pair in PAIRS])
def test_precedence_of_a_targets_url(high: str, low: str, place: Place) -> None:
    def url(source: str) -> str:
        return f"http://{source.strip('.').replace('.', '-')}.example"

    given = {source: url(source) for source in (high, low) if source != "default"}
    text = "targets:\n  local:\n    url: {}\n"
    place.write(
        project=text.format(given["dagmar.yaml"]) if "dagmar.yaml" in given else "",
        user=text.format(given["user"]) if "user" in given else "",
        dotenv=f"DAGMAR_TARGETS__LOCAL__URL={given['.env']}\n" if ".env" in given else "",
    )
    environ = {"DAGMAR_TARGETS__LOCAL__URL": given["environment"]} if "environment" in given else {}
    target = place.load(**environ).target(url=given.get("flag", ""))
    assert target.url == given[high]


@pytest.mark.parametrize(("high", "low"), PAIRS, ids=[" over ".join(pair) for pair in PAIRS])
def test_precedence_of_the_target_to_use(high: str, low: str, place: Place) -> None:
    given = {source: source.strip(".").replace(".", "-") for source in (high, low)}
    names = ["flag", "environment", "env", "dagmar-yaml", "user"]
    project = "targets: {" + ", ".join(f"{name}: {{}}" for name in names) + "}\n"
    project += f"target: {given['dagmar.yaml']}\n" if "dagmar.yaml" in given else ""
    place.write(
        project=project,
        user=f"target: {given['user']}\n" if "user" in given else "",
        dotenv=f"DAGMAR_TARGET={given['.env']}\n" if ".env" in given else "",
    )
    environ = {"DAGMAR_TARGET": given["environment"]} if "environment" in given else {}
    assert place.load(**environ).target(given.get("flag", "")).name == given[high]


def test_without_any_settings_there_is_a_local_target(place: Place) -> None:
    settings = place.load()
    target = settings.target()
    assert (target.name, target.url) == ("local", DEFAULT_URL)
    assert target.timeouts == (5.0, 60.0)
    assert not (target.secret)
    assert not (target.read_only)
    assert not (target.allow_http)
    assert settings.notebooks == place.root / "notebooks"
    assert settings.poll_seconds == 0.5


def test_sources_are_merged_key_by_key(place: Place) -> None:
    place.write(
        project="targets:\n  prod:\n    url: https://a.example\n    read_only: true\n",
        user="targets:\n  prod:\n    read_timeout: 9\n    url: https://b.example\n  mine: {}\n",
        dotenv="DAGMAR_TARGETS__PROD__CONNECT_TIMEOUT=2\n",
    )
    settings = place.load(DAGMAR_TARGETS__PROD__READ_ONLY="false")
    target = settings.target("prod")
    assert (target.url, target.read_only) == ("https://a.example", False)
    assert target.timeouts == (2, 9)
    assert sorted(settings.targets) == ["local", "mine", "prod"]


def test_auth_of_another_type_replaces_the_whole_of_it(place: Place) -> None:
    place.write(
        project="targets: {prod: {auth: {type: headers, headers: {X-Key: KEY}}}}",
        user="targets: {prod: {auth: {type: bearer, token_env: TOKEN}}}",
    )
    assert place.load(KEY="k").target("prod").headers == {"X-Key": "k"}
    settings = place.load(KEY="k", DAGMAR_TARGETS__PROD__AUTH__TYPE="none")
    assert settings.target("prod").headers == {}


def test_auth_of_the_same_type_is_merged(place: Place) -> None:
    place.write(
        project="targets: {prod: {auth: {type: basic, username: ann}}}",
        user="targets: {prod: {auth: {type: basic, username: bob, password_env: PW}}}",
    )
    assert place.load(PW="x").target("prod").basic == ("ann", "x")


@pytest.mark.parametrize("name", ["type", "auth", "headers", "url"])
def test_a_target_may_be_called_like_a_key(name: str, place: Place) -> None:
    place.write(
        project=f"targets: {{{name}: {{url: 'http://a.example'}}}}",
        user=f"targets: {{other: {{}}, {name}: {{read_timeout: 3}}}}",
    )
    settings = place.load()
    assert settings.target(name).url == "http://a.example"
    assert settings.target(name).timeouts[1] == 3
    assert "other" in settings.targets


def test_the_users_configuration_follows_xdg(place: Place, tmp_path: Path) -> None:
    place.write(user="notebooks: in-home\n")
    (tmp_path / "xdg" / "dagmar").mkdir(parents=True)
    (tmp_path / "xdg" / "dagmar" / "config.yaml").write_text("notebooks: in-xdg\n")
    assert place.load().notebooks.name == "in-home"
    assert place.load(XDG_CONFIG_HOME=str(tmp_path / "xdg")).notebooks.name == "in-xdg"
    assert place.load(XDG_CONFIG_HOME="").notebooks.name == "in-home"


# The environment


@pytest.mark.parametrize(
    "name",
    [
        "DAGMAR_TARGETS__MY_PROD__READ_ONLY",
        "dagmar_targets__my_prod__read_only",
        "DAGMAR_TARGETS__MY-PROD__READ-ONLY",
        "Dagmar_Targets__My_Prod__Read_Only",
    ],
)
def test_names_match_without_case_and_dashes(name: str, place: Place) -> None:
    place.write(project="targets:\n  My-Prod:\n    url: http://a.example\n")
    target = place.load(**{name: "true"}).target("My-Prod")
    assert target.read_only
    assert target.url == "http://a.example"


def test_variables_alone_may_define_a_target(place: Place) -> None:
    place.write(dotenv="DAGMAR_TARGETS__PROD__URL=https://a.example\n")
    target = place.load(DAGMAR_TARGETS__PROD__READ_ONLY="true").target("prod")
    assert (target.url, target.read_only) == ("https://a.example", True)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("RUN__POLL_SECONDS", "2", {"run": {"poll_seconds": 2}}),
        ("RUN__POLL_SECONDS", "0.25", {"run": {"poll_seconds": 0.25}}),
        ("RUN__POLL_SECONDS", "010", {"run": {"poll_seconds": 10}}),
        ("EXPORT__KEEP", "1_0", {"export": {"keep": 10}}),
        ("TARGET", "5", {"target": "5"}),
        ("TARGET", "true", {"target": "true"}),
        ("NOTEBOOKS", "a: b", {"notebooks": "a: b"}),
        ("TARGETS__A__READ_ONLY", "yes", {"targets": {"a": {"read_only": True}}}),
        ("TARGETS__A__AUTH__TYPE", "none", {"targets": {"a": {"auth": {"type": "none"}}}}),
        ("TARGETS", "{a: {read_only: true}}", {"targets": {"a": {"read_only": True}}}),
        ("RUN", "{poll_seconds: 3}", {"run": {"poll_seconds": 3}}),
        (
            "TARGETS__A__HEADERS__X_API_KEY",
            "ON",
            {"targets": {"a": {"headers": {"x-api-key": "ON"}}}},
        ),
        ("TARGETS__A__HEADERS", "{X_KEY: K}", {"targets": {"a": {"headers": {"X_KEY": "K"}}}}),
    ],
)
def test_text_is_read_as_the_type_of_its_key(
    name: str, text: str, expected: dict[str, Any], place: Place
) -> None:
    assert place.load(**{f"DAGMAR_{name}": text}).layer.values == expected


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("RUN__POLL_SECONDS", "soon", "'run.poll_seconds' must be a number"),
        ("RUN__POLL_SECONDS", "", "'run.poll_seconds' must be a number"),
        ("RUN__POLL_SECONDS", "0", "'run.poll_seconds' must be at least 0.1 and at most 60"),
        ("RUN__POLL_SECONDS", "2020-01-01", "'run.poll_seconds' must be a number"),
        ("RUN__POLL_SECONDS", "2020-13-45", "'run.poll_seconds' must be a number"),
        ("RUN__POLL_SECONDS", "0:30", "'run.poll_seconds' must be a number"),
        ("RUN__POLL_SECONDS", ".nan", "'run.poll_seconds' must be a number"),
        ("RUN__POLL_SECONDS", "{", "'run.poll_seconds' must be a number"),
        ("RUN__POLL_SECONDS", "!!bool x", "'run.poll_seconds' must be a number"),
        ("RUN__POLL_SECONDS", "!!timestamp x", "'run.poll_seconds' must be a number"),
        ("RUN__POLL_SECONDS", "!!int ''", "'run.poll_seconds' must be a number"),
        ("RUN__POLL_SECONDS", "&a [*a]", "'run.poll_seconds' must be a number"),
        ("TARGET", "", "'target' must not be empty"),
        ("TARGETS__A__READ_ONLY", "1", "'targets.a.read_only' must be true or false"),
        ("TARGETS__A__READ_TIMEOUT", ".inf", "'targets.a.read_timeout' must be a number"),
        (
            "TARGETS__A__READ_TIMEOUT",
            "0",
            "'targets.a.read_timeout' must be at most 86400 and more than 0",
        ),
        ("TARGETS", "{2020-01-01: x}", "'targets' must be a mapping"),
        ("RUN", "5", "'run' must be a mapping"),
    ],
)
def test_a_variable_of_the_wrong_type_is_named(
    name: str, text: str, wanted: str, place: Place
) -> None:
    message = place.refused(**{f"DAGMAR_{name}": text})
    assert message == f"environment variable DAGMAR_{name}: {wanted}"


def test_a_variable_for_a_mapping_conflicts_with_one_for_a_key_in_it(place: Place) -> None:
    message = place.refused(DAGMAR_RUN="5", DAGMAR_RUN__POLL_SECONDS="1")
    assert message == "environment variable DAGMAR_RUN: 'run' must be a mapping"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DAGMAR_TARGE", " — did you mean 'target'?"),
        ("DAGMAR_RUN__POL_SECONDS", " — did you mean 'poll_seconds'?"),
        ("DAGMAR_TARGETS__A__URI", " — did you mean 'url'?"),
        ("DAGMAR_ZZZ", ""),
        ("DAGMAR_", ""),
        ("DAGMAR_TARGET__X", ""),
    ],
)
def test_an_unknown_variable_is_an_error(name: str, meant: str, place: Place) -> None:
    expected = f"{name} is not a setting of dagmar{meant}"
    assert place.refused(**{name: "x"}) == f"environment variable {expected}"
    place.write(dotenv=f"# mine\nOTHER=1\n\n  \n{name}=x\n")
    assert place.refused() == f".env:5: {expected}"


def test_what_dagmar_sets_for_its_children_is_not_a_setting(place: Place) -> None:
    assert place.load(_DAGMAR_PARENT="1", NOT_DAGMAR_X="1").layer.values == {}


# .env


def test_only_the_dagmar_lines_of_dotenv_are_read(place: Place) -> None:
    place.write(
        dotenv="TOKEN=from-dotenv\n"
        "GREETING='it's malformed\n"
        "not a variable at all !!!\n"
        "=nameless\n"
        'MULTI="first\nDAGMAR_TARGET=inside-a-value\n"\n'
        "export DAGMAR_NOTEBOOKS=books\n"
        'OPEN="never closed\n'
        "DAGMAR_RUN__POLL_SECONDS=3 # a comment\n",
        project="targets: {local: {auth: {type: bearer, token_env: TOKEN}}}",
    )
    settings = place.load()
    assert settings.notebooks.name == "books"
    assert settings.poll_seconds == 3
    assert "target" not in settings.layer.values
    assert "TOKEN" not in settings.environ
    with pytest.raises(SettingsError, match="not set"):
        settings.target()


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_secret_may_be_called_like_a_setting(where: str, place: Place) -> None:
    place.write(
        project="targets:\n"
        "  a: {auth: {type: bearer, token_env: DAGMAR_TOKEN}}\n"
        "  b: {auth: {type: none}, headers: {X-Key: DAGMAR_TOKEN}}\n"
        "  c: {auth: {type: basic, username: ann, password_env: DAGMAR_TOKEN}}\n",
        dotenv="DAGMAR_TOKEN=t\n" if where == ".env" else "",
    )
    settings = place.load(**({} if where == ".env" else {"DAGMAR_TOKEN": "t"}))
    assert settings.target("a").headers == {"Authorization": "Bearer t"}
    assert settings.target("b").headers == {"X-Key": "t"}
    assert settings.target("c").basic == ("ann", "t")


def test_a_secret_that_a_variable_names_may_be_called_like_a_setting(place: Place) -> None:
    settings = place.load(
        DAGMAR_TARGETS__A__AUTH__TYPE="bearer",
        DAGMAR_TARGETS__A__AUTH__TOKEN_ENV="DAGMAR_TOKEN",
        DAGMAR_TOKEN="t",
    )
    assert settings.target("a").headers == {"Authorization": "Bearer t"}


def test_a_variable_adds_a_header_or_replaces_the_one_that_is_written(place: Place) -> None:
    place.write(project="targets: {a: {headers: {X_Team: OLD}}}")
    settings = place.load(
        DAGMAR_TARGETS__A__HEADERS__X_TEAM="DAGMAR_TEAM",
        DAGMAR_TARGETS__A__HEADERS__X_API_KEY="NO",
        DAGMAR_TARGETS__B__AUTH__TYPE="headers",
        DAGMAR_TARGETS__B__AUTH__HEADERS__X_API_KEY="NO",
        DAGMAR_TEAM="t",
        NO="k",
    )
    assert settings.target("a").headers == {"X_Team": "t", "x-api-key": "k"}
    assert settings.target("b").headers == {"x-api-key": "k"}


def test_what_yaml_reads_as_another_type_may_be_the_name_of_a_secret(place: Place) -> None:
    settings = place.load(
        DAGMAR_TARGETS__A__AUTH__TYPE="bearer", DAGMAR_TARGETS__A__AUTH__TOKEN_ENV="ON", ON="t"
    )
    assert settings.target("a").headers == {"Authorization": "Bearer t"}


def test_the_environment_wins_over_a_secret_of_dotenv(place: Place) -> None:
    place.write(
        project="targets: {local: {auth: {type: bearer, token_env: DAGMAR_TOKEN}}}",
        dotenv="DAGMAR_TOKEN=from-dotenv\n",
    )
    assert place.load(DAGMAR_TOKEN="x").target().headers == {"Authorization": "Bearer x"}


def test_a_dotenv_that_is_not_text_is_reported(place: Place) -> None:
    place.write(dotenv=b"DAGMAR_TARGET=\xff\xfe\n")
    assert place.refused() == ".env cannot be read: it is not UTF-8 text"


# Secrets

MISSING = {
    "bearer": ("{type: bearer, token_env: NOPE}", "auth.token_env"),
    "basic, password": ("{type: basic, username: ann, password_env: NOPE}", "auth.password_env"),
    "basic, user": ("{type: basic, username_env: NOPE, password_env: PW}", "auth.username_env"),
    "dagster-plus": ("{type: dagster-plus, token_env: NOPE}", "auth.token_env"),
    "headers": ("{type: headers, headers: {X-Key: NOPE}}", "auth.headers.X-Key"),
}


@pytest.mark.parametrize(("auth", "key"), MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("environ", [{}, {"NOPE": ""}])
def test_a_variable_that_is_not_set_is_reported_by_file_line_and_key(
    auth: str, key: str, environ: dict[str, str], place: Place
) -> None:
    place.write(project=f"target: prod\ntargets:\n  prod:\n    auth: {auth}\n")
    settings = place.load(PW="x", **environ)
    with pytest.raises(SettingsError) as caught:
        settings.target()
    assert caught.value.message.startswith(f"dagmar.yaml:4: targets.prod.{key} names")
    assert "not set" in caught.value.message
    assert caught.value.hint


def test_the_usual_token_of_dagster_plus_is_asked_for_by_name(place: Place) -> None:
    place.write(project="targets: {local: {auth: {type: dagster-plus}}}")
    with pytest.raises(SettingsError, match="export DAGSTER_CLOUD_API_TOKEN"):
        place.load().target()


@pytest.mark.parametrize("secret", ["zq7\nX-Evil: 1", "zq7\r", "\x00", "zq7\x7f", "zq7\n"])
def test_a_secret_with_control_characters_is_refused(secret: str, place: Place) -> None:
    place.write(project="targets: {local: {auth: {type: bearer, token_env: TOKEN}}}")
    with pytest.raises(SettingsError, match="control character") as caught:
        place.load(TOKEN=secret).target()
    assert "zq7" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://a.example", True),
        ("https://a.example/other/path", True),
        ("https://A.EXAMPLE:443/", True),
        ("http://a.example", False),
        ("https://a.example:8443", False),
        ("https://b.example", False),
        ("https://a.example.evil.example", False),
    ],
)
def test_a_url_of_another_origin_drops_the_credentials(url: str, kept: bool, place: Place) -> None:
    make_authority(place.root)
    place.write(
        project="targets:\n  prod:\n    url: https://a.example\n"
        "    auth: {type: bearer, token_env: TOKEN}\n    headers: {X-Key: TOKEN}\n"
        "    client_cert: client.pem\n    client_key: client.key\n    read_only: true\n"
        "  basic:\n    url: https://a.example\n"
        "    auth: {type: basic, username: ann, password_env: TOKEN}\n"
    )
    target = place.load(TOKEN="t").target("prod", url)
    assert target.headers == ({"Authorization": "Bearer t", "X-Key": "t"} if kept else {})
    assert bool(target.client_cert) is kept
    assert target.read_only
    assert place.load(TOKEN="t").target("basic", url).basic == (("ann", "t") if kept else None)
    if not kept:  # a secret that is not used need not be there
        assert place.load().target("prod", url).headers == {}


@pytest.mark.parametrize(
    "url",
    [
        "localhost:3000",
        "ftp://a.example",
        "https://ann:pw@a.example",
        "https://a.example?token=x",
        "https://a.example#x",
        "https:///path",
        "http://:80",
        "http://a.example:port",
        "http://a.example:99999",
        "http://[::1",
        "http://a b.example",
        "http://a.example\n",
    ],
)
def test_a_malformed_url_is_refused_wherever_it_is_written(url: str, place: Place) -> None:
    with pytest.raises(UsageError, match="--url must be an address") as asked:
        place.load().target(url=url)
    assert url not in asked.value.message
    place.write(project=yaml.safe_dump({"targets": {"prod": {"url": url}}}))
    for arguments in (("prod",), ("prod", "http://a.example")):
        with pytest.raises(SettingsError) as caught:
            place.load().target(*arguments)
        assert caught.value.message.startswith(
            "dagmar.yaml:3: 'targets.prod.url' must be an address that starts with http"
        )
        assert url not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://a.example/", "https://a.example"),
        ("https://a.example/graphql", "https://a.example"),
        ("https://a.example/dagster/graphql/", "https://a.example/dagster"),
    ],
)
def test_an_address_is_the_base_of_the_site(url: str, address: str, place: Place) -> None:
    place.write(project=f"targets: {{local: {{url: '{url}'}}}}")
    assert place.load().target().url == address
    assert place.load().target(url=url).url == address


@pytest.mark.parametrize("key", ["ca_file", "client_cert", "client_key"])
def test_a_missing_certificate_is_reported_by_file_line_and_key(key: str, place: Place) -> None:
    place.write(project=f"targets:\n  local:\n    {key}: certs/it.pem\n")
    with pytest.raises(SettingsError) as caught:
        place.load().target()
    problem = "names a file that does not exist"
    assert caught.value.message == f"dagmar.yaml:3: targets.local.{key} {problem}"


def test_certificates_are_found_from_the_project(place: Place) -> None:
    authority = make_authority(place.root / "certs")
    cert = "    ca_file: certs/ca.pem\n    client_cert: certs/client.pem\n"
    place.write(project=f"targets:\n  local:\n{cert}    client_key: certs/client.key\n")
    target = place.load().target()
    assert target.ca_file == str(authority.ca)
    assert target.client_cert == (str(authority.client), str(authority.client_key))
    place.write(project="targets: {local: {client_cert: certs/server.pem}}\n")
    assert place.load().target().client_cert == str(authority.server)


NO_PEM = "names a file without a certificate and its key in PEM format"
ENCRYPTED = serialization.BestAvailableEncryption(b"passphrase")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("ca_file: empty.pem", "ca_file names a file without certificates in PEM format"),
        ("ca_file: no.pem", "ca_file names a file without certificates in PEM format"),
        ("client_cert: no.pem", f"client_cert {NO_PEM}"),
        ("client_cert: client.pem", f"client_cert {NO_PEM}"),
        ("client_cert: client.pem\n    client_key: no.pem", f"client_cert {NO_PEM}"),
        ("client_cert: client.pem\n    client_key: server.pem", f"client_cert {NO_PEM}"),
        ("client_cert: client.pem\n    client_key: locked.key", f"client_cert {NO_PEM}"),
    ],
)
def test_an_invalid_certificate_is_reported_by_file_line_and_key(
    keys: str, problem: str, place: Place
) -> None:
    authority = make_authority(place.root)
    key = serialization.load_pem_private_key(authority.client_key.read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, ENCRYPTED
    )
    (place.root / "locked.key").write_bytes(locked)
    (place.root / "empty.pem").write_text("")
    (place.root / "no.pem").write_text("-----BEGIN CERTIFICATE-----\nzq7\n")
    place.write(project=f"targets:\n  local:\n    {keys}\n")
    with pytest.raises(SettingsError) as caught:
        place.load().target()
    assert caught.value.message == f"dagmar.yaml:3: targets.local.{problem}"
    assert "zq7" not in str(caught.value)


def test_a_key_without_its_certificate_is_refused(place: Place) -> None:
    (place.root / "key.pem").write_text("")
    place.write(project="targets:\n  local:\n    client_key: key.pem\n")
    with pytest.raises(SettingsError, match=r"dagmar.yaml:3: .*needs client_cert"):
        place.load().target()


# What is wrong in a file

WRONG: dict[str, tuple[str | bytes, str]] = {
    "unknown key": ("targt: x\n", "dagmar.yaml:1: unknown key 'targt' — did you mean 'target'?"),
    "unknown key, nothing near": ("zzz: x\n", "dagmar.yaml:1: unknown key 'zzz'"),
    "unknown key, deep": (
        "targets:\n  prod:\n    # here\n    conect_timeout: 3\n",
        "dagmar.yaml:4: unknown key 'targets.prod.conect_timeout'"
        " — did you mean 'connect_timeout'?",
    ),
    "key of another auth": (
        "targets:\n  p:\n    auth:\n      type: bearer\n      token_env: T\n      username: ann\n",
        "dagmar.yaml:6: unknown key 'targets.p.auth.username'",
    ),
    "auth without type": (
        "targets:\n  p:\n    auth: {token_env: T}\n",
        "dagmar.yaml:3: 'targets.p.auth' needs type",
    ),
    "auth of no type": (
        "targets:\n  p:\n    auth: {type: oauth, client: x}\n",
        "dagmar.yaml:3: 'targets.p.auth.type' must be one of "
        "none, bearer, basic, dagster-plus, headers",
    ),
    "bearer without token": (
        "targets:\n  p:\n    auth: {type: bearer}\n",
        "dagmar.yaml:3: 'targets.p.auth' needs token_env or token_command",
    ),
    "basic without password": (
        "targets:\n  p:\n    auth: {type: basic, username: a}\n",
        "dagmar.yaml:3: 'targets.p.auth' needs password_env",
    ),
    "basic without user": (
        "targets:\n  p:\n    auth: {type: basic, password_env: PW}\n",
        "dagmar.yaml:3: 'targets.p.auth' needs username or username_env",
    ),
    "a token command that is not a list": (
        "targets:\n  p:\n    auth: {type: bearer, token_command: gcloud zq7}\n",
        "dagmar.yaml:3: 'targets.p.auth.token_command' must be a list",
    ),
    "a token command of a number": (
        "targets:\n  p:\n    auth: {type: bearer, token_command: [a, 1]}\n",
        "dagmar.yaml:3: 'targets.p.auth.token_command.1' must be text",
    ),
    "an empty token command": (
        "targets:\n  p:\n    auth: {type: bearer, token_command: []}\n",
        "dagmar.yaml:3: 'targets.p.auth.token_command' must not be empty",
    ),
    "a token command for a password": (
        "targets:\n  p:\n    auth: {type: basic, username: a, password_env: P, "
        "token_command: [a]}\n",
        "dagmar.yaml:3: unknown key 'targets.p.auth.token_command'",
    ),
    "headers without headers": (
        "targets:\n  p:\n    auth: {type: headers}\n",
        "dagmar.yaml:3: 'targets.p.auth' needs headers",
    ),
    "a secret where its name belongs": (
        "targets:\n  p:\n    auth: {type: bearer, token_env: gh-p.abc}\n",
        "dagmar.yaml:3: 'targets.p.auth.token_env' must be the name of an environment variable, "
        "not a secret",
    ),
    "a header's name": (
        "targets:\n  p:\n    headers: {'X Key': KEY}\n",
        "dagmar.yaml:3: 'targets.p.headers' holds a name with letters that are not allowed",
    ),
    "a target's name": (
        "targets:\n  'a b': {}\n",
        "dagmar.yaml:1: 'targets' holds a name with letters that are not allowed",
    ),
    "text for a number": (
        "run: {poll_seconds: '1'}",
        "dagmar.yaml:1: 'run.poll_seconds' must be a number",
    ),
    "not a number": (
        "run: {poll_seconds: .nan}",
        "dagmar.yaml:1: 'run.poll_seconds' must be a number",
    ),
    "too much": (
        "run:\n  poll_seconds: 61\n",
        "dagmar.yaml:2: 'run.poll_seconds' must be at least 0.1 and at most 60",
    ),
    "number for text": ("target: 5", "dagmar.yaml:1: 'target' must be text"),
    "text for yes or no": (
        "targets: {a: {read_only: 'no'}}",
        "dagmar.yaml:1: 'targets.a.read_only' must be true or false",
    ),
    "text for a mapping": ("targets: prod", "dagmar.yaml:1: 'targets' must be a mapping"),
    "nothing for a mapping": (
        "targets:\n  local:\n",
        "dagmar.yaml:2: 'targets.local' must be a mapping",
    ),
    "list for a mapping": ("run:\n- 1\n", "dagmar.yaml:1: 'run' must be a mapping"),
    "a date in a list": (
        "notebooks: [{2020-01-01: x}]",
        "dagmar.yaml:1: a key is a name; put this one in quotes",
    ),
    "set twice": ("target: a\nrun: {}\ntarget: b\n", "dagmar.yaml:3: 'target' is set twice"),
    "set twice, deep": (
        "targets:\n  p:\n    url: http://a\n    url: http://b\n",
        "dagmar.yaml:4: 'targets.p.url' is set twice",
    ),
    "names that differ in case": (
        "targets:\n  prod: {}\n  PROD: {}\n",
        "dagmar.yaml:3: the targets 'prod' (dagmar.yaml:2) and 'PROD' differ only in case or "
        "dashes; rename one",
    ),
    "names that differ in dashes": (
        "targets:\n  my-prod: {}\n  my_prod: {}\n",
        "dagmar.yaml:3: the targets 'my-prod' (dagmar.yaml:2) and 'my_prod' differ only in case "
        "or dashes; rename one",
    ),
    "names that differ in case, local's own": (
        "targets:\n  Local:\n    read_only: true\n",
        "dagmar.yaml:2: the target 'Local' differs only in case from 'local', which always "
        "exists; call it local, or rename it",
    ),
    "a key that is not text": (
        "run: {}\n1: x\n",
        "dagmar.yaml:2: a key is a name; put this one in quotes",
    ),
    "a mapping that contains itself": (
        "targets: &all\n  a: *all\n",
        "dagmar.yaml:1: 'targets.a' contains itself",
    ),
    "malformed": (
        "target: local\nrun: {poll_seconds: 1\n",
        "dagmar.yaml:2: this is not valid YAML (did not find expected ',' or '}')",
    ),
    "a list that is not closed": (
        "notebooks: [zq7",
        "dagmar.yaml:1: this is not valid YAML (did not find expected ',' or ']')",
    ),
    "a tab": ("run:\n\tpoll_seconds: 1\n", "dagmar.yaml:2: this is not valid YAML"),
    "two documents": ("target: a\n---\ntarget: b\n", "dagmar.yaml:2: this is not valid YAML"),
    "a tag": ("run: !secret x\n", "dagmar.yaml:1: this is not valid YAML"),
    "tag, not a bool": (
        "notebooks: a\ntarget: !!bool zq7\n",
        "dagmar.yaml:2: 'target' is not a valid bool",
    ),
    "tag, not a timestamp": (
        "target: !!timestamp zq7",
        "dagmar.yaml:1: 'target' is not a valid timestamp",
    ),
    "tag, not an int": (
        "run: {poll_seconds: !!int ''}",
        "dagmar.yaml:1: 'run.poll_seconds' is not a valid int",
    ),
    "tag, no value": ("run: !!bool {=: zq7}", "dagmar.yaml:1: a key is a name"),
    "tag, merged": ("run: {<<: {a: !!bool zq7}}", "dagmar.yaml: this is not valid YAML"),
    "tag, all of it": ("!!bool zq7", "dagmar.yaml:1: this is not a valid bool"),
    "a date that does not exist": (
        "notebooks: 2020-13-45",
        "dagmar.yaml:1: 'notebooks' is not a valid time",
    ),
    "an unknown alias": ("run: *there\n", "dagmar.yaml:1: this is not valid YAML"),
    "a list": ("- a\n", "dagmar.yaml:1: settings are a mapping"),
    "a text": ("hello\n", "dagmar.yaml:1: settings are a mapping"),
    "no UTF-8": (b"target: \xff\n", "dagmar.yaml cannot be read: it is not UTF-8 text"),
    "a null byte": (b"target: \x00\n", "dagmar.yaml: this is not valid YAML"),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_a_problem_is_reported_by_file_line_and_key(
    text: str | bytes, expected: str, place: Place
) -> None:
    place.write(project=text)
    message = place.refused()
    assert message.startswith(expected)
    assert "\n" not in message
    assert "zq7" not in message


@pytest.mark.parametrize("number", ["1:30", "010", "1_0"])
def test_a_number_that_versions_of_yaml_read_differently_is_refused(
    number: str, place: Place
) -> None:
    place.write(project=f"export:\n  keep: {number}\n")
    assert place.refused() == (
        "dagmar.yaml:2: 'export.keep' is a number that versions of YAML read differently"
    )


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(place: Place) -> None:
    place.write(
        project="# first\n" * 5 + "zzz: 1\nrun:\n  poll_seconds: x\n  more: 1\ntargets:\n"
        "  p:\n    uri: x\n    auth: {type: bearer, pass: 1}\n"
        "  q: {auth: {type: basic, password_env: PW}}\n"
    )
    lines = [line.split(": ")[0] for line in place.refused(DAGMAR_TARGET="").splitlines()]
    assert lines == [
        *(f"dagmar.yaml:{number}" for number in (6, 8, 9, 12, 13, 14)),
        "environment variable DAGMAR_TARGET",
    ]


def test_the_users_configuration_is_named_by_its_whole_path(place: Place) -> None:
    place.write(user="run: {}\nzzz: 1\n")
    file = place.home / ".config" / "dagmar" / "config.yaml"
    assert place.refused() == f"{file}:2: unknown key 'zzz'"


def test_a_settings_file_that_is_a_folder_is_reported(place: Place) -> None:
    (place.root / "dagmar.yaml").mkdir()
    assert place.refused().startswith("dagmar.yaml cannot be read: ")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}"])
def test_empty_settings_are_fine(text: str, place: Place) -> None:
    (place.root / "dagmar.yaml").write_text(text)
    assert place.load().layer.values == {}


def test_yaml_merge_keys_and_anchors_work(place: Place) -> None:
    place.write(
        project="targets:\n  a: &a {url: 'http://a.example', read_timeout: 3}\n"
        "  b:\n    <<: *a\n    read_only: true\n  c: *a\n"
    )
    b = place.load().target("b")
    assert (b.url, b.timeouts[1], b.read_only) == ("http://a.example", 3, True)
    assert place.load().target("c").url == "http://a.example"


def test_an_unknown_target_is_wrong_usage_or_wrong_settings(place: Place) -> None:
    place.write(project="target: local\ntargets: {prod: {}}\n")
    with pytest.raises(UsageError, match="no target 'prd' — did you mean 'prod'") as asked:
        place.load().target("prd")
    assert asked.value.hint == "The targets of this project: local, prod."
    place.write(project="targets: {prod: {}}\ntarget: prd\n")
    with pytest.raises(SettingsError) as caught:
        place.load().target()
    assert caught.value.message.startswith("dagmar.yaml:2: 'target' names no target")
    assert "did you mean 'prod'" in caught.value.message


# A running `invoke dev`


@pytest.fixture
def dead() -> int:
    """The id of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_running_dev_server_is_found(place: Place) -> None:
    running = {"pid": os.getpid(), "dagster_url": "http://127.0.0.1:4567/"}
    place.write(dev=json.dumps(running))
    target = place.load().target()
    assert (target.url, target.dev) == ("http://127.0.0.1:4567", os.getpid())
    place.write(project="targets: {local: {url: 'http://a.example'}}")
    target = place.load().target()
    assert (target.url, target.dev) == ("http://a.example", None)


def test_for_a_server_that_invoke_dev_still_starts_the_hint_is_to_wait(place: Place) -> None:
    holder, url = closed_port()
    with holder:
        place.write(dev=json.dumps({"pid": os.getpid(), "dagster_url": url}))
        with pytest.raises(Unreachable, match="did not answer") as raised:
            require_listening(place.load().target())
    assert f"`invoke dev` (process {os.getpid()}) is starting it: wait" in raised.value.hint


def test_a_dev_server_of_another_user_is_found(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbid)
    place.write(dev='{"pid": 4, "dagster_url": "http://127.0.0.1:4567"}')
    assert place.load().target().url == "http://127.0.0.1:4567"


def test_a_dev_server_that_is_gone_is_ignored(place: Place, dead: int) -> None:
    place.write(dev=json.dumps({"pid": dead, "dagster_url": "http://127.0.0.1:4567"}))
    assert place.load().target().url == DEFAULT_URL


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '"x"',
        "null",
        "{}",
        '{"pid": "x", "dagster_url": "http://127.0.0.1:4567"}',
        '{"pid": null, "dagster_url": "http://127.0.0.1:4567"}',
        '{"pid": 99999999999999999999, "dagster_url": "http://127.0.0.1:4567"}',
        '{"pid": Infinity, "dagster_url": "http://127.0.0.1:4567"}',
        '{"pid": PID, "dagster_url": null}',
        '{"pid": PID, "dagster_url": "javascript:alert(1)"}',
        '{"pid": PID, "dagster_url": "http://a@b/"}',
    ],
)
def test_garbage_in_dev_json_is_ignored(text: str, place: Place) -> None:
    place.write(dev=text.replace("PID", str(os.getpid())))
    assert place.load().target().url == DEFAULT_URL


# Nothing that is written in the settings gets out

EXAMPLE: dict[str, Any] = {
    "target": "prod",
    "notebooks": "books",
    "run": {"poll_seconds": 1},
    "targets": {
        "prod": {
            "url": "https://a.example",
            "auth": {"type": "bearer", "token_env": "TOKEN"},
            "headers": {"X-Key": "KEY"},
            "read_only": False,
            "ca_file": "ca.pem",
            "client_cert": "cert.pem",
            "client_key": "key.pem",
            "connect_timeout": 1,
            "read_timeout": 1,
            "allow_http": False,
        },
        "basic": {
            "auth": {"type": "basic", "username_env": "WHO", "password_env": "PW", "username": "a"}
        },
        "plus": {"auth": {"type": "dagster-plus", "token_env": "TOKEN"}},
        "command": {"auth": {"type": "bearer", "token_command": ["/no/such/program"]}},
        "headers": {"auth": {"type": "headers", "headers": {"X-Key": "KEY"}}},
        "none": {"auth": {"type": "none"}},
    },
}


def _paths(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _paths(value, (*above, key))


def _value(values: Any, path: tuple[str, ...]) -> Any:
    """Return what is at a path."""
    for key in path:
        values = values[key]
    return values


def _shown(place: Place, environ: Mapping[str, str]) -> str:
    """Return everything that a user could get to see of these settings."""
    shown: list[str] = []

    def note(error: DagmarError) -> None:
        shown.extend((str(error), repr(error), "".join(traceback.format_exception(error))))

    try:
        settings = load(place.root, environ, place.home)
    except DagmarError as error:
        note(error)
        return "\n".join(shown)
    shown.append(repr(settings))
    for name in ("", *settings.targets):
        try:
            target = settings.target(name)
            shown.append(repr(target))
            with DagsterClient(target) as client:
                shown += [repr(client), str(client)]
        except DagmarError as error:
            note(error)
    return "\n".join(shown)


MARKERS = st.text(st.sampled_from("ABCDEFGHJKMNPQRSTUVWXYZ0123456789"), min_size=10).map(
    lambda text: f"zq{text}"
)
SHAPES = st.sampled_from(
    [
        "{}", "{}\n", "{} {}", "http://ann:{}@a.example", "http://a.example?k={}", "- {}", "[{}]",
        "[{}, 1", "!{} x", "*{}", "'{}", '"\\{}', "{}: {}: {}", "%{}", "@{}", "`{}`", "2020-13-{}",
        "!!bool {}", "!!int {}", "!!timestamp {}",
    ]
)  # fmt: skip


@given(
    marker=MARKERS,
    shape=SHAPES,
    path=st.sampled_from(list(_paths(EXAMPLE))),
    where=st.sampled_from(["dagmar.yaml", "dagmar.yaml, raw", "user", ".env", "environment"]),
)
def test_no_value_of_the_settings_is_ever_shown(
    marker: str, shape: str, path: tuple[str, ...], where: str
) -> None:
    value = shape.replace("{}", marker)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        values = json.loads(json.dumps(EXAMPLE))
        environ = {"TOKEN": "t", "KEY": "k", "PW": "p", "WHO": "w"}
        if where in ("dagmar.yaml", "user", "dagmar.yaml, raw"):
            inner = values
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = "PLACEHOLDER"
            text = yaml.safe_dump(values)
            dumped = yaml.safe_dump(value).removesuffix("...\n").strip()
            text = text.replace("PLACEHOLDER", value if where.endswith("raw") else dumped)
            place.write(**{"user" if where == "user" else "project": text})
        else:
            place.write(project=yaml.safe_dump(values))
            name = "DAGMAR_" + "__".join(path).upper().replace("-", "_")
            if where == ".env":
                place.write(dotenv=f"{name}={json.dumps(value)}\n")
            else:
                environ[name] = value
        # A target's name may be a key somewhere in the value; a value it is not.
        shown = _shown(place, environ)
    assert shown
    if not re.search(rf"unknown key '[^']*{marker}|targets\.{marker}", shown):
        assert marker not in shown


@given(
    marker=MARKERS,
    name=st.sampled_from(["TOKEN", "KEY", "PW", "WHO"]),
    ending=st.sampled_from(["", "\n", "\x00"]),
)
def test_no_secret_is_ever_shown(marker: str, name: str, ending: str) -> None:
    environ = {"TOKEN": "t", "KEY": "k", "PW": "p", "WHO": "w", name: marker + ending}
    with tempfile.TemporaryDirectory() as folder:
        values = json.loads(json.dumps(EXAMPLE))
        for key in ("ca_file", "client_cert", "client_key"):
            del values["targets"]["prod"][key]
        del values["targets"]["basic"]["auth"]["username"]
        place = Place(Path(folder))
        place.write(project=yaml.safe_dump(values))
        shown = _shown(place, environ)
    assert "Target(name='prod'" in shown or "control character" in shown
    assert marker not in shown


TEXTS = [path for path in _paths(EXAMPLE) if isinstance(_value(EXAMPLE, path), str)]
HOSTILE = {"a null character": "a\0b", "half of a surrogate pair": "a\ud800b"}


@pytest.mark.parametrize("path", TEXTS, ids=".".join)
def test_no_setting_has_a_null_character(path: tuple[str, ...], place: Place) -> None:
    values = json.loads(json.dumps(EXAMPLE))
    _value(values, path[:-1])[path[-1]] = "a\0b"
    place.write(project=json.dumps(values, indent=1))
    assert place.refused().endswith(f": '{'.'.join(path)}' has {files.UNUSABLE}")


@pytest.mark.parametrize(
    "settings",
    [
        {"dagster": {"workspace": "a\0b"}},
        {"dagster": {"load_from": [{"python_file": "a\0b"}]}},
        {"dagster": {"load_from": [{"a\0b": "a.py"}]}},
        {"export": {"upload": "a\0b"}},
        {"targets": {"p": {"auth": {"type": "bearer", "token_command": ["echo", "a\0b"]}}}},
    ],
    ids=json.dumps,
)
def test_nor_has_a_list_or_a_key_of_them(settings: dict[str, Any], place: Place) -> None:
    place.write(user=yaml.safe_dump(settings))
    assert place.refused().endswith(f" has {files.UNUSABLE}")
    place.write(project=yaml.safe_dump(settings), user="{}")
    assert place.refused().endswith(f" has {files.UNUSABLE}")
    if "dagster" in settings:
        with pytest.raises(DagmarError, match=files.UNUSABLE):
            read_workspace(place.root)


def test_a_variable_with_a_null_character_is_refused_by_its_line(place: Place) -> None:
    place.write(dotenv="A=1\nDAGMAR_NOTEBOOKS=a\0b\n")
    assert place.refused() == f".env:2: 'notebooks' has {files.UNUSABLE}"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", ["dagster_url", "env_file", "dagster_home"])
def test_a_dev_json_with_such_text_is_malformed(name: str, text: str, place: Place) -> None:
    running = {"pid": os.getpid(), "started_at": devfile.now(), name: "http://127.0.0.1:9"}
    place.write(dev=json.dumps(running))
    assert devfile.read(place.root)
    place.write(dev=json.dumps({**running, name: text}))
    assert devfile.read(place.root) is None
    assert instance_folder(place.root, {}) == place.root / LOCAL_INSTANCE


def test_other_files_that_name_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.dagster]\npython_file = "a\\u0000b"\n')
    with pytest.raises(DagmarError, match=f"'tool.dagster.python_file' has {files.UNUSABLE}"):
        files.read_toml(tmp_path / "pyproject.toml")
    (tmp_path / "pyproject.toml").unlink()
    for text in ("a\\0b", "a\\ud800b"):
        (tmp_path / "workspace.yaml").write_text(f'load_from:\n- python_file: "{text}"\n')
        with pytest.raises(DagmarError, match=f"'load_from.0.python_file' has {files.UNUSABLE}"):
            read_workspace(tmp_path)
    (tmp_path / templates.ANSWERS).write_text('_src_path: "a\\0b"\n')
    with pytest.raises(DagmarError, match="is not an answers file"):
        templates.read_answers(tmp_path / templates.ANSWERS)


@pytest.mark.parametrize(
    "task", [("check",), ("export", "--all"), ("scaffold", "--asset", "a"), ("leave",)]
)
def test_no_task_ends_in_a_traceback_for_it(task: tuple[str, ...], place: Place) -> None:
    place.write(project='notebooks: "a\\0b"\n')
    (place.root / "tasks.py").write_bytes((ROOT / "template/project/tasks.py").read_bytes())
    done = Project(place.root).invoke(*task)
    assert (done.returncode, f"has {files.UNUSABLE}" in done.stderr) == (7, True)
    assert "Traceback" not in done.stderr


# The schema


def test_the_schema_is_a_valid_draft_07_schema() -> None:
    assert schema()["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(schema())


def test_every_setting_has_a_description() -> None:
    def described(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, bool]]:
        for key, spec in node.get("properties", {}).items():
            yield f"{path}{key}", bool(spec.get("description"))
            yield from described(spec, f"{path}{key}.")
        if isinstance(node.get("additionalProperties"), dict):
            yield from described(node["additionalProperties"], f"{path}*.")

    found = dict(described(schema(), ""))
    assert "targets.*.auth.token_env" in found
    assert [path for path, has in found.items() if not has] == []


def test_the_defaults_of_the_schema_are_the_defaults(place: Place) -> None:
    top = schema()["properties"]
    target = top["targets"]["additionalProperties"]["properties"]
    settings = place.load()
    local = settings.target()
    assert settings.notebooks.name == top["notebooks"]["default"]
    assert settings.poll_seconds == top["run"]["properties"]["poll_seconds"]["default"]
    assert local.name == top["target"]["default"]
    assert local.timeouts == (
        target["connect_timeout"]["default"],
        target["read_timeout"]["default"],
    )
    assert local.read_only is target["read_only"]["default"]
    assert local.allow_http is target["allow_http"]["default"]


def test_an_editor_and_dagmar_agree_on_what_is_valid(place: Place) -> None:
    place.write(project=yaml.safe_dump(EXAMPLE))
    place.load()
    validator = jsonschema.Draft7Validator(schema())
    assert validator.is_valid(EXAMPLE)
    only_dagmar_knows = ("set twice", "names that", "not a number")
    for what, (text, _) in WRONG.items():
        if what.startswith(only_dagmar_knows):
            continue
        try:
            values = yaml.safe_load(text)
        except (yaml.YAMLError, *UNREADABLE):
            continue
        try:
            assert not validator.is_valid(values), what
        except (TypeError, RecursionError):
            continue  # no JSON at all
