"""The program `dagmar`: `dagmar init`, and in a project the tasks of its tasks.py."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from importlib.metadata import distribution, version
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    """Run the command line, and exit with its status."""
    folders = (Path.cwd(), *Path.cwd().parents)
    if not (find_spec("invoke") and find_spec("copier")):
        _install_the_extra()
    if sys.argv[1:2] != ["init"] and any((folder / "tasks.py").is_file() for folder in folders):
        from invoke.program import Program

        Program(name="dagmar", binary="dagmar", version=version("dagmar")).run()
    else:
        _init(sys.argv[1:])


def _install_the_extra() -> None:
    """Start again with `dagmar[cli]`: `uvx dagmar` installs what `import dagmar` needs."""
    from dagmar import console
    from dagmar.errors import SetupError

    package = _with_the_extra()
    uv = os.environ.get("UV", "")  # set by uvx
    if uv and "DAGMAR_WITHOUT_EXTRA" not in os.environ:
        os.environ["DAGMAR_WITHOUT_EXTRA"] = "1"
        os.execv(uv, [uv, "tool", "run", "--from", package, "dagmar", *sys.argv[1:]])  # noqa: S606
    message = "the command line of dagmar is not installed"
    console.complain(SetupError(message, command=f"uvx --from '{package}' dagmar init"))
    raise SystemExit(SetupError.exit_code)


def _with_the_extra() -> str:
    """Return this package with its extra, from where it was installed: a wheel, git or an index."""
    installed = distribution("dagmar")
    place = json.loads(installed.read_text("direct_url.json") or "{}")
    if not place or place.get("dir_info", {}).get("editable"):
        return f"dagmar[cli]=={installed.version}"
    url = place["url"]
    if git := place.get("vcs_info"):
        url = f"{git['vcs']}+{url}@{git['commit_id']}"
    folder = place.get("subdirectory")
    return f"dagmar[cli] @ {url}" + (f"#subdirectory={folder}" if folder else "")


def _init(arguments: list[str]) -> None:
    from dagmar import console
    from dagmar.errors import DagmarError, Interrupted, SetupError, UsageError
    from dagmar.project.creating import create

    about = "Pairs marimo notebooks with Dagster. In a project, `dagmar` has the tasks of `invoke`."
    parser = argparse.ArgumentParser(prog="dagmar", description=about)
    parser.add_argument("--version", action="version", version=version("dagmar"))
    commands = parser.add_subparsers(metavar="init", dest="command", required=True)
    init = commands.add_parser("init", help="make a project, or add dagmar to the one in PATH")
    init.add_argument("path", nargs="?", default=".", type=Path, help="folder; the default is .")
    init.add_argument("--from", dest="origin", default="", help="where updates find the template")
    init.add_argument("--data", action="append", default=[], help="an answer, NAME=VALUE")
    init.add_argument("--defaults", action="store_true", help="ask nothing")
    try:
        if arguments and arguments[0] != "init" and not arguments[0].startswith("-"):
            message = f"there is no project here for `dagmar {arguments[0]}`"
            raise SetupError(message, "Change to its folder, or make one with:", "dagmar init PATH")
        options = parser.parse_args(arguments)
        data = dict(answer.split("=", 1) for answer in options.data if "=" in answer)
        if len(data) < len(options.data):
            init.error("--data takes NAME=VALUE, each name once")
        if not (options.defaults or sys.stdin.isatty()):
            hint = "To take the default answers, and those of --data:"
            again = f"dagmar init {shlex.quote(str(options.path))} --defaults"
            raise UsageError("there is no terminal to answer questions", hint, again)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl-C does
        create(options.path, options.origin, data, ask=not options.defaults)
    except DagmarError as error:
        console.complain(error)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(Interrupted.exit_code) from None


if __name__ == "__main__":
    main()
