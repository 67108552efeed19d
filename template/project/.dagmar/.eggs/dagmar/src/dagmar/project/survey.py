"""What the files of a repository say about it: package manager, versions, how Dagster is started.

Files are only read, as text where possible, and nothing is imported or run. The template's hook
reads this module too, under Copier's interpreter: the standard library and PyYAML only.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagmar.errors import SetupError
from dagmar.files import read_toml

UV, POETRY, PDM, PIPENV, PIXI, CONDA, PIP = "uv", "poetry", "pdm", "pipenv", "pixi", "conda", "pip"
# What only one package manager writes or reads, in this order: file → package manager.
_FILES = {
    "uv.lock": UV,
    "poetry.lock": POETRY,
    "pdm.lock": PDM,
    "pixi.lock": PIXI,
    "pixi.toml": PIXI,
    "Pipfile.lock": PIPENV,
    "Pipfile": PIPENV,
    "environment.yml": CONDA,
    "environment.yaml": CONDA,
}
_BACKENDS = {"poetry.core": POETRY, "poetry.masonry": POETRY, "pdm.backend": PDM, "pdm.pep517": PDM}
_USED = re.compile(
    r"\b(?:(uv) (?:sync|run|add|lock)|(poetry|pdm|pipenv|pixi) (?:install|run|sync))\b"
)
_LOCKED = ("uv.lock", "poetry.lock", "pdm.lock", "pixi.lock", "Pipfile.lock")
# Files with commands; those of a developer before those of a deployment.
_SCRIPTS = (
    "Makefile", "makefile", "justfile", "Justfile", "Taskfile.yml", "Procfile", "Procfile.dev",
    "pyproject.toml", "pixi.toml", "Pipfile", "tox.ini", "*.sh", "scripts/*.sh", "bin/*",
    "docker-compose*.y*ml", "compose*.y*ml", "Dockerfile*", "*.dockerfile", "*/Dockerfile*",
    "*/*/Dockerfile*", ".devcontainer/*", ".vscode/*.json", ".github/workflows/*.y*ml",
    ".gitlab-ci.yml", "README*", "CONTRIBUTING*",
)  # fmt: skip
_STARTED = re.compile(
    r"\b(?:dagster (?:dev|api grpc|code-server start)|dagster-webserver|dagit|dg dev)\b([^\n]*)"
)
_CHANGED_TO = re.compile(r"\bcd\s+([\w./-]+)\s*(?:&&|;)")
_END = re.compile(r"&&|\|\||[;|>#`)]|\s&(?:\s|$)")
_FLAGS = {
    "-f": "file", "--python-file": "file", "-m": "module", "--module-name": "module",
    "--package-name": "module", "-d": "folder", "--working-directory": "folder",
    "-a": "attribute", "--attribute": "attribute", "-w": "workspace", "--workspace": "workspace",
}  # fmt: skip
_SKIPPED = {"node_modules", "site-packages", "__pycache__", "build", "dist", "venv", "env", "tests"}
_LARGEST = 400_000  # bytes of a file that is searched for commands


@dataclass(frozen=True)
class Start:
    """A command that starts Dagster: what it loads, and the folder that it is typed in."""

    file: str
    """The file that has the command, relative to the repository."""
    folder: Path
    targets: tuple[tuple[str, str], ...] = ()
    """Pairs such as ("file", "etl/repo.py"), ("module", "etl") or ("workspace", "local.yaml")."""
    working_directory: str = ""
    attribute: str = ""
    deployed: bool = False
    """Whether it starts one of several servers, as in a container, and not all of Dagster."""


@dataclass(frozen=True)
class Survey:
    """The package manager of a repository, and what its own files say about versions."""

    root: Path
    manager: str
    said_by: str
    """The file that tells the package manager; empty if none does."""
    home: Path
    """The folder of its project: the root, unless a dg workspace keeps an environment elsewhere."""
    python: str
    """The range of Python versions that it admits, as in `requires-python`; may be empty."""
    dagster: str
    """The version of Dagster that is locked or pinned; may be empty."""
    unread: tuple[str, ...] = ()
    """Why files could not be read, a sentence each."""
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The content of its pyproject.toml."""

    @property
    def manifest(self) -> Path:
        """The file to which its package manager adds requirements."""
        file = self.home / {PIPENV: "Pipfile", PIXI: "pixi.toml"}.get(self.manager, "")
        return file if file.is_file() else self.home / "pyproject.toml"

    @property
    def lock(self) -> Path | None:
        """The file with its locked versions, which may not be there yet; None without a lock.

        It is outside the project if that is a member of a uv workspace.
        """
        name = {manager: name for name, manager in _FILES.items() if name in _LOCKED}
        if self.manager not in name:
            return None
        above = _uv_workspace(self.home) if self.manager == UV else None
        return (above or self.home) / name[self.manager]

    @property
    def minors(self) -> list[int]:
        """The versions of Python 3 that it admits, as minor numbers; all if it names no range."""
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        # Poetry's ^3.9 and ~3.9; what is still not understood admits everything.
        wanted = re.sub(r"(^|,)\s*\^", r"\1>=", self.python)
        wanted = re.sub(r"(^|,)\s*~(?!=)\s*([\d.]+)", r"\1==\2.*", wanted)
        try:
            admitted = SpecifierSet(wanted)
        except InvalidSpecifier:
            admitted = SpecifierSet()
        ends = (0, 99)  # a range may begin or end between two releases
        return [minor for minor in range(40) if any(f"3.{minor}.{end}" in admitted for end in ends)]

    def place_of(self, package: str) -> str:
        """Return where a package is required: `always`, `extra dev`, `group docs`; or nowhere.

        What is locked for another package's sake counts as required.
        """
        place = _place_of(self.home, self.document, package)
        return place or ("always" if _locked(self.home, package) else "")


def survey(root: Path, environ: Mapping[str, str] = os.environ) -> Survey:
    """Return what the files in `root` say. Nothing is raised; `environ` says where programs are."""
    home, unread = _home(root), []
    try:
        document = read_toml(home / "pyproject.toml")
    except SetupError as error:
        document, unread = {}, [error.message]
    manager, said_by = _manager(home, document, environ)
    python, version = _python(document), _dagster(home)
    return Survey(root, manager, said_by, home, python, version, tuple(unread), document)


def _home(root: Path) -> Path:
    """Return the folder of the environment: `create-dagster workspace` makes deployments/local."""
    local = root / "deployments" / "local"
    if (root / "dg.toml").is_file() and not (root / "pyproject.toml").is_file():
        return local if (local / "pyproject.toml").is_file() else root
    return root


def _manager(
    home: Path, document: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[str, str]:
    tools = _table(document, "tool")
    found = [(_FILES[name], name) for name in _FILES if (home / name).is_file()]
    # After a move from one to another, the old lock may be left.
    sure = [pair for pair in found if pair[0] in tools]
    if sure or found:
        return (sure or found)[0]
    for name in (UV, POETRY, PDM, PIXI):
        if name in tools:
            return name, "pyproject.toml"
    if (above := _uv_workspace(home)) is not None:
        return UV, os.path.relpath(above / "pyproject.toml", home)
    backend = str(_table(document, "build-system").get("build-backend", ""))
    for prefix, name in _BACKENDS.items():
        if backend.startswith(prefix):
            return name, "pyproject.toml"
    if "project" not in document:
        return PIP, ""
    for file, text in _scripts(home):
        if match := _USED.search(text):
            return match[1] or match[2], file.relative_to(home).as_posix()
    return (UV if shutil.which("uv", path=environ.get("PATH")) else PIP), ""


def _uv_workspace(home: Path) -> Path | None:
    """Return the root of the uv workspace that a folder is a member of."""
    for folder in home.parents:
        try:
            uv = _table(_table(read_toml(folder / "pyproject.toml"), "tool"), "uv")
        except SetupError:
            continue
        if members := _table(uv, "workspace").get("members"):
            patterns = [str(pattern) for pattern in members] if isinstance(members, list) else []
            return folder if any(home in folder.glob(pattern) for pattern in patterns) else None
    return None


def _python(document: Mapping[str, Any]) -> str:
    wanted = _table(document, "project").get("requires-python")
    if not wanted:
        poetry = _table(_table(_table(document, "tool"), "poetry"), "dependencies")
        wanted = poetry.get("python")
    return wanted if isinstance(wanted, str) else ""


def _locked(home: Path, package: str) -> str:
    """Return the version of a package in a lock; every lock has it next to the name."""
    name = re.escape(package)
    pattern = (
        rf'name"?\s*[:=]\s*"?{name}"?\s+version\s*[:=]\s*"?([\w.]+)|'
        rf'"{name}"\s*:\s*\{{[^}}]*?"version"\s*:\s*"==([\w.]+)"'
    )
    for folder in filter(None, (home, _uv_workspace(home))):
        for file in (folder / lock for lock in _LOCKED):
            if match := re.search(pattern, read_text(file)):
                return match[1] or match[2]
    return ""


def _dagster(home: Path) -> str:
    """Return the version of Dagster in a lock, or in an exact pin."""
    if locked := _locked(home, "dagster"):
        return locked
    pins = [*home.glob("requirements*.txt"), *home.glob("environment.y*ml"), home / "setup.py",
            home / "setup.cfg", home / "pyproject.toml", home / "Pipfile"]  # fmt: skip
    for file in pins:
        pinned = r"""(?m)(?<![\w-])dagster["']?\s*(?:=\s*["'])?={1,2}\s*["']?(\d[\w.]*\*?)"""
        if match := re.search(pinned, read_text(file)):
            return match[1]
    return ""


def _place_of(home: Path, document: Mapping[str, Any], package: str) -> str:
    project, tools = _table(document, "project"), _table(document, "tool")
    poetry, uv, pdm = _table(tools, "poetry"), _table(tools, "uv"), _table(tools, "pdm")
    groups = _table(document, "dependency-groups")
    always = [
        project.get("dependencies"), groups.get("dev"), uv.get("dev-dependencies"),
        poetry.get("dependencies"), poetry.get("dev-dependencies"),
        *(group.get("dependencies") for group in _tables(poetry, "group")
          if not group.get("optional")),
        *_table(pdm, "dev-dependencies").values(),
    ]  # fmt: skip
    if any(_requires(requirements, package) for requirements in always):
        return "always"
    extras = _table(project, "optional-dependencies")
    for kind, table in (("extra", extras), ("group", groups)):
        for name, requirements in table.items():
            if _requires(requirements, package):
                return f"{kind} {name}"
    written = rf"(?<![\w-]){re.escape(package)}(?![\w-])"
    for file in (home / "setup.py", home / "setup.cfg"):
        text = read_text(file)
        if match := re.search(rf"""["'](\w+)["']\s*:\s*\[[^\]]*["']{package}(?![\w-])""", text):
            return f"extra {match[1]}"
        if re.search(written, text):
            return "always"
    listed = [*home.glob("requirements*.txt"), *home.glob("environment.y*ml"), home / "Pipfile",
              home / "pixi.toml"]  # fmt: skip
    return "always" if any(re.search(written, read_text(file)) for file in listed) else ""


def _requires(requirements: object, package: str) -> bool:
    names = requirements if isinstance(requirements, list | dict) else ()
    pattern = re.compile(rf"\s*{re.escape(package)}(?![\w-])", re.IGNORECASE)
    return any(isinstance(name, str) and pattern.match(name.replace("_", "-")) for name in names)


def _tables(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [table for table in _table(document, name).values() if isinstance(table, dict)]


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = document.get(name)
    return table if isinstance(table, dict) else {}


def read_text(file: Path) -> str:
    """Return the text of a file, or an empty one if it cannot be read."""
    try:
        return file.read_text("utf-8", errors="replace") if file.is_file() else ""
    except OSError:
        return ""


def starts(root: Path) -> list[Start]:
    """Return the commands in a repository's files that start Dagster, the best source first.

    Commands that start all of Dagster come first: `dagster dev` before one server of a deployment.
    """
    found = [
        start
        for file, text in _scripts(root)
        for match in _STARTED.finditer(_plain(text))
        if (start := _start(root, file, match)) is not None
    ]
    return sorted(dict.fromkeys(found), key=lambda start: start.deployed)


def _scripts(root: Path) -> Iterator[tuple[Path, str]]:
    seen = set[Path]()
    for pattern in _SCRIPTS:
        for file in sorted(root.glob(pattern)):
            if file in seen or _SKIPPED & set(file.relative_to(root).parts):
                continue
            seen.add(file)
            if file.is_file() and file.stat().st_size < _LARGEST:
                yield file, read_text(file)


def _plain(text: str) -> str:
    """Return commands one a line: without continuations, quotes of JSON and variables."""
    text = re.sub(r"\\\r?\n\s*", " ", text)
    text = re.sub(r"(?m)^\s*#(?! ?dagster).*$", "", text)
    # A list in YAML, one word a line.
    text = re.sub(r"\n[ \t]*- ([\"']?[^\s:#]+)(?=[ \t]*(?:\n|$))", r" \1", text)
    return re.sub(r"[\"',\[\] \t]+", " ", text)


def _start(root: Path, file: Path, match: re.Match[str]) -> Start | None:
    line = match.string[match.string.rfind("\n", 0, match.start()) + 1 : match.start()]
    nested = file.name.lower().startswith("dockerfile") or file.suffix == ".dockerfile"
    folder = file.parent if nested else root
    if changed := _CHANGED_TO.findall(line):
        folder = folder / changed[-1]
    words = _words(_END.split(match[1], maxsplit=1)[0])
    targets, others = list[tuple[str, str]](), dict[str, str]()
    while words:
        flag, _, value = words.pop(0).partition("=")
        if (kind := _FLAGS.get(flag)) is None:
            continue
        value = value or (words.pop(0) if words else "")
        if not value or "$" in value:
            return None
        if kind in ("folder", "attribute"):
            others[kind] = value
        else:
            targets.append((kind, value))
    name = file.relative_to(root).as_posix()
    deployed = not re.match(r"dagster dev|dg dev", match[0])
    where, attribute = others.get("folder", ""), others.get("attribute", "")
    return Start(name, folder, tuple(targets), where, attribute, deployed)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an open quote
        return text.split()


@functools.lru_cache(maxsize=64)
def _tails(path: str) -> tuple[str, ...]:
    parts = [part for part in Path(path).parts if part not in ("/", ".")]
    return tuple("/".join(parts[index:]) for index in range(len(parts)))


def locate(path: str, *folders: Path) -> Path | None:
    """Return the file or folder that a path of a container or a folder means in these folders.

    `/opt/app/etl/repo.py` is `etl/repo.py` if the repository has that.
    """
    for folder in folders:
        for tail in _tails(path) if path.startswith("/") else (path,):
            if (folder / tail).exists():
                return folder / tail
    return None


def nested(root: Path, names: tuple[str, ...], depth: int = 3) -> Iterator[Path]:
    """Yield the files of these names in folders of the repository, the nearest first."""
    level = [root]
    for _ in range(depth):
        inner = [
            folder
            for above in level
            for folder in sorted(above.glob("*/"))
            if folder.is_dir() and not folder.is_symlink() and folder.name not in _SKIPPED
            and not folder.name.startswith(".") and not (folder / "pyvenv.cfg").exists()
        ]  # fmt: skip
        for folder in inner:
            yield from (folder / name for name in names if (folder / name).is_file())
        level = inner
