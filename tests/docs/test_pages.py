"""The pages: generated parts, links, names of places, examples."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from support.template_releases import RUNNER

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DECISION = re.compile(r"decisions/\d{4}-[a-z0-9-]+\.md")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
MACHINE_PATH = re.compile(r"(?<![\w/.:])/(?:work|root|home|Users|tmp|opt|mnt|srv)/")
REGISTRY = re.compile(r"pypi\.org|pythonhosted\.org|registry\.|anaconda\.org|/simple\b")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@every_page
def test_generated_parts_are_up_to_date(page: Path, generate: ModuleType) -> None:
    text = page.read_text("utf-8")
    assert text == generate.render(page), "Type: uv run python docs/generate.py"
    marks = re.findall(r"^<!-- (generated: [a-z-]+|end) -->$", text, re.MULTILINE)
    assert marks[1::2] == ["end"] * (len(marks) // 2)
    assert "end" not in marks[::2]


def test_every_generated_part_stands_on_a_page(generate: ModuleType) -> None:
    texts = [page.read_text("utf-8") for page in PAGES]
    marks = [f"<!-- generated: {part} -->" for part in generate.PARTS]
    assert len(marks) > 5
    assert [mark for mark in marks if not any(mark in text for text in texts)] == []


def test_every_page_is_in_the_navigation_once(generate: ModuleType) -> None:
    listed = [name for names in generate.navigation().values() for name in names]
    there = {str(page.relative_to(DOCS)) for page in PAGES if page.is_relative_to(DOCS)}
    # Decisions are reached from their list.
    assert sorted(listed) == sorted(name for name in there if not DECISION.fullmatch(name))
    text = (DOCS / "decisions/README.md").read_text("utf-8")
    decisions = sorted(name for name in there if DECISION.fullmatch(name))
    assert sorted(f"decisions/{name}" for name in LINK.findall(text)) == decisions


def test_a_page_of_the_site_links_only_what_the_site_has() -> None:
    outside = [
        f"{page.name}: {link}"
        for page in PAGES
        if page.is_relative_to(DOCS)
        for link in LINK.findall(FENCE.sub("", page.read_text("utf-8")))
        if not re.match(r"[a-z]+:|#", link)
        and not (page.parent / link.partition("#")[0]).resolve().is_relative_to(DOCS)
    ]
    assert outside == []


def test_a_stale_page_is_found_and_written(
    generate: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = tmp_path / "page.md"
    page.write_text("mine\n<!-- generated: exit-codes -->\nold\n<!-- end -->\nmine too\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/one.md").write_text("# One\n\n## A part\n")
    (tmp_path / "zensical.toml").write_text(
        '[project]\nsite_name = "n"\nsite_description = "d"\n'
        'nav = [{ "Learn" = [{ "First" = ["one.md"] }] }]\n'
    )
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert "page.md is out of date" in said
    assert "docs/llms.txt is out of date" in said
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    listed = (tmp_path / "docs/llms.txt").read_text()
    assert listed == "# n\n\n> d\n\n## Learn: First\n\n- [One](one.md): A part\n"
    written = page.read_text()
    assert "| 130 | Ctrl-C, or SIGTERM |" in written
    assert "old" not in written
    assert written.startswith("mine\n")
    assert written.endswith("mine too\n")


def test_the_drawn_tree_of_errors_is_the_real_one(generate: ModuleType) -> None:
    drawn = {(name, status) for name, status, _ in generate.statuses()}
    classes = generate.error_classes(generate.errors.DagmarError)
    assert drawn == {(error.__name__, error.exit_code) for error in classes}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in LINK.findall(page.read_text("utf-8"))
    }
    entries = {ROOT / "README.md", ROOT / "docs/index.md"}
    assert [page for page in PAGES if page not in linked | entries] == []


@every_page
def test_no_place_of_a_machine_and_no_registry_is_named(page: Path) -> None:
    text = page.read_text("utf-8")
    assert MACHINE_PATH.findall(text) == []
    assert REGISTRY.findall(text) == []


def test_the_public_address_stands_in_one_place() -> None:
    text = (ROOT / RUNNER / "pyproject.toml").read_text("utf-8")
    assert text.count("example.invalid/dagmar") == 1
    assert [page for page in PAGES if "example.invalid/dagmar" in page.read_text("utf-8")] == []
