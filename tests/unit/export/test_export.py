"""`invoke export`: what it writes, and that no notebook can break it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dagmar.errors import DagmarError, Invalid, NotAllowed, SetupError, UsageError
from dagmar.export import folders, manifests, worker
from dagmar.export.exporting import export as run_exports
from dagmar.export.publish import Publisher, existing
from dagmar.export.request import ExportRequest, find_notebooks
from dagmar.failure import Failure
from dagmar.notebook import execute as executing
from dagmar.project.settings import load
from support import full_disk
from support.export_project import (
    GOOD,
    assert_whole,
    export,
    export_project,
    ids,
    paired,
    write,
    write_export,
)
from support.project import Project

BAD = {
    "fails": "fails():\nnumber = 1 / 0",
    "leaves": "leaves():\nimport sys\n\nsys.exit(3)",
    "misses": "misses():\nimport no_such_package",
    "refused": "refused():\nfrom dagmar.flags import parse_tags\n\nparse_tags(['x'])",
    "dies": 'dies():\nimport os\n\nos.write(1, b"last words")\nos._exit(9)',
    "is_killed": "is_killed():\nimport os\n\nos.kill(os.getpid(), 9)",
    "prints": "prints():\nfor _ in range(50):\n    print('x' * 200_000)",
}
HANGING = {
    "hangs": "hangs():\nimport time\n\nprint('begun')\ntime.sleep(600)",
    "ignores": (
        "ignores():\nimport signal\nimport time\n\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(600)"
    ),
}
FAILURES = {
    "fails": ("fails", "ZeroDivisionError", True),
    "leaves": ("leaves", "SystemExit", True),
    "misses": ("misses", "ModuleNotFoundError", True),
    "refused": ("refused", "UsageError", True),
    "circle": ("a", "CycleError", True),
    "wrong": ("a", "SyntaxError", True),
    "dies": ("dies", "ProcessEnded", False),
    "is_killed": ("is_killed", "ProcessEnded", False),
}


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, dict[str, Any], str]:
    """All bad notebooks and a good one, exported by two workers in one call."""
    project = export_project(tmp_path_factory.mktemp("bad"), **BAD, good=GOOD)
    (project.root / "notebooks" / "plain.py").write_text("import marimo\nx = marimo.App\n")
    write(project.root / "notebooks", "a(y):\nx = y\nreturn (x,)", "b(x):\ny = x\nreturn (y,)",
          "c():\nprint('forty-two')", name="circle")  # fmt: skip
    write(project.root / "notebooks", "a():\nx = = y", "c():\nprint('forty-two')", name="wrong")
    merged = "import marimo\n\napp = marimo.App()\n<<<<<<< HEAD\n=======\n>>>>>>> other\n"
    (project.root / "notebooks" / "merged.py").write_text(merged)
    flags = ("--all", "--workers", "2", "--format", "html", "--format", "ipynb")
    status, exports, stderr = export(project, *flags)
    return (
        project.root,
        status,
        {Path(export["notebook"]).stem: export for export in exports},
        stderr,
    )


@pytest.mark.xdist_group("exports")
def test_a_notebook_that_hangs_is_stopped_in_time_and_keeps_its_page_unless_it_ignores_sigint(
    tmp_path: Path,
) -> None:
    project = export_project(tmp_path, **HANGING)
    write(
        tmp_path / "notebooks",
        "first():\nfirst_value = 1 / 0\nreturn (first_value,)",
        "async awaits():\nimport asyncio\n\nprint('begun')\nawait asyncio.sleep(600)",
        "later(asyncio):\nimport time\n\ntime.sleep(600)",
        name="awaits",
    )
    status, exports, stderr = export(project, "--all", "--workers", "3", "--timeout", "10")
    assert status == 9
    assert "longer than --timeout 10" in stderr
    awaiting, stopped, killed = exports
    for exported in exports:
        error = exported["error"]
        assert (error["cell"], error["class"]) == (Path(exported["notebook"]).stem, "TimedOut")
    for exported in (awaiting, stopped):
        assert "begun" in Path(exported["files"][0]).read_text("utf-8")
    assert "await asyncio.sleep(600)" in awaiting["error"]["traceback"]
    assert killed["files"] == []
    assert assert_whole(tmp_path / ".dagmar/exports") == 3


@pytest.mark.xdist_group("exports")
def test_one_failing_notebook_never_hides_the_others(
    bad: tuple[Path, int, dict[str, Any], str],
) -> None:
    root, status, exports, stderr = bad
    assert status == 4
    assert exports["good"]["status"] == "ok"
    assert exports["prints"]["status"] == "ok"
    assert sum(Path(file).stat().st_size for file in exports["prints"]["files"]) < 2_000_000
    for name in FAILURES:
        assert f"notebooks/{name}.py" in stderr
    assert "Exported 2 of " in stderr
    assert assert_whole(root / ".dagmar/exports") == len(FAILURES) + 2


@pytest.mark.xdist_group("exports")
@pytest.mark.parametrize("name", FAILURES)
def test_a_bad_notebook_is_reported_and_recorded(
    bad: tuple[Path, int, dict[str, Any], str], name: str
) -> None:
    root, _, exports, stderr = bad
    cell, kind, page = FAILURES[name]
    error = exports[name]["error"]
    assert exports[name]["status"] == "failed"
    assert (error["cell"], error["class"]) == (cell, kind)
    assert len(exports[name]["files"]) == (2 if page else 0)
    folder = root / ".dagmar/exports" / name / exports[name]["id"]
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["error"] == error
    assert error["message"] in stderr
    if kind not in ("ProcessEnded", "CycleError"):
        assert f'File "{name}.py", line ' in error["traceback"]
    if name in ("circle", "wrong"):  # the rest is shown
        assert "forty-two" in Path(exports[name]["files"][0]).read_text("utf-8")
    if name == "refused":  # by dagmar, whose own frames help nobody; its hint is printed once
        assert "parse_tags(['x'])" in error["traceback"]
        assert "flags.py" not in error["traceback"]
        assert stderr.count(error["message"].partition("\n")[2]) == 1
    if name == "dies":
        assert error["traceback"] == "last words"


@pytest.mark.xdist_group("exports")
def test_a_file_that_is_not_a_notebook_leaves_no_folder(
    bad: tuple[Path, int, dict[str, Any], str],
) -> None:
    root, _, exports, _ = bad
    assert exports["merged"]["error"]["class"] == "Invalid"
    assert not (root / ".dagmar/exports/merged").exists()


def test_an_export_can_be_traced_to_where_it_came_from(tmp_path: Path) -> None:
    project = export_project(tmp_path)
    file = write(
        tmp_path / "notebooks",
        "inputs():\nregion = 'EU'\nplant, limit = 'P1', 1\nreturn limit, plant, region",
        "shown(region):\npair.report(rows=12, share=0.5, region=region)",
        name="orders",
        head=paired("raw/orders"),
    )
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        mine = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
        subprocess.run(["git", *mine, *command], cwd=tmp_path, check=True)
    formats = [word for name in ("html", "ipynb", "md") for word in ("--format", name)]
    status, (one,), _ = export(
        project,
        "--notebook",
        "orders.py",
        *formats,
        "--param",
        "region=US",
        "--no-code",
        *("--param", "plant=007", "--param", "limit=20"),
    )
    assert status == 0
    manifest = json.loads((Path(one["files"][0]).parent / "manifest.json").read_text("utf-8"))
    revision = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=tmp_path, text=True)
    assert manifest["git_revision"] == revision.strip()
    assert manifest["notebook"] == "notebooks/orders.py"
    assert manifest["notebook_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert manifest["parameters"] == {"region": "US", "plant": "007", "limit": 20}
    assert manifest["reported"] == {"rows": 12, "share": 0.5, "region": "US"}
    assert manifest["asset"] == "raw/orders"
    assert set(manifest["versions"]) == {"python", "dagmar", "marimo", "dagster"}
    assert [Path(name).suffix for name in one["files"]] == [".html", ".ipynb", ".md"]
    assert "pair.report" not in Path(one["files"][0]).read_text("utf-8")
    assert one["url"] == Path(one["files"][0]).as_uri()
    assert assert_whole(tmp_path / ".dagmar/exports") == 1
    index = (tmp_path / ".dagmar/exports/orders/index.html").read_text("utf-8")
    assert f"{one['id']}/orders.html" in index
    assert "region = US" in index
    assert "orders/index.html" in (tmp_path / ".dagmar/exports/index.html").read_text("utf-8")


VEILED = {
    "fails": "veiled_cell():\nveiled = 0\nprint('printed text')\nvalue = 1 / veiled",
    "dies": "veiled_cell():\nimport os\n\nos.write(1, b'printed text')\nos._exit(9)",
    "good": "veiled_cell():\nveiled = 40 + 2\nprint('printed text')\nveiled",
}


def test_no_file_of_an_export_without_code_contains_code_or_prints(tmp_path: Path) -> None:
    project = export_project(tmp_path, **VEILED)
    formats = [word for name in ("html", "ipynb", "md") for word in ("--format", name)]
    upload = ("--upload", str(tmp_path / "sent"), "--compress")
    status, (dies, fails, good), stderr = export(project, "--all", "--no-code", *formats, *upload)
    assert status == 4
    files = [
        file for place in (".dagmar/exports", "sent") for file in (tmp_path / place).rglob("*")
    ]
    texts = {file: file.read_bytes() for file in files if file.is_file()}
    assert {file.name for file in texts if "sent" in file.parts} >= {"good.html", "manifest.json"}
    for file, text in texts.items():
        plain = gzip.decompress(text) if text.startswith(b"\x1f\x8b") else text
        leaked = [part for part in (b"veiled", b"printed", b"Traceback") if part in plain]
        assert leaked == [], file
    assert fails["error"] == {
        "cell": "cell 1", "class": "ZeroDivisionError", "message": "division by zero",
        "traceback": None,
    }  # fmt: skip
    assert dies["error"]["message"] == "the notebook's process ended with status 9"
    assert good["error"] is None
    # Who exported it sees where it failed.
    assert "value = 1 / veiled" in stderr
    assert "printed text" in stderr


def test_a_partition_is_passed_to_the_notebook_that_takes_one(tmp_path: Path) -> None:
    project = export_project(
        tmp_path,
        by_day="inputs():\npartition_key = None\nrows = [partition_key] * 3\nrows",
        whole='good():\nprint("forty-two")',
    )
    status, exports, stderr = export(
        project, "--all", "--partition", "2026-01-05", "--format", "md"
    )
    assert status == 0, stderr
    by_day, whole = (Path(one["files"][0]) for one in exports)
    assert "2026-01-05" in by_day.read_text("utf-8")
    assert "datetime" not in by_day.read_text("utf-8")
    manifests_ = [
        json.loads((page.parent / "manifest.json").read_text()) for page in (by_day, whole)
    ]
    assert [manifest["parameters"] for manifest in manifests_] == [
        {"partition_key": "2026-01-05"},
        {},
    ]
    status, (one,), stderr = export(project, "--notebook", "whole.py", "--partition", "2026-01-05")
    assert status == 7
    assert one["error"]["message"] == "whole.py does not take a partition"


def test_each_file_and_a_cell_without_a_name_are_reported_once(tmp_path: Path) -> None:
    project = export_project(tmp_path)
    write(tmp_path / "notebooks", "_():\n1", "_():\n1 / 0", name="my orders")
    done = project.invoke("export", "--all", "--format", "md", "--format", "html")
    assert done.returncode == 4
    (id,) = ids(tmp_path / ".dagmar/exports", "my orders")
    page = (tmp_path / ".dagmar/exports/my orders" / id / "my orders").as_uri()
    assert done.stdout.splitlines() == [f"{page}.html", f"{page}.md"]
    assert "error: cell 2 failed: ZeroDivisionError" in done.stderr
    assert [manifests.cell_of(Failure("m", place=cell)) for cell in ("Orders", "cell 2", "")] == [
        "cell Orders", "cell 2", "",
    ]  # fmt: skip


SHOP = """\
import dagster as dg

days = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-02-01")
print("loading")
defs = dg.Definitions(
    assets=[dg.AssetSpec("orders", partitions_def=days), dg.AssetSpec("whole")]
)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    """A project whose asset `orders` has the days of January, and `whole` no partitions."""
    project = export_project(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.dagster]\nmodule_name = "shop_of_days"\n')
    (tmp_path / "shop_of_days.py").write_text(SHOP)
    cell = "inputs():\npartition_key = None\nopen('ran', 'w').close()\npartition_key"
    for name in ("orders", "whole", "elsewhere"):
        write(tmp_path / "notebooks", cell, name=name, head=paired(name))
    return project


@pytest.mark.parametrize("flags", [("--partition", "2026-01-32"), ("--param", "partition_key=x")])
def test_a_partition_that_the_asset_does_not_have_is_refused_before_a_cell_is_run(
    flags: tuple[str, str], shop: Project
) -> None:
    status, (one,), stderr = export(shop, "--notebook", "orders.py", *flags)
    assert status == 7
    partition = flags[1].removeprefix("partition_key=")
    assert f"the asset 'orders' has no partition '{partition}'" in one["error"]["message"]
    assert "Its partitions: from 2026-01-01 to 2026-01-31" in stderr
    assert not (shop.root / "ran").exists()
    assert ids(shop.root / ".dagmar/exports", "orders") == []


def test_a_partition_is_not_refused_if_it_may_be_another_assets(shop: Project) -> None:
    flags = ("--all", "--partition", "2026-01-31", "--format", "md")
    status, exports, stderr = export(shop, *flags)
    assert status == 0, stderr
    assert len(exports) == 3
    (shop.root / "shop_of_days.py").write_text("1 / 0")
    status, _, stderr = export(shop, "--notebook", "orders.py", "--partition", "x")
    assert status == 0, stderr


def test_output_names_another_folder_and_dev_gives_http_links(tmp_path: Path) -> None:
    project = export_project(tmp_path / "project", good=GOOD)
    status, (one,), _ = export(project, "--notebook", "good.py", "--output", str(tmp_path / "out"))
    assert status == 0
    assert Path(one["files"][0]).is_relative_to(tmp_path / "out/good")
    assert not (project.root / ".dagmar").exists()
    (project.root / ".dagmar/tmp").mkdir(parents=True)
    running = {"pid": os.getpid(), "reports_url": "http://127.0.0.1:4321/reports/"}
    (project.root / ".dagmar/tmp/dev.json").write_text(json.dumps(running), "utf-8")
    status, (one,), _ = export(project, "--notebook", "good.py")
    assert one["url"] == f"http://127.0.0.1:4321/reports/good/{one['id']}/good.html"
    page = Path(one["files"][0]).read_text("utf-8")
    assert '<script src="../../_marimo/' in page
    assert "cdn.jsdelivr.net" not in page


@pytest.mark.nightly
def test_two_exports_of_one_notebook_at_the_same_time_both_exist(tmp_path: Path) -> None:
    project = export_project(tmp_path, good=GOOD)
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _: export(project, "--notebook", "good.py"), range(2)))
    assert [status for status, _, _ in done] == [0, 0]
    assert assert_whole(tmp_path / ".dagmar/exports") == 2
    index = (tmp_path / ".dagmar/exports/good/index.html").read_text("utf-8")
    assert all(one["id"] in index for _, (one,), _ in done)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    project = export_project(tmp_path, good=GOOD)
    assert export(project, "--notebook", "good.py")[0] == 0
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "export", "--notebook", "good.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env=full_disk.environ(),
        preexec_fn=lambda: full_disk.fill(20_000),
    )
    assert done.returncode == 3, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert assert_whole(tmp_path / ".dagmar/exports") == 1
    assert [file.name for file in (tmp_path / ".dagmar/exports/good").glob(".*")] == []


def test_ctrl_c_stops_the_notebook_and_leaves_nothing(tmp_path: Path) -> None:
    project = export_project(
        tmp_path,
        hangs="hangs():\nimport os\nimport pathlib\nimport time\n\n"
        "pathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(600)",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", "export", "--notebook", "hangs.py"],
        cwd=project.root,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not list((tmp_path / ".dagmar/exports").glob("*/*"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"existing": "x", "dry_run": True}, "exclude each other"),
        ({}, "no notebook is selected"),
        ({"all": True, "notebooks": ["good.py"]}, "give only one of"),
        ({"all": True, "attach": "orders"}, "one notebook with one asset"),
        ({"existing": "x", "partition": "a"}, "--partition needs --attach"),
        (
            {"all": True, "partition": "a", "parameters": {"partition_key": "b"}},
            "differ",
        ),
        ({"existing": "x", "timeout": 5.0}, "does not run a notebook"),
        ({"existing": "x", "code": False}, "does not run a notebook"),
    ],
)
def test_flags_that_do_not_fit_together_are_refused(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExportRequest(**flags)


def test_malformed_flags_are_refused() -> None:
    with pytest.raises(UsageError, match="no format 'pdf'"):
        ExportRequest(all=True, formats=("pdf",))


def test_an_unknown_name_is_refused_with_a_suggestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(export_project(tmp_path, good=GOOD).root)
    monkeypatch.chdir(settings.root)
    with pytest.raises(UsageError, match=r"did you mean 'notebooks/good\.py'"):
        find_notebooks(settings, ExportRequest(notebooks=["notebooks/goood.py"]))
    with pytest.raises(UsageError, match="is a folder"):
        find_notebooks(settings, ExportRequest(notebooks=[str(tmp_path)]))
    for id in ("20260101T000000Z-01234567", "../x"):
        with pytest.raises(Invalid, match="there is no export"):
            existing(settings, ExportRequest(existing=id))


@pytest.mark.parametrize(
    ("folder", "error"), [("/sys/dagmar/exports", NotAllowed), ("/dev/null/exports", Invalid)]
)
def test_a_folder_that_cannot_be_written_is_reported(
    tmp_path: Path, folder: str, error: type[DagmarError]
) -> None:
    place = folders.Place(Path(folder), "good")
    with pytest.raises(error, match=str(place.folder)), folders.staged(place, folders.new_id()):
        pass


def test_a_disk_that_is_full_is_reported() -> None:
    with pytest.raises(SetupError, match="No space left"), folders.writable(Path("x")):
        raise OSError(28, "No space left on device")


def test_the_newest_that_an_asset_links_to_stays_here_and_where_it_was_sent(
    tmp_path: Path,
) -> None:
    settings = load(export_project(tmp_path, "export: {keep: 1}\n").root)
    exports, sent = tmp_path / ".dagmar/exports", tmp_path / "sent"
    new, linked = write_export(exports, 1), write_export(exports, 2, asset="raw/orders")
    older = write_export(exports, 3, asset="raw/orders")
    shutil.copytree(exports, sent)
    for manifest in (new, linked, older):
        text = replace(manifest, attached=[]).as_text()  # they are sent before they are attached
        (sent / "orders" / manifest.id / "manifest.json").write_text(text, "utf-8")

    def would_go(**flags: Any) -> set[str]:
        request = ExportRequest(notebooks=["orders.py"], upload=str(sent), **flags)
        gone = Publisher(settings, request).expire(
            exports / "orders", "notebooks/orders.py", folders.new_id(), dry_run=True
        )
        return {f"{place.split('/')[-3]}/{place.split('/')[-1]}" for place in gone}

    going = {f"{place}/{one.id}" for place in ("exports", "sent") for one in (new, older)}
    assert would_go() == going
    assert would_go(attach="raw/orders") == {*going, f"exports/{linked.id}", f"sent/{linked.id}"}
    Publisher(settings, ExportRequest(all=True, upload=str(sent))).expire(
        exports / "orders", "notebooks/orders.py", new.id
    )
    assert ids(exports, "orders") == ids(sent, "orders") == [new.id, linked.id]


def test_two_exports_at_the_same_time_that_keep_one_both_succeed(tmp_path: Path) -> None:
    project = export_project(tmp_path, good=GOOD)
    flags = ("--notebook", "good.py", "--keep", "1", "--upload", str(tmp_path / "sent"))
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _: export(project, *flags), range(2)))
    assert [status for status, _, _ in done] == [0, 0], done
    status, (one,), stderr = export(project, *flags)
    assert status == 0, stderr
    for folder in (tmp_path / ".dagmar/exports", tmp_path / "sent"):
        assert ids(folder, "good") == [one["id"]]
        assert assert_whole(folder) == 1


def test_a_missing_notebook_does_not_prevent_the_export_of_others(tmp_path: Path) -> None:
    settings = load(export_project(tmp_path, good=GOOD).root)
    notebooks = [tmp_path / "notebooks" / name for name in ("gone.py", "good.py")]
    gone, good = run_exports(settings, ExportRequest(all=True, formats=("md",)), notebooks)
    assert isinstance(gone.error, Invalid)
    assert "gone.py cannot be read" in gone.error.message
    assert good.ok


def test_an_index_that_cannot_be_written_is_a_problem_of_an_export_that_is_kept(
    tmp_path: Path,
) -> None:
    project = export_project(tmp_path, good=GOOD)
    (tmp_path / ".dagmar/exports/index.html").mkdir(parents=True)
    status, (one,), stderr = export(project, "--notebook", "good.py", "--format", "md")
    assert status == 3
    assert [problem["step"] for problem in one["problems"]] == ["index"]
    assert "index: " in stderr
    assert Path(one["files"][0]).is_file()
    assert ids(tmp_path / ".dagmar/exports", "good") == [one["id"]]


def test_the_asset_of_an_export_is_the_one_that_its_notebook_is_paired_with(
    tmp_path: Path,
) -> None:
    settings = load(export_project(tmp_path).root)
    file = write(tmp_path / "notebooks", "a():\n1", name="orders", head=paired("raw/orders"))
    request = ExportRequest(notebooks=["orders.py"], formats=("md",), attach="raw/ordres")
    (one,) = run_exports(settings, request, [file])
    assert (one.manifest.asset, one.manifest.attached) == ("raw/orders", [])


def test_the_hash_is_of_the_source_that_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, "first():\n1", name="orders")
    loaded = executing.load

    def load_late(path: Path) -> Any:
        app = loaded(path)
        if "second" not in file.read_text("utf-8"):  # it is saved while it is loaded
            write(tmp_path, "first():\n1", "second():\n2", name="orders")
        return app

    monkeypatch.setattr(executing, "load", load_late)
    app, digest = worker._load(file)
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert [data.name for data in app.cell_manager.cell_data()] == ["first", "second"]


def test_an_existing_export_is_found_in_a_folder_below_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(export_project(tmp_path).root)
    monkeypatch.setenv("HOME", str(tmp_path))
    manifest = write_export(tmp_path / "reports", 1)
    found = existing(settings, ExportRequest(existing=manifest.id, output="~/reports"))
    assert found.folder == tmp_path / "reports/orders" / manifest.id


def test_a_worker_that_dies_is_replaced_and_its_notebook_is_killed(tmp_path: Path) -> None:
    project = export_project(
        tmp_path,
        a="a():\nimport os\nimport pathlib\nimport time\n\n"
        "pathlib.Path('pid').write_text(str(os.getpid()))\nos.kill(os.getppid(), 9)\n"
        "time.sleep(600)",
        b=GOOD,
    )
    settings = load(project.root)
    request = ExportRequest(all=True, formats=("md",))
    first, second = run_exports(settings, request, find_notebooks(settings, request))
    assert isinstance(first.error, SetupError)
    assert second.ok
    notebook = int((tmp_path / "pid").read_text("utf-8"))
    deadline = time.monotonic() + 240
    while _runs(notebook):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    manifest = write_export(tmp_path, 1)
    for name in ("../orders.html", "/etc/passwd", ".."):
        bad = replace(manifest, files=[manifests.File(name, 1, "0")])
        assert manifests.parse(bad.as_text(), manifest.id) is None
    assert manifests.parse(manifest.as_text(), "20200101T000000Z-00000000") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("duration_s", None),
        ("title", 3),
        ("files", [{"name": "orders.html", "bytes": "1", "sha256": "0"}]),
        ("error", {"cell": "a"}),
        ("attached", ["raw/orders"]),
        ("uploaded", [{"to": "s3://x"}]),
    ],
)
def test_a_manifest_with_values_of_other_types_is_ignored(
    tmp_path: Path, name: str, value: Any
) -> None:
    manifest = write_export(tmp_path, 1)
    values = json.loads(manifest.as_text())
    assert manifests.parse(json.dumps(values), manifest.id) == manifest
    assert manifests.parse(json.dumps({**values, name: value}), manifest.id) is None


def test_retention_can_be_tried_and_then_done(tmp_path: Path) -> None:
    project = export_project(tmp_path, "export: {keep: 5}\n", orders=GOOD)
    exports = tmp_path / ".dagmar/exports"
    old, older = write_export(exports, 40), write_export(exports, 50)
    flags = ("--notebook", "orders.py", "--retention-days", "45")
    status, (one,), stderr = export(project, *flags, "--dry-run")
    assert (status, one["status"]) == (0, "planned")
    assert [Path(path).name for path in one["removed"]] == [older.id]
    assert "Would be removed" in stderr
    status, (one,), stderr = export(project, "--notebook", "orders.py", "--keep", "1", "--dry-run")
    assert [Path(path).name for path in one["removed"]] == [old.id, older.id]
    assert ids(exports, "orders") == [old.id, older.id]
    write(tmp_path / "notebooks", GOOD, name="sales")
    _, planned, stderr = export(project, "--all", "--dry-run")
    assert [one["status"] for one in planned] == ["planned", "planned"]
    assert "Would be exported: notebooks/sales.py" in stderr
    assert "Exported" not in stderr
    status, (one,), stderr = export(project, "--notebook", "orders.py", "--keep", "1")
    assert status == 0
    assert ids(exports, "orders") == [one["id"]]
    assert old.id not in (exports / "orders/index.html").read_text("utf-8")


def test_only_leftovers_of_dead_processes_are_removed(
    tmp_path: Path,
) -> None:
    place = folders.Place(tmp_path, "orders")
    dead = place.folder / ".20260101T000000Z-00000000.partial"
    dead.mkdir(parents=True)
    (dead / folders.LOCK).touch()
    killed_before_its_lock = place.folder / ".20260102T000000Z-00000000.partial"
    killed_before_its_lock.mkdir()
    with folders.staged(place, folders.new_id()) as live:
        assert not dead.exists()
        assert not killed_before_its_lock.exists()
        with folders.staged(place, folders.new_id()):
            assert live.exists()
    assert not place.folder.exists()


def test_one_worker_runs_several_notebooks_each_as_if_alone_and_as_marimo_is_set_up(
    tmp_path: Path,
) -> None:
    project: Project = export_project(
        tmp_path,
        a="a():\nimport os\n\nos.environ['LEFT_BEHIND'] = '1'\nos.chdir('/')",
        b="b():\nimport os\n\nimport neighbour\n\n"
        "print(os.environ.get('LEFT_BEHIND'), os.getcwd(), neighbour.NAME)\n"
        "print(os.environ['FROM_DOTENV'])",
    )
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/neighbour.py").write_text("NAME = 'found it'\n", "utf-8")
    (tmp_path / ".env").write_text("FROM_DOTENV=read it\n", "utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.marimo.runtime]\npythonpath = ["lib"]\ndotenv = [".env"]\n', "utf-8"
    )
    settings = load(project.root)
    request = ExportRequest(all=True, formats=("md",))
    notebooks = find_notebooks(settings, request)
    _, second = run_exports(settings, request, notebooks)
    text = (second.folder / second.manifest.page()).read_text("utf-8")
    assert f"None {tmp_path} found it\nread it" in text
