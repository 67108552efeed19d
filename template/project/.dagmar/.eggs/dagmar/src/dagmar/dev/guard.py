"""The guard of an `invoke dev`: a process that ends all others when the supervisor is gone.

It reads a pipe whose other end only the supervisor holds. However the supervisor ends,
SIGKILL included, the pipe closes; then every process of this `invoke dev` is killed, and its
files are removed. It is called with the mark, the project, the supervisor's process id, and
the files and folders to remove; lines `+SID` and `-SID` on the pipe name sessions.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

# All is imported before it waits: then a `git switch`, or an update, may remove the files.
from dagmar.dev.processes import end_all
from dagmar.project import devfile


def watch(arguments: list[str]) -> int:
    """Wait for the end of the supervisor, then clean up. Returns 1 if a process stays."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sessions: set[int] = set()
    # Only whole lines: the last one is cut if the supervisor was killed while writing it.
    for line in sys.stdin.buffer.read().split(b"\n")[:-1]:
        number = int(line[1:])
        (sessions.add if line[:1] == b"+" else sessions.discard)(number)
    return clean_up(arguments, sessions)


def clean_up(arguments: list[str], sessions: set[int]) -> int:
    """Kill what has the mark, remove the files and folders. Returns 1 if a process stays."""
    mark, root, supervisor, *files = arguments
    left = end_all(mark, sessions)
    for file in map(Path, files):
        if file.is_dir():
            shutil.rmtree(file, ignore_errors=True)
        else:
            file.unlink(missing_ok=True)
    devfile.remove(Path(root), int(supervisor))
    return int(bool(left))


if __name__ == "__main__":
    raise SystemExit(watch(sys.argv[1:]))
