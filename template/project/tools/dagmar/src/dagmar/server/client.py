"""One Dagster server, asked over GraphQL.

A query may be sent again; a mutation never is once a byte of it may have arrived.
Dagster answers 500 with a valid body when that body holds a `PythonError`, so bodies
are parsed before status codes are looked at. Redirects are never followed: credentials
must not reach another host.
"""

from __future__ import annotations

import functools
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    MaxRetryError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
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
from dagmar.server.reach import unreachable

if TYPE_CHECKING:
    from typing_extensions import Self

DOCUMENTS = Path(__file__).with_name("documents")
GATEWAY = (502, 503, 504)
STRANGE = "Is this address really a Dagster? Something may stand before it."


class _Retry(Retry):
    """Sends again after a broken connection, but not after a wait that was long enough."""

    def increment(self, *args: Any, **rest: Any) -> Self:
        if isinstance(error := rest.get("error"), ReadTimeoutError):
            raise error
        return super().increment(*args, **rest)


CONNECT_ONLY = Retry(
    total=None, connect=2, read=0, status=0, other=0, redirect=0, backoff_factor=0.2
)
READ_ONLY = _Retry(
    total=None, connect=2, read=2, status=2, other=0, redirect=0, backoff_factor=0.2,
    status_forcelist=GATEWAY, allowed_methods=None, raise_on_status=False,
    respect_retry_after_header=False,
)  # fmt: skip


class _Auth(requests.auth.AuthBase):
    """Adds the target's credentials. Its presence keeps `~/.netrc` out of it."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # http.client would write text as Latin-1, and fail on what is not.
        request.headers.update(
            {name: value.encode() for name, value in self._target.headers.items()}  # type: ignore[misc]
        )
        if self._target.basic:
            user, password = (part.encode() for part in self._target.basic)
            requests.auth.HTTPBasicAuth(user, password)(request)
        return request


class _Answer(dict[str, Any]):
    """A part of an answer; what is missing in it is the server's fault, not a bug here."""

    def __missing__(self, key: str) -> Any:
        raise UnexpectedAnswer(f"Dagster's answer lacks '{key}'", STRANGE)


class _Session(requests.Session):
    """A session that follows no redirect, and does not trip over a malformed one."""

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(())


class DagsterClient:
    """A session with one Dagster server; use it as a context manager."""

    def __init__(self, target: Target) -> None:
        """Open a session. Nothing is sent yet.

        Raises NotAllowed where credentials would cross a network in the clear.
        """
        plain = urlsplit(target.url).scheme == "http"
        if plain and target.secret and not target.loopback and not target.allow_http:
            raise NotAllowed(
                f"The target '{target.name}' has credentials, and {target.url} is plain http: "
                "they could be read on the way",
                f"Use https://, or set targets.{target.name}.allow_http to true in dagmar.yaml.",
            )
        self.target = target
        # As requests writes it: adapters are found by the text of the address.
        try:
            endpoint = requests.Request("POST", f"{target.url}/graphql").prepare().url
        except (requests.RequestException, HTTPError):
            raise Invalid(f"{target.url} is no address that can be asked") from None
        self._endpoint = endpoint or f"{target.url}/graphql"
        self._session = _Session()
        self._session.auth = _Auth(target)
        # A proxy from the environment must not take what stays on this machine.
        self._session.trust_env = not target.loopback
        # requests drops a fragment before it sends, and picks the adapter by the longest
        # prefix: the one mark that tells a mutation from a query, whose method is POST too.
        self._session.mount(self._endpoint, HTTPAdapter(max_retries=READ_ONLY))
        self._session.mount(f"{self._endpoint}#mutation", HTTPAdapter(max_retries=CONNECT_ONLY))

    def __enter__(self) -> DagsterClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def query(self, document: str, **variables: Any) -> dict[str, Any]:
        """Send the query in `documents/<document>.graphql` and return its `data`.

        Raises Unreachable, UnexpectedAnswer or NotAllowed.
        """
        try:
            response = self._post(self._endpoint, _operation(document, variables))
        except (requests.RequestException, HTTPError) as error:
            raise self._unreachable(error) from None
        return self._data(response)

    def mutate(self, document: str, **variables: Any) -> dict[str, Any]:
        """Send the mutation in `documents/<document>.graphql` once, and return its `data`.

        Raises NotAllowed for a read-only target, Unreachable when it surely did not arrive,
        and AnswerLost when it may have.
        """
        response = self._send_once(f"{self._endpoint}#mutation", _operation(document, variables))
        try:
            return self._data(response)
        except (NotAllowed, Unreachable) as error:
            # These are said instead of passing a request on, or of executing it; whatever else
            # stands between us and Dagster may have done so.
            if response.status_code in (400, 401, 403) or 300 <= response.status_code < 400:
                raise
            raise AnswerLost(error.message, error.hint) from None

    def report(self, path: str, body: Mapping[str, Any]) -> None:
        """Send a report to Dagster's REST interface once, such as `report_asset_observation/…`.

        Raises NotAllowed, Unreachable and AnswerLost as `mutate` does, Invalid for a refused one.
        """
        response = self._send_once(f"{self.target.url}/{path}", body)
        if response.status_code == 400:
            told = response.text.strip()[:300]
            raise Invalid(f"Dagster refuses the report: {told}")
        if response.status_code != 200 or _is_page(response):
            raise self._no_answer(response)

    def _send_once(self, url: str, body: Mapping[str, Any]) -> requests.Response:
        self.require_writable()
        try:
            return self._post(url, body)
        except (requests.RequestException, HTTPError) as error:
            if _never_sent(error):
                raise self._unreachable(error) from None
            raise AnswerLost(
                f"The connection to {self.target.url} broke before Dagster answered"
            ) from None

    def require_writable(self) -> None:
        """Raise NotAllowed where the settings make the target read-only."""
        if self.target.read_only:
            raise NotAllowed(
                f"The target '{self.target.name}' is read_only in the settings",
                f"Set targets.{self.target.name}.read_only to false, or use another --target.",
            )

    def _post(self, url: str, body: Mapping[str, Any]) -> requests.Response:
        # `verify` is given per request: REQUESTS_CA_BUNDLE would win over the session's.
        try:
            return self._session.post(
                url,
                json=body,
                headers={"Accept": "application/json"},
                timeout=self.target.timeouts,
                allow_redirects=False,
                verify=self.target.ca_file or True,
                cert=self.target.client_cert,
            )
        except requests.RequestException:
            raise
        except OSError as error:  # before anything is sent: a certificate file that is not there
            raise SetupError(
                f"The certificates for {self.target.url} cannot be read: {error}",
                "Check REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, and ca_file in dagmar.yaml.",
            ) from None

    def _data(self, response: requests.Response) -> dict[str, Any]:
        try:
            body = json.loads(response.content, object_hook=_Answer)
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict) and isinstance(body.get("data"), dict) and "errors" not in body:
            data: dict[str, Any] = body["data"]
            if None in data.values():
                raise UnexpectedAnswer(f"{self.target.url} answers with nothing in it", STRANGE)
            return data
        refused = response.status_code in (401, 403)
        if isinstance(body, dict) and isinstance(body.get("errors"), list) and not refused:
            raise self._refused(body["errors"])
        raise self._no_answer(response)

    def _refused(self, errors: list[Any]) -> UnexpectedAnswer:
        messages = [str(error.get("message")) for error in errors if isinstance(error, dict)]
        return UnexpectedAnswer(
            f"Dagster at {self.target.url} did not understand: {'; '.join(messages[:3])}",
            "dagmar needs Dagster 1.10 or newer on the server.",
        )

    def _no_answer(self, response: requests.Response) -> DagmarError:
        """Say what stands at the address instead of a Dagster that answers."""
        url, status = self.target.url, response.status_code
        auth = f"Check targets.{self.target.name}.auth in dagmar.yaml."
        if response.is_redirect or 300 <= status < 400:
            there, here = _place(f"{url}/graphql", response), urlsplit(f"{url}/graphql")
            shown = f"{there.scheme}://{there.netloc.rpartition('@')[2]}{there.path}"
            same = (there.hostname, there.path) == (here.hostname, here.path)
            if same and (here.scheme, there.scheme) == ("http", "https"):
                hint = f"Use {shown.removesuffix('/graphql')} as the address."
                return UnexpectedAnswer(f"{url} redirects to {shown}", hint)
            return NotAllowed(
                f"{url} redirects to {shown}: this looks like a login page",
                f"dagmar follows no redirect with credentials. {auth}",
            )
        if status == 401:
            return NotAllowed(f"{url} asks for a login, or refuses the one it got (401)", auth)
        if status == 403:
            return NotAllowed(f"{url} refuses access (403)", auth)
        if status in GATEWAY:
            return Unreachable(
                f"The proxy at {url} cannot reach Dagster ({status})",
                "Wait for Dagster to start, or look at the proxy's log.",
            )
        if _is_page(response) and status == 200:
            return NotAllowed(f"{url} answers with a web page: this looks like a login page", auth)
        return UnexpectedAnswer(
            f"{url} answers ({status}), but not as Dagster does",
            "Check the address and its path prefix; another program may be on this port.",
        )

    def _unreachable(self, error: Exception) -> Unreachable:
        url = self.target.url
        if isinstance(error, requests.exceptions.SSLError) and not _never_sent(error):
            return Unreachable(
                f"There is no TLS connection with {url}",
                "It may speak plain http, or ask for a client certificate: set "
                f"targets.{self.target.name}.client_cert in dagmar.yaml.",
            )
        if isinstance(error, requests.exceptions.SSLError):
            return Unreachable(
                f"The certificate of {url} is not accepted",
                f"For a private authority set targets.{self.target.name}.ca_file in dagmar.yaml.",
            )
        if isinstance(_reason(error), ReadTimeoutError):
            seconds = self.target.timeouts[1]
            return Unreachable(
                f"Dagster at {url} did not answer within {seconds:g} s",
                f"Try again, or raise targets.{self.target.name}.read_timeout in dagmar.yaml.",
            )
        return unreachable(self.target)


def _operation(document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    return {"operationName": document, "query": _text(document), "variables": variables}


@functools.cache
def _text(document: str) -> str:
    return (DOCUMENTS / f"{document}.graphql").read_text("utf-8")


def _never_sent(error: Exception) -> bool:
    """Whether a request surely did not leave: no connection was made."""
    reason = error if isinstance(error, HTTPError) else _reason(error)
    if isinstance(reason, SSLError):
        # Other TLS failures may come after the request was sent.
        return isinstance(reason.args[0], ssl.SSLCertVerificationError)
    return isinstance(reason, (NewConnectionError, ConnectTimeoutError, LocationParseError))


def _reason(error: Exception) -> object:
    """Return what urllib3 met, out of what requests wraps around it."""
    cause = error.args[0] if error.args else None
    return cause.reason if isinstance(cause, MaxRetryError) else cause


def _place(url: str, response: requests.Response) -> SplitResult:
    """Return where a redirect leads; to `url` itself where it is malformed."""
    try:
        return urlsplit(urljoin(url, response.headers.get("Location", "")))
    except ValueError:
        return urlsplit(url)


def _is_page(response: requests.Response) -> bool:
    kind = response.headers.get("Content-Type", "")
    return "html" in kind or response.content[:200].lstrip().lower().startswith(
        (b"<!doctype", b"<html")
    )


def member(
    answer: dict[str, Any],
    wanted: str,
    errors: Mapping[str, Callable[[Mapping[str, Any]], DagmarError]] | None = None,
) -> dict[str, Any]:
    """Return a union's answer when it is the `wanted` member; raise for every other one.

    `errors` makes an error of each member that the caller knows. A member that nobody
    knows is an UnexpectedAnswer: it must never pass for success.
    """
    name = answer.get("__typename") if isinstance(answer, dict) else None
    if name == wanted:
        return answer
    known = {
        "PythonError": _python_error,
        "UnauthorizedError": _unauthorized,
        "RunNotFoundError": _invalid,
        "InvalidPipelineRunsFilterError": _invalid,
        **(errors or {}),
    }
    if name in known:
        raise known[name](answer)
    raise UnexpectedAnswer(
        f"Dagster answered with {name}, which this version of dagmar does not know",
        "Update dagmar: commit, then type: invoke update",
    )


def _python_error(answer: Mapping[str, Any]) -> DagmarError:
    return UnexpectedAnswer(
        f"Dagster failed: {str(answer.get('message', '')).strip()}",
        "Its log tells more; a reload of the code location in the Dagster UI may help.",
    )


def _unauthorized(answer: Mapping[str, Any]) -> DagmarError:
    return NotAllowed(
        f"Dagster refuses: {str(answer.get('message', '')).strip()}",
        "The server may be read-only, or your user may lack the permission.",
    )


def _invalid(answer: Mapping[str, Any]) -> DagmarError:
    return Invalid(f"Dagster refuses: {str(answer.get('message', '')).strip()}")
