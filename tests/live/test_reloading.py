"""Code locations that are loaded again on a real Dagster."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from dagmar.errors import Invalid
from dagmar.pair import reloading
from dagmar.server.client import DagsterClient
from dagmar.server.reloading import changes, loaded_locations, read_outline, reload_location
from support.dagster_server import LOCATIONS


def test_a_location_is_loaded_again_and_says_why_it_does_not_load(client: DagsterClient) -> None:
    before = loaded_locations(client)
    assert {name for name, each in before.items() if each.failure} == {"broken"}
    again = reload_location(client, "broken")
    assert again.failure
    assert again.failure.line == "RuntimeError: the warehouse password is not set"
    assert "broken.py" in again.failure.trace
    after = loaded_locations(client)
    assert after == {**before, "broken": again}
    assert again.at > before["broken"].at

    with pytest.raises(Invalid, match="no code location 'brokem'"):
        reload_location(client, "brokem")


def test_what_code_locations_define_is_read_to_compare_it(client: DagsterClient) -> None:
    outline = read_outline(client)
    assert set(outline) == {"pipelines", "other"}
    assert {"raw/orders", "grid"} <= set(outline["pipelines"]["assets"])
    assert list(outline["pipelines"]["schedules"]) == ["nightly"]
    assert not any(name.startswith("__") for name in outline["pipelines"]["jobs"])
    assert changes(outline["other"], outline["other"]) == {}


def test_what_was_loaded_before_its_files_were_saved_is_reloaded_once(
    client: DagsterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = LOCATIONS / "other.py"
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    monkeypatch.setattr(reloading, "live", lambda: True)
    target = client.target

    def reload(**changes: Any) -> dict[str, float]:
        context: Any = SimpleNamespace(root=LOCATIONS, target=replace(target, **changes))
        with DagsterClient(target) as own:
            (failure,) = reloading.reload_older(context, own)
            assert failure.line == "RuntimeError: the warehouse password is not set"
            return {name: place.at for name, place in loaded_locations(own).items()}

    before = reload()
    assert before == {name: place.at for name, place in loaded_locations(client).items()}
    try:
        os.utime(file)
        assert reload(read_only=True) == before
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(lambda _: reload(), range(2))
        assert first == second == reload()
        assert all(first[name] > before[name] for name in before)
        os.utime(file, (4e9, 4e9))  # by another clock
        later = reload()
        assert all(later[name] > first[name] for name in first)
        assert reload() == later
    finally:
        os.utime(file, ns=times)
    assert reload() == later
