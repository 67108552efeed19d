"""Rules of `--fail-if`, such as `p95 > +50%` and `success < 95%`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagmar.errors import RunFailed, UsageError, counted, did_you_mean, some

SECONDS, SHARE, COUNT = "duration", "share", "number"
METRICS = {
    "p95": ("p95_s", SECONDS),
    "median": ("median_s", SECONDS),
    "queued": ("queued_s", SECONDS),
    "starting": ("starting_s", SECONDS),
    "running": ("running_s", SECONDS),
    "success": ("success", SHARE),
    "runs": ("runs", COUNT),
    "succeeded": ("succeeded", COUNT),
    "failed": ("failed", COUNT),
    "retries": ("retries", COUNT),
}
"""What a rule may ask, its field in a row of the document, and what kind of value it is."""
EXAMPLES = {SECONDS: "p95 > 30 s", SHARE: "success < 95%", COUNT: "failed > 3"}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_RULE = re.compile(r"\s*([A-Za-z0-9_]+)\s*([<>]=?|[=!~]+)\s*(\S.*?)\s*")
_LIMIT = re.compile(r"([-+]?)([0-9]+(?:\.[0-9]+)?)\s*(%|[A-Za-z]*)")


@dataclass(frozen=True)
class Rule:
    """One rule. `limit` is seconds, a share or a number; if `relative`, a factor of before."""

    text: str
    metric: str
    comparison: str
    limit: float
    relative: bool = False

    @property
    def kind(self) -> str:
        """What kind of value it is about."""
        return METRICS[self.metric][1]


@dataclass(frozen=True)
class Violation:
    """A rule that an asset, or what else a row is about, breaks."""

    rule: Rule
    name: str | None
    value: float
    before: float | None = None

    @property
    def text(self) -> str:
        """The violation in one line, for people."""
        was = ""
        if self.rule.relative and self.before is not None:
            was = f", {_shown(self.rule.kind, self.before)} before"
        value = _shown(self.rule.kind, self.value)
        return f"{self.name or 'none'}: {self.rule.metric} is {value}{was} ({self.rule.text})"

    def as_document(self) -> dict[str, Any]:
        """Return the entry of `violations` in `invoke stats --json`."""
        return {"rule": self.rule.text, "name": self.name, "value": self.value}


@dataclass(frozen=True)
class Verdict:
    """What breaks which rule, and what could not be judged, as there is nothing to compare.

    `unjudged` has the names by the text of the rule.
    """

    violations: Sequence[Violation] = ()
    unjudged: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def remarks(self) -> list[str]:
        """What could not be judged, a line for each rule."""
        return [
            f"{rule!r} cannot be judged for {some(names)}: there is no value to compare"
            for rule, names in self.unjudged.items()
        ]

    def raise_for_status(self) -> None:
        """Raise RunFailed if a rule is broken."""
        if self.violations:
            lines = [f"  {violation.text}" for violation in self.violations]
            rules = counted(len({violation.rule for violation in self.violations}), "rule")
            broken = f"{rules} of --fail-if broken:"
            message = "\n".join([broken, *lines[:20], *["  …"][: len(lines) - 20]])
            raise RunFailed(message, "For the figures as a page, add: --html FILE")


def parse_rules(texts: Iterable[str]) -> list[Rule]:
    """Return the rules of `--fail-if`. Raises UsageError."""
    return [_parse(text) for text in texts]


def _parse(text: str) -> Rule:
    if not (found := _RULE.fullmatch(text)):
        raise _refused(text, "it is not METRIC COMPARISON VALUE")
    metric, comparison, limit = found.groups()
    if metric not in METRICS:
        raise _refused(text, f"there is no metric '{metric}'{did_you_mean(metric, METRICS)}")
    if comparison not in COMPARISONS:
        raise _refused(text, f"'{comparison}' is not one of {', '.join(COMPARISONS)}", metric)
    kind = METRICS[metric][1]
    value = _LIMIT.fullmatch(limit)
    if value is None:
        raise _refused(text, f"'{limit}' is not a {kind}", metric)
    sign, number, unit = value.groups()
    rule = " ".join(text.split())
    if sign:
        if unit != "%":
            raise _refused(text, "a change is a percentage, such as +50%", metric)
        return Rule(rule, metric, comparison, 1 + float(sign + number) / 100, relative=True)
    if kind == SECONDS and unit in UNITS:
        return Rule(rule, metric, comparison, float(number) * UNITS[unit])
    if kind == SECONDS:
        wanted = f"a unit: {', '.join(UNITS)}; or a sign, for a change: {metric} > +50%"
        raise _refused(text, f"'{limit}' needs {wanted}", metric)
    if kind == SHARE and unit == "%":
        return Rule(rule, metric, comparison, float(number) / 100)
    if kind == COUNT and not unit:
        return Rule(rule, metric, comparison, float(number))
    needed = "a % sign" if kind == SHARE else "no unit"
    raise _refused(text, f"'{limit}' needs {needed}", metric)


def _refused(text: str, why: str, metric: str = "") -> UsageError:
    kind = METRICS[metric][1] if metric else SECONDS
    example = (
        EXAMPLES[kind].replace("p95", metric) if kind == SECONDS and metric else EXAMPLES[kind]
    )
    hint = f"Metrics: {', '.join(METRICS)}. For example:"
    return UsageError(f"--fail-if {text!r}: {why}", hint, f"invoke stats --fail-if {example!r}")


def judge(rules: Sequence[Rule], rows: Sequence[Mapping[str, Any]]) -> Verdict:
    """Return what breaks the rules, in rows of the document.

    A row without a value, or without the one before that a relative rule needs, breaks nothing.
    """
    violations, unjudged = [], dict[str, list[str]]()
    for rule in rules:
        field = METRICS[rule.metric][0]
        for row in rows:
            pair = row.get(field) or {}
            now, before = pair.get("now"), pair.get("before")
            limit: float | None = rule.limit
            if rule.relative:
                limit = rule.limit * before if before else None
            if now is None or limit is None:
                unjudged.setdefault(rule.text, []).append(row["name"] or "none")
            elif COMPARISONS[rule.comparison](now, limit):
                violations.append(Violation(rule, row["name"], now, before))
    return Verdict(violations, unjudged)


def _shown(kind: str, value: float) -> str:
    if kind == SHARE:
        return f"{100 * value:.1f}%"
    return f"{value:.1f} s" if kind == SECONDS else f"{value:g}"
