"""The script that asks outside addresses whether they are still there."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
ASKED: list[str] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ASKED.append(self.path)
        status = {"/there": 200, "/private": 403, "/moved": 301}.get(self.path, 404)
        if self.path == "/flaky" and ASKED.count("/flaky") > 1:
            status = 200
        self.send_response(status)
        if status == 301:
            self.send_header("Location", "/there")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("outside_links", ROOT / "docs/outside_links.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_gone_is_named_with_its_pages(
    script: ModuleType, outside: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("there", "private", "moved", "flaky", "gone")
    assert script.report({f"{outside}/{name}": [f"{name}.md"] for name in names}) == 1
    assert capsys.readouterr().err == f"{outside}/gone (404): gone.md\n"
    assert script.report({f"{outside}/there": ["x.md"]}) == 0
    assert script.report({"http://127.0.0.1:9/": ["nobody.md"]}) == 1
    assert "nobody.md" in capsys.readouterr().err


def test_links_of_pages_are_found_and_examples_left_out(script: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "[a](https://docs.dagster.io/x) [b](https://git.example.com/y) [c](other.md)\n"
        "```text\n[d](https://docs.marimo.io)\n```\n[e](http://127.0.0.1:3000)\n"
    )
    assert script.links([page]) == {"https://docs.dagster.io/x": ["page.md"]}
    real = script.links([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    assert "https://docs.dagster.io" in real
