"""The shape of the template repository itself."""

from __future__ import annotations

import subprocess

from support.template_releases import ROOT, RUNNER

TOP = {
    "AGENTS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "RELEASING.md",
    "SECURITY.md",
    "benchmarks",
    "cliff.toml",
    "copier.yml",
    "docs",
    "hooks",
    "pyproject.toml",
    "release",
    "tasks.py",
    "template",
    "tests",
    "zensical.toml",
}


def files(*under: str) -> list[str]:
    """List what is or would be in the repository."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z", "--", *under]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


def test_the_top_level_holds_nothing_else():
    found = {name.split("/")[0] for name in files()}
    assert {name for name in found if not name.startswith(".")} - TOP == set()


def test_the_runner_is_plain_python():
    names = files(RUNNER)
    assert names
    assert [name for name in names if name.endswith(".jinja") or "{" in name or "%" in name] == []


def test_a_template_has_no_file_that_some_system_cannot_hold():
    """Windows has no quotation marks in names, and symlinks only for some users."""
    names = files("template")
    assert [name for name in names if set(name) & set('"<>:|?*\\')] == []
    assert [name for name in names if (ROOT / name).is_symlink()] == []


def test_no_rendered_file_names_copiers_temporary_clone():
    rendered = [name for name in files("template") if name.endswith(".jinja")]
    texts = {name: (ROOT / name).read_text("utf-8") for name in rendered}
    assert [name for name, text in texts.items() if "_copier_conf.src_path" in text] == []
