"""What Dagster says on the side, kept out of a notebook's cells."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave out what IO managers log of every file that they read, and Dagster's warnings."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.DEBUG))
    try:
        with no_warnings():
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Leave out Dagster's remarks on beta parameters and the like: its server logs them too."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"dagster(_shared)?\.")
        yield
