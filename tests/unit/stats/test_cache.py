"""The cache of a history, where its disk is full: an error with what to type, never a traceback."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from dagmar.errors import SetupError
from dagmar.stats.cache import Cache


def test_a_disk_that_is_full_while_the_history_is_read_is_reported(tmp_path: Path) -> None:
    def fill() -> None:
        with Cache(tmp_path, "http://127.0.0.1:3000", "x") as cache:
            cache.connection.execute("PRAGMA max_page_count = 1")
            with cache.writing():
                cache.keep_side("assets", "raw/orders", "x" * 100_000)

    with pytest.raises(SetupError, match="cannot be written: database or disk is full") as caught:
        fill()
    assert caught.value.command == "invoke clean --cache"
    with Cache(tmp_path, "http://127.0.0.1:3000", "x") as cache:
        assert cache.side("assets", "raw/orders") is None


def test_a_folder_and_a_temporary_folder_that_cannot_be_written_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file" / "x"))
    with pytest.raises(SetupError, match="cannot be written"):
        Cache(tmp_path / "file", "http://127.0.0.1:3000", "x").__enter__()
    assert os.listdir(tmp_path) == ["file"]
