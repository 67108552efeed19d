"""The one loader of a project's definitions: as its Dagster would load them, and never stale.

Before definitions are used, the files that they came from are compared with what was loaded. If
one was changed, added or removed, the project's own modules are dropped and imported again. Code
that does not load any more is an error: what was loaded before is never run instead.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Invalid, SetupError, UnknownDagster, did_you_mean
from dagmar.failure import Failure
from dagmar.orchestration.internals import internal
from dagmar.orchestration.quiet import no_warnings, one_line
from dagmar.project import code, devfile, installed, locations
from dagmar.project.environ import apply_environ, current_environ, own_environ, read_environ
from dagmar.project.installing import sync_command
from dagmar.project.survey import declared_dependencies
from dagmar.server.names import choose, names_of, possible_names, similar_names

if TYPE_CHECKING:
    from dagster import RepositoryDefinition

_LOCK = threading.RLock()
_PROJECTS: dict[Path, Definitions] = {}


def definitions_of(root: Path) -> Definitions:
    """Return the definitions of the project in `root`, the same for the whole process."""
    with _LOCK:
        return _PROJECTS.setdefault(root.resolve(), Definitions(root.resolve()))


@dataclass(eq=False)
class Definitions:
    """The definitions of one project in this process, loaded location by location."""

    root: Path
    _workspace: locations.Workspace | None = None
    _loaded: dict[locations.CodeLocation, list[RepositoryDefinition]] = field(default_factory=dict)
    _stamps: dict[Path, code.Stamp] = field(default_factory=dict)
    _modules: set[str] = field(default_factory=set)
    _env_file: str | None = None
    # Of distributions that are installed as editable: of a monorepo, for example.
    _editable: list[Path] = field(default_factory=list)
    _declared: list[object] | None = None

    def with_asset(self, name: str) -> tuple[RepositoryDefinition, Any]:
        """Return the repository that defines an asset, and its node in the asset graph.

        An asset that is only upstream of others in one code location may be defined in the next,
        so all are loaded, or the one that `KEY@LOCATION` names.
        Raises Invalid for an unknown or ambiguous asset, and what `each` raises if it may be in
        what failed.
        """
        import dagster as dg

        failures = dict[str, DagmarError]()
        found: list[dict[str, Any]] = []
        repositories: list[tuple[str, RepositoryDefinition]] = []
        wanted = [(text, dg.AssetKey(AssetKey(text).parts)) for text in possible_names(name)]
        for place, repository in self.each(failures, name):
            graph = repository.asset_graph
            for key, asset in wanted:
                item = {"key": key, "location": place, "repository": repository.name}
                if name in names_of(item) and graph.has(asset):
                    found.append({**item, "node": graph.get(asset), "of": repository})
            repositories.append((place, repository))
        defined = choose("asset", name, [item for item in found if item["node"].is_materializable])
        if not found:
            known = [
                {"key": AssetKey.from_parts(key.path), "location": place, "repository": of.name}
                for place, of in repositories
                for key in of.asset_graph.get_all_asset_keys()
            ]
            raise _unknown("asset", name, similar_names(name, known), failures)
        observed = (item for item in found if item["node"].is_executable)
        chosen = defined or next(observed, found[0])
        return chosen["of"], chosen["node"]

    def with_job(self, name: str) -> tuple[RepositoryDefinition, str]:
        """Return the repository that defines a job, and the name of the job in it.

        Raises Invalid for an unknown or ambiguous job, and what `each` raises if it may be in
        what failed.
        """
        failures = dict[str, DagmarError]()
        jobs: list[dict[str, Any]] = [
            {"name": job, "location": place, "repository": repository.name, "of": repository}
            for place, repository in self.each(failures, name)
            for job in repository.job_names
            if not job.startswith("__")
        ]
        if job := choose("job", name, jobs):
            return job["of"], job["name"]
        raise _unknown("job", name, similar_names(name, jobs), failures)

    def each(
        self, failures: dict[str, DagmarError], name: str = ""
    ) -> Iterator[tuple[str, RepositoryDefinition]]:
        """Yield each repository with its code location, first those that are loaded.

        If `name` ends with `@` and a code location, only that one is loaded. A code location that
        does not load is added to `failures`. Raises SetupError if the project does not declare its
        definitions, and if an imported library was changed on disk.
        """
        with _LOCK, no_warnings():
            installed.require_current()
            self._refresh()
            assert self._workspace is not None
            order = sorted(self._workspace.locations, key=lambda place: place not in self._loaded)
        named = [place for place in order if name.endswith(f"@{place.name}")]
        for location in named or order:
            try:
                with _LOCK, no_warnings():
                    if location not in self._loaded:
                        self._loaded[location] = self._load(location)
                    repositories = self._loaded[location]
            except UnknownDagster:
                raise
            except DagmarError as error:
                failures[location.name] = error
            else:
                yield from ((location.name, repository) for repository in repositories)

    def _refresh(self) -> None:
        """Forget everything that was loaded if a file that it came from has changed."""
        if self._workspace is not None:
            if not self._changed():
                return
            self._drop()
        self._workspace = None
        self._loaded, self._stamps = {}, {}
        self._editable = installed.editable_folders()
        self._remark()
        self._env_file = _env_file(self.root)
        apply_environ(current_environ(self.root, own_environ()))
        self._stated = locations.of_settings(self.root)
        self._workspace = locations.read_workspace(self.root)
        for name in (*locations.DECLARING_FILES, ".env", *filter(None, [self._env_file])):
            self._stamps[self.root / name] = code.stamp(self.root / name)

    def _remark(self) -> None:
        """Say once that the project declares other dependencies than before."""
        before, now = self._declared, declared_dependencies(self.root)
        self._declared = now or before
        if before and now and before != now:
            print(
                "The dependencies in pyproject.toml have changed: install them with "
                f"`{sync_command(self.root)}`, and restart the kernel.",
                file=sys.stderr,
            )

    def _changed(self) -> bool:
        if new := [name for name in list(sys.modules) if name not in self._modules]:
            self._watch(new, 0)
        changed = any(code.stamp(path) != stamp for path, stamp in self._stamps.items())
        if changed or _env_file(self.root) != self._env_file:
            return True
        return locations.of_settings(self.root) != self._stated

    def _load(self, location: locations.CodeLocation) -> list[RepositoryDefinition]:
        if location.kind == locations.GRPC:
            raise SetupError(
                f"the code location '{location.name}' is loaded by the gRPC server at "
                f"{location.target}, and cannot be loaded here",
                "Launch runs on the server instead, and read values where they are stored.",
            )
        started = time.time_ns()
        # One project of several has its own .env.
        if location.folder and location.folder != self.root:
            environ = current_environ(self.root, own_environ())
            apply_environ(read_environ(location.folder, "", environ))
            self._stamps[location.folder / ".env"] = code.stamp(location.folder / ".env")
        self._make_room(location)
        targets_of = internal("loadable_targets_from_loaded_module")
        repository_of = internal("repository_def_from_target_def")
        try:
            with _first_on_path(location):
                repositories = [
                    repository
                    for target in _targets(location, targets_of)
                    if (repository := repository_of(target)) is not None
                ]
            for repository in repositories:
                repository.asset_graph  # noqa: B018  errors in it are raised here
        except (Exception, SystemExit) as error:  # whatever the user's modules raise
            raise self._failure(location, error) from error
        finally:
            self._watch(list(sys.modules), started)
        if not repositories:
            raise self._error(f"the code location '{location.name}' has no Dagster definitions")
        return repositories

    def _failure(self, location: locations.CodeLocation, error: BaseException) -> SetupError:
        where = code.last_place(self.root, Failure.from_exception(error).trace, self._editable)
        if where and isinstance(error, SyntaxError):  # its text has a place, without the folder
            error = type(error)(error.msg)
        message = f"the code location '{location.name}' does not load: {one_line(error)}"
        message += f" ({where})" * bool(where)
        own = location.executable
        if own and Path(own).parent.resolve() != Path(sys.executable).parent.resolve():
            message += f". Dagster loads it with another Python: {own}"
        return self._error(message)

    def _error(self, message: str) -> SetupError:
        assert self._workspace is not None
        return SetupError(message, "To see it outside dagmar, type:", self._workspace.check_command)

    def _make_room(self, location: locations.CodeLocation) -> None:
        """Drop modules with the names of this code location's that are foreign or out of date."""
        importlib.invalidate_caches()
        tops = {path.stem for place in location.places for path in place.glob("*")}
        # For the first location: the notebook may have imported a module before it was edited.
        began = None if self._modules else _began()
        for project in _PROJECTS.values():
            for name, file in list(project._own_modules(list(sys.modules))):
                own = name.partition(".")[0] in tops
                foreign = own and not any(file.is_relative_to(at) for at in location.places)
                edited = began and file.exists() and file.stat().st_mtime_ns > began
                if foreign or (edited and (own or project is self)):
                    sys.modules.pop(name, None)
        if source := location.source:
            alone = location.kind == locations.FILE or source.parent in location.places
            package = source if alone else source.parent
            for file in [package] if package.is_file() else code.sources(package):
                # Python itself compares whole seconds, and the size.
                _remove_bytecode(file, only_older=True)

    def _watch(self, names: list[str], started: int) -> None:
        """Note the state of the files behind modules: their package's, and their own."""
        now = time.time_ns()

        def stamped(path: Path) -> code.Stamp:
            stamp = code.stamp(path)
            if isinstance(stamp, tuple) and started and started <= stamp[0] <= now:
                return (0, 0)  # saved while it was loaded: perhaps after it was read
            return stamp

        self._modules.update(names)
        for name, file in self._own_modules(names):
            if file in self._stamps:
                continue
            paths = [file]
            top = Path(_file_of(sys.modules.get(name.partition(".")[0])) or file)
            package = top if top.is_dir() else top.parent
            if top.name in ("__init__.py", package.name) and package not in self._stamps:
                paths += [*code.folders(package), *code.sources(package)]
            for path in paths:
                self._stamps.setdefault(path, stamped(path))

    def _drop(self) -> None:
        """Drop the project's own modules, and the bytecode of files that were changed."""
        for file, stamp in self._stamps.items():
            if file.suffix == ".py" and code.stamp(file) != stamp:
                _remove_bytecode(file)
        for name, _ in list(self._own_modules(list(sys.modules))):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()

    def _own_modules(self, names: list[str]) -> Iterator[tuple[str, Path]]:
        """Yield the modules that the definitions may come from, each with its file."""
        places = self._workspace.locations if self._workspace else ()
        folders = [self.root, *(place.working_directory for place in places), *self._editable]
        prefixes = tuple(f"{folder}{os.sep}" for folder in folders)
        for name in names:
            file = _file_of(sys.modules.get(name))
            if file is None or not file.startswith(prefixes):
                continue
            if name.partition(".")[0] in ("__main__", "__mp_main__", "dagmar", "tasks"):
                continue
            folder = next(folder for folder in folders if Path(file).is_relative_to(folder))
            if code.may_be_imported(Path(file), folder):
                yield name, Path(file)


def _began() -> int | None:
    """Return when this process began, in nanoseconds, or None if nothing can say it."""
    try:
        import psutil
    except ImportError:  # in the Python of another project, which has imported nothing yet
        return None
    return int(psutil.Process().create_time() * 1e9)


def _unknown(
    what: str, name: str, known: Collection[str], failed: dict[str, DagmarError]
) -> DagmarError:
    message = f"the project's definitions have no {what} '{name}'{did_you_mean(name, known)}"
    if not failed:
        return Invalid(message, command=f"invoke discover --kind {what}s")
    first = next(iter(failed.values()))
    if not known:
        return first
    end = "" if message.endswith("?") else "."
    reasons = "\n  ".join(failure.message for failure in failed.values())
    message += f"{end} Not every code location loads:\n  {reasons}"
    error = Invalid(message, first.hint, first.command)
    error.__cause__ = first.__cause__
    return error


def _targets(location: locations.CodeLocation, targets_of: Any) -> Iterator[Any]:
    """Import the code location's module and yield what Dagster would load from it."""
    if location.kind == locations.FILE:
        module = _import_file(Path(location.target))
    else:
        module = importlib.import_module(location.target)
    if location.kind == locations.AUTOLOAD:
        import dagster as dg

        yield dg.load_defs(module)
    elif location.attribute:
        target = getattr(module, location.attribute)
        yield target() if inspect.isfunction(target) else target
    else:
        for target in targets_of(module):
            yield target.target_definition


def _import_file(file: Path) -> ModuleType:
    name = file.stem
    if name in sys.stdlib_module_names or getattr(sys.modules.get(name), "__path__", None):
        name = f"dagmar_{name}"  # does not replace a module that others use
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


@contextlib.contextmanager
def _first_on_path(location: locations.CodeLocation) -> Iterator[None]:
    """Import from the working directory first, as Dagster does; afterwards, from it last."""
    first, *others = map(str, location.places)
    sys.path.insert(0, first)
    sys.path += [place for place in others if place not in sys.path]
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(first)
        if first not in sys.path:  # for what is imported when an asset runs
            sys.path.append(first)


def _env_file(root: Path) -> str | None:
    """Return the file of variables that a running `invoke dev` was given."""
    running = devfile.read(root)
    return running.env_file if running else None


def _file_of(module: object) -> str | None:
    """Return the file of a module, or the folder of a package without one."""
    known = getattr(module, "__dict__", {})
    file = known.get("__file__")
    if not isinstance(file, str) and "__path__" in known:
        try:
            file = next(iter(known["__path__"]), None)
        except KeyError:  # its parent is no longer loaded
            return None
    return file if isinstance(file, str) and os.path.isabs(file) else None


def _remove_bytecode(file: Path, only_older: bool = False) -> None:
    with contextlib.suppress(OSError, NotImplementedError):
        bytecode = Path(importlib.util.cache_from_source(str(file)))
        if not only_older or bytecode.stat().st_mtime_ns <= file.stat().st_mtime_ns:
            bytecode.unlink()
