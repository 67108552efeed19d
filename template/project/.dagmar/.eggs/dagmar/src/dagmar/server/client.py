"""The GraphQL client of one Dagster server.

A query may be sent again; a mutation is not, once any of it may have been executed.
Dagster answers 500 with a valid body if the body has a `PythonError`, so bodies are
parsed before the status is checked. Redirects are never followed: credentials must
not reach another host. A server that nobody named has to show that it has this project's
code before anything of it is used.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions
from urllib3.util.retry import Retry

from dagmar.errors import (
    AnswerLost,
    DagmarError,
    Invalid,
    NotAllowed,
    SetupError,
    UnexpectedAnswer,
    Unreachable,
)
from dagmar.project.settings import Target
from dagmar.server import identity, shapes
from dagmar.server.reach import unreachable
from dagmar.server.shapes import NOT_DAGSTER

if TYPE_CHECKING:
    from typing_extensions import Self

DOCUMENTS = Path(__file__).with_name("documents")
GATEWAY = (502, 503, 504)
NO_PERMISSION = "The server may be read-only, or your user may lack the permission."
MORE = "The Dagster UI or the server's log may say more."
REFUSALS = (
    "BackfillNotFoundError", "InvalidPipelineRunsFilterError", "InvalidSubsetError",
    "ModeNotFoundError", "PartitionSetNotFoundError", "PipelineNotFoundError", "RunNotFoundError",
)  # fmt: skip
_OPTIONAL = re.compile(r"# if (\w+)\.(\w+): ")
_ONE_FIELD = re.compile(r"query (\w+)\((.*?)\) \{\n  (.*?)\n\}\n(.*)", re.DOTALL)


class _Retry(Retry):
    """Retries after a broken connection, but not after a read timeout."""

    def increment(self, *args: Any, **rest: Any) -> Self:
        if isinstance(error := rest.get("error"), exceptions.ReadTimeoutError):
            raise error
        return super().increment(*args, **rest)


ONCE = Retry(total=None, connect=2, read=0, status=0, other=0, redirect=0, backoff_factor=0.2)
AGAIN = _Retry(
    total=None, connect=2, read=2, status=2, other=0, redirect=0, backoff_factor=0.2,
    status_forcelist=GATEWAY, allowed_methods=None, raise_on_status=False,
    respect_retry_after_header=False,
)  # fmt: skip


def _authorize(
    target: Target, token: Mapping[str, str], request: requests.PreparedRequest
) -> requests.PreparedRequest:
    """Add the target's credentials; requests would read `~/.netrc` without this."""
    # http.client would encode text as Latin-1, and fail on other characters.
    headers: Any = {name: value.encode() for name, value in {**target.headers, **token}.items()}
    request.headers.update(headers)
    if target.basic:
        user, password = (part.encode() for part in target.basic)
        requests.auth.HTTPBasicAuth(user, password)(request)
    return request


class _Session(requests.Session):
    """A session that ignores redirects, even malformed ones."""

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(())


class DagsterClient:
    """A session with one Dagster server; use it as a context manager."""

    def __init__(self, target: Target) -> None:
        """Open a session. Nothing is sent yet.

        Raises NotAllowed if credentials would be sent in clear text, Invalid for a bad address.
        """
        plain = urlsplit(target.url).scheme == "http"
        if plain and target.secret and not target.loopback and not target.allow_http:
            raise NotAllowed(
                f"The target '{target.name}' has credentials, and {target.url} is plain http: "
                "they could be read on the way",
                f"Use https://, or set targets.{target.name}.allow_http to true in dagmar.yaml.",
            )
        self.target = target
        self.moment: float | None = None
        """When the last answer was sent, by the server's clock: seconds since 1970."""
        # Normalized by requests, which selects an adapter by the text of the address.
        try:
            request = requests.Request("POST", f"{target.url}/graphql").prepare()
        except (requests.RequestException, exceptions.HTTPError):
            message = f"{target.url} is not a valid http(s) address"
            raise Invalid(message, "For example: http://127.0.0.1:3000") from None
        self._endpoint = str(request.url)
        self._proven = target.project is None
        self._fields: dict[str, set[str]] = {}
        self._session = _Session()
        # A proxy from the environment must not get what stays on this machine.
        self._session.trust_env = not target.loopback
        # A query is a POST, too. The fragment marks a mutation: requests picks the adapter
        # with the longest matching prefix, and drops the fragment before it sends.
        self._session.mount(self._endpoint, HTTPAdapter(max_retries=AGAIN))
        self._session.mount(f"{self._endpoint}#mutation", HTTPAdapter(max_retries=ONCE))

    def __enter__(self) -> DagsterClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def query(self, document: str, **variables: Any) -> dict[str, Any]:
        """Send the query in `documents/<document>.graphql` and return its `data`.

        Raises Unreachable, UnexpectedAnswer or NotAllowed; WrongServer for another project's.
        """
        return self._ask(document, self._text(document), variables)

    def query_each(self, document: str, variables: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Send a query of one field in one request for each of these, and return its values.

        Raises what `query` does.
        """
        if not variables:
            return []
        given = {
            f"{name}_{i}": value for i, each in enumerate(variables) for name, value in each.items()
        }
        times = len(variables)
        data = self._ask(document, repeated(self._text(document), times), given, times)
        return [data[f"each_{number}"] for number in range(times)]

    def _ask(
        self, document: str, query: str, variables: Mapping[str, Any], times: int = 0
    ) -> dict[str, Any]:
        query = query if self._proven else with_question(query)
        operation = {"operationName": document, "query": query, "variables": variables}
        data = shapes.read(document, self._data(self._post(self._endpoint, operation)), times)
        if not self._proven:
            workspace = member(data.pop(identity.FIELD), "Workspace")
            process = data.pop(identity.PROCESS, None) or {}
            identity.require_project(self.target, workspace["locationEntries"], process)
            self._proven = True
        return data

    def mutate(self, document: str, **variables: Any) -> dict[str, Any]:
        """Send the mutation in `documents/<document>.graphql` once, and return its `data`.

        Raises NotAllowed for a read-only target, WrongServer for another project's, Unreachable
        if it certainly did not arrive, and AnswerLost if it may have.
        """
        self._require_proven()
        operation = {"operationName": document, "query": _text(document), "variables": variables}
        response = self._post(f"{self._endpoint}#mutation", operation, once=True)
        try:
            return shapes.read(document, self._data(response))
        except (NotAllowed, Unreachable) as error:
            # With these statuses nothing was forwarded or executed; with any other, a proxy
            # may have forwarded the request.
            if response.status_code in (400, 401, 403) or 300 <= response.status_code < 400:
                raise
            raise AnswerLost(error.message, error.hint, error.command) from None

    def report(self, path: str, body: Mapping[str, Any]) -> None:
        """Send a report to Dagster's REST interface once, such as `report_asset_observation/…`.

        Raises what `mutate` does, and Invalid for a report that Dagster refuses.
        """
        self._require_proven()
        response = self._post(f"{self.target.url}/{path}", body, once=True)
        if response.status_code == 400:
            raise Invalid(f"Dagster refuses the report: {response.text.strip()[:300]}", MORE)
        if response.status_code != 200 or _is_page(response):
            raise self._no_answer(response)

    def require_writable(self) -> None:
        """Raise NotAllowed if the target is read-only in the settings."""
        if self.target.read_only:
            name = self.target.read_only_by or self.target.name
            raise NotAllowed(
                f"The target '{name}' is read_only in the settings",
                f"Use another --target. targets.{name}.read_only keeps this one from changes.",
            )

    def _text(self, document: str) -> str:
        """Return the text of a document with the optional fields that this server has."""
        return with_optional(_text(document), self._has)

    def _has(self, kind: str, field: str) -> bool:
        if kind not in self._fields:
            answer = self._ask("TypeFields", _text("TypeFields"), {"name": kind})["__type"]
            self._fields[kind] = {each["name"] for each in answer["fields"]}
        return field in self._fields[kind]

    def _require_proven(self) -> None:
        """Make sure that a change is allowed, and that the server is the right one."""
        self.require_writable()
        if not self._proven:
            self.query("Workspace")

    def _post(self, url: str, body: Mapping[str, Any], once: bool = False) -> requests.Response:
        login = self.target.login
        token = login.header() if login else {}
        response = self._post_with(token, url, body, once)
        if login and response.status_code == 401:
            # The token has expired. With 401 nothing was executed, so nothing happens twice.
            renewed = login.header(refused=token)
            if renewed != token:
                response = self._post_with(renewed, url, body, once)
        return response

    def _post_with(
        self, token: Mapping[str, str], url: str, body: Mapping[str, Any], once: bool
    ) -> requests.Response:
        # `verify` is given per request: REQUESTS_CA_BUNDLE would win over the session's.
        try:
            response = self._session.post(
                url,
                json=body,
                headers={"Accept": "application/json"},
                auth=functools.partial(_authorize, self.target, token),
                timeout=self.target.timeouts,
                allow_redirects=False,
                verify=self.target.ca_file or True,
                cert=self.target.client_cert,
            )
        except (requests.RequestException, exceptions.HTTPError) as error:
            if once and not _never_sent(error):
                message = f"The connection to {self.target.url} broke before Dagster answered"
                hint = "It may have been carried out: look in the Dagster UI before you try again."
                raise AnswerLost(message, hint) from None
            raise self._unreachable(error) from None
        except OSError as error:  # before anything is sent: a certificate file is missing
            raise SetupError(
                f"The certificates for {self.target.url} cannot be read: {error}",
                "Check REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, and ca_file in dagmar.yaml.",
            ) from None
        with contextlib.suppress(ValueError, TypeError):  # no date, or a malformed one
            self.moment = parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
        return response

    def _data(self, response: requests.Response) -> dict[str, Any]:
        try:
            body = json.loads(response.content)
            if b"\\ud" in response.content.lower():  # half a character cannot be sent or printed
                body = json.loads(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict) and isinstance(body.get("data"), dict) and "errors" not in body:
            data: dict[str, Any] = body["data"]
            if None in data.values():
                raise UnexpectedAnswer(f"{self.target.url} returned an empty answer", NOT_DAGSTER)
            return data
        refused = response.status_code in (401, 403)
        if isinstance(body, dict) and isinstance(body.get("errors"), list) and not refused:
            texts = [str(each.get("message")) for each in body["errors"] if isinstance(each, dict)]
            raise UnexpectedAnswer(
                f"Dagster at {self.target.url} did not understand: {'; '.join(texts[:3])}",
                "dagmar needs Dagster 1.10 or newer on the server.",
            )
        raise self._no_answer(response)

    def _no_answer(self, response: requests.Response) -> DagmarError:
        """Return the error for an answer that does not come from Dagster."""
        url, status = self.target.url, response.status_code
        auth = self._login("Check", "auth")
        if response.is_redirect or 300 <= status < 400:
            return self._redirected(response, auth)
        if status == 401:
            return NotAllowed(f"{url} needs a login, or refuses the one it got (401)", auth)
        if status == 403:
            return NotAllowed(f"{url} refuses access (403)", auth)
        if status in GATEWAY:
            return Unreachable(
                f"The proxy at {url} cannot reach Dagster ({status})",
                "Wait for Dagster to start, or read the proxy's log.",
            )
        if _is_page(response) and status == 200:
            return NotAllowed(f"{url} answers with a web page: this looks like a login page", auth)
        return UnexpectedAnswer(
            f"{url} answers ({status}), but not as Dagster does",
            "Check the address and its path prefix; another program may be using this port.",
        )

    def _redirected(self, response: requests.Response, auth: str) -> DagmarError:
        url = self.target.url
        old = new = urlsplit(f"{url}/graphql")
        with contextlib.suppress(ValueError):  # a malformed address
            new = urlsplit(urljoin(f"{url}/graphql", response.headers.get("Location", "")))
        shown = f"{new.scheme}://{new.netloc.rpartition('@')[2]}{new.path}"
        same = (new.hostname, new.path) == (old.hostname, old.path)
        if same and (old.scheme, new.scheme) == ("http", "https"):
            hint = f"Use {shown.removesuffix('/graphql')} as the address."
            return UnexpectedAnswer(f"{url} redirects to {shown}", hint)
        return NotAllowed(
            f"{url} redirects to {shown}: this looks like a login page",
            f"dagmar does not follow redirects, which could get credentials. {auth}",
        )

    def _setting(self, key: str) -> str:
        return f"targets.{self.target.name}.{key} in dagmar.yaml"

    def _login(self, verb: str, key: str) -> str:
        """Return what to do about a setting that is sent to the target's own origin alone."""
        if self.target.elsewhere:
            return "Make this address a target in dagmar.yaml, with its own login."
        return f"{verb} {self._setting(key)}."

    def _unreachable(self, error: Exception) -> Unreachable:
        url = self.target.url
        if isinstance(error, requests.exceptions.SSLError):
            if _never_sent(error):
                return Unreachable(
                    f"The certificate of {url} is not accepted",
                    f"For a private authority set {self._setting('ca_file')}.",
                )
            return Unreachable(
                f"There is no TLS connection with {url}",
                "It may speak plain http, or need a client certificate. "
                f"{self._login('Set', 'client_cert')}",
            )
        if isinstance(_reason(error), exceptions.ReadTimeoutError):
            seconds = self.target.timeouts[1]
            return Unreachable(
                f"Dagster at {url} did not answer within {seconds:g} s",
                f"Try again, or raise {self._setting('read_timeout')}.",
            )
        return unreachable(self.target)


def with_question(query: str) -> str:
    """Return a query that asks which code the server has, too."""
    return query.replace("{", "{" + identity.QUESTION, 1)


def with_optional(query: str, has: Callable[[str, str], bool]) -> str:
    """Return a query with those of its optional fields that the server has.

    They are comments, so that the document fits the oldest Dagster: `# if Type.field: selection`.
    """
    return _OPTIONAL.sub(lambda found: "" if has(found[1], found[2]) else found[0], query)


def repeated(query: str, times: int) -> str:
    """Return a query of one field that asks for it with several sets of variables.

    The variable `$a` becomes `$a_0`, `$a_1`, …, and the fields are called `each_0`, `each_1`, ….
    """
    found = _ONE_FIELD.fullmatch(query)
    assert found, query
    name, declared, field, fragments = found.groups()

    def numbered(text: str, number: int) -> str:
        return re.sub(r"\$(\w+)", rf"$\1_{number}", text)

    variables = ", ".join(numbered(declared, number) for number in range(times))
    fields = "\n  ".join(f"each_{number}: {numbered(field, number)}" for number in range(times))
    return f"query {name}({variables}) {{\n  {fields}\n}}\n{fragments}"


@functools.cache
def _text(document: str) -> str:
    return (DOCUMENTS / f"{document}.graphql").read_text("utf-8")


def _never_sent(error: Exception) -> bool:
    """Whether a request was certainly not sent: there was no connection."""
    reason = error if isinstance(error, exceptions.HTTPError) else _reason(error)
    if isinstance(reason, exceptions.SSLError):
        # Other TLS failures may come after the request was sent.
        return isinstance(reason.args[0], ssl.SSLCertVerificationError)
    return isinstance(
        reason,
        (
            exceptions.NewConnectionError,
            exceptions.ConnectTimeoutError,
            exceptions.LocationParseError,
        ),
    )


def _reason(error: Exception) -> object:
    """Return the error of urllib3 that requests wraps."""
    cause = error.args[0] if error.args else None
    return cause.reason if isinstance(cause, exceptions.MaxRetryError) else cause


def _is_page(response: requests.Response) -> bool:
    kind = response.headers.get("Content-Type", "")
    start = response.content[:200].lstrip().lower()
    return "html" in kind or start.startswith((b"<!doctype", b"<html"))


def not_permitted(action: str, reason: str | None = None) -> NotAllowed:
    """Return the error for what the server does not allow this user to do."""
    because = f": {reason}" if reason else ""
    return NotAllowed(f"the server does not allow you to {action}{because}", NO_PERMISSION)


def member(
    answer: dict[str, Any],
    wanted: str,
    errors: Mapping[str, Callable[[Mapping[str, Any]], DagmarError]] | None = None,
) -> dict[str, Any]:
    """Return a union's answer if it is the `wanted` member; raise for any other.

    `errors` returns the error for a member that the caller knows. An unknown member is an
    UnexpectedAnswer: it must never pass for success.
    """
    fields = answer if isinstance(answer, dict) else {}
    name, message = str(fields.get("__typename")), str(fields.get("message", "")).strip()
    if name == wanted:
        return answer
    if errors and name in errors:
        raise errors[name](answer)
    if name in REFUSALS:
        raise Invalid(f"Dagster refuses: {message}", MORE)
    if name == "UnauthorizedError":
        raise NotAllowed(f"Dagster refuses: {message}", NO_PERMISSION)
    if name == "PythonError":
        raise UnexpectedAnswer(
            f"Dagster failed: {message}",
            "See its log; reloading the code location in the Dagster UI may help.",
        )
    raise UnexpectedAnswer(
        f"Dagster answered with {name}, which this version of dagmar does not know",
        "Update dagmar: commit, then type:",
        command="invoke update",
    )
