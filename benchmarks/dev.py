"""`invoke dev`: how soon it says "ready", next to `dg dev` and `marimo edit` alone; its cost."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from dagmar.dev.ports import HOST, free_port
from pairs import Count, Row, value

SAID_LIMIT, CPU_LIMIT, PSS_LIMIT, TOGETHER_LIMIT = 0.5, 1.0, 60.0, 1.0
FILES = {
    "tasks.py": "from dagmar.tasks import namespace\n\nns = namespace(__file__)\n",
    "dagmar.yaml": "",
    "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\n\n[tool.dg]\n'
    'directory_type = "project"\n\n[tool.dg.project]\nroot_module = "shop"\n',
    "src/shop/__init__.py": "",
    "src/shop/definitions.py": "import dagster as dg\n\n\n@dg.asset\ndef orders():\n    return 1\n"
    "\n\ndefs = dg.Definitions(assets=[orders])\n",
    "notebooks/orders.py": "import marimo\n\napp = marimo.App()\n",
    ".dagmar/dagster_home/dagster.yaml": "telemetry: {enabled: false}\n",
}
GOOD = {"dagster": "/server_info", "marimo": "/health"}


class Look(threading.Thread):
    """Notes when a server first gives a good answer: looks every 20 ms."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.answered = 0.0

    def run(self) -> None:
        """Look."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while not self.answered:
            try:
                with opener.open(self.url, timeout=5) as answer:
                    json.loads(answer.read())
                self.answered = time.monotonic()
            except (OSError, ValueError):
                time.sleep(0.02)


def start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start a program in the project."""
    home = folder / ".dagmar/dagster_home"
    return subprocess.Popen(
        arguments,
        cwd=folder,
        env={**os.environ, "DAGSTER_HOME": str(home), "MARIMO_SKIP_UPDATE_CHECK": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C, and kill what does not listen."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def alone(arguments: Callable[[int], list[str]], path: str, folder: Path) -> float:
    """Return the seconds from the start of one server to its first good answer."""
    port = free_port()
    began = time.monotonic()
    process = start(arguments(port), folder)
    look = Look(f"http://{HOST}:{port}{path}")
    threading.Thread(target=process.communicate, daemon=True).start()
    look.start()
    look.join(300)
    stop(process)
    return look.answered - began


def together(folder: Path, idle: float) -> tuple[float, float, float, float]:
    """Run `invoke dev` once.

    Returns the seconds to the later server's first good answer, from there to "ready", and,
    if it is left idle for some seconds, percent of a core and MiB (PSS) of supervisor and guard.
    """
    ports = {"dagster": (port := free_port()), "marimo": free_port(avoid={port})}
    flags = [part for name, port in ports.items() for part in (f"--{name}-port", str(port))]
    began = time.monotonic()
    dev = start([sys.executable, "-m", "invoke", "dev", "--json", "--no-open", *flags], folder)
    looks = [Look(f"http://{HOST}:{port}{GOOD[name]}") for name, port in ports.items()]
    for look in looks:
        look.start()
    assert dev.stdout
    event: dict[str, Any] = {}
    for line in dev.stdout:
        event = json.loads(line)
        if event["event"] == "ready":
            break
    said = time.monotonic()
    if event.get("event") != "ready":
        raise SystemExit(f"invoke dev failed: {event}")
    for look in looks:
        look.join(5)
    later = max(look.answered for look in looks)
    cpu, pss = cost(dev.pid, idle) if idle else (0.0, 0.0)
    stop(dev)
    return later - began, said - later, cpu, pss


def cost(pid: int, seconds: float) -> tuple[float, float]:
    """Return percent of a core and MiB (PSS) of the supervisor and its guard, idle."""
    supervisor = psutil.Process(pid)
    guards = [one for one in supervisor.children() if "dagmar.dev.guard" in one.cmdline()]
    if len(guards) != 1:
        raise SystemExit(f"one guard was expected: {guards}")
    both = [supervisor, *guards]
    time.sleep(5)  # what it does right after "ready" is not idling

    def used() -> float:
        return sum(sum(one.cpu_times()[:2]) for one in both)

    before, began = used(), time.monotonic()
    time.sleep(seconds)
    share = 100 * (used() - before) / (time.monotonic() - began)
    return share, sum(one.memory_full_info().pss for one in both) / 2**20


def rows(count: Count) -> Iterator[Row]:
    """Time 3 rounds: Dagster alone, marimo alone, both."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "shop")
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
        program = str(Path(sys.executable).with_name("dg"))
        token = folder / "token"
        token.write_text("benchmark")

        def dg(port: int) -> list[str]:
            return [program, "dev", "--host", HOST, "--port", str(port)]

        def marimo(port: int) -> list[str]:
            edit = [sys.executable, "-m", "marimo", "edit", "notebooks", "--headless"]
            return [*edit, "--port", str(port), "--token-password-file", str(token)]

        together(folder, idle=0)  # warms files and creates the instance
        rounds = [
            (
                alone(dg, GOOD["dagster"], folder),
                alone(marimo, GOOD["marimo"], folder),
                *together(folder, idle=count(20, 5) if turn == 0 else 0),
            )
            for turn in range(count(3))
        ]
    dagster, edit, later, said, cpu, pss = zip(*rounds, strict=True)
    # Both wait for the processor, so the later one is compared with both, one after the other.
    ratios = [both / (one + other) for both, one, other in zip(later, dagster, edit, strict=True)]
    yield replace(
        value("invoke dev, both ready", ratios, TOGETHER_LIMIT, "×"),
        peer="dg dev, then marimo edit",
        ours_seconds=statistics.median(later),
        peer_seconds=statistics.median(map(sum, zip(dagster, edit, strict=True))),
    )
    yield value('invoke dev, "ready" after the later answer, at worst', said, SAID_LIMIT, "s", max)
    yield value("invoke dev, idle", cpu[:1], CPU_LIMIT, "% of a core")
    yield value("invoke dev, idle", pss[:1], PSS_LIMIT, "MiB")
