"""Reports where people meet them: in the definitions, and in the notebook itself."""

from __future__ import annotations

from pathlib import Path

import dagmar
import dagster as dg
import pytest
from dagmar.errors import Invalid
from dagmar.notebook import reporting
from dagmar.pair.context import Context
from dagmar.pair.report import Exporter
from support.export_project import export_project, ids, paired, write


def test_paired_assets_carry_a_link_to_the_page_of_their_reports(tmp_path: Path) -> None:
    project = export_project(tmp_path, "export: {public_url: https://r.example.com/x/}\n")
    write(tmp_path / "notebooks/sales", "a():\n1", name="orders", head=paired("raw/orders"))
    definitions = dg.Definitions(assets=[dg.AssetSpec("raw/orders"), dg.AssetSpec("other")])
    linked = dagmar.link_reports(
        dg.Definitions(assets=[dg.AssetSpec(["raw", "orders"]), dg.AssetSpec("other")]),
        project.root,
    )
    metadata = {
        spec.key.to_user_string(): spec.metadata for spec in linked.resolve_all_asset_specs()
    }
    assert metadata["raw/orders"]["reports"] == dg.MetadataValue.url(
        "https://r.example.com/x/sales.orders/index.html"
    )
    assert "reports" not in metadata["other"]
    (tmp_path / "dagmar.yaml").write_text("", "utf-8")
    assert dagmar.link_reports(definitions, project.root) is definitions


def test_a_function_that_makes_definitions_stays_one(tmp_path: Path) -> None:
    """The definitions.py of a new project has one."""
    project = export_project(tmp_path, "export: {public_url: https://r.example.com}\n")
    write(tmp_path / "notebooks", "a():\n1", name="orders", head=paired("orders"))
    calls = []

    @dg.definitions
    def defs() -> dg.Definitions:
        calls.append(1)
        return dg.Definitions(assets=[dg.AssetSpec("orders")])

    linked = dagmar.link_reports(defs, project.root)
    assert (type(linked), calls) == (type(defs), [])
    (spec,) = linked().resolve_all_asset_specs()
    assert "reports" in spec.metadata


def test_the_button_of_a_notebook_writes_a_report_of_its_file(tmp_path: Path) -> None:
    export_project(tmp_path)
    file = write(tmp_path / "notebooks", "a():\n1", name="orders", head=paired("raw/orders"))
    button = Exporter(Context("raw/orders", "", "", file.parent), file)
    assert "There is no report of this notebook yet." in button.page()
    assert "<button" not in button.show().text  # a test is not interactive
    button.export()
    (id,) = ids(tmp_path / ".dagmar/exports", "orders")
    assert f"{id}/orders.html" in button.page()
    write(tmp_path / "notebooks", "fails():\n1 / 0", name="orders", head=paired("raw/orders"))
    button.export()
    assert "Cell fails: ZeroDivisionError: division by zero" in button.page()


def test_reported_values_are_plain() -> None:
    class Scalar:
        """A number as numpy has them."""

        def item(self) -> float:
            return 0.5

    reporting.report({"rows": 3, "share": Scalar(), "name": "EU"})
    reporting.report({"rows": 4, "nothing": None, "wrong": float("nan")})
    assert reporting.take() == {
        "rows": 4, "share": 0.5, "name": "EU", "nothing": None, "wrong": "nan",
    }  # fmt: skip
    assert reporting.take() == {}
    with pytest.raises(Invalid, match=r"pair.report\(rows=…\) takes text, a number"):
        reporting.report({"rows": [1, 2]})


@pytest.mark.parametrize("name", reporting.RESERVED)
def test_a_number_cannot_take_the_place_of_the_link(name: str) -> None:
    with pytest.raises(Invalid, match=rf"pair.report\({name}=…\): '{name}' is reserved") as caught:
        reporting.report({"rows": 1, name: 5})
    assert f"{name}_value" in caught.value.hint
    assert reporting.take() == {}
