"""`invoke check`: is every notebook valid, and does it still fit what it is paired with?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar import console
from dagmar.errors import (
    DagmarError,
    Invalid,
    SetupError,
    UsageError,
    counted,
    did_you_mean,
    suggestion,
)
from dagmar.notebook.cells import Load, Source, canonical, read_source, undefined_names
from dagmar.notebook.compatibility import guarded
from dagmar.notebook.pairing import Paired, paired_with, read_pairs
from dagmar.project import code, templates
from dagmar.project.installing import sync_command
from dagmar.project.layout import NOTEBOOK_ANSWERS, relative
from dagmar.project.locations import require_loadable
from dagmar.project.settings import Settings
from dagmar.server.names import Kind, choose, names_of, similar_names

if TYPE_CHECKING:  # it brings an HTTP library, which exports need not wait for
    from dagmar.server.catalog import Asset, Catalog, Inputs, Item

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Finding:
    """A problem of one notebook; `line` is 0 if it is about the whole file."""

    line: int
    severity: str
    rule: str
    message: str
    hint: str = ""
    command: str = ""

    def as_document(self) -> Item:
        """Return what `--json` prints of it."""
        document = asdict(self)
        return {**document, "hint": suggestion(self.hint, document.pop("command"))}


@dataclass
class Checked:
    """One notebook, what it is paired with, and its findings."""

    path: str
    asset: str | None = None
    job: str | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> int:
        """The number of findings that are errors."""
        return sum(finding.severity == ERROR for finding in self.findings)


@dataclass(frozen=True)
class CheckedNotebooks:
    """The notebooks of one `invoke check`."""

    notebooks: list[Checked] = field(default_factory=list)

    def as_document(self) -> Item:
        """Return the JSON document."""
        return {
            "ok": not any(notebook.errors for notebook in self.notebooks),
            "notebooks": [
                {**asdict(each), "findings": [finding.as_document() for finding in each.findings]}
                for each in self.notebooks
            ],
        }

    def show(self) -> None:
        """Print one line for each finding, and its hint below it."""
        for notebook in self.notebooks:
            for finding in notebook.findings:
                place = f"{notebook.path}:{finding.line}" if finding.line else notebook.path
                about = f"{finding.severity}: {finding.message} [{finding.rule}]"
                console.out(f"{place}: {about}")
                if text := console.pasteable(finding.hint, finding.command):
                    console.out(f"  {text}")
        console.say(f"Checked {counted(len(self.notebooks), 'notebook')}.")

    def raise_for_status(self) -> None:
        """Raise Invalid if there are errors."""
        if errors := sum(notebook.errors for notebook in self.notebooks):
            bad = sum(notebook.errors > 0 for notebook in self.notebooks)
            message = f"{counted(errors, 'error')} in {counted(bad, 'notebook')}"
            raise Invalid(message, "Correct them, then type:", command="invoke check")


def find_notebooks(settings: Settings, paths: Sequence[str]) -> list[Path]:
    """Return the marimo notebooks below `paths`, or below the notebooks' folder.

    Raises UsageError for a path that does not exist, Invalid for a file that is not a notebook and
    for a named folder without one.
    """
    notebooks: dict[Path, None] = {}
    for path in map(Path, paths) if paths else [settings.notebooks]:
        if paths and not path.exists():
            raise UsageError(f"there is no {path}", "Give --path a notebook or a folder.")
        if path.is_file() and not _is_notebook(path):
            message = f"{path} is not a marimo notebook"
            raise Invalid(message, "Create one:", command="invoke scaffold --asset …")
        files = [path] if path.is_file() else list(filter(_is_notebook, _python_files(path)))
        if paths and not files:
            message = f"there is no marimo notebook in {path}"
            raise Invalid(message, "To check all notebooks of the project, type:", "invoke check")
        notebooks.update(dict.fromkeys(file.resolve() for file in files))
    return list(notebooks)


def _python_files(folder: Path) -> list[Path]:
    """Return the Python files below a folder, without hidden ones, environments and marimo's."""
    files: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not (name.startswith(".") or name == "__marimo__")
            and not Path(place, name, "pyvenv.cfg").exists()
        ]
        files += [Path(place, name) for name in names if name.endswith(".py")]
    return sorted(files)


def _is_notebook(file: Path) -> bool:
    """Whether the file creates a marimo app; a broken one counts if it looks like it."""
    try:
        return read_source(file).is_notebook
    except Invalid:
        with suppress(OSError):
            return b"marimo.App(" in file.read_bytes()
        return False


def check(
    settings: Settings, notebooks: Sequence[Path], catalog: Catalog | None
) -> CheckedNotebooks:
    """Check the notebooks; without a catalog, what they are paired with is not looked up.

    Raises SetupError if marimo cannot be started.
    """
    root = settings.root.resolve()
    findings = run_marimo_check(notebooks)
    readable: dict[Path, tuple[Source, list[Paired]]] = {}
    for file in notebooks:
        try:
            source = read_source(file)
            readable[file] = source, list(read_pairs(source.tree))
        except Invalid as error:
            refusal = Finding(0, ERROR, "syntax", error.message, error.hint, error.command)
            findings[file].append(refusal)
    inputs = {}
    if catalog:
        _warn_of_locations(root, catalog)
        paired = {pair.asset for _, pairs in readable.values() for pair in pairs}
        inputs = catalog.inputs([a for a in catalog.assets if paired & set(names_of(a))])
    for file, (source, pairs) in readable.items():
        findings[file] += [*_names_and_form(source), *_loading(root, source)]
        if catalog:
            known = [pair for pair in pairs if _is_known(settings, catalog, pair)]
            findings[file] += _against(catalog, inputs, known, source)
        findings[file] += _version(root, file)
    result = []
    for file in notebooks:
        asset, job = paired_with(readable[file][1] if file in readable else ())
        ordered = sorted(findings[file], key=lambda finding: (finding.line, finding.rule))
        result.append(Checked(relative(file, root), asset, job, ordered))
    return CheckedNotebooks(result)


def _warn_of_locations(root: Path, catalog: Catalog) -> None:
    """Say why what is not found may exist: a code location that is not loaded may define it."""
    failures = catalog.broken.items()
    reasons = [code.not_loaded(root, name, failure) for name, failure in failures]
    reasons += [
        f"the code location '{place['name']}' is still loading"
        for place in catalog.locations
        if place["status"] == "loading"
    ]
    if reasons:
        some = len(reasons) < len(catalog.locations)
        which = "that are not found are not reported" if some else "are not looked up"
        console.warn(f"assets and jobs {which}: {'; '.join(reasons)}")


def _is_known(settings: Settings, catalog: Catalog, pair: Paired) -> bool:
    """Whether the catalog is that of the pair's own target."""
    if pair.target == "":
        return True
    try:
        url = catalog.url or settings.target().url
        return pair.target is not None and settings.target(pair.target).url == url
    except DagmarError:  # no such target, or one whose secrets are not set here
        return False


def run_marimo_check(notebooks: Sequence[Path]) -> dict[Path, list[Finding]]:
    """Run marimo's own checks, all files in one process. Raises SetupError."""
    findings: dict[Path, list[Finding]] = {file: [] for file in notebooks}
    if not notebooks:
        return findings
    done = subprocess.run(
        [sys.executable, "-m", "marimo", "check", "--format", "json", *map(str, notebooks)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    try:
        issues = json.loads(done.stdout)["issues"]
    except (ValueError, KeyError, TypeError):
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        message = f"`marimo check` does not work: {last[0]}"
        raise SetupError(message, command=sync_command()) from None
    for issue in issues:
        file = Path(str(issue.get("filename", ""))).resolve()
        if file in findings and issue.get("type") != "error":  # a file that cannot be read
            severity = ERROR if issue.get("severity") == "breaking" else WARNING
            rule, message = f"marimo:{issue.get('name', 'check')}", str(issue.get("message", ""))
            line, hint = max(int(issue.get("line") or 0), 0), str(issue.get("fix") or "")
            findings[file].append(Finding(line, severity, rule, message, hint))
    return findings


def _names_and_form(source: Source) -> Iterator[Finding]:
    try:
        with guarded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's warnings about the user's code
            undefined, saved = undefined_names(source.text), canonical(source.text)
    except SetupError as error:
        message = f"undefined names and form are not checked: {error.message}"
        yield Finding(0, WARNING, "marimo", message)
        return
    except Invalid as error:
        yield Finding(0, ERROR, "no-notebook", error.message, error.hint, error.command)
        return
    for name, line in undefined:
        yield Finding(line, ERROR, "undefined-name", f"no cell defines '{name}'")
    if saved != source.text:
        hint, command = "Save it in the editor, or type:", "marimo check --fix FILE"
        message = "marimo would format this file differently"
        yield Finding(0, WARNING, "form", message, hint, command)


def _loading(root: Path, source: Source) -> Iterator[Finding]:
    """Say if `pair.load` can never work here, because the definitions cannot be located."""
    if loads := source.loads():
        try:
            require_loadable(root)
        except SetupError as error:
            message = f"no value can be loaded: {error.message}"
            yield Finding(loads[0].line, WARNING, "inputs", message, error.hint, error.command)


def _against(
    catalog: Catalog, inputs: Mapping[str, Inputs], pairs: Sequence[Paired], source: Source
) -> Iterator[Finding]:
    """Compare with Dagster. What a code location that is not loaded may define is not missed."""
    loaded = [place["name"] for place in catalog.locations if place["status"] == "loaded"]
    complete = len(loaded) == len(catalog.locations)
    hint = "Correct it in the Pair of the setup cell."
    paired: list[Asset] = []
    loads = list(source.loads())
    known = {names_of(asset)[0] for asset in catalog.assets}

    def find(kind: Kind, name: str, items: Sequence[Any]) -> tuple[Any, tuple[str, str] | None]:
        """Return what is called `name`, or what is wrong with the name and what to do."""
        try:
            found = choose(kind, name, items)
        except Invalid as error:
            return None, (error.message, error.hint)
        certain = complete or any(name.endswith(f"@{place}") for place in loaded)
        if found is not None or not certain:
            return found, None
        meant = did_you_mean(name, similar_names(name, items))
        return None, (f"there is no {kind} '{name}'{meant}", hint)

    for pair in pairs:
        if pair.job:
            _, problem = find("job", pair.job, catalog.jobs)
            if problem:
                yield Finding(pair.line, ERROR, "pair", *problem)
        if pair.select and (problem := _selects_nothing(pair.select, catalog, complete)):
            yield Finding(pair.line, ERROR, "pair", *problem)
        if pair.asset:
            asset, problem = find("asset", pair.asset, catalog.assets)
            if problem:
                yield Finding(pair.line, ERROR, "pair", *problem)
            elif asset:
                paired.append(asset)
    for number, load in enumerate(loads):
        asset, problem = find("asset", load.key, catalog.assets)
        if problem:
            yield Finding(load.line, ERROR, "inputs", problem[0])
        elif asset:
            loads[number] = replace(load, key=asset["key"])
    if paired:
        yield from _upstream(paired, inputs, loads, known)


def _selects_nothing(expression: str, catalog: Catalog, complete: bool) -> tuple[str, str] | None:
    """Return why a selection selects no asset, and what to do; None if it selects one, or may."""
    from dagmar.orchestration.selection import select

    try:
        if select(expression, catalog.assets) or not complete:
            return None
    except Invalid as error:
        return error.message, error.hint
    return f"the selection {expression!r} selects no asset", "Correct it in the setup cell."


def _upstream(
    paired: Sequence[Asset],
    inputs: Mapping[str, Inputs],
    loads: Sequence[Load],
    known: set[str],
) -> Iterator[Finding]:
    """Compare what the `inputs` cell loads with what the paired assets take from upstream."""
    near = {asset["key"] for asset in paired}.union(*(asset["dependencies"] for asset in paired))
    in_inputs = [load for load in loads if load.in_inputs]
    names = " or ".join(f"'{asset['key']}'" for asset in paired)
    for load in in_inputs:
        if load.key in known - near:
            yield Finding(load.line, WARNING, "inputs", f"'{load.key}' is not upstream of {names}")
    for asset in paired:
        # Dependencies without a value are not inputs; there may be nothing to load.
        known_inputs = inputs.get(names_of(asset)[-1])
        taken = known_inputs.values if known_inputs else asset["dependencies"]
        for key in sorted(set(taken) - {load.key for load in loads}):
            message = f"'{key}' is upstream of '{asset['key']}', and is not loaded"
            yield Finding(in_inputs[0].line if in_inputs else 0, WARNING, "inputs", message)


def _version(root: Path, file: Path) -> Iterator[Finding]:
    """Compare the notebook's version of the template with the project's."""
    files = (root / NOTEBOOK_ANSWERS / f"{file.stem}.yml", root / templates.ANSWERS)
    if not all(answers.is_file() for answers in files):
        return
    try:
        version, current = (templates.read_answers(answers).get("_commit") for answers in files)
    except Invalid as error:
        yield Finding(0, ERROR, "template", error.message, error.hint, error.command)
        return
    if version != current:
        message = f"it is on {version} of the template, the project on {current}"
        yield Finding(0, WARNING, "template", message, command="invoke update")
