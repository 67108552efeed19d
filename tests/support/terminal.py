"""A shell in which the commands of a page are typed, by somebody who has uv and git alone."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from support.processes import die_with_tests

BLOCK = re.compile(r"^```(?:bash|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections(page: Path) -> dict[str, list[str]]:
    """Return the blocks of commands under each heading that has some."""
    parts = re.split(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)[1:]
    found = {title: BLOCK.findall(text) for title, text in zip(parts[::2], parts[1::2])}  # noqa: B905
    return {title: blocks for title, blocks in found.items() if blocks}


@dataclass
class Terminal:
    """A shell in a folder, where blocks of a page are typed one after the other."""

    folder: Path
    environ: dict[str, str]
    words: dict[str, str] = field(default_factory=dict)
    """What a page says → what it is here."""

    def type(self, block: str) -> subprocess.CompletedProcess[str]:
        """Type a block; the next one starts in the folder where this one ends."""
        # Nobody is there to answer questions.
        text = re.sub(r"copier (copy|update)(?!.* --defaults)", r"copier \1 --defaults", block)
        for said, meant in self.words.items():
            text = text.replace(said, meant)
        where = self.folder / ".where"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f'{text}\npwd > "$WHERE"'],
            cwd=self.folder,
            env={**self.environ, "WHERE": str(where)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        self.folder = Path(where.read_text("utf-8").strip())
        where.unlink()
        return done


@contextlib.contextmanager
def running(terminal: Terminal, block: str, log: Path) -> Iterator[str]:
    """Keep `invoke dev` running, on its own ports; yield the address of its Dagster."""
    with socket.socket() as probe, socket.socket() as another:
        probe.bind(("127.0.0.1", 0))
        another.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        ports = f"--dagster-port {port} --marimo-port {another.getsockname()[1]}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", f"{block.strip()} --no-open {ports}"],
            cwd=terminal.folder,
            env=terminal.environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_tests,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process, log)
        yield url
    finally:
        stop(process)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/server_info", timeout=5)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until Dagster answers."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/server_info", timeout=5).ok:
                return
        time.sleep(0.2)
    pytest.fail(f"Dagster is not ready:\n{log.read_text('utf-8', 'replace')[-3000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Press Ctrl-C; what does not listen is killed, and the test fails."""
    for number, seconds in ((signal.SIGINT, 30), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                assert number == signal.SIGINT, "Dagster did not stop at Ctrl-C"
                return
            time.sleep(0.1)
    pytest.fail("Dagster cannot be stopped")
