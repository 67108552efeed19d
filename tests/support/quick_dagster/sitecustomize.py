"""On PYTHONPATH, makes a Dagster server quick: its daemon, and the processes of its runs.

The daemon looks for backfills every second instead of every 30. A code server forks its runs from
a process that has imported Dagster, instead of starting an interpreter that imports it again;
not in the nightly profile, which starts interpreters as users do.
"""

import os
import sys

if "dagster._daemon" in sys.orig_argv:
    from dagster._daemon import controller

    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1

if "grpc" in sys.orig_argv and "FORK_RUNS" in os.environ:
    import multiprocessing

    get_context = multiprocessing.get_context

    def get_forking_context(method=None):  # type: ignore[no-untyped-def]
        """Return the context of a fork server where a new interpreter is wanted."""
        if method != "spawn":
            return get_context(method)
        context = get_context("forkserver")
        context.set_forkserver_preload(["dagster", "dagster._grpc.impl", "read_revisions"])
        return context

    multiprocessing.get_context = get_forking_context
