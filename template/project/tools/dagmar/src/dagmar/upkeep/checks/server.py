"""Checks of the Dagster that tasks talk to, with short time-outs and no retries."""

from __future__ import annotations

import os
from collections.abc import Sized
from pathlib import Path

from dagmar.errors import Unreachable
from dagmar.project.environ import named_home
from dagmar.project.layout import LOCAL_INSTANCE
from dagmar.upkeep.checking import FAIL, PASS, WARN, Finding, Project, Skip, check, some

OLDEST = (1, 10)
LAUNCH = "launch_pipeline_execution"


@check("server", online=True)
def server(project: Project) -> Finding:
    """Dagster answers: address, TLS and login are right, and it is new enough."""
    from dagmar.server.reach import require_listening

    target = project.target
    try:
        require_listening(target)
    except Unreachable as error:
        # On this machine Dagster need not be running; elsewhere it should.
        return Finding(WARN, error.message, error.hint, error.command)
    version = str(project.workspace["version"])
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if len(numbers) == 2 and numbers < OLDEST:
        needed = ".".join(map(str, OLDEST))
        return Finding(
            FAIL, f"Dagster at {target.url} is {version}, and dagmar needs {needed}",
            "Update it where it runs:", command="uv add --upgrade dagster",
        )  # fmt: skip
    here = project.version("dagster")
    if here and tuple(here.split(".")[:2]) != tuple(version.split(".")[:2]):
        return Finding(
            WARN, f"Dagster at {target.url} is {version}, and {here} is installed here",
            command=f"uv add 'dagster=={version}'",
        )  # fmt: skip
    return Finding(PASS, f"Dagster {version} at {target.url}")


@check("code-locations", online=True)
def code_locations(project: Project) -> Finding:
    """Every code location of Dagster loads."""
    from dagmar.server.catalog import broken, location

    try:
        project.require_server()
    except Skip as reason:  # loading them here would take too long
        raise Skip(f"{reason}. `dg check defs` loads the definitions without one") from None
    found = [location(entry) for entry in project.workspace["workspaceOrError"]["locationEntries"]]
    if failures := broken(found):
        message = "; ".join(
            f"'{name}' does not load: {failure.line}" for name, failure in failures.items()
        )
        return Finding(FAIL, message, command="dg check defs")
    if loading := [str(item["name"]) for item in found if item["status"] == "loading"]:
        return Finding(
            WARN, f"still loading: {some(loading)}", command="invoke doctor --only code-locations"
        )
    if not found:
        return Finding(
            WARN,
            "Dagster knows no code location",
            "Stop it, then type in the project:",
            command="invoke dev",
        )
    return Finding(PASS, some([str(item["name"]) for item in found]))


@check("daemon", online=True)
def daemon(project: Project) -> Finding:
    """Dagster's daemons run, without which queued runs, schedules and backfills wait forever."""
    from dagmar.server.client import member

    project.require_server()
    with project.connect() as client:
        states = client.query("Daemons")["instance"]["daemonHealth"]["allDaemonStatuses"]
        queued = member(client.query("QueuedRuns")["runsOrError"], "Runs")["results"]
    down = sorted(
        state["daemonType"].lower()
        for state in states
        if state["required"] and not state["healthy"]
    )
    if not down:
        return Finding(PASS, "healthy")
    problem = f"not running: {some(down)}"
    if queued:
        waiting = f"{len(queued)} run{'s' * (len(queued) != 1)} in the queue will wait forever"
        problem += f"; {waiting}"
    return Finding(
        FAIL if queued else WARN, problem, "Start it next to the server:", "dagster-daemon run"
    )


@check("launching", online=True)
def launching(project: Project) -> Finding:
    """Dagster lets you launch runs."""
    if project.target.read_only:
        raise Skip(f"the settings make '{project.target.name}' read_only")
    project.require_server()
    with project.connect() as client:
        for permission in client.query("Permissions")["permissions"]:
            if permission["permission"] == LAUNCH and not permission["value"]:
                disabled = permission["disabledReason"]
                reason = f": {disabled}" if disabled else ""
                return Finding(
                    WARN, f"Dagster at {project.target.url} is read-only for you{reason}",
                    "Use another one:", command="invoke run --target NAME",
                )  # fmt: skip
    return Finding(PASS, "allowed")


@check("same-instance", online=True)
def same_instance(project: Project) -> Finding:
    """A Dagster on this machine keeps its runs where the project's notebooks look for them."""
    import yaml

    if not project.target.loopback:
        raise Skip("Dagster is on another machine")
    project.require_server()
    with project.connect() as client:
        info = client.query("InstanceInfo")["instance"]["info"]
    try:
        configuration = yaml.safe_load(info or "")
        base = configuration["local_artifact_storage"]["config"]["base_dir"]
    except (yaml.YAMLError, KeyError, TypeError):
        raise Skip("Dagster does not say where it keeps its runs") from None
    named = named_home(project.root, project.environ)
    own = Path(named).expanduser() if named else project.root / LOCAL_INSTANCE
    if os.path.realpath(base) != os.path.realpath(own):
        return Finding(
            WARN, f"Dagster keeps its runs in {base}, and notebooks look in {own}",
            "Stop Dagster, and start it with DAGSTER_HOME as it is set here."
            if project.environ.get("DAGSTER_HOME") else "Stop Dagster, then start `invoke dev`.",
        )  # fmt: skip
    return Finding(PASS, str(own))


@check("pairs", online=True)
def pairs(project: Project) -> Finding:
    """Every asset and job that a notebook is paired with exists."""
    from dagmar.asset_key import AssetKey
    from dagmar.notebook.pairing import has_job, read_pairings
    from dagmar.server.catalog import read_catalog

    found = read_pairings(project.root, project.notebooks)
    if not (found.assets or found.jobs):
        raise Skip("no notebook is paired with anything")
    project.require_server()
    assets = set[str]()
    with project.connect() as client:
        if found.assets:
            # Keys only: all facts about many assets would take too long here.
            nodes = client.query("AssetKeys")["assetNodes"]
            assets = {AssetKey.from_parts(node["assetKey"]["path"]) for node in nodes}
        catalog = read_catalog(client, ("jobs",) if found.jobs else ())
    gone = [
        f"asset {key} ({some(files)})" for key, files in found.assets.items() if key not in assets
    ]
    gone += [
        f"job {name} ({some(files)})"
        for name, files in found.jobs.items()
        if not has_job(catalog, name)
    ]
    if gone:
        # A code location that does not load may hide anything.
        status = WARN if catalog.broken else FAIL
        return Finding(status, f"Dagster has no {some(gone)}", command="invoke check")
    return Finding(PASS, f"{_count(found.assets, 'asset')}, {_count(found.jobs, 'job')}")


def _count(things: Sized, what: str) -> str:
    return f"{len(things)} {what}{'s' * (len(things) != 1)}"


CHECKS = (server, code_locations, daemon, launching, same_instance, pairs)
