"""Repositories of other people, made by the tools that they use, to be adopted."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagmar.project import devfile
from support.git import commit, git
from support.layouts import ASSET, defs
from support.template_releases import ROOT, Template, write

ROWS = Path(__file__).parents[1] / "template" / "adopted.json"
"""What was seen when each one was adopted: the table in docs/how-to/adopt-a-repository.md."""
VERSION = "1.13.27"
PACKAGES = ("dagster", "dagster-webserver")
PROJECT = '[project]\nname = "{0}"\nversion = "0.1.0"\nrequires-python = "{1}"\n'
PINNED = f"dagster=={VERSION}\ndagster-webserver=={VERSION}\n"
SETUP = """\
from setuptools import find_packages, setup

setup(
    name="shop",
    packages=find_packages(exclude=["tests"]),
    install_requires=["dagster=={0}"],
    extras_require={{"dev": ["dagster-webserver"]}},
)
"""
COMMAND = re.compile(
    r"^ +((?:uv (?:--\S+ \S+ )?(?:add|pip|sync)|poetry|pdm|pip|echo|printf) .*?)(?: +#.*)?$", re.M
)
TOOLS = {"poetry": "uvx poetry", "pdm": "uvx --from 'pdm[locked]' pdm"}
"""What is typed for a tool that is not installed. PDM has an extra with the versions it needs."""
INDEX = re.findall(r'registry = "(.+?)"', (ROOT / "uv.lock").read_text("utf-8"))[0]
"""Poetry asks it for each file; its default is another interface, which not every mirror has."""
IN_VENV = "uv venv -q && uv pip install -q "


@dataclass(frozen=True)
class Repository:
    """How somebody made a repository: commands in an empty folder, files, and an installation."""

    made_by: str
    files: Mapping[str, str] = field(default_factory=dict)
    make: str = "true"
    install: str = "uv sync -q"
    run: str = "uv run"
    project: str = "."
    """The folder that is adopted."""


REPOSITORIES = {
    "dg project": Repository(
        "`create-dagster project`",
        {"src/shop/defs/orders.py": ASSET.format(name="orders", value=3)},
        f"yes n | uvx create-dagster@{VERSION} project shop && cp -r shop/. . && rm -r shop",
    ),
    "dg workspace": Repository(
        "`create-dagster workspace`",
        {
            "projects/back/src/back/defs/a.py": ASSET.format(name="returns", value=4),
            "projects/front/src/front/defs/a.py": ASSET.format(name="orders", value=3),
        },
        f"uvx create-dagster@{VERSION} workspace shop --no-uv-sync && cp -r shop/. . && rm -r shop"
        f" && cd projects && yes n | uvx create-dagster@{VERSION} project back"
        f" && yes n | uvx create-dagster@{VERSION} project front",
        "for at in projects/* deployments/local; do uv sync -q --project $at || exit 1; done",
        "uv run --project deployments/local",
    ),
    "scaffolded by Dagster 1.10": Repository(
        "`dagster project scaffold`, Dagster 1.10",
        {"shop/assets.py": ASSET.format(name="orders", value=3)},
        "uvx --from dagster==1.10.17 --with dagster-webserver==1.10.17 "
        "dagster project scaffold --name shop && mv shop made && cp -r made/. . && rm -r made"
        ' && sed -i \'s/"dagster",/"dagster==1.10.17",/; /dagster-cloud/d\' pyproject.toml',
        "uv sync -q --extra dev",
    ),
    "scaffolded by the newest Dagster": Repository(
        "`dagster project scaffold`",
        {"shop/assets.py": ASSET.format(name="orders", value=3)},
        f"uvx --from dagster=={VERSION} --with dagster-webserver "
        "dagster project scaffold --name shop && mv shop made && cp -r made/. . && rm -r made"
        f' && sed -i \'s/"dagster",/"dagster=={VERSION}",/; /dagster-cloud/d\' pyproject.toml',
        "uv sync -q --extra dev",
    ),
    "poetry": Repository(
        "`poetry new`",
        {"src/shop/definitions.py": defs()},
        "poetry new -q shop --python '>=3.10,<3.14' && cp -r shop/. . && rm -r shop"
        " && printf '[tool.dagster]\\nmodule_name = \"shop.definitions\"\\n' >> pyproject.toml",
        "poetry config virtualenvs.in-project true --local"
        f" && poetry source add -q --priority primary index {INDEX}"
        f" && poetry add -q dagster=={VERSION}"
        f" && poetry add -q --group dev dagster-webserver=={VERSION}",
        "poetry run",
    ),
    "pdm": Repository(
        "`pdm init --dist`",
        {"src/shop/__init__.py": "", "src/shop/definitions.py": defs()},
        "pdm init -n -q --dist minimal && touch README.md"
        """ && sed -i 's/^requires-python.*/requires-python = ">=3.10,<3.14"/' pyproject.toml"""
        " && printf '[tool.dagster]\\nmodule_name = \"shop.definitions\"\\n' >> pyproject.toml",
        f"pdm add -q dagster=={VERSION} && pdm add -q -dG dev dagster-webserver=={VERSION}",
        "pdm run",
    ),
    "setup.py": Repository(
        "setup.py, pip",
        {
            "setup.py": SETUP.format(VERSION),
            "shop/__init__.py": "",
            "shop/repository.py": defs(),
        },
        install=f'{IN_VENV} -e ".[dev]"',
        run=".venv/bin/python -m",
    ),
    "requirements only": Repository(
        "requirements.txt, pip",
        {"requirements.txt": PINNED, "etl/__init__.py": "", "etl/definitions.py": defs()},
        install=f"{IN_VENV} -r requirements.txt",
        run=".venv/bin/python -m",
    ),
    "two locations": Repository(
        "workspace.yaml",
        {
            "requirements.txt": PINNED,
            "workspace.yaml": "load_from:\n- python_file: back.py\n- python_file: front.py\n",
            "back.py": defs("returns", "4"),
            "front.py": defs(),
        },
        install=f"{IN_VENV} -r requirements.txt",
        run=".venv/bin/python -m",
    ),
    "one file": Repository(
        "definitions.py alone",
        {"definitions.py": defs()},
        install=f"{IN_VENV} {' '.join(f'{name}=={VERSION}' for name in PACKAGES)}",
        run=".venv/bin/python -m",
    ),
    "uv workspace member": Repository(
        "a member of a uv workspace",
        {
            "pyproject.toml": PROJECT.format("all", ">=3.10")
            + '[tool.uv.workspace]\nmembers = ["services/*"]\n',
            "services/etl/pyproject.toml": PROJECT.format("etl", ">=3.10")
            + f'dependencies = ["dagster=={VERSION}"]\n[dependency-groups]\n'
            f'dev = ["dagster-webserver=={VERSION}"]\n[tool.dagster]\nmodule_name = "etl"\n',
            "services/etl/etl.py": defs(),
        },
        install="uv sync -q --all-packages",
        project="services/etl",
    ),
    "Makefile and Dockerfile": Repository(
        "Makefile, Dockerfile",
        {
            "pyproject.toml": PROJECT.format("shop", ">=3.10")
            + f'dependencies = ["dagster=={VERSION}"]\n[dependency-groups]\n'
            f'dev = ["dagster-webserver=={VERSION}"]\n',
            "Makefile": "dev:\n\tuv run dagster dev -f jobs/repo.py\n",
            "Dockerfile": "FROM python:3.12-slim\nCOPY pyproject.toml uv.lock ./\n"
            "RUN uv sync --frozen --no-dev --no-install-project\n",
            "jobs/repo.py": defs(),
        },
    ),
}


class Adopted:
    """A repository of a layout, in which each step is typed as its team would type it."""

    def __init__(self, layout: str, folder: Path, template: Template) -> None:
        self.layout = REPOSITORIES[layout]
        self.template = template
        self.top = folder
        self.root = folder / self.layout.project
        self.environ = {
            **{name: text for name, text in os.environ.items() if name != "VIRTUAL_ENV"},
            "UV_PYTHON_PREFERENCE": "only-system",
            "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        }
        assert all(map(shutil.which, ("uv", "git", "uvx")))
        for tool in (tool for tool in TOOLS if not shutil.which(tool)):
            shim = folder.parent / "bin" / tool
            write(shim.parent, {tool: f'#!/bin/sh\nexec {TOOLS[tool]} "$@"\n'})
            shim.chmod(0o755)
            self.environ["PATH"] = f"{shim.parent}{os.pathsep}{self.environ['PATH']}"

        if self.layout.run.startswith(".venv"):  # its team activates the environment
            path = f"{self.root}/.venv/bin{os.pathsep}{self.environ['PATH']}"
            self.environ |= {"VIRTUAL_ENV": f"{self.root}/.venv", "PATH": path}

    def type(self, command: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """Type a command in the adopted folder."""
        return subprocess.run(
            ["bash", "-c", command], cwd=self.root, env=self.environ,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    def invoke(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call `invoke` in the environment of the project."""
        return self.type(" ".join([self.layout.run, "invoke", *arguments]))

    def make(self) -> None:
        """Make and install the repository, and commit it."""
        self.root.mkdir(parents=True)
        for command in (self.layout.make, self.layout.install):
            if command is self.layout.install:
                write(
                    self.top,
                    {".gitignore": ".venv/\n__pycache__/\n*.egg-info/\n", **self.layout.files},
                )
            done = self.type(command)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        git(self.top, "init", "-q", "-b", "main")
        commit(self.top)

    def copy(self, flags: str = "") -> str:
        """Run Copier as README says; return what it prints."""
        words = f"copier copy --trust --defaults --vcs-ref v1.0.0 {flags} {self.template.path} ."
        done = self.type(words)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def adopt(self) -> list[str]:
        """Add dagmar, and type the commands that are printed; return them."""
        said = self.copy()
        assert git(self.top, "diff", "--name-only") == ""  # no file of the user's was changed
        commands = [each for each in COMMAND.findall(said) if " run " not in each]
        for command in commands:
            typed = self.type(command)
            assert typed.returncode == 0, f"{command}\n{typed.stderr}"
        commit(self.top)
        return commands

    def live(self) -> dict[str, str]:
        """Do each task with a real `invoke dev`; return what was not fine, by task."""
        found: dict[str, str] = {}

        def look(task: str, *arguments: str) -> Any:
            done = self.invoke(task, *arguments, "--json")
            if done.returncode:
                lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
                found[task] = f"status {done.returncode}: {' '.join(lines[-4:])}"
            return json.loads(done.stdout) if done.stdout.startswith("{") else {}

        with self.dev(found):
            assets = look("discover").get("assets") or ()
            if not {"orders"} <= {
                "/".join(asset["key"]) if isinstance(asset["key"], list) else asset["key"]
                for asset in assets
            }:
                found.setdefault("discover", "orders is not listed")
            look("run", "--asset", "orders")
            look("scaffold", "--asset", "orders")
            commit(self.top)
            look("doctor")
            look("check")
            look("export", "--all")
        look("update")
        commit(self.top)
        if "v1.1.0" not in (self.root / ".copier-answers.yml").read_text("utf-8"):
            found.setdefault("update", "the version did not change")
        return found

    def leave(self, before: str) -> str:
        """Remove dagmar; return which files differ from the commit `before`, but for notebooks."""
        done = self.type(f"{self.layout.run} invoke leave --yes")
        assert done.returncode == 0, done.stderr
        git(self.top, "add", "-A")
        return git(self.top, "diff", "--cached", "--name-only", before, "--", ".", ":!*notebooks/*")

    @contextlib.contextmanager
    def dev(self, found: dict[str, str]) -> Iterator[None]:
        """Run `invoke dev` until the block ends; what is wrong with it is put into `found`."""
        command = f"exec {self.layout.run} invoke dev --no-open --no-marimo --json"
        with (
            tempfile.TemporaryFile("w+") as err,
            subprocess.Popen(
                ["bash", "-c", command], cwd=self.root, env=self.environ, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err,
            ) as process,
        ):  # fmt: skip
            assert process.stdout
            ready = False
            try:
                ready = any(json.loads(line)["event"] == "ready" for line in process.stdout)
                yield
            finally:
                if running := devfile.read(self.root):  # what starts it may not pass a signal on
                    os.kill(running.pid, signal.SIGINT)
                elif process.poll() is None:
                    process.send_signal(signal.SIGINT)
                process.communicate(timeout=120)
                if not ready or process.returncode not in (0, 130):
                    err.seek(0)
                    found["dev"] = f"status {process.returncode}: {err.read()[-300:]}"
