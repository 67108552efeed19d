"""The proof of a migration: both notebooks run once, and what they end with is compared.

Values are compared by digests that the same code makes in both processes (`fingerprints.py`);
they never leave their process.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dagmar.errors import DagmarError, RunFailed, TimedOut
from dagmar.failure import Failure
from dagmar.migrate.kernel import Observed, run_original
from dagmar.migrate.model import Converted
from dagmar.notebook.capture import CONSOLE_LIMIT
from dagmar.notebook.fingerprints import Description, difference

if TYPE_CHECKING:
    from dagmar.export.pool import Pool

Status = Literal["equal", "different", "not comparable"]
SECRET = re.compile("pass|secret|token|credential|api_?key", re.IGNORECASE)
RANDOM = re.compile(r"\b(random|shuffle|sample|uuid\d|urandom|now|today|time|perf_counter)\b *\(")
TIMES = re.compile(
    r"^(CPU times: .*|Wall time: .*|.* per loop \(mean ± .*\)|Compiler *: .*)(\r?\n|\Z)",
    re.MULTILINE,
)
"""What `%time` and `%timeit` print: it differs from run to run, and is not compared."""
LISTED = "The report lists them."
SEED = "Runs that draw random numbers or read the time differ: set a seed, and verify again."


@dataclass(frozen=True)
class Comparison:
    """One value by its name, or what one cell printed, showed or drew; `note` is the difference."""

    what: Literal["value", "printed", "shown", "drawn"]
    cell: int | None
    name: str | None
    status: Status
    note: str = ""

    @property
    def about(self) -> str:
        """What was compared, in words."""
        return self.name or f"{self.what} by cell {self.cell}"

    def as_document(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {**vars(self), "note": self.note or None}


@dataclass(frozen=True)
class Proof:
    """The comparison of two notebooks; `reason` is why something could not be compared."""

    comparisons: tuple[Comparison, ...] = ()
    reason: str = ""
    hint: str = ""
    error: DagmarError | None = None
    jupyter_s: float | None = None
    marimo_s: float | None = None

    @property
    def status(self) -> Status:
        """`different` if anything is, `equal` if all that can be compared is."""
        if self.count("different"):
            return "different"
        if self.reason or self.error or not self.count("equal"):
            return "not comparable"
        return "equal"

    @property
    def differences(self) -> Iterator[Comparison]:
        """What differs."""
        return (each for each in self.comparisons if each.status == "different")

    def count(self, status: Status) -> int:
        """Return the number of comparisons with this result."""
        return sum(each.status == status for each in self.comparisons)

    def as_document(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {
            "status": self.status,
            "reason": self.reason or None,
            "hint": self.hint or None,
            "jupyter_s": self.jupyter_s,
            "marimo_s": self.marimo_s,
            "comparisons": [each.as_document() for each in self.comparisons],
        }


def verify(
    converted: Converted,
    root: Path,
    pool: Pool,
    timeout: float,
    report: Callable[[str], None] = lambda what: None,
) -> Proof:
    """Run a Jupyter notebook and the one written from it once each, and compare them.

    `timeout` is for each of both, in seconds. What prevents the comparison is in the result.
    """
    try:
        before = run_original(converted.source, [*converted.names], timeout, report)
        after = _run_new(converted, root, pool, timeout, report)
    except DagmarError as error:
        return Proof(reason=error.message, error=error)
    return compare(converted, before, after)


def _run_new(
    converted: Converted, root: Path, pool: Pool, timeout: float, report: Callable[[str], None]
) -> Observed:
    """Run the paired notebook as an export does; its cells are numbered from 0."""
    from dagmar.export.pool import Job

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "observed.json")
        job = Job(root, converted.target, Path(folder), (), {}, True, None, timeout, observed=file)
        outcome = pool.run(job, lambda cell: report(f"{cell} of {converted.target.name}"))
        if outcome.late:
            where = outcome.error and outcome.error.place
            what = f"{where} of {converted.target.name}" if where else converted.target.name
            message = f"{what} was still running after --timeout {timeout:g}"
            raise TimedOut(message, f"Allow more time: --timeout {2 * timeout:g}")
        observed = Observed(seconds=outcome.seconds, failure=outcome.error)
        if file.is_file():
            document = json.loads(file.read_text("utf-8"))
            observed.values = document["values"]
            observed.cells = dict(enumerate(document["cells"]))
    place = (outcome.error and outcome.error.place) or ""
    if place in outcome.cells:
        observed.failed = outcome.cells.index(place)
    elif found := re.fullmatch(r"cell (\d+)", place):
        observed.failed = int(found[1]) - 1
    return observed


def compare(converted: Converted, before: Observed, after: Observed) -> Proof:
    """Compare two runs: what failed, the values by name, and the cells."""
    values = _values(converted.names, before.values, after.values)
    comparisons = [
        *(_unfinished(value) if before.failure else value for value in values),
        *_cells(converted, before, after),
    ]
    reason = ""
    error: DagmarError | None = None
    if before.failure:
        reason = f"cell {before.failed} of the Jupyter notebook failed: {before.failure.line}"
        origins = _origins(converted, after.failed) if after.failure else ()
        if before.failed in origins and _alike(before.failure, after.failure):
            reason = f"cell {before.failed} fails in both: {before.failure.line}"
        else:
            error = RunFailed(reason, "Only what ran before it can be compared.")
    elif after.failure and after.failure.kind not in {
        before.raised.get(number) for number in _origins(converted, after.failed)
    }:
        where = after.failure.place or converted.target.name
        failed = Comparison("value", None, where, "different", f"it fails: {after.failure.line}")
        comparisons.insert(0, failed)
    code = "\n".join(cell.source for cell in converted.source.cells if cell.kind == "code")
    proof = Proof(tuple(comparisons), reason, jupyter_s=before.seconds, marimo_s=after.seconds)
    hint = SEED if proof.count("different") and RANDOM.search(code) else ""
    if proof.status == "different":
        number = proof.count("different")
        error = RunFailed(f"{number} of {len(comparisons)} results differ", hint or LISTED)
    return replace(proof, hint=hint, error=error)


def _origins(converted: Converted, number: int) -> tuple[int, ...]:
    """Return the cells that a cell of the new notebook is from."""
    return converted.origins[number] if number < len(converted.origins) else ()


def _unfinished(value: Comparison) -> Comparison:
    """Do not call a value different that a cell may have changed which ran in one of them only."""
    if value.status != "different":
        return value
    return replace(value, status="not comparable", note=f"not all cells ran; {value.note}")


def _alike(before: Failure, after: Failure | None) -> bool:
    return after is not None and before.kind == after.kind


def _values(
    names: Mapping[str, str], before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Comparison]:
    for name in sorted(before):
        new = names[name]
        as_new = "" if new == name else f"as {new}"
        status: Status = "not comparable"
        if new not in after:
            note = before[name].get("why") or f"the new notebook has no {new}"
        else:
            status, note = _judge(before[name], after[new])
        if note and SECRET.search(name) and status == "different":
            note = "not shown, because of its name"
        yield Comparison("value", None, name, status, "; ".join(filter(None, [as_new, note])))


def _judge(before: Description | None, after: Description | None) -> tuple[Status, str]:
    """Return whether two descriptions are equal, and the difference or why it is not known."""
    if before is None or after is None:
        return ("equal", "") if before is after else ("different", "nothing is shown any more")
    for each in (before, after):
        if why := each.get("why"):
            return "not comparable", why
    found = difference(before, after)
    return ("different", found) if found else ("equal", "")


def _cells(converted: Converted, before: Observed, after: Observed) -> Iterator[Comparison]:
    """Compare what cells print, show and draw; cells that were merged or split count as one."""
    if len(after.cells) != len(converted.origins):
        return  # it could not be run
    for olds, news in _groups(converted.origins):
        there = [number for number in olds if number in before.cells]
        if not there or (before.failed and there[-1] >= before.failed):
            continue
        old, new = [before.cells[n] for n in there], [after.cells[n] for n in news]
        printed = ["".join(cell["printed"] for cell in cells) for cells in (old, new)]
        if any("%time" in converted.source.cells[number - 1].source for number in there):
            printed[0] = TIMES.sub("", printed[0])
        if any(printed):
            yield Comparison("printed", there[0], None, *_judge_texts(*printed))
        for number, cell in zip(there, old, strict=True):
            if cell["shown"] is None:
                continue
            if number != there[-1]:
                note = "it is in the middle of the new cell"
                yield Comparison("shown", number, None, "not comparable", note)
            else:
                yield Comparison("shown", number, None, *_judge(cell["shown"], _last(new)))
        figures = [[figure for cell in cells for figure in cell["figures"]] for cells in (old, new)]
        for was, now in zip_longest(*figures):
            yield Comparison("drawn", there[0], None, *_judge(was, now))


def _last(cells: list[dict[str, Any]]) -> Description | None:
    return next((cell["shown"] for cell in reversed(cells) if cell["shown"]), None)


def _groups(origins: Iterable[tuple[int, ...]]) -> list[tuple[list[int], list[int]]]:
    """Return the cells that belong together: numbers of the Jupyter notebook, and of the new."""
    groups: list[tuple[set[int], list[int]]] = []
    for number, cells in enumerate(origins):
        touched = [group for group in groups if group[0] & {*cells}]
        groups = [group for group in groups if group not in touched]
        olds = {*cells}.union(*(group[0] for group in touched))
        news = sorted([number, *(new for group in touched for new in group[1])])
        if cells:
            groups.append((olds, news))
    return sorted(((sorted(olds), news) for olds, news in groups))


def _judge_texts(before: str, after: str) -> tuple[Status, str]:
    """Compare what was printed, and name the first line that differs."""
    if max(len(before), len(after)) > CONSOLE_LIMIT:
        return "not comparable", f"more than {CONSOLE_LIMIT:,} characters were printed"
    lines = [text.replace("\r\n", "\n").split("\n") for text in (before, after)]
    for number, (was, now) in enumerate(zip_longest(*lines), 1):
        if was != now:
            texts = ["nothing" if text is None else repr(text[:60]) for text in (was, now)]
            return "different", f"line {number}: {texts[0]} → {texts[1]}"
    return "equal", ""
