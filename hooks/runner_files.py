"""Updates the copied runner: the new version's files, with what the user changed in the old ones.

Copier would merge the layout of the files, too, and a file that moves is a deletion to it. So the
runner is set aside before an update, as if nobody had changed it, and the user's changes, which are
in the last commit, are merged into the new version afterwards.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from formatting import undo_formatting
from merging import change_text, mark_conflict, merge_texts, write_text
from runner import installing, layout, surveys, worktree

TEMPLATE = Path(__file__).parents[1]
SOURCES = "template/project/"
SIGN = "/src/dagmar/__init__.py"
AROUND = (".dagmar/.eggs", ".dagmar/.gitattributes")
"""What else comes with a copy of the runner, as copier.yml says."""


SCHEMA = f"$schema={layout.SCHEMA.as_posix()}"
OLD_SCHEMA = f"$schema={layout.RUNNER.as_posix()}/src/dagmar/project/settings.schema.json"
"""Where the schema was in every copy until 0.2.0, and still is."""


@dataclass(frozen=True)
class Runner:
    """The runner in one version of the template: its folder, and the blob of each file."""

    version: str
    folder: str
    blobs: Mapping[str, str]


@dataclass
class Outcome:
    """What was done with the user's changes, as names of files below the runner's folder."""

    merged: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    laid_out: int = 0


def read_runner(version: str) -> Runner | None:
    """Return the runner of a version of the template; None if that has none."""
    blobs = list_blobs(TEMPLATE, version, SOURCES)
    signs = [name for name in blobs if name.endswith(SIGN)]
    if not signs:
        return None
    folder = min(signs, key=len).removesuffix(SIGN)
    # What Copier renders is merged by Copier.
    inside = {
        name.removeprefix(f"{folder}/"): blob
        for name, blob in blobs.items()
        if name.startswith(f"{folder}/") and not name.endswith(".jinja")
    }
    return Runner(version, folder.removeprefix(SOURCES), inside)


def list_blobs(repository: Path, version: str, folder: str) -> dict[str, str]:
    """Return the files below a folder in a commit, and the blob of each."""
    done = worktree.run_git(repository, "ls-tree", "-r", "-z", version, "--", folder)
    facts = (entry.partition("\t") for entry in worktree.entries(done))
    return {name: fact.split()[2] for fact, _, name in facts}


def list_users(root: Path, old: Runner) -> dict[str, str]:
    """Return the runner's files in the user's last commit."""
    blobs = list_blobs(root, "HEAD", f"{old.folder}/")
    return {name.removeprefix(f"{old.folder}/"): blob for name, blob in blobs.items()}


def list_edits(root: Path, version: str) -> list[str]:
    """List the files in which a copy of the runner is not the old version's.

    Its layout does not matter, and a deleted file has nothing to lose.
    """
    old = read_runner(version)
    if not old:
        return []
    users, known = dict[str, str](), dict[str, str]()
    for place in (old.folder, *AROUND):
        users |= list_blobs(root, "HEAD", place)
        for name, blob in list_blobs(TEMPLATE, version, SOURCES + place).items():
            known[name.removeprefix(SOURCES).removesuffix(".jinja")] = blob  # nothing is rendered
    return sorted(
        name
        for name, blob in users.items()
        if known.get(name) != blob
        and (name not in known or not is_same(name, known[name], root, blob))
    )


def is_same(name: str, known: str, root: Path, blob: str) -> bool:
    """Whether a blob of the user means the same as one of the template."""
    before, text = (
        worktree.run_git(repository, "cat-file", "blob", identity).stdout
        for repository, identity in ((TEMPLATE, known), (root, blob))
    )
    return undo_formatting(name, before, text) == before


def set_aside(root: Path, version: str) -> None:
    """Make the runner what the old version has, or remove it if the new one has it elsewhere."""
    old, new = read_runner(version), read_runner("HEAD")
    if not old or not new or (root / old.folder).is_symlink():
        return
    users = list_users(root, old)
    if old.folder == new.folder:
        changed = [name for name, blob in old.blobs.items() if users.get(name) != blob]
        texts = read_old(old, changed)
        for name in changed:
            write_text(root / old.folder / name, texts[name])
        stage(root, (f"{old.folder}/{name}" for name in changed))
        return
    for name in users:
        place = root / old.folder / name
        if name in old.blobs:
            place.unlink(missing_ok=True)
        elif os.path.lexists(place) and not os.path.lexists(root / new.folder / name):
            (root / new.folder / name).parent.mkdir(parents=True, exist_ok=True)
            place.rename(root / new.folder / name)
    if users:
        done = worktree.run_git(root, "rm", "-r", "-q", "--cached", "--", old.folder)
        done.check_returncode()
    stage(root, (f"{new.folder}/{name}" for name in users if name not in old.blobs))
    remove_empty(root, old.folder)


def remove_rest(root: Path, version: str) -> None:
    """Remove what Copier left of a copy that was replaced with the package."""
    if old := read_runner(version):
        worktree.run_git(root, "reset", "-q", "--", old.folder)
        remove_empty(root, old.folder)
        change_text(root / layout.SETTINGS_FILE, lambda text: text.replace(OLD_SCHEMA, SCHEMA))
        say(f"{old.folder} was removed: this project depends on the package dagmar now.")


def say_what_to_install(root: Path, adopted: bool, moved: bool) -> None:
    """Say what installs the runner of this version."""
    command = installing.sync_command(root)
    if adopted:
        found = surveys.survey(root)
        steps = (installing.replace_commands if moved else installing.runner_commands)(found)
        command = " && ".join(steps)
    say(f"To install dagmar, type: {command}")


def merge_back(root: Path, version: str) -> None:
    """Merge the user's changes of the old version's runner into the new version's, and report."""
    old, new = read_runner(version), read_runner("HEAD")
    if not old or not new or (root / old.folder).is_symlink():
        return
    users = list_users(root, old)
    outcome = Outcome()
    changed = {name for name, blob in old.blobs.items() if users.get(name) != blob}
    if changed and not users.keys() & old.blobs.keys():
        shutil.rmtree(root / new.folder, ignore_errors=True)
        say(
            f"{old.folder} was deleted here, so there is no {new.folder}. "
            "To get it back: copier recopy --trust"
        )
        changed = set()
    places = find_places(old, new, changed)
    texts = read_old(old, changed)
    conflicts = {}
    for name in sorted(changed):
        place = places.get(name, "")
        file = root / new.folder / (place or name)
        if name not in users:
            if place:
                file.unlink(missing_ok=True)
                outcome.removed.append(place)
            continue
        base = texts[name]
        ours = worktree.run_git(root, "cat-file", "blob", users[name]).stdout
        kept = undo_formatting(name, base, ours)
        if kept == base:
            outcome.laid_out += 1
            continue
        theirs = read_text(file) if place and file.is_file() else None
        merged, failed = merge_texts(base, kept, theirs) if theirs is not None else (kept, True)
        write_text(file, merged)
        outcome.merged.append(place or name)
        if failed:
            conflicts[place or name] = (base, kept, theirs)
    outcome.conflicts = sorted(conflicts)
    # Nothing is staged after an update, as Copier leaves it.
    worktree.run_git(root, "reset", "-q", "--", old.folder, new.folder)
    for name, sides in conflicts.items():
        mark_conflict(root, f"{new.folder}/{name}", *sides)
    report(old, new, outcome)


def find_places(old: Runner, new: Runner, names: Iterable[str]) -> dict[str, str]:
    """Return where files of the old version are in the new one, also those that were renamed."""
    places = {name: name for name in names if name in new.blobs}
    if all(name in places for name in names):
        return places
    flags = ("-r", "-M", "-l0", "-z", "--diff-filter=R", "--name-status")
    done = worktree.run_git(TEMPLATE, "diff-tree", *flags, old.version, new.version, "--", SOURCES)
    parts = worktree.entries(done)
    for source, target in zip(parts[1::3], parts[2::3], strict=True):
        before, after = SOURCES + old.folder + "/", SOURCES + new.folder + "/"
        if source.startswith(before) and target.startswith(after):
            places.setdefault(source.removeprefix(before), target.removeprefix(after))
    return places


def read_old(old: Runner, names: Iterable[str]) -> dict[str, str]:
    """Return the texts of these files in the old version."""
    if not (wanted := set(names)):
        return {}
    with tempfile.TemporaryDirectory(prefix="dagmar-runner-") as scratch:
        archive = Path(scratch, "old.tar")
        place = f"{SOURCES}{old.folder}/"
        command = ("archive", f"--output={archive}", old.version, "--", place)
        worktree.run_git(TEMPLATE, *command).check_returncode()
        with tarfile.open(archive) as files:
            return {
                name: files.extractfile(member).read().decode("utf-8", "surrogateescape")  # type: ignore[union-attr]
                for member in files.getmembers()
                if member.isfile() and (name := member.name.removeprefix(place)) in wanted
            }


def read_text(file: Path) -> str:
    """Read a file with line ends as git stores them."""
    return file.read_text("utf-8", errors="surrogateescape")


def stage(root: Path, names: Iterable[str]) -> None:
    """Put files into git's index, also those that git ignores."""
    if text := "\0".join(sorted(names)):
        add = ("add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul")
        done = worktree.run_git(root, "--literal-pathspecs", *add, text=text)
        done.check_returncode()


def remove_empty(root: Path, folder: str) -> None:
    """Remove bytecode below a folder that moved, and what is empty then, and above it."""
    for place, _, _ in os.walk(root / folder, topdown=False):
        if Path(place).name == "__pycache__":
            shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):
            Path(place).rmdir()
    for above in Path(folder).parents[:-1]:
        with contextlib.suppress(OSError):
            (root / above).rmdir()


def report(old: Runner, new: Runner, outcome: Outcome) -> None:
    """Say on stderr what was done with the user's changes."""
    if old.folder != new.folder:
        say(
            f"The runner moved from {old.folder} to {new.folder}. To see what changed in it:\n"
            "  git add --all && git diff --cached --find-renames"
        )
    if outcome.laid_out:
        say(f"Replaced {outcome.laid_out} files of the runner in which only the layout differed.")
    kept = [name for name in outcome.merged if name not in outcome.conflicts]
    for what, names in (
        ("Your changes were merged into these files of the runner:", kept),
        ("These files of the runner stay deleted:", outcome.removed),
        ("These files of the runner have conflicts:", outcome.conflicts),
    ):
        if names:
            say("".join([what, *(f"\n  {new.folder}/{name}" for name in names)]))


def say(text: str) -> None:
    """Print on stderr, which `invoke update --json` leaves alone."""
    print(text, file=sys.stderr)
