"""The standard streams of a notebook that is executed.

They are as real as those of `python notebook.py | less`: other processes, and C, write to them as
well, through the descriptors 1 and 2.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import io
import mmap
import os
import select
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

CHANNELS = ("stdout", "stderr")
CHUNK = 1 << 20
MOST_BYTES = 64 << 20
FIRST_BYTES = 1 << 20
"""Of more than MOST_BYTES that were moved into a file, the first ones and the last ones stay."""


class Pipes:
    """What is written to the descriptors 1 and 2, which are pipes.

    The notebook's process takes it each time that it writes itself, so that the order is kept.
    Its parent moves it into files in the meantime, so that nothing that writes has to wait.
    """

    def __init__(self) -> None:
        self._readers, self._writers = zip(*(os.pipe() for _ in CHANNELS), strict=True)
        self.watched = set(self._readers)
        """The ends to wait for: when one is readable, its content can be moved."""
        self._files = [_temporary_file() for _ in CHANNELS]
        self._taken = [0 for _ in CHANNELS]
        self._moves = mmap.mmap(-1, 8)  # a number that forks share: odd while something is moved
        self._moves_taken = self._moves[:]
        self._poll = select.poll()
        for reader, writer in zip(self._readers, self._writers, strict=True):
            os.set_blocking(reader, False)
            self._poll.register(reader, select.POLLIN)
            if sys.platform == "linux":
                fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, CHUNK)

    def connect(self) -> None:
        """Make them the descriptors 1 and 2 of this process."""
        for number, writer in enumerate(self._writers, 1):
            os.dup2(writer, number)

    def close_writers(self) -> None:
        """Close the ends that the notebook's process writes to."""
        for writer in self._writers:
            os.close(writer)

    def close(self) -> None:
        """Close the other ends, and remove the files."""
        for descriptor in (*self._readers, *self._files):
            os.close(descriptor)

    def move(self) -> None:
        """Move what was written into the files."""
        with contextlib.suppress(BlockingIOError), self._locked(fcntl.LOCK_NB):
            self._count_move()
            for reader, file in zip(self._readers, self._files, strict=True):
                with contextlib.suppress(OSError):  # it is empty; or the disk is full
                    while data := os.read(reader, CHUNK):
                        os.write(file, data)
                    self.watched.discard(reader)  # nobody can write to it any more
                if os.fstat(file).st_size > MOST_BYTES:
                    os.ftruncate(file, FIRST_BYTES)
            self._count_move()

    def _count_move(self) -> None:
        self._moves[:] = (int.from_bytes(self._moves[:], "little") + 1).to_bytes(8, "little")

    def take(self) -> list[tuple[str, bytes]]:
        """Return what was written since the last call, with the names of the streams."""
        # The pipes first: a move counts itself before it empties them.
        if not self._poll.poll(0) and self._moves[:] == self._moves_taken:
            return []
        written = []
        with self._locked():
            self._moves_taken = self._moves[:]
            for index, file in enumerate(self._files):
                size = os.fstat(file).st_size
                start = min(self._taken[index], size)
                moved = os.pread(file, size - start, start)
                self._taken[index] = size
                with contextlib.suppress(BlockingIOError):  # the pipe is empty
                    moved += os.read(self._readers[index], CHUNK)
                written.append(moved)
        return [(name, data) for name, data in zip(CHANNELS, written, strict=True) if data]

    def tail(self, size: int) -> str:
        """Return the end of what is in the files."""
        parts = [
            os.pread(file, size, max(os.fstat(file).st_size - size, 0)) for file in self._files
        ]
        return b"".join(parts).decode("utf-8", "backslashreplace")

    @contextlib.contextmanager
    def _locked(self, flags: int = 0) -> Iterator[None]:
        """Exclude the other process; a lock of a process ends with it, and its forks lack it."""
        fcntl.lockf(self._files[0], fcntl.LOCK_EX | flags)
        try:
            yield
        finally:
            fcntl.lockf(self._files[0], fcntl.LOCK_UN)


class Streams:
    """Replaces the standard streams, and passes on what is written to them, piece by piece."""

    def __init__(self, note: Callable[[str, str], None], pipes: Pipes) -> None:
        self.lock = threading.RLock()
        self._note, self._pipes = note, pipes
        new_decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {channel: new_decoder("backslashreplace") for channel in CHANNELS}

    @contextlib.contextmanager
    def redirected(self) -> Iterator[None]:
        """Let the streams of this process, with all its threads, be these."""
        names = [*CHANNELS, *(f"__{channel}__" for channel in CHANNELS)]
        saved = {name: getattr(sys, name) for name in names}
        for stream in saved.values():
            stream.flush()
        descriptors = [os.dup(number) for number in (1, 2)]
        try:
            self._pipes.connect()
            for number, channel in enumerate(CHANNELS, 1):
                descriptor = _Descriptor(number, f"<{channel}>", self._take)
                stream = io.TextIOWrapper(
                    descriptor,
                    "utf-8",
                    "backslashreplace",
                    write_through=True,
                )
                stream.mode = "w"  # type: ignore[misc]  # the interpreter sets it as well
                setattr(sys, channel, stream)
                setattr(sys, f"__{channel}__", stream)
            yield
        finally:
            for name, stream in saved.items():
                setattr(sys, name, stream)
            for number, saved_descriptor in enumerate(descriptors, 1):
                os.dup2(saved_descriptor, number)
                os.close(saved_descriptor)

    def _take(self, number: int, data: bytes) -> None:
        """Pass on what this process writes."""
        with self.lock:
            self.drain()
            self._pass_on(CHANNELS[number - 1], data)

    def drain(self) -> None:
        """Pass on what other processes, and C, have written."""
        with self.lock, contextlib.suppress(OSError):  # a cell may close any descriptor
            for channel, data in self._pipes.take():
                self._pass_on(channel, data)

    def _pass_on(self, channel: str, data: bytes) -> None:
        # Bytes need not be UTF-8, nor end with a character.
        if text := self._decoders[channel].decode(data):
            self._note(channel, text)


class _Descriptor(io.RawIOBase):
    """What Python itself writes to a standard stream, which needs no pipe."""

    mode = "wb"

    def __init__(self, number: int, name: str, take: Callable[[int, bytes], None]) -> None:
        self._number, self.name, self._take, self._process = number, name, take, os.getpid()

    def fileno(self) -> int:
        return self._number

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if os.getpid() == self._process:
            self._take(self._number, bytes(view))
            return len(view)
        done = 0
        while done < len(view):  # in a fork, whose memory nobody reads
            done += os.write(self._number, view[done:])
        return done


def _temporary_file() -> int:
    """Return the descriptor of a file without a name, to append to."""
    with tempfile.TemporaryFile() as file:
        descriptor = os.dup(file.fileno())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)
    return descriptor
