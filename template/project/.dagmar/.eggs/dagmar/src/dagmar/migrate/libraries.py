"""Rules for what only works in Jupyter: its display, ipywidgets, dagstermill and papermill.

A function or class is known by where it is imported from. `EXCHANGED` are those with an equal of
another name, `CALLS` are rules for calls: each returns the new call, or None to leave it to a hand.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence

from dagmar.migrate.draft import ADDED, Draft, span, walk
from dagmar.migrate.imports import imported
from dagmar.migrate.model import Level
from dagmar.migrate.scopes import FUNCTION, read_scopes
from dagmar.notebook.cells import dotted, literal

EXCHANGED = {
    "IPython.display.display": "display",
    "IPython.core.display.display": "display",
    "display": "display",
    "IPython.display.HTML": "mo.Html",
    "IPython.core.display.HTML": "mo.Html",
    "IPython.display.Markdown": "mo.md",
}
WIDGETS = {
    "IntSlider": ("slider", {"min": "start", "max": "stop"}, {"step": "1"}),
    "FloatSlider": ("slider", {"min": "start", "max": "stop"}, {"step": "0.1"}),
    "IntRangeSlider": ("range_slider", {"min": "start", "max": "stop"}, {}),
    "Dropdown": ("dropdown", {"options": "options"}, {}),
    "RadioButtons": ("radio", {"options": "options"}, {}),
    "SelectMultiple": ("multiselect", {"options": "options"}, {}),
    "Text": ("text", {"placeholder": "placeholder"}, {}),
    "Textarea": ("text_area", {"placeholder": "placeholder"}, {}),
    "Checkbox": ("checkbox", {}, {}),
    "IntText": ("number", {}, {}),
    "FloatText": ("number", {}, {}),
    "DatePicker": ("date", {}, {}),
}
"""Widgets with an equal in `mo.ui`: its name, other arguments by their new names, defaults."""
BY_HAND = {
    "ipywidgets": "Use mo.ui: a cell that reads `.value` runs again if somebody changes it.",
    "dagstermill": "Return or yield it from the function of the asset or op.",
    "papermill": "Run the converted notebook with `invoke export --notebook … --param NAME=VALUE`.",
    "scrapbook": "Use pair.report for numbers and texts; save others as the value of an asset.",
}
STYLE = {"style", "rc", "rcParams", "cm", "ion", "set_cmap"}
"""What is called of pyplot without drawing."""
GONE = ("dagstermill", "scrapbook")
"""Packages that are not imported anymore if nothing of them is left."""
Rule = Callable[[ast.Call, bool], "str | None"]


def convert_libraries(drafts: Sequence[Draft], paired: bool) -> None:
    """Replace what only works in Jupyter, in all cells of code."""
    codes = [draft for draft in drafts if not draft.is_text]
    trees = [draft.parse() for draft in codes]
    aliases = _aliases(trees)
    for draft, tree in zip(codes, trees, strict=True):
        _convert(draft, tree, aliases, paired)
    _imports(codes, aliases)


def show_figures(drafts: Sequence[Draft]) -> None:
    """Show the figures of a cell whose last expression does not, as Jupyter did at its end."""
    codes = [draft for draft in drafts if not draft.is_text]
    trees = [draft.parse() for draft in codes]
    plots = {n for n, origin in _aliases(trees).items() if origin == "matplotlib.pyplot"}
    for draft, tree in zip(codes, trees, strict=True):
        parts = [part for part in tree.body if not isinstance(part, (*FUNCTION, ast.ClassDef))]
        nodes = [node for part in parts for node in ast.walk(part)]
        calls = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
        names = [call.split(".") for call in calls]
        drawn = [first for first, *rest in names if first in plots and not {*rest} & STYLE]
        ends_with_value = any(isinstance(node, ast.Expr) for node in tree.body[-1:])
        is_shown = ends_with_value and not draft.code.rstrip().endswith(";")
        if drawn and not is_shown and not any(call.endswith((".show", ".close")) for call in calls):
            draft.lines.append(f"{drawn[0]}.show()")
            draft.origins.append(ADDED)


def _aliases(trees: Iterable[ast.Module]) -> dict[str, str]:
    """Return for each imported name where it is from; `display` is there without an import."""
    aliases = {"display": "display"}
    for node in (node for tree in trees for node in ast.walk(tree)):
        aliases |= imported(node)
    return aliases


def _origin(node: ast.expr, aliases: Mapping[str, str]) -> str:
    """Return where an expression is from, such as `papermill.record`, or an empty text."""
    name, dot, rest = dotted(node).partition(".")
    return f"{aliases[name]}{dot}{rest}" if name in aliases else ""


def _convert(draft: Draft, tree: ast.Module, aliases: Mapping[str, str], paired: bool) -> None:
    edits: list[tuple[ast.expr, str, str]] = []
    bound = read_scopes(draft.code).bound() if "display" in draft.code else set()
    for node in walk(tree):
        if isinstance(node, ast.Call) and (name := _origin(node.func, aliases)):
            package, _, function = name.partition(".")
            rule = _rule(package, function)
            if new := rule(node, paired) if rule else None:
                edits.append((node, new, name))
                draft.needs |= {"run_context"} & {new.partition("(")[0]}
            elif package in BY_HAND and (rule or package in ("dagstermill", "ipywidgets")):
                message = f"{name} has no equal that is certain to mean the same"
                if package == "ipywidgets" and function[:1].islower():
                    message = f"{name} calls a function on each change"
                draft.remark(node.lineno - 1, "by hand", package, message, BY_HAND[package])
            elif name.endswith("get_ipython"):
                message = f"`{ast.unparse(node)}` is of Jupyter's kernel"
                draft.remark(node.lineno - 1, "by hand", "undefined", message, "Remove its use.")
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
            name = _origin(node, aliases)
            if name in EXCHANGED and not (name == "display" and name in bound):
                edits.append((node, EXCHANGED[name], name))
                draft.needs |= {"display"} & {EXCHANGED[name]}
    shows = any(new == "display" for _, new, _ in edits)
    edits.sort(key=lambda edit: (edit[0].lineno, edit[0].col_offset), reverse=True)
    for node, new, name in edits:
        message = f"`{name}` is `{new.partition('(')[0]}`"
        draft.exchange(node, new, name.partition(".")[0], message)
    if shows:
        _show_last(draft)


def _show_last(draft: Draft) -> None:
    """Show the last expression as well: marimo shows it alone, without what `display` showed."""
    body = draft.parse().body
    last = body[-1]
    if not isinstance(last, ast.Expr) or draft.code.rstrip().endswith(";"):
        return
    if isinstance(last.value, ast.Call) and ast.unparse(last.value.func) in ("display", "print"):
        return
    draft.wrap(last, "display")
    start, end = span(last)
    draft.remark(start, "converted", "display", "is shown by `display` as well", last=end)


def _rule(package: str, function: str) -> Rule | None:
    if package == "ipywidgets":
        return _widget(function) if function in WIDGETS else None
    return CALLS.get(f"{package}.{function}")


def _widget(function: str) -> Rule:
    name, others, defaults = WIDGETS[function]
    known = {"value": "value", "description": "label", **others}

    def rule(call: ast.Call, paired: bool) -> str | None:
        del paired
        given = {keyword.arg or "": keyword.value for keyword in call.keywords}
        if call.args or not given.keys() <= known.keys() | {"step"}:
            return None
        if name.endswith("slider") and not {"min", "max"} <= given.keys():
            return None  # the defaults of the two differ
        texts = {known.get(key, key): ast.unparse(value) for key, value in given.items()}
        texts = {**defaults, **texts}
        return f"mo.ui.{name}({', '.join(f'{key}={text}' for key, text in texts.items())})"

    return rule


def _reported(call: ast.Call, paired: bool) -> str | None:
    """Convert `record("rows", n)` and `glue("rows", n)`."""
    if not paired or len(call.args) != 2 or call.keywords:
        return None
    name = literal(call.args[0])
    if not name or not name.isidentifier() or isinstance(call.args[1], ast.Starred):
        return None
    return f"pair.report({name}={ast.unparse(call.args[1])})"


def _context(call: ast.Call, paired: bool) -> str | None:
    """Convert `get_context(op_config={…})` to what it gives in Jupyter."""
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if call.args or not given.keys() <= {"op_config", "solid_config"}:
        return None
    config = next(iter(given.values()), "{}")
    partition = ", partition_key=pair.partition_key()" if paired else ""
    return f"run_context({config}{partition})"


def _event(call: ast.Call, paired: bool) -> str | None:
    """Convert an event whose metadata are written out to numbers that an export records."""
    event = call.args[0] if call.args else None
    if not paired or not isinstance(event, ast.Call):
        return None
    metadata = next((k.value for k in event.keywords if k.arg == "metadata"), None)
    if not isinstance(metadata, ast.Dict) or not metadata.keys:
        return None
    names = [literal(key) if key else None for key in metadata.keys]
    if not all(name and name.isidentifier() for name in names):
        return None
    values = zip(names, metadata.values, strict=True)
    return f"pair.report({', '.join(f'{name}={ast.unparse(value)}' for name, value in values)})"


CALLS: dict[str, Rule] = {
    "IPython.display.clear_output": lambda *_: "mo.output.clear()",
    "papermill.record": _reported,
    "papermill.execute_notebook": lambda *_: None,
    "scrapbook.glue": _reported,
    "dagstermill.get_context": _context,
    "dagstermill.yield_event": _event,
    "dagstermill.yield_result": lambda *_: None,
}


def _imports(drafts: Sequence[Draft], aliases: Mapping[str, str]) -> None:
    """Leave out imports of what is not used anymore."""
    scopes = [read_scopes(draft.code) for draft in drafts]
    used = {use.name for each in scopes for use in each.uses if not use.stores}

    def is_gone(alias: ast.alias) -> bool:
        name = alias.asname or alias.name.partition(".")[0]
        origin = aliases.get(name, "")
        package = origin.partition(".")[0]
        return origin in EXCHANGED or (name not in used and (package in GONE or origin in CALLS))

    for draft, each in zip(drafts, scopes, strict=True):
        for node in reversed([statement.node for statement in each.statements]):
            if isinstance(node, ast.Global) and node.lineno == node.end_lineno:
                message = "says nothing outside of a function"
                draft.remark(node.lineno - 1, "dropped", "global", message)
                line = draft.lines[node.lineno - 1]
                draft.lines[node.lineno - 1] = line.replace(ast.unparse(node), "pass")
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            if not any(map(is_gone, node.names)):
                continue
            first, last = span(node)
            before, after = draft.around(node)
            node.names = [alias for alias in node.names if not is_gone(alias)]
            rest = "pass" if (before + after).strip() else ""
            new = before + (ast.unparse(node) if node.names else rest) + after
            level: Level = "converted" if new else "dropped"
            draft.remark(first, level, "import", "is not needed anymore", last=last)
            draft.replace(first, last, [new] if new else [])


def unlike_marimo(drafts: Sequence[Draft]) -> None:
    """Remark what marimo refuses or does not see: a widget's value at once, `globals()`."""
    for draft in (draft for draft in drafts if not draft.is_text):
        tree = draft.parse()
        widgets: set[str] = set()
        for statement in tree.body:
            for node in walk(statement):
                if not isinstance(node, (ast.Attribute, ast.Call)) or not draft.lines:
                    continue
                line = node.lineno - 1
                if isinstance(node, ast.Attribute):
                    if node.attr == "value" and ast.unparse(node.value) in widgets:
                        message = f"reads `{ast.unparse(node)}` in the cell that creates the widget"
                        todo = "Move it to a cell below: marimo refuses it here."
                        draft.remark(line, "by hand", "ipywidgets", message, todo)
                elif ast.unparse(node) in ("globals()", "locals()", "vars()"):
                    message = f"marimo does not see which variables `{ast.unparse(node)}` gives"
                    draft.remark(line, "by hand", "globals", message, "Use the variables by name.")
            if isinstance(statement, ast.Assign) and "mo.ui." in ast.unparse(statement.value):
                widgets |= {ast.unparse(target) for target in statement.targets}
