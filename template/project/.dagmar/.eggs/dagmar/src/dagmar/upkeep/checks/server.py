"""Checks of the Dagster that tasks talk to, with short time-outs and no retries."""

from __future__ import annotations

import os
import time
from statistics import median

from dagmar.errors import Unreachable, WrongServer, counted, some
from dagmar.project.code import not_loaded
from dagmar.project.environ import instance_folder
from dagmar.upkeep.checking import Finding, Project, Skip, check, failed, passed, warned

OLDEST = (1, 10)
LAUNCH = "launch_pipeline_execution"
LOOKS, SLOW_SECONDS, MOST_SECONDS = 5, 1.0, 2.0


@check("server", online=True)
def server(project: Project) -> Finding:
    """Dagster answers and has this project's code: address, TLS, login and version are right."""
    from dagmar.server.reach import require_listening

    target = project.target
    try:
        require_listening(target)
    except Unreachable as error:
        # On this machine Dagster need not be running; elsewhere it should.
        return warned(error.message, error.hint, error.command)
    try:
        version = str(project.workspace["version"])
    except WrongServer as error:  # nor is another project's in the way of this one
        return warned(error.message, error.hint, error.command)
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if len(numbers) == 2 and numbers < OLDEST:
        needed = ".".join(map(str, OLDEST))
        message = f"Dagster at {target.url} is {version}, and dagmar needs {needed}"
        return failed(message, "Update Dagster where it runs.")
    here = project.version("dagster")
    if here and tuple(here.split(".")[:2]) != tuple(version.split(".")[:2]):
        message = f"Dagster at {target.url} is {version}, and {here} is installed here"
        if target.loopback:
            return warned(message, "Stop it, then type in the project:", "invoke dev")
        return warned(message, command=project.add(f"dagster=={version}"))
    return passed(f"Dagster {version} at {target.url}")


@check("code-locations", online=True)
def code_locations(project: Project) -> Finding:
    """Every code location of Dagster loads."""
    from dagmar.server.catalog import broken, location

    project.require_server()
    found = [location(entry) for entry in project.workspace["workspaceOrError"]["locationEntries"]]
    if failures := broken(found):
        reasons = (not_loaded(project.root, name, failure) for name, failure in failures.items())
        return failed("; ".join(reasons), command=project.check_command)
    if loading := [str(item["name"]) for item in found if item["status"] == "loading"]:
        command = "invoke doctor --only code-locations"
        return warned(f"still loading: {some(loading)}", command=command)
    if not found:
        message = "Dagster knows no code location"
        return warned(message, "Stop it, then type in the project:", "invoke dev")
    return passed(some([str(item["name"]) for item in found]))


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
        return passed("healthy")
    remedy = "Start it next to the server:", "dagster-daemon run"
    if queued:
        waiting = f"{counted(len(queued), 'run')} in the queue will wait forever"
        return failed(f"not running: {some(down)}; {waiting}", *remedy)
    return warned(f"not running: {some(down)}", *remedy)


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
                message = f"Dagster at {project.target.url} is read-only for you{reason}"
                return warned(message, "Use another one:", "invoke run --target NAME")
    return passed("allowed")


@check("latency", online=True)
def latency(project: Project) -> Finding:
    """Dagster answers a small query within a second."""
    project.require_server()
    with project.connect() as client:
        seconds = list[float]()
        while len(seconds) < LOOKS and sum(seconds) < MOST_SECONDS:
            began = time.monotonic()
            client.query("Permissions")
            seconds.append(time.monotonic() - began)
    middle = median(seconds[1:] or seconds)  # the first one connects
    message = f"{middle * 1000:.0f} ms for a small query, the median of {len(seconds)}"
    if middle > SLOW_SECONDS:
        return warned(message, "Look at the load of its machine, database and network.")
    return passed(message)


@check("same-instance", online=True)
def same_instance(project: Project) -> Finding:
    """A Dagster on this machine keeps its runs where the project's notebooks look for them."""
    from dagmar.server.paired import read_instance_info

    if not project.target.loopback:
        raise Skip("Dagster is on another machine")
    project.require_server()
    with project.connect() as client:
        info = read_instance_info(client)
    try:
        base = info["local_artifact_storage"]["config"]["base_dir"]
    except (KeyError, TypeError):
        raise Skip("Dagster does not say where it keeps its runs") from None
    own = instance_folder(project.root, project.environ)
    if os.path.realpath(base) != os.path.realpath(own):
        hint = "Stop Dagster, then start `invoke dev`."
        if project.environ.get("DAGSTER_HOME"):
            hint = "Stop Dagster, and start it with DAGSTER_HOME as it is set here."
        return warned(f"Dagster keeps its runs in {base}, and notebooks look in {own}", hint)
    return passed(str(own))


@check("pairs", online=True)
def pairs(project: Project) -> Finding:
    """Every asset and job that a notebook is paired with exists."""
    from dagmar.notebook.pairing import read_pairings
    from dagmar.server.catalog import read_catalog
    from dagmar.server.located import assets_of
    from dagmar.server.names import names_of

    found = read_pairings(project.root, project.notebooks)
    if not (found.assets or found.jobs):
        raise Skip("no notebook is paired with anything")
    project.require_server()
    assets = set[str]()
    with project.connect() as client:
        if found.assets:
            # Keys only: all facts about many assets would take too long here.
            answer = client.query("AssetKeys")
            assets = {name for asset in assets_of(answer) for name in names_of(asset)}
        catalog = read_catalog(client, ("jobs",) if found.jobs else ())
    gone = [
        f"asset {key} ({some(files)})" for key, files in found.assets.items() if key not in assets
    ]
    gone += [
        f"job {name} ({some(files)})"
        for name, files in found.jobs.items()
        if not any(name in names_of(job) for job in catalog.jobs)
    ]
    if gone:
        if any(place["status"] != "loaded" for place in catalog.locations):
            raise Skip("a code location that is not loaded may have them; see 'code-locations'")
        return failed(f"Dagster has no {some(gone)}", command="invoke check")
    assets_and_jobs = counted(len(found.assets), "asset"), counted(len(found.jobs), "job")
    return passed(", ".join(assets_and_jobs))
