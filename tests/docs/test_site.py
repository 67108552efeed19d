"""The site is built from the pages, and the build fails for a link that leads nowhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urljoin, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
ZENSICAL = Path(sys.executable).with_name("zensical")

pytestmark = [
    pytest.mark.skipif(sys.version_info < (3, 11), reason="zensical needs Python 3.11"),
    pytest.mark.xdist_group("site"),
]


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if name in ("href", "src") and value:
                self.links.append(value)


def source(folder: Path) -> Path:
    """Copy what the site is built from."""
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy2(ROOT / "zensical.toml", folder)
    return folder


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site as CI does."""
    command = [str(ZENSICAL), "build", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, generate: ModuleType) -> Path:
    folder = source(tmp_path_factory.mktemp("site"))
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert generate.main(["--site", str(folder / "site")]) == 0
    return folder / "site"


def test_every_page_is_built_and_every_link_in_it_leads_somewhere(site: Path) -> None:
    pages = {file: Page(file.read_text("utf-8")) for file in site.rglob("*.html")}
    assert len(pages) > 50
    broken = []
    for file, page in pages.items():
        if file.name == "404.html":
            continue
        address = f"http://site/{file.relative_to(site).as_posix()}".removesuffix("index.html")
        for link in page.links:
            found = urlsplit(urljoin(address, link))
            if found.netloc != "site":
                continue
            target = site / unquote(found.path).lstrip("/")
            target = target / "index.html" if found.path.endswith("/") else target
            there = target.is_file()
            if found.fragment and target in pages:
                there = unquote(found.fragment) in pages[target].anchors | {"__top"}
            if not there:
                broken.append(f"{file.relative_to(site)}: {link}")
    assert broken == []


def test_a_reader_can_search_and_choose_light_or_dark(site: Path) -> None:
    index = json.loads((site / "search.json").read_text("utf-8"))
    texts = json.dumps(index)
    for word in ("dagmar.link_reports", "AnswerLost", "--partition-range"):
        assert word in texts
    home = (site / "index.html").read_text("utf-8")
    assert 'data-md-color-scheme="slate"' in home
    assert 'data-md-color-scheme="default"' in home


def test_no_script_and_nothing_of_the_build_is_published(site: Path) -> None:
    assert list(site.rglob("*.py")) == []


def test_a_program_finds_the_markdown_of_every_page(site: Path, generate: ModuleType) -> None:
    listed = (site / "llms.txt").read_text("utf-8")
    everything = (site / "llms-full.txt").read_text("utf-8")
    for name in (name for names in generate.navigation().values() for name in names):
        text = (ROOT / "docs" / name).read_text("utf-8")
        assert f"]({name})" in listed
        assert (site / name).read_text("utf-8") == text
        assert text in everything


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    folder = source(tmp_path)
    page = folder / "docs/index.md"
    links = "[a page](gone.md) [an anchor](tutorial.md#gone) [an anchor here](#gone)"
    page.write_text(page.read_text("utf-8") + f"\n{links}\n")
    done = build(folder)
    assert done.returncode != 0
    assert "3 issues found" in done.stdout + done.stderr
