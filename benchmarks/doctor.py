"""`invoke doctor` without a server (at most 3 s), and with one that hangs (at most 5 s).

Medians of whole commands. Run alone on the machine: uv run python benchmarks/doctor.py
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

COUNT = 7
TASKS = "from dagmar.tasks import namespace\n\nns = namespace(__file__)\n"
NOTEBOOK = "import marimo\n\napp = marimo.App()\npair = dagmar.Pair(asset='orders')\n"


def seconds(project: Path) -> list[float]:
    """Time whole commands; the doctor's own verdict on this scratch project does not count."""
    times = []
    for _ in range(COUNT + 1):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "invoke", "doctor", "--json"], cwd=project, capture_output=True
        )
        times.append(time.perf_counter() - started)
        if done.returncode not in (0, 3) or not done.stdout.startswith(b'{"ok"'):
            raise SystemExit(f"invoke doctor failed:\n{done.stderr.decode()}")
    return times[1:]


@contextlib.contextmanager
def hanging() -> Iterator[int]:
    """Listen on a port and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield int(server.getsockname()[1])


def main() -> int:
    """Measure both, and return 1 if a limit is missed."""
    missed = 0
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
            times = seconds(project)
            median, worst = statistics.median(times), max(times)
            verdict = "kept" if median <= limit else "MISSED"
            missed += median > limit
            print(
                f"invoke doctor, {name:18} median {median:.2f} s, longest {worst:.2f} s, "
                f"at most {limit:g} s: {verdict}",
                flush=True,
            )
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
