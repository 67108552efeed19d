"""Code locations that are loaded again on a real Dagster."""

from __future__ import annotations

import pytest
from dagmar.errors import Invalid
from dagmar.server.client import DagsterClient
from dagmar.server.reloading import changes, loaded_locations, read_outline, reload_location


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
