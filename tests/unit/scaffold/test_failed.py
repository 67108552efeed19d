"""Which notebook a failed run leads to, and why one may lead to none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid
from dagmar.project import devfile
from dagmar.project.settings import Target, load
from dagmar.scaffold import failed
from dagmar.scaffold.notebooks import ScaffoldRequest
from dagmar.server.catalog import Catalog
from dagmar.server.relaunch import read_launched_with
from support.project import Project

RUN = "0" * 36


class Server:
    """Stands in for Dagster's client: one run, what its steps were to materialize, a backfill."""

    def __init__(
        self,
        steps: Mapping[str, Sequence[str]] | None = None,
        *,
        status: str = "FAILURE",
        job: str = "__ASSET_JOB",
        assets: Sequence[str] = ("a", "b", "c"),
        location: str = "shop",
        config: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.target = Target("local", "http://127.0.0.1:9")
        self.steps = steps or {}
        self.run = {
            "__typename": "Run",
            "status": status,
            "jobName": job,
            "runConfigYaml": config,
            "assetSelection": [AssetKey(key) for key in assets],
            "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()],
            "repositoryOrigin": {"repositoryLocationName": location, "repositoryName": "r"},
            "stepStats": [
                {"stepKey": step, "status": "FAILURE", "endTime": number}
                for number, step in reversed(list(enumerate(self.steps)))
            ],
        }

    def query(self, name: str, **variables: Any) -> dict[str, Any]:
        if name == "RunToRetry":
            unknown = {"__typename": "RunNotFoundError", "message": ""}
            return {"runOrError": self.run if variables["id"] == RUN else unknown}
        page = {"__typename": "EventConnection", "cursor": "", "hasMore": False}
        if name == "RunEvents":
            event = {"__typename": "RunFailureEvent", "message": "no module", "error": None}
            return {"logsForRun": {**page, "events": [event]}}
        if name == "PlannedAssets":
            planned = [
                {"__typename": "x", "stepKey": step, "assetKey": AssetKey(key)}
                for step, keys in self.steps.items()
                for key in keys
            ]
            return {"logsForRun": {**page, "events": [*planned, {"__typename": "y"}]}}
        assert name == "BackfillState"
        if variables["id"] != "backfill":
            return {"partitionBackfillOrError": {"__typename": "BackfillNotFoundError"}}
        made = {"__typename": "PartitionBackfill", "id": "backfill", "status": "COMPLETED"}
        made |= {"numPartitions": 2, "error": None, "assetBackfillData": None}
        runs = [{"runId": RUN, "status": "FAILURE"}, {"runId": "1" * 36, "status": "SUCCESS"}]
        return {
            "partitionBackfillOrError": made,
            "runsOrError": {"__typename": "Runs", "results": runs},
        }


def item(name: str, kind: str = "key", location: str = "shop") -> Any:
    place = {"location": location, "repository": "r", "materializable": True, "dependencies": []}
    return {kind: AssetKey(name) if kind == "key" else name, **place}


@pytest.fixture(autouse=True)
def _catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    places: Any = [{"name": "shop", "error": None}, {"name": "lab", "error": None}]
    assets = [*map(item, "abc"), item("a", location="lab")]
    catalog = Catalog("http://127.0.0.1:9", "1", places, assets, [item("tidy", "name")])
    monkeypatch.setattr(failed, "read_catalog", lambda *_: catalog)


def opened(project: Project, server: Any, **request: Any) -> failed.OpenedRun:
    wanted = ScaffoldRequest(**{"run": RUN, "dry_run": True, **request})
    return failed.open_run(load(project.root), server, wanted)


def test_the_first_step_that_failed_decides_and_the_others_are_named(project: Project) -> None:
    made = opened(project, Server({"b": ["b"], "twins": ["c", "a"]}))
    assert made.notebook.answers["asset"] == "b"
    assert made.others == ["c"]
    assert made.command == f"marimo edit notebooks/b.py -- --run {RUN}"
    assert made.url is None
    again = opened(project, Server({"b": ["b"], "twins": ["c", "a"]}), assets=["a@shop"])
    assert again.notebook.answers["asset"] == "a@shop"
    assert again.others == ["b"]


def test_a_notebook_that_is_paired_with_an_asset_of_the_step_is_kept_as_it_is(
    project: Project,
) -> None:
    file = project.root / "notebooks" / "deep" / "mine é.py"
    file.parent.mkdir(parents=True)
    file.write_text("import dagmar\npair = dagmar.Pair(asset='a@shop')\n", "utf-8")
    devfile.write(project.root, devfile.Running(1, "", marimo_url="http://127.0.0.1:2718"))
    made = opened(project, Server({"twins": ["c", "a"]}))
    assert (made.notebook.file, made.notebook.status) == (file, "kept")
    assert made.url == f"http://127.0.0.1:2718/?file=deep/mine%20%C3%A9.py&run={RUN}"
    assert made.as_document()["run"]["open"]["url"] == made.url


def test_a_job_of_ops_and_a_run_of_one_asset_that_never_started_have_their_notebook(
    project: Project,
) -> None:
    made = opened(project, Server({"sweep": []}, job="tidy", assets=()))
    assert made.notebook.answers["job"] == "tidy"
    made = opened(project, Server(assets=["b"]))
    assert made.notebook.answers["asset"] == "b"
    assert made.run.reason
    assert made.run.reason.text == "no module"


@pytest.mark.parametrize(
    ("server", "request_", "words", "command"),
    [
        (Server(), {"run": "1" * 36}, "there is no run", ""),
        (Server(), {"run": "short"}, "there is no run", ""),
        (
            Server(),
            {"run": "backfill"},
            "is a backfill, not a run",
            f"invoke scaffold --run {RUN}",
        ),
        (Server(status="SUCCESS"), {}, "is success: it has not failed", f"--follow {RUN}"),
        (Server(status="CANCELED"), {}, "has not failed", f"--follow {RUN}"),
        (Server(), {}, "failed before a step: no module", f"--run {RUN} --asset a@shop"),
        (Server({"x": ["gone"]}), {}, "'gone', which no longer exists", "--kind assets"),
        (Server({"x": []}, job="gone"), {}, "the job 'gone', which no longer", "--kind jobs"),
        (Server({"a": ["a"]}, location="old"), {}, "from the code location 'old'", ""),
        (Server({"a": ["a"]}), {"assets": ["b"]}, "did not fail at 'b'", ""),
    ],
)
def test_what_leads_to_no_notebook_says_so(
    project: Project, server: Any, request_: dict[str, Any], words: str, command: str
) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        opened(project, server, **request_)
    assert command in caught.value.command
    assert not (project.root / "notebooks").exists()


def test_secrets_of_a_run_stay_with_dagster() -> None:
    text = """
    ops: {a: {config: {rows: 3, db_password: hunter2, parts: [{api_key: k, name: n}]}}}
    resources: {db: {config: {token: {env: TOKEN}, passenger: 7, mask: '********'}}}
    """
    tags = {"team": "data", "dagster/partition": "x", "user": "ann", "dagster/priority": "3"}
    server: Any = Server(config=text, tags=tags)
    values = read_launched_with(server, RUN)
    assert values.config == {
        "ops": {"a": {"config": {"rows": 3, "parts": [{"name": "n"}]}}},
        "resources": {"db": {"config": {"token": {"env": "TOKEN"}, "passenger": 7}}},
    }
    assert values.secrets == (
        "ops.a.config.db_password",
        "ops.a.config.parts.0.api_key",
        "resources.db.config.mask",
    )
    assert (values.partition, values.tags) == ("x", {"team": "data", "dagster/priority": "3"})


@pytest.mark.parametrize(("level", "kept"), [("INFO", False), ("DEBUG", True)])
def test_the_loggers_that_a_run_in_the_kernel_has_by_itself_are_not_launched_again(
    level: str, kept: bool
) -> None:
    text = f"loggers: {{console: {{config: {{log_level: {level}}}}}}}"
    here: Any = Server(config=text, tags={"dagmar/here": "true"})
    launched: Any = Server(config=text)
    assert ("loggers" in read_launched_with(here, RUN).config) is kept
    assert "loggers" in read_launched_with(launched, RUN).config
