"""On PYTHONPATH, lets Dagster's daemon look for backfills every second instead of every 30."""

import sys

if "dagster._daemon" in sys.orig_argv:
    from dagster._daemon import controller

    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
