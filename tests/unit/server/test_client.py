"""How the client handles what networks, proxies and servers do, with real servers."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagmar.errors import (
    AnswerLost,
    DagmarError,
    NotAllowed,
    SetupError,
    UnexpectedAnswer,
    Unreachable,
)
from dagmar.project.settings import Target, load
from dagmar.server.client import DagsterClient, member
from support import http_server
from support.certificates import Authority, make_authority
from support.http_server import Answer, Server, data, document, page, redirect, serve

NAMED = "dagster.test"
OTHER = "other.test"
"""Host names that are not known to be this machine, and yet are."""

SECRET = {"Authorization": "Bearer top-secret"}


IMPATIENT = (30.0, 1.0)
"""Seconds to connect and to read if the server stays silent."""


def target(server: Server | str, **fields: Any) -> Target:
    """Return a target with timeouts that suit a busy machine."""
    url = server if isinstance(server, str) else server.url
    return Target("prod", url, **{"timeouts": (30.0, 30.0), **fields})


def patience(answer: Answer) -> dict[str, Any]:
    return {"timeouts": IMPATIENT} if answer is http_server.silence else {}


def query(server: Server | str, **fields: Any) -> dict[str, Any]:
    with DagsterClient(target(server, **fields)) as client:
        return client.query("RunState", id="r1")


def mutate(server: Server | str, **fields: Any) -> dict[str, Any]:
    with DagsterClient(target(server, **fields)) as client:
        return client.mutate("LaunchRun", params={"mode": "default"})


@pytest.fixture(autouse=True)
def _no_proxy_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the names be this machine."""
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host in (NAMED, OTHER) else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


# What is sent


def test_a_request_is_the_document_its_name_and_its_variables() -> None:
    with serve(data(version="1")) as server:
        assert query(server) == {"version": "1"}
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", "/graphql")
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.sent["operationName"] == "RunState"
    assert seen.sent["variables"] == {"id": "r1"}
    assert seen.sent["query"].startswith("query RunState(")
    assert "Authorization" not in seen.headers


def test_a_mutation_is_sent_once_and_answered() -> None:
    with serve(data(launchRun={"__typename": "LaunchRunSuccess"})) as server:
        assert mutate(server)["launchRun"]["__typename"] == "LaunchRunSuccess"
    assert [seen.sent["operationName"] for seen in server.seen] == ["LaunchRun"]


@pytest.mark.parametrize("suffix", ["/dagster", "/dagster/", "/dagster/graphql"])
def test_a_path_prefix_is_kept(suffix: str, tmp_path: Path) -> None:
    with serve(data(version="1")) as server:
        address = load(tmp_path, {}, tmp_path).target(url=server.url + suffix)
        with DagsterClient(address) as client:
            client.query("Workspace")
            client.mutate("LaunchRun", params={})
    assert [seen.path for seen in server.seen] == ["/dagster/graphql"] * 2


def test_a_mutation_under_a_prefix_is_not_repeated_either() -> None:
    with serve(page(503)) as server, pytest.raises(AnswerLost):
        mutate(server.url + "/Dagster")
    assert len(server.seen) == 1


# Credentials

AUTH = {
    "bearer": ("{type: bearer, token_env: SECRET}", "Authorization", "Bearer top-secret"),
    "basic": (
        "{type: basic, username: änne, password_env: SECRET}",
        "Authorization",
        "Basic " + base64.b64encode("änne:top-secret".encode()).decode(),
    ),
    "basic, user in the environment": (
        "{type: basic, username_env: WHO, password_env: SECRET}",
        "Authorization",
        "Basic " + base64.b64encode("jürgen:top-secret".encode()).decode(),
    ),
    "dagster-plus": (
        "{type: dagster-plus, token_env: SECRET}",
        "Dagster-Cloud-Api-Token",
        "top-secret",
    ),
    "dagster-plus, usual variable": (
        "{type: dagster-plus}",
        "Dagster-Cloud-Api-Token",
        "plus-secret",
    ),
    "headers": ("{type: headers, headers: {X-Key: SECRET}}", "X-Key", "top-secret"),
}
ENVIRON = {"SECRET": "top-secret", "WHO": "jürgen", "DAGSTER_CLOUD_API_TOKEN": "plus-secret"}


@pytest.mark.parametrize(("auth", "header", "value"), AUTH.values(), ids=AUTH)
def test_credentials_arrive_exactly(auth: str, header: str, value: str, tmp_path: Path) -> None:
    with serve(data(version="1")) as server:
        (tmp_path / "dagmar.yaml").write_text(
            f"targets:\n  p:\n    url: {server.url}\n    auth: {auth}\n"
            "    headers: {X-Proxy: WHO2}\n",
            "utf-8",
        )
        settings = load(tmp_path, {**ENVIRON, "WHO2": "me"}, tmp_path)
        with DagsterClient(settings.target("p")) as client:
            client.query("Workspace")
            client.mutate("LaunchRun", params={})
    for seen in server.seen:
        assert seen.headers[header] == value
        assert seen.headers["X-Proxy"] == "me"
    assert len(server.seen) == 2


def test_a_token_with_any_letters_arrives_as_utf8() -> None:
    with serve(data(version="1")) as server:
        query(server, headers={"X-Key": "pässwörd-€"})
    assert server.seen[0].headers["X-Key"].encode("latin-1").decode("utf-8") == "pässwörd-€"


def test_another_origin_gets_no_credentials(tmp_path: Path) -> None:
    refusals = [page(401), page(403), page(), redirect("https://login.example/")]
    with serve(data(version="1"), *refusals) as server:
        (tmp_path / "dagmar.yaml").write_text(
            "targets:\n  p:\n    url: https://dagster.example\n"
            "    auth: {type: bearer, token_env: SECRET}\n"
        )
        settings = load(tmp_path, ENVIRON, tmp_path)
        with DagsterClient(settings.target("p", server.url)) as client:
            client.query("Workspace")
            for _ in refusals:
                with pytest.raises(NotAllowed) as caught:
                    client.query("Workspace")
                assert "a target in dagmar.yaml, with its own login" in caught.value.hint
    assert {request.headers.get("Authorization") for request in server.seen} == {None}


@pytest.mark.parametrize("host", ["127.0.0.1", NAMED])
@pytest.mark.usefixtures("named")
def test_netrc_is_not_used(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {host} login somebody password from-netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with serve(data(version="1")) as server:
        query(f"http://{host}:{server.port}")
    assert "Authorization" not in server.seen[0].headers


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_does_not_take_what_stays_on_this_machine(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(data(version="1")) as server, serve(page(502)) as proxy:
        monkeypatch.setenv(name, proxy.url)
        query(server)
        query(f"http://localhost:{server.port}")
    assert len(server.seen) == 2
    assert proxy.seen == []


@pytest.mark.usefixtures("named")
def test_a_proxy_takes_what_leaves_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(page(500)) as server, serve(data(version="1")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        query(f"http://{NAMED}:{server.port}")
    assert server.seen == []
    assert proxy.seen[0].path == f"http://{NAMED}:{server.port}/graphql"


@pytest.mark.parametrize(
    ("url", "fields", "refused"),
    [
        ("http://dagster.example", {"headers": SECRET}, True),
        ("http://dagster.example", {"basic": ("ann", "x")}, True),
        ("http://10.0.0.7:3000", {"headers": SECRET}, True),
        ("http://127.evil.example", {"headers": SECRET}, True),
        ("http://localhost.example", {"headers": SECRET}, True),
        ("HTTP://DAGSTER.EXAMPLE", {"headers": SECRET}, True),
        ("http://dagster.example", {"headers": SECRET, "allow_http": True}, False),
        ("http://dagster.example", {}, False),
        ("https://dagster.example", {"headers": SECRET}, False),
        ("http://127.0.0.1:3000", {"headers": SECRET}, False),
        ("http://127.8.8.8:3000", {"headers": SECRET}, False),
        ("http://localhost:3000", {"headers": SECRET}, False),
        ("http://[::1]:3000", {"basic": ("ann", "x")}, False),
    ],
)
def test_credentials_do_not_cross_a_network_in_the_clear(
    url: str, fields: dict[str, Any], refused: bool
) -> None:
    if refused:
        with pytest.raises(NotAllowed, match="plain http") as caught:
            DagsterClient(target(url, **fields))
        assert "targets.prod.allow_http" in caught.value.hint
        assert "top-secret" not in str(caught.value)
    else:
        with DagsterClient(target(url, **fields)) as client:
            assert client.target.url == url


def test_a_read_only_target_sends_no_mutation() -> None:
    with serve(data(version="1")) as server:
        with pytest.raises(NotAllowed, match="read_only"):
            mutate(server, read_only=True)
        assert server.seen == []
        query(server, read_only=True)
    assert len(server.seen) == 1


# Another program answers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("send", [query, mutate])
def test_no_request_and_no_token_follow_a_redirect_to_another_host(send: Any, status: int) -> None:
    with serve(data(version="1")) as other:
        place = f"http://localhost:{other.port}/graphql?next=secret-state"
        with serve(redirect(place, status)) as server, pytest.raises(NotAllowed) as caught:
            send(server, headers=SECRET)
        assert other.seen == []
    assert len(server.seen) == 1
    assert f"localhost:{other.port}/graphql" in caught.value.message
    assert "targets.prod.auth" in caught.value.hint
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("/login", "/login"),
        ("https://ann:pw@sso.example/login?x=1", "https://sso.example/login"),
        ("", "/graphql"),
        ("http://[", "redirects"),
        ("http://x:99999999/", "redirects"),
    ],
)
def test_a_redirect_to_a_login_page_is_reported_as_one(place: str, shown: str) -> None:
    with serve(redirect(place)) as server, pytest.raises(NotAllowed, match="login page") as caught:
        query(server)
    assert shown in caught.value.message
    assert "pw" not in str(caught.value)


def test_a_redirect_to_https_names_the_address_to_use() -> None:
    with serve() as server:
        there = server.url.replace("http:", "https:")
        server.answers[:] = [redirect(f"{there}/graphql")]
        with pytest.raises(UnexpectedAnswer) as caught:
            query(server)
    assert f"Use {there} as the address" in caught.value.hint
    assert len(server.seen) == 1


def test_a_redirect_to_https_on_another_port_names_that_port() -> None:
    with (
        serve(redirect("https://127.0.0.1:8443/dagster/graphql")) as server,
        pytest.raises(UnexpectedAnswer) as caught,
    ):
        query(server.url + "/dagster")
    assert "Use https://127.0.0.1:8443/dagster as the address" in caught.value.hint


def test_a_redirect_from_https_to_http_is_not_recommended(authority: Authority) -> None:
    with serve(tls=authority.server_context()) as server:
        server.answers[:] = [redirect(f"http://127.0.0.1:{server.port}/graphql")]
        with pytest.raises(DagmarError) as caught:
            query(server, ca_file=str(authority.ca))
    assert "Use http://" not in caught.value.hint


OTHER_PROGRAMS: dict[str, tuple[Answer, type[DagmarError], str]] = {
    "login page": (page(), NotAllowed, "login page"),
    "login page of no declared type": (page(Content_Type="text/plain"), NotAllowed, "login page"),
    "401": (page(401), NotAllowed, "(401)"),
    "401, JSON": (document({"errors": [{"message": "who?"}]}, 401), NotAllowed, "(401)"),
    "403": (page(403), NotAllowed, "(403)"),
    "403, JSON": (document({"message": "no"}, 403), NotAllowed, "(403)"),
    "404, HTML": (page(404), UnexpectedAnswer, "(404)"),
    "404, JSON": (document({"detail": "Not Found"}, 404), UnexpectedAnswer, "(404)"),
    "429": (page(429, Retry_After="0"), UnexpectedAnswer, "(429)"),
    "500, HTML": (page(500), UnexpectedAnswer, "(500)"),
    "JSON but not GraphQL": (document({"status": "ok"}), UnexpectedAnswer, "not as Dagster"),
    "a JSON list": (document([1]), UnexpectedAnswer, "not as Dagster"),
    "null": (document(None), UnexpectedAnswer, "not as Dagster"),
    "data is not a mapping": (document({"data": [1]}), UnexpectedAnswer, "not as Dagster"),
    "nothing": (page(200, b"", Content_Type="text/plain"), UnexpectedAnswer, "not as Dagster"),
    "no UTF-8": (page(200, b"\xff\xfe{", Content_Type="x/y"), UnexpectedAnswer, "not as Dagster"),
    "errors": (
        document({"errors": [{"message": "Cannot query field 'x'"}]}, 400),
        UnexpectedAnswer,
        "did not understand: Cannot query field 'x'",
    ),
    "errors and data": (
        document({"data": {"version": "1"}, "errors": [{"message": "half"}]}),
        UnexpectedAnswer,
        "half",
    ),
    "malformed errors": (document({"errors": ["x"]}), UnexpectedAnswer, "did not understand"),
}


@pytest.mark.parametrize(("answer", "kind", "message"), OTHER_PROGRAMS.values(), ids=OTHER_PROGRAMS)
def test_another_program_is_recognized_and_queried_once(
    answer: Answer, kind: type[DagmarError], message: str
) -> None:
    with serve(answer) as server, pytest.raises(DagmarError) as caught:
        query(server)
    assert type(caught.value) is kind
    assert message in caught.value.message
    assert caught.value.hint
    assert len(server.seen) == 1


@pytest.mark.parametrize(("answer", "kind", "message"), OTHER_PROGRAMS.values(), ids=OTHER_PROGRAMS)
def test_a_mutation_that_another_program_answers_may_have_arrived(
    answer: Answer, kind: type[DagmarError], message: str, request: pytest.FixtureRequest
) -> None:
    with serve(answer) as server, pytest.raises(DagmarError) as caught:
        mutate(server)
    # An answer of 400, 401, 403 or a redirect means that nothing was forwarded.
    name = request.node.callspec.id
    kept = name == "errors" or (kind is NotAllowed and not name.startswith("login page"))
    assert type(caught.value) is (kind if kept else AnswerLost)
    assert message in caught.value.message
    assert len(server.seen) == 1


def test_a_status_500_with_an_answer_is_an_answer() -> None:
    error = {"__typename": "PythonError", "message": "boom\n", "stack": []}
    with serve(data(500, runOrError=error)) as server:
        answer = query(server)
    with pytest.raises(UnexpectedAnswer, match="Dagster failed: boom\n"):
        member(answer["runOrError"], "Run")


# The connection fails


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_query_waits_for_a_server_that_comes_back(status: int) -> None:
    with serve(page(status, Retry_After="60"), page(status), data(version="1")) as server:
        assert query(server) == {"version": "1"}
    assert len(server.seen) == 3


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_query_gives_up_on_a_gateway_after_three_times(status: int) -> None:
    with serve(page(status)) as server, pytest.raises(Unreachable, match=f"({status})") as caught:
        query(server)
    assert type(caught.value) is Unreachable
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("answer", "requests"),
    [
        (http_server.silence, 1),
        (http_server.reset, 3),
        (http_server.hang_up, 3),
        (http_server.cut_short, 1),
    ],
)
def test_a_query_without_an_answer_is_repeated_a_few_times(answer: Answer, requests: int) -> None:
    with serve(answer) as server, pytest.raises(Unreachable) as caught:
        query(server, **patience(answer))
    assert type(caught.value) is Unreachable
    assert server.url in caught.value.message
    assert len(server.seen) == requests


def test_a_query_that_breaks_once_succeeds() -> None:
    with serve(http_server.reset, data(version="1")) as server:
        assert query(server) == {"version": "1"}


def test_a_slow_answer_is_called_slow() -> None:
    with serve(http_server.silence) as server, pytest.raises(Unreachable) as caught:
        query(server, timeouts=IMPATIENT)
    assert "did not answer within 1 s" in caught.value.message
    assert "targets.prod.read_timeout" in caught.value.hint


@pytest.mark.parametrize(
    "answer",
    [
        http_server.silence,
        http_server.reset,
        http_server.hang_up,
        http_server.cut_short,
        page(502),
        page(503, Retry_After="0"),
        page(504),
    ],
    ids=["silence", "reset", "hang up", "cut short", "502", "503", "504"],
)
def test_a_mutation_is_sent_exactly_once_whatever_happens(answer: Answer) -> None:
    with serve(answer, data(launchRun={})) as server, pytest.raises(AnswerLost):
        mutate(server, **patience(answer))
    assert len(server.seen) == 1


@pytest.fixture
def closed() -> Iterator[str]:
    """Return the address of a port on which nothing listens."""
    holder, url = http_server.closed_port()
    with holder:
        yield url


@pytest.mark.parametrize("send", [query, mutate])
def test_a_refused_connection_carried_nothing(send: Any, closed: str) -> None:
    with pytest.raises(Unreachable, match="did not answer") as caught:
        send(closed)
    assert type(caught.value) is Unreachable
    assert "start it with" in caught.value.hint


def test_an_unknown_host_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Unreachable) as caught:
        mutate("http://dagster.example")
    assert type(caught.value) is Unreachable
    assert "check the address" in caught.value.hint


# TLS


def test_a_private_authority_is_trusted_through_ca_file(authority: Authority) -> None:
    with serve(data(version="1"), tls=authority.server_context()) as server:
        assert query(server, ca_file=str(authority.ca)) == {"version": "1"}


@pytest.mark.parametrize("send", [query, mutate])
def test_an_unknown_authority_is_refused_before_anything_is_sent(
    send: Any, authority: Authority
) -> None:
    with serve(data(version="1"), tls=authority.server_context()) as server:
        with pytest.raises(Unreachable, match="certificate") as caught:
            send(server, headers=SECRET)
        assert server.seen == []
    assert type(caught.value) is Unreachable
    assert "targets.prod.ca_file" in caught.value.hint


@pytest.mark.usefixtures("named")
def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    with (
        serve(data(version="1"), tls=authority.server_context()) as server,
        pytest.raises(Unreachable, match="certificate"),
    ):
        query(f"https://{OTHER}:{server.port}", ca_file=str(authority.ca))
    assert server.seen == []


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("host", ["127.0.0.1", NAMED])
@pytest.mark.usefixtures("named")
def test_ca_file_wins_over_the_environment(
    host: str,
    variable: str,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, str(make_authority(tmp_path).ca))
    with serve(data(version="1"), tls=authority.server_context()) as server:
        url = f"https://{host}:{server.port}"
        assert query(url, ca_file=str(authority.ca)) == {"version": "1"}


@pytest.mark.usefixtures("named")
def test_a_missing_bundle_in_the_environment_is_reported(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with (
        serve(data(version="1"), tls=authority.server_context()) as server,
        pytest.raises(SetupError, match=r"/nowhere/ca\.pem") as caught,
    ):
        query(f"https://{NAMED}:{server.port}")
    assert "REQUESTS_CA_BUNDLE" in caught.value.hint


@pytest.mark.parametrize("one_file", [True, False])
def test_a_client_certificate_is_sent(one_file: bool, authority: Authority, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(authority.client.read_bytes() + authority.client_key.read_bytes())
    certificate = str(both) if one_file else (str(authority.client), str(authority.client_key))
    with serve(data(version="1"), tls=authority.server_context(ask_for_client=True)) as server:
        assert query(server, ca_file=str(authority.ca), client_cert=certificate)


def test_a_server_that_wants_a_client_certificate_is_understood(authority: Authority) -> None:
    with (
        serve(data(version="1"), tls=authority.server_context(ask_for_client=True)) as server,
        pytest.raises(Unreachable) as caught,
    ):
        query(server, ca_file=str(authority.ca))
    assert server.seen == []
    assert caught.value.hint


def test_plain_http_on_an_https_address_is_understood() -> None:
    with serve(data(version="1")) as server, pytest.raises(Unreachable, match="TLS") as caught:
        query(server.url.replace("http:", "https:"))
    assert "plain http" in caught.value.hint


def test_tls_that_breaks_after_the_request_may_have_launched(authority: Authority) -> None:
    with (
        serve(http_server.broken_tls, tls=authority.server_context()) as server,
        pytest.raises(AnswerLost),
    ):
        mutate(server, ca_file=str(authority.ca))
    assert len(server.seen) == 1


# Unions


def test_an_unknown_member_is_never_a_success() -> None:
    with pytest.raises(UnexpectedAnswer, match="LaunchedLater"):
        member({"__typename": "LaunchedLater"}, "LaunchRunSuccess")
    with pytest.raises(UnexpectedAnswer, match="None"):
        member({"runId": "r1"}, "LaunchRunSuccess")


def test_errors_that_every_union_may_hold_have_an_exit_status() -> None:
    with pytest.raises(NotAllowed, match="Dagster refuses: no"):
        member({"__typename": "UnauthorizedError", "message": "no"}, "Run")
    with pytest.raises(UnexpectedAnswer, match="Dagster failed: boom"):
        member({"__typename": "PythonError", "message": "boom"}, "Run")
