"""Compares the badge of the README with what the tests covered, and draws it again if it is wrong.

uv run coverage json -o .coverage/report.json
uv run python docs/badge.py .coverage/report.json
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


def main(report: str) -> None:
    """Compare the badge with what `coverage json` has reported.

    Ends with status 1 if it is more than one point off; the new badge is then to be committed.
    """
    covered = json.loads(Path(report).read_text("utf-8"))["totals"]["percent_covered"]
    shown = re.search(r"(\d+) %</text>", BADGE.read_text("utf-8")) if BADGE.exists() else None
    if shown and abs(covered - int(shown[1])) <= 1:
        return
    percent = round(covered)
    colour = "#3b7d23" if percent >= 90 else "#b5541c"
    BADGE.write_text(SVG.format(percent=percent, colour=colour), "utf-8")
    sys.exit(
        f"The badge shows {shown[1] if shown else 'no'} %, and {covered:.1f} % are covered. "
        f"Commit the new one: git add docs/images/{BADGE.name}"
    )


if __name__ == "__main__":
    main(sys.argv[1])
