"""`--fail-if`: what is accepted, and what breaks a rule."""

from __future__ import annotations

from typing import Any

import pytest
from dagmar.errors import RunFailed, UsageError
from dagmar.stats.verdict import METRICS, judge, parse_rules


def row(name: str = "orders", **values: Any) -> dict[str, Any]:
    return {
        "name": name,
        **{METRICS[m][0]: {"now": v[0], "before": v[1]} for m, v in values.items()},
    }


@pytest.mark.parametrize(
    ("rule", "values", "broken"),
    [
        ("p95 > +50%", {"p95": (91, 60)}, True),
        ("p95 > +50%", {"p95": (90, 60)}, False),
        ("p95>=+50%", {"p95": (90, 60)}, True),
        ("median < -10 %", {"median": (80, 90)}, True),
        ("median > 1.5min", {"median": (91, None)}, True),
        ("median > 1.5 min", {"median": (90, None)}, False),
        ("queued > 500 ms", {"queued": (0.6, None)}, True),
        ("starting >= 1 h", {"starting": (3600, 1)}, True),
        ("running <= 1d", {"running": (86_400, 1)}, True),
        ("success < 95%", {"success": (0.94, None)}, True),
        ("success < 95%", {"success": (0.95, 1)}, False),
        ("success < -5%", {"success": (0.9, 1)}, True),
        ("failed > 3", {"failed": (4, 0)}, True),
        ("retries > 0", {"retries": (0, 5)}, False),
        ("runs < 1", {"runs": (0, 5)}, True),
        ("succeeded < -50%", {"succeeded": (1, 5)}, True),
    ],
)
def test_a_rule_compares_a_number_with_a_limit(
    rule: str, values: dict[str, Any], broken: bool
) -> None:
    verdict = judge(parse_rules([rule]), [row(**values)])
    assert bool(verdict.violations) == broken
    assert not verdict.unjudged


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("p95 > +50%", {"p95": (90, None)}),
        ("p95 > +50%", {"p95": (None, 60)}),
        ("p95 > 1 s", {"p95": (None, None)}),
        ("p95 > 1 s", {}),
        ("failed > +10%", {"failed": (5, 0)}),
        ("success < 95%", {"success": (None, 1)}),
    ],
)
def test_nothing_fails_from_nothing(rule: str, values: dict[str, Any]) -> None:
    verdict = judge(parse_rules([rule]), [row(**values)])
    verdict.raise_for_status()
    assert verdict.remarks == [
        f"'{rule}' cannot be judged for orders: there is no value to compare"
    ]


def test_a_broken_rule_names_the_asset_with_status_4() -> None:
    rows = [row("raw/a", p95=(95.04, 60)), row("raw/b", p95=(60, 60)), row("c", p95=(7, None))]
    verdict = judge(parse_rules(["p95 > +50%", "p95  >  90 s"]), rows)
    with pytest.raises(RunFailed) as raised:
        verdict.raise_for_status()
    assert raised.value.exit_code == 4
    assert raised.value.message == (
        "2 rules of --fail-if broken:\n"
        "  raw/a: p95 is 95.0 s, 60.0 s before (p95 > +50%)\n"
        "  raw/a: p95 is 95.0 s (p95 > 90 s)"
    )
    assert verdict.violations[0].as_document() == {
        "rule": "p95 > +50%", "name": "raw/a", "value": 95.04,
    }  # fmt: skip
    assert verdict.unjudged == {"p95 > +50%": ["c"]}


def test_a_thousand_violations_are_not_a_thousand_lines() -> None:
    verdict = judge(parse_rules(["runs > 0"]), [row(f"a{i}", runs=(1, 1)) for i in range(1000)])
    with pytest.raises(RunFailed) as raised:
        verdict.raise_for_status()
    assert raised.value.message.count("\n") == 21
    assert raised.value.message.endswith("…")


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("", "it is not METRIC COMPARISON VALUE"),
        ("p95", "it is not METRIC COMPARISON VALUE"),
        ("p95 > ", "it is not METRIC COMPARISON VALUE"),
        ("p96 > 3 s", "there is no metric 'p96' — did you mean 'p95'?"),
        ("sucess < 95%", "there is no metric 'sucess' — did you mean 'success'?"),
        ("p95 == 3 s", "'==' is not one of >, >=, <, <="),
        ("p95 > fast", "'fast' is not a duration"),
        ("p95 > nan s", "'nan s' is not a duration"),
        ("p95 > 30", "'30' needs a unit: ms, s, min, h, d; or a sign, for a change: p95 > +50%"),
        ("p95 > 50%", "'50%' needs a unit: ms, s, min, h, d; or a sign, for a change: p95 > +50%"),
        ("p95 > 3 weeks", "'3 weeks' needs a unit: ms, s, min, h, d; or a sign"),
        ("p95 > +30 s", "a change is a percentage, such as +50%"),
        ("success < 0.95", "'0.95' needs a % sign"),
        ("failed > 3 s", "'3 s' needs no unit"),
        ("p95 > +50% or 1", "'+50% or 1' is not a duration"),
    ],
)
def test_any_other_rule_is_refused(rule: str, why: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_rules(["runs > 0", rule])
    assert raised.value.message.startswith(f"--fail-if {rule!r}: {why}")
    assert "Metrics: p95, median" in raised.value.hint


@pytest.mark.parametrize("rule", ["sucess < 1", "median ~ 3", "retries > 3 s", "success < 1"])
def test_the_command_of_a_refusal_is_a_rule(rule: str) -> None:
    import shlex

    with pytest.raises(UsageError) as raised:
        parse_rules([rule])
    words = shlex.split(raised.value.command)
    assert words[:3] == ["invoke", "stats", "--fail-if"]
    assert parse_rules(words[3:])
