"""Links to reports in the definitions: they are on an asset's page before anything was attached."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import AssetSpec, Definitions

NAME = "reports"


def link_reports(definitions: Definitions, root: str | Path = "") -> Definitions:
    """Return the definitions with a link on each asset that a notebook is paired with.

    It leads to the page that lists the notebook's exports, under `export.public_url` of
    dagmar.yaml, or where a running `invoke dev` serves them; without either nothing is added.
    `root` is the project, and otherwise found from the caller's file.
    """
    import dagster as dg

    from dagmar.asset_key import AssetKey
    from dagmar.export.folders import place_of
    from dagmar.notebook.pairing import read_pairings
    from dagmar.project.layout import find_root, folder_of
    from dagmar.project.settings import load

    start = Path(root) if root else folder_of(sys._getframe(1).f_globals.get("__file__"))
    settings = load(find_root(start.resolve()))
    base = str(settings.export.get("public_url") or settings.reports_url).rstrip("/")
    if not base:
        return definitions
    paired = read_pairings(settings.root, settings.notebooks).assets
    pages = {
        key: f"{base}/{place_of(settings, (settings.root / paths[0]).resolve()).name}/index.html"
        for key, paths in paired.items()
    }

    def linked(spec: AssetSpec) -> AssetSpec:
        page = pages.get(AssetKey.from_parts(spec.key.path))
        if page is None:
            return spec
        return spec.merge_attributes(metadata={NAME: dg.MetadataValue.url(page)})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster calls it a preview
        return definitions.map_resolved_asset_specs(func=linked)
