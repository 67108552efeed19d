"""The wheel and the source distribution: built, compared with git, installed and tried."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

from dagmar.errors import SetupError

from release.version import RUNNER, git, run

PARTS = ("copier.yml", "hooks", "template")
"""What the template is."""
DEFINITIONS = "import dagster as dg\n\n\n@dg.asset\ndef orders(): ...\n"
PROJECT = """\
[project]
name = "shop"
version = "1"
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "shop"
"""


def build(root: Path, folder: Path) -> list[Path]:
    """Build the source distribution, and the wheel from it; return both."""
    run(["uv", "build", "--quiet", "--out-dir", str(folder), str(root / RUNNER)], root)
    return sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")])


def inspect(root: Path, files: list[Path], version: str) -> None:
    """Raise SetupError unless both have the version, what git has, and valid metadata."""
    names = sorted(file.name for file in files)
    if names != [f"dagmar-{version}-py3-none-any.whl", f"dagmar-{version}.tar.gz"]:
        raise SetupError(f"a wheel and a source distribution of {version} were expected: {names}")
    for file in files:
        packed, tracked = _content(file), _tracked(root, file)
        for name in packed.keys() ^ tracked.keys():
            raise SetupError(f"{name} is not in {'git' if name in packed else file.name}")
        if changed := [name for name in packed if packed[name] != tracked[name]]:
            raise SetupError(f"{file.name} has other bytes than git in {changed}")
    run([_program("twine"), "check", "--strict", *map(str, files)], root)
    wheels = [str(file) for file in files if file.suffix == ".whl"]
    # The template has the modules a second time, in folders whose names Copier renders.
    run([_program("check-wheel-contents"), "--ignore", "W002,W004", *wheels], root)


def _content(file: Path) -> dict[str, bytes]:
    """Return the files of a distribution, without what its format adds."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            names = [name for name in wheel.namelist() if ".dist-info/" not in name]
            return {name: wheel.read(name) for name in names}
    found = {}
    with tarfile.open(file) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            if member.isfile() and name not in ("PKG-INFO", ".gitignore"):
                content = archive.extractfile(member)
                assert content
                found[name] = content.read()
    return found


def _tracked(root: Path, file: Path) -> dict[str, bytes]:
    """Return what a distribution has to contain: the runner, and the template inside of it."""
    wheel = file.suffix == ".whl"
    names = [name for name in git(root, "ls-files", "-z", "--", *PARTS).split("\0") if name]
    top = "" if wheel else "src/"
    found = {f"{top}dagmar/_template/{name}": root / name for name in names}
    for name in names:
        inside = name.removeprefix(f"{RUNNER}/")
        if inside == name:
            continue
        if wheel and inside.startswith("src/"):
            found[inside.removeprefix("src/")] = root / name
        elif not wheel and "__pycache__" not in inside:
            found[inside] = root / name
    return {name: path.read_bytes() for name, path in found.items()}


def install_and_try(root: Path, file: Path, version: str, scratch: Path) -> None:
    """Install a distribution into an empty environment, adopt a project, and scaffold from it.

    Raises SetupError if a command fails, or does not say what it should.
    """
    run(["uv", "venv", "--quiet", "--python", sys.executable, str(scratch / "venv")], root)
    python, program = (str(scratch / "venv/bin" / name) for name in ("python", "dagmar"))
    run(["uv", "pip", "install", "--quiet", "--python", python, f"dagmar[cli] @ {file.as_uri()}"],
        root)  # fmt: skip
    _expect("add dagmar to the one in PATH", run([program, "--help"], scratch))
    _expect(version, run([program, "--version"], scratch))
    shop = scratch / "shop"
    for name, text in {
        "pyproject.toml": PROJECT,
        "src/shop/__init__.py": "",
        "src/shop/definitions.py": DEFINITIONS,
    }.items():
        (shop / name).parent.mkdir(parents=True, exist_ok=True)
        (shop / name).write_text(text, "utf-8")
    run([program, "init", "--defaults", "--from", str(root), "."], shop)
    _expect(f"_commit: v{version}\n", (shop / ".copier-answers.yml").read_text("utf-8"))
    # Nobody listens there: what the assets are comes from the definitions.
    (shop / "dagmar.yaml").write_text("targets: {local: {url: 'http://127.0.0.1:9'}}\n")
    environ = {"PYTHONPATH": str(shop / "src")}
    run([program, "scaffold", "--asset", "orders"], shop, environ)
    _expect('dagmar.Pair(asset="orders")', (shop / "notebooks/orders.py").read_text("utf-8"))


def _expect(words: str, said: str) -> None:
    if words not in said:
        raise SetupError(f"{words!r} was expected in:\n{said}")


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
