"""Whole notebooks: each keeps its lines, passes `invoke check`, and ends with the same values."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagmar.export.pool import Pool
from dagmar.migrate.convert import convert
from dagmar.migrate.migrating import MigrateRequest, migrate
from dagmar.migrate.model import lost_lines
from dagmar.migrate.reading import read_notebook
from dagmar.migrate.report import Migration
from dagmar.migrate.verify import verify
from dagmar.notebook.checking import ERROR, check
from dagmar.project.settings import load
from hypothesis import given
from hypothesis import strategies as st
from support.jupyter import code, markdown, write_ipynb
from support.jupyter_corpus import CI, SAMPLES, Sample
from support.project import make_project

pytestmark = pytest.mark.xdist_group("kernel")


@pytest.fixture(scope="module")
def samples(pytestconfig: pytest.Config) -> dict[str, Sample]:
    """All notebooks at night, some in every run."""
    if pytestconfig.option.nightly:
        return SAMPLES
    return {name: SAMPLES[name] for name in dict.fromkeys([*CI, *[*SAMPLES][::8]])}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Sample]) -> Path:
    root = make_project(tmp_path_factory.mktemp("corpus")).root
    for name, sample in samples.items():
        write_ipynb(root / "jupyter" / f"{name}.ipynb", sample.cells)
    return root


@pytest.fixture(scope="module")
def migration(root: Path) -> Migration:
    """Converted and written in one call."""
    return migrate(load(root), MigrateRequest(everything=True), None)


def test_there_are_at_least_forty_and_each_is_written(
    migration: Migration, samples: dict[str, Sample]
) -> None:
    assert len(SAMPLES) >= 40
    assert len(migration.notebooks) == len(samples)
    assert [str(each.error) for each in migration.notebooks if each.error] == []


def test_no_line_is_lost(migration: Migration) -> None:
    for each in migration.notebooks:
        assert each.converted is not None
        text = each.target.read_text("utf-8")
        assert lost_lines(each.converted.source, text, each.converted.remarks) == []


def test_each_result_passes_check(migration: Migration, root: Path) -> None:
    checked = check(load(root), [each.target for each in migration.notebooks], None)
    found = {
        Path(notebook.path).stem: {
            each.rule for each in notebook.findings if each.severity == ERROR
        }
        for notebook in checked.notebooks
        if notebook.errors
    }
    # What only Jupyter's kernel has is undefined until somebody has acted on the report.
    for name in ("get_ipython", "input_history"):
        assert found.pop(name, set()) <= {"undefined-name"}
    assert found == {}


def test_only_the_expected_cells_need_a_hand(
    migration: Migration, samples: dict[str, Sample]
) -> None:
    found = {each.source.stem: {r.cell for r in each.by_hand} for each in migration.notebooks}
    assert found == {name: set(sample.by_hand) for name, sample in samples.items()}


@pytest.fixture(scope="module")
def pool(root: Path) -> Iterator[Pool]:
    with contextlib.closing(Pool(root, 1)) as pool:
        yield pool


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in CI else [pytest.mark.nightly])
        for name, sample in SAMPLES.items()
        if sample.runs
    ],
)
def test_both_end_with_the_same(name: str, migration: Migration, root: Path, pool: Pool) -> None:
    sample = SAMPLES[name]
    if missing := [need for need in sample.needs if importlib.util.find_spec(need) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    (each,) = [each for each in migration.notebooks if each.source.stem == name]
    assert each.converted is not None
    proof = verify(each.converted, root, pool, 120)
    differences = [
        f"{each.about}: {each.note}"
        for each in proof.differences
        if each.what != "printed" or not sample.differs
    ]
    assert differences == []
    assert sample.differs or proof.status == "equal", proof.reason


LINES = st.sampled_from(
    [
        "x = 1", "x = 2", "y = x", "def f(x):", "    return x", "%time x", "%%time", "!ls {x}",
        "x?", "# comment", "", "  indented", "if x:", "print(x);", "%unknown a b", "%%bash",
        "out = !ls", "'''", '"""', "\\", "from a import *", "await f()", "{", "_x = 1", "del x",
        "import os", "for i in y:", "\tpass", "x += 1", "é = '☃'", "%matplotlib inline", "?x",
        "%env A=b", "display(x)", "class A:", "return 1", "\x0c", "global x", "%%writefile a.py",
    ]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)  # fmt: skip
SOURCES = st.lists(LINES, max_size=6).map("\n".join)
CELLS = st.one_of(
    SOURCES.map(code),
    SOURCES.map(markdown),
    SOURCES.map(lambda text: {"cell_type": "raw", "source": text, "metadata": {}}),
    SOURCES.map(lambda text: code(text, "parameters")),
    SOURCES.map(lambda text: code(text, "injected-parameters")),
)


def test_whatever_the_cells_are_no_line_is_lost(tmp_path: Path) -> None:
    @given(st.lists(CELLS, max_size=5))
    def holds(cells: list[dict[str, object]]) -> None:
        source = read_notebook(write_ipynb(tmp_path / "x.ipynb", cells))
        result = convert(source, tmp_path / "notebooks/x.py", "", "", False, tmp_path)
        compile(result.text, "x.py", "exec")
        assert lost_lines(source, result.text, result.remarks) == []

    holds()
