"""The settings of a project: `dagmar.yaml`, the environment, and the targets in them.

Precedence, highest first: flags, `DAGMAR_*` environment variables, the `DAGMAR_*` lines of
`.env`, `dagmar.yaml` in the project root, `~/.config/dagmar/config.yaml`, defaults.
`settings.schema.json` in this folder defines the settings; editors read the same file.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dagmar.errors import SettingsError, UsageError, did_you_mean
from dagmar.files import expanded
from dagmar.project import devfile
from dagmar.project.schema import ADDRESS, check, schema
from dagmar.project.sources import PREFIX, KeyPath, Layer, read_dotenv, read_yaml, variables_layer
from dagmar.project.tokens import CONTROL, TokenCommand, token_command

DEFAULT_URL = "http://127.0.0.1:3000"
PLUS_TOKEN = "DAGSTER_CLOUD_API_TOKEN"  # noqa: S105  the name of a variable
TOKENS = {"bearer": "Authorization: Bearer {}", "dagster-plus": "Dagster-Cloud-Api-Token: {}"}
"""The types of login that send a token, and the header that each sends."""
# No token looks like this, so it may be shown: a user may have written a token instead.
_PLAIN_NAME = re.compile(r"[A-Z]{2,20}(_[A-Z]{2,20}){1,5}")


@dataclass(frozen=True)
class Target:
    """One Dagster deployment: where it is, and how to log in. Secrets stay out of `repr`."""

    name: str
    url: str
    read_only: bool = False
    read_only_by: str = ""
    """The other target with this address that makes it read-only, or an empty text."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    login: TokenCommand | None = field(default=None, repr=False)
    ca_file: str | None = None
    client_cert: tuple[str, str] | str | None = None
    timeouts: tuple[float, float] = (5.0, 60.0)
    allow_http: bool = False
    dev: int | None = None  # the process of the `invoke dev` that runs it
    project: Path | None = None
    """The project whose code the server must have, if nobody named the server."""
    elsewhere: bool = False
    """Whether `url` is of another origin than the target's own, so that its login is left out."""

    @property
    def secret(self) -> bool:
        """Whether requests to this target carry credentials."""
        return bool(self.headers or self.basic or self.login)

    @property
    def loopback(self) -> bool:
        """Whether the target is on this machine."""
        return _is_loopback(urlsplit(self.url).hostname or "")


@dataclass(frozen=True)
class Settings:
    """Validated settings of the project in `root`, and where each was written."""

    root: Path
    layer: Layer = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)

    @property
    def notebooks(self) -> Path:
        """The folder of the paired notebooks."""
        return self.root / str(self.layer.values.get("notebooks", "notebooks"))

    @property
    def poll_seconds(self) -> float:
        """Seconds between two requests for the state of a run."""
        return float(self.layer.values.get("run", {}).get("poll_seconds", 0.5))

    @property
    def fail_on_checks(self) -> str:
        """Which failed asset checks fail `invoke run`: `error`, `warn` or `never`."""
        return str(self.layer.values.get("run", {}).get("fail_on_checks", "error"))

    @property
    def export(self) -> Mapping[str, Any]:
        """The settings of uploads, and of how long exports are kept."""
        return dict(self.layer.values.get("export", {}))

    @property
    def targets(self) -> dict[str, Any]:
        """The targets as they are written; `local` always exists."""
        return {"local": {}, **self.layer.values.get("targets", {})}

    @property
    def default_target(self) -> str:
        """The name of the target that is used if none is named."""
        return str(self.layer.values.get("target", "local"))

    def target(self, name: str = "", url: str = "") -> Target:
        """Return the target called `name` (default: the settings' own), with its secrets looked up.

        `url` overrides the address; one of another origin drops the target's credentials, and one
        of a read-only target is read-only.
        Raises UsageError for an unknown target or a malformed url, SettingsError for the same
        in the settings, and for a variable that is named there and not set.
        """
        flag = bool(name)
        name = name or self.default_target
        if name not in self.targets:
            meant = did_you_mean(name, self.targets)
            hint = f"The targets of this project: {', '.join(sorted(self.targets))}."
            if flag:
                raise UsageError(f"there is no target '{name}'{meant}", hint)
            place = self.layer.place(("target",))
            raise SettingsError(f"{place}: 'target' names no target of the settings{meant}", hint)
        spec = self.targets[name]
        named = spec.get("url") or self._running("dagster_url")
        address = _clean(named or DEFAULT_URL)
        if not _is_address(address):  # the schema's pattern does not catch all
            path = ("targets", name, "url")
            message = f"{self.layer.place(path)}: '{'.'.join(path)}' must be {ADDRESS}"
            raise SettingsError(message, f"For example: {DEFAULT_URL}")
        if url and not _is_address(url):
            raise UsageError(f"--url must be {ADDRESS}", f"For example: --url {DEFAULT_URL}")
        credentials = not url or _origin(url) == _origin(address)
        headers, basic = self._credentials(name, spec) if credentials else ({}, None)
        login = self._token_command(name, spec) if credentials else None
        address = _clean(url) if url else address
        read_only = spec.get("read_only", False)
        protector = "" if read_only or not url else self._protector(address)
        return Target(
            name=name,
            url=address,
            read_only=read_only or bool(protector),
            read_only_by=protector,
            headers=headers,
            basic=basic,
            login=login,
            client_cert=self._certificate(name, spec) if credentials else None,
            ca_file=self._authority(name, spec),
            timeouts=(spec.get("connect_timeout", 5.0), spec.get("read_timeout", 60.0)),
            allow_http=spec.get("allow_http", False),
            dev=self._dev(address),
            project=None if url or named else self.root,
            elsewhere=not credentials,
        )

    @property
    def reports_url(self) -> str:
        """Where a running `invoke dev` serves the exports, or an empty text."""
        return self._running("reports_url")

    def _protector(self, address: str) -> str:
        """Return the name of the read-only target with this address, or an empty text."""
        for name, spec in self.targets.items():
            if spec.get("read_only"):
                url = spec.get("url") or self._running("dagster_url") or DEFAULT_URL
                if _same_place(url, address):
                    return name
        return ""

    def _dev(self, address: str) -> int | None:
        running = devfile.read(self.root)
        return running.pid if running and _clean(running.dagster_url or "") == address else None

    def _running(self, name: str) -> str:
        """Return an address of `.dagmar/tmp/dev.json` if its process runs, or an empty text."""
        url = getattr(devfile.read(self.root), name, None)
        return url if url and _is_address(url) else ""

    def _credentials(
        self, name: str, spec: Mapping[str, Any]
    ) -> tuple[dict[str, str], tuple[str, str] | None]:
        at, auth = ("targets", name), spec.get("auth", {"type": "none"})
        headers = {
            header: self._variable(variable, (*path, "headers", header))
            for path, part in ((at, spec), ((*at, "auth"), auth))
            for header, variable in part.get("headers", {}).items()
        }

        def secret(key: str, default: str = "") -> str:
            return self._variable(auth.get(key, default), (*at, "auth", key))

        if auth["type"] == "basic":
            return headers, (auth.get("username") or secret("username_env"), secret("password_env"))
        if auth["type"] in TOKENS and not self._token_command(name, spec):
            header, _, value = TOKENS[auth["type"]].partition(": ")
            headers[header] = value.format(secret("token_env", PLUS_TOKEN))
        return headers, None

    def _token_command(self, name: str, spec: Mapping[str, Any]) -> TokenCommand | None:
        """Return what prints the target's token; None if a variable has it, which comes first."""
        auth = spec.get("auth", {})
        if "token_command" not in auth or self.environ.get(auth.get("token_env", "")):
            return None
        key = ("targets", name, "auth", "token_command")
        named = f"{self.layer.place(key)}: {'.'.join(key)}"
        command = tuple(auth["token_command"])
        return token_command(command, self.root, named, TOKENS[auth["type"]])

    def _variable(self, variable: str, path: tuple[str, ...]) -> str:
        value = self.environ.get(variable, "")
        if not value:
            hint, command = "Set the variable that is named there, or correct its name.", ""
            if _PLAIN_NAME.fullmatch(variable):
                hint, command = "", f"export {variable}=…"
            raise self._error(path, "names an environment variable that is not set", hint, command)
        if CONTROL.search(value):
            letter = "a line break or another control character"
            problem = f"names an environment variable whose value has {letter}"
            raise self._error(path, problem, "Set the variable again, without it.")
        return value

    def _error(self, path: KeyPath, problem: str, *remedy: str) -> SettingsError:
        return SettingsError(f"{self.layer.place(path)}: {'.'.join(path)} {problem}", *remedy)

    def _file(self, name: str, spec: Mapping[str, Any], key: str) -> str | None:
        if key not in spec:
            return None
        file = self.root / expanded(spec[key])
        if not file.is_file():
            hint = "A path is relative to the folder of the project."
            raise self._error(("targets", name, key), "names a file that does not exist", hint)
        return str(file)

    def _authority(self, name: str, spec: Mapping[str, Any]) -> str | None:
        if file := self._file(name, spec, "ca_file"):
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
            except OSError:
                problem = "names a file without certificates in PEM format"
                hint = "It starts with a line -----BEGIN CERTIFICATE-----, and you can read it."
                raise self._error(("targets", name, "ca_file"), problem, hint) from None
        return file

    def _certificate(self, name: str, spec: Mapping[str, Any]) -> tuple[str, str] | str | None:
        certificate = self._file(name, spec, "client_cert")
        key = self._file(name, spec, "client_key")
        if key and not certificate:
            hint = "Name the file of the certificate there."
            raise self._error(("targets", name, "client_key"), "needs client_cert too", hint)
        if certificate:
            try:
                # Without a password, openssl would ask for a passphrase on the terminal.
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_cert_chain(certificate, key, password="")
            except OSError:
                problem = "names a file without a certificate and its key in PEM format"
                hint = "The key, without a passphrase, is in the same file or in client_key."
                raise self._error(("targets", name, "client_cert"), problem, hint) from None
        return (certificate, key) if certificate and key else certificate


def load(
    root: Path, environ: Mapping[str, str] | None = None, home: Path | None = None
) -> Settings:
    """Read the settings. Raises SettingsError, which names file, line and key, never a value."""
    environ = os.environ if environ is None else environ
    # In a container without users, `~` is not expanded, and the file does not exist.
    home = home or Path(os.path.expanduser("~"))
    own = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "dagmar" / "config.yaml"
    files = read_yaml(root / "dagmar.yaml", "dagmar.yaml").over(read_yaml(own, str(own)))
    dotenv = read_dotenv(root / ".env")
    exported = {
        name: (value, f"environment variable {name}")
        for name, value in environ.items()
        if name.upper().startswith(PREFIX)
    }
    # A secret may be called DAGMAR_…; it is not a setting then.
    secrets = set(_variable_names(files.values))
    for name, (text, _) in (*dotenv.items(), *exported.items()):
        if name.upper().endswith("_ENV") or "__HEADERS__" in name.upper():
            secrets.add(text)
    layer = files
    for variables in (dotenv, exported):
        wanted = {name: entry for name, entry in sorted(variables.items()) if name not in secrets}
        layer = variables_layer(wanted, schema(), layer).over(layer)
    check(layer)
    values = {name: text for name, (text, _) in dotenv.items() if name in secrets}
    return Settings(root, layer, {**values, **environ})


def _variable_names(values: Any, inside: str = "") -> Iterator[str]:
    """Yield the environment variables that settings name: `…_env` keys and header values."""
    for key, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, str) and (str(key).endswith("_env") or inside == "headers"):
            yield value
        yield from _variable_names(value, str(key))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises ValueError for a port that is not a number
    except ValueError:
        return False
    more = parts.query or parts.fragment or "@" in parts.netloc or any(map(str.isspace, url))
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not more


def _clean(url: str) -> str:
    """Return the base address: no closing slash, no `/graphql`."""
    return url.rstrip("/").removesuffix("/graphql").rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _same_place(one: str, other: str) -> bool:
    """Whether two addresses may be of one server, by whatever name of this machine."""
    return _place(_clean(one)) == _place(_clean(other))


def _place(url: str) -> tuple[str, str, int, str]:
    scheme, host, port = _origin(url)
    host = host.rstrip(".")
    # `dagster dev -h 0.0.0.0` prints this as its address, and it leads to this machine.
    here = _is_loopback(host) or host in ("0.0.0.0", "::")  # noqa: S104  nothing is bound here
    return scheme, "localhost" if here else host, port, urlsplit(url).path


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname or "", port
