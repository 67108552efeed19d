"""Reads the revisions of Dagster's databases once, not for each database that is opened.

Each run has its own database, and Alembic would compile some sixty scripts for each.
"""

from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sql import get_alembic_config

_read = ScriptDirectory.from_config
_known = {}


def _read_once(config):  # type: ignore[no-untyped-def]
    place = config.get_main_option("script_location")
    if place not in _known:
        _known[place] = _read(config)
    return _known[place]


ScriptDirectory.from_config = _read_once
for module in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
    _read_once(get_alembic_config(module.__file__)).get_heads()
