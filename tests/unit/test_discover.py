"""What `invoke discover` filters, and what it refuses to."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dagmar.discover import (
    CHOICES,
    Discovery,
    Filters,
    discover,
    warn_of_locations,
)
from dagmar.errors import Invalid, UsageError
from dagmar.project.settings import load
from dagmar.server.catalog import KINDS, Catalog
from dagmar.server.client import DagsterClient
from support.catalog_answers import ANSWERS
from support.http_server import Handler, Server, dagster, serve
from support.project import Project


def found(root: Path, server: Server, refresh: bool = False, **filters: Any) -> Catalog:
    settings = load(root, {}, root)
    with DagsterClient(settings.target(url=server.url)) as client:
        return discover(settings, client, Filters(**filters), refresh).catalog


def asked(server: Server) -> list[str]:
    return [seen.sent["operationName"] for seen in server.seen]


def names(catalog: Catalog) -> dict[str, list[str]]:
    return {
        kind: [item.get("key") or item["name"] for item in getattr(catalog, kind)]
        for kind in KINDS
        if getattr(catalog, kind)
    }


ALL = {
    "assets": ["daily", "orders", "raw/orders", "raw/seen"],
    "jobs": ["nightly", "weekly"],
    "schedules": ["at_night"],
    "sensors": ["on_file"],
    "resources": ["warehouse"],
}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ALL),
        *(({"kind": kind}, {kind: ALL[kind]}) for kind in KINDS),
        ({"kind": "locations"}, {}),
        ({"match": "raw/*"}, {"assets": ["raw/orders", "raw/seen"]}),
        ({"match": "*ight*"}, {"jobs": ["nightly"], "schedules": ["at_night"]}),
        ({"match": "RAW/*"}, {}),
        ({"group": "raw"}, {"assets": ["raw/orders", "raw/seen"]}),
        ({"select": "+key:daily"}, {"assets": ["daily", "orders", "raw/orders"]}),
        ({"select": "+key:daily", "group": "raw"}, {"assets": ["raw/orders"]}),
        ({"tags": (("tier", "gold"),)}, {"assets": ["raw/orders"], "jobs": ["nightly"]}),
        ({"tags": (("tier", "gold"), ("by", "me"))}, {"jobs": ["nightly"]}),
        ({"tags": (("tier", ""),)}, {}),
        ({"tags": (("tier", "gold"),), "kind": "jobs"}, {"jobs": ["nightly"]}),
        ({"location": "other"}, {"assets": ["raw/seen"], "jobs": ["weekly"]}),
    ],
)
def test_filters(filters: dict[str, Any], expected: dict[str, list[str]], tmp_path: Path) -> None:
    with serve(dagster(ANSWERS)) as server:
        assert names(found(tmp_path, server, **filters)) == expected


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"kind": "asset"}, "there is no kind 'asset' — did you mean 'assets'?"),
        ({"kind": ""}, "there is no kind ''"),
        ({"kind": "jobs", "group": "raw"}, "--group filters assets, not jobs"),
        ({"kind": "locations", "select": "*"}, "--select filters assets, not locations"),
        ({"kind": "sensors", "tags": (("a", "b"),)}, "--tag filters assets and jobs, not sensors"),
    ],
)
def test_filters_that_do_not_fit_are_wrong_usage(
    filters: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with serve(dagster(ANSWERS)) as server:
        with pytest.raises(UsageError) as caught:
            found(tmp_path, server, **filters)
        assert caught.value.message == message
        assert server.seen == []


@pytest.mark.parametrize("kind", CHOICES)
def test_every_kind_that_is_offered_is_known(kind: str) -> None:
    assert set(Filters(kind=kind).kinds) <= set(KINDS)


def test_only_what_was_asked_for_is_in_the_document(tmp_path: Path) -> None:
    with serve(dagster(ANSWERS)) as server:
        filters = Filters(kind="jobs")
        catalog = found(tmp_path, server, kind="jobs")
    assert set(Discovery(catalog, filters).as_document()) == {"locations", "jobs"}
    assert asked(server) == ["Workspace", "Repositories"]


@pytest.mark.parametrize(
    ("filters", "expected", "ending"),
    [
        ({}, ["shop", "other", "broken", "slow"], "code locations: shop, other, broken, slow"),
        ({"match": "*o[wk]*"}, ["broken", "slow"], "code locations: broken, slow"),
        ({"match": "sh*"}, ["shop"], "code locations: shop"),
        ({"location": "other"}, ["other"], "code locations: other"),
        ({"match": "sh*", "location": "other"}, [], "nothing matches"),
    ],
)
def test_locations_are_filtered_by_name_where_they_are_asked_for(
    filters: dict[str, str],
    expected: list[str],
    ending: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = Filters(kind="locations", **filters)  # type: ignore[arg-type]
    with serve(dagster(ANSWERS)) as server:
        catalog = found(tmp_path, server, kind="locations", **filters)
    discovery = Discovery(catalog, wanted)
    ((_, _, rows),) = discovery.tables()
    assert [item["name"] for item in discovery.as_document()["locations"]] == expected
    assert [row[0] for row in rows] == expected
    assert discovery.summary().endswith(ending)
    warn_of_locations(catalog)  # filters do not apply to what is broken
    assert "'broken' does not load" in capsys.readouterr().err
    named = Filters(kind="jobs", match="sh*")
    assert len(Discovery(catalog, named).as_document()["locations"]) == 4


@pytest.mark.parametrize("slow", [True, False])
def test_on_a_terminal_a_live_line_tells_what_it_waits_for(slow: bool, project: Project) -> None:
    """And for the line to appear is what the server waits for, so this needs no sleep."""
    appeared = threading.Event()
    answer = dagster(ANSWERS)

    def wait(handler: Handler) -> None:
        assert appeared.wait(240)
        answer(handler)

    ours, theirs = pty.openpty()
    with serve(wait if slow else answer) as server:
        with subprocess.Popen(
            [sys.executable, "-m", "invoke", "discover", "--url", server.url, "--json"],
            cwd=project.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
        ) as process:  # fmt: skip
            os.close(theirs)
            said = b""
            with contextlib.suppress(OSError):  # the terminal's other end is closed
                while part := os.read(ours, 1000):
                    said += part
                    if b"asking Dagster at http://127.0.0.1" in said:
                        appeared.set()
            assert process.stdout
            assert json.loads(process.stdout.read())["jobs"]
        assert process.returncode == 0
    os.close(ours)
    assert appeared.is_set() is slow
    assert b"'broken' does not load" in said


def test_an_unknown_location_is_invalid(tmp_path: Path) -> None:
    with serve(dagster(ANSWERS)) as server, pytest.raises(Invalid) as caught:
        found(tmp_path, server, location="othr")
    assert caught.value.message == "there is no code location 'othr' — did you mean 'other'?"
    assert caught.value.hint == "The code locations: shop, other, broken, slow."


def test_locations_that_do_not_load_are_told_with_the_users_exception(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(dagster(ANSWERS)) as server:
        catalog = found(tmp_path, server)
    assert [(item["name"], item["status"]) for item in catalog.locations] == [
        ("shop", "loaded"),
        ("other", "loaded"),
        ("broken", "error"),
        ("slow", "loading"),
    ]
    warn_of_locations(catalog)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "'broken' does not load: ImportError: no module" in printed.err
    assert 'File "/home/ann/broken.py"' in printed.err
    assert "'slow' is still loading" in printed.err


def test_paired_notebooks_are_shown(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "n.py").write_text("Pair(asset='orders')\nPair(job='nightly')\n")
    (tmp_path / "notebooks" / "of.py").write_text("Pair(job='nightly@shop')\nPair(job='x@y')\n")
    with serve(dagster(ANSWERS)) as server:
        catalog = found(tmp_path, server)
    assert {asset["key"]: asset["notebooks"] for asset in catalog.assets}["orders"] == [
        "notebooks/n.py"
    ]
    assert [job["notebooks"] for job in catalog.jobs] == [
        ["notebooks/n.py", "notebooks/of.py"],
        [],
    ]


def test_tables_show_what_is_there(tmp_path: Path) -> None:
    with serve(dagster(ANSWERS)) as server:
        settings = load(tmp_path, {}, tmp_path)
        with DagsterClient(settings.target(url=server.url)) as client:
            discovery = discover(settings, client, Filters(), times=True)
    tables = discovery.tables()
    places = replace(discovery, filters=Filters(kind="locations")).tables()
    assert [title for title, _, _ in tables] == [
        "Assets", "Jobs", "Schedules", "Sensors", "Resources",
    ]  # fmt: skip
    for _, columns, rows in (*tables, *places):
        assert {len(row) for row in rows} == {len(columns)}
    _, columns, rows = tables[0]
    shown = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    assert shown["orders"]["last materialized"].startswith("20")
    assert shown["raw/orders"]["last materialized"] == "never"
    assert shown["raw/seen"]["last materialized"] == "external"
    assert shown["daily"]["partitions"] == "time window"
    assert shown["raw/orders"]["partitions"] == "day × color"
    assert shown["raw/orders"]["kinds"] == "csv, python"
    assert [row[:2] for row in places[0][2]] == [
        ("shop", "loaded"), ("other", "loaded"), ("broken", "error"), ("slow", "loading"),
    ]  # fmt: skip


def test_assets_come_from_the_cache_until_a_location_changes(tmp_path: Path) -> None:
    changed = json.loads(json.dumps(ANSWERS))
    changed["Workspace"]["workspaceOrError"]["locationEntries"][0]["updatedTimestamp"] = 9.0
    with serve(dagster(ANSWERS)) as server:
        first = found(tmp_path, server, kind="assets")
        assert found(tmp_path, server, kind="assets") == first
        assert asked(server) == ["Workspace", "Assets", "Workspace"]
        found(tmp_path, server, kind="assets", refresh=True)
        assert asked(server)[3:] == ["Workspace", "Assets"]
        server.answers[:] = [dagster(changed)]
        found(tmp_path, server, kind="assets")
        assert asked(server)[5:] == ["Workspace", "Assets"]
    assert len(list((tmp_path / ".dagmar" / "cache").glob("*.json"))) == 1


WHOLE = {
    "key": "a", "group": None, "kinds": [], "tags": {}, "owners": [], "description": None,
    "location": "shop", "repository": "r", "materializable": True, "partitions": None,
    "dependencies": [], "jobs": [],
}  # fmt: skip
RUBBISH = {
    "empty": "",
    "cut off": "{",
    "a mapping": "{}",
    "no text": "\x00",
    "null": "null",
    "numbers": "[1]",
    "lists": "[[]]",
    "of an older release": '[{"key": "a"}]',
    "of a newer release": json.dumps([{**WHOLE, "more": 1}]),
    "of another type": json.dumps([{**WHOLE, "tags": None}]),
    "endless": "[" * 10_000,
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_a_cache_that_is_damaged_is_asked_again(rubbish: str, tmp_path: Path) -> None:
    with serve(dagster(ANSWERS)) as server:
        first = found(tmp_path, server, kind="assets")
        (file,) = (tmp_path / ".dagmar" / "cache").glob("*.json")
        file.write_text(json.dumps([WHOLE]))
        assert [asset["key"] for asset in found(tmp_path, server, kind="assets").assets] == ["a"]
        file.write_text(rubbish)
        assert found(tmp_path, server, kind="assets") == first


def test_a_folder_that_cannot_be_written_to_costs_only_speed(tmp_path: Path) -> None:
    (tmp_path / ".dagmar").write_text("a file where the folder belongs")
    with serve(dagster(ANSWERS)) as server:
        assert found(tmp_path, server, kind="assets").assets
