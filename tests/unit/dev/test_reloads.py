"""Which code locations are reloaded after a change, and what is reported of it."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagmar.dev import reloads, watcher
from dagmar.dev.reloads import Reloads, as_line
from dagmar.dev.reporter import Reporter
from dagmar.project import installed
from dagmar.server.reloading import changes
from support.http_server import Handler, data, serve

SECONDS = 60.0


def asset(name: str, **facts: Any) -> dict[str, Any]:
    return {"key": {"path": name.split("/")}, "description": None, **facts}


class Dagster:
    """Answers as a Dagster that loads the code locations again when asked to."""

    def __init__(self, *names: str) -> None:
        self.assets = {name: [asset("orders")] for name in names}
        self.jobs: list[dict[str, Any]] = []
        self.error: dict[str, Any] | None = None
        self.reloaded: list[str] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, handler: Handler) -> None:
        sent = handler.server.seen[-1].sent
        if sent["operationName"] == "Outline":
            nodes = [
                {"location": {"name": name}, "assets": assets, "jobs": self.jobs,
                 "schedules": [], "sensors": []}
                for name, assets in self.assets.items()
            ]  # fmt: skip
            data(repositoriesOrError={"__typename": "RepositoryConnection", "nodes": nodes})(
                handler
            )
            return
        name = sent["variables"]["name"]
        self.reloaded.append(name)
        assert self.go.wait(SECONDS)
        state = self.error or {"__typename": "RepositoryLocation", "repositories": []}
        entry = {"__typename": "WorkspaceLocationEntry", "name": name, "loadStatus": "LOADED",
                 "updatedTimestamp": 1.0, "locationOrLoadError": state}  # fmt: skip
        data(reloadRepositoryLocation=entry)(handler)


class Reports(Reporter):
    """Keeps what is reported."""

    def __init__(self) -> None:
        super().__init__(json=True)
        self.said: queue.Queue[tuple[str, str, dict[str, Any]]] = queue.Queue()

    def event(self, name: str, text: str = "", **fields: Any) -> None:
        self.said.put((name, text, fields))

    def warn(self, text: str) -> None:
        self.said.put(("warning", text, {}))

    def next(self, name: str) -> tuple[str, dict[str, Any]]:
        found, text, fields = self.said.get(timeout=SECONDS)
        assert found == name, (found, text)
        return text, fields


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "LOOK_MS", 200)
    monkeypatch.setattr(watcher, "GAP_MS", 100)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project with one code location, `shop`."""
    root = tmp_path / "shop"
    (root / "src/shop").mkdir(parents=True)
    (root / "src/shop/__init__.py").touch()
    (root / "src/shop/definitions.py").write_text("import dagster\n")
    (root / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "shop"\n')
    return root


@contextlib.contextmanager
def reloading(
    root: Path, dagster: Dagster, ready: bool = True
) -> Iterator[tuple[Reloads, Reports, str]]:
    reports = Reports()
    with serve(dagster) as server:
        reloads = Reloads(root, None, reports)
        reloads.start()
        try:
            if ready:
                reloads.ready(server.url)
                while not server.seen:
                    threading.Event().wait(0.01)
            yield reloads, reports, server.url
        finally:
            reloads.stop()


def test_a_save_reloads_and_says_what_changed(shop: Path) -> None:
    dagster = Dagster("shop")
    with reloading(shop, dagster) as (_, reports, _):
        dagster.assets["shop"] = [asset("raw/orders"), asset("orders", description="New.")]
        (shop / "src/shop/defs.yaml").touch()
        text, fields = reports.next("reloaded")
        assert text.startswith("Reloaded in 0.")
        assert text.endswith(" s: + asset raw/orders, ~ asset orders")
        assert fields["files"] == ["src/shop/defs.yaml"]
        assert fields["changes"] == {
            "assets": {"added": ["raw/orders"], "removed": [], "changed": ["orders"]}
        }

        (shop / "src/shop/definitions.py").write_text("import dagster as dg\n")
        text, fields = reports.next("reloaded")
        assert text.endswith(" s")
        assert fields["changes"] == {}


def test_code_that_does_not_load_is_reported_with_its_line(shop: Path) -> None:
    dagster = Dagster("shop")
    file = shop / "src/shop/definitions.py"
    message = f'  File "{file}", line 7\n    def x(:\n          ^\nSyntaxError: invalid syntax\n'
    stack = ['  File "/x/dagster/_grpc/server.py", line 408, in _load\n']
    with reloading(shop, dagster) as (_, reports, _):
        dagster.error = {"__typename": "PythonError", "message": message, "stack": stack,
                         "className": "SyntaxError", "errorChain": []}  # fmt: skip
        file.write_text("def x(:\n")
        text, fields = reports.next("reload_failed")
        where = "src/shop/definitions.py, line 7"
        assert text == f"shop does not load: SyntaxError: invalid syntax ({where})"
        assert fields["error"]["place"] == where

        # What changes is counted from what loaded last.
        dagster.error, dagster.assets = None, {"shop": []}
        file.write_text("x = 1\n")
        text, _ = reports.next("reloaded")
        assert text.endswith(": \N{MINUS SIGN} asset orders")


def test_a_code_server_that_is_gone_is_waited_for_and_not_called_broken_code(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloads, "RETRY_SECONDS", 0.05)
    dagster = Dagster("shop")
    with reloading(shop, dagster) as (_, reports, _):
        kind = "_InactiveRpcError"
        dagster.error = {"__typename": "PythonError", "message": f"<{kind} of RPC>",
                         "className": kind, "stack": [], "errorChain": []}  # fmt: skip
        (shop / "src/shop/a.py").touch()
        while len(dagster.reloaded) < 3:
            threading.Event().wait(0.01)
        dagster.error, error = None, dagster.error  # Dagster has started it again
        reports.next("reloaded")
        monkeypatch.setattr(reloads, "UNREACHABLE_SECONDS", 0.0)
        dagster.error = error
        (shop / "src/shop/b.py").touch()
        text, _ = reports.next("reload_failed")
    assert text == "The code server of shop is gone. Stop invoke dev, and start it again."


def test_changes_during_a_reload_are_one_more_reload(shop: Path) -> None:
    dagster = Dagster("shop")
    with reloading(shop, dagster) as (reloads, reports, _):
        dagster.go.clear()
        (shop / "src/shop/a.py").touch()
        while not dagster.reloaded:
            threading.Event().wait(0.01)
        for name in ("b.py", "c.py"):
            (shop / "src/shop" / name).touch()
            while not any(file.name == name for file in reloads._waiting):
                threading.Event().wait(0.01)
        dagster.go.set()
        assert reports.next("reloaded")[1]["files"] == ["src/shop/a.py"]
        assert reports.next("reloaded")[1]["files"] == ["src/shop/b.py", "src/shop/c.py"]
    assert dagster.reloaded == ["shop", "shop"]


def test_changes_wait_for_dagster_and_one_that_starts_again_has_read_them(shop: Path) -> None:
    dagster = Dagster("shop")
    with reloading(shop, dagster, ready=False) as (reloads, reports, url):
        (shop / "src/shop/a.py").touch()
        while not reloads._waiting:
            threading.Event().wait(0.01)
        reloads.ready("")
        (shop / "src/shop/b.py").touch()
        while not reloads._waiting:
            threading.Event().wait(0.01)
        assert dagster.reloaded == []
        reloads.ready(url)
        assert reports.next("reloaded")[1]["files"] == ["src/shop/b.py"]


def test_each_project_of_a_workspace_is_reloaded_for_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "src" / name).mkdir(parents=True)
        (tmp_path / name / "pyproject.toml").write_text(
            f'[tool.dg.project]\nroot_module = "{name}"\n'
        )
    (tmp_path / "dg.toml").write_text('[workspace]\nprojects = [{path = "a"}, {path = "b"}]\n')
    editable = [tmp_path / name for name in ("a", "shared", ".dagmar/.eggs/dagmar")]
    for folder in editable:
        folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(installed, "editable_folders", lambda: editable)
    dagster = Dagster("a", "b")
    with reloading(tmp_path, dagster) as (_, reports, _):
        (tmp_path / "b/src/b/x.py").touch()
        text, fields = reports.next("reloaded")
        assert text.startswith("Reloaded b in ")
        assert fields["location"] == "b"
        (tmp_path / "a/.env").write_text("X=1\n")
        assert reports.next("reloaded")[1]["location"] == "a"
        (tmp_path / ".env").write_text("X=1\n")
        assert [reports.next("reloaded")[1]["location"] for _ in "ab"] == ["a", "b"]
        (editable[2] / "x.py").touch()
        (editable[1] / "prices.py").touch()
        found = [reports.next("reloaded")[1] for _ in "ab"]
        assert [(each["location"], each["files"]) for each in found] == [
            ("a", ["shared/prices.py"]), ("b", ["shared/prices.py"]),
        ]  # fmt: skip


def test_new_code_locations_need_a_restart_and_other_settings_a_reload(shop: Path) -> None:
    dagster = Dagster("shop")
    file = shop / "pyproject.toml"
    with reloading(shop, dagster) as (_, reports, _):
        file.write_text(f"{file.read_text()}\n[project]\nname = 'shop'\n")
        assert reports.next("reloaded")[1]["files"] == ["pyproject.toml"]
        file.write_text('[tool.dg.project]\nroot_module = "store"\n')
        text, fields = reports.next("restart_needed")
        assert "pyproject.toml changed the code locations" in text
        assert fields == {"files": ["pyproject.toml"]}
    assert dagster.reloaded == ["shop"]


def test_a_dagster_that_cannot_answer_is_one_warning(shop: Path) -> None:
    dagster = Dagster("shop")
    with reloading(shop, dagster) as (_, reports, _):
        dagster.error = {"__typename": "Other"}
        (shop / "src/shop/a.py").touch()
        assert reports.next("warning")[0].startswith("the code locations could not be reloaded: ")
        dagster.error = None
        (shop / "src/shop/b.py").touch()
        reports.next("reloaded")


def test_many_changes_are_counted() -> None:
    before = {"assets": {str(n): {"x": n} for n in range(5)}, "jobs": {"daily": {}}}
    after = {"assets": {str(n): {"x": 0} for n in (0, 1, 2, 7, 8)}, "jobs": {"weekly": {}}}
    minus = "\N{MINUS SIGN}"
    assert as_line(changes(before, after)) == (
        f"+ asset 7, + asset 8, + job weekly, {minus} asset 3, {minus} asset 4, "
        f"{minus} job daily, ~ 2 assets"
    )
    assert as_line(changes({}, before)) == "+ 5 assets, + job daily"
