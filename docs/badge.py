"""Draws the badge of the README from what the tests covered.

uv run coverage json -o .coverage/report.json
uv run python docs/badge.py .coverage/report.json
"""

from __future__ import annotations

import json
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


def main(report: str) -> None:
    """Write the badge for what `coverage json` has reported."""
    percent = int(json.loads(Path(report).read_text())["totals"]["percent_covered"])
    BADGE.write_text(SVG.format(percent=percent, colour="#3b7d23" if percent >= 90 else "#b5541c"))


if __name__ == "__main__":
    main(sys.argv[1])
