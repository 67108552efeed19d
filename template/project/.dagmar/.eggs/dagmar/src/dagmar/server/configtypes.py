"""The types that Dagster's schema gives to the values of a run config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagmar import scalars
from dagmar.scalars import Plain, resolve, unwalkable
from dagmar.server.runconfig import not_valid

SCALARS: Mapping[str, Callable[[str], Any]] = {
    "String": str,
    "Int": scalars.as_int,
    "Float": scalars.as_float,
    "Bool": scalars.as_bool,
}

KINDS = {
    "ArrayConfigType": "ARRAY",
    "EnumConfigType": "ENUM",
    "MapConfigType": "MAP",
    "NullableConfigType": "NONEABLE",
    "ScalarUnionConfigType": "SCALAR_UNION",
}
"""The kinds that matter here, by their names in GraphQL."""


@dataclass(frozen=True)
class ConfigField:
    """A field of a type; `key` is that of its type."""

    key: str
    description: str = ""
    required: bool = False


@dataclass(frozen=True)
class ConfigType:
    """One type. `kind` is Dagster's; `inner` are the keys of the types that it is composed of,
    `fields` its fields by name, and `options` the values of an enum."""

    kind: str
    name: str = ""
    inner: Sequence[str] = ()
    fields: Mapping[str, ConfigField] | None = None
    options: Sequence[str] = ()


@dataclass(frozen=True)
class ConfigTypes:
    """All types of a schema by key; `root` is the key of the whole run config."""

    root: str
    types: Mapping[str, ConfigType]

    @classmethod
    def from_graphql(cls, schema: Mapping[str, Any]) -> ConfigTypes:
        """Return the types of a RunConfigSchema in a server's answer."""
        types = {
            each["key"]: ConfigType(
                "SELECTOR" if each["isSelector"] else KINDS.get(each["__typename"], ""),
                each.get("givenName", ""),
                each["typeParamKeys"],
                {
                    field["name"]: ConfigField(
                        field["configTypeKey"], field["description"] or "", field["isRequired"]
                    )
                    for field in each.get("fields", ())
                },
                [value["value"] for value in each.get("values", ())],
            )
            for each in schema["allConfigTypes"]
        }
        return cls(schema["rootConfigType"]["key"], types)

    def fit(self, value: Any, key: str | None = None) -> Any:
        """Return a value with each `Plain` in it as what the schema has in its place.

        What the schema leaves open, or refuses, is read by YAML's core schema.
        """
        kind = self.types.get(self.root if key is None else key, ConfigType(""))
        inner = kind.inner or ("", "")
        if kind.kind == "NONEABLE":
            # An empty text is null, too.
            none = isinstance(value, Plain) and resolve(value) is None
            return None if none else self.fit(value, inner[0])
        if kind.kind == "SCALAR_UNION":
            return self.fit(value, inner[isinstance(value, (Mapping, list))])
        if isinstance(value, Plain):
            return _scalar(value, kind)
        if isinstance(value, Mapping):
            other = ConfigField(inner[-1] if kind.kind == "MAP" else "")
            fields = kind.fields or {}
            return {
                str(name): self.fit(child, fields.get(name, other).key)
                for name, child in value.items()
            }
        if isinstance(value, list):
            of = inner[0] if kind.kind == "ARRAY" else ""
            return [self.fit(child, of) for child in value]
        return value


def _scalar(text: Plain, kind: ConfigType) -> Any:
    if text and kind.kind == "ENUM":
        return str(text)
    if text and kind.name in SCALARS:
        try:
            return SCALARS[kind.name](text)
        except ValueError:
            pass  # Dagster says what is wrong with it
    return resolve(text)


def fitted(
    config: Mapping[str, Any], what: str, read_types: Callable[[], ConfigTypes]
) -> dict[str, Any]:
    """Return run config of `what` with each `Plain` in it as what the schema has in its place.

    The schema is read only if that makes a difference. Raises Invalid for config that contains
    itself, and what `read_types` raises.
    """
    if fault := unwalkable(config):
        raise not_valid(what, [fault])
    return dict(read_types().fit(config) if _depends_on_type(config) else resolve(config))


def _depends_on_type(value: Any) -> bool:
    """Whether a value contains text that means one thing to one type, and another to another."""
    if isinstance(value, Mapping):
        return any(map(_depends_on_type, value.values()))
    if isinstance(value, list):
        return any(map(_depends_on_type, value))
    if not isinstance(value, Plain):
        return False
    return any(_scalar(value, ConfigType("", name)) != str(value) for name in SCALARS)
