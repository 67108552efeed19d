"""The form for run config: an element for each value of Dagster's schema that a page can draw.

The rest (selectors, maps, lists of mappings, resources and the like) is left to YAML.
"""

from __future__ import annotations

import enum
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any

from dagmar.pair import drawing
from dagmar.project.sources import merge
from dagmar.server.configtypes import SCALARS, ConfigField, ConfigType, ConfigTypes
from dagmar.server.paired import MASK
from dagmar.server.relaunch import SECRET, without_secrets

if TYPE_CHECKING:
    import marimo as mo

    from dagmar.server.launch import Launch


class Unset(enum.Enum):
    """What a field has that has no value, which is not the value null."""

    UNSET = "unset"


UNSET: Any = Unset.UNSET
ELEMENT = "field_"
BOOLEANS = {"true": True, "false": False}
HINTS = {"Int": "whole number", "Float": "number"}
NOT_SHOWN = "a secret: not shown, and its default if empty"
MOST_ROWS = 10
FIELDS = "max-height:26em;overflow:auto"
TITLE = "margin-top:10px;font-weight:600"
STEP = 14


@dataclass(frozen=True)
class Field:
    """One value of the run config, at `path`.

    `kind` is a scalar of Dagster, or ENUM, or empty; with `many` it is a list of them. `options`
    are what can be chosen. `default` is the value by default, `start` the one that is shown first.
    """

    path: tuple[str, ...]
    kind: str
    many: bool = False
    nullable: bool = False
    required: bool = False
    description: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    placeholder: str = ""
    default: Any = UNSET
    start: Any = UNSET

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The names of its op, of the graphs around that, and of its fields.

        In the path, `ops` is before each of the former, and `config` before the fields.
        """
        config = next(i for i in range(2, len(self.path), 2) if self.path[i] == "config")
        return (*self.path[1:config:2], *self.path[config + 1 :])

    @property
    def secret(self) -> bool:
        """Whether its name says that it is a secret: then it has no default and no start here."""
        return self.kind == "String" and bool(SECRET.search(self.names[-1]))

    @property
    def name(self) -> str:
        """Its name in messages, within its op."""
        return ".".join(self.names[1:] or self.names)

    @property
    def label(self) -> str:
        """Its name, with a mark if a launch needs it."""
        return self.names[-1] + (" *" if self.required else "")

    def to_shown(self, value: Any) -> Any:
        """Return a value as its element has it: text, or what is chosen."""
        if self.options:
            return None if value is UNSET else value
        if value in (UNSET, None):
            return ""
        return "\n".join(map(_text, value)) if isinstance(value, list) else _text(value)

    def from_shown(self, shown: Any) -> Any:
        """Return the value of what the element has; text that is not of its type stays as it is."""
        if shown in (None, "") and (self.nullable or self.kind != "String" or self.options):
            return None if self.nullable else [] if self.many else UNSET
        if self.many:
            return [self._scalar(line.strip()) for line in shown.splitlines() if line.strip()]
        return shown if self.options else self._scalar(shown)

    def _scalar(self, text: str) -> Any:
        try:
            return SCALARS[self.kind](text) if self.kind in SCALARS else text
        except ValueError:
            return text  # Dagster says what is wrong with it

    def draws(self, value: Any) -> bool:
        """Whether the element can show a value, and has the same one then."""
        if value in (UNSET, MASK) or self.secret or isinstance(value, Mapping):
            return False
        if self.options:
            return value in self.options.values()
        return bool(self.from_shown(self.to_shown(value)) == value)

    def read(self, shown: Any) -> tuple[Any, bool]:
        """Return the value to send, UNSET for none, and whether it is another than the default."""
        emptied = self.nullable and shown != self.to_shown(self.start)
        if shown == self.to_shown(self.default) and not emptied:
            return self.default, False
        return self.from_shown(shown), True

    def element(self) -> mo.ui.text | mo.ui.text_area | mo.ui.dropdown | mo.ui.checkbox:
        """Return its element. Text is sent while it is typed, so a click has all of it."""
        import marimo as mo

        start: Any = self.to_shown(self.start)
        if self.options:
            if self.kind == "Bool" and self.default is not UNSET:
                return mo.ui.checkbox(start)
            label = next((name for name, value in self.options.items() if value == start), None)
            return mo.ui.dropdown(
                dict(self.options), label, allow_select_none=self.default is UNSET
            )
        common: dict[str, Any] = {"debounce": False, "full_width": True}
        hint = HINTS.get(self.kind, "")
        lines = max(start.count("\n"), str(self.to_shown(self.default)).count("\n")) + 1
        if self.many or lines > 1:
            hint = f"one {hint or 'item'} per line" if self.many else ""
            rows = min(lines + 1, MOST_ROWS)
            return mo.ui.text_area(start, self.placeholder or hint, rows=rows, **common)
        if self.secret:
            return mo.ui.text(start, NOT_SHOWN, "password", **common)
        return mo.ui.text(start, self.placeholder or hint, **common)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, repr=False)
class Form:
    """The fields of a launch by the names of their elements, and the config that they leave out.

    Controls carry it as the value of an element that is not drawn: so their value alone says what
    is to be launched.
    """

    launch: Launch
    fields: Mapping[str, Field]
    rest: Mapping[str, Any]

    def config(self, values: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
        """Return the run config: of all fields, with what is `written` over it as YAML.

        A field that does not have its default is over both.
        """
        defaults: dict[str, Any] = {}
        changed: dict[str, Any] = {}
        for name, each in self.fields.items():
            value, is_changed = each.read(values[name]) if name in values else (UNSET, False)
            if value is UNSET:
                continue
            for part in reversed(each.path):
                value = {part: value}
            if is_changed:
                changed = merge(changed, value)
            else:
                defaults = merge(defaults, value)
        return merge(merge(defaults, written), changed)

    def missing(self, config: Mapping[str, Any]) -> list[str]:
        """Return the names of the required fields that a run config does not have."""
        needed = [each for each in self.fields.values() if each.required]
        return [each.name for each in needed if _at(config, each.path) is UNSET]

    def by_name(self, line: str) -> str:
        """Return a line about a run config with the names of fields in place of their paths."""
        for each in sorted(self.fields.values(), key=lambda each: -len(each.path)):
            line = line.replace(".".join(each.path), each.name)
        return line

    def draw(self) -> str:
        """Return a template for `mo.ui.batch`, with a place for the element of each field."""
        several = len({each.names[0] for each in self.fields.values()}) > 1
        parts = []
        for names, group in itertools.groupby(self.fields.items(), lambda item: item[1].names[:-1]):
            shown = names if several else names[1:]
            indent = STEP * max(len(shown) - 1, 0)
            if shown:
                title = escape(drawing.literal(" / ".join(shown)))
                parts.append(f'<div style="{TITLE};margin-left:{indent}px">{title}</div>')
            rows = [(drawing.literal(each.label), _row(name, each)) for name, each in group]
            parts.append(f'<div style="margin-left:{indent}px">{drawing.facts(rows)}</div>')
        # marimo limits the height of an output, and the buttons below are to be seen.
        return f'<div style="{FIELDS}">{"".join(parts)}</div>' if parts else ""


def _row(name: str, each: Field) -> str:
    label = escape(drawing.literal(".".join(each.names)))
    text = escape(drawing.literal(each.description))
    more = f'<div style="{drawing.SMALL};margin-bottom:4px">{text}</div>' if text else ""
    return f'<div role="group" aria-label="{label}">{{{name}}}</div>{more}'


def make_form(
    launch: Launch,
    types: ConfigTypes,
    default: Mapping[str, Any] | None,
    opened: Mapping[str, Any],
    drawn: bool = True,
) -> Form:
    """Return the form of a schema, with the values that a page was opened with.

    `default` and `opened` are run config. `default` is None if each partition has its own: then
    nothing is filled in, and nothing is required. `rest` is what no field shows of both, without
    secrets. Unless it is `drawn`, there are no fields.
    """
    fields: list[Field] = []
    if root := (types.types[types.root].fields or {}).get("ops"):
        fields = [*_Reader(types, default, opened).ops(("ops",), root.key)]
    shown = [each for each in fields if each.kind and drawn]
    left, more = default or {}, opened
    for each in fields:
        if each in shown or _at(opened, each.path) is not UNSET:
            # Merged, two choices of a selector would be refused.
            left = _without(left, each.path)
        if each in shown and each.start == _at(opened, each.path):
            more = _without(more, each.path)
    named = {f"{ELEMENT}{number}": each for number, each in enumerate(shown)}
    return Form(launch, named, without_secrets(merge(left, more), "", []))


@dataclass(frozen=True)
class _Reader:
    """Reads the fields of a schema; one that cannot be drawn has no kind."""

    types: ConfigTypes
    default: Mapping[str, Any] | None
    opened: Mapping[str, Any]

    def ops(self, path: tuple[str, ...], key: str) -> Iterator[Field]:
        """Yield the fields of ops, and of the ops inside graphs."""
        for op, its in (self._type(key).fields or {}).items():
            inner = self._type(its.key).fields or {}
            if "config" in inner:
                yield from self._fields((*path, op, "config"), inner["config"], its.required)
            if "ops" in inner:
                yield from self.ops((*path, op, "ops"), inner["ops"].key)

    def _type(self, key: str) -> ConfigType:
        found = self.types.types.get(key, ConfigType(""))
        # Dagster takes a variable's name for most scalars: {"env": "NAME"}.
        return self._type(found.inner[0]) if found.kind == "SCALAR_UNION" else found

    def _fields(self, path: tuple[str, ...], its: ConfigField, required: bool) -> Iterator[Field]:
        kind = self._type(its.key)
        if noneable := kind.kind == "NONEABLE":
            kind = self._type(kind.inner[0])
        required = required and its.required
        if kind.fields and kind.kind != "SELECTOR":
            # What is nested comes last, below a title.
            inner = sorted(kind.fields.items(), key=lambda item: self._nested(item[1].key))
            for name, child in inner:
                yield from self._fields((*path, name), child, required)
            return
        if many := kind.kind == "ARRAY":
            kind = self._type(kind.inner[0])
        name = "ENUM" if kind.kind == "ENUM" else kind.name
        if kind.kind == "MAP" or name not in ("ENUM", *SCALARS):
            yield Field(path, "")
            return
        options = {value: value for value in kind.options} if name == "ENUM" else {}
        drawn = Field(
            path,
            name,
            many,
            noneable,
            required and self.default is not None,
            its.description,
            {} if many else BOOLEANS if name == "Bool" else options,
        )
        default, opened = _at(self.default or {}, path), _at(self.opened, path)
        if isinstance(default, Mapping) and "env" in default:
            drawn = replace(drawn, placeholder=f"the environment variable {default['env']}")
        elif default not in (UNSET, MASK, "") and not drawn.secret:
            drawn = replace(drawn, placeholder=f"by default {default}")
        # Dagster makes the type of each field of a Config that has a default noneable.
        if (valued := replace(drawn, nullable=False)).draws(default):
            drawn = replace(valued, default=default, start=default)
        # An empty element without a default sends nothing.
        empty = drawn.default is UNSET and opened in ("", None, [])
        yield drawn if empty or not drawn.draws(opened) else replace(drawn, start=opened)

    def _nested(self, key: str) -> bool:
        kind = self._type(key)
        return bool(self._type(kind.inner[0]).fields if kind.inner else kind.fields)


def _at(config: Mapping[str, Any], path: Sequence[str]) -> Any:
    """Return the value at a path, UNSET if there is none."""
    value: Any = config
    for part in path:
        value = value.get(part, UNSET) if isinstance(value, Mapping) else UNSET
    return value


def _without(config: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    """Return run config without the value at a path, and without what is empty then."""
    name, *more = path
    if name not in config:
        return config
    left = {key: value for key, value in config.items() if key != name}
    if more and isinstance(inner := config[name], Mapping):
        inner = _without(inner, more)
        return {**config, name: inner} if inner else left
    return config if more else left
