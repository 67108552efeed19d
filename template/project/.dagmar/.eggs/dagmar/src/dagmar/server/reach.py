"""Checks whether a Dagster server can be reached, without an HTTP library.

A notebook that opens while no server runs must not pay for importing one.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from dagmar.errors import Unreachable
from dagmar.project.settings import Target

CONNECT_SECONDS = 1.0


def unreachable(target: Target) -> Unreachable:
    """Return the error for a target that does not answer."""
    start = "start it with `invoke dev`" if target.loopback else "check the address"
    hint = f"Is it running? If not, {start}."
    if target.dev:
        hint = f"`invoke dev` (process {target.dev}) is starting it: wait until it says Ready."
    return Unreachable(f"Dagster did not answer at {target.url}", hint)


def require_listening(target: Target) -> None:
    """Raise Unreachable if nothing listens at a target on this machine.

    Other targets are not checked: they may be behind a proxy.
    """
    if not target.loopback:
        return
    parts = urlsplit(target.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
    except OSError:
        raise unreachable(target) from None
