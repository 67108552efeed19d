"""What a run is launched with, chosen on the page: partition, run config, tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagmar.errors import DagmarError, Invalid, Unreachable
from dagmar.pair import drawing
from dagmar.pair.context import Context

if TYPE_CHECKING:
    import marimo as mo

    from dagmar.server.client import DagsterClient

CONFIG = "config"
TAGS = "tags"
DIMENSION = "dimension_"
MANY_KEYS = 20


@dataclass(frozen=True)
class Chosen:
    """What the controls say."""

    partition: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Offer:
    """What can be chosen: partition keys by dimension, and the config's defaults."""

    dimensions: Mapping[str, list[str]]
    config: Mapping[str, Any]


def read_offer(context: Context, client: DagsterClient) -> Offer:
    """Ask the server what can be chosen. Raises Invalid for an unknown asset or job."""
    from dagmar.server import paired
    from dagmar.server.launch import Launch
    from dagmar.server.launchable import locate_job
    from dagmar.server.partitions import of_job

    if context.asset:
        asset = paired.read_asset(client, context.asset)
        if not asset["materializable"]:
            raise Invalid(
                f"the asset '{context.asset}' cannot be materialized: Dagster only observes it"
            )
        launch = Launch(asset["location"], asset["repository"], asset["job"], (context.asset,))
        dimensions = paired.read_dimensions(client, context.asset)
    else:
        launch = locate_job(client, context.job)
        dimensions = of_job(client, launch).dimensions if launch.partition_set else {}
        if dimensions:
            # Each partition brings its own config; what is typed is merged over it.
            return Offer(dimensions, {})
    return Offer(dimensions, paired.read_default_config(client, launch))


def draw_controls(context: Context, shown: Callable[[], str | None] = lambda: None) -> mo.ui.batch:
    """Return the controls as one UI element, whose value `read_chosen` understands.

    `shown` tells which partition the notebook shows, if any: the one that is chosen first.
    Without a server they are a remark, and their value is empty.
    """
    import marimo as mo

    try:
        with context.client() as client:
            offer = read_offer(context, client)
    except Unreachable as error:
        return _element(drawing.no_server(error, "what can be chosen for a run"), {})
    except DagmarError as error:
        return _element(drawing.refusal(error), {})
    first = _first_choice(offer.dimensions, shown)
    elements: dict[str, Any] = {}
    rows = []
    for number, (name, keys) in enumerate(sorted(offer.dimensions.items())):
        if not keys:
            return _element(
                drawing.note(
                    f"{context.what} has no partitions yet", "Add one in the Dagster UI first."
                ),
                {},
            )
        elements[f"{DIMENSION}{number}"] = mo.ui.dropdown(
            options=keys,
            value=first.get(name, keys[-1]),
            allow_select_none=False,
            searchable=len(keys) > MANY_KEYS,
        )
        label = "partition" if len(offer.dimensions) == 1 else name
        rows.append((f"{label} ({len(keys)})", f"\0{DIMENSION}{number}\0"))
    elements[CONFIG] = mo.ui.code_editor(
        value=_as_yaml(offer.config),
        language="yaml",
        placeholder="ops: {...}",
        min_height=40,
        show_copy_button=False,
        debounce=True,
    )
    elements[TAGS] = mo.ui.text(placeholder="key=value, key=value", full_width=True)
    rows += [("run config (YAML)", f"\0{CONFIG}\0"), ("tags", f"\0{TAGS}\0")]
    return _element(drawing.box(drawing.facts(rows)), elements)


def _first_choice(
    dimensions: Mapping[str, list[str]], shown: Callable[[], str | None]
) -> dict[str, str]:
    """Return the key of each dimension of the partition shown; empty where it is not offered."""
    if not dimensions:
        return {}
    try:
        key = shown() or ""
    except DagmarError:
        return {}  # the inputs cell says why
    names = sorted(dimensions)
    parts = key.split("|") if len(names) > 1 else [key]
    if len(parts) != len(names):
        return {}
    # The server may be another than the one that the values come from.
    first = dict(zip(names, parts, strict=True))
    return first if all(part in dimensions[name] for name, part in first.items()) else {}


def _element(html: str, elements: dict[str, Any]) -> mo.ui.batch:
    """Return one element of all; `html` marks the place of each by its name between NULs."""
    import marimo as mo

    # marimo formats the text: braces that come from Dagster must stay what they are.
    template = html.replace("{", "{{").replace("}", "}}")
    for name in elements:
        template = template.replace(f"\0{name}\0", f"{{{name}}}")
    return mo.ui.batch(mo.Html(template), elements)


def _as_yaml(config: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(config), sort_keys=False) if config else ""


def read_chosen(value: Mapping[str, Any] | None) -> Chosen:
    """Return what the controls' value says.

    Raises Invalid or UsageError, which name the field.
    """
    from dagmar.flags import parse_pairs
    from dagmar.server.runconfig import parse_yaml

    value = value or {}
    parts = [value[name] for name in sorted(value) if name.startswith(DIMENSION)]
    config = parse_yaml(value.get(CONFIG) or "", "run config")
    if config is not None and not isinstance(config, dict):
        raise Invalid("run config: this is no mapping", "Run config starts with `ops:`.")
    texts = filter(None, map(str.strip, (value.get(TAGS) or "").split(",")))
    tags = parse_pairs("the field 'tags'", texts, "tier=gold, team=data")
    return Chosen("|".join(parts) or None, config or {}, {key: tag.strip() for key, tag in tags})
