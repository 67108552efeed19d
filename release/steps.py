"""What `invoke release` does: prepare a version, check it, tag it, and write its notes."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dagmar.errors import Conflict, Invalid
from packaging.version import InvalidVersion, Version

from release import notes, package, updates
from release.version import (
    FILE,
    check_clean,
    check_version,
    git,
    read_version,
    released,
    tagged_here,
    write_version,
)

CHANGELOG = "CHANGELOG.md"


def prepare(root: Path, version: str) -> str:
    """Write the version and the changelog, and commit both; return the version.

    Without a `version` it is the one that the commits ask for.
    """
    check_clean(root)
    version = version or notes.next_version(root)
    try:
        if str(Version(version)) != version:
            raise Invalid(f"a version is written {Version(version)}, not {version}")
    except InvalidVersion:
        raise Invalid(f"{version!r} is not a version, such as 0.3.0") from None
    write_version(root, version)
    (root / CHANGELOG).write_text(notes.write_notes(root, version), "utf-8")
    git(root, "add", FILE, CHANGELOG)
    git(root, "commit", "--quiet", "--allow-empty", "--message", f"chore(release): {version}")
    return version


def check(root: Path, to: Path | None = None) -> str:
    """Check everything that a tag promises; return the version.

    The package is kept in the folder `to`. Raises the DagmarError that says what is wrong.
    """
    check_clean(root)
    version = check_version(root)
    there, right = (root / CHANGELOG).read_text("utf-8"), notes.write_notes(root, version)
    if notes.without_dates(there) != notes.without_dates(right):
        message = f"{CHANGELOG} is not what the commits say for {version}"
        raise Conflict(message, command="invoke release --prepare")
    with tempfile.TemporaryDirectory(prefix="dagmar-release-") as folder:
        scratch = Path(folder)
        _say(f"Build dagmar {version}")
        files = package.build(root, to or scratch / "dist")
        package.inspect(root, files, version)
        tagged = scratch / "tagged"
        git(root, "clone", "--quiet", "--no-hardlinks", str(root), str(tagged))
        git(tagged, "tag", "--force", f"v{version}")

        def install(file: Path) -> None:
            _say(f"Install {file.name} into an empty environment")
            (scratch / file.name).mkdir()
            package.install_and_try(tagged, file.resolve(), version, scratch / file.name)

        with ThreadPoolExecutor() as pool:
            list(pool.map(install, files))
        updates.check_updates(root, version, scratch, lambda what: _say(f"Update {what}"))
    return version


def tag(root: Path) -> str:
    """Check everything, and tag the current commit; return the version."""
    version = check(root)
    git(root, "tag", "--annotate", f"v{version}", "--message", f"dagmar {version}")
    return version


def read_notes(root: Path) -> str:
    """Return the notes of the version that is tagged here, or of what is not released yet."""
    version = read_version(root)
    if version in tagged_here(root):
        return notes.write_notes(root, only="latest")
    return notes.write_notes(root, "" if version in released(root) else version, only="unreleased")


def _say(what: str) -> None:
    print(f"== {what}", flush=True)
