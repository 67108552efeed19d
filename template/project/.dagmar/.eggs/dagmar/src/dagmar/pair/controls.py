"""What a run is launched with, chosen on the page: partition, run config, tags."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from dagmar import scalars
from dagmar.errors import DagmarError, Invalid
from dagmar.failure import Failure
from dagmar.pair import drawing, opened
from dagmar.pair.context import Context
from dagmar.pair.grid import Grid, selected
from dagmar.pair.reloading import reload_older
from dagmar.pair.selection import one_run
from dagmar.project.sources import merge

if TYPE_CHECKING:
    import marimo as mo

    from dagmar.pair.form import Form
    from dagmar.server.client import DagsterClient
    from dagmar.server.launch import Launch

CONFIG = "config"
FORM = "form"
TAGS = "tags"
PARTITIONS, DEFAULT = "partitions", "partition"
LEFT_OUT = "secrets stay with Dagster, and a retry has them"
CHOOSE_PARTITION = "Choose one in the controls."


@dataclass(frozen=True)
class LaunchOptions:
    """What is chosen in the controls: one run, or for several partitions a backfill."""

    partitions: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def require_one(self, doing: str) -> str | None:
        """Return the partition, None without one. Raises Invalid if there are several."""
        if len(self.partitions) > 1:
            raise Invalid(
                f"{len(self.partitions):,} partitions are selected, and {doing} takes one",
                "Select one in the controls. Launch starts a backfill of several.",
            )
        return next(iter(self.partitions), None)


@dataclass(frozen=True)
class Choices:
    """What can be chosen for a launch: partitions with states and numbers.

    `states` are None if the assets of a selection differ in them.
    """

    launch: Launch
    dimensions: Mapping[str, list[str]] = field(default_factory=dict)
    states: Mapping[str, str] | None = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


def read_choices(context: Context, client: DagsterClient, number: str = "") -> Choices:
    """Ask the server what can be chosen; `number` is a metadata number of the asset's partitions.

    Raises Invalid for an unknown asset or job.
    """
    from dagmar.server import paired
    from dagmar.server.launch import Launch
    from dagmar.server.launchable import locate_job
    from dagmar.server.partitions import of_job

    if context.select:
        return _of_selection(context, client)
    if context.asset:
        located = context.located(client)
        asset = paired.read_asset(client, located)
        if not asset["materializable"]:
            raise Invalid(
                f"the asset '{context.asset}' cannot be materialized: Dagster only observes it",
                "Pair the notebook with an asset that is materialized.",
            )
        launch = Launch(asset["location"], asset["repository"], asset["job"], (located.key,))
        if (partitions := paired.read_partitions(client, located)) is None:
            return Choices(launch)
        made = [key for key, state in partitions.states.items() if state == "materialized"]
        numbers = paired.read_numbers(client, located, number, made) if number else {}
        return Choices(launch, partitions.dimensions, partitions.states, numbers)
    launch = locate_job(client, context.job)
    if not launch.partition_set:
        return Choices(launch)
    partitions = of_job(client, launch)
    return Choices(launch, partitions.dimensions, partitions.states)


def default_config(
    client: DagsterClient, launch: Launch, keys: Sequence[str]
) -> dict[str, Any] | None:
    """Return the config that the schema and the job have by default.

    None if the partitions `keys` of a job have their own.
    """
    from dagmar.server.launchable import read_defaults
    from dagmar.server.paired import read_default_config

    if launch.assets:
        return read_default_config(client, launch)
    if launch.partition_set and _has_own_config(client, launch, keys):
        return None
    fixed = read_defaults(client, launch, None).config
    return merge(read_default_config(client, launch), fixed)


def _has_own_config(client: DagsterClient, launch: Launch, keys: Sequence[str]) -> bool:
    """Return whether the partitions of a job have their own config."""
    from dagmar.server.launchable import read_defaults

    with contextlib.suppress(Invalid):  # its code fails for this one
        return bool(keys and read_defaults(client, launch, keys[-1]).partition_config)
    return True


def _of_selection(context: Context, client: DagsterClient) -> Choices:
    """Return what can be chosen for all assets of the selection together.

    Raises Invalid if they are partitioned differently, or in several code locations.
    """
    from dagmar.server.launchable import Hints, find_assets

    hints = Hints("", CHOOSE_PARTITION, "")
    items = find_assets(client, list(context.selected(client)), None, hints)
    one_run(context, [item.launch for item in items])
    (item,) = items
    if (partitions := item.partitions) is None:
        return Choices(item.launch)
    known = bool(partitions.states) or partitions.missing == partitions.keys
    states = partitions.states if known else None
    return Choices(item.launch, partitions.dimensions, states)


def draw_controls(
    context: Context,
    read_shown: Callable[[], str | None] = lambda: None,
    grid: Grid | None = None,
    form: bool = True,
) -> mo.ui.batch:
    """Return the controls as one UI element, whose value `read_options` understands.

    `read_shown` returns the partition that the notebook shows, if any: it is the default. If the
    notebook was opened with a run, the defaults are the run's values. Partitions are drawn in
    `grid`, with its metadata number. Without `form`, all of the run config is YAML.
    Without a server they are a remark, and their value is empty.
    """
    import marimo as mo

    grid = Grid() if grid is None else grid

    def remark(html: str) -> mo.ui.batch:
        return mo.ui.batch(mo.Html(drawing.literal(html)), {})

    failures: list[Failure] = []
    try:
        with context.client() as client:
            from dagmar.pair.form import make_form
            from dagmar.server.launch import read_types
            from dagmar.server.partitions import Partitions
            from dagmar.server.relaunch import LaunchedWith

            failures = reload_older(context, client)
            choices = read_choices(context, client, grid.number)
            run = opened.read_values(context, client) or LaunchedWith(None, {}, {})
            types = read_types(client, choices.launch)
            keys = Partitions("", dict(choices.dimensions)).keys
            defaults = default_config(client, choices.launch, keys)
            drawn = make_form(choices.launch, types, defaults, run.config, form)
    except DagmarError as error:
        refusal = drawing.refusal(error, "what can be chosen for a run")
        return remark(refusal + "".join(map(drawing.failure, failures)))
    elements: dict[str, Any] = {}
    if choices.dimensions:
        if not all(choices.dimensions.values()):
            hint = "Add one in the Dagster UI first."
            return remark(drawing.note(f"{context.what} has no partitions yet", hint))
        grid.arrange(choices.dimensions, keys, _default_key(keys, run.partition, read_shown))
        grid.states, grid.numbers = choices.states, choices.numbers
        elements[PARTITIONS] = grid.table()
        # It is not shown: the legend says what it is.
        elements[DEFAULT] = mo.ui.text(grid.default)
    elements |= {name: each.element() for name, each in drawn.fields.items()}
    # Not drawn: with it, the value of the controls says what its fields are.
    elements[FORM] = mo.ui.dropdown({FORM: drawn}, FORM)
    elements[CONFIG] = mo.ui.code_editor(
        value=scalars.dump(dict(drawn.rest)) if drawn.rest else "",
        language="yaml",
        placeholder="ops: {...}",
        min_height=40,
        show_copy_button=False,
        debounce=False,
    )
    tags = ", ".join(f"{key}={value}" for key, value in run.tags.items() if "," not in value)
    elements[TAGS] = mo.ui.text(tags, placeholder="key=value, key=value", full_width=True)
    rows = [("run config (YAML)", f"{{{CONFIG}}}"), ("tags", f"{{{TAGS}}}")]
    if run.secrets:
        rows.append(("left out", drawing.literal(escape(f"{', '.join(run.secrets)}: {LEFT_OUT}"))))
    parts = [drawing.literal(grid.legend()) + f"{{{PARTITIONS}}}"] if choices.dimensions else []
    if drawn.fields:
        title = "other config (YAML), with values" if drawn.rest else "other config (YAML)"
        folded = drawing.folded(title, f"{{{CONFIG}}}")
        parts, rows = [*parts, drawn.draw(), folded], rows[1:]
    box = drawing.box(*parts, drawing.facts(rows, "100%"))
    return _without_views(mo.ui.batch(mo.Html(box), elements))


def _without_views(controls: mo.ui.batch) -> mo.ui.batch:
    """Return controls that lose no change that is made while the kernel is busy.

    A browser sends each change twice: of the element, and of the controls with all values. marimo
    takes the change of a view as one of the whole, and of all that are waiting it applies to
    the whole only one, which may be that of a single element.
    """
    for element in controls.elements.values():
        element._lens = None
    return controls


def redraw_states(context: Context, controls: mo.ui.batch, grid: Grid) -> None:
    """Show the states of the partitions as they are now; without a server they stay."""
    with contextlib.suppress(DagmarError), context.client() as client:
        choices = read_choices(context, client, grid.number)
        grid.redraw(controls, choices.states, choices.numbers)


def _default_key(
    keys: Sequence[str], of_run: str | None, read_shown: Callable[[], str | None]
) -> str:
    """Return the partition of the run, else the one shown, else the last one."""
    try:
        key = of_run or read_shown()
    except DagmarError:
        key = None  # the inputs cell says why
    # The server may not be the one that the values come from.
    return key if key and key in keys else keys[-1]


def read_options(controls: object) -> LaunchOptions:
    """Return what is chosen in the controls, or in their value.

    Raises Invalid or UsageError, which name the field.
    """
    from dagmar.flags import parse_pairs
    from dagmar.server.launch import given_tags
    from dagmar.server.runconfig import parse_config

    value = getattr(controls, "value", controls)
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise Invalid("these are not controls", "Create them with pair.controls().")
    keys = selected(value.get(PARTITIONS) or ()) or filter(None, [value.get(DEFAULT)])
    text = value.get(CONFIG) or ""
    config = parse_config(text, "run config", "run config: this is not a mapping")
    if form := form_of(value):
        config = form.config(value, config)
    texts = filter(None, map(str.strip, (value.get(TAGS) or "").split(",")))
    pairs = parse_pairs("the field 'tags'", texts, "tier=gold, team=data")
    tags = given_tags(((key, tag.strip()) for key, tag in pairs), CHOOSE_PARTITION)
    return LaunchOptions(tuple(keys), config, tags)


def form_of(controls: object) -> Form | None:
    """Return the form in controls or in their value; None if they have none."""
    value = getattr(controls, "value", controls)
    form: Form | None = value.get(FORM) if isinstance(value, dict) else None
    return form
