"""Checks of this machine: the Dagster instance, ports, files left by `invoke dev`."""

from __future__ import annotations

import shlex
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

from dagmar.dev import environment
from dagmar.project import devfile
from dagmar.project.environ import named_home
from dagmar.project.layout import LOCAL_INSTANCE
from dagmar.upkeep.checking import FAIL, PASS, WARN, Finding, Project, Skip, check, some, unwritable

CONFIGURATION = LOCAL_INSTANCE / "dagster.yaml"
DEV_FILE = devfile.path(Path())
PORTS = {3000: "Dagster", 2718: "marimo"}
PROBE_SECONDS = 0.3


def _make_home(project: Project) -> str:
    """Create the project's own instance, as `invoke dev` does; not one that git can restore."""
    named = named_home(project.root, project.environ)
    if named and Path(named).expanduser() != project.root / LOCAL_INSTANCE:
        return ""
    if (project.root / CONFIGURATION).exists() or project.committed(CONFIGURATION.as_posix()):
        return ""
    environment.dagster_home(project.root, {})
    return f"created {CONFIGURATION}"


@check("dagster-home", fix=_make_home)
def dagster_home(project: Project) -> Finding:
    """Dagster has a permanent folder, with a dagster.yaml."""
    named = named_home(project.root, project.environ)
    folder = Path(named).expanduser() if named else project.root / LOCAL_INSTANCE
    quoted = shlex.quote(named)
    if named and not folder.is_absolute():
        return Finding(
            FAIL, f"DAGSTER_HOME is a relative path ({named}), which Dagster refuses",
            *(("", f'export DAGSTER_HOME="$PWD"/{quoted}') if project.environ.get("DAGSTER_HOME")
            else ("Take it out of .env, or write an absolute path there.",)),
        )  # fmt: skip
    if not folder.exists():
        if named:
            return Finding(
                FAIL, f"DAGSTER_HOME names {named}, which does not exist",
                command=f"mkdir -p {quoted}",
            )  # fmt: skip
        return Finding(
            WARN,
            f"DAGSTER_HOME is not set, and there is no {LOCAL_INSTANCE}: runs would not be kept",
            command=_remake(project),
        )
    place = shlex.quote(str(folder))
    if not folder.is_dir():
        return Finding(FAIL, f"{folder} is a file, and must be a folder", command=f"ls -l {place}")
    if reason := unwritable(folder):
        return Finding(
            FAIL,
            f"{folder} cannot be written to: {reason}",
            command=f"ls -ld {place} && id",
        )
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
        return Finding(
            WARN,
            f"there is no {name}: Dagster sends usage data, and queues runs for its daemon",
            command=command,
        )
    except (OSError, ValueError, yaml.YAMLError) as error:
        return Finding(FAIL, f"{name} cannot be read: {type(error).__name__}", f"Edit {name}.")
    if found is not None and not isinstance(found, dict):
        return Finding(FAIL, f"{name} is not a mapping, as in `telemetry: …`", f"Edit {name}.")
    return Finding(PASS, project.relative(folder))


@check("temporary-instances")
def temporary_instances(project: Project) -> Finding:
    """Dagster was not started without DAGSTER_HOME, which loses runs."""
    found = sorted(file.name for file in project.root.glob(".tmp_dagster_home_*"))
    if found:
        return Finding(
            WARN, f"Dagster was started without DAGSTER_HOME, and left {some(found)}",
            "While Dagster is stopped, type:", command=f"rm -r {found[0]}",
        )  # fmt: skip
    return Finding(PASS, "none")


def _remove_stale(project: Project) -> str:
    file = devfile.path(project.root)
    if not file.exists() or devfile.read(project.root):
        return ""
    file.unlink()
    return f"removed {DEV_FILE}, whose process has ended"


@check("dev-file", fix=_remove_stale)
def dev_file(project: Project) -> Finding:
    """The dev file of `invoke dev` belongs to a running process."""
    file = devfile.path(project.root)
    if not file.exists():
        raise Skip("no `invoke dev` is running")
    running = devfile.read(project.root)
    if running is None:
        return Finding(
            WARN, f"{DEV_FILE} is left from a process that has ended", command="invoke doctor --fix"
        )
    if file.stat().st_mode & 0o077:
        return Finding(WARN, f"others may read {DEV_FILE}", command=f"chmod 600 {DEV_FILE}")
    age = (time.time() - file.stat().st_mtime) / 60
    return Finding(PASS, f"process {running.pid}, for {age:.0f} min")


@check("ports")
def ports(project: Project) -> Finding:
    """The ports of Dagster and marimo are free, or taken by this project."""
    dev = devfile.read(project.root)
    own = dev.pid if dev else None
    wanted = dict(PORTS)
    addresses = (dev.dagster_url, dev.marimo_url, dev.reports_url) if dev else ()
    ours = {urlsplit(url).port for url in addresses if url}
    try:
        parts = urlsplit(project.target.url)
        if project.target.loopback and parts.port:
            wanted = {parts.port: "Dagster", 2718: "marimo"}
            ours |= {parts.port} if _is_dagster(project) else set()
    except Skip:
        pass
    taken = []
    for port, program in wanted.items():
        if port in ours or not _is_taken(port):
            continue
        pid, name = _holder(port)
        if own is not None and pid is not None and _descends(pid, own):
            continue
        who = f" ({name}, process {pid})" if name else ""
        taken.append(f"{port}, which {program} wants, is taken by another program{who}")
    if taken:
        return Finding(
            WARN, "; ".join(taken), "See which one: lsof -nP -iTCP -sTCP:LISTEN. Then stop it."
        )
    return Finding(PASS, " and ".join(f"{port} for {name}" for port, name in wanted.items()))


def _is_dagster(project: Project) -> bool:
    try:
        return bool(project.workspace)
    except Exception:  # the check `server` reports it
        return False


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(PROBE_SECONDS)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _holder(port: int) -> tuple[int | None, str]:
    """Return (pid, program) of the listener on a port; (None, "") if the system does not say."""
    import psutil

    try:
        found = [
            link.pid
            for link in psutil.net_connections("tcp")
            if link.status == psutil.CONN_LISTEN
            and link.laddr
            and link.laddr.port == port
            and link.pid
        ]
        return (found[0], psutil.Process(found[0]).name()) if found else (None, "")
    except (psutil.Error, OSError):
        return None, ""


def _descends(pid: int, ancestor: int) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return ancestor in (pid, *(parent.pid for parent in process.parents()))
    except psutil.Error:
        return False


CHECKS = (dagster_home, temporary_instances, dev_file, ports)
