"""Whatever a template of the user's own is: it renders, or is refused with its file and line."""

from __future__ import annotations

import tempfile
from pathlib import Path

from dagmar.scaffold.rendering import OWN, TEMPLATES, Renderer
from hypothesis import given
from hypothesis import strategies as st
from support.refusals import refused
from support.texts import TEXTS

PIECES = (
    "{{ nb.name }}", "{{ nb.missing }}", "{{ missing }}", "{% if nb %}", "{% endif %}", "{{", "}}",
    "{%", "%}", "{#", "{% for x in nb %}{{ x }}{% endfor %}", "{{ 1 / 0 }}", "{{ nb['a'] }}",
    "{% include scaffold ~ '/cells/own/part.jinja' %}", "{% include 'cells/nothing.j2' %}",
    "{% include 'cells/own/../x.j2' %}", "{{ ''.__class__.__mro__ }}", "{{ nb | to_nice_yaml }}",
    "{% extends 'shapes/own.j2' %}", "{{ nb.name.encode('ascii') }}", "{% import nb.name as x %}",
    "{% include 'shapes/own.j2' %}", "{{ nb | nothing }}", "{{ '9' | int }}", "{% raw %}", "\ud800",
    "{{ '%d' % nb }}", "{{ nb.name[99] }}", "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{{ [1] | first / 'x' }}", "{{ 'x' * 1000 }}", "import marimo\n", "x", "{{ nb() }}",
)  # fmt: skip
SHAPES = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=6).map("".join)
ANSWERS = st.fixed_dictionaries(
    {"name": TEXTS, "asset": TEXTS, "template": st.just(OWN), "marimo": st.just("0.25.2")}
)


@given(SHAPES, SHAPES, ANSWERS)
def test_an_own_template_renders_or_is_refused(
    shape: str, part: str, answers: dict[str, str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("notebook.jinja", shape), ("part.jinja", part)):
            (Path(folder) / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        rendered = refused((7,), Renderer(Path(folder)).notebook, answers)
    assert rendered is None or rendered.encode().decode() == rendered


NAMES = TEXTS.filter(bool)


@given(st.sampled_from(TEMPLATES), NAMES, NAMES, NAMES)
def test_shipped_templates_render_whatever_the_names_are(
    template: str, name: str, asset: str, title: str
) -> None:
    answers = {"name": name, "asset": asset, "title": title, "template": template, "marimo": "1"}
    rendered = refused((7,), Renderer().notebook, answers)
    # Half of a surrogate pair cannot be written; with any other text it is a notebook.
    if rendered is None:
        assert any("\ud800" <= letter <= "\udfff" for letter in f"{name}{asset}{title}")
    else:
        compile(rendered, "x.py", "exec")
