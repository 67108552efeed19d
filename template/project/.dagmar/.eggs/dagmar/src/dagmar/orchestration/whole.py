"""Values of Dagster's own IO manager, each of which is either the old or the new one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dagmar.files import alone
from dagmar.orchestration.internals import internal


@contextlib.contextmanager
def stored_whole() -> Iterator[None]:
    """Let Dagster's own IO manager rename its files into place inside the block.

    It writes over the file that has the value, so a kernel that is killed would leave half of one.
    """
    manager = internal("PickledObjectFilesystemIOManager")
    dump = manager.dump_to_path

    def dump_whole(self: Any, context: Any, obj: Any, path: Any) -> None:
        if not isinstance(path, Path):  # a bucket, where an object appears at once
            dump(self, context=context, obj=obj, path=path)
            return
        unfinished = path.with_name(f".{path.name}.unfinished")
        with alone(path.parent):  # another kernel may write the same
            try:
                dump(self, context=context, obj=obj, path=unfinished)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)

    manager.dump_to_path = dump_whole
    try:
        yield
    finally:
        manager.dump_to_path = dump
