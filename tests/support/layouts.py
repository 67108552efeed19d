"""Small projects that say where their definitions are, each in another way."""

from __future__ import annotations

ASSET = """\
import dagster as dg


@dg.asset
def {name}() -> int:
    return {value}


@dg.asset
def {name}_total({name}: int) -> int:
    return {name}
"""
DEFS = ASSET + "\n\ndefs = dg.Definitions(assets=[{name}, {name}_total])\n"


def defs(name: str = "orders", value: str = "3") -> str:
    """Return a module of an asset of this value, and of another that takes it."""
    return DEFS.format(name=name, value=value)


LAYOUTS: dict[str, dict[str, str]] = {
    "dg project": {
        "pyproject.toml": '[tool.dg.project]\nroot_module = "shop"\n',
        "src/shop/definitions.py": defs(),
    },
    "dg project with another module": {
        "pyproject.toml": "[tool.dg.project]\n"
        'root_module = "shop"\ncode_location_target_module = "shop.repo"\n',
        "shop/repo.py": defs(),
    },
    "dg.toml": {
        "dg.toml": 'directory_type = "project"\n[project]\nroot_module = "shop"\n',
        "pyproject.toml": '[tool.dagster]\nmodule_name = "hidden"\n',
        "src/shop/definitions.py": defs(),
    },
    "dg workspace": {
        "dg.toml": 'directory_type = "workspace"\n'
        '[[workspace.projects]]\npath = "back"\n[[workspace.projects]]\npath = "front"\n',
        "back/pyproject.toml": '[tool.dg.project]\nroot_module = "shop"\n',
        "back/src/shop/definitions.py": defs("returns", "4"),
        "front/pyproject.toml": '[tool.dg.project]\nroot_module = "shop"\n',
        "front/src/shop/definitions.py": defs(),
    },
    "autoload_defs": {
        "pyproject.toml": '[tool.dg.project]\nroot_module = "shop"\nautoload_defs = true\n',
        "shop/__init__.py": "",
        "shop/defs/__init__.py": "",
        "shop/defs/assets.py": ASSET.format(name="orders", value="3"),
    },
    "[tool.dagster] module_name": {
        "pyproject.toml": '[tool.dagster]\nmodule_name = "shop"\n',
        "setup.py": "from setuptools import setup\n\nsetup()\n",
        "shop/__init__.py": "from shop.assets import defs\n",
        "shop/assets.py": defs(),
    },
    "[tool.dagster] modules": {
        "pyproject.toml": "[tool.dagster]\n"
        'modules = [{ type = "module", name = "back" }, { type = "module", name = "front" }]\n',
        "back.py": defs("returns", "4"),
        "front.py": defs(),
    },
    "workspace.yaml python_file": {
        "workspace.yaml": "load_from:\n- python_file: back.py\n"
        "- python_file:\n    relative_path: front/repo.py\n    working_directory: front\n"
        "    attribute: shop\n",
        "back.py": defs("returns", "4"),
        "front/helper.py": "VALUE = 3\n",
        "front/repo.py": "from helper import VALUE\n"
        + defs(value="VALUE").replace("defs =", "shop ="),
    },
    "workspace.yaml python_module": {
        "workspace.yaml": "load_from:\n- python_module: back\n"
        "- python_module: {module_name: shop, working_directory: front, location_name: the shop}\n",
        "back.py": defs("returns", "4"),
        "front/shop.py": defs(),
    },
    "workspace.yaml python_package": {
        "workspace.yaml": "load_from:\n- python_package: shop\n",
        "shop/__init__.py": defs(),
    },
    "setup.cfg": {
        "setup.cfg": "[metadata]\nname = shop\n",
        "shop/__init__.py": "",
        "shop/repository.py": "from dagster import Definitions, repository\n"
        + defs().replace("defs = dg.Definitions(assets=[orders, orders_total])", "")
        + "\n\n@repository\ndef shop():\n    return [orders, orders_total]\n",
    },
}
TWO = {name for name, files in LAYOUTS.items() if "returns" in "".join(files.values())}
"""The layouts with a second code location, which has the asset `returns`."""
NAMED = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.10"\n'
# Where nothing says where the definitions are, and `invoke` finds them.
GUESSED = {
    "setup.cfg": LAYOUTS["setup.cfg"],
    "one file": {"definitions.py": defs()},
    "one file in a package": {"pyproject.toml": NAMED, "shop/__init__.py": defs()},
    "src": {"src/shop/__init__.py": "", "src/shop/definitions.py": defs()},
    "src and a project": {
        "pyproject.toml": NAMED,
        "src/shop/__init__.py": "",
        "src/shop/definitions.py": defs(),
    },
    "two packages": {
        "back/__init__.py": "",
        "back/definitions.py": defs("returns", "4"),
        "front/__init__.py": "",
        "front/definitions.py": defs(),
    },
}
