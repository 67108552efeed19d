"""Names of notebooks: files that every file system allows, and that shadow no module."""

from __future__ import annotations

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
