"""Migrations: released scripts run once, in the update that crosses them, for their own kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from copier.errors import TaskError
from support.template_releases import ORDERS, Project, Template

SCRIPT = '''"""Writes down that it ran."""

from pathlib import Path

KIND = "{kind}"


def note(stage: str, root: Path, answers_file: Path) -> None:
    commit = (root / answers_file).read_text("utf-8").split("_commit: ")[1].split()[0]
    with Path({log!r}).open("a") as log:
        log.write(f"{version} {{stage}} {{commit}}\\n")


def before(root: Path, answers_file: Path) -> None:
    note("before", root, answers_file)


def after(root: Path, answers_file: Path) -> None:
    note("after", root, answers_file)
'''
RENAME = '''"""Renames a file that users edit."""

from pathlib import Path

KIND = "project"


def before(root: Path, answers_file: Path) -> None:
    if (root / "old.txt").exists():
        (root / "old.txt").rename(root / "new.txt")
'''
FAIL = '''"""Fails."""

KIND = "project"


def before(root, answers_file):
    raise RuntimeError("no such thing")
'''


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file that migrations write to."""
    (tmp_path / "log").touch()
    return tmp_path / "log"


def script(log: Path, version: str, kind: str = "project") -> dict[str, str]:
    """Lay out a migration file that writes into the log."""
    name = f"hooks/migrations/v{version.replace('.', '_')}.py"
    return {name: SCRIPT.format(kind=kind, log=str(log), version=version)}


def test_a_migration_runs_once_before_and_after_the_update_that_crosses_it(
    project: Project, log: Path
):
    project.template.release("v1.1.0", files=script(log, "1.1.0"))
    project.update()
    ran = ["1.1.0 before v1.0.0", "1.1.0 after v1.1.0"]
    assert log.read_text().splitlines() == ran
    project.commit()
    project.template.release("v1.2.0")
    project.update()
    assert log.read_text().splitlines() == ran


def test_several_run_in_the_order_of_their_versions(project: Project, log: Path):
    project.template.release("v1.9.0", files=script(log, "1.9.0"))
    project.template.release("v1.10.0", files=script(log, "1.10.0"))
    project.template.release("v1.11.0")
    project.update()
    assert [line.rsplit(" ", 1)[0] for line in log.read_text().splitlines()] == [
        "1.9.0 before",
        "1.10.0 before",
        "1.9.0 after",
        "1.10.0 after",
    ]


def test_a_copy_runs_none(project: Project, log: Path, tmp_path: Path):
    project.template.release("v1.1.0", files=script(log, "1.1.0"))
    project.template.copy(tmp_path / "other", skip_tasks=False, unsafe=True)
    assert log.read_text() == ""


@pytest.mark.parametrize(("kind", "ran"), [("project", 0), ("notebook", 2)])
def test_a_migration_runs_for_its_own_kind_only(project: Project, log: Path, kind: str, ran: int):
    project.scaffold(ORDERS)
    project.commit()
    project.template.release("v1.1.0", files=script(log, "1.1.0", kind))
    project.update(".dagmar/notebooks/orders.yml")
    assert len(log.read_text().splitlines()) == ran


@pytest.mark.nightly
def test_a_notebooks_migration_leaves_the_project_alone(project: Project, log: Path):
    project.template.release("v1.1.0", files=script(log, "1.1.0", "notebook"))
    project.update()
    assert log.read_text() == ""


def test_edits_travel_with_a_file_that_is_renamed_before(template: Template, tmp_path: Path):
    lines = [f"line {n}\n" for n in range(20)]
    template.release("v1.1.0", files={"template/project/old.txt": "".join(lines)})
    project = template.project(tmp_path / "my-project")
    project.replace("old.txt", "line 2\n", "line 2, mine\n")
    project.commit()
    project.template.release(
        "v1.2.0",
        files={
            "template/project/new.txt": "".join(lines),
            "hooks/migrations/v1_2_0.py": RENAME,
        },
        removed="template/project/old.txt",
    )
    project.update()
    assert not (project.path / "old.txt").exists()
    assert "line 2, mine\n" in project.read("new.txt")


def test_a_migration_that_fails_ends_the_update_with_its_reason(
    project: Project, capfd: pytest.CaptureFixture[str]
):
    project.template.release("v1.1.0", files={"hooks/migrations/v1_1_0.py": FAIL})
    with pytest.raises(TaskError):
        project.update()
    said = capfd.readouterr().err
    assert "Migration 1.1.0 failed before the update: RuntimeError: no such thing" in said
    assert "git reset --hard" in said
    assert "Traceback" not in said
    assert project.status() == []
