"""Where a project's Dagster definitions are: the code locations that its server would load.

`dagmar.yaml` comes first, then what `dg dev` and `dagster dev` read, in their order, then what
other files show. Nothing is imported, neither dagster nor the user's modules.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dagmar.errors import NotHere, SetupError
from dagmar.files import UNREADABLE, UNUSABLE, read_toml, unusable
from dagmar.project.layout import SETTINGS_FILE
from dagmar.project.survey import Start, locate, nested, read_text, starts

MODULE, FILE, AUTOLOAD, GRPC = "module", "file", "autoload", "grpc_server"
WORKSPACE_FILES = ("workspace.yaml", "workspace.yml")
DECLARING_FILES = ("dg.toml", "pyproject.toml", *WORKSPACE_FILES)
NOWHERE = "no file says where the definitions are"
DECLARE = "Declare them in a workspace.yaml, such as: load_from: [{python_file: definitions.py}]"
# Modules that hold definitions by convention, in a project from before `[tool.dagster]`.
BY_CUSTOM = ("definitions", "repository", "repo", "__init__")


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
    """The file, or a table of it; `nothing` if they were found by their names only."""
    locations: tuple[CodeLocation, ...]
    with_dg: bool = False
    guessed: bool = False
    known: bool = True
    """Whether `dagster dev` finds them by itself."""
    file: Path | None = None
    """The workspace file to start `dagster dev` with."""
    root: Path | None = None

    @property
    def check_command(self) -> str:
        """What to type to see whether Dagster can load them."""
        commands = [self.command_to_check(place) for place in self.locations or (None,)]
        return " && ".join(dict.fromkeys(commands))

    def command_to_check(self, location: CodeLocation | None) -> str:
        """Return what to type to see whether Dagster can load one of them, at least."""
        if self.with_dg and find_spec("dagster_dg_cli"):
            return "dg check defs"
        command = ["dagster", "definitions", "validate"]
        if self.file:
            return shlex.join([*command, "-w", str(self.file)])
        # Of `dg`, it reads only a project in pyproject.toml. Its folder is not on its module path.
        workspace = self.declared_in in WORKSPACE_FILES
        in_folder = workspace and any(map(_is_in_its_folder, self.locations))
        if location and (self.with_dg or not self.known or in_folder):
            if location.executable:
                command = [location.executable, "-m", *command]
            command += _flags(location)
        return shlex.join(command)

    @property
    def declare_command(self) -> str:
        """What to type to declare locations that were guessed, in a workspace.yaml.

        `[tool.dagster]` would not do: it holds neither a file nor the folder of a module.
        """
        return f"echo {shlex.quote(self.as_yaml(self.root))} > {WORKSPACE_FILES[0]}"

    def as_yaml(self, root: Path | None = None) -> str:
        """Return the locations as a workspace file has them, with paths relative to `root`."""
        import yaml

        entries = [_entry(place, root) for place in self.locations]
        text = yaml.safe_dump(
            entries, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
        )
        return f"load_from: {text.strip()}"

    def as_settings(self, root: Path) -> str:
        """Return the locations as `dagmar.yaml` has them."""
        import yaml

        own: dict[str, Any] = {"load_from": [_entry(place, root) for place in self.locations]}
        if self.file:
            own = {"workspace": os.path.relpath(self.file, root)}
        text = yaml.safe_dump({"dagster": own}, sort_keys=False, allow_unicode=True, width=10**6)
        comment = "" if self.declared_in == "nothing" else f" # {self.declared_in}"
        return text.strip().replace("dagster:", f"dagster:{comment}", 1)


def of_answer(root: Path, answer: str) -> Workspace | None:
    """Return the location of a file or a module that a user typed; None for an empty answer.

    Raises SetupError if it is not there.
    """
    if not answer:
        return None
    root = root.resolve()
    kind = "file" if answer.endswith(".py") else "module"
    folders = (root, root / "src") if kind == "module" else (root,)
    for folder in folders:
        start = Start("your answer", folder, ((kind, answer),))
        if found := tuple(_of_start(folder, start)):
            return Workspace(start.file, found, guessed=True, known=False, root=root)
    hint = "Answer with a file or a module there, as in etl/definitions.py or etl.definitions."
    raise SetupError(f"there is no {answer} in {root}", hint)


def check_command(root: Path) -> str:
    """Return what to type to see whether Dagster can load a project's definitions."""
    try:
        return read_workspace(root).check_command
    except SetupError:  # nothing says where they are
        return "invoke doctor --only definitions"


def read_workspace(root: Path) -> Workspace:
    """Return a project's code locations.

    Raises NotHere if no file has them, SetupError for a bad one.
    """
    root = root.resolve()
    for look in (of_settings, _declared, _found):
        if workspace := look(root):
            return replace(workspace, root=root)
    raise NotHere(NOWHERE, DECLARE)


def of_settings(root: Path) -> Workspace | None:
    """Return what `dagmar.yaml` says; whether its keys are valid is for the settings to tell."""
    file = root / SETTINGS_FILE
    if "dagster:" not in read_text(file):
        return None
    document = _read_yaml(file)
    keys = document.get("dagster") if isinstance(document, dict) else None
    if not isinstance(keys, dict):
        return None
    if isinstance(name := keys.get("workspace"), str):
        workspace = root / name
        if not workspace.is_file():
            message = f"{SETTINGS_FILE} names {name}, which is not there"
            raise SetupError(message, "Correct `dagster.workspace`: it is relative to the project.")
        return Workspace(name, tuple(_of_yaml(workspace)), known=False, file=workspace)
    if isinstance(entries := keys.get("load_from"), list):
        return Workspace(SETTINGS_FILE, tuple(_of_entries(entries, file)), known=False)
    return None


def _declared(root: Path) -> Workspace | None:
    """Return what Dagster itself reads in a folder."""
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
    return None


def _found(root: Path) -> Workspace | None:
    """Return what other files show: commands that start Dagster, names, projects further down."""
    servers = list[CodeLocation]()
    sources = list[str]()
    for start in starts(root):
        locations = tuple(_of_start(root, start))
        if locations and not start.deployed:
            (kind, name), *_ = start.targets
            file = locate(name, start.folder) if kind == "workspace" else None
            return Workspace(start.file, locations, guessed=True, known=False, file=file)
        servers += [place for place in locations if place not in servers]
        sources += [start.file] * bool(locations)
    if servers:
        return Workspace(sources[0], tuple(servers), guessed=True, known=False)
    for name, guess in (
        ("dagster_cloud.yaml", _of_cloud), ("nothing", _by_custom), ("nothing", _further_down),
    ):  # fmt: skip
        if locations := tuple(guess(root)):
            return Workspace(name, locations, guessed=True, known=False)
    return None


def require_loadable(root: Path) -> Workspace:
    """Return what `read_workspace` does. Raises NotHere too if none can be loaded here."""
    workspace = read_workspace(root)
    if workspace.locations and all(place.kind == GRPC for place in workspace.locations):
        raise NotHere(
            f"{workspace.declared_in} names only gRPC servers, whose definitions cannot be loaded "
            "here",
            "Launch runs on the server, and read values where they are stored.",
        )
    return workspace


def uses_dg(root: Path) -> bool:
    """Whether `dg` knows the folder as a project or a workspace."""
    try:
        if of_settings(root):
            return False
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
        yield replace(location, executable=_own_python(folder))


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
    document = _read_yaml(file)
    entries = document.get("load_from") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise SetupError(f"{file} has no load_from list", f"Correct {file.name}.")
    yield from _of_entries(entries, file)


def _read_yaml(file: Path) -> Any:
    import yaml

    try:
        document = yaml.safe_load(file.read_text("utf-8"))
        bad = next(unusable(document), None)
    except (OSError, yaml.YAMLError, *UNREADABLE) as error:
        raise SetupError(f"{file} is not valid YAML: {error}", f"Correct {file.name}.") from None
    if bad is not None:
        raise SetupError(f"{file}: '{'.'.join(bad)}' has {UNUSABLE}", f"Correct {file.name}.")
    return document


def _of_entries(entries: Iterable[Any], file: Path) -> Iterator[CodeLocation]:
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
        yield CodeLocation(
            str(fields.get("location_name") or _usual_name(own_kind, target, attribute)),
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


def _usual_name(kind: str, target: str, attribute: str) -> str:
    """Return what Dagster calls an unnamed code location."""
    name = Path(target).name if kind == FILE else target
    return f"{name}:{attribute}" if attribute else name


def _entry(place: CodeLocation, root: Path | None) -> dict[str, Any]:
    """Return a location as an entry of `load_from`, with paths relative to `root`, or absolute."""
    kind, required = next((name, key) for name, (own, key) in _LOADERS.items() if own == place.kind)
    target, folder = place.target, str(place.working_directory)
    if root:
        folder = os.path.relpath(folder, root)
        target = os.path.relpath(target, root) if place.kind == FILE else target
    fields = {
        required: target,
        "working_directory": "" if folder == "." else folder,
        "attribute": place.attribute,
        "executable_path": place.executable,
    }
    if place.name != _usual_name(place.kind, target, place.attribute):
        fields["location_name"] = place.name
    given = {key: value for key, value in fields.items() if value}
    return {kind: target if [*given] == [required] else given}


def _is_in_its_folder(place: CodeLocation) -> bool:
    """Whether a module is found because Dagster's servers have their folder on the module path."""
    path = place.working_directory / place.target.partition(".")[0]
    return place.kind != FILE and (path.is_dir() or path.with_suffix(".py").is_file())


def _flags(place: CodeLocation) -> list[str]:
    """Return a location as the flags of Dagster's commands."""
    named = ["-f" if place.kind == FILE else "-m", place.target]
    attribute = ["-a", place.attribute] if place.attribute else []
    return [*named, "-d", str(place.working_directory), *attribute]


def _plain(value: Any, file: Path) -> Any:
    """Return a value with the variables that `{env: NAME}` names, as Dagster reads it."""
    if not isinstance(value, dict):
        return value
    if [*value] == ["env"]:
        if (text := os.environ.get(str(value["env"]))) is None:
            message = f"{file} needs the environment variable {value['env']}, which is not set"
            raise NotHere(message, "Write it into .env, or type:", f"export {value['env']}=…")
        return text
    return {key: _plain(inner, file) for key, inner in value.items()}


def _of_start(root: Path, start: Start) -> Iterator[CodeLocation]:
    """Yield what a command loads, if the repository has it."""
    for kind, value in start.targets:
        for base in dict.fromkeys((start.folder, root)):
            folder = base
            if start.working_directory:
                folder = locate(start.working_directory, base) or base
            folder = folder.resolve()
            file = locate(value, base) if kind != "module" else None
            if kind == "module":
                name = _usual_name(MODULE, value, start.attribute)
                location = CodeLocation(name, MODULE, value, folder, start.attribute)
                if location.source:
                    yield location
                    break
            elif file and file.is_file():
                if kind == "workspace":
                    yield from _of_yaml(file)
                else:
                    name = _usual_name(FILE, file.name, start.attribute)
                    yield CodeLocation(name, FILE, str(file.resolve()), folder, start.attribute)
                break


def _of_cloud(root: Path) -> Iterator[CodeLocation]:
    """Yield the code locations of Dagster+ that are in this repository."""
    file = root / "dagster_cloud.yaml"
    document = _read_yaml(file) if file.is_file() else None
    entries = document.get("locations") if isinstance(document, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        source = entry.get("code_source") if isinstance(entry, dict) else None
        if not isinstance(source, dict):
            continue
        build = entry.get("build")
        inner = build.get("directory") if isinstance(build, dict) else ""
        base = (root / str(inner or "") / str(entry.get("working_directory") or "")).resolve()
        module = source.get("module_name") or source.get("package_name")
        path = str(base / str(source.get("python_file")))
        kind, target = (MODULE, str(module)) if module else (FILE, path)
        location = CodeLocation(str(entry.get("location_name") or target), kind, target, base)
        if location.source:
            yield replace(location, attribute=str(entry.get("attribute") or ""))


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
    for stem in BY_CUSTOM[:-1]:
        if _defines(root / f"{stem}.py"):
            yield CodeLocation(f"{stem}.py", FILE, str(root / f"{stem}.py"), root)


def _further_down(root: Path) -> Iterator[CodeLocation]:
    """Yield the locations of projects in folders of the root, or else files with definitions."""
    below = dict.fromkeys(file.parent for file in nested(root, DECLARING_FILES))
    found = list[CodeLocation]()
    done = list[Path]()
    for folder in below:
        if any(folder.is_relative_to(outer) for outer in done):
            continue
        if workspace := _declared(folder):
            done.append(folder)
            python = _own_python(folder)
            for place in workspace.locations:
                found.append(replace(place, executable=place.executable or python))
    if not found:
        files = nested(root, tuple(f"{stem}.py" for stem in BY_CUSTOM[:-1]))
        found = [
            CodeLocation(file.name, FILE, str(file), file.parent if _has_neighbors(file) else root)
            for file in files
            if _defines(file)
        ]
    names = [place.name for place in found]
    for place in found:
        where = os.path.relpath(place.working_directory, root)
        if place.kind == FILE:
            where = os.path.relpath(Path(place.target).parent, root)
        twice = names.count(place.name) > 1
        yield replace(place, name=f"{where}/{place.name}") if twice else place


def _has_neighbors(file: Path) -> bool:
    """Whether a file imports others of its folder by their names alone."""
    imported = re.findall(r"(?m)^(?:from|import)\s+(\w+)", read_text(file))
    return any(
        (file.parent / f"{name}.py").is_file() or (file.parent / name).is_dir() for name in imported
    )


def _own_python(folder: Path) -> str:
    """Return the interpreter of a folder's own environment, if it has one."""
    own = folder / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    return str(own) if own.exists() else ""


def _defines(file: Path) -> bool:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    names = ("Definitions(", "@repository", "@dg.repository", "@definitions", "@dg.definitions")
    return "dagster" in text and any(name in text for name in names)
