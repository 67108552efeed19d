"""One Jupyter notebook as a marimo notebook: rules for cells, then names, then the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid
from dagmar.migrate import paths, rules
from dagmar.migrate.draft import ADDED, Draft
from dagmar.migrate.helpers import HELPERS, helper_codes, helper_name
from dagmar.migrate.imports import star_imports
from dagmar.migrate.libraries import convert_libraries, show_figures, unlike_marimo
from dagmar.migrate.magics import About, convert_magics
from dagmar.migrate.model import INJECTED, Converted, Remark, SourceCell, SourceNotebook, lost_lines
from dagmar.migrate.names import settle
from dagmar.migrate.scopes import read_scopes
from dagmar.migrate.writing import notebook_text


def convert(
    source: SourceNotebook,
    target: Path,
    asset: str,
    job: str,
    with_outputs: bool,
    root: Path,
    places: Callable[[], Mapping[str, AssetKey] | None] = lambda: None,
) -> Converted:
    """Convert a notebook of the project at `root`; nothing is written, and no line is lost.

    `places` returns the assets by what their metadata say, None if no server was asked.

    Raises Invalid if a line would be lost, which is a bug, and SetupError for a marimo that dagmar
    is not tested with.
    """
    files: dict[Path, bytes] = {}
    remarks: list[Remark] = []
    drafts: list[Draft] = []
    about = About.of(source)
    for cell in source.cells:
        if reason := _dropped(cell):
            remarks.append(Remark(cell.number, None, "dropped", *reason))
            continue
        draft = _draft(cell, target.parent, files, about)
        if with_outputs:
            rules.add_outputs(draft, cell)
        drafts.append(draft)
    reserved = {"app", "marimo", "mo", *(("dagmar", "pair") if asset or job else ())}
    convert_libraries(drafts, paired=bool(asset or job))
    folder = source.path.parent
    uses = paths.file_uses(drafts)
    handed = paths.handed_over(uses)
    remarks += paths.written_by_assets(uses, folder, root, places, bool(asset or job))
    remarks += paths.move(uses, folder, target.parent, root)
    show_figures(drafts)
    star_imports(drafts, reserved | {helper_name(name, about.known) for name in HELPERS})
    codes = [draft.code for draft in drafts if not draft.is_text]
    kept = {name for code in codes for name in read_scopes(code).bound()}
    helped = [*_helpers(drafts, about), *drafts]
    drafts, names = settle(helped, reserved)
    names = {old: new for old, new in names.items() if old in kept}
    remarks += paths.unseen(drafts, handed)
    unlike_marimo(drafts)
    remarks += [remark for draft in drafts for remark in draft.remarks]
    drafts = [draft for draft in drafts if draft.code.strip()]
    text = notebook_text(drafts, asset, job)
    if lost := lost_lines(source, text, remarks):
        first = f"cell {lost[0].cell}, line {lost[0].line}"
        message = f"{source.path.name} is not converted: {len(lost)} lines would be lost ({first})"
        raise Invalid(message, "This is a bug of dagmar. Nothing was written.")
    remarks.sort(key=lambda remark: (remark.cell, remark.line or 0))
    origins = [(), *(draft.cells for draft in drafts)]  # the first is the setup cell
    return Converted(source, target, text, remarks, origins, names, files)


def _helpers(drafts: Sequence[Draft], about: About) -> Iterator[Draft]:
    """Yield a cell for each function that the converted cells call."""
    for code in helper_codes({name for draft in drafts for name in draft.needs}, about.known):
        lines = code.split("\n")
        yield Draft(lines, [ADDED] * len(lines), ())


def _dropped(cell: SourceCell) -> tuple[str, str] | None:
    """Return the rule and the reason why a cell is not in the result."""
    if not cell.source.strip() and not cell.attachments:
        return "empty", "the cell is empty"
    if INJECTED in cell.tags:
        return INJECTED, "papermill had injected these values; give them with --param"
    return None


def _draft(cell: SourceCell, folder: Path, files: dict[Path, bytes], about: About) -> Draft:
    if cell.kind == "markdown":
        return rules.markdown(cell, folder, files)
    if cell.kind == "raw":
        return rules.raw(cell)
    cell, remarks = rules.spaces(cell)
    draft = Draft.of(cell)
    draft.remarks += remarks
    try:
        convert_magics(draft, about)
        draft.parse()
    except SyntaxError as error:
        draft = Draft.of(cell)
        draft.remarks += remarks
        reason = f"it is not valid Python: {error.msg}"
        draft.comment_out(reason, "syntax", "Write it in Python, and remove the comment.")
        return draft
    if rules.PARAMETERS in cell.tags:
        rules.parameters(draft)
    return draft
