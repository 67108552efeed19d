"""Names that several cells bind: the converted notebook ends with the values of the original."""

from __future__ import annotations

import ast
import contextlib
import io
import random
import types
from pathlib import Path
from typing import Any

import pytest
from support.jupyter import converted, final_values


def in_order(*cells: str) -> dict[str, Any]:
    """Return the globals after executing the cells one after the other, as Jupyter does."""
    module = types.ModuleType("__main__")
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            exec(compile(cell, "cell", "exec"), vars(module))
    return {name: value for name, value in vars(module).items() if not name.startswith("__")}


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that can be compared."""
    kinds = (int, float, str, list, tuple, dict, set, type(None))
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, kinds) and "<lambda>" not in repr(value)
    }


CASES: dict[str, tuple[str, ...]] = {
    "assigned twice": ("x = 1", "y = x", "x = 2", "z = x + y"),
    "reads itself": ("x = [3, 1]", "x = sorted(x)", "y = x[0]"),
    "augmented": ("x = [1]", "y = x", "x += [2]", "z = (x is y, len(y))"),
    "a parameter hides it": ("x = 10", "x = 20\ndef double(x):\n    return x * 2", "y = double(3)"),
    "late binding": ("x = 1\ndef f():\n    return x", "a = f()", "x = 2", "b = f()"),
    "the earlier value only": ("x = 1", "def f():\n    return x", "a = f()", "x = 2", "b = x"),
    "the later value only": ("def f():\n    return x", "x = 2", "b = f()"),
    "through another function": (
        "x = 1",
        "def f():\n    return x",
        "def g():\n    return f()",
        "x = 5",
        "b = g()",
    ),
    "in a container": ("x = 1", "fs = [lambda: x]", "x = 2", "b = fs[0]()"),
    "kept by an object": (
        "fs = []\nx = 1",
        "fs.append(lambda: x)",
        "x = 2",
        "b = [f() for f in fs]",
    ),
    "eager lambda": ("k = 2", "a = sorted([3, 4], key=lambda v: v % k)", "k = 3", "b = a + [k]"),
    "lazy generator": ("k = 2", "g = (v * k for v in [1, 2])", "k = 3", "b = list(g)"),
    "lazy map": ("k = 2", "g = map(lambda v: v * k, [1])", "k = 3", "b = list(g)"),
    "default argument": ("x = 1", "def f(a=x):\n    return a", "x = 2", "b = f()"),
    "global": ("n = 0", "def inc():\n    global n\n    n += 1", "inc()", "inc()", "m = n"),
    "del": ("x = 1", "y = x", "del x", "x = 3", "z = x + y"),
    "loops": ("s = 0\nfor i in [1, 2]:\n    s += i", "for i in 'ab':\n    s += 1", "t = (s, i)"),
    "empty loop": ("i = 7", "for i in []:\n    pass", "t = i"),
    "conditional": ("x = 1", "if x > 5:\n    x = 2", "y = x"),
    "with": (
        "import io",
        "with io.StringIO() as f:\n    a = f.tell()",
        "with io.StringIO() as f:\n    b = 1",
        "c = f.closed",
    ),
    "walrus": ("if (n := 3) > 1:\n    a = n", "b = [n := v for v in [4]]", "c = n"),
    "comprehension": ("x = 1", "y = [x for x in range(3)]", "x = 2", "z = {x: y for y in 'a'}"),
    "class body": (
        "x = 1",
        "class A:\n    v = x\n    def m(self):\n        return x",
        "a = A().m()",
        "x = 2",
        "b = (A.v, A().m())",
    ),
    "class hides": ("x = 1", "class A:\n    x = x + 1\n    y = x", "x = 5", "b = (A.x, A.y)"),
    "imports": (
        "import os.path",
        "import os\nimport json as j",
        "import json as j\na = j.dumps(1)",
        "b = os.path.sep",
    ),
    "import then value": ("from math import pi", "a = pi", "pi = 3", "b = pi"),
    "unpacking": ("a, b = 1, 2", "a, b = b, a", "(a, *c), d = [a, 5], b", "e = [a, b, c, d]"),
    "f-string": ("x = 1", "x = 2", "a = f'{x=} {x!r:>3}' 'x'", "x = f'<{x}>'", "b = x"),
    "mutation": ("d = {}", "a = len(d)", "d['k'] = 1", "b = len(d)", "d.update(z=2)", "c = len(d)"),
    "mutation of a list": ("xs = []\nys = xs", "xs.append(1)", "xs.append(2)", "n = (len(ys), xs)"),
    "private": ("_x = 1", "y = _x + 1", "_x = 5", "z = _x"),
    "exception": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    a = str(e)",
        "try:\n    int('a')\nexcept ValueError as e:\n    b = str(e)",
    ),
    "match": (
        "match [1, 2]:\n    case [x, *rest]:\n        a = x",
        "match {'k': 1, 'z': 2}:\n    case {'k': x, **rest}:\n        b = (x, rest)",
    ),
    "reserved": ("mo = 1", "mo = mo + 1", "app = 5", "b = mo + app"),
    "text that is looked up": ("x = 1", "a = eval('x + 1')", "x = 5", "b = eval('x + 1')"),
    "a global statement outside": ("x = 1", "global x\nx = 2", "y = x"),
    "recursion": (
        "def f(n):\n    return 1 if n < 2 else n * f(n - 1)",
        "a = f(3)",
        "def f(n):\n    return f2(n)\nf2 = abs",
        "b = f(-4)",
    ),
    "decorator": (
        "def twice(g):\n    return lambda v: g(g(v))",
        "@twice\ndef f(v):\n    return v + k\nk = 1",
        "a = f(1)",
        "k = 10",
        "b = f(1)",
    ),
    "walrus in its own value": ("x = 1", "y = (x := x + 1) + x", "z = x"),
    "condition after an empty loop": (
        "x = 1",
        "for x in []:\n    pass",
        "if x > 5:\n    x = 2",
        "y = x",
    ),
    "loop that reads itself": ("x = y = 1", "for i in [1, 2]:\n    x = x + i\n    y += i"),
    "loop over itself": ("x = 2", "for x in [x, x + 1]:\n    pass"),
    "text of a variable": ("x = 1", "x = x + 1", "y = globals()['x'] + globals().get('x')"),
    "star argument": ("xs = [1]", "xs = [*xs, 2]", "n = max(*xs)"),
    "unicode": ("é = 1; ü = é", "é = 'äöü' + str(é); a = é", "b = é"),
    "shadowed builtin": ("sum = 5", "sum = sum + 1", "b = sum"),
    "semicolons": ("x = 1; y = x; x = 2", "x = x + y; z = x", "x;"),
    "later function moves nothing": (
        "log = []\ndef f():\n    return x",
        "log.append('b')",
        "x = len(log)",
        "b = f(); log.append('c')",
        "c = [*log]",
    ),
}


@pytest.mark.parametrize("cells", CASES.values(), ids=CASES)
def test_the_last_values_are_those_of_the_cells_in_their_order(
    tmp_path: Path, cells: tuple[str, ...]
) -> None:
    result = converted(tmp_path, *cells)
    expected = plain(in_order(*cells))
    found = plain(final_values(result))
    assert {name: found.get(name, "missing") for name in expected} == expected, result.text
    ast.parse(result.text)


def program(choose: random.Random) -> list[str]:
    """Return the cells of a small program in which names are bound, read and changed again."""
    names = ["a", "b", "c", "xs", "f", "g"]
    known = {"a": "int", "xs": "list"}
    cells = ["a = 1\nxs = [1]"]
    for number in range(choose.randint(3, 8)):
        lines = []
        for _ in range(choose.randint(1, 3)):
            ints = [name for name, kind in known.items() if kind == "int"]
            functions = [name for name, kind in known.items() if kind == "function"]
            name, other, third = (choose.choice(part) for part in (names[:3], ints, ints))
            called = f"{choose.choice(functions)}(2)" if functions else other
            lines.append(
                choose.choice(
                    [
                        f"{name} = {other} + {number}",
                        f"{name} = {called} + {third}",
                        f"{other} += {third}",
                        f"xs.append({called})",
                        f"xs = xs[-3:] + [{other}]",
                        f"def {{0}}(v):\n    return v + {other}",
                        f"def {{0}}(v, w={other}):\n    return v * w + {third} + len(xs)",
                        f"{{0}} = lambda v: v - {other}",
                        f"if {other} % 2:\n    {name} = {third}\nelse:\n    {name} = 4",
                        f"for {name} in range({number % 3}, 3):\n    xs[0] = {name} + {other}",
                        f"{name} = [{other} for {other} in xs][0] + sum(v * {third} for v in xs)",
                        f"def {{0}}(v):\n    global {other}\n    {other} = v\n    return {other}",
                    ]
                ).format(choose.choice(names[4:]))
            )
            last = lines[-1]
            if last.startswith("def ") or " = lambda" in last:
                known[last.removeprefix("def ")[0]] = "function"
            elif last.startswith((f"{name} =", "if", "for")):
                known[name] = "int"
        cells.append("\n".join(lines))
    return [*cells, "last = [a, xs]"]


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(1, 9))]
)
def test_random_programs_end_with_the_same_values(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    for _ in range(15):
        cells = program(choose)
        try:
            expected = plain(in_order(*cells))
        except (RecursionError, OverflowError, NameError, TypeError):
            continue
        result = converted(tmp_path, *cells)
        found = plain(final_values(result))
        found = {name: found[name] for name in expected if name in found}
        assert found == expected, "\n---\n".join([*cells, result.text])


def test_a_function_that_keeps_no_other_does_not_merge_cells(tmp_path: Path) -> None:
    cells = (
        "def clean(v):\n    return v + 1",
        "def load(n):\n    rows = sorted([n], key=lambda v: -v)\n    return clean(rows[0])",
        "a = load(1)",
        "def clean(v):\n    return v - 1",
        "b = (a, clean(1))",
    )
    result = converted(tmp_path, *cells)
    assert len(result.origins) == 6
    assert plain(final_values(result)) == plain(in_order(*cells))


def test_a_name_that_is_read_too_early_needs_a_hand(tmp_path: Path) -> None:
    result = converted(tmp_path, "y = x + 1", "x = 1")
    (remark,) = result.by_hand
    assert (remark.cell, remark.message) == (1, "reads `x`, which only a later cell defines")
    assert len(result.origins) == 3  # no cells are merged, since marimo finds the order
    circle = converted(tmp_path, "y = x + 1", "x = 1\nz = y")
    assert len(circle.origins) == 2
