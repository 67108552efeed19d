"""A document of `invoke stats --json`, with as many assets as a test wants."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import Any

START = datetime(2026, 11, 17, tzinfo=timezone.utc)
SERVER = "http://127.0.0.1:3000"


def pair(now: Any, before: Any) -> dict[str, Any]:
    return {"now": now, "before": before}


def row(name: str, seed: int = 1) -> dict[str, Any]:
    """Return what the document has of one asset."""
    rng = random.Random(seed)
    points = [(START + timedelta(hours=8 * i), rng.randint(0, 12)) for i in range(21)]
    trend = [
        {
            "at": at.isoformat(),
            "runs": runs,
            "failed": rng.randint(0, 2) if runs > 2 else 0,
            "median_s": rng.uniform(40, 90) if runs else None,
        }
        for at, runs in points
    ]
    return {
        "name": name,
        "runs": pair(sum(runs for _, runs in points), 100),
        "succeeded": pair(95, 98),
        "failed": pair(5, 2),
        "success": pair(0.95, 0.98),
        "median_s": pair(60.0 + seed, 55.0),
        "p95_s": pair(95.5, 60.0),
        "queued_s": pair(1.5, 1.4),
        "starting_s": pair(2.0, 2.0),
        "running_s": pair(57.0, 50.0),
        "retries": pair(3, 0),
        "here": pair(2, 0),
        "launched": pair(98, 100),
        "time_saved_s": pair(12.0, None),
        "trend": trend,
        "partitions": {"materialized": 90, "missing": 8, "failed": 2},
        "checks": [{"name": "not_empty", "last": {"passed": False}, "failed": pair(1, 0)}],
        "fresh": {"at": START.isoformat(), "age_s": 4000.0, "state": "warn"},
        "numbers": {
            "rows": [
                {"at": at.isoformat(), "value": 1000 + i, "partition": "eu"}
                for i, (at, _) in enumerate(points)
            ]
        },
    }


def document(assets: int = 3, hostile: str = "") -> dict[str, Any]:
    """Return a document; `hostile` is in each text of it that a server has a say in."""
    week = timedelta(days=7)
    rows = [row(f"{hostile}raw/asset_{i}", i) for i in range(assets)]
    run = f"{SERVER}/runs/4c0ffee"
    return {
        "server": f"{SERVER}{hostile}",
        "window": {"from": START.isoformat(), "to": (START + week).isoformat()},
        "before": {"from": (START - week).isoformat(), "to": START.isoformat()},
        "by": "asset",
        "totals": row("total", 7),
        "rows": rows,
        "in_progress": [{"run_id": "1"}],
        "failures": [
            {
                "count": 14,
                "step": f"load{hostile}",
                "cell": None,
                "class": f"TimeoutError{hostile}",
                "message": f"no answer within <n> s{hostile}",
                "first": START.isoformat(),
                "last": (START + week).isoformat(),
                "partitions": [f"eu{hostile}"],
                "assets": [f"raw/asset_0{hostile}"],
                "run_id": "4c0ffee",
                "url": run,
                "retry": f"invoke run --retry 4c0ffee{hostile}",
            },
        ],
        "slowdowns": [
            {
                "name": f"{hostile}raw/asset_0",
                "since": (START + timedelta(days=3)).isoformat(),
                "run_id": "4c0ffee",
                "url": f"javascript:{hostile}" if hostile else run,
                "before_s": 60.0,
                "after_s": 92.0,
                "factor": 92 / 60,
                "changed": [
                    {
                        "what": "git revision",
                        "from": f"aaaaaaa{hostile}",
                        "to": "bbbbbbb",
                        "command": f"git log aaaaaaa..bbbbbbb{hostile}",
                    },
                    {"what": "polars", "from": "1.0", "to": f"2.0{hostile}"},
                ],
            }
        ],
        "violations": [{"rule": "p95 > +50%", "name": f"x{hostile}", "value": 95.5}],
    }
