"""`invoke check`: is every notebook sound, and does it still fit what it is paired with?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dagmar.errors import Invalid, SetupError, UsageError, did_you_mean
from dagmar.notebook import template as templates
from dagmar.notebook.cells import Load, Source, canonical, read_source, undefined_names
from dagmar.notebook.pairing import Pairings, read_pairings
from dagmar.server.catalog import Catalog, Inputs, Item
from dagmar.settings import Settings

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


def find_notebooks(settings: Settings, paths: Sequence[str]) -> list[Path]:
    """Return the marimo notebooks below `paths`, or below the notebooks' folder.

    Raises UsageError for a path that is not there, Invalid for a file that is no notebook.
    """
    found: dict[Path, None] = {}
    for given in map(Path, paths) if paths else [settings.notebooks]:
        if paths and not given.exists():
            raise UsageError(f"there is no {given}", "Give --path a notebook or a folder.")
        files = [given] if given.is_file() else sorted(given.rglob("*.py"))
        for file in files:
            if "__marimo__" in file.parts:
                continue
            if given.is_file() and not _is_notebook(file):
                raise Invalid(
                    f"{file} is no marimo notebook", "Make one: invoke scaffold --asset …"
                )
            if given.is_file() or _is_notebook(file):
                found[file.resolve()] = None
    return list(found)


def _is_notebook(file: Path) -> bool:
    """Say whether the file makes a marimo app; one that is broken counts if it looks like it."""
    try:
        return read_source(file).is_notebook
    except Invalid:
        try:
            return b"marimo.App(" in file.read_bytes()
        except OSError:
            return False


def check(settings: Settings, notebooks: Sequence[Path], catalog: Catalog | None) -> list[Checked]:
    """Check the notebooks; without a catalog, what they are paired with is not looked up.

    Raises SetupError where marimo cannot be started.
    """
    root = settings.root.resolve()
    pairings = read_pairings(root, settings.notebooks.resolve())
    said = run_marimo_check(notebooks)
    inputs = _inputs(catalog, pairings) if catalog else {}
    result = []
    for file in notebooks:
        path = file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
        checked = Checked(path, *_paired(pairings, path), findings=said[file])
        try:
            source = read_source(file)
        except Invalid as error:
            checked.findings.append(Finding(0, ERROR, "syntax", error.message))
        else:
            checked.findings += _names_and_form(source)
            if catalog:
                checked.findings += _against(catalog, inputs, checked, source)
            checked.findings += _version(root, file)
        checked.findings.sort(key=lambda finding: (finding.line, finding.rule))
        result.append(checked)
    return result


def _paired(pairings: Pairings, path: str) -> tuple[str | None, str | None]:
    asset = next((key for key, paths in pairings.assets.items() if path in paths), None)
    job = next((name for name, paths in pairings.jobs.items() if path in paths), None)
    return asset, job


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
        if file in found:
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
        undefined, saved = undefined_names(source.text), canonical(source.text)
    except (ImportError, AttributeError) as error:  # neither is a public interface of marimo
        raise SetupError(
            f"this marimo is not known to dagmar: {error}", "Type: invoke update"
        ) from None
    for name, line in undefined:
        yield Finding(line, ERROR, "undefined-name", f"no cell defines '{name}'")
    if saved != source.text:
        hint = "Save it in the editor, or type: marimo check --fix FILE"
        yield Finding(0, WARNING, "form", "marimo would write this file otherwise", hint)


def _inputs(catalog: Catalog, pairings: Pairings) -> dict[str, Inputs]:
    """Return what the paired assets take from upstream."""
    known = {str(asset["key"]) for asset in catalog.assets}
    return catalog.inputs(sorted(known & set(pairings.assets)))


def _against(
    catalog: Catalog, inputs: Mapping[str, Inputs], checked: Checked, source: Source
) -> Iterator[Finding]:
    """Compare with what Dagster has. A code location that does not load may hide anything."""
    assets = {str(asset["key"]): asset for asset in catalog.assets}
    jobs = [str(job["name"]) for job in catalog.jobs]
    severity = WARNING if catalog.broken else ERROR
    if checked.job is not None and checked.job not in jobs:
        message = f"there is no job '{checked.job}'{did_you_mean(checked.job, jobs)}"
        yield Finding(0, severity, "pair", message, "Correct it in the Pair of the setup cell.")
    if checked.asset is not None and checked.asset not in assets:
        message = f"there is no asset '{checked.asset}'{did_you_mean(checked.asset, assets)}"
        yield Finding(0, severity, "pair", message, "Correct it in the Pair of the setup cell.")
    loads = source.loads()
    for load in loads:
        if load.key not in assets:
            message = f"there is no asset '{load.key}'{did_you_mean(load.key, assets)}"
            yield Finding(load.line, severity, "inputs", message)
    if checked.asset in assets:
        asset = assets[checked.asset]
        taken = inputs.get(str(checked.asset)) or Inputs(values=tuple(asset["dependencies"]))
        yield from _upstream(asset, taken, loads, set(assets))


def _upstream(
    asset: Item, taken: Inputs, loads: Sequence[Load], known: set[str]
) -> Iterator[Finding]:
    upstream = set(asset["dependencies"])
    inputs = [load for load in loads if load.in_inputs]
    for load in inputs:
        if load.key in known and load.key not in upstream | {asset["key"]}:
            message = f"'{load.key}' is not upstream of '{asset['key']}'"
            yield Finding(load.line, WARNING, "inputs", message)
    # What it only comes after may have no value that could be loaded.
    for key in sorted(set(taken.values) - {load.key for load in loads}):
        message = f"'{key}' is upstream of '{asset['key']}', and is not loaded"
        yield Finding(inputs[0].line if inputs else 0, WARNING, "inputs", message)


def _version(root: Path, file: Path) -> Iterator[Finding]:
    """Compare the notebook's version of the template with the project's."""
    answers = root / templates.NOTEBOOK_ANSWERS / f"{file.stem}.yml"
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


def as_document(checked: Sequence[Checked]) -> Item:
    """Return what `--json` prints."""
    return {"ok": not count(checked, ERROR), "notebooks": [asdict(one) for one in checked]}


def as_lines(checked: Sequence[Checked]) -> list[str]:
    """Return one line for each finding, and its hint below it."""
    lines = []
    for one in checked:
        for finding in one.findings:
            place = f"{one.path}:{finding.line}" if finding.line else one.path
            lines.append(f"{place}: {finding.severity}: {finding.message} [{finding.rule}]")
            if finding.hint:
                lines.append(f"  {finding.hint}")
    return lines


def count(checked: Sequence[Checked], severity: str) -> int:
    """Count the findings of one severity."""
    return sum(finding.severity == severity for one in checked for finding in one.findings)


def finish(checked: Sequence[Checked]) -> None:
    """End well, or raise Invalid where there are errors."""
    if errors := count(checked, ERROR):
        bad = sum(any(one.severity == ERROR for one in each.findings) for each in checked)
        raise Invalid(
            f"{errors} error{'s' * (errors > 1)} in {bad} notebook{'s' * (bad > 1)}",
            "Correct them, then type: invoke check",
        )
