"""Opens pages in the user's browser, where there is one to see."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable


def open_pages(pages: Iterable[str]) -> None:
    """Open each page in a browser window; do nothing without a terminal or a display.

    Returns at once. The browser does not share our terminal, and stays when we end.
    """
    if not may_open():
        return
    for page in pages:
        subprocess.Popen(
            [sys.executable, "-m", "webbrowser", page],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def may_open() -> bool:
    """Whether somebody sits here and a browser would not take over the terminal."""
    if not sys.stderr.isatty() or os.environ.get("CI"):
        return False
    if sys.platform == "darwin" or os.environ.get("BROWSER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
