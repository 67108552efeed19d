"""Exports on assets of a real Dagster: observations with links and numbers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from dagmar.export import manifests
from dagmar.export.exporting import Exported
from dagmar.export.manifests import Manifest
from dagmar.export.publish import Publisher
from dagmar.export.request import ExportRequest
from dagmar.project.settings import load
from dagmar.server.client import DagsterClient
from support.dagster_server import DagsterServer, dagster_server
from support.export_project import export, paired, write
from support.project import Project

OBSERVATIONS = """
query Observations($key: AssetKeyInput!) {
  assetOrError(assetKey: $key) {
    __typename
    ... on Asset {
      assetMaterializations(limit: 5) { runId }
      assetObservations(limit: 5) {
        partition
        description
        metadataEntries {
          __typename
          label
          ... on UrlMetadataEntry { url }
          ... on TextMetadataEntry { text }
          ... on IntMetadataEntry { intRepr }
        }
      }
    }
  }
}
"""


def observations(client: DagsterClient, key: str) -> list[dict[str, Any]]:
    """Return the last observations of an asset, newest first."""
    variables = {"key": {"path": key.split("/")}}
    body = {"operationName": "Observations", "query": OBSERVATIONS, "variables": variables}
    answer = json.loads(client._post(client._endpoint, body).content)
    asset = answer["data"]["assetOrError"]
    return list(asset.get("assetObservations", []))


def entries(observation: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return an observation's metadata: type and value by name."""
    return {
        entry["label"]: (
            entry["__typename"],
            entry.get("url") or entry.get("text") or entry.get("intRepr"),
        )
        for entry in observation["metadataEntries"]
    }


def made(project: Project, name: str = "orders") -> Exported:
    """Make an export by hand."""
    id = "20260101T000000Z-00000000"
    home = project.root / ".dagmar/exports" / name / id
    home.mkdir(parents=True, exist_ok=True)
    (home / f"{name}.html").write_text("<p>report</html>", "utf-8")
    manifest = Manifest(
        notebook=f"notebooks/{name}.py", notebook_sha256="0", name=name, id=id,
        status=manifests.OK, started_at="", ended_at="", duration_s=1.0,
        reported={"rows": 12}, files=[manifests.describe(home / f"{name}.html")],
    )  # fmt: skip
    (home / "manifest.json").write_text(manifest.as_text(), "utf-8")
    return Exported(manifest, home, (home / f"{name}.html").as_uri())


def test_a_shared_instance_gets_a_typed_link_and_the_numbers(
    live: Project, client: DagsterClient, dagster_home: Path
) -> None:
    write(
        live.root / "notebooks",
        "numbers():\npair.report(rows=12)",
        name="orders",
        head=paired("raw/dash-ed.key"),
    )
    (live.root / ".dagmar/tmp").mkdir(parents=True)
    running = {"pid": os.getpid(), "reports_url": "http://127.0.0.1:4321/"}
    (live.root / ".dagmar/tmp/dev.json").write_text(json.dumps(running), "utf-8")
    flags = ("--notebook", "orders.py", "--attach", "raw/dash-ed.key")
    environ = {"DAGSTER_HOME": str(dagster_home)}
    status, (exported,), talk = export(live, *flags, environ=environ)
    assert status == 0, talk
    assert exported["attached_to"] == ["raw/dash-ed.key"]
    newest = observations(client, "raw/dash-ed.key")[0]
    metadata = entries(newest)
    assert metadata["report"] == ("UrlMetadataEntry", exported["url"])
    assert exported["url"].startswith("http://127.0.0.1:4321/orders/")
    assert metadata["rows"] == ("IntMetadataEntry", "12")
    assert metadata["notebook"] == ("TextMetadataEntry", "notebooks/orders.py")


def test_another_instance_gets_reports_over_rest_and_partitions_are_validated(
    live: Project, client: DagsterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    exported = made(live)
    settings = load(live.root)
    request = ExportRequest(existing="x", attach="colored", partition="red")
    Publisher(settings, request).publish(exported)
    assert exported.problems == []
    newest = observations(client, "colored")[0]
    assert newest["partition"] == "red"
    assert entries(newest)["report"] == ("TextMetadataEntry", exported.url)
    assert entries(newest)["rows"] == ("IntMetadataEntry", "12")
    count = len(observations(client, "colored"))
    Publisher(settings, request).publish(exported)  # a second try adds nothing
    assert len(observations(client, "colored")) == count

    wrong = ExportRequest(existing="x", attach="colored", partition="rde")
    exported = made(live)
    Publisher(settings, wrong).publish(exported)
    (problem,) = exported.problems
    assert "has no partition 'rde'" in problem.error.message
    assert problem.error.exit_code == 7


def test_a_job_stands_for_the_assets_that_it_makes(live: Project, client: DagsterClient) -> None:
    exported = made(live, "sales")
    Publisher(load(live.root), ExportRequest(existing="x", attach="sales_job")).publish(exported)
    keys = [attached["asset"] for attached in exported.manifest.attached]
    assert keys == ["orders", "raw/orders"]
    for key in keys:
        assert entries(observations(client, key)[0])["report"][1] == exported.url


def test_what_cannot_be_attached_is_refused_before_the_notebook_is_run(live: Project) -> None:
    cell = "inputs():\npartition_key = None\nopen('ran', 'w').close()"
    write(live.root / "notebooks", cell, name="report")
    for flags, message in (
        (("raw/ordres",), "there is no asset 'raw/ordres' — did you mean 'raw/orders'?"),
        (("colored", "--partition", "rde"), "has no partition 'rde' — did you mean 'red'?"),
    ):
        status, exports, talk = export(live, "--notebook", "report.py", "--attach", *flags)
        assert (status, exports) == (7, []), talk
        assert message in talk
    assert not (live.root / "ran").exists()
    assert not (live.root / ".dagmar/exports").exists()


def test_a_missing_asset_is_not_created_and_the_attach_can_be_repeated(
    live: Project, client: DagsterClient
) -> None:
    exported = made(live)
    Publisher(load(live.root), ExportRequest(existing="x", attach="raw/ordres")).publish(exported)
    (problem,) = exported.problems
    assert "did you mean 'raw/orders'" in problem.error.message
    assert observations(client, "raw/ordres") == []
    id = exported.manifest.id
    assert problem.repeat == f"invoke export --existing {id} --attach raw/orders"
    status, (exported,), talk = export(live, "--existing", id, "--attach", "raw/orders")
    assert status == 0, talk
    assert exported["attached_to"] == ["raw/orders"]
    assert entries(observations(client, "raw/orders")[0])["report"][1] == exported["url"]


def test_a_server_that_is_away_or_read_only_keeps_the_page(
    live: Project, dagster: DagsterServer
) -> None:
    for settings, code in (
        ("targets: {local: {url: 'http://127.0.0.1:9'}}\n", 5),
        (f"targets: {{local: {{url: '{dagster.url}', read_only: true}}}}\n", 6),
    ):
        (live.root / "dagmar.yaml").write_text(settings, "utf-8")
        exported = made(live)
        Publisher(load(live.root), ExportRequest(existing="x", attach="raw/orders")).publish(
            exported
        )
        (problem,) = exported.problems
        assert problem.error.exit_code == code
        assert (exported.folder / exported.manifest.page()).is_file()


@pytest.mark.nightly
def test_a_server_that_was_started_read_only_gets_nothing_even_in_a_shared_instance(
    live: Project, dagster_home: Path, client: DagsterClient
) -> None:
    local = made(live)
    before = len(observations(client, "raw/orders"))
    with dagster_server(dagster_home, "dagster_webserver", "--read-only") as server:
        server.wait()
        flags = ("--existing", local.manifest.id, "--attach", "raw/orders", "--url", server.url)
        status, (exported,), talk = export(
            live, *flags, environ={"DAGSTER_HOME": str(dagster_home)}
        )
    assert (status, exported["attached_to"]) == (6, []), talk
    assert "does not allow you to report on raw/orders" in talk
    assert len(observations(client, "raw/orders")) == before
    assert (local.folder / local.manifest.page()).is_file()


def test_partitions_and_targets_are_chosen_on_the_command_line(
    live: Project, dagster: DagsterServer, client: DagsterClient
) -> None:
    exported = made(live, "shades")
    url = f"targets: {{local: {{url: 'http://127.0.0.1:9'}}, there: {{url: '{dagster.url}'}}}}\n"
    (live.root / "dagmar.yaml").write_text(url, "utf-8")
    flags = ("--existing", exported.manifest.id, "--attach", "shaded")
    status, _, talk = export(live, *flags, "--partition", "red", "--url", "http://127.0.0.1:9")
    assert status == 5
    assert "--url http://127.0.0.1:9" in talk
    status, _, talk = export(live, *flags, "--partition", "blue", "--target", "there")
    assert status == 0, talk
    assert observations(client, "shaded")[0]["partition"] == "blue"
