"""What protects this repository and its projects: workflows, audits, and the search for secrets."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.git import git
from support.http_server import document, serve
from support.template_releases import ROOT, Project, Template, tree, write

OURS, THEIRS = ROOT / ".github", ROOT / "template/project/.github"
PAGE = ROOT / "docs/explanation/supply-chain.md"
PINNED = re.compile(r"uses: ([\w./-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+$")
NEW = (".github/dependabot.yml", ".github/workflows/security.yml", ".pre-commit-config.yaml")
AGENTS = "AGENTS.md.jinja"
# In parts: a search for secrets finds this file, too.
KEY = "AKIA" + "Z7QXV3LMN4PRSTWY"
CHECKS = {
    "Binary-Artifacts", "Branch-Protection", "CI-Tests", "CII-Best-Practices", "Code-Review",
    "Contributors", "Dangerous-Workflow", "Dependency-Update-Tool", "Fuzzing", "License",
    "Maintained", "Packaging", "Pinned-Dependencies", "SAST", "SBOM", "Security-Policy",
    "Signed-Releases", "Token-Permissions", "Vulnerabilities", "Webhooks",
}  # fmt: skip

Result = subprocess.CompletedProcess[str]

both = pytest.mark.parametrize("folder", [OURS, THEIRS], ids=["ours", "theirs"])


def workflows(folder: Path) -> dict[str, dict[str, Any]]:
    # BaseLoader: `on` is a word there, as it is for GitHub.
    files = sorted((folder / "workflows").glob("*.yml"))
    assert files
    return {file.name: yaml.load(file.read_text("utf-8"), yaml.BaseLoader) for file in files}  # noqa: S506


def pins(folder: Path) -> dict[str, str]:
    """Return the actions that are used, each with its hash."""
    found = {}
    for file in (folder / "workflows").glob("*.yml"):
        for line in file.read_text("utf-8").splitlines():
            if "uses:" in line:
                pinned = PINNED.search(line)
                assert pinned, f"{file.name}: pin it by hash, with its version: {line.strip()}"
                found[pinned[1]] = pinned[2]
    return found


def step(folder: Path, words: str) -> str:
    """Return the command of a workflow that has these words in it."""
    steps = [
        step["run"]
        for workflow in workflows(folder).values()
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if words in step.get("run", "")
    ]
    (command,) = set(steps)
    return str(command)


def zizmor(folder: Path, place: Path, program: Sequence[str] = (), **environ: str) -> Result:
    """Run the command of the workflow `security.yml` in a place, with another program or not."""
    command = [*program, *shlex.split(step(folder, "zizmor"))[2 if program else 0 :]]
    kept = {name: text for name, text in os.environ.items() if not name.startswith("UV_PYTHON")}
    return subprocess.run(
        command, cwd=place, env=kept | environ, capture_output=True, text=True, timeout=300
    )


@both
@pytest.mark.skipif(not shutil.which("uvx"), reason="needs uv")
def test_zizmor_finds_nothing_in_the_workflows(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / ".github")
    inside = tmp_path / THEIRS.relative_to(ROOT)
    if folder == OURS:
        shutil.copytree(THEIRS, inside)
    done = zizmor(folder, tmp_path, ZIZMOR_OFFLINE="true")
    assert done.returncode == 0, done.stdout
    assert done.stdout == "No findings to report. Good job!\n"  # none is ignored either
    # What is wrong in the template is found as well.
    for file in ((inside if folder == OURS else tmp_path / ".github") / "workflows").glob("*.yml"):
        text = file.read_text("utf-8").replace("persist-credentials: false", "fetch-depth: 1")
        file.write_text(text.replace("pull_request:", "pull_request_target:"), "utf-8")
    found = zizmor(folder, tmp_path, ZIZMOR_OFFLINE="true")
    assert found.returncode
    assert {"artipacked", "dangerous-triggers"} <= set(re.findall(r"\[([a-z-]+)\]", found.stdout))


@both
@pytest.mark.skipif(sys.version_info < (3, 11), reason="zizmor needs Python 3.11")
def test_zizmor_asks_github_each_week_with_the_token_of_its_job(
    folder: Path, tmp_path: Path
) -> None:
    workflow = workflows(folder)["security.yml"]
    job = workflow["jobs"]["workflows"]
    assert "if" not in job
    assert "permissions" not in job
    assert {"pull_request", "schedule"} <= {*workflow["on"]}
    assert job["steps"][-1]["env"] == {"GH_TOKEN": "${{ github.token }}"}
    wanted = re.search(r"zizmor==([\d.]+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert wanted
    assert job["steps"][-1]["run"].startswith(f"uvx zizmor@{wanted[1]} ")
    for name in (".github", "template/project/.github"):
        shutil.copytree(folder, tmp_path / name)
    own = [str(Path(sys.executable).parent / "zizmor")]
    # Nobody listens there: it does not pass without GitHub.
    done = zizmor(folder, tmp_path, own, GH_TOKEN="x", HTTPS_PROXY="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "https://github.com/actions/" in done.stderr


@both
def test_workflows_may_only_read_and_end_in_time(folder: Path) -> None:
    for name, workflow in workflows(folder).items():
        assert workflow["permissions"] in ({"contents": "read"}, {}), name
        assert not {"pull_request_target", "workflow_run"} & {*workflow["on"]}, name
        for job in workflow["jobs"].values():
            assert int(job["timeout-minutes"]) > 0, name


def test_both_use_the_same_actions_as_the_pages() -> None:
    ours, theirs = pins(OURS), pins(THEIRS)
    assert theirs.items() <= ours.items()
    texts = [page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md")]
    lines = [line for text in texts for line in text.splitlines() if "- uses: " in line]
    shown = [PINNED.search(line) for line in lines]
    assert shown
    assert [line for line, found in zip(lines, shown, strict=True) if not found] == []
    assert {found[1]: found[2] for found in shown if found}.items() <= ours.items()


@both
def test_dependabot_looks_at_everything_that_is_pinned(folder: Path) -> None:
    config = yaml.safe_load((folder / "dependabot.yml").read_text("utf-8"))
    places = {
        (update["package-ecosystem"], place)
        for update in config["updates"]
        for place in update.get("directories", [update.get("directory")])
    }
    wanted = {("github-actions", "/"), ("uv", "/")}
    if folder == OURS:
        wanted |= {
            ("pip", "/.ci"),
            ("github-actions", "/template/project/.github/workflows"),
            ("uv", "/template/project/.dagmar/.eggs/dagmar"),
        }
    assert places == wanted
    assert all((ROOT / place.lstrip("/")).is_dir() for _, place in places)
    assert all(update["cooldown"]["default-days"] >= 7 for update in config["updates"])


def test_ci_finds_a_secret_that_is_committed_here(tmp_path: Path) -> None:
    text = (ROOT / ".ci/run").read_text("utf-8").replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if "detect-secrets-hook" in line]
    command = line.partition(' >"$secrets"')[0].replace("uv run ", "")
    scripts = str(Path(sys.executable).parent)
    environ = {**os.environ, "PATH": scripts + os.pathsep + os.environ["PATH"]}

    def search() -> subprocess.CompletedProcess[str]:
        git(tmp_path, "add", "-A")
        return subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environ, capture_output=True, text=True
        )

    git(tmp_path, "init", "-q")
    write(tmp_path, {"client.py": 'password = "s3cret-of-a-test"\n'})
    assert search().returncode == 0
    write(tmp_path, {"client.py": f'region = "eu"\nkey = "{KEY}"\n'})
    found = search()
    assert found.returncode
    assert "client.py:2" in found.stdout
    assert KEY not in found.stdout


@pytest.mark.skipif(not shutil.which("uvx"), reason="needs uv")
def test_a_project_finds_a_secret_before_it_is_committed_and_in_ci(project: Project) -> None:
    search = shlex.split(step(THEIRS, "detect-secrets"))
    assert re.fullmatch(r"pre-commit@\d[\d.]+", search[1])
    # Without a name, CI runs each hook.
    in_ci = [*search[:-1], "--show-diff-on-failure"]
    assert in_ci == shlex.split(step(THEIRS, "--show-diff-on-failure"))
    weekly = workflows(THEIRS)["security.yml"]
    assert "schedule" in weekly["on"]
    assert weekly["jobs"]["secrets"]["if"] == "github.event_name == 'schedule'"

    def run() -> subprocess.CompletedProcess[str]:
        git(project.path, "add", "-A")
        return subprocess.run(search, cwd=project.path, capture_output=True, text=True)

    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    write(project.path, {"src/my_project/client.py": f'key = "{KEY}"\n'})
    found = run()
    assert found.returncode == 1, found.stdout + found.stderr
    assert "src/my_project/client.py:1" in found.stdout
    assert KEY not in found.stdout
    write(
        project.path, {"src/my_project/client.py": f'key = "{KEY}"  # pragma: allowlist secret\n'}
    )
    assert run().returncode == 0


@both
@pytest.mark.skipif(not shutil.which("uv"), reason="needs uv")
def test_the_audit_fails_for_an_advisory_and_only_then(folder: Path, tmp_path: Path) -> None:
    """The database of advisories is a stand-in: a real one changes every day."""
    command = step(folder, "uv audit")
    project = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.10"\n'
    write(tmp_path, {"pyproject.toml": project + 'dependencies = ["packaging==24.0"]\n'})
    advisory = {
        "id": "PYSEC-2099-1", "modified": "2099-01-01T00:00:00Z", "summary": "reads too much",
        "affected": [{"package": {"name": "packaging", "ecosystem": "PyPI"}}],
    }  # fmt: skip
    for answers, status in (
        ([document({"results": [{}]})], 0),
        ([document({"results": [{"vulns": [advisory]}]}), document(advisory)], 1),
    ):
        with serve(*answers) as osv:
            done = subprocess.run(
                [*shlex.split(command), "--service-url", f"{osv.url}/"],
                cwd=tmp_path, capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == status, done.stdout + done.stderr
            assert b'"packaging"' in osv.seen[0].body
    assert "PYSEC-2099-1" in done.stdout + done.stderr


def earlier(template: Template) -> None:
    """Make the template what it was before it had these files."""
    for name in (*NEW[:2], AGENTS):
        (template.path / "template/project" / name).unlink()
    template.release(
        "v1.1.0",
        {"template/project/pyproject.toml.jinja": ('"I", "S", "UP"', '"I", "UP"')},
        {"template/project/.pre-commit-config.yaml": "repos: []\n"},
    )


def later(template: Template, files: dict[str, bytes]) -> None:
    edits = {"template/project/pyproject.toml.jinja": ('"I", "UP"', '"I", "S", "UP"')}
    written = {f"template/project/{name}": files[name].decode() for name in (*NEW, AGENTS)}
    template.release("v1.2.0", edits, written)


def test_an_update_brings_them_to_a_project_that_has_none(
    template: Template, tmp_path: Path
) -> None:
    files = tree(template.path / "template/project")
    earlier(template)
    project = template.project(tmp_path / "my-project")
    assert not (project.path / NEW[0]).exists()
    later(template, files)
    project.update()
    template.copy(tmp_path / "fresh/my-project")
    assert tree(project.path) == tree(tmp_path / "fresh/my-project")
    assert '"I", "S", "UP"' in project.read("pyproject.toml")


@pytest.mark.nightly
def test_a_file_that_somebody_wrote_is_a_conflict_and_both_are_kept(
    template: Template, tmp_path: Path
) -> None:
    files = tree(template.path / "template/project")
    earlier(template)
    project = template.project(tmp_path / "my-project")
    added = sorted([NEW[0], AGENTS.removesuffix(".jinja")])
    mine = dict.fromkeys(added, "# mine\n")
    write(project.path, mine)
    project.commit()
    later(template, files)
    project.update()
    for name in added:
        assert project.read(name).startswith("<<<<<<< before updating\n# mine\n=======\n")
    assert files[NEW[0]].decode() in project.read(NEW[0])
    assert "uv run invoke discover --kind assets" in project.read("AGENTS.md")
    marked = git(project.path, "diff", "--name-only", "--diff-filter=U").splitlines()
    assert sorted(marked) == added


@pytest.mark.nightly
def test_an_adopted_repository_gets_none_of_them(template: Template, tmp_path: Path) -> None:
    write(tmp_path / "theirs", {"pyproject.toml": "# theirs\n", "README.md": "theirs\n"})
    project = template.project(tmp_path / "theirs")
    assert not (project.path / ".github").exists()
    assert not (project.path / ".pre-commit-config.yaml").exists()
    template.release("v1.1.0", files={"template/project/.github/workflows/more.yml": "on: push\n"})
    project.update()
    assert not (project.path / ".github").exists()


def test_the_page_has_a_row_for_each_check_of_scorecard() -> None:
    text = PAGE.read_text("utf-8")
    rows = dict(
        re.findall(r"^\| ([A-Z]\w+(?:-\w+)*) \| (.+) \|$", text.split("Scorecard\n")[1], re.M)
    )
    assert rows.keys() == CHECKS
    for check, met in rows.items():
        named = [name for name in re.findall(r"`([^`]+)`", met) if "/" in name or name.isupper()]
        assert [name for name in named if not (ROOT / name).exists()] == [], check
    assert {"pull_request", "schedule"} <= {*workflows(OURS)["security.yml"]["on"]}
    assert "pull_request" in workflows(OURS)["ci.yml"]["on"]
    assert {"github/codeql-action/analyze", "ossf/scorecard-action"} <= pins(OURS).keys()

    missed = [check for check, met in rows.items() if "not met" in met.lower()]
    assert missed == []


BARE = """\
set -euo pipefail
{install}
{unless}
command -v uv
uv --version
"""


@pytest.mark.parametrize(
    "managed", [pytest.param(False, marks=pytest.mark.nightly), True], ids=["own", "of the system"]
)
@pytest.mark.skipif(not shutil.which("uv"), reason="needs uv")
def test_a_bare_machine_gets_uv_by_its_hash(managed: bool, tmp_path: Path) -> None:
    """The Python of a system refuses an installation without a flag, as Debian's does."""
    text = (ROOT / ".ci/run").read_text("utf-8")
    install = re.search(r"^install_uv\(\) \{.+?^\}", text, re.M | re.S)
    unless = re.search(r"^if ! command -v uv .+?^fi", text, re.M | re.S)
    assert install
    assert unless
    script = BARE.format(install=install[0], unless=unless[0])
    venv, bin = tmp_path / "venv", tmp_path / "bin"
    seed = ["uv", "venv", "--quiet", "--seed", "--python", sys.executable, venv]
    subprocess.run(seed, check=True, timeout=300)
    refusal = 'case "$*" in *--break-system-packages*) ;; *"pip install"*) exit 1 ;; esac'
    lines = ["#!/bin/sh", refusal if managed else "", f'exec {venv}/bin/python "$@"', ""]
    write(bin, {"python3": "\n".join(lines)})
    (bin / "python3").chmod(0o755)
    hashes = (ROOT / ".ci/requirements.txt").read_text("utf-8")
    environ = {name: text for name, text in os.environ.items() if not name.startswith("VIRTUAL")}

    def run(requirements: str) -> subprocess.CompletedProcess[str]:
        write(tmp_path, {".ci/requirements.txt": requirements})
        return subprocess.run(
            [shutil.which("bash") or "bash", "-c", script], cwd=tmp_path,
            env={**environ, "PATH": str(bin)}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    other = run(re.sub(r"sha256:[0-9a-f]{4}", "sha256:0000", hashes))
    assert other.returncode, other.stdout
    assert "hash" in other.stderr.lower()
    done = run(hashes)
    assert done.returncode == 0, done.stderr
    version = re.search(r"^uv==(\S+)", hashes, re.M)
    assert version
    program, said = done.stdout.splitlines()
    assert program == str(venv / "bin/uv")
    assert said.startswith(f"uv {version[1]}")


def test_no_script_installs_with_pip_what_has_no_hash() -> None:
    """Scorecard reads workflows, Dockerfiles and files with a shebang of a shell."""
    texts = [
        (ROOT / name).read_text("utf-8")
        for name in filter(None, git(ROOT, "ls-files", "-z").split("\0"))
        if (ROOT / name).is_file() and (name.startswith(".ci/") or "/workflows/" in name)
    ]
    lines = [line for text in texts for line in text.replace("\\\n", " ").splitlines()]
    found = [line for line in lines if re.search(r"(?<!uv )\bpip3? install\b", line)]
    assert found
    assert [line for line in found if " --require-hashes " not in line] == []


def test_ci_ends_within_25_minutes() -> None:
    (job,) = [
        job
        for job in workflows(OURS)["ci.yml"]["jobs"].values()
        if any(step.get("run") == ".ci/run --coverage" for step in job["steps"])
    ]
    assert int(job["timeout-minutes"]) == 25


@pytest.mark.nightly
@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info < (3, 12), reason="atheris has no wheel for it"
)
@pytest.mark.skipif(not shutil.which("uv"), reason="needs uv")
def test_the_weekly_fuzz_tests_try_values_and_find_one_that_breaks(tmp_path: Path) -> None:
    command = step(OURS, "fuzz.py")
    assert "import atheris" in (ROOT / "tests/fuzz.py").read_text("utf-8")  # what Scorecard reads
    assert "schedule" in workflows(OURS)["security.yml"]["on"]
    words = shlex.split(command.replace("3.13", sys.executable))
    words[words.index("tests/fuzz.py")] = str(ROOT / "tests/fuzz.py")

    def fuzz(**environ: str) -> Result:
        environ |= {"UV_PROJECT": str(ROOT), "UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv")}
        return subprocess.run(
            [*words[:-1], "-runs=20000", "-seed=1"],
            cwd=tmp_path, env={**os.environ, **environ}, capture_output=True, text=True,
        )  # fmt: skip

    done = fuzz()
    assert done.returncode == 0, done.stderr
    assert "Done 20000 runs" in done.stderr
    fault = "from dagmar import console\nconsole.format_duration = lambda seconds: ''\n"
    write(tmp_path, {"broken/sitecustomize.py": fault})
    broken = fuzz(PYTHONPATH=str(tmp_path / "broken"))
    assert broken.returncode
    assert "AssertionError" in broken.stdout + broken.stderr
    assert list(tmp_path.glob("crash-*"))


def test_no_executable_is_in_git() -> None:
    listed = git(ROOT, "ls-files", "-z").split("\0")
    starts = {name: (ROOT / name).open("rb").read(4) for name in filter(None, listed)
              if (ROOT / name).is_file()}  # fmt: skip
    magic = (b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe", b"PK\x03\x04", b"\xcf\xfa\xed\xfe")
    assert [name for name, start in starts.items() if start.startswith(magic)] == []
