"""Whatever is in the files that a project is configured by: it is read, or refused by its name."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from dagmar.export import manifests
from dagmar.files import read_toml, write_atomically
from dagmar.project import devfile, settings, templates
from dagmar.project.locations import read_workspace
from dagmar.upkeep.leftovers import NOTEBOOKS, Plan, find
from hypothesis import given
from hypothesis import strategies as st
from support.refusals import refused
from support.texts import PLAIN, TEXTS, YAML

INVALID, SETUP = (7,), (3,)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "target": st.just("local") | PLAIN,
        "notebooks": PLAIN,
        "run": st.fixed_dictionaries({}, optional={"poll_seconds": PLAIN}) | PLAIN,
        "export": PLAIN,
        "targets": st.dictionaries(
            st.sampled_from(["local", "prod"]),
            st.dictionaries(
                st.sampled_from(["url", "auth", "headers", "read_timeout", "ca_file", "x"]), PLAIN
            )
            | PLAIN,
        ),
    },
).map(yaml.safe_dump)
VARIABLES = st.dictionaries(
    st.sampled_from(
        ["DAGMAR_TARGET", "DAGMAR_TARGETS__PROD__URL", "DAGMAR_RUN__POLL_SECONDS", "DAGMAR_",
         "DAGMAR_TARGETS", "DAGMAR_TARGETS__PROD__AUTH__TYPE", "dagmar_export__keep", "DAGMAR__X",
         "DAGMAR_TARGETS__PROD__HEADERS__X_Y", "DAGMAR_TARGETS__LOCAL__URL__X"]
    ),
    TEXTS | YAML,
    max_size=3,
)  # fmt: skip


def in_a_folder(files: dict[str, str | bytes], use: Callable[[Path], Any]) -> Any:
    """Call `use` with a folder that has these files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            file = Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
        return use(Path(folder))


@given(YAML | SETTINGS, VARIABLES, st.just("") | YAML | TEXTS, st.binary(max_size=5))
def test_settings_are_read_or_refused(
    text: str, environ: dict[str, str], dotenv: str, bytes: bytes
) -> None:
    files: dict[str, str | bytes] = {"dagmar.yaml": text.encode("utf-8", "replace") + bytes}
    files[".env"] = f"DAGMAR_TARGET={dotenv}" if dotenv else ""

    def use(root: Path) -> None:
        read = refused(INVALID, settings.load, root, environ, root)
        if read is not None:
            refused((2, 7), read.target)
            assert read.poll_seconds >= 0
            assert isinstance(read.notebooks, Path)
            assert isinstance(repr(read), str)

    in_a_folder(files, use)


@given(YAML | PLAIN.map(yaml.safe_dump) | st.binary())
def test_answers_of_copier_are_read_or_refused(text: str | bytes) -> None:
    files: dict[str, str | bytes] = {
        ".copier-answers.yml": text,
        ".dagmar/notebooks/x.yml": text,
        "notebooks/x.py": "",
    }

    def use(root: Path) -> None:
        answers = refused(INVALID, templates.read_answers, root / templates.ANSWERS)
        if answers is not None:
            assert isinstance(answers["_src_path"], str)
            assert templates.notebooks_in(answers) is None or "notebooks" in answers
        templates.made_from(root, "x")
        assert isinstance(templates.is_package(root), bool)
        items = list(find(Plan(root), frozenset((NOTEBOOKS,))))
        assert items == []  # an empty notebook is not one that dagmar wrote

    in_a_folder(files, use)


@given(st.text("abc/:@.-_~ é", min_size=1), st.text("abc"))
def test_another_place_of_the_template_is_the_one_in_the_answers(place: str, other: str) -> None:
    def use(root: Path) -> None:
        file = root / templates.ANSWERS
        templates.write_origin(file, place)
        answers = templates.read_answers(file)
        assert answers == {"_commit": "v1", "_src_path": place, "name": other}

    text = yaml.safe_dump({"_commit": "v1", "_src_path": "before", "name": other})
    in_a_folder({templates.ANSWERS: text}, use)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["pid", "dagster_url", "files", "id", "notebook", "error", "name"]),
            inner,
        )
    ),
    max_leaves=8,
).map(json.dumps) | st.sampled_from(["[" * 20_000, '{"pid": 1e999}', '{"pid": "1"}', "\ufeff{}"])


@given(JSON)
def test_files_of_dagmar_that_are_damaged_mean_nothing(text: str) -> None:
    def use(root: Path) -> None:
        devfile.remove(root, -1)
        assert (root / ".dagmar/tmp/dev.json").is_file()
        found = devfile.read(root)
        assert found is None or found.pid > 0

    in_a_folder({".dagmar/tmp/dev.json": text}, use)
    assert manifests.parse(text, "20260101T000000Z-00000000") is None


@given(YAML | st.text() | st.just("a = " + "[" * 20_000) | st.binary())
def test_a_workspace_and_a_pyproject_are_read_or_refused(text: str | bytes) -> None:
    def use(root: Path) -> None:
        refused(SETUP, read_toml, root / "pyproject.toml")
        refused((2, 3, 7), read_workspace, root)

    in_a_folder({"workspace.yaml": text, "pyproject.toml": text}, use)


@given(st.text(), st.text())
def test_a_file_holds_the_text_that_was_written_last(first: str, second: str) -> None:
    def use(root: Path) -> None:
        for text in (first, second):
            data = text.encode("utf-8", "replace").decode()
            write_atomically(root / "a/x", data)
            assert (root / "a/x").read_bytes() == data.encode()
        assert [path.name for path in (root / "a").iterdir()] == ["x"]

    in_a_folder({}, use)
