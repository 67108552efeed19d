"""Where a project's Dagster definitions are: the code locations that its server would load.

Read in the order of `dg dev` and `dagster dev`. Nothing is imported, neither dagster nor the
user's modules.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dagmar.errors import SetupError

MODULE, FILE, AUTOLOAD, GRPC = "module", "file", "autoload", "grpc_server"
WORKSPACE_FILES = ("workspace.yaml", "workspace.yml")
DECLARING_FILES = ("dg.toml", "pyproject.toml", *WORKSPACE_FILES)
NOWHERE = "pyproject.toml does not say where the definitions are"
DECLARE = "Declare them in a workspace.yaml, such as: load_from: [{python_file: definitions.py}]"
# Modules that hold definitions by convention, in a project from before `[tool.dagster]`.
BY_CUSTOM = ("definitions", "repository", "__init__")


@dataclass(frozen=True)
class CodeLocation:
    """One code location, and how it is loaded."""

    name: str
    kind: str
    target: str
    """The name of a module, the path of a file, or the address of a gRPC server."""
    working_directory: Path
    attribute: str = ""
    executable: str = ""
    folder: Path | None = None
    """The folder of its project in a dg workspace, whose `.env` Dagster reads too."""

    @property
    def places(self) -> list[Path]:
        """The folders that its modules are imported from, the first one first."""
        source = self.working_directory / "src"
        return [self.working_directory, *([source] if source.is_dir() else [])]

    @property
    def source(self) -> Path | None:
        """The file of the module, or None if it is not in the project."""
        if self.kind == FILE:
            file = Path(self.target)
            return file if file.is_file() else None
        path = Path(*self.target.split("."))
        for place in self.places:
            for file in ((place / path).with_suffix(".py"), place / path / "__init__.py"):
                if file.is_file():
                    return file
            if (place / path).is_dir():
                return place / path
        return None


@dataclass(frozen=True)
class Workspace:
    """The code locations of a project, and where they are declared."""

    declared_in: str
    locations: tuple[CodeLocation, ...]
    with_dg: bool = False
    guessed: bool = False

    @property
    def check_command(self) -> str:
        """What to type to see whether Dagster can load them."""
        return self.command_to_check(next(iter(self.locations), None))

    def command_to_check(self, location: CodeLocation | None) -> str:
        """Return what to type to see whether Dagster can load one of them, at least."""
        if self.with_dg and find_spec("dagster_dg_cli"):
            return "dg check defs"
        command = ["dagster", "definitions", "validate"]
        if location and (
            self.guessed or self.with_dg
        ):  # of `dg`, it reads only a project in pyproject.toml
            if location.executable:
                command = [location.executable, "-m", *command]
            flag = "-f" if location.kind == FILE else "-m"
            command += [flag, location.target, "-d", str(location.working_directory)]
        return shlex.join(command)

    @property
    def declare_command(self) -> str:
        """What to type to declare locations that were guessed, in a workspace.yaml.

        `[tool.dagster]` would not do: it holds neither a file nor the folder of a module.
        """
        entries = []
        for place in self.locations:
            folder = "src" if place.working_directory.name == "src" else "."
            if place.kind == FILE:
                entries.append(f"{{python_file: {Path(place.target).name}}}")
            else:
                fields = f"{{module_name: {place.target}, working_directory: {folder}}}"
                entries.append(f"{{python_module: {fields}}}")
        text = f"load_from: [{', '.join(entries)}]"
        return f"echo {shlex.quote(text)} > {WORKSPACE_FILES[0]}"


def check_command(root: Path) -> str:
    """Return what to type to see whether Dagster can load a project's definitions."""
    try:
        return read_workspace(root).check_command
    except SetupError:  # nothing says where they are
        return "invoke doctor --only definitions"


def read_workspace(root: Path) -> Workspace:
    """Return a project's code locations. Raises SetupError if no file, or a bad one, has them."""
    root = root.resolve()
    dg, dg_file = _dg(root)
    project = dg.get("project")
    table = "[tool.dg.{}] of pyproject.toml" if dg_file == "pyproject.toml" else dg_file
    if isinstance(project, dict) and not _autoloaded(project):
        declared = table.format("project")
        return Workspace(declared, (_of_dg(root, project, dg_file),), with_dg=True)
    if isinstance(dg.get("workspace"), dict):
        declared = table.format("workspace")
        locations = tuple(_of_dg_workspace(root, dg["workspace"], declared))
        return Workspace(declared, locations, with_dg=True)
    block = _tools(root).get("dagster")
    if isinstance(block, dict) and (locations := tuple(_of_dagster(root, block))):
        return Workspace("[tool.dagster] of pyproject.toml", locations)
    if isinstance(project, dict):
        return Workspace(table.format("project"), (_of_dg(root, project, dg_file),))
    for name in WORKSPACE_FILES:
        if (root / name).is_file():
            return Workspace(name, tuple(_of_yaml(root / name)))
    if guessed := tuple(_by_custom(root)):
        return Workspace("nothing", guessed, guessed=True)
    raise SetupError(NOWHERE, DECLARE)


def require_loadable(root: Path) -> Workspace:
    """Return what `read_workspace` does. Raises SetupError too if none can be loaded here."""
    workspace = read_workspace(root)
    if workspace.locations and all(place.kind == GRPC for place in workspace.locations):
        raise SetupError(
            f"{workspace.declared_in} names only gRPC servers, whose definitions cannot be loaded "
            "here",
            "Launch runs on the server, and read values where they are stored.",
        )
    return workspace


def uses_dg(root: Path) -> bool:
    """Whether `dg` knows the folder as a project or a workspace."""
    try:
        dg, file = _dg(root)
    except SetupError:
        return False  # Dagster itself reports what is wrong with the file
    # `autoload_defs` is known to `dagster dev`, and refused by `dg`.
    return bool(file) and not _autoloaded(dg.get("project"))


def _autoloaded(project: object) -> bool:
    return isinstance(project, dict) and bool(project.get("autoload_defs"))


def _dg(root: Path) -> tuple[Mapping[str, Any], str]:
    """Return the settings of `dg`, and the name of their file: `dg.toml` hides the other one."""
    if (root / "dg.toml").is_file():
        return read_toml(root / "dg.toml"), "dg.toml"
    dg = _tools(root).get("dg")
    return (dg, "pyproject.toml") if isinstance(dg, dict) else ({}, "")


def _tools(root: Path) -> Mapping[str, Any]:
    tools = read_toml(root / "pyproject.toml").get("tool", {})
    return tools if isinstance(tools, dict) else {}


def read_toml(file: Path) -> dict[str, Any]:
    """Return a TOML file; a missing one is empty. Raises SetupError for one that is not valid."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SetupError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise SetupError(f"{file} is not valid TOML: {error}") from None


def _of_dg(root: Path, project: Mapping[str, Any], file: str) -> CodeLocation:
    module = project.get("root_module")
    if not isinstance(module, str):
        message = f"{root / file} does not set root_module, so dg does not know the definitions"
        raise SetupError(message, "Add root_module to its project table.")
    if _autoloaded(project):
        target = project.get("defs_module") or f"{module}.defs"
        name = project.get("code_location_name") or target
        return CodeLocation(str(name), AUTOLOAD, str(target), root)
    target = project.get("code_location_target_module") or f"{module}.definitions"
    name = project.get("code_location_name") or root.name
    place = root / "src" if (root / "src").is_dir() else root
    return CodeLocation(str(name), MODULE, str(target), place, folder=root)


def _of_dg_workspace(
    root: Path, workspace: Mapping[str, Any], declared: str
) -> Iterator[CodeLocation]:
    for spec in workspace.get("projects") or ():
        path = spec.get("path") if isinstance(spec, dict) else None
        if not isinstance(path, str):
            raise SetupError(f"{declared} lists a project without a path", "Give it a path.")
        folder = (root / path).resolve()
        dg, file = _dg(folder)
        if not isinstance(dg.get("project"), dict):
            message = f"{declared} lists {path}, which is not a dg project"
            raise SetupError(message, f"Correct {declared}.")
        location = _of_dg(folder, dg["project"], file)
        own = folder / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        yield replace(location, executable=str(own) if own.exists() else "")


def _of_dagster(root: Path, block: Mapping[str, Any]) -> Iterator[CodeLocation]:
    named = block.get("code_location_name")
    if isinstance(module := block.get("module_name"), str):
        yield CodeLocation(str(named or module), MODULE, module, root)
        return
    for entry in block.get("modules") or ():
        if not (isinstance(entry, dict) and isinstance(entry.get("name"), str)):
            message = "an entry of modules in [tool.dagster] has no name"
            raise SetupError(message, 'Each entry is { type = "module", name = "…" }.')
        if entry.get("type") == "module":
            yield CodeLocation(str(named or entry["name"]), MODULE, entry["name"], root)


def _of_yaml(file: Path) -> Iterator[CodeLocation]:
    """Yield the code locations of a workspace.yaml; a text stands for the one required value."""
    import yaml

    try:
        document = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SetupError(f"{file} is not valid YAML: {error}") from None
    entries = document.get("load_from") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise SetupError(f"{file} has no load_from list", f"Correct {file.name}.")
    root = file.parent
    for entry in entries:
        (kind, spec), *rest = entry.items() if isinstance(entry, dict) and entry else [("", None)]
        value = _plain(spec, file)
        if kind == GRPC and isinstance(value, dict):
            host = value.get("host") or "localhost"
            address = value.get("socket") or f"{host}:{value.get('port')}"
            name = value.get("location_name") or f"grpc:{host}:{value.get('port')}"
            yield CodeLocation(str(name), GRPC, str(address), root)
            continue
        own_kind, required = _LOADERS.get(kind, ("", ""))
        fields = value if isinstance(value, dict) else {required: value}
        target = fields.get(required)
        if rest or not required or not isinstance(target, str):
            message = f"{file} lists what Dagster cannot load: {kind or entry!r}"
            raise SetupError(message, f"Correct {file.name}.")
        attribute = str(fields.get("attribute") or "")
        name = Path(target).name if own_kind == FILE else target
        name = f"{name}:{attribute}" if attribute else name
        yield CodeLocation(
            str(fields.get("location_name") or name),
            own_kind,
            str(root / target) if own_kind == FILE else target,
            root / str(fields.get("working_directory") or ""),
            attribute,
            os.path.expanduser(str(fields.get("executable_path") or "")),
        )


# How workspace.yaml calls a kind → the kind, and the value that it requires.
_LOADERS = {
    "python_file": (FILE, "relative_path"),
    "python_module": (MODULE, "module_name"),
    "python_package": (MODULE, "package_name"),
    "autoload_defs_module": (AUTOLOAD, "module_name"),
}


def _plain(value: Any, file: Path) -> Any:
    """Return a value with the variables that `{env: NAME}` names, as Dagster reads it."""
    if not isinstance(value, dict):
        return value
    if [*value] == ["env"]:
        if (text := os.environ.get(str(value["env"]))) is None:
            message = f"{file} needs the environment variable {value['env']}, which is not set"
            raise SetupError(message)
        return text
    return {key: _plain(inner, file) for key, inner in value.items()}


def _by_custom(root: Path) -> Iterator[CodeLocation]:
    """Yield the modules that look like definitions, in a project that does not declare them."""
    for folder in (root / "src", root):
        inits = [init for init in folder.glob("*/__init__.py") if init.parent.name.isidentifier()]
        for init in sorted(inits):
            found = (stem for stem in BY_CUSTOM if _defines(init.with_name(f"{stem}.py")))
            if stem := next(found, None):
                package = init.parent.name
                module = package if stem == "__init__" else f"{package}.{stem}"
                yield CodeLocation(module, MODULE, module, folder)
    for stem in ("definitions", "repository"):
        if _defines(root / f"{stem}.py"):
            yield CodeLocation(f"{stem}.py", FILE, str(root / f"{stem}.py"), root)


def _defines(file: Path) -> bool:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    names = ("Definitions(", "@repository", "@dg.repository", "@definitions", "@dg.definitions")
    return "dagster" in text and any(name in text for name in names)
