"""`invoke doctor` without a server (at most 3 s), and with one that hangs (at most 5 s).

The doctor's own verdict on the scratch project does not count.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pairs import Command, Count, Row, value

TASKS = "from dagmar.tasks import namespace\n\nns = namespace(__file__)\n"
NOTEBOOK = "import marimo\n\napp = marimo.App()\npair = dagmar.Pair(asset='orders')\n"


@contextlib.contextmanager
def hanging() -> Iterator[int]:
    """Listen on a port and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield int(server.getsockname()[1])


def rows(count: Count) -> Iterator[Row]:
    """Time 5 commands of each."""
    with tempfile.TemporaryDirectory() as scratch, hanging() as port, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        ports = {"without a server": (holder.getsockname()[1], 3.0), "hanging": (port, 5.0)}
        project = Path(scratch)
        (project / "tasks.py").write_text(TASKS, "utf-8")
        (project / "notebooks").mkdir()
        for number in range(100):
            (project / "notebooks" / f"n{number}.py").write_text(NOTEBOOK, "utf-8")
        subprocess.run(["git", "init", "-q"], cwd=project, check=True)
        for name, (number, limit) in ports.items():
            settings = f"targets: {{local: {{url: 'http://127.0.0.1:{number}'}}}}\n"
            (project / "dagmar.yaml").write_text(settings, "utf-8")
            doctor = [sys.executable, "-m", "invoke", "doctor", "--json"]
            call = Command(f"invoke doctor, {name}", doctor, project, statuses=(0, 3))
            call.seconds()  # warms files
            yield value(call.name, [call.seconds() for _ in range(count(5))], limit)
