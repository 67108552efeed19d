"""Pages to browse: one for each notebook with its exports, and one that lists the notebooks.

`link_reports` puts links to them on the assets of definitions.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from dagmar.export import manifests
from dagmar.export.folders import locked, place_of, writable
from dagmar.export.manifests import Manifest
from dagmar.files import encodable, temporary_of, write_atomically

if TYPE_CHECKING:
    from dagster import AssetSpec, Definitions
    from jinja2 import Template

NAME = "index.html"
HALF_WRITTEN = temporary_of(NAME)
WRONG_SELECTION = ("DagsterError", "CheckError")
LINK = "reports"
"""The metadata of an asset that links to the page of its notebook's exports."""


def write(exports: Path, name: str) -> None:
    """Write the page of one notebook's exports, and the page of the folder."""
    with locked(exports), writable(exports):
        # The lock is held, so these are left over from processes that died.
        for file in (*exports.glob(f".{NAME}.*"), *(exports / name).glob(f".{NAME}.*")):
            if HALF_WRITTEN.fullmatch(file.name) and file.is_file() and not file.is_symlink():
                file.unlink()
        for page, text in pages(exports, name).items():
            write_atomically(exports / page, text)


def pages(exports: Any, name: str) -> dict[str, str]:
    """Return both pages, by their path in the exports folder, which is a Path or a UPath."""
    newest = {}
    for folder in sorted(exports.iterdir(), key=lambda folder: str(folder.name)):
        if not folder.name.startswith((".", "_")) and folder.name != NAME and folder.is_dir():
            exported = (manifest for _, manifest in manifests.read_all(folder))
            if manifest := next((each for each in exported if each.whole), None):
                newest[folder.name] = manifest
    pages = {NAME: _render(title="Reports", notebooks=newest)}
    known = [manifest for _, manifest in manifests.read_all(exports / name)]
    if whole := [manifest for manifest in known if manifest.whole]:
        incomplete = [each.id for each in known if each.status == manifests.UPLOADING]
        title = whole[0].title or name
        pages[f"{name}/{NAME}"] = _render(title=title, exports=whole, incomplete=incomplete)
    return pages


def _render(**values: Any) -> str:
    page: str = _template().render(**values, details=_details) + "\n"
    return encodable(page)


@functools.cache
def _template() -> Template:
    from jinja2 import Template

    template: Template = Template(
        Path(__file__).with_name(NAME).read_text("utf-8"), autoescape=True
    )
    return template


def _details(manifest: Manifest) -> Iterator[str]:
    """Yield what an export was created with, and what it reported."""
    yield from (f"{key} = {value}" for key, value in manifest.parameters.items())
    yield from (f"{key}: {value}" for key, value in manifest.reported.items())
    if manifest.partition:
        yield f"partition {manifest.partition}"
    if manifest.error:
        yield ": ".join(filter(None, [manifest.error.place, manifest.error.text]))[:200]


@overload
def link_reports(definitions: Definitions, root: str | Path = "") -> Definitions: ...
@overload
def link_reports(
    definitions: Callable[..., Definitions], root: str | Path = ""
) -> Callable[..., Definitions]: ...
def link_reports(
    definitions: Definitions | Callable[..., Definitions], root: str | Path = ""
) -> Definitions | Callable[..., Definitions]:
    """Return `definitions` with a link on each asset that a notebook is paired with.

    A function with Dagster's decorator `definitions` is given back as such a function.

    It leads to the page that lists the notebook's exports, under `export.public_url` of
    dagmar.yaml, or on the server of a running `invoke dev`; without either nothing is added.
    `root` is the project, by default that of the caller's file.
    Raises SettingsError for a dagmar.yaml that is not valid.

    For example, at the end of definitions.py: `defs = dagmar.link_reports(defs)`
    """
    import dagster as dg

    from dagmar.asset_key import AssetKey
    from dagmar.notebook.pairing import read_pairings
    from dagmar.orchestration.internals import internal
    from dagmar.project.layout import find_root, folder_of
    from dagmar.project.settings import load

    start = Path(root) if root else folder_of(sys._getframe(1).f_globals.get("__file__"))
    if not isinstance(definitions, dg.Definitions):
        made = definitions

        @dg.definitions
        def later() -> dg.Definitions:
            return link_reports(made(), start)

        return later
    settings = load(find_root(start.resolve()))
    base = str(settings.export.get("public_url") or settings.reports_url).rstrip("/")
    if not base:
        return definitions
    paired = read_pairings(settings.root, settings.notebooks)

    def page_of(paths: Sequence[str]) -> str:
        return f"{base}/{place_of(settings, (settings.root / paths[0]).resolve()).name}/{NAME}"

    pages = {key: page_of(paths) for key, paths in paired.assets.items()}

    def linked(spec: AssetSpec, page: str = "") -> AssetSpec:
        page = pages.get(AssetKey.from_parts(spec.key.path)) or page
        if not page:
            return spec
        return spec.merge_attributes(metadata={LINK: dg.MetadataValue.url(page)})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster calls it a preview
        for expression, paths in paired.selections.items():
            link = functools.partial(linked, page=page_of(paths))
            # `invoke check` reports a selection that is wrong; the definitions still load.
            with contextlib.suppress(NotImplementedError, *map(internal, WRONG_SELECTION)):
                selection = dg.AssetSelection.from_string(expression)
                definitions = definitions.map_resolved_asset_specs(func=link, selection=selection)
        return definitions.map_resolved_asset_specs(func=linked)
