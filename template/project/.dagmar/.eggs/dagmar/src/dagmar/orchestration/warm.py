"""One run's records without what Dagster's SQLite storages repeat for each of its events.

They open a connection for every event, and build the tables of each run's database through
Alembic: more than half of the time of a short run in a notebook's kernel. While `warm` holds,
connections stay open, and a new run's database is a copy of an empty one that Dagster made in this
process. What is written, and where, is the same. Any other storage is left as it is.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.errors import UnknownDagster
from dagmar.orchestration.internals import internal

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from sqlalchemy.engine import Connection, Engine

# Private names of Dagster's classes that are used below.
_NEEDED = ("_connect", "_initdb", "_initialized_dbs", "_db_lock", "_conn_string")
_LOCK = threading.Lock()
_OPEN: weakref.WeakSet[_Engines] = weakref.WeakSet()


@contextlib.contextmanager
def warm(instance: DagsterInstance) -> Iterator[None]:
    """Keep the instance's SQLite connections open inside the block; they close soon after it.

    One block at a time: `here.materialize` sees to it.
    """
    events: Any = instance.event_log_storage
    runs: Any = instance.run_storage
    try:
        known_kinds = internal("SqliteEventLogStorage"), internal("SqliteRunStorage")
        internal("create_engine"), internal("create_db_conn_string")
        plain = (type(events), type(runs)) == known_kinds
    except UnknownDagster:  # a run takes longer, no more
        plain = False
    known = plain and all(hasattr(events, name) or hasattr(runs, name) for name in _NEEDED)
    if not known or "_connect" in vars(events):  # of another kind, or a run inside another
        yield
        return
    engines = _Engines()
    # On these two objects only: the classes, and whatever uses them, stay as they are.
    events._connect = functools.partial(_connect_events, events, engines)
    runs.connect = functools.partial(engines.connect, runs._conn_string)
    try:
        yield
    finally:
        del events._connect, runs.connect
        # Closing waits for the disk; the caller need not.
        threading.Thread(target=engines.close, name="dagmar-close").start()


class _Engines:
    """One engine for each database, which keeps its connections."""

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}
        _OPEN.add(self)

    def engine(self, url: str) -> Engine:
        from sqlalchemy import event
        from sqlalchemy.pool import QueuePool

        with _LOCK:
            if url not in self._engines:
                options = {"timeout": 30, "check_same_thread": False}
                engine = internal("create_engine")(url, poolclass=QueuePool, connect_args=options)
                event.listen(engine, "connect", _commit_without_waiting)
                self._engines[url] = engine
            return self._engines[url]

    @contextlib.contextmanager
    def connect(self, url: str) -> Iterator[Connection]:
        with self.engine(url).connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        for engine in self._engines.values():
            engine.dispose()
        self._engines = {}

    def forget(self) -> None:
        """Leave the connections to the process that opened them: SQLite's do not survive a fork."""
        for engine in self._engines.values():
            engine.dispose(close=False)


def _commit_without_waiting(connection: Any, record: object) -> None:
    # Safe if this process crashes; the disk is waited for after the run.
    connection.execute("PRAGMA synchronous=NORMAL")


def _forget_all() -> None:
    global _LOCK
    _LOCK = threading.Lock()  # another thread may have held it when this process was forked
    for engines in list(_OPEN):
        engines.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@contextlib.contextmanager
def _connect_events(storage: Any, engines: _Engines, shard: str) -> Iterator[Connection]:
    """Do what SqliteEventLogStorage._connect does, with an open connection."""
    with storage._db_lock:
        url = storage.conn_string_for_shard(shard)
        if shard not in storage._initialized_dbs:
            if not _copied(storage, Path(storage.path_for_shard(shard))):
                storage._initdb(engines.engine(url))
            storage._initialized_dbs.add(shard)
        with engines.connect(url) as connection:
            yield connection


def _copied(storage: Any, database: Path) -> bool:
    """Create a run's database in one step, unless it exists; return whether it was created."""
    if database.exists():
        return False
    new = database.with_name(f".{database.stem}.dagmar")
    try:
        new.write_bytes(_empty_database(storage))
        os.link(new, database)
    except OSError:  # another was first, or hard links are not supported: Dagster creates it
        return False
    finally:
        new.unlink(missing_ok=True)
    return True


@functools.lru_cache(maxsize=1)
def _empty_database(storage: Any) -> bytes:
    """Return a run's database as Dagster creates it, before the first event."""
    from sqlalchemy.pool import NullPool

    create_engine, address = internal("create_engine"), internal("create_db_conn_string")
    with tempfile.TemporaryDirectory(prefix="dagmar-") as folder:
        storage._initdb(create_engine(address(folder, "run"), poolclass=NullPool))
        return (Path(folder) / "run.db").read_bytes()
