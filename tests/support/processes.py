"""Child processes of tests: none outlives them, and /proc says which are left."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

TAG = "_DEV_TEST"
"""The variable in whose value the processes of one test carry their mark."""
_PR_SET_PDEATHSIG = 1


def die_with_tests() -> None:
    """Let the program that a child becomes hear SIGINT, and SIGTERM once this process is gone."""
    # Dagster started with SIGINT ignored (`invoke … &`) would ignore SIGTERM as well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        # If this process is killed, the server must not stay and hold the port.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def tagged(tag: str) -> list[str]:
    """Return the processes with this tag in their environment, read from /proc."""
    mark = f"{TAG}={tag}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(f"{folder.name} {line}")
    return found


def open_files(pid: int | str) -> set[str]:
    """Return what the process has open, such as `socket:[4711]`; nothing if it has ended."""
    found = set()
    # Processes end, and close files, while they are listed.
    with contextlib.suppress(OSError):
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(handle))
    return found


def listening() -> set[str]:
    """Return the inodes of all listening TCP sockets of this machine."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == "0A":
                    found.add(columns[9])
    return found
