"""A project with one of everything that a notebook can be paired with, and its command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from support import project
from support.catalog_answers import ANSWERS as ANSWERED
from support.catalog_answers import asset, by_repository
from support.catalog_answers import key as key_of
from support.git import git
from support.project import TASKS
from support.template_releases import Project, Template, write

DEFINITIONS = '''
"""Prints when it is imported, as users' code does."""

import dagster as dg
import polars as pl

print("definitions are loading")
DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-11")
GRID = dg.MultiPartitionsDefinition({"day": DAYS, "c": dg.StaticPartitionsDefinition(["a"])})


@dg.asset(key=["raw", "orders"], group_name="raw", description='Orders, "raw".')
def raw_orders():
    return pl.DataFrame({"id": [1, 2, 3, 4, 5, 6], "amount": [1.0, 2.0, 3.5, 4.0, 5.0, 6.5]})


@dg.asset(ins={"rows": dg.AssetIn(["raw", "orders"])}, group_name="sales")
def orders(rows):
    return rows


@dg.asset(
    group_name="sales", ins={"raw_orders": dg.AssetIn(["raw", "orders"])}, partitions_def=DAYS
)
def daily(raw_orders, orders):
    return orders.head(3)


@dg.asset(group_name="sales", partitions_def=GRID)
def grid(orders):
    return orders.head(2)


@dg.asset(
    group_name="reports",
    deps=[grid, ["lake", "dash-ed.events"]],
    ins={"lines": dg.AssetIn("daily")},
    partitions_def=DAYS,
)
def report_of_day(lines):
    return lines


@dg.asset(group_name="reports", partitions_def=GRID)
def report_of_cell(grid, daily):
    return grid


@dg.asset(group_name="reports", deps=[grid])
def note() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 2})


class Greeting(dg.Config):
    name: str


@dg.op
def greet(config: Greeting): ...


@dg.job
def greeting():
    greet()


defs = dg.Definitions(
    assets=[
        raw_orders, orders, daily, grid, report_of_day, report_of_cell, note,
        dg.AssetSpec(["lake", "dash-ed.events"]),
    ],
    jobs=[greeting],
)
'''
_DAYS = {"name": "day", "type": "TIME_WINDOW", "dynamic_name": None}
_ONE = _DAYS | {"name": "default"}
_C = {"name": "c", "type": "STATIC", "dynamic_name": None}
_GREETING = {
    "name": "greeting", "description": None, "asset_job": False, "tags": [], "schedules": [],
    "sensors": [],
}  # fmt: skip
_BY_DAY = {"type": "TIME_WINDOW", "dimensions": [_ONE]}
_BY_CELL = {"type": "MULTIPARTITIONED", "dimensions": [_C, _DAYS]}


def _takes(name: str, days: str | None, *values: str, after: tuple[str, ...] = ()) -> Any:
    """Return a node of the answer to `Inputs`; `days` tells how it is partitioned."""
    inputs = {key.rpartition("/")[2]: False for key in values}
    inputs |= {key.replace("/", "_").replace("-", "_").replace(".", "_"): True for key in after}
    return {
        "assetKey": key_of(name),
        "repository": {"name": "__repository__", "location": {"name": "shop"}},
        "dependencyKeys": [key_of(above) for above in (*values, *after)],
        "partitionDefinition": days and {"description": days, "fmt": None},
        "op": {
            "inputDefinitions": [
                {"name": name, "type": {"isNothing": nothing}} for name, nothing in inputs.items()
            ]
        },
    }


ANSWERS: dict[str, dict[str, Any]] = {
    "Workspace": {
        "version": "1.13.27",
        "workspaceOrError": {
            "__typename": "Workspace",
            "locationEntries": ANSWERED["Workspace"]["workspaceOrError"]["locationEntries"][:1],
        },
    },
    "Assets": by_repository(
            asset("raw/orders", "raw", description='Orders, "raw".'),
            asset("orders", "sales", "raw/orders"),
            asset("daily", "sales", "raw/orders", "orders", partitions=_BY_DAY),
            asset("grid", "sales", "orders", partitions=_BY_CELL),
            asset("lake/dash-ed.events", "default", materializable=False),
            asset("note", "reports", "grid"),
            asset("report_of_cell", "reports", "daily", "grid", partitions=_BY_CELL),
            asset(
                "report_of_day", "reports", "daily", "grid", "lake/dash-ed.events",
                partitions=_BY_DAY,
            ),
    ),
    "Inputs": {
        "assetNodes": [
            _takes("raw/orders", None),
            _takes("orders", None, "raw/orders"),
            _takes("daily", "days", "raw/orders", "orders"),
            _takes("grid", "cells", "orders"),
            _takes("lake/dash-ed.events", None) | {"op": None},
            _takes("note", None, after=("grid",)),
            _takes("report_of_cell", "cells", "daily", "grid"),
            _takes("report_of_day", "days", "daily", after=("grid", "lake/dash-ed.events")),
        ]
    },
    "Repositories": {
        "repositoriesOrError": {
            "__typename": "RepositoryConnection",
            "nodes": [
                {
                    "name": "__repository__",
                    "location": {"name": "shop"},
                    "jobs": [_GREETING],
                    "schedules": [],
                    "sensors": [],
                    "resources": [],
                }
            ],
        }
    },
}  # fmt: skip
"""The same, as a server would tell it."""

PAIRS = {
    "asset": ("--asset", "orders"),
    "source": ("--asset", "raw/orders"),
    "partitioned": ("--asset", "daily"),
    "multi": ("--asset", "grid"),
    "day by day": ("--asset", "report_of_day"),
    "cell by cell": ("--asset", "report_of_cell"),
    "external": ("--asset", "lake/dash-ed.events"),
    "job": ("--job", "greeting"),
}
TEMPLATES = ("default", "minimal", "ml", "report", "stats")
PYPROJECT = '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "shop"\n'


def make_shop(template: Template, path: Path, url: str) -> Project:
    """Copy and commit a project whose target is at `url`, where usually nobody listens."""
    template.copy(path, data={"example": False, "package": "shop"})
    write(
        path,
        {
            "src/shop/definitions.py": DEFINITIONS,
            "pyproject.toml": PYPROJECT,
            "tasks.py": TASKS,
            "dagmar.yaml": f"targets: {{local: {{url: '{url}'}}}}\n",
        },
    )
    git(path, "init", "-q", "-b", "main")
    project = Project(path, template)
    project.commit()
    return project


def invoke(shop: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call `invoke` in the project."""
    return project.Project(shop.path).invoke(*arguments)


def scaffold(shop: Project, *flags: str) -> list[dict[str, Any]]:
    """Call `invoke scaffold --json` and return its notebooks."""
    done = invoke(shop, "scaffold", *flags, "--json")
    assert done.returncode == 0, done.stderr
    notebooks: list[dict[str, Any]] = json.loads(done.stdout)["notebooks"]
    return notebooks
