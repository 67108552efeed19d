"""What was read of a server's history: one SQLite file, which is only ever a copy.

Each page is one transaction, with the span of time that it proves to be read, so a break loses at
most the page that was under way, and two processes may read at once. Everything is aggregated by
SQL over the file: memory does not grow with the number of runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dagmar import console
from dagmar.asset_key import AssetKey
from dagmar.errors import SetupError
from dagmar.project.layout import make_folder
from dagmar.stats.records import DetailRecord, FailureRecord, RunRecord

VERSION = 2
"""To be raised with every change of the tables; a file of another version is read again."""
WAIT = 60.0
FINAL = ("SUCCESS", "FAILURE", "CANCELED")
TABLES = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, status TEXT, job TEXT, location TEXT, asset_count INTEGER,
    created REAL, started REAL, ended REAL, updated REAL, partition TEXT, user TEXT, revision TEXT,
    here INTEGER, retry_of TEXT, versions TEXT, enqueued REAL, launched REAL,
    detailed INTEGER DEFAULT 0, explained INTEGER DEFAULT 0
);
CREATE INDEX runs_created ON runs (created);
CREATE TABLE selected (run_id TEXT, asset TEXT, PRIMARY KEY (run_id, asset)) WITHOUT ROWID;
CREATE TABLE steps (
    run_id TEXT, step TEXT, status TEXT, started REAL, ended REAL, attempts INTEGER,
    PRIMARY KEY (run_id, step)
) WITHOUT ROWID;
CREATE TABLE step_assets (
    run_id TEXT, step TEXT, asset TEXT, PRIMARY KEY (run_id, step, asset)
) WITHOUT ROWID;
CREATE TABLE failures (run_id TEXT, at REAL, step TEXT, cell TEXT, error TEXT, message TEXT);
CREATE INDEX failures_run ON failures (run_id);
CREATE TABLE spans (first REAL, last REAL);
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE sides (kind TEXT, name TEXT, value TEXT, PRIMARY KEY (kind, name)) WITHOUT ROWID;
"""
DEPENDENT = ("selected", "steps", "step_assets", "failures")


class Cache:
    """The history of one instance behind one address; use it as a context manager."""

    def __init__(self, folder: Path, address: str, instance: str) -> None:
        """Name the file. It is opened, or created, on entry.

        From there on SetupError is raised for a disk that is full.
        """
        mark = hashlib.sha256(json.dumps([address, instance]).encode()).hexdigest()[:16]
        self._file = folder / f"history-{mark}.db"

    def __enter__(self) -> Cache:
        self._stack = contextlib.ExitStack()
        try:
            self._open(self._file)
        except sqlite3.DatabaseError:
            console.say(f"{self._file.name} in the cache cannot be used: the history is read again")
            try:
                for name in ("", "-journal", "-wal", "-shm"):
                    self._file.with_name(self._file.name + name).unlink(missing_ok=True)
                self._open(self._file)
            except (OSError, sqlite3.DatabaseError):
                self._open_elsewhere()
        except OSError:  # a folder that cannot be written to costs only speed
            self._open_elsewhere()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._stack.close()
        if isinstance(error, sqlite3.Error):
            raise self._unusable(error) from None

    def _open_elsewhere(self) -> None:
        try:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory())
            self._open(Path(folder) / self._file.name)
        except (OSError, sqlite3.Error) as error:
            self._stack.close()
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> SetupError:
        message = f"{self._file.name} in the cache cannot be written: {error}"
        return SetupError(message, "Free some space, for example with:", "invoke clean --cache")

    def _open(self, file: Path) -> None:
        make_folder(file.parent)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(file, timeout=WAIT, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables and version != VERSION:
                raise sqlite3.DatabaseError(f"version {version}")
            if not tables:
                for statement in filter(str.strip, TABLES.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
            # A lost page is read again; the file stays whole, because the journal does.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("SELECT * FROM runs LIMIT 1").fetchone()
        except BaseException:
            connection.close()
            raise
        self._stack.callback(connection.close)
        self.connection = connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Do what is written in this context as a whole, or not at all."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:  # on a full disk SQLite has done it
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def query(self, text: str, values: Any = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query."""
        yield from self.connection.execute(text, values)

    def number(self, text: str, values: Any = ()) -> Any:
        """Return the first value of a query's first row."""
        return self.connection.execute(text, values).fetchone()[0]

    def batches(self, query: str, values: Any, size: int) -> Iterator[tuple[int, int, list[str]]]:
        """Yield (how many so far, of how many, ids) of the runs that a query returns.

        They are noted in a table first: what is written in the meantime may change the answer.
        """
        execute = self.connection.execute
        execute("CREATE TEMP TABLE IF NOT EXISTS wanted (run_id TEXT)")
        execute("DELETE FROM wanted")
        execute(f"INSERT INTO wanted {query}", values)
        count, last = self.number("SELECT count(*) FROM wanted"), 0
        for done in range(0, count, size):
            query = "SELECT run_id, rowid FROM wanted WHERE rowid > ? ORDER BY rowid LIMIT ?"
            rows = execute(query, (last, size)).fetchall()
            last = rows[-1][1]
            yield done, count, [run_id for run_id, _ in rows]

    # What is known

    def side(self, kind: str, name: str) -> Any:
        """Return what `keep_side` was given last, or None."""
        query = "SELECT value FROM sides WHERE kind = ? AND name = ?"
        row = self.connection.execute(query, (kind, name)).fetchone()
        return row and json.loads(row[0])

    def keep_side(self, kind: str, name: str, value: Any) -> None:
        """Write what an asset's side is made from, as JSON."""
        values = (kind, name, json.dumps(value))
        self.connection.execute("INSERT OR REPLACE INTO sides VALUES (?, ?, ?)", values)

    @property
    def mark(self) -> float | None:
        """Up to when changes were read, by the server's clock."""
        row = self.connection.execute("SELECT value FROM notes WHERE name = 'mark'").fetchone()
        return float(row[0]) if row else None

    def set_mark(self, moment: float) -> None:
        """Note up to when changes were read."""
        self.connection.execute("INSERT OR REPLACE INTO notes VALUES ('mark', ?)", (repr(moment),))

    def gaps(self, first: float, last: float) -> list[tuple[float, float]]:
        """Return the spans that are not read yet between two times of creation, newest first."""
        gaps = []
        spans = self.connection.execute("SELECT first, last FROM spans ORDER BY last DESC")
        for begin, end in list(spans):
            if end < last and begin < last:
                if end <= first:
                    break
                gaps.append((end, last))
            last = min(last, begin)
            if last <= first:
                return gaps
        return [*gaps, (first, last)] if first < last else gaps

    def cover(self, first: float, last: float) -> None:
        """Note that all runs created between two times were read, inside `writing`."""
        touching = (last, first)
        (begin, end) = self.connection.execute(
            "SELECT min(first), max(last) FROM spans WHERE first <= ? AND last >= ?", touching
        ).fetchone()
        self.connection.execute("DELETE FROM spans WHERE first <= ? AND last >= ?", touching)
        span = (min(first, begin or first), max(last, end or last))
        self.connection.execute("INSERT INTO spans VALUES (?, ?)", span)

    # What is written, inside `writing`

    def add(self, runs: Iterable[RunRecord]) -> None:
        """Write runs; details of one that has changed are read again."""
        for run in runs:
            known = self.connection.execute(
                "SELECT updated, status FROM runs WHERE run_id = ?", (run.run_id,)
            ).fetchone()
            if known == (run.updated, run.status):
                continue
            if known:
                self.remove([run.run_id])
            assets = () if run.assets is None else run.assets
            self.connection.execute(
                "INSERT INTO runs (run_id, status, job, location, asset_count, created, started, "
                "ended, updated, partition, user, revision, here, retry_of, versions) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run.run_id, run.status, run.job, run.location,
                    -1 if run.assets is None else len(assets),
                    run.created, run.started, run.ended, run.updated, run.partition, run.user,
                    run.revision, run.here, run.retry_of, json.dumps(dict(run.versions)),
                ),
            )  # fmt: skip
            self.connection.executemany(
                "INSERT OR IGNORE INTO selected VALUES (?, ?)",
                [(run.run_id, str(asset)) for asset in assets],
            )

    def add_details(self, run_ids: Iterable[str], details: Iterable[DetailRecord]) -> None:
        """Write what the logs of runs say; a run that the server has no more has no details."""
        for run_id in run_ids:
            self.connection.execute("UPDATE runs SET detailed = 1 WHERE run_id = ?", (run_id,))
        for detail in details:
            run_id = detail.run_id
            self.connection.execute(
                "UPDATE runs SET enqueued = ?, launched = ? WHERE run_id = ?",
                (detail.enqueued, detail.launched, run_id),
            )
            for step in detail.steps:
                self.connection.execute(
                    "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?)",
                    (run_id, step.step, step.status, step.started, step.ended, step.attempts),
                )
                self.connection.executemany(
                    "INSERT OR IGNORE INTO step_assets VALUES (?, ?, ?)",
                    [(run_id, step.step, str(asset)) for asset in step.assets],
                )

    def attribute(self) -> None:
        """Note which assets failed steps were to make, inside `writing`: their events do not say.

        They are those of the run that the step makes when it succeeds, or the one that it is
        named after.
        """
        self.connection.execute("""
            INSERT OR IGNORE INTO step_assets
            SELECT t.run_id, t.step, a.asset FROM steps t JOIN runs r USING (run_id) JOIN (
                SELECT DISTINCT k.location, b.step, b.asset
                FROM step_assets b JOIN runs k USING (run_id)
            ) a ON a.location = r.location AND a.step = t.step
            WHERE t.status <> 'SUCCESS' AND (r.asset_count < 0 OR EXISTS (
                SELECT 1 FROM selected s WHERE s.run_id = t.run_id AND s.asset = a.asset))
            UNION
            SELECT t.run_id, t.step, s.asset FROM steps t JOIN selected s USING (run_id)
            WHERE t.status <> 'SUCCESS' AND replace(s.asset, '/', '__') = t.step""")

    def add_failures(self, run_ids: Iterable[str], failures: Iterable[FailureRecord]) -> None:
        """Write why runs failed."""
        for run_id in run_ids:
            self.connection.execute("UPDATE runs SET explained = 1 WHERE run_id = ?", (run_id,))
            self.connection.execute("DELETE FROM failures WHERE run_id = ?", (run_id,))
        self.connection.executemany(
            "INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?)",
            [
                (each.run_id, each.at, each.step, each.cell, each.error, each.message)
                for each in failures
            ],
        )

    def remove(self, run_ids: Sequence[str]) -> None:
        """Forget runs."""
        for table in ("runs", *DEPENDENT):
            self.connection.executemany(
                f"DELETE FROM {table} WHERE run_id = ?",  # noqa: S608  a constant
                [(run_id,) for run_id in run_ids],
            )

    # What is read

    def run(self, run_id: str) -> RunRecord:
        """Return a run that is known."""
        fields = (
            "run_id, status, job, location, asset_count, created, started, ended, updated, "
            "partition, user, revision, here, retry_of, versions"
        )
        query = f"SELECT {fields} FROM runs WHERE run_id = ?"  # noqa: S608  a constant
        row = list(self.connection.execute(query, (run_id,)).fetchone())
        assets = self.query("SELECT asset FROM selected WHERE run_id = ?", (run_id,))
        row[4] = None if row[4] < 0 else tuple(AssetKey(asset) for (asset,) in assets)
        row[12], row[14] = bool(row[12]), json.loads(row[14])
        return RunRecord(*row)
