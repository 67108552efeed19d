"""The result of `invoke migrate`: in the terminal, as JSON, and as Markdown at the notebook."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar import console
from dagmar.errors import DagmarError, Unfinished, all_of, counted
from dagmar.files import write_atomically
from dagmar.project.layout import relative

if TYPE_CHECKING:
    from dagmar.migrate.model import Converted, Remark
    from dagmar.migrate.verify import Proof

SUFFIX = ".migration.md"
_SIGNED = re.compile(r"<!-- dagmar: ([0-9a-f]{64}) -->\n\Z")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~&$!])")
SHOWN = 20
"""Differences that the terminal shows for a notebook."""


@dataclass
class Migrated:
    """What became of one Jupyter notebook; `error` is why it was not converted or written."""

    source: Path
    target: Path
    converted: Converted | None = None
    error: DagmarError | None = None
    proof: Proof | None = None
    overwrites: bool = False
    written: bool = False

    @property
    def by_hand(self) -> Sequence[Remark]:
        """The remarks that somebody has to act on."""
        return self.converted.by_hand if self.converted else ()

    @property
    def status(self) -> str:
        """`created`, `overwritten` or `failed`; in a dry run, what it would be."""
        return "failed" if self.error else "overwritten" if self.overwrites else "created"

    @property
    def cells(self) -> tuple[int, int]:
        """How many cells need nothing from anybody, of how many."""
        cells = self.converted.source.cells if self.converted else ()
        waiting = {remark.cell for remark in self.by_hand}
        return sum(cell.number not in waiting for cell in cells), len(cells)

    def errors(self, name: str) -> Iterator[DagmarError]:
        """Yield what is not as it should be, the worst first."""
        if self.error:
            yield self.error
        elif self.proof and self.proof.error:
            yield self.proof.error
        if not self.error and (remarks := self.by_hand):
            places = f"{counted(len(remarks), 'place')} of {name} need"
            message = f"{places if len(remarks) > 1 else places + 's'} a hand"
            command = f"invoke dev --notebook {shlex.quote(name)}" if self.written else ""
            hint = "Complete what the report lists:" if command else "Convert it without --dry-run."
            yield Unfinished(message, hint, command)


@dataclass
class Migration:
    """The notebooks of one `invoke migrate`; nothing of a dry run is written."""

    root: Path
    notebooks: list[Migrated]
    dry_run: bool = False

    def as_document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {"notebooks": [self._document(each) for each in self.notebooks]}

    def _document(self, each: Migrated) -> dict[str, Any]:
        converted, error = each.converted, each.error
        done, total = each.cells
        report = report_file(each.target) if each.written else None
        return {
            "source": relative(each.source, self.root),
            "path": relative(each.target, self.root),
            "status": each.status,
            "report": relative(report, self.root) if report else None,
            "cells": total if converted else None,
            "cells_by_hand": total - done if converted else None,
            "remarks": [vars(remark) for remark in converted.remarks] if converted else [],
            "verified": each.proof.as_document() if each.proof else None,
            "error": error
            and {
                "class": type(error).__name__,
                "message": error.message,
                "hint": error.suggestion or None,
            },
        }

    def show(self) -> None:
        """Print a table of the notebooks, and what needs a hand or differs."""
        rows = [self._row(each) for each in self.notebooks]
        columns = ("notebook", "becomes", "cells", "by hand", "verified")
        console.table("Migration", columns, rows)
        for each in self.notebooks:
            name = relative(each.source, self.root)
            for remark in each.by_hand:
                console.out(f"{name}, {place_of(remark)}: {remark.message}")
                console.out(f"  {remark.todo}")
            differences = [] if each.proof is None else list(each.proof.differences)
            for difference in differences[:SHOWN]:
                console.out(f"{name}, {difference.about}: {difference.note}")
            if len(differences) > SHOWN:
                console.out(
                    f"{name}: {len(differences) - SHOWN} more differences are in its report"
                )

    def _row(self, each: Migrated) -> tuple[str, ...]:
        done, total = each.cells
        return (
            relative(each.source, self.root),
            "" if each.error else relative(each.target, self.root),
            f"{done} of {total}" if each.converted else "",
            str(len(each.by_hand) or ""),
            each.proof.status if each.proof else "",
        )

    def raise_for_status(self) -> None:
        """Print where the reports are and what failed, by notebook; raise if something did."""
        errors: list[DagmarError] = []
        for each in self.notebooks:
            proof = each.proof
            name = relative(each.target if each.written else each.source, self.root)
            if each.written:
                console.say(f"Report: {relative(report_file(each.target), self.root)}")
            if proof and not proof.error and proof.reason:
                console.warn(f"{name}: {proof.reason}")
            errors += each.errors(name)
            for error in each.errors(name) if len(self.notebooks) > 1 else ():
                message = error.message if name in error.message else f"{name}: {error.message}"
                console.complain(type(error)(message, error.hint, error.command))
        if self.dry_run:
            console.say("Nothing was written: --dry-run.")
        if len(errors) == 1 and len(self.notebooks) == 1:
            raise errors[0]
        if errors:
            failed = sum(any(each.errors("")) for each in self.notebooks)
            error = all_of(errors, len(self.notebooks))
            error.message = f"{failed} of {counted(len(self.notebooks), 'notebook')} are not done"
            raise error


def place_of(remark: Remark) -> str:
    """Return where a remark applies, as people count cells and lines."""
    if not remark.cell:
        return "the notebook"
    lines = "" if remark.line is None else f", line {remark.line}"
    lines += f"–{remark.last}" if remark.last and remark.last != remark.line else ""
    return f"cell {remark.cell}{lines}"


def _places_of(remarks: Sequence[Remark]) -> str:
    """Return where several remarks on a cell apply."""
    first, *others = remarks
    return ", ".join([place_of(first), *(place_of(each).partition(" line ")[2] for each in others)])


def report_file(target: Path) -> Path:
    """Return the file of a migration's report, next to the paired notebook."""
    return target.with_name(target.stem + SUFFIX)


def write_report(root: Path, migrated: Migrated) -> None:
    """Write the report of a notebook that was written. Raises OSError."""
    text = as_markdown(root, migrated)
    write_atomically(report_file(migrated.target), text + _signature(text))


def is_unchanged(file: Path) -> bool:
    """Whether a file is a report as dagmar wrote it. Raises OSError."""
    text = file.read_bytes().decode("utf-8", "replace")
    signed = _SIGNED.search(text)
    return signed is not None and text == text[: signed.start()] + _signature(
        text[: signed.start()]
    )


def as_markdown(root: Path, migrated: Migrated) -> str:
    """Return the report as Markdown; what is from the notebook is text in it, not markup."""
    assert migrated.converted is not None
    converted: Converted = migrated.converted
    done, total = migrated.cells
    lines = [
        f"# Migration of {_plain(relative(migrated.source, root))}",
        "",
        f"The paired notebook is {_plain(relative(migrated.target, root))}. "
        f"{done:,} of {counted(total, 'cell')} need nothing more.",
        "",
    ]
    if migrated.by_hand:
        lines += ["## By hand", ""]
        lines += [
            f"- [ ] {place_of(remark)}: {_plain(remark.message)} → {_plain(remark.todo)}"
            for remark in migrated.by_hand
        ] + [""]  # fmt: skip
    if others := [remark for remark in converted.remarks if remark.level != "by hand"]:
        lines += ["## Converted or dropped", "", "| where | | rule | what |", "|---|---|---|---|"]
        same: dict[tuple[object, ...], list[Remark]] = {}
        for each in others:
            same.setdefault((each.cell, each.level, each.rule, each.message), []).append(each)
        lines += [
            f"| {_places_of(group)} | {group[0].level} | {_plain(group[0].rule)} | "
            f"{_plain(group[0].message)} |"
            for group in same.values()
        ] + [""]  # fmt: skip
    lines += ["## Verified", "", *_proof(migrated.proof), ""]
    return "\n".join(lines)


def _proof(proof: Proof | None) -> Iterator[str]:
    if proof is None:
        yield "No: `invoke migrate --verify` runs both notebooks, and compares their results."
        return
    yield f"**{proof.status}**" + (f": {_plain(proof.reason)}" if proof.reason else "")
    if proof.comparisons:
        yield from ("", "| what | result | |", "|---|---|---|")
    for each in proof.comparisons:
        yield f"| {_plain(each.about)} | {each.status} | {_plain(each.note)} |"
    if proof.hint:
        yield from ("", _plain(proof.hint))


def _plain(text: str) -> str:
    """Return a text as Markdown that shows it as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(console.tame(text).split()))


def _signature(text: str) -> str:
    return f"<!-- dagmar: {hashlib.sha256(text.encode()).hexdigest()} -->\n"
