"""Checks of this machine: the Dagster instance, ports, files left by `invoke dev`."""

from __future__ import annotations

import contextlib
import shlex
import time
from pathlib import Path
from urllib.parse import urlsplit

from dagmar.dev import environment
from dagmar.dev.ports import taken
from dagmar.errors import some
from dagmar.files import UNREADABLE
from dagmar.project import devfile
from dagmar.project.environ import instance_folder, named_home
from dagmar.project.layout import DEV_FILE, LOCAL_INSTANCE
from dagmar.upkeep.checking import Finding, Project, Skip, check, failed, passed, unwritable, warned

CONFIGURATION = LOCAL_INSTANCE / "dagster.yaml"
PORTS = {"Dagster": 3000, "marimo": 2718}


def _make_home(project: Project) -> str:
    """Create the project's own instance, as `invoke dev` does; not one that git can restore."""
    elsewhere = instance_folder(project.root, project.environ) != project.root / LOCAL_INSTANCE
    there = (project.root / CONFIGURATION).exists()
    if elsewhere or there or project.committed(CONFIGURATION.as_posix()):
        return ""
    environment.dagster_home(project.root, {})
    return f"created {CONFIGURATION}"


@check("dagster-home", fix=_make_home)
def dagster_home(project: Project) -> Finding:
    """Dagster has a permanent folder, with a dagster.yaml."""
    named = named_home(project.root, project.environ)
    folder = instance_folder(project.root, project.environ)
    quoted = shlex.quote(named)
    if named and not folder.is_absolute():
        message = f"DAGSTER_HOME is a relative path ({named}), which Dagster refuses"
        if project.environ.get("DAGSTER_HOME"):
            return failed(message, command=f'export DAGSTER_HOME="$PWD"/{quoted}')
        return failed(message, "Take it out of .env, or write an absolute path there.")
    if not folder.exists():
        if named:
            command = f"mkdir -p {quoted}"
            return failed(f"DAGSTER_HOME names {named}, which does not exist", command=command)
        missing = f"DAGSTER_HOME is not set, and there is no {LOCAL_INSTANCE}"
        return warned(f"{missing}: runs would not be kept", command=_remake(project))
    place = shlex.quote(str(folder))
    if not folder.is_dir():
        return failed(f"{folder} is a file, and must be a folder", command=f"ls -l {place}")
    if reason := unwritable(folder):
        return failed(f"{folder} cannot be written to: {reason}", command=f"ls -ld {place} && id")
    return _configuration(project, folder)


def _remake(project: Project) -> str:
    """Return the command that restores the configuration of the project's own instance."""
    known = project.committed(CONFIGURATION.as_posix())
    return f"git checkout HEAD -- {CONFIGURATION}" if known else "invoke doctor --fix"


def _configuration(project: Project, folder: Path) -> Finding:
    import yaml

    file = folder / "dagster.yaml"
    name = project.relative(file)
    try:
        found = yaml.safe_load(file.read_text("utf-8"))
    except FileNotFoundError:
        place = shlex.quote(str(folder))
        if folder == project.root / LOCAL_INSTANCE:
            command = _remake(project)
        elif (project.root / CONFIGURATION).is_file():
            command = f"cp {CONFIGURATION} {place}"
        else:
            command = f"echo 'telemetry: {{enabled: false}}' > {place}/dagster.yaml"
        message = f"there is no {name}: Dagster sends usage data, and queues runs for its daemon"
        return warned(message, command=command)
    except (OSError, yaml.YAMLError, *UNREADABLE) as error:
        return failed(f"{name} cannot be read: {type(error).__name__}", f"Edit {name}.")
    if found is not None and not isinstance(found, dict):
        return failed(f"{name} is not a mapping, as in `telemetry: …`", f"Edit {name}.")
    return passed(project.relative(folder))


@check("temporary-instances")
def temporary_instances(project: Project) -> Finding:
    """Dagster was not started without DAGSTER_HOME, which loses runs."""
    found = sorted(file.name for file in project.root.glob(".tmp_dagster_home_*"))
    if found:
        message = f"Dagster was started without DAGSTER_HOME, and left {some(found)}"
        return warned(message, "While Dagster is stopped, type:", f"rm -r {found[0]}")
    return passed("none")


def _remove_stale(project: Project) -> str:
    file = project.root / DEV_FILE
    if not file.exists() or devfile.read(project.root):
        return ""
    file.unlink()
    return f"removed {DEV_FILE}, whose process has ended"


@check("dev-file", fix=_remove_stale)
def dev_file(project: Project) -> Finding:
    """The dev file of `invoke dev` belongs to a running process."""
    file = project.root / DEV_FILE
    if not file.exists():
        raise Skip("no `invoke dev` is running")
    running = devfile.read(project.root)
    if running is None:
        command = "invoke doctor --fix"
        return warned(f"{DEV_FILE} is left from a process that has ended", command=command)
    if file.stat().st_mode & 0o077:
        return warned(f"others may read {DEV_FILE}", command=f"chmod 600 {DEV_FILE}")
    age = (time.time() - file.stat().st_mtime) / 60
    return passed(f"process {running.pid}, for {age:.0f} min")


@check("ports")
def ports(project: Project) -> Finding:
    """The ports of Dagster and marimo are free, or taken by this project."""
    dev = devfile.read(project.root)
    # A running `invoke dev` may have found other ports, and then wants no more.
    addresses = {"Dagster": dev.dagster_url, "marimo": dev.marimo_url} if dev else {}
    running = {name: urlsplit(url).port or 0 for name, url in addresses.items() if url}
    wanted, ours = {**PORTS, **running}, set(running.values())
    with contextlib.suppress(Skip):
        port = urlsplit(project.target.url).port
        if project.target.loopback and port:
            wanted["Dagster"] = port
            with contextlib.suppress(Exception):  # the check `server` reports it
                ours |= {port} if project.workspace else set()
    busy = []
    for program, port in wanted.items():
        if port in ours or not taken(port):
            continue
        if (who := _holder(port, dev.pid if dev else None)) is not None:
            busy.append(f"{port}, which {program} wants, is taken by another program{who}")
    if busy:
        return warned("; ".join(busy), "See which one: lsof -nP -iTCP -sTCP:LISTEN. Then stop it.")
    return passed(" and ".join(f"{port} for {name}" for name, port in wanted.items()))


def _holder(port: int, own: int | None) -> str | None:
    """Return who listens on a port, or an empty text if the system does not say; None for `own`."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for link in psutil.net_connections("tcp"):
            if link.status != psutil.CONN_LISTEN:
                continue
            if link.pid and link.laddr and link.laddr.port == port:
                process = psutil.Process(link.pid)
                if own in (link.pid, *(parent.pid for parent in process.parents())):
                    return None
                return f" ({process.name()}, process {link.pid})"
    return ""
