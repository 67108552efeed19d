"""The grid of partitions: where each one is, what it shows, and which are selected."""

from __future__ import annotations

import json
import time
from html import unescape
from typing import Any

import dagster as dg
import marimo
import pytest
from dagmar.pair.grid import LABEL, Grid, arrange, selected
from dagmar.server.partitions import Partitions


def lines(**dimensions: list[str]) -> list[list[str | None]]:
    return [list(row.values()) for row in arrange(dimensions)]


def drawn(grid: Grid, **dimensions: list[str]) -> marimo.ui.table:
    keys = Partitions("", dimensions).keys
    grid.arrange(dimensions, keys, keys[-1])
    return grid.table()


def attribute(element: marimo.ui.table, name: str) -> Any:
    """Return what a browser gets in an attribute of the element."""
    return json.loads(unescape(element.text.partition(f"data-{name}='")[2].partition("'")[0]))


def first_page(element: marimo.ui.table) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(attribute(element, "data"))
    return rows


def test_days_are_in_a_row_for_each_month_with_the_newest_first() -> None:
    days = [f"2026-01-{day:02}" for day in range(29, 32)] + ["2026-02-01", "2026-02-30"]
    assert lines(day=days) == [
        ["2026-02", "2026-02-01", None, "2026-02-30", None],
        ["2026-01", None, "2026-01-29", "2026-01-30", "2026-01-31"],
    ]


@pytest.mark.parametrize(
    ("definition", "first", "size"),
    [
        (dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2026-03-01"), "2026", (3, 13)),
        (dg.DailyPartitionsDefinition("2016-01-01", end_date="2026-01-01"), "2025-12", (120, 32)),
        (
            dg.HourlyPartitionsDefinition("2026-01-01-00:00", end_date="2026-01-03-00:00"),
            "2026-01-02",
            (2, 25),
        ),
        # Few cells of a row per month would be filled.
        (dg.WeeklyPartitionsDefinition("2025-01-01", end_date="2026-01-01"), "2025-12-21", (9, 6)),
        (dg.StaticPartitionsDefinition(["b", "a"]), "b", (1, 2)),
        (dg.StaticPartitionsDefinition(["x" * 200, "1"]), "x" * 200, (2, 1)),
    ],
)
def test_every_partition_has_one_cell(
    definition: dg.PartitionsDefinition[str], first: str, size: tuple[int, int]
) -> None:
    keys = list(definition.get_partition_keys())
    rows = arrange({"default": keys})
    assert (len(rows), len(rows[0])) == size
    assert next(iter(rows[0].values())) == first
    cells = [key for row in rows for name, key in row.items() if name != LABEL and key]
    assert sorted(cells) == sorted(keys)


def test_the_longer_of_two_dimensions_goes_down() -> None:
    assert lines(day=["2026-01-01", "2026-01-02", "2026-01-03"], color=["1", "0"]) == [
        ["2026-01-03", "1|2026-01-03", "0|2026-01-03"],
        ["2026-01-02", "1|2026-01-02", "0|2026-01-02"],
        ["2026-01-01", "1|2026-01-01", "0|2026-01-01"],
    ]
    # A hundred columns would not fit.
    many = arrange({"a": [f"{n}" for n in range(100)], "b": [f"{n}" for n in range(100)]})
    assert len(many[0]) == 9


def test_a_cell_shows_the_state_and_the_number_of_its_partition() -> None:
    grid = Grid("rows", states={"a": "materialized", "b": "failed", "c": "running"})
    grid.numbers = {"a": 12345, "b": 0.5}
    element = drawn(grid, default=["a", "b", "c", "d<b>{x}"])
    (row,) = first_page(element)
    assert list(row.values()) == ["● a 12,345", "✕ b 0.5", "◐ c", "○ d<b>{x}"]
    texts = list(attribute(element, "cell-hover-texts")["0"].values())
    assert texts == [
        "a: materialized, rows 12,345",
        "b: failed, rows 0.5",
        "c: running",
        "d<b>{x}: missing",
    ]
    legend = grid.legend()
    assert "● 1 materialized" in legend
    assert "<b>d&lt;b&gt;{x}</b>" in legend


def test_states_that_are_not_known_are_not_shown_as_missing() -> None:
    grid = Grid(states=None)
    assert list(first_page(drawn(grid, default=["a", "b"]))[0].values()) == ["· a", "· b"]
    assert "states of the assets differ" in grid.legend()


def test_the_keys_of_the_selected_cells_are_read() -> None:
    element = drawn(Grid(states={}), day=[f"2026-01-{day:02}" for day in range(1, 10)])
    cells = [{"rowId": "0", "columnName": name} for name in (LABEL, " 03", " 04")]
    element._update(cells)  # as a browser sends them
    assert selected(element.value) == ["2026-01-03", "2026-01-04"]


def test_a_sorted_column_does_not_move_the_selection() -> None:
    element = drawn(Grid(states={}), default=["b", "x" * 200, "a"])
    from marimo._plugins.ui._impl.table import SearchTableArgs, SortArgs

    sort = [SortArgs(by=" ", descending=False)]
    element._search(SearchTableArgs(page_size=12, page_number=0, sort=sort))
    element._update([{"rowId": "0", "columnName": " "}])
    assert selected(element.value) == ["b"]


def test_states_are_redrawn_in_the_controls_that_are_on_the_page() -> None:
    grid = Grid(states={})
    element = drawn(grid, default=["a", "b"])
    html = marimo.Html(f"{grid.legend()}{{partitions}}")
    controls = marimo.ui.batch(html, {"partitions": element, "tags": marimo.ui.text("x")})
    before = controls.text
    grid.redraw(controls, {"a": "materialized"}, {})
    assert "○ a" in before
    assert "● a" in controls.text
    assert "● 1 materialized" in controls.text
    grid.redraw(controls, {}, {})
    assert controls.text == before  # with the same ids: a browser keeps what was entered


def test_ten_years_of_days_are_drawn_in_a_second() -> None:
    days = dg.DailyPartitionsDefinition("2016-01-01", end_date="2025-12-29").get_partition_keys()
    grid = Grid(states=dict.fromkeys(days[:3000], "materialized"))
    started = time.process_time()
    element = drawn(grid, default=list(days))
    assert time.process_time() - started < 1
    assert len(first_page(element)) == 12  # the others follow page by page
