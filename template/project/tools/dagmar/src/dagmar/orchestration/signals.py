"""What Dagster does to the signals of the process that it runs in, undone."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def sigterm_kept() -> Iterator[None]:
    """Leave SIGTERM as it was.

    Dagster puts SIGINT's handler there and leaves it: a kernel would not end when marimo tells
    it to, and an export would wait for it for ever.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # Only the main thread may set handlers; in another, Dagster has set none.
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
