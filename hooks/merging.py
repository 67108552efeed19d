"""Merges one file three ways and marks its conflicts, as Copier and git do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from runner import worktree

LABELS = ("before updating", "last update", "after updating")


def merge_texts(base: str, ours: str, theirs: str) -> tuple[str, bool]:
    """Return the text with the changes of both, and whether it has conflicts."""
    if ours in (base, theirs):
        return theirs, False
    if theirs == base:
        return ours, False
    with tempfile.TemporaryDirectory(prefix="dagmar-merge-") as scratch:
        names = [part for label in LABELS for part in ("-L", label)]
        for name, text in zip("obt", (ours, base, theirs), strict=True):
            write_text(Path(scratch, name), text)
        done = worktree.run_git(Path(scratch), "merge-file", "-p", *names, "o", "b", "t")
    if not 0 <= done.returncode < 128:
        raise RuntimeError(done.stderr.strip())
    return done.stdout, done.returncode > 0


def write_text(file: Path, text: str) -> None:
    """Write a text with its own line ends, and the folders that it needs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8", errors="surrogateescape", newline="")


def change_text(file: Path, how: Callable[[str], str]) -> None:
    """Change a text that is there, keeping its line ends."""
    if file.is_file() and not file.is_symlink():
        with file.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            text = stream.read()
        if (changed := how(text)) != text:
            write_text(file, changed)


def mark_conflict(root: Path, name: str, *texts: str | None) -> None:
    """Tell git that a file has a conflict, with the texts of base, ours and theirs."""
    there = worktree.run_git(root, "ls-files", "--stage", "-z", "--", name)
    top = worktree.run_git(root, "rev-parse", "--show-prefix").stdout.rstrip("\n")
    known = worktree.entries(there)
    mode = known[0].split(" ")[0] if known else "100644"
    lines = [f"0 {'0' * 40}\t{top}{name}"]
    for stage, text in enumerate(texts, 1):
        if text is not None:
            blob = worktree.run_git(root, "hash-object", "-w", "--stdin", text=text).stdout.strip()
            lines.append(f"{mode} {blob} {stage}\t{top}{name}")
    entries = "\n".join(lines) + "\n"
    worktree.run_git(root, "update-index", "--index-info", text=entries).check_returncode()
