"""The form for run config: from Dagster's schema to elements, and from what is typed to config."""

import enum
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest
from dagmar.orchestration.here import types_of
from dagmar.pair.controls import CONFIG, FORM, read_options
from dagmar.pair.form import UNSET, Form, make_form
from dagmar.scalars import Plain, dump
from dagmar.server.launch import Launch
from dagmar.server.runconfig import read_yaml
from dagster._core.snap.config_types import build_config_schema_snapshot
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap
from pydantic import Field


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Place(dg.Config):
    depth: int = 2
    where: str = Field("here", description="Where {it} is, <b>roughly</b>.")


class Settings(dg.Config):
    name: str
    loud: bool
    label: str | None = None
    count: int = 1
    share: float = 0.5
    quiet: bool = False
    color: Color = Color.RED
    other_color: Color | None = None
    words: list[str] = Field(["a", "b"])
    sizes: list[int] = Field([])
    more: dict[str, int] = Field({"x": 1})
    rows: list[Place] = Field([])
    place: Place = Place(depth=7)
    maybe: Place | None = None
    source: str = dg.EnvVar("SOURCE")
    poem: str = "one\ntwo"
    password: str = "sesame"


@dg.op
def typed(config: Settings) -> None: ...


@dg.op(
    config_schema={
        "free": dg.Field(dg.Permissive({"zip": dg.Field(str, default_value="01067")})),
        "any": dg.Field(dg.Any, is_required=False),
        "choice": dg.Field(dg.Selector({"text": str, "number": int}), is_required=False),
        "pairs": dg.Field([[int]], default_value=[[1, 2]]),
        "grade": dg.Enum("Grade", [dg.EnumValue("low"), dg.EnumValue("high")]),
        "key": dg.Field(str, default_value="sesame", is_secret=True),
    }
)
def plain(context: dg.OpExecutionContext) -> None: ...


@dg.op(config_schema=dg.Field(int, default_value=3, description="How many."))
def number(context: dg.OpExecutionContext) -> None: ...


@dg.op
def nothing() -> None: ...


@dg.graph
def inside() -> None:
    number()


def make(
    *ops: Any,
    opened: Mapping[str, Any] | None = None,
    default: bool = True,
    drawn: bool = True,
) -> Form:
    """Return the form of a job of these ops, as the server's answers make it."""

    @dg.job
    def job() -> None:
        for op in ops:
            op()

    types = types_of(job, [])
    snapshot = build_config_schema_snapshot(job)
    text = default_values_yaml_from_type_snap(snapshot, snapshot.get_config_snap(types.root))
    ops = (read_yaml(text) or {}).get("ops")
    config = ({"ops": ops} if ops else {}) if default else None
    return make_form(Launch("here", "repository", "job"), types, config, opened or {}, drawn)


def values(form: Form, **typed: Any) -> dict[str, Any]:
    """Return the value of the controls, with what is typed in fields by their names."""
    elements = {name: each.element() for name, each in form.fields.items()}
    names = {each.names[-1]: name for name, each in form.fields.items()}
    shown = {name: element.value for name, element in elements.items()}
    rest = dump(dict(form.rest)) if form.rest else ""
    return {**shown, FORM: form, CONFIG: rest, **{names[key]: text for key, text in typed.items()}}


def config(form: Form, op: str = "typed", **typed: Any) -> Any:
    return read_options(values(form, **typed)).config["ops"][op]["config"]


def shown(form: Form) -> dict[str, tuple[str, Any]]:
    """Return the kind of each element with what it shows, by the field's label."""
    fields = [each for each in form.fields.values() if "maybe" not in each.names]
    elements = {each.label: each.element() for each in fields}
    return {label: (type(each).__name__, each.value) for label, each in elements.items()}


def test_each_type_has_its_element_with_its_default() -> None:
    assert shown(make(typed)) == {
        "name *": ("text", ""),
        "loud *": ("dropdown", None),
        "label": ("text", ""),
        "count": ("text", "1"),
        "share": ("text", "0.5"),
        "quiet": ("checkbox", False),
        "color": ("dropdown", "RED"),
        "other_color": ("dropdown", None),
        "words": ("text_area", "a\nb"),
        "sizes": ("text_area", ""),
        "depth": ("text", "7"),
        "where": ("text", "here"),
        "source": ("text", ""),
        "poem": ("text_area", "one\ntwo"),
        "password": ("text", ""),
    }


DEFAULT = {
    "count": 1,
    "share": 0.5,
    "quiet": False,
    "color": "RED",
    "words": ["a", "b"],
    "sizes": [],
    "more": {"x": 1},
    "rows": [],
    "place": {"depth": 7, "where": "here"},
    "poem": "one\ntwo",
}


def test_what_is_shown_is_sent_and_what_is_empty_is_left_to_the_default() -> None:
    assert config(make(typed)) == DEFAULT


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("name", "007", "007"),
        ("name", "{env: X}", "{env: X}"),
        ("label", "~", "~"),
        ("count", "1_000", 1000),
        ("count", "9007199254740993", 9007199254740993),
        ("count", "many", "many"),  # Dagster refuses it, and says why
        ("count", "", UNSET),
        ("share", "1e-7", 1e-7),
        ("loud", True, True),
        ("quiet", True, True),
        ("color", "BLUE", "BLUE"),
        ("other_color", "RED", "RED"),
        ("words", "x y\n\n NO ", ["x y", "NO"]),
        ("words", "", []),
        ("sizes", "1\n010", [1, 10]),
        ("poem", "", ""),
        ("password", "typed", "typed"),
        ("source", "typed", "typed"),
    ],
)
def test_what_is_typed_gets_the_type_of_the_schema(field: str, text: Any, value: Any) -> None:
    read = config(make(typed), **{field: text}).get(field, UNSET)
    assert (read, type(read)) == (value, type(value))


def test_the_values_of_a_run_are_shown_and_are_sent_again_as_they_were() -> None:
    run = {
        "name": "Ann", "loud": False, "label": "x", "count": {"env": "N"}, "share": 2,
        "words": ["two\nlines"], "color": "BLUE", "more": {"x": 2}, "place": {"depth": 1},
        "maybe": {"where": "there"}, "rows": [{"depth": 3}], "sizes": [4],
    }  # fmt: skip
    opened = {"ops": {"typed": {"config": run}}, "resources": {"db": {"config": {"port": 1}}}}
    form = make(typed, opened=opened)
    assert shown(form)["name *"] == ("text", "Ann")
    assert shown(form)["words"] == ("text_area", "a\nb")  # lines are items
    rest = {"more": {"x": 2}, "rows": [{"depth": 3}], "count": {"env": "N"}}
    rest |= {"words": ["two\nlines"]}
    assert form.rest == {"ops": {"typed": {"config": rest}}, "resources": opened["resources"]}
    sent = {**DEFAULT, **run, "place": {"depth": 1, "where": "here"}}
    assert config(form) == sent
    # A field that is changed is over the YAML, and one that is emptied is null.
    assert config(form, count="5", label="") == {**sent, "count": 5, "label": None}


def test_what_a_form_cannot_have_is_yaml() -> None:
    form = make(plain, opened={"ops": {"plain": {"config": {"free": {"other": 1}}}}})
    assert shown(form) == {
        "grade *": ("dropdown", None),
        "key": ("text", ""),
        "zip": ("text", "01067"),
    }
    assert form.rest == {"ops": {"plain": {"config": {"free": {"other": 1}, "pairs": [[1, 2]]}}}}
    assert config(form, "plain", grade="low") == {
        "free": {"zip": "01067", "other": 1}, "pairs": [[1, 2]], "grade": "low",
    }  # fmt: skip


@dg.op(config_schema={"name": str, "names": [str], "note": dg.Field(dg.Noneable(str))})
def needy(context: dg.OpExecutionContext) -> None: ...


def test_a_field_is_required_also_if_nothing_has_a_default() -> None:
    assert [each.label for each in make(needy).fields.values()] == ["name *", "names *", "note"]


@pytest.mark.parametrize("drawn", [True, False])
def test_empty_values_of_a_run_are_sent_again_and_its_choices_replace_the_default(
    drawn: bool,
) -> None:
    default = {"number": 1}
    choosing = dg.op(
        name="choosing",
        config_schema={
            "choice": dg.Field(
                dg.Selector({"text": str, "number": int}), default_value={"number": 1}
            ),
            "map": dg.Field(dg.Map(str, int), default_value={"a": 1}),
            "token": dg.Field(dg.StringSource, default_value="sesame"),
        },
    )(plain.compute_fn.decorated_fn)
    chosen = {"choice": {"text": "x"}, "map": {"b": 2}, "token": {"env": "TOKEN"}}
    empty = {"name": "", "names": [], "note": None}
    run = {"ops": {"needy": {"config": empty}, "choosing": {"config": chosen}}}
    assert make(choosing).rest["ops"]["choosing"]["config"]["choice"] == default
    form = make(choosing, needy, opened=run, drawn=drawn)
    assert bool(form.fields) is drawn
    assert read_options(values(form)).config == run


def test_yaml_is_merged_over_the_defaults() -> None:
    chosen = {**values(make(typed)), CONFIG: "ops: {typed: {config: {count: 010, label: x}}}"}
    read = read_options(chosen).config["ops"]["typed"]["config"]
    assert (read["count"], read["label"], read["share"]) == (Plain("010"), "x", 0.5)


def test_secrets_are_not_in_the_page() -> None:
    run = {"typed": {"config": {"more": {"api_key": "sesame"}, "password": "sesame"}}}
    form = make(typed, plain, opened={"ops": run})
    page = form.draw() + str([each.element() for each in form.fields.values()]) + str(form.rest)
    assert "sesame" not in page + repr(form)
    assert "password" in page


def test_ops_without_config_have_no_form_and_ops_in_graphs_do() -> None:
    assert make(nothing).fields == {}
    form = make(inside, nothing)
    (field,) = form.fields.values()
    assert (field.path, field.default) == (("ops", "inside", "ops", "number", "config"), 3)
    assert read_options(values(form)).config == {
        "ops": {"inside": {"ops": {"number": {"config": 3}}}}
    }


def test_nothing_is_sent_for_a_job_whose_partitions_have_their_own_config() -> None:
    form = make(typed, default=False)
    assert [each.label for each in form.fields.values() if each.required] == []
    assert shown(form)["quiet"] == ("dropdown", None)
    assert read_options(values(form)).config == {}
    assert config(form, count="5", quiet=False) == {"count": 5, "quiet": False}


def test_the_page_has_titles_descriptions_and_no_markup_of_the_schema() -> None:
    page = make(typed, number).draw()
    assert "Where {{it}} is, &lt;b&gt;roughly&lt;/b&gt;." in page
    assert "typed / place<" in page
    assert "How many." in page
    assert ">place<" in make(typed).draw()


def test_controls_without_a_form_are_read_as_before() -> None:
    assert read_options({"config": "ops: {a: {}}", "tags": "x=y"}).config == {"ops": {"a": {}}}
