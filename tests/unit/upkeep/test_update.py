"""`look` and `update` in this process, with real git, Copier and a template of a few files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from dagmar.errors import Conflict, DagmarError, Invalid, SetupError, UsageError
from dagmar.project.layout import UPDATE_ANSWERS
from dagmar.upkeep.update import Update, look, update
from support.git import commit, git

ANSWERS = ".copier-answers.yml"
COMMITTED = "# Written by Copier.\n"
TEMPLATE = {
    "copier.yml": """\
_min_copier_version: "9.19.0"
_subdirectory: "{{ 'notebook' if kind == 'notebook' else 'project' }}"
kind: {type: str, default: project}
runner: {type: str, default: copy, when: "{{ kind != 'notebook' }}"}
notebooks: {type: yaml, default: "[]", when: "{{ kind != 'project' }}"}
""",
    "answers.j2": """\
{%- set place = origin | default(_copier_answers._src_path) -%}
# Written by Copier.
{{ dict(_src_path=place, _commit=_copier_answers._commit, notebooks=[nb]) | to_nice_yaml -}}
""",
    "project/{{ _copier_conf.answers_file }}.jinja": """\
# Written by Copier.
{{ _copier_answers | to_nice_yaml -}}
""",
    "project/{% if kind == 'everything' %}.copier-answers.yml{% endif %}.jinja": """\
{%- set answers = dict(_copier_answers, kind='project', _src_path=origin) -%}
{%- set _ = answers.pop('notebooks', none) -%}
# Written by Copier.
{{ answers | to_nice_yaml -}}
""",
    "project/README.md": "v1.0.0\n\n\nlast\n",
    "project/.gitignore": ".dagmar/cache\n.dagmar/tmp\n",
    "project/{% if runner == 'copy' %}.dagmar{% endif %}/.eggs/dagmar/a.py": "",
    "project/{% if runner == 'copy' %}.dagmar{% endif %}/.eggs/dagmar/b.py": "",
}
for _kind in ("project", "notebook"):
    for _name, _text in (
        ("{{ pathjoin('.dagmar', 'notebooks', nb.name) }}.yml", "{%- include 'answers.j2' -%}"),
        ("{{ pathjoin(nb.folder | default('notebooks'), nb.name) }}.py", "# v1.0.0\n\n\nlast\n"),
    ):
        path = f"{_kind}/{{% yield nb from notebooks %}}{_name}{{% endyield %}}.jinja"
        TEMPLATE[path] = _text


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def release(template: Path, tag: str = "") -> None:
    """Commit the template with another text in each file; the commit is a release with a tag."""
    text = tag or "a change that is not released"
    for file in (template / "project/README.md", *template.glob("*/*.py*")):
        if file.suffix != ".j2":
            file.write_text(f"# {text}\n\n\nlast\n", "utf-8")
    commit(template)
    if tag:
        git(template, "tag", tag)


@pytest.fixture(autouse=True)
def _no_settings_of_copier(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, {"settings.yml": "{}\n"})
    monkeypatch.setenv("COPIER_SETTINGS_PATH", str(tmp_path / "settings.yml"))


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both of the following, to copy: git takes longer to make them again."""
    folder = tmp_path_factory.mktemp("made")
    write(folder / "template", TEMPLATE)
    for root in (folder / "template", folder / "shop"):
        git(folder, "init", "-q", "-b", "main", "--template=", str(root))
    commit(folder / "template")
    git(folder / "template", "tag", "v1.0.0")
    make_project(folder / "shop", folder / "template")
    return folder


@pytest.fixture
def template(_made: Path, tmp_path: Path) -> Path:
    """A template with one release, v1.0.0."""
    return Path(shutil.copytree(_made / "template", tmp_path / "template"))


@pytest.fixture
def project(_made: Path, template: Path, tmp_path: Path) -> Path:
    """A project at v1.0.0 with the notebooks `orders` and `sales`, in a repository."""
    root = Path(shutil.copytree(_made / "shop", tmp_path / "shop"))
    for file in (root / ANSWERS, *root.glob(".dagmar/notebooks/*.yml")):
        text = file.read_text("utf-8")
        file.write_text(text.replace(str(_made / "template"), str(template)), "utf-8")
    git(root, "commit", "-q", "-a", "-m", "x")
    return root


def make_project(root: Path, template: Path) -> None:
    write(root, {
        "README.md": TEMPLATE["project/README.md"],
        ".gitignore": TEMPLATE["project/.gitignore"],
        ".dagmar/.eggs/dagmar/a.py": "",
        ".dagmar/.eggs/dagmar/b.py": "",
        ANSWERS: f"{COMMITTED}_commit: v1.0.0\n_src_path: {template}\nkind: project\n"
        "runner: copy\n",
    })  # fmt: skip
    for name in ("orders", "sales"):
        notebook(root, template, name)
    commit(root)


def notebook(root: Path, template: Path, name: str, version: str = "v1.0.0", **more: str) -> None:
    """Write a notebook and its answers, as `invoke scaffold` does."""
    answers = {"_src_path": str(template), "_commit": version, "notebooks": [{"name": name} | more]}
    write(root, {
        f".dagmar/notebooks/{name}.yml": COMMITTED + yaml.safe_dump(answers, sort_keys=True),
        f"{more.get('folder', 'notebooks')}/{name}.py": f"# {version}\n\n\nlast\n",
    })  # fmt: skip


def answers(root: Path, name: str = ANSWERS) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((root / name).read_text("utf-8"))
    return read


def status(root: Path) -> list[str]:
    return git(root, "status", "--porcelain", "-uall").splitlines()


def refused(error: pytest.ExceptionInfo[Any]) -> tuple[str, str, str]:
    """Return what an error says, and what to type."""
    shown = error.value
    assert isinstance(shown, DagmarError)
    return shown.message, shown.hint, shown.command


@pytest.fixture
def merges(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Copier was called with, and the answers that it found, instead of a merge."""
    calls: list[dict[str, Any]] = []

    def run_update(root: Path, answers_file: Path, **options: Any) -> None:
        calls.append({"root": root, "answers": answers(root, str(answers_file)), **options})

    monkeypatch.setattr(copier, "run_update", run_update)
    return calls


def test_a_project_on_the_newest_version_has_nothing_to_do(project: Path) -> None:
    plan = look(project)
    assert plan == Update("v1.0.0", "v1.0.0", "copy", "", ["orders", "sales"])
    assert not plan.available
    assert not update(project).merged
    assert status(project) == []


def test_a_newer_version_is_merged_into_the_project_and_its_notebooks(
    project: Path, template: Path
) -> None:
    write(project, {"notebooks/orders.py": "# v1.0.0\n\n\nmine\n"})
    commit(project)
    release(template, "v1.1.0")
    assert look(project) == Update("v1.0.0", "v1.1.0", "copy", "", ["orders", "sales"])
    assert status(project) == []
    plan = update(project)
    assert plan.as_document() == {
        "current": "v1.0.0",
        "latest": "v1.1.0",
        "available": True,
        "runner": "copy",
        "move": "",
        "notebooks": ["orders", "sales"],
        "later": [],
        "changed": [
            ANSWERS,
            ".dagmar/notebooks/orders.yml",
            ".dagmar/notebooks/sales.yml",
            "README.md",
            "notebooks/orders.py",
            "notebooks/sales.py",
        ],
        "conflicts": [],
    }
    plan.raise_for_status()
    assert (project / "README.md").read_text() == "# v1.1.0\n\n\nlast\n"
    assert (project / "notebooks/orders.py").read_text() == "# v1.1.0\n\n\nmine\n"
    for name in (ANSWERS, ".dagmar/notebooks/orders.yml"):
        assert (answers(project, name)["_commit"]) == "v1.1.0"
        assert (answers(project, name)["_src_path"]) == str(template)
    assert not (project / UPDATE_ANSWERS).exists()


def test_conflicts_and_changes_are_named_from_the_project_in_a_folder_of_a_repository(
    project: Path, template: Path, tmp_path: Path
) -> None:
    root = tmp_path / "mono/etl"
    root.parent.mkdir()
    (project / ".git").rename(root.parent / ".git")
    project.rename(root)
    write(root, {"README.md": "mine\n\n\nlast\n"})
    commit(root.parent)
    write(root, {"new.txt": ""})
    write(root.parent, {"above.txt": ""})
    with pytest.raises(Conflict, match=r"there are uncommitted changes: \.\./above.txt, new.txt"):
        update(root)
    commit(root.parent)
    release(template, "v1.1.0")
    plan = update(root)
    assert plan.conflicts == ["README.md"]
    assert plan.changed == [
        ANSWERS,
        ".dagmar/notebooks/orders.yml",
        ".dagmar/notebooks/sales.yml",
        "README.md",
        "notebooks/orders.py",
        "notebooks/sales.py",
    ]
    assert "<<<<<<< before updating\nmine\n" in (root / "README.md").read_text()
    with pytest.raises(Conflict) as error:
        update(root)
    assert refused(error) == (
        "these files have conflicts: README.md",
        "Edit them, then type:",
        "git add -A && git commit",
    )


def test_a_relative_path_is_enough(
    project: Path,
    template: Path,
    merges: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release(template, "v1.1.0")
    monkeypatch.chdir(project.parent)
    assert look(Path("shop")).available
    assert update(Path("shop")).merged
    assert [merge["root"] for merge in merges] == [project]


def test_copier_is_asked_for_everything_once_and_asks_nothing(
    project: Path, template: Path, merges: list[dict[str, Any]]
) -> None:
    release(template, "v1.1.0")
    plan = update(project)
    (clone,) = (project / ".dagmar/cache").glob("template-*.git")
    assert merges == [
        {
            "root": project,
            "answers": {
                "kind": "everything",
                "runner": "copy",
                "notebooks": [{"name": "orders"}, {"name": "sales"}],
                "origin": str(template),
                "_src_path": str(clone),
                "_commit": "v1.0.0",
            },
            "data": {},
            "vcs_ref": "v1.1.0",
            "defaults": True,
            "overwrite": True,
            "quiet": True,
            "unsafe": True,
        }
    ]
    assert plan.merged


def test_notebooks_behind_are_brought_to_the_projects_version_first(
    project: Path, template: Path, merges: list[dict[str, Any]]
) -> None:
    for version in ("v1.1.0", "v1.2.0", "v1.3.0"):
        release(template, version)
    notebook(project, template, "older", "v1.1.0")
    notebook(project, template, "present", "v1.2.0")
    set_version(project, "v1.2.0")
    commit(project)
    assert look(project).behind == ["older", "orders", "sales"]
    plan = update(project, runner="package")
    (merge,) = merges
    assert (merge["vcs_ref"], merge["data"]) == ("v1.2.0", {})
    (clone,) = (project / ".dagmar/cache").glob("template-*.git")
    assert merge["answers"] == {
        "kind": "notebook",
        "notebooks": [{"name": "older"}],
        "origin": str(template),
        "_src_path": str(clone),
        "_commit": "v1.1.0",
    }
    assert (plan.notebooks, plan.later) == (["older"], ["orders", "sales", "everything to v1.3.0"])
    assert update(project, to="v1.2.0", runner="package").later == [
        "orders",
        "sales",
        "the runner",
    ]
    assert update(project, to="v1.2.0").later == ["orders", "sales"]


def test_a_notebook_of_a_version_that_the_template_lacks_is_named(
    project: Path, template: Path, merges: list[dict[str, Any]]
) -> None:
    release(template, "v1.1.0")
    notebook(project, template, "from_a_branch", "v9.9.9")
    commit(project)
    with pytest.raises(SetupError) as error:
        update(project)
    message, hint, command = refused(error)
    assert message == (
        f"the template at {template} has no version v9.9.9, which the notebook from_a_branch was "
        "generated from"
    )
    assert ".dagmar/notebooks/from_a_branch.yml" in hint
    assert command == "invoke update --from URL"
    assert merges == []
    assert status(project) == []


def set_version(root: Path, version: str) -> None:
    text = (root / ANSWERS).read_text("utf-8")
    write(root, {ANSWERS: text.replace("_commit: v1.0.0", f"_commit: {version}")})


def test_notebooks_behind_are_merged_alone(project: Path, template: Path) -> None:
    release(template, "v1.1.0")
    set_version(project, "v1.1.0")
    notebook(project, template, "sales", "v1.1.0")
    commit(project)
    plan = update(project)
    assert plan.changed == [".dagmar/notebooks/orders.yml", "notebooks/orders.py"]
    assert (plan.notebooks, plan.later) == (["orders"], [])
    assert (project / "notebooks/orders.py").read_text() == "# v1.1.0\n\n\nlast\n"
    assert answers(project, ".dagmar/notebooks/orders.yml")["_commit"] == "v1.1.0"


@pytest.mark.parametrize(
    ("runner", "move", "data"),
    [
        ("package", "package", {"runner": "package"}),
        ("copy", "", None),
        ("", "", None),
    ],
)
def test_another_runner_is_something_to_do(
    project: Path, merges: list[dict[str, Any]], runner: str, move: str, data: object
) -> None:
    plan = update(project, runner=runner)
    assert (plan.runner, plan.move, plan.available) == ("copy", move, bool(move))
    assert [merge["data"] for merge in merges] == ([data] if data else [])


def test_a_project_with_the_package_can_get_a_copy(project: Path) -> None:
    text = (project / ANSWERS).read_text("utf-8")
    write(project, {ANSWERS: text.replace("runner: copy", "runner: package")})
    plan = look(project, runner="copy")
    assert (plan.runner, plan.move, plan.available) == ("package", "copy", True)
    assert not look(project, runner="package").available


def test_a_runner_that_does_not_exist_is_wrong_usage(project: Path) -> None:
    with pytest.raises(UsageError) as error:
        look(project, runner="wheel")
    assert refused(error) == (
        "--runner 'wheel': it is a copy or a package",
        "Give --runner copy or package.",
        "",
    )


def test_a_template_without_versions_cannot_update(project: Path, template: Path) -> None:
    write(project, {ANSWERS: f"_src_path: {template}\n"})
    with pytest.raises(SetupError) as error:
        look(project)
    assert refused(error) == (
        "the template was copied from a folder that is not in git, so it has no versions",
        f"Clone its repository, and set _src_path and _commit in {ANSWERS}.",
        "",
    )


def test_the_newest_version_is_the_highest_release(project: Path, template: Path) -> None:
    for tag in ("v1.10.0", "v1.9.0", "nightly", "v2.0.0rc1"):
        release(template, tag)
    assert look(project).latest == "v1.10.0"


def test_a_project_from_a_later_commit_is_not_taken_back(project: Path, template: Path) -> None:
    release(template)
    later = git(template, "describe", "--tags").strip()
    assert later.startswith("v1.0.0-1-g")
    set_version(project, later)
    assert look(project).latest == later
    release(template, "v1.1.0")
    assert look(project).latest == "v1.1.0"


def test_without_a_release_the_last_commit_counts(project: Path, template: Path) -> None:
    git(template, "tag", "-d", "v1.0.0")
    first = git(template, "rev-parse", "--short", "HEAD").strip()
    set_version(project, first)
    for name in ("orders", "sales"):
        notebook(project, template, name, first)
    assert look(project).latest == first
    release(template)
    assert look(project).latest == git(template, "rev-parse", "--short", "HEAD").strip()
    git(template, "tag", "v2.0.0rc1")  # a tag, but not a release
    release(template)
    assert look(project).latest == git(template, "describe", "--tags").strip()


def test_a_version_can_be_a_tag_a_branch_or_a_commit(project: Path, template: Path) -> None:
    release(template, "v1.1.0")
    git(template, "tag", "the-same")
    first = git(template, "rev-parse", "v1.0.0").strip()
    release(template)
    for to, version in {
        "v1.1.0": "v1.1.0",
        "the-same": "the-same",
        first: "v1.0.0",
        "main": git(template, "describe", "--tags", "main").strip(),
    }.items():
        assert look(project, to).latest == version, to


def test_an_unknown_version_is_refused_with_the_newest_ones(project: Path, template: Path) -> None:
    for number in range(1, 7):
        release(template, f"v1.{number}.0")
    with pytest.raises(Invalid) as error:
        look(project, "v1.60.0")
    assert refused(error) == (
        "the template has no version 'v1.60.0' — did you mean 'v1.6.0'?",
        "The newest versions: v1.2.0, v1.3.0, v1.4.0, v1.5.0, v1.6.0.",
        "",
    )
    with pytest.raises(Invalid, match="has no version '--all'"):
        look(project, "--all")


def test_an_unknown_version_of_a_template_without_tags_is_refused(
    project: Path, template: Path
) -> None:
    git(template, "tag", "-d", "v1.0.0")
    set_version(project, git(template, "rev-parse", "HEAD").strip())
    with pytest.raises(Invalid) as error:
        look(project, "v1.0.0")
    assert refused(error) == (
        "the template has no version 'v1.0.0'",
        "The newest versions: none.",
        "",
    )


def test_only_notebooks_that_exist_and_have_a_version_count(project: Path, template: Path) -> None:
    (project / "notebooks/sales.py").unlink()
    notebook(project, template, "elsewhere", folder="reports/weekly")
    notebook(project, template, "moved", folder="reports")
    (project / "reports/moved.py").rename(project / "notebooks/moved.py")
    notebook(project, template, "copied")
    place = f"_src_path: {template}\n"
    write(project, {
        ".dagmar/notebooks/copied.yml": f"{place}notebooks: [{{name: copied}}]\n",
        ".dagmar/notebooks/empty.yml": f"{place}_commit: v1.0.0\nnotebooks: []\n",
        ".dagmar/notebooks/without.yml": f"{place}_commit: v1.0.0\n",
        ".dagmar/notebooks/README.md": "not answers\n",
    })  # fmt: skip
    assert look(project).notebooks == ["elsewhere", "orders"]


@pytest.mark.parametrize("listed", ["3", "[3]", "[{asset: x}]"])
def test_answers_that_do_not_name_notebooks_are_refused(
    project: Path, template: Path, listed: str
) -> None:
    text = f"_src_path: {template}\n_commit: v1.0.0\nnotebooks: {listed}\n"
    write(project, {".dagmar/notebooks/orders.yml": text})
    with pytest.raises(Invalid) as error:
        look(project)
    assert refused(error) == (
        "orders.yml does not say which notebooks it is about",
        "",
        "git checkout -- .dagmar/notebooks/orders.yml",
    )


def test_another_place_of_the_template_is_remembered_in_all_answers(
    project: Path, template: Path
) -> None:
    elsewhere = Path(shutil.move(template, template.parent / "elsewhere"))
    notebook(project, elsewhere, "present")
    commit(project)
    assert look(project, place=str(elsewhere)).latest == "v1.0.0"
    assert status(project) == []
    plan = update(project, place=str(elsewhere))
    names = [ANSWERS, ".dagmar/notebooks/orders.yml", ".dagmar/notebooks/sales.yml"]
    assert (plan.merged, plan.changed, plan.conflicts) == (False, names, [])
    assert {answers(project, name)["_src_path"] for name in names} == {str(elsewhere)}


def test_an_update_from_another_place_is_not_a_conflict_in_the_answers(
    project: Path, template: Path
) -> None:
    release(template, "v1.1.0")
    elsewhere = Path(shutil.move(template, template.parent / "elsewhere"))
    plan = update(project, place=f"file://{elsewhere}")
    assert (plan.merged, plan.conflicts) == (True, [])
    for name in (ANSWERS, ".dagmar/notebooks/orders.yml", ".dagmar/notebooks/sales.yml"):
        assert answers(project, name)["_src_path"] == f"file://{elsewhere}"
        assert answers(project, name)["_commit"] == "v1.1.0"


def test_without_git_there_is_no_update(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(project / ".git")
    with pytest.raises(SetupError) as error:
        update(project)
    assert refused(error) == (
        "the project is not in git, which an update needs",
        "",
        'git init && git add . && git commit -m "chore: start"',
    )
    monkeypatch.setenv("PATH", str(project))
    with pytest.raises(SetupError) as error:
        update(project)
    assert refused(error) == ("git was not found", "Install git.", "")


def test_changes_that_are_not_committed_are_listed(project: Path) -> None:
    write(project, {"README.md": "mine\n", "a.txt": "", "b.txt": "", "c.txt": ""})
    with pytest.raises(Conflict) as error:
        update(project)
    assert refused(error) == (
        "there are uncommitted changes: README.md, a.txt, b.txt and 1 more",
        "Commit them first, or stash them:",
        "git stash --include-untracked",
    )


def test_an_interrupted_update_leaves_its_answers_and_the_next_one_knows(
    project: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(template, "v1.1.0")

    def interrupted(root: Path, **_: Any) -> None:
        write(root, {"README.md": "half\n"})
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(copier, "run_update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            update(project)
    with pytest.raises(Conflict) as error:
        update(project)
    assert refused(error) == (
        "an update was interrupted, and there are uncommitted changes: README.md",
        "If only the update made them, go back to the last commit, and try again:",
        "git reset --hard && git clean -d --interactive",
    )
    git(project, "reset", "-q", "--hard")
    monkeypatch.setattr(copier, "run_update", lambda *_, **__: None)
    assert update(project).merged
    assert not (project / UPDATE_ANSWERS).exists()


def test_what_copier_refuses_leaves_nothing(project: Path, template: Path) -> None:
    release(template, "v1.1.0")
    set_version(project, "v1.1.0")
    for name in ("orders", "sales"):
        notebook(project, template, name, "v1.1.0")
    commit(project)
    with pytest.raises(Conflict, match=r"downgrade|Downgrade"):
        update(project, to="v1.0.0")
    assert status(project) == []
    assert not (project / UPDATE_ANSWERS).exists()


def test_text_in_answers_reaches_copier_as_it_is(
    project: Path, template: Path, merges: list[dict[str, Any]]
) -> None:
    notebook(project, template, "orders", title="größer: {{ 7 }} 😀\n")
    commit(project)
    release(template, "v1.1.0")
    update(project)
    (merge,) = merges
    entry = {"name": "orders", "title": "größer: {{ 7 }} 😀\n"}
    assert merge["answers"]["notebooks"] == [entry, {"name": "sales"}]


def test_conflicts_are_an_error_at_the_end() -> None:
    plan = Update("v1", "v2", conflicts=["README.md", "a.py"])
    with pytest.raises(Conflict) as error:
        plan.raise_for_status()
    assert refused(error) == (
        "these files have conflicts, marked in them:\n  README.md\n  a.py",
        "Edit them, then `git add . && git commit`. "
        "Or go back: `git reset --hard && git clean -d --interactive`.",
        "",
    )


EGGS = ".dagmar/.eggs/dagmar"


@pytest.mark.parametrize(
    ("plan", "printed", "said"),
    [
        (Update("v1", "v1"), "", "Everything is on v1, the newest version.\n"),
        (
            Update("v1", "v1", changed=[ANSWERS]),
            "",
            "Everything is on v1, the newest version.\n"
            "The place of the template was written into the answers. Commit them.\n",
        ),
        (Update("v1", "v2"), "v1 → v2\n", "Type: invoke update\n"),
        (
            Update("v1", "v1", behind=["a", "b"]),
            "the project is on v1; these notebooks are behind: a, b\n",
            "Type: invoke update\n",
        ),
        (
            Update("v1", "v2", "copy", "package"),
            "v1 → v2\nrunner: copy → package\n",
            "Type: invoke update --runner package\n",
        ),
        (
            Update("v1", "v2", merged=True, changed=["a", f"{EGGS}/b"]),
            f"a\n{EGGS}/b\n",
            "Merged. Look at it with `git diff HEAD`, then commit.\n",
        ),
        (
            Update("v1", "v2", merged=True, changed=["a"], conflicts=["a"]),
            "a\n",
            "",
        ),
        (
            Update(
                "v1", "v1", move="package", merged=True, changed=[f"{EGGS}/b", f"{EGGS}/c", "d"]
            ),
            "d\n.dagmar/.eggs/  (2 files)\n",
            "Merged. Look at it with `git diff HEAD`, then commit.\n",
        ),
        (
            Update("v1", "v2", behind=["a"], merged=True, later=["b", "everything to v2"]),
            "",
            "Merged. Look at it with `git diff HEAD`, then commit.\n"
            "Notebooks were updated to v1, the project's version. Left: b, everything to v2. "
            "Commit, then type again: invoke update\n",
        ),
    ],
)
def test_what_is_shown(
    plan: Update,
    printed: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("UV", "PDM_RUN_CWD", "PIPENV_ACTIVE", "PIXI_PROJECT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    plan.show()
    assert tuple(capsys.readouterr()) == (printed, said)
