"""The wheel and the source distribution have what git has, and work alone."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from dagmar.errors import SetupError
from support.git import git
from support.template_releases import ROOT

from release import package
from release.version import read_version

pytestmark = pytest.mark.skipif(not shutil.which("uv"), reason="uv is not installed")
VERSION = read_version(ROOT)


@pytest.fixture(scope="module")
def clone(make_clone: Callable[[str], Path]) -> Path:
    """A clone whose commit has the tag of its version."""
    path = make_clone("https://example.com/dagmar")
    git(path, "tag", "-a", f"v{VERSION}", "-m", "x")
    return path


@pytest.fixture(scope="module")
def built(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Its package."""
    return package.build(clone, tmp_path_factory.mktemp("dist"))


def test_both_have_what_git_has(clone: Path, built: list[Path]) -> None:
    package.inspect(clone, built, VERSION)


def test_another_version_is_refused(clone: Path, built: list[Path]) -> None:
    with pytest.raises(SetupError, match=r"of 9\.9\.9 were expected"):
        package.inspect(clone, built, "9.9.9")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dagmar/secret.env", "dagmar/secret.env is not in git"),
        ("dagmar/errors.py", r"other bytes than git in \['dagmar/errors.py'\]"),
        ("", r"dagmar/.* is not in dagmar-.*whl"),
    ],
    ids=["more", "changed", "less"],
)
def test_a_wheel_that_differs_from_git_is_refused(
    clone: Path, built: list[Path], tmp_path: Path, name: str, says: str
) -> None:
    wheel, source = built
    spoilt = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as before, zipfile.ZipFile(spoilt, "w") as after:
        kept = [entry for entry in before.namelist() if entry != name][not name :]
        for entry in kept:
            after.writestr(entry, before.read(entry))
        if name:
            after.writestr(name, "x")
    with pytest.raises(SetupError, match=says):
        package.inspect(clone, [spoilt, source], VERSION)


def test_a_source_distribution_that_differs_from_git_is_refused(
    clone: Path, built: list[Path], tmp_path: Path
) -> None:
    wheel, source = built
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / source.name.removesuffix(".tar.gz")
    (folder / "notes.txt").write_text("x")
    spoilt = tmp_path / source.name
    with tarfile.open(spoilt, "w:gz") as archive:
        archive.add(folder, folder.name)
    with pytest.raises(SetupError, match=r"notes\.txt is not in git"):
        package.inspect(clone, [wheel, spoilt], VERSION)


@pytest.mark.parametrize(
    "kind", [".whl", pytest.param(".gz", marks=pytest.mark.nightly)], ids=["wheel", "source"]
)
def test_each_works_in_an_empty_environment(
    clone: Path, built: list[Path], tmp_path: Path, kind: str
) -> None:
    (file,) = (file for file in built if file.suffix == kind)
    package.install_and_try(clone, file, VERSION, tmp_path)


def test_a_distribution_that_does_not_start_is_refused(
    clone: Path, built: list[Path], tmp_path: Path
) -> None:
    spoilt = tmp_path / built[0].name
    with zipfile.ZipFile(built[0]) as before, zipfile.ZipFile(spoilt, "w") as after:
        for entry in before.namelist():
            text = b"raise SystemExit(1)\n" if entry == "dagmar/__main__.py" else before.read(entry)
            after.writestr(entry, text)
    (tmp_path / "scratch").mkdir()
    with pytest.raises(SetupError, match="dagmar --help` ended with 1"):
        package.install_and_try(clone, spoilt, VERSION, tmp_path / "scratch")
