"""`invoke clean --notebooks`: only what the template would make again, byte for byte."""

from __future__ import annotations

from dagmar.upkeep import clean
from support.git import git
from support.shop_project import invoke, scaffold
from support.template_releases import Project, write


def test_unchanged_notebooks_go_with_their_answers_and_others_stay(online: Project) -> None:
    scaffold(online, "--asset", "orders", "--asset", "daily", "--asset", "grid")
    online.commit()
    own = "import marimo\n\napp = marimo.App()\n"
    write(online.path, {"notebooks/own.py": own, "notebooks/README.md": "mine\n"})
    online.replace("notebooks/daily.py", "daily", "daily ")
    (online.path / "notebooks/grid.py").unlink()
    done = invoke(online, "clean", "--notebooks", "--dry-run")
    assert done.returncode == 0, done.stderr
    listed = [line.partition("  (")[0].split()[-1] for line in done.stdout.splitlines()]
    assert listed == ["notebooks/orders.py", ".dagmar/notebooks/orders.yml"]
    assert (
        "stays: notebooks/daily.py: it or its template was changed since it was scaffolded"
        in done.stderr
    )
    assert (online.path / "notebooks/orders.py").exists()
    done = invoke(online, "clean", "--notebooks", "--yes")
    assert done.returncode == 0, done.stderr
    there = sorted(path.name for path in (online.path / "notebooks").iterdir())
    assert there == [".gitignore", "README.md", "daily.py", "own.py", "ruff.toml"]
    answers = sorted(path.name for path in (online.path / ".dagmar/notebooks").iterdir())
    assert answers == ["daily.yml", "grid.yml"]
    # What git had, it still has.
    git(online.path, "checkout", "-q", "HEAD", "--", "notebooks/orders.py")
    assert "asset=" in online.read("notebooks/orders.py")


def test_a_notebook_of_a_shape_that_is_no_more_stays(online: Project) -> None:
    scaffold(online, "--asset", "orders")
    online.replace(".dagmar/notebooks/orders.yml", "template: default", "template: older")
    done = invoke(online, "clean", "--notebooks", "--yes")
    assert done.returncode == 0, done.stderr
    assert "orders.py: cannot find out whether it was changed" in done.stderr
    assert (online.path / "notebooks/orders.py").exists()


def test_answers_that_lead_out_of_the_project_remove_nothing(online: Project) -> None:
    scaffold(online, "--asset", "orders")
    outside = online.path.parent / "orders.py"
    outside.write_text(online.read("notebooks/orders.py"))
    text = online.read(".dagmar/notebooks/orders.yml")
    for name, folder in (("above", ".."), ("absolute", str(outside.parent))):
        evil = text.replace("folder: notebooks", f"folder: {folder}")
        assert evil != text
        write(online.path, {f".dagmar/notebooks/{name}.yml": evil})
    done = invoke(online, "clean", "--notebooks", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("it names a file outside the project") == 2
    assert outside.exists()
    assert not (online.path / "notebooks/orders.py").exists()


def test_a_notebook_that_is_edited_before_the_answer_stays(online: Project) -> None:
    scaffold(online, "--asset", "orders", "--asset", "daily")
    kinds = frozenset(("notebooks",))
    plan = clean.look(online.path, kinds)
    online.replace("notebooks/daily.py", "daily", "daily ")
    clean.remove(clean.look_again(plan, kinds))
    assert [path.name for path in (online.path / "notebooks").glob("*.py")] == ["daily.py"]
    assert (online.path / ".dagmar/notebooks/daily.yml").exists()
