"""What a small Dagster answers to the documents of `invoke discover`."""

from __future__ import annotations

from typing import Any


def key(text: str) -> dict[str, Any]:
    return {"path": text.split("/")}


def asset(name: str, group: str, *dependencies: str, **more: Any) -> dict[str, Any]:
    """Return one of `assetNodes`."""
    location = more.pop("location", "shop")
    return {
        "key": key(name),
        "group": group,
        "description": None,
        "materializable": True,
        "observable": False,
        "jobs": ["__ASSET_JOB", "nightly"],
        "tags": [],
        "owners": [],
        "dependencies": [key(dependency) for dependency in dependencies],
        "repository": {"name": "__repository__", "location": {"name": location}},
        "partitions": None,
        **more,
    }


def by_repository(*assets: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to `Assets`: the assets of each code location."""
    nodes: dict[str, list[dict[str, Any]]] = {}
    for node in assets:
        nodes.setdefault(node["repository"]["location"]["name"], []).append(node)
    found = [
        {"name": "__repository__", "location": {"name": name}, "assets": listed}
        for name, listed in nodes.items()
    ]
    return {"repositoriesOrError": {"__typename": "RepositoryConnection", "nodes": found}}


def _tags(**tags: str) -> list[dict[str, str]]:
    return [{"key": name.replace("__", "/"), "value": value} for name, value in tags.items()]


def _partitions(kind: str, *dimensions: str) -> dict[str, Any]:
    return {
        "type": kind,
        "dimensions": [
            {"name": name, "type": "STATIC", "dynamic_name": None} for name in dimensions
        ],
    }


def _job(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "description": None, "asset_job": True,
        "tags": [], "schedules": [], "sensors": [], **more,
    }  # fmt: skip


def _location(name: str, state: Any, status: str = "LOADED") -> dict[str, Any]:
    return {
        "name": name,
        "loadStatus": status,
        "updatedTimestamp": 1.0,
        "locationOrLoadError": state,
    }


_LOADED = {"__typename": "RepositoryLocation", "repositories": [{"name": "__repository__"}]}
_BROKEN = {
    "__typename": "PythonError",
    "className": "ImportError",
    "message": "ImportError: no module\n",
    "stack": ['  File "/home/ann/broken.py", line 1, in f\n'],
    "errorChain": [],
}

ANSWERS: dict[str, dict[str, Any]] = {
    "Workspace": {
        "version": "1.13.27",
        "workspaceOrError": {
            "__typename": "Workspace",
            "locationEntries": [
                _location("shop", _LOADED),
                _location("other", _LOADED),
                _location("broken", _BROKEN),
                _location("slow", None, "LOADING"),
            ],
        },
    },
    "Assets": by_repository(
        asset(
            "raw/orders",
            "raw",
            tags=_tags(tier="gold", dagster__kind__python="", dagster__kind__csv=""),
            owners=[{"team": "data"}, {"email": "ann@example.com"}],
            partitions=_partitions("MULTIPARTITIONED", "day", "color"),
        ),
        asset("orders", "sales", "raw/orders"),
        asset("daily", "sales", "orders", partitions=_partitions("TIME_WINDOW", "day")),
        asset("raw/seen", "raw", materializable=False, location="other"),
    ),
    "Repositories": {
        "repositoriesOrError": {
            "__typename": "RepositoryConnection",
            "nodes": [
                {
                    "name": "__repository__",
                    "location": {"name": "shop"},
                    "jobs": [
                        _job("__ASSET_JOB"),
                        _job("nightly", tags=_tags(tier="gold", by="me")),
                    ],
                    "schedules": [
                        {
                            "name": "at_night",
                            "description": None,
                            "cron": "0 0 * * *",
                            "timezone": None,
                            "job": "nightly",
                            "status": {"status": "RUNNING"},
                        }
                    ],
                    "sensors": [
                        {
                            "name": "on_file",
                            "description": None,
                            "type": "STANDARD",
                            "interval_s": 30,
                            "jobs": None,
                            "status": {"status": "STOPPED"},
                        }
                    ],
                    "resources": [{"name": "warehouse", "description": None, "type": "Warehouse"}],
                },
                {
                    "name": "__repository__",
                    "location": {"name": "other"},
                    "jobs": [_job("weekly")],
                    "schedules": [],
                    "sensors": [],
                    "resources": [],
                },
            ],
        }
    },
    "LatestMaterializations": {
        "assetsLatestInfo": [
            {
                "assetKey": key("orders"),
                "latestMaterialization": {"timestamp": "1767225600000"},
            },
            {"assetKey": key("raw/orders"), "latestMaterialization": None},
        ]
    },
}
