"""The guard of an `invoke dev`: a process that ends all others when the supervisor is gone.

It reads a pipe whose other end only the supervisor holds. However the supervisor ends,
SIGKILL included, the pipe closes; then every process of this `invoke dev` is killed, and its
files are removed. It is called with the mark, the project, the supervisor's process id, and
the files and folders to remove; lines `+SID` and `-SID` on the pipe name sessions.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def watch(arguments: list[str]) -> int:
    """Wait for the end of the supervisor, then clean up. Returns 1 if a process stays."""
    # Imported before it waits: by then a `git switch`, or an update, may have removed the files.
    import shutil  # noqa: F401

    import psutil  # noqa: F401

    import dagmar.dev.processes
    import dagmar.project.devfile  # noqa: F401

    mark, root, supervisor, *files = arguments
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sessions: set[int] = set()
    # Only whole lines: the last one is cut if the supervisor was killed while writing it.
    for line in _lines(0):
        number = int(line[1:])
        (sessions.add if line[:1] == b"+" else sessions.discard)(number)
    return clean_up(mark, Path(root), int(supervisor), [Path(file) for file in files], sessions)


def clean_up(mark: str, root: Path, supervisor: int, files: list[Path], sessions: set[int]) -> int:
    """Kill what has the mark, remove the files and folders. Returns 1 if a process stays."""
    import shutil

    from dagmar.dev.processes import end_all
    from dagmar.project import devfile

    left = end_all(mark, sessions)
    for file in files:
        if file.is_dir():
            shutil.rmtree(file, ignore_errors=True)
        else:
            file.unlink(missing_ok=True)
    devfile.remove(root, supervisor)
    return int(bool(left))


def _lines(handle: int) -> list[bytes]:
    """Read whole lines until the pipe closes."""
    text = b""
    while part := os.read(handle, 4096):
        text += part
    return text.split(b"\n")[:-1]


if __name__ == "__main__":
    raise SystemExit(watch(sys.argv[1:]))
