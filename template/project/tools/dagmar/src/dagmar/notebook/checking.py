"""`invoke check`: is every notebook sound, and does it still fit what it is paired with?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dagmar import console
from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Invalid, SetupError, UsageError, did_you_mean, typed
from dagmar.notebook.cells import Load, Source, canonical, read_source, undefined_names
from dagmar.notebook.compatibility import guarded
from dagmar.notebook.pairing import Paired, has_job, read_pairs
from dagmar.project import templates
from dagmar.project.layout import NOTEBOOK_ANSWERS, relative
from dagmar.project.locations import require_loadable
from dagmar.project.settings import Settings
from dagmar.server.catalog import Catalog, Inputs, Item

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Finding:
    """Something about one notebook; `line` is 0 where it is about the whole file."""

    line: int
    severity: str
    rule: str
    message: str
    hint: str = ""


@dataclass
class Checked:
    """One notebook, what it is paired with, and what was found."""

    path: str
    asset: str | None = None
    job: str | None = None
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class CheckedNotebooks:
    """The notebooks of one `invoke check`."""

    notebooks: list[Checked] = field(default_factory=list)

    def as_document(self) -> Item:
        """Return what `--json` prints."""
        notebooks = [asdict(notebook) for notebook in self.notebooks]
        return {"ok": not self._with_errors(), "notebooks": notebooks}

    def show(self) -> None:
        """Print one line for each finding, and its hint below it."""
        for notebook in self.notebooks:
            for finding in notebook.findings:
                place = f"{notebook.path}:{finding.line}" if finding.line else notebook.path
                about = f"{finding.severity}: {finding.message} [{finding.rule}]"
                console.out(f"{place}: {about}")
                if finding.hint:
                    console.out(f"  {typed(finding.hint)}")
        number = len(self.notebooks)
        console.say(f"Checked {number} notebook{'s' * (number != 1)}.")

    def raise_for_status(self) -> None:
        """Raise Invalid if there are errors."""
        if errors := self._with_errors():
            bad = len(set(errors))
            raise Invalid(
                f"{len(errors)} error{'s' * (len(errors) > 1)} in {bad} notebook{'s' * (bad > 1)}",
                "Correct them, then type: invoke check",
            )

    def _with_errors(self) -> list[str]:
        """Return the notebook of each error."""
        return [
            notebook.path
            for notebook in self.notebooks
            for finding in notebook.findings
            if finding.severity == ERROR
        ]


def find_notebooks(settings: Settings, paths: Sequence[str]) -> list[Path]:
    """Return the marimo notebooks below `paths`, or below the notebooks' folder.

    Raises UsageError for a path that is not there, Invalid for a file that is no notebook.
    """
    found: dict[Path, None] = {}
    for given in map(Path, paths) if paths else [settings.notebooks]:
        if paths and not given.exists():
            raise UsageError(f"there is no {given}", "Give --path a notebook or a folder.")
        for file in [given] if given.is_file() else _python_files(given):
            if given.is_file() and not _is_notebook(file):
                raise Invalid(
                    f"{file} is no marimo notebook", "Make one: invoke scaffold --asset …"
                )
            if given.is_file() or _is_notebook(file):
                found[file.resolve()] = None
    return list(found)


def _python_files(folder: Path) -> list[Path]:
    """Return the Python files below a folder that may be the user's own."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not (name.startswith(".") or name == "__marimo__")
            and not Path(place, name, "pyvenv.cfg").exists()
        ]
        found += [Path(place, name) for name in names if name.endswith(".py")]
    return sorted(found)


def _is_notebook(file: Path) -> bool:
    """Say whether the file makes a marimo app; one that is broken counts if it looks like it."""
    try:
        return read_source(file).is_notebook
    except Invalid:
        try:
            return b"marimo.App(" in file.read_bytes()
        except OSError:
            return False


def check(
    settings: Settings, notebooks: Sequence[Path], catalog: Catalog | None
) -> CheckedNotebooks:
    """Check the notebooks; without a catalog, what they are paired with is not looked up.

    Raises SetupError where marimo cannot be started.
    """
    root = settings.root.resolve()
    said = run_marimo_check(notebooks)
    sources = {file: _read(file) for file in notebooks}
    pairs = {
        file: [] if isinstance(source, Invalid) else list(read_pairs(source.tree))
        for file, source in sources.items()
    }
    paired = {pair.asset for some in pairs.values() for pair in some}
    inputs = _inputs(catalog, paired) if catalog else {}
    result = []
    for file, source in sources.items():
        path = relative(file, root)
        asset = next((pair.asset for pair in pairs[file] if pair.asset), None)
        job = next((pair.job for pair in pairs[file] if pair.job), None)
        checked = Checked(path, asset, job, findings=said[file])
        if isinstance(source, Invalid):
            checked.findings.append(Finding(0, ERROR, "syntax", source.message, source.hint))
        else:
            checked.findings += _names_and_form(source)
            checked.findings += _loading(root, source)
            if catalog:
                there = [pair for pair in pairs[file] if _is_there(settings, catalog, pair)]
                checked.findings += _against(catalog, inputs, there, source)
            checked.findings += _version(root, file)
        checked.findings.sort(key=lambda finding: (finding.line, finding.rule))
        result.append(checked)
    return CheckedNotebooks(result)


def _read(file: Path) -> Source | Invalid:
    try:
        return read_source(file)
    except Invalid as error:
        return error


def _is_there(settings: Settings, catalog: Catalog, pair: Paired) -> bool:
    """Say whether the catalog tells what the pair's own target has."""
    if pair.target == "":
        return True
    try:
        asked = catalog.url or settings.target().url
        return pair.target is not None and settings.target(pair.target).url == asked
    except DagmarError:  # no such target, or one whose secrets are not here
        return False


def run_marimo_check(notebooks: Sequence[Path]) -> dict[Path, list[Finding]]:
    """Run marimo's own checks, all files in one process."""
    found: dict[Path, list[Finding]] = {file: [] for file in notebooks}
    if not notebooks:
        return found
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
        raise SetupError(f"`marimo check` does not work: {last[0]}", "Type: uv sync") from None
    for issue in issues:
        file = Path(str(issue.get("filename", ""))).resolve()
        if file in found and issue.get("type") != "error":  # it cannot read the file: so do we
            found[file].append(
                Finding(
                    max(int(issue.get("line") or 0), 0),
                    ERROR if issue.get("severity") == "breaking" else WARNING,
                    f"marimo:{issue.get('name', 'check')}",
                    str(issue.get("message", "")),
                    str(issue.get("fix") or ""),
                )
            )
    return found


def _names_and_form(source: Source) -> Iterator[Finding]:
    try:
        with guarded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's remarks on the user's code
            undefined, saved = undefined_names(source.text), canonical(source.text)
    except SetupError as error:
        yield Finding(
            0, WARNING, "marimo", f"undefined names and form are not checked: {error.message}"
        )
        return
    except Invalid as error:
        yield Finding(0, ERROR, "no-notebook", error.message, error.hint)
        return
    for name, line in undefined:
        yield Finding(line, ERROR, "undefined-name", f"no cell defines '{name}'")
    if saved != source.text:
        hint = "Save it in the editor, or type: marimo check --fix FILE"
        yield Finding(0, WARNING, "form", "marimo would write this file otherwise", hint)


def _loading(root: Path, source: Source) -> Iterator[Finding]:
    """Say if `pair.load` can never work here: nothing says where the definitions are."""
    if loads := source.loads():
        try:
            require_loadable(root)
        except SetupError as error:
            message = f"no value can be loaded: {error.message}"
            yield Finding(loads[0].line, WARNING, "inputs", message, error.hint)


def _inputs(catalog: Catalog, paired: set[AssetKey]) -> dict[str, Inputs]:
    """Return what the paired assets take from upstream."""
    known = {AssetKey(asset["key"]) for asset in catalog.assets}
    return catalog.inputs(sorted(known & paired))


def _against(
    catalog: Catalog, inputs: Mapping[str, Inputs], pairs: Sequence[Paired], source: Source
) -> Iterator[Finding]:
    """Compare with what Dagster has. A code location that does not load may hide anything."""
    assets = {str(asset["key"]): asset for asset in catalog.assets}
    jobs = [str(job["name"]) for job in catalog.jobs]
    severity = WARNING if catalog.broken else ERROR
    hint = "Correct it in the Pair of the setup cell."
    for pair in pairs:
        if pair.job and not has_job(catalog, pair.job):
            message = f"there is no job '{pair.job}'{did_you_mean(pair.job, jobs)}"
            yield Finding(pair.line, severity, "pair", message, hint)
        if pair.asset and pair.asset not in assets:
            message = f"there is no asset '{pair.asset}'{did_you_mean(pair.asset, assets)}"
            yield Finding(pair.line, severity, "pair", message, hint)
    loads = source.loads()
    for load in loads:
        if load.key not in assets:
            message = f"there is no asset '{load.key}'{did_you_mean(load.key, assets)}"
            yield Finding(load.line, severity, "inputs", message)
    known = [assets[pair.asset] for pair in pairs if pair.asset in assets]
    if known:
        yield from _upstream(known, inputs, loads, set(assets))


def _upstream(
    paired: Sequence[Item], taken: Mapping[str, Inputs], loads: Sequence[Load], known: set[str]
) -> Iterator[Finding]:
    near = {str(asset["key"]) for asset in paired}.union(*(one["dependencies"] for one in paired))
    inputs = [load for load in loads if load.in_inputs]
    names = " or ".join(f"'{asset['key']}'" for asset in paired)
    for load in inputs:
        if load.key in known - near:
            yield Finding(load.line, WARNING, "inputs", f"'{load.key}' is not upstream of {names}")
    for asset in paired:
        # What it only comes after may have no value that could be loaded.
        takes = taken.get(str(asset["key"])) or Inputs(values=tuple(asset["dependencies"]))
        for key in sorted(set(takes.values) - {load.key for load in loads}):
            message = f"'{key}' is upstream of '{asset['key']}', and is not loaded"
            yield Finding(inputs[0].line if inputs else 0, WARNING, "inputs", message)


def _version(root: Path, file: Path) -> Iterator[Finding]:
    """Compare the notebook's version of the template with the project's."""
    answers = root / NOTEBOOK_ANSWERS / f"{file.stem}.yml"
    if not (answers.is_file() and (root / templates.ANSWERS).is_file()):
        return
    try:
        ours, project = (
            templates.read_answers(one).get("_commit")
            for one in (answers, root / templates.ANSWERS)
        )
    except Invalid as error:
        yield Finding(0, ERROR, "template", error.message, error.hint)
        return
    if ours != project:
        message = f"it is on {ours} of the template, the project on {project}"
        yield Finding(0, WARNING, "template", message, "Type: invoke update")
