"""Ports on this machine's loopback: which are free, and who listens."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Container

from dagmar.errors import SetupError

HOST = "127.0.0.1"
NEIGHBOURS = 50


def free_port(wanted: int | None = None, avoid: Container[int] = ()) -> int:
    """Return `wanted` or the next port above it where nobody listens, else one the system gives.

    Raises SetupError where there is none at all.
    """
    candidates = range(wanted, min(wanted + NEIGHBOURS, 65536)) if wanted else ()
    for port in (*candidates, 0, 0, 0, 0):
        if port in avoid:
            continue
        found = _bindable(port)
        if found is not None and found not in avoid:
            return found
    raise SetupError(f"no free port on {HOST}")


def held(port: int) -> bool:
    """Whether somebody has the port, listening there or not."""
    return _bindable(port) is None


def _bindable(port: int) -> int | None:
    """Return the number of a port that can be had, one that the system gives for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((HOST, port))
            found = int(probe.getsockname()[1])
            # Elsewhere than on Linux one may bind beside a program that listens everywhere.
            if not taken(found):
                return found
    return None


def taken(port: int) -> bool:
    """Whether somebody answers on the port."""
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True


def refused(port: int) -> bool:
    """Whether nobody listens on the port; one that is too busy to answer does."""
    try:
        socket.create_connection((HOST, port), 1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
