"""The report of `invoke migrate`: terminal, Markdown, JSON, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dagmar.errors import Conflict, DagmarError, Invalid, RunFailed, Unfinished
from dagmar.migrate import report
from dagmar.migrate.model import Converted, Remark
from dagmar.migrate.reading import read_notebook
from dagmar.migrate.report import Migrated, Migration
from dagmar.migrate.verify import Comparison, Proof
from dagmar.upkeep import clean
from support.git import git
from support.jupyter import write_ipynb

TODO = Remark(2, 1, "by hand", "magic", "%weird <b>|* is \x1b[31munknown", "Replace it.", 3)


@pytest.fixture
def done(tmp_path: Path) -> Migrated:
    """One notebook of two cells, with one place that needs a hand."""
    source = read_notebook(write_ipynb(tmp_path / "a/b.ipynb", ["x = 1", "%weird\n\n"]))
    target = tmp_path / "notebooks/b.py"
    remarks = [Remark(1, None, "dropped", "empty", "the cell is empty"), TODO]
    made = Converted(source, target, "", remarks)
    return Migrated(source.path, target, made, written=True)


def differing(count: int) -> Proof:
    each = [
        Comparison("value", None, f"x{number}", "different", "1 → 2") for number in range(count)
    ]
    return Proof(tuple(each), error=RunFailed("differs"))


def status_of(root: Path, *notebooks: Migrated) -> int:
    try:
        Migration(root, list(notebooks)).raise_for_status()
    except DagmarError as error:
        return error.exit_code
    return 0


def test_the_table_and_what_needs_a_hand_are_data(
    done: Migrated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done.proof = differing(25)
    Migration(tmp_path, [done]).show()
    out = capsys.readouterr().out
    assert "a/b.ipynb" in out
    assert "notebooks/b.py" in out
    assert "1 of 2" in out
    assert "a/b.ipynb, cell 2, line 1–3: %weird <b>|* is unknown\n  Replace it.\n" in out
    assert "a/b.ipynb, x19: 1 → 2" in out
    assert "5 more differences" in out
    assert "\x1b" not in out


def test_status_0_only_where_nothing_needs_a_hand(done: Migrated, tmp_path: Path) -> None:
    refused = Migrated(tmp_path / "c.ipynb", tmp_path / "c.py", error=Invalid("it is empty"))
    taken = Migrated(tmp_path / "d.ipynb", tmp_path / "d.py", error=Conflict("it exists"))
    with pytest.raises(Unfinished, match="1 place of notebooks/b") as info:
        Migration(tmp_path, [done]).raise_for_status()
    assert "invoke dev --notebook notebooks/b.py" in str(info.value)
    assert status_of(tmp_path, done) == 8
    assert status_of(tmp_path, done, taken) == 8
    assert status_of(tmp_path, refused) == 7
    assert status_of(tmp_path, refused, refused) == 7
    assert status_of(tmp_path, done, refused) == 4  # they differ
    assert done.converted is not None
    clean_one = Migrated(
        done.source, done.target, Converted(done.converted.source, done.target, "")
    )
    assert status_of(tmp_path, clean_one) == 0
    assert status_of(tmp_path, clean_one, refused) == 7
    clean_one.proof = differing(1)
    assert status_of(tmp_path, clean_one) == 4
    clean_one.proof = Proof(reason="cell 2 fails in both")
    assert status_of(tmp_path, clean_one) == 0


def test_one_document_has_all_of_it(done: Migrated, tmp_path: Path) -> None:
    done.proof = differing(1)
    (document,) = json.loads(json.dumps(Migration(tmp_path, [done]).as_document()))["notebooks"]
    assert (document["cells"], document["cells_by_hand"]) == (2, 1)
    assert document["status"] == "created"
    assert document["report"] == "notebooks/b.migration.md"
    assert document["remarks"][1] == {**vars(TODO)}
    assert document["verified"]["comparisons"][0]["note"] == "1 → 2"
    refused = Migrated(tmp_path / "c.ipynb", tmp_path / "c.py", error=Invalid("no", "Do it."))
    (document,) = Migration(tmp_path, [refused]).as_document()["notebooks"]
    assert document["error"] == {"class": "Invalid", "message": "no", "hint": "Do it."}


def test_text_of_a_notebook_is_no_markup_in_the_report(done: Migrated, tmp_path: Path) -> None:
    done.proof = Proof((Comparison("value", None, "a|b", "different", "`<script>`"),))
    report.write_report(tmp_path, done)
    text = report.report_file(done.target).read_text("utf-8")
    assert "- [ ] cell 2, line 1–3: %weird \\<b\\>\\|\\* is unknown → Replace it.\n" in text
    assert "| a\\|b | different | \\`\\<script\\>\\` |" in text
    assert "| cell 1 | dropped | empty | the cell is empty |" in text
    assert "\x1b" not in text


def test_clean_removes_a_report_that_nobody_has_edited(done: Migrated, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    report.write_report(tmp_path, done)
    edited = tmp_path / "notebooks/mine.migration.md"
    text = report.report_file(done.target).read_text("utf-8")
    edited.write_text(text.replace("- [ ]", "- [x]"), "utf-8")
    tracked = tmp_path / "notebooks/kept.migration.md"
    tracked.write_text(text, "utf-8")
    git(tmp_path, "add", "notebooks/kept.migration.md")
    plan = clean.look(tmp_path, clean.choose(notebooks=True))
    assert [item.paths for item in plan.items] == [(report.report_file(done.target),)]
    assert [name for name, _ in plan.kept] == ["notebooks/kept.migration.md"]
