"""What a run in this process uses: processor time, and the most memory at one time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from typing_extensions import Self

EVERY_SECONDS = 0.1


class Usage:
    """A context that measures this process, its other threads included.

    `cpu` is in seconds, with child processes that have ended; `memory` is the peak of the resident
    memory in bytes, looked at every 0.1 s.
    """

    cpu = 0.0
    memory = 0

    def __enter__(self) -> Self:
        self._process = psutil.Process()
        self._over = threading.Event()
        self._began = self._spent()
        self._thread = threading.Thread(target=self._look, name="dagmar-usage", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()
        self.cpu = self._spent() - self._began

    def _look(self) -> None:
        while True:
            self.memory = max(self.memory, self._process.memory_info().rss)
            if self._over.wait(EVERY_SECONDS):
                return

    def _spent(self) -> float:
        times = self._process.cpu_times()
        return time.process_time() + times.children_user + times.children_system
