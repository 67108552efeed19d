"""What the server says about the run config of the controls, before anything is launched."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

from dagmar.errors import DagmarError, InvalidConfig, Unreachable
from dagmar.pair import drawing
from dagmar.pair.context import Context
from dagmar.pair.controls import LaunchOptions, form_of, read_options

if TYPE_CHECKING:
    from dagmar.pair.form import Form


def show(context: Context, controls: object) -> str:
    """Return what is wrong with the controls, field by field; empty if a launch would be valid.

    Nothing is launched. Controls that are a remark already say why nothing can be.
    """
    form = form_of(controls)
    if form is None:
        return ""
    try:
        options = read_options(controls)
        missing = [f"{name} is missing" for name in form.missing(options.config)]
        found = _refused(context, form, options)
    except Unreachable as error:
        text = escape(f"The run config is not validated: {error.message}.")
        return f'<div style="{drawing.SMALL}">{text}</div>'
    except DagmarError as error:  # of a field, which the message names, or of the code location
        return drawing.note(error.message, error.suggestion, "warn")
    # Dagster says it of the whole op if all of its fields are missing.
    lines = [*missing, *(line for line in found if not missing or " is missing" not in line)]
    return drawing.note("\n".join(lines), kind="warn") if lines else ""


def _refused(context: Context, form: Form, options: LaunchOptions) -> list[str]:
    """Return a line for each problem that the server has with the run config.

    Raises Unreachable, and what a launch raises for other reasons.
    """
    from dagmar.server.launch import typed, validate
    from dagmar.server.launchable import validated_backfill, with_defaults

    with context.client() as client:
        try:
            config = typed(client, form.launch, options.config)
            launch = replace(form.launch, config=config)
            # Several of an asset may be one run, whose config is that of any of them.
            if launch.partition_set and len(options.partitions) > 1:
                validated_backfill(client, launch, options.partitions)
            else:
                partition = next(iter(options.partitions), None)
                validate(client, with_defaults(client, launch, partition))
        except InvalidConfig as error:
            return [form.by_name(line) for line in error.lines]
    return []
