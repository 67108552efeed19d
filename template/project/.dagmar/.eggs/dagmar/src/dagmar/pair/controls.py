"""What a run is launched with, chosen on the page: partition, run config, tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from dagmar import scalars
from dagmar.errors import DagmarError, Invalid
from dagmar.failure import Failure
from dagmar.pair import drawing, opened
from dagmar.pair.context import Context
from dagmar.pair.reloading import reload_older
from dagmar.pair.selection import one_run
from dagmar.project.sources import merge

if TYPE_CHECKING:
    import marimo as mo

    from dagmar.server.client import DagsterClient

CONFIG = "config"
TAGS = "tags"
DIMENSION = "dimension_"
MANY_KEYS = 20
SECRETS = "secrets stay with Dagster, and a retry has them"
CHOOSE_PARTITION = "Choose one in the controls."


@dataclass(frozen=True)
class LaunchOptions:
    """What is chosen in the controls."""

    partition: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Choices:
    """What can be chosen: partition keys by dimension, and the config's defaults."""

    dimensions: Mapping[str, list[str]]
    config: Mapping[str, Any]


def read_choices(context: Context, client: DagsterClient) -> Choices:
    """Ask the server what can be chosen. Raises Invalid for an unknown asset or job."""
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
                f"the asset '{context.asset}' cannot be materialized: Dagster only observes it"
            )
        launch = Launch(asset["location"], asset["repository"], asset["job"], (located.key,))
        dimensions = paired.read_dimensions(client, located)
    else:
        launch = locate_job(client, context.job)
        dimensions = of_job(client, launch).dimensions if launch.partition_set else {}
        if dimensions:
            # Each partition has its own config; what is typed is merged over it.
            return Choices(dimensions, {})
    return Choices(dimensions, paired.read_default_config(client, launch))


def _of_selection(context: Context, client: DagsterClient) -> Choices:
    """Return what can be chosen for all assets of the selection together.

    Raises Invalid if they are partitioned differently, or in several code locations.
    """
    from dagmar.server import paired
    from dagmar.server.launchable import Hints, find_assets

    hints = Hints("", CHOOSE_PARTITION, "")
    items = find_assets(client, list(context.selected(client)), None, hints)
    one_run(context, [item.launch for item in items])
    (item,) = items
    dimensions = item.partitions.dimensions if item.partitions else {}
    return Choices(dimensions, paired.read_default_config(client, item.launch))


def draw_controls(
    context: Context, read_shown: Callable[[], str | None] = lambda: None
) -> mo.ui.batch:
    """Return the controls as one UI element, whose value `read_options` understands.

    `read_shown` returns the partition that the notebook shows, if any: it is the default. If the
    notebook was opened with a run, the defaults are the run's values.
    Without a server they are a remark, and their value is empty.
    """
    import marimo as mo

    def remark(html: str) -> mo.ui.batch:
        return mo.ui.batch(mo.Html(_literal(html)), {})

    failures: list[Failure] = []
    try:
        with context.client() as client:
            from dagmar.server.relaunch import LaunchedWith

            failures = reload_older(context, client)
            choices = read_choices(context, client)
            run = opened.read_values(context, client) or LaunchedWith(None, {}, {})
    except DagmarError as error:
        refusal = drawing.refusal(error, "what can be chosen for a run")
        return remark(refusal + "".join(map(drawing.failure, failures)))
    defaults = _default_keys(choices.dimensions, lambda: run.partition or read_shown())
    elements: dict[str, Any] = {}
    rows = []
    for number, (name, keys) in enumerate(sorted(choices.dimensions.items())):
        if not keys:
            hint = "Add one in the Dagster UI first."
            return remark(drawing.note(f"{context.what} has no partitions yet", hint))
        elements[f"{DIMENSION}{number}"] = mo.ui.dropdown(
            options=keys,
            value=defaults.get(name, keys[-1]),
            allow_select_none=False,
            searchable=len(keys) > MANY_KEYS,
        )
        label = "partition" if len(choices.dimensions) == 1 else name
        rows.append((_literal(f"{label} ({len(keys)})"), f"{{{DIMENSION}{number}}}"))
    config = merge(choices.config, run.config)
    elements[CONFIG] = mo.ui.code_editor(
        value=scalars.dump(dict(config)) if config else "",
        language="yaml",
        placeholder="ops: {...}",
        min_height=40,
        show_copy_button=False,
        debounce=True,
    )
    tags = ", ".join(f"{key}={value}" for key, value in run.tags.items() if "," not in value)
    elements[TAGS] = mo.ui.text(tags, placeholder="key=value, key=value", full_width=True)
    rows += [("run config (YAML)", f"{{{CONFIG}}}"), ("tags", f"{{{TAGS}}}")]
    if run.secrets:
        rows.append(("left out", _literal(escape(f"{', '.join(run.secrets)}: {SECRETS}"))))
    return mo.ui.batch(mo.Html(drawing.box(drawing.facts(rows, "100%"))), elements)


def _default_keys(
    dimensions: Mapping[str, list[str]], read_shown: Callable[[], str | None]
) -> dict[str, str]:
    """Return the key of each dimension of the partition shown; empty if it cannot be chosen."""
    if not dimensions:
        return {}
    try:
        key = read_shown() or ""
    except DagmarError:
        return {}  # the inputs cell says why
    names = sorted(dimensions)
    parts = key.split("|") if len(names) > 1 else [key]
    if len(parts) != len(names):
        return {}
    keys = dict(zip(names, parts, strict=True))
    # The server may not be the one that the values come from.
    return keys if all(part in dimensions[name] for name, part in keys.items()) else {}


def _literal(text: str) -> str:
    """Return a text whose braces marimo does not fill in."""
    return text.replace("{", "{{").replace("}", "}}")


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
    parts = [value[name] for name in sorted(value) if name.startswith(DIMENSION)]
    text = value.get(CONFIG) or ""
    config = parse_config(text, "run config", "run config: this is not a mapping")
    texts = filter(None, map(str.strip, (value.get(TAGS) or "").split(",")))
    pairs = parse_pairs("the field 'tags'", texts, "tier=gold, team=data")
    tags = given_tags(((key, tag.strip()) for key, tag in pairs), CHOOSE_PARTITION)
    return LaunchOptions("|".join(parts) or None, config, tags)
