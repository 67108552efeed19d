"""Functions that converted cells call; a notebook gets the ones that it needs."""

from __future__ import annotations

import re
from collections.abc import Collection

HELPERS = {
    "captured": '''
def captured(command):
    """Run a command as `lines = !command` did, and return the lines that it prints."""
    import os
    import subprocess

    done = subprocess.run(
        command,
        shell=True,
        executable=os.environ.get("SHELL"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()
''',
    "shell": '''
def shell(command):
    """Run a command as `!command` did: what it prints is shown, and it may fail."""
    for line in captured(command):
        print(line)
''',
    "script": '''
def script(program, text, check=True):
    """Run a text with a program as `%%bash` did; if that fails, so does the cell."""
    import subprocess
    import sys

    done = subprocess.run(program, input=text, capture_output=True, text=True)
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    if check:
        done.check_returncode()
''',
    "set_variable": '''
def set_variable(name, value):
    """Set an environment variable as `%env NAME=VALUE` did."""
    import os

    os.environ[name] = value
    print(f"env: {name}={value}")
''',
    "variables": '''
def variables(name=None):
    """Return the environment, or one of its variables, as `%env` did."""
    import os

    return dict(os.environ) if name is None else os.environ[name]
''',
    "change_folder": '''
def change_folder(path="~", quiet=False):
    """Change the working directory as `%cd` did."""
    import os

    os.chdir(os.path.expanduser(path))
    if not quiet:
        print(os.getcwd())
''',
    "current_folder": '''
def current_folder():
    """Return the working directory as `%pwd` did."""
    import os

    return os.getcwd()
''',
    "run_file": '''
def run_file(path, *arguments):
    """Run a Python file as `%run` did, and return its variables."""
    import os
    import runpy
    import sys

    before, sys.argv = sys.argv, [path, *arguments]
    try:
        return runpy.run_path(os.path.expanduser(path), run_name="__main__")
    finally:
        sys.argv = before
''',
    "write_file": '''
def write_file(path, text, mode="w"):
    """Write a file as `%%writefile` did."""
    import os

    path = os.path.expanduser(path)
    there = os.path.exists(path)
    print("Appending to" if mode == "a" and there else "Overwriting" if there else "Writing", path)
    with open(path, mode, encoding="utf-8") as file:
        file.write(text)
''',
    "run_context": '''
def run_context(config, partition_key=None):
    """Return what `dagstermill.get_context` gave in Jupyter: config, log and partition."""
    import logging
    import types

    log = logging.getLogger("dagster")
    return types.SimpleNamespace(
        op_config=config, solid_config=config, log=log, partition_key=partition_key
    )
''',
    "display": '''
def display(*values, **options):
    """Show values in the order of the calls, as Jupyter's `display` did."""
    for value in values:
        mo.output.append(value)
''',
}
NEEDED_BY = {"shell": "captured"}


def helper_name(name: str, known: Collection[str]) -> str:
    """Return what a helper is called in a notebook that has these names."""
    return f"jupyter_{name}" if name in known and name != "display" else name


def helper_codes(needs: Collection[str], known: Collection[str]) -> list[str]:
    """Return the code of the helpers that are needed, each a cell."""
    every = {*needs, *(NEEDED_BY[name] for name in needs if name in NEEDED_BY)}
    codes = []
    for code in (code for name, code in HELPERS.items() if name in every):
        for name in every:
            code = re.sub(rf"\b{name}(?=\()", helper_name(name, known), code)
        codes.append(code.strip())
    return codes
