"""Draws the badge of the README from what the tests covered.

uv run coverage json -o .coverage/report.json
uv run python docs/badge.py .coverage/report.json            write
uv run python docs/badge.py .coverage/report.json --check    status 1 if it claims too much
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

BADGE = Path(__file__).parent / "images" / "coverage.svg"
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="106" height="20" role="img" \
aria-label="coverage: {percent} %">
  <title>coverage: {percent} % of lines and branches</title>
  <clipPath id="round"><rect width="106" height="20" rx="3"/></clipPath>
  <g clip-path="url(#round)">
    <rect width="62" height="20" fill="#555"/>
    <rect x="62" width="44" height="20" fill="{colour}"/>
  </g>
  <g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
    <text x="31" y="14">coverage</text>
    <text x="84" y="14">{percent} %</text>
  </g>
</svg>
"""


def claimed(svg: str) -> int:
    """Return the percentage that a badge shows."""
    found = re.search(r'aria-label="coverage: (\d+) %"', svg)
    return int(found[1]) if found else 0


def main(arguments: list[str]) -> int:
    """Write the badge; with --check, compare: it may show less than is covered, never more."""
    report, *flags = arguments
    percent = int(json.loads(Path(report).read_text())["totals"]["percent_covered"])
    if "--check" in flags:
        shown = claimed(BADGE.read_text())
        if shown > percent:
            print(f"{BADGE} shows {shown} %, and {percent} % are covered", file=sys.stderr)
        return int(shown > percent)
    BADGE.write_text(SVG.format(percent=percent, colour="#3b7d23" if percent >= 90 else "#b5541c"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
