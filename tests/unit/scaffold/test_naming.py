"""Names of notebooks: files that every file system allows, and that shadow no module."""

from __future__ import annotations

import keyword
from pathlib import Path

import pytest
from dagmar.errors import UsageError
from dagmar.scaffold.naming import LONGEST, Names


def test_a_long_key_gets_a_unique_name_that_file_systems_allow() -> None:
    names = [Names().of_notebook("x" * 300 + end) for end in ("/a", "/b", "/a")]
    assert names[0] == names[2] != names[1]
    assert {len(name) for name in names} == {LONGEST}
    assert [Names().check(name) for name in names] == names
    with pytest.raises(UsageError, match="at most"):
        Names().check("x" * (LONGEST + 1))


@pytest.mark.parametrize("module", ["shop/__init__.py", "shop/definitions.py", "shop.py"])
def test_a_notebook_does_not_shadow_the_projects_own_package(tmp_path: Path, module: str) -> None:
    (tmp_path / module).parent.mkdir(exist_ok=True)
    (tmp_path / module).touch()
    (tmp_path / "data").mkdir()
    names = Names(folders=[tmp_path])
    assert names.of_notebook("shop") == "shop_notebook"
    assert names.of_notebook("data") == "data"
    with pytest.raises(UsageError, match="would shadow"):
        names.check("shop")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("数据", "数据"),
        ("raw/数据-1", "raw_数据_1"),
        ("Données/Größe", "données_größe"),
        ("e\u0301t\u00e9", "été"),  # both ways to write it are one name
        ("orders²", "orders2"),  # as Python reads it
        ("𝓐ᴮ", "ab"),
        ("2024/orders", "nb_2024_orders"),
        ("٣٤", "nb_٣٤"),
        ("---", "cb3f91d5"),
        ("🚀", "ebbc0b28"),
        ("class", "class_notebook"),
        ("test", "test_notebook"),
        ("con", "con_notebook"),
        ("com1", "com1_notebook"),
    ],
)
def test_every_key_gets_the_name_of_a_module_that_is_no_other(key: str, name: str) -> None:
    names = Names()
    found = names.of_notebook(key)
    assert found == name
    assert names.check(found) == found
    (variable,) = names.of_variables([key])
    assert variable.isidentifier()
    assert not variable.startswith("_")
    assert not keyword.iskeyword(variable)


def test_a_long_key_of_another_alphabet_is_cut_by_bytes() -> None:
    name = Names().of_notebook("数据" * 200)
    assert len(name.encode()) <= LONGEST
    assert Names().check(name) == name
