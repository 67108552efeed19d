"""Asks each address that the pages link outside this repository whether it is still there.

Status 1, with the address and its pages, for one that answers with an error or not at all. Examples
and addresses on this machine are left out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import requests

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\((https?://[^)\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
EXAMPLES = re.compile(r"(^|\.)example\.(com|org|net)$|^127\.|^localhost$|\.invalid$")
ATTEMPTS = 3


def links(pages: Iterable[Path]) -> dict[str, list[str]]:
    """Return the pages by the address that they link."""
    found: dict[str, list[str]] = {}
    for page in pages:
        for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
            if not EXAMPLES.search(urlsplit(link).hostname or ""):
                found.setdefault(link, []).append(page.name)
    return found


def problem(link: str, session: requests.Session) -> str:
    """Return why an address is not there, or an empty text."""
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            answer = session.get(link, timeout=30, stream=True)
        except requests.RequestException as error:
            reason = type(error).__name__
            continue
        answer.close()
        if answer.status_code in (403, 429):  # there, and not for programs
            return ""
        if answer.ok:
            return ""
        reason = str(answer.status_code)
    return reason


def report(found: Mapping[str, list[str]]) -> int:
    """Print the addresses that are gone, and return the exit status."""
    with requests.Session() as session:
        session.headers["User-Agent"] = "Mozilla/5.0 (a check of links)"
        gone = {link: reason for link in found if (reason := problem(link, session))}
    for link, reason in gone.items():
        print(f"{link} ({reason}): {', '.join(found[link])}", file=sys.stderr)
    return int(bool(gone))


if __name__ == "__main__":
    raise SystemExit(report(links([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])))
