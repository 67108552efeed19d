"""Ports on this machine's loopback: which are free, and who listens."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Container

from dagmar.errors import SetupError

HOST = "127.0.0.1"
NEIGHBOURS = 50


def free_port(wanted: int | None = None, avoid: Container[int] = ()) -> int:
    """Return `wanted`, or the next free port above it, or else one that the system chooses.

    Raises SetupError if there is none at all.
    """
    candidates = range(wanted, min(wanted + NEIGHBOURS, 65536)) if wanted else ()
    for port in (*candidates, 0, 0, 0, 0):
        if port in avoid:
            continue
        free = bindable(port)
        if free is not None and free not in avoid:
            return free
    hint = "Close programs that have many connections open: they use up the ports."
    raise SetupError(f"no free port on {HOST}", hint)


def bindable(port: int) -> int | None:
    """Return the port if it can be bound (for 0, one that the system chooses), or None."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((HOST, port))
            bound = int(probe.getsockname()[1])
            # Only Linux refuses to bind a port on which a program listens on all addresses.
            if not taken(bound):
                return bound
    return None


def taken(port: int) -> bool:
    """Whether a program answers on the port."""
    return _connect(port) == 0


def refused(port: int) -> bool:
    """Whether no program listens on the port; one that is too busy to answer does listen."""
    return _connect(port) == errno.ECONNREFUSED


def _connect(port: int) -> int:
    """Return 0 for a connection, or else the number of the error."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((HOST, port))
