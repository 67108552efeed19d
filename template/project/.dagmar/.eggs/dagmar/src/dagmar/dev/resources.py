"""What the servers of `invoke dev` use: processor and memory of their processes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import psutil

KERNEL = "from multiprocessing.spawn import spawn_main"
"""How marimo starts the kernel of each notebook that is open."""


@dataclass
class Resources:
    """Looks at a server's processes; each look measures the processor since the one before."""

    _known: dict[int, psutil.Process] = field(default_factory=dict)

    def read(self, pids: dict[str, int]) -> dict[str, dict[str, Any]]:
        """Return what each server uses, with all processes below its first one.

        `cpu_percent` is of one core; `memory_mb` (10^6 bytes) counts what processes share in each.
        """
        used, seen = {}, dict[int, psutil.Process]()
        for name, pid in pids.items():
            cpu = memory = kernels = count = 0.0
            for process in self._below(pid):
                with contextlib.suppress(psutil.Error):
                    known = self._known.get(process.pid)
                    seen[process.pid] = process = known if known == process else process
                    cpu += process.cpu_percent()
                    memory += process.memory_info().rss
                    # What a notebook itself starts is not below the server, but below its kernel.
                    if process.ppid() == pid:
                        kernels += any(KERNEL in word for word in process.cmdline())
                    count += 1
            used[name] = {
                "cpu_percent": round(cpu, 1),
                "memory_mb": round(memory / 1e6, 1),
                "processes": int(count),
                "kernels": int(kernels),
            }
        self._known = seen
        return used

    def _below(self, pid: int) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            first = psutil.Process(pid)
            return [first, *first.children(recursive=True)]
        return []
