"""`invoke migrate --verify`: both notebooks run once, and what they end with is compared."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from dagmar.errors import SetupError, TimedOut
from dagmar.export.pool import Pool
from dagmar.failure import Failure
from dagmar.migrate import kernel
from dagmar.migrate.kernel import Observed
from dagmar.migrate.migrating import MigrateRequest, migrate
from dagmar.migrate.model import Converted
from dagmar.migrate.reading import read_notebook
from dagmar.migrate.verify import Proof, compare, verify
from dagmar.notebook.fingerprints import describe
from dagmar.project.settings import load
from support.export_project import write
from support.jupyter import code, write_ipynb
from support.project import Project, make_project

pytestmark = pytest.mark.xdist_group("kernel")  # one worker at a time, on two cores


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    (folder / "data.txt").write_text("3", "utf-8")
    return folder


@pytest.fixture(scope="module")
def pool(folder: Path) -> Iterator[Pool]:
    """One worker for the paired notebooks of all tests."""
    with contextlib.closing(Pool(folder, 1)) as pool:
        yield pool


def pair(folder: Path, olds: list[Any], news: list[str], **names: str) -> Converted:
    """Return a Jupyter notebook and a paired one, with one cell of the latter for each."""
    source = read_notebook(write_ipynb(folder / "old.ipynb", olds))
    file = write(folder, *(f"_():\n{cell}" for cell in news), name="new")
    origins = [(cell.number,) for cell in source.cells]
    return Converted(source, file, file.read_text("utf-8"), (), origins, names)


OLD = [
    "import random\nimport subprocess",
    "print('three:', open('data.txt').read())\n[1, 2]",
    "!echo from a shell",
    code("total = 99", "injected-parameters"),
    "total = 1\nfirst = [total]",
    "chance = random.random()\npassword = 'old'\n_gone = 1",
    "%%capture\nprint('nobody sees it')\nhidden = 7",
    "total = 2\ndef double(number):\n    return number * 2",
    "numbers = (n for n in first)\nsame = double(total)\nleft_out = 5\nsame;",
]
NEW = [
    "import random\nimport subprocess",
    "print('three:', open('data.txt').read())\n[1, 3]",
    "subprocess.run(['echo', 'from a shell'])\nNone",
    "None",
    "total = 1\nfirst = [total]",
    "chance = random.random()\npassword = 'new'",
    "hidden = 7",
    "total_1 = 2\ndef double(number):\n    return number * 2",
    "numbers = (n for n in first)\nsame = double(total_1)",
]
NAMES = {name: name for name in ("first", "chance", "password", "hidden", "double", "numbers",
                                 "same", "left_out", "random")}  # fmt: skip


@pytest.fixture(scope="module")
def proof(folder: Path, pool: Pool) -> Proof:
    before = {file: file.read_bytes() for file in folder.iterdir()}
    result = verify(pair(folder, OLD, NEW, **NAMES, total="total_1"), folder, pool, 120)
    assert {file: file.read_bytes() for file in before} == before
    return result


def test_values_are_compared_by_their_name_there(proof: Proof) -> None:
    results = {each.name: (each.status, each.note) for each in proof.comparisons if each.name}
    assert results.pop("chance")[0] == "different"
    assert results == {
        "double": ("not comparable", "a function, and only what it returns is compared"),
        "first": ("equal", ""),
        "hidden": ("equal", ""),
        "left_out": ("not comparable", "the new notebook has no left_out"),
        "numbers": ("not comparable", "a generator has no content to compare"),
        "password": ("different", "not shown, because of its name"),
        "same": ("equal", ""),
        "total": ("equal", "as total_1"),
    }


def test_what_cells_print_and_show_is_compared_cell_for_cell(proof: Proof) -> None:
    cells = [(each.cell, each.what, each.status, each.note)
             for each in proof.comparisons if each.cell]  # fmt: skip
    assert cells == [
        (2, "printed", "equal", ""),
        (2, "shown", "different", "[1]: 2 → 3"),
        (3, "printed", "equal", ""),
    ]


def test_the_verdict_names_the_number_and_a_reason_to_seed(proof: Proof) -> None:
    assert proof.status == "different"
    assert proof.error is not None
    assert proof.error.exit_code == 4
    assert proof.error.message == "3 of 12 results differ"
    assert "set a seed" in proof.hint
    document = json.loads(json.dumps(proof.as_document()))
    assert document["status"] == "different"
    assert document["jupyter_s"] > 0


def test_no_kernel_is_left_of_a_notebook_that_never_ends(folder: Path, pool: Pool) -> None:
    lines = [
        "import os, subprocess, sys",
        "open('pids', 'w').write(str(os.getpid()))",
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])",
        "open('pids', 'a').write(f' {child.pid}')",
        "while True: pass",
    ]
    result = verify(pair(folder, ["x = 1", "\n".join(lines)], ["x = 1"]), folder, pool, 3)
    assert isinstance(result.error, TimedOut)
    assert result.reason == "cell 2 of old.ipynb was still running after --timeout 3"
    assert result.status == "not comparable"
    gone = [int(pid) for pid in (folder / "pids").read_text().split()]
    assert [pid for pid in gone if psutil.pid_exists(pid) and running(pid)] == []


def running(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.nightly
def test_a_paired_notebook_that_never_ends_is_stopped_too(folder: Path, pool: Pool) -> None:
    result = verify(pair(folder, ["x = 1"], ["while True: pass"], x="x"), folder, pool, 3)
    assert isinstance(result.error, TimedOut)
    assert "cell 1 of new.py was still running" in result.reason


@pytest.mark.nightly
def test_a_kernel_that_dies_is_a_reason(folder: Path, pool: Pool) -> None:
    cells = ["x = 1", "import os; os._exit(3)"]
    result = verify(pair(folder, cells, ["x = 1", "x"], x="x"), folder, pool, 60)
    assert result.status == "not comparable"
    assert (
        result.reason == "cell 2 of the Jupyter notebook failed: DeadKernelError: the kernel died"
    )


@pytest.mark.nightly
def test_ctrl_c_leaves_no_kernel(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    pid = "import os; open('pid', 'w').write(str(os.getpid()))"
    write_ipynb(tmp_path / "slow.ipynb", [f"{pid}\nimport time; time.sleep(600)"])
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", "migrate", "--notebook", "slow.ipynb", "--verify"],
        cwd=project.root, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    assert not running(int((tmp_path / "pid").read_text()))


def observed(*cells: dict[str, Any], failed: int = 0, **values: Any) -> Observed:
    plain = {"shown": None, "figures": [], "printed": ""}
    numbered = {number: {**plain, **cell} for number, cell in enumerate(cells, 1)}
    failure = Failure("no", "ValueError", place=f"cell {failed}") if failed else None
    described = {name: describe(value) for name, value in values.items()}
    return Observed(numbered, described, failure=failure, failed=failed)


def as_new(run: Observed) -> Observed:
    """Number the cells as those of a paired notebook."""
    run.cells = {number - 1: cell for number, cell in run.cells.items()}
    run.failed = max(run.failed - 1, 0)
    return run


def converted(folder: Path, origins: list[tuple[int, ...]], **names: str) -> Converted:
    count = max((max(each, default=0) for each in origins), default=0)
    source = read_notebook(write_ipynb(folder / "x.ipynb", ["pass"] * count))
    return Converted(source, folder / "x.py", "", (), origins, names)


def test_merged_and_split_cells_are_compared_as_one(tmp_path: Path) -> None:
    what = converted(tmp_path, [(), (1, 3), (2,), (2,)])
    three = [{"printed": "a\n"}, {"printed": "b\r\nc\n"}, {"printed": "d\n"}]
    four = [{}, {"printed": "a\nd\n"}, {"printed": "b\n"}, {"printed": "c\n"}]
    result = compare(what, observed(*three), as_new(observed(*four)))
    assert [(each.cell, each.status) for each in result.comparisons] == [(1, "equal"), (2, "equal")]
    four[3] = {"printed": "C\n"}
    result = compare(what, observed(*three), as_new(observed(*four)))
    assert result.comparisons[1].note == "line 2: 'c' → 'C'"


def test_both_failing_at_the_same_place_is_no_difference(tmp_path: Path) -> None:
    what = converted(tmp_path, [(1,), (2,)], x="x")
    before, after = observed({}, {}, failed=2, x=1), as_new(observed({}, {}, failed=2, x=1))
    result = compare(what, before, after)
    assert result.reason == "cell 2 fails in both: ValueError: no"
    assert result.error is None
    result = compare(what, observed({}, {}, x=1), as_new(observed({}, {}, failed=2, x=1)))
    assert result.status == "different"
    assert result.comparisons[0].note == "it fails: ValueError: no"


def test_what_magics_measure_is_no_difference(tmp_path: Path) -> None:
    file = write_ipynb(tmp_path / "x.ipynb", ["%%time\nprint(1)"])
    what = Converted(read_notebook(file), tmp_path / "x.py", "", (), [(1,)], {})
    timed = "1\nCPU times: user 5.85 ms, sys: 176 μs, total: 6.03 ms\nWall time: 6.1 ms\n"
    result = compare(what, observed({"printed": timed}), as_new(observed({"printed": "1\n"})))
    assert [each.status for each in result.comparisons] == ["equal"]


def test_a_value_that_a_later_cell_changes_is_not_compared_after_a_failure(tmp_path: Path) -> None:
    what = converted(tmp_path, [(1,), (2,)], x="x")
    result = compare(what, observed({}, {}, failed=1, x=1), as_new(observed({}, {}, x=2)))
    assert result.comparisons[0].status == "not comparable"
    assert result.error
    assert result.error.message == "cell 1 of the Jupyter notebook failed: ValueError: no"


def test_plots_are_compared_by_their_data(tmp_path: Path) -> None:
    what = converted(tmp_path, [(1,)])
    runs = [observed({"figures": [describe(lines)]}) for lines in ([1, 2], [1, 2], [1, 3])]
    assert compare(what, runs[0], as_new(runs[1])).status == "equal"
    assert compare(what, runs[0], as_new(runs[2])).comparisons[0].what == "drawn"


def test_a_missing_package_is_named_before_anything_is_read(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str, real: Any = importlib.util.find_spec) -> Any:
        return None if name == "ipykernel" else real(name)

    monkeypatch.setattr(kernel.importlib.util, "find_spec", find)
    request = MigrateRequest(notebooks=["none.ipynb"], verify=True)
    with pytest.raises(SetupError, match="ipykernel, which is not installed") as info:
        migrate(load(project.root), request, None)
    assert "ipykernel" in info.value.command
    assert info.value.exit_code == 3


def test_the_task_verifies_and_writes_a_report(project: Project) -> None:
    cells = ["x = [1, 2]\nprint(sum(x))", "y = {'a': x}\ny"]
    file = write_ipynb(project.root / "a/orders.ipynb", cells)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    done = project.invoke(
        "migrate", "--notebook", "a/orders.ipynb", "--verify", "--timeout", "100", "--json"
    )
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)["notebooks"]
    assert document["verified"]["status"] == "equal"
    assert document["report"] == "notebooks/orders.migration.md"
    assert "**equal**" in (project.root / document["report"]).read_text("utf-8")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
    refused = project.invoke("migrate", "--all", "--verify", "--timeout", "0")
    assert refused.returncode == 2
