"""What surrounds an exported notebook: it is as real as in `python notebook.py`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dagmar.export.exporting import Exported
from dagmar.export.exporting import export as run_exports
from dagmar.export.request import ExportRequest, find_notebooks
from dagmar.notebook.streams import Pipes, Streams
from dagmar.project.settings import load
from support.export_project import assert_whole, export_project, write

STREAMS = (
    "parts():\nimport io\nimport multiprocessing\nimport os\nimport subprocess\nimport sys\n"
    "import threading\nreturn io, multiprocessing, os, subprocess, sys, threading",
    "place(os, sys):\nprint(sys.argv, __name__, __file__, os.getcwd(), sys.path[0])",
    "kind(sys):\nfor stream in (sys.stdout, sys.__stdout__):\n"
    "    print(type(stream), stream.name, stream.mode, stream.encoding, stream.isatty())\n"
    "    print(stream.fileno(), stream.buffer.fileno(), stream.writable(), stream.readable())",
    "binary(sys):\nsys.stdout.buffer.write('h\u00fcbsch\\n'.encode())\n"
    "sys.stdout.writelines(['one\\n', 'two\\n'])\nsys.stdout.reconfigure(line_buffering=True)",
    "wrapped(io, sys):\nagain = io.TextIOWrapper(sys.stdout.buffer, 'utf-8', write_through=True)\n"
    "again.write('wrapped\\n')\nagain.detach()\nprint('after', file=sys.__stdout__)",
    "order(os, sys):\nprint('first', flush=True)\nos.write(1, b'second\\n')\nprint('third')\n"
    "print('to stderr', file=sys.stderr)",
    "children(os, subprocess, sys):\nsubprocess.run(['echo', 'given'], stdout=sys.stdout)\n"
    "subprocess.run(['echo', 'inherited'])\nos.system('echo system; echo wrong >&2')\n"
    "subprocess.run('echo opened > /dev/stdout', shell=True)",
    "forks(multiprocessing, os):\nfor kind in ('fork', 'spawn'):\n"
    "    process = multiprocessing.get_context(kind).Process(target=print, args=(kind,))\n"
    "    process.start()\n    process.join()\n    print(process.exitcode)\n"
    "child = os.fork()\nif child == 0:\n    print('child')\n    os._exit(0)\n"
    "os.waitpid(child, 0)",
    "threads(threading):\nthread = threading.Thread(target=print, args=('thread',))\n"
    "thread.start()\nthread.join()",
    "faults(sys):\nimport faulthandler\n\nfaulthandler.enable()\nprint(faulthandler.is_enabled())",
    "logs():\nimport logging\nimport warnings\n\nlogging.basicConfig()\n"
    "logging.warning('logged')\nwarnings.warn('careful', DeprecationWarning)",
    "signals(os):\nimport signal\n\nsignal.signal(signal.SIGUSR1, lambda *_: print('signal'))\n"
    "os.kill(os.getpid(), signal.SIGUSR1)",
    "asks(sys):\ntry:\n    input('name? ')\nexcept EOFError as error:\n    print(error)\n"
    "print(repr(sys.stdin.read()))",
    "loops():\nimport asyncio\n\nprint(asyncio.run(asyncio.sleep(0, 'slept')))",
    "leaves():\nimport atexit\nfrom pathlib import Path\n\natexit.register(Path('left').touch)",
)  # fmt: skip
NAMES = (
    "names():\nimport os\n\nname = os.fsdecode(b'caf\\xe9.csv')\nprint(name)\nreturn name, os",
    "child(os):\nos.system(r\"printf 'raw\\351\\n'\")",
    "shown(name):\nname",
    "said(name):\nimport marimo as mo\n\nmo.md(f'# {name}')",
    "reported(name):\nimport dagmar\n\ndagmar.Pair(asset='orders').report(file=name)",
    "fails(name):\nraise ValueError(name)",
)
MAIN = '\n\nif __name__ == "__main__":\n    app.run()\n'


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """Notebooks that use what surrounds them, exported by one worker."""
    project = export_project(tmp_path_factory.mktemp("environment"))
    for name, cells in {"streams": STREAMS, "names": NAMES}.items():
        file = write(project.root / "notebooks", *cells, name=name)
        file.write_text(file.read_text("utf-8") + MAIN, "utf-8")
    settings = load(project.root)
    request = ExportRequest(all=True, formats=("html", "ipynb", "md"))
    done = run_exports(settings, request, find_notebooks(settings, request))
    return {Path(exported.manifest.notebook).stem: exported for exported in done}


def printed(exported: Exported, stream: str) -> str:
    """Return what the cells of an export have written to a stream."""
    name = Path(exported.manifest.notebook).stem
    notebook: dict[str, Any] = json.loads((exported.folder / f"{name}.ipynb").read_text("utf-8"))
    outputs = (output for cell in notebook["cells"] for output in cell.get("outputs", []))
    return "".join("".join(out["text"]) for out in outputs if out.get("name") == stream)


@pytest.mark.xdist_group("environment")
def test_a_notebook_prints_what_it_prints_as_a_script(exports: dict[str, Exported]) -> None:
    exported = exports["streams"]
    assert exported.manifest.error is None
    root = exported.folder.parents[3]
    assert (root / "left").exists()  # its exit handlers were called
    # Unbuffered, so that Python and other processes write in the order in which they run.
    script = subprocess.run(
        [sys.executable, "-u", str(root / "notebooks/streams.py")],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert script.returncode == 0, script.stderr
    assert printed(exported, "stdout") == script.stdout

    def without_places(text: str) -> str:
        return re.sub(r"\S*\.py:\d+", "", text)

    assert without_places(printed(exported, "stderr")) == without_places(script.stderr)


@pytest.mark.xdist_group("environment")
def test_names_that_are_not_utf_8_reach_every_file_of_an_export(
    exports: dict[str, Exported],
) -> None:
    exported = exports["names"]
    assert exported.manifest.error is not None
    assert exported.manifest.error.text == r"ValueError: caf\udce9.csv"
    assert exported.manifest.reported == {"file": r"caf\udce9.csv"}
    assert {file.name for file in exported.manifest.files} == {
        f"names.{format}" for format in ("html", "ipynb", "md")
    }
    assert assert_whole(exported.folder.parents[1]) == 2
    for file in exported.folder.iterdir():
        if file.suffix in (".html", ".ipynb", ".md", ".json"):
            assert r"udce9.csv" in file.read_bytes().decode(), file
    assert printed(exported, "stdout") == "caf\\udce9.csv\nraw\\xe9\n"
    index = (exported.folder.parent / "index.html").read_text("utf-8")
    assert r"file: caf\udce9.csv" in index


def test_streams_keep_the_order_of_their_writers_and_restore_what_was_there() -> None:
    notes: list[tuple[str, str]] = []
    pipes, before = Pipes(), (sys.stdout, sys.__stderr__)
    streams = Streams(lambda *note: notes.append(note), pipes)
    with streams.redirected():
        print("a", end="")
        os.write(2, b"b\xc3")
        pipes.move()  # as the parent process does
        os.write(2, b"\xa9")
        print("c", end="")
        os.system("echo d > /dev/stdout")
        streams.drain()
    assert (sys.stdout, sys.__stderr__) == before
    assert notes == [
        ("stdout", "a"), ("stderr", "b\u00e9"), ("stdout", "c"), ("stdout", "d\n"),
    ]  # fmt: skip
    assert pipes.tail(10) == "b\\xc3"
    pipes.close_writers()
    pipes.move()
    assert pipes.watched == set()
    pipes.close()


def test_what_is_printed_without_end_neither_fills_the_disk_nor_stops_its_writer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dagmar.notebook.streams.MOST_BYTES", 10)
    monkeypatch.setattr("dagmar.notebook.streams.FIRST_BYTES", 4)
    with contextlib.closing(Pipes()) as pipes:
        for text in (b"0123456789", b"abcdef", b"ghi"):
            os.write(pipes._writers[0], text)
            pipes.move()
        assert pipes.tail(100) == "0123ghi"
        assert pipes.take() == [("stdout", b"0123ghi")]
        pipes.close_writers()
