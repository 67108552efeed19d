"""Values as digests and short texts, so that two processes can compare them without sending them.

The same code describes both sides. A description is a JSON object: `type`, `text` (shortened),
`digest`, and `parts` by their place (`['price']`, `[3]`), of which only the first are kept.
"""

from __future__ import annotations

import copyreg
import hashlib
import importlib
import json
import re
import reprlib
import sys
import types
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

Description = dict[str, Any]

PARTS = 40
"""Parts of a value that are described, to name the first difference."""
COLUMNS = 400
_EXACT = (type(None), bool, int, float, complex, str, bytes, type(...), range)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_VIEW = re.compile(r"\b(view|param)_\d+\b")
_INTERNAL = {"", "(…)", ".__state__"}
"""Parts that say less than the text of the whole."""
_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 80


class Incomparable(Exception):
    """A value that has no description; the text is why."""


def describe(value: Any) -> Description:
    """Return the description of a value, or `{"type", "why"}` if there is none.

    Nothing is called on the value that is meant to change it: a generator is not read.
    """
    name = _type_name(value)
    if isinstance(value, type | types.FunctionType) and value.__module__ == "__main__":
        kind = "class" if isinstance(value, type) else "function"
        return {"type": name, "why": f"a {kind}, and only what it returns is compared"}
    try:
        return _Describer().describe(value)
    except Incomparable as reason:
        return {"type": name, "why": str(reason)}
    except RecursionError:
        return {"type": name, "why": "it is nested too deeply"}
    except Exception as error:  # raised by the value's own code
        return {"type": name, "why": f"{type(error).__name__}: {_cut(str(error))}"}


def difference(before: Mapping[str, Any], after: Mapping[str, Any], place: str = "") -> str:
    """Return the first difference of two descriptions as a short text; empty if they are equal."""
    if before["digest"] == after["digest"]:
        return ""
    where = f"{place}: " if place else ""
    if before["type"] != after["type"]:
        kinds = [f"{each['text']} ({each['type']})" for each in (before, after)]
        return f"{where}{kinds[0]} → {kinds[1]}"
    parts, others = before.get("parts", {}), after.get("parts", {})
    readable = before["text"] != after["text"] and not before["text"].startswith("<")
    for label in parts:
        if readable and label in _INTERNAL:
            continue
        if label in others and (found := difference(parts[label], others[label], place + label)):
            return found
    if before["text"] != after["text"]:
        return f"{where}{before['text']} → {after['text']}"
    return f"{where}{before['text']}, with another content"


class _Describer:
    """Describes one value; an object that is met again is described once."""

    def __init__(self) -> None:
        self._done: dict[int, Description] = {}
        self._open: dict[int, int] = {}  # of containers that are being described: their depth
        self._alive: list[Any] = []  # or else another object may get the same id

    def describe(self, value: Any) -> Description:
        if type(value) in _EXACT:
            text = repr(value)
            return _node(type(value).__name__, _cut(text), text)
        key = id(value)
        if key in self._done:
            return self._done[key]
        if key in self._open:
            return _node("itself", "…", str(len(self._open) - self._open[key]))
        self._open[key] = len(self._open)
        self._alive.append(value)
        self._done[key] = self._described(value)
        del self._open[key]
        return self._done[key]

    def _described(self, value: Any) -> Description:
        library = type(value).__module__.partition(".")[0]
        if special := _LIBRARIES.get(library):
            found = special(self, value)
            if found is not None:
                return found
        if isinstance(value, types.ModuleType):
            return _node("module", value.__name__, value.__name__)
        if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            return self._named(value)
        if isinstance(value, list | tuple | deque):
            return self._sequence(value)
        if isinstance(value, dict):
            return self.mapping(_type_name(value), value)
        if isinstance(value, set | frozenset):
            digests = sorted(self.describe(item)["digest"] for item in value)
            return _node(_type_name(value), _short.repr(value), *digests)
        return self._state(value)

    def _named(self, value: Any) -> Description:
        """Describe a class or a function by its name."""
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, types.ModuleType | type):
            return self.parts("method", value.__name__, {".__self__": owner}, value.__name__)
        name = f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, types.FunctionType) and (
            value.__module__ == "__main__" or "<" in name  # <lambda>, <locals>
        ):
            raise Incomparable("it contains a function of the notebook")
        return _node("class" if isinstance(value, type) else "function", name, name)

    def _sequence(self, value: Any) -> Description:
        name = "list" if type(value).__module__.startswith("IPython.") else _type_name(value)
        text = f"{_short.repr(list(value))}" if len(value) <= 6 else f"{len(value)} items"
        firsts = {f"[{i}]": item for i, item in enumerate(islice(value, PARTS))}
        if {*map(type, value)} <= {*_EXACT}:
            return self.parts(name, text, firsts, repr(list(value)))
        digests = [self.describe(item)["digest"] for item in value]
        return self.parts(name, text, firsts, *digests)

    def mapping(self, name: str, value: Mapping[Any, Any]) -> Description:
        """Describe a dictionary; the order of its keys does not matter."""
        digests = sorted(
            self.describe(key)["digest"] + self.describe(item)["digest"]
            for key, item in value.items()
        )
        labelled = {f"[{_short.repr(key)}]": item for key, item in islice(value.items(), PARTS)}
        return self.parts(name, f"{len(value)} keys", labelled, *digests)

    def parts(
        self, name: str, text: str, labelled: Mapping[str, Any], *data: str | bytes
    ) -> Description:
        """Describe a whole and its parts; `data` is what else it consists of."""
        parts = {label: self.describe(part) for label, part in labelled.items()}
        digests = [label + part["digest"] for label, part in parts.items()]
        return {**_node(name, text, *digests, *data), "parts": parts}

    def _state(self, value: Any) -> Description:
        """Describe an object by what `pickle` would save of it."""
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            reduced = reduce(value) if reduce else value.__reduce_ex__(4)
        except TypeError:
            raise Incomparable(f"a {_type_name(value)} has no content to compare") from None
        if isinstance(reduced, str):
            return _node(_type_name(value), reduced, reduced)
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        text = _short.repr(value) if _shows_content(value) else f"<{_type_name(value)}>"
        whole: dict[str, Any] = {"": make, "(…)": arguments}
        if isinstance(state, dict):
            whole |= {f".{name}": part for name, part in state.items()}
        elif state is not None:
            whole[".__state__"] = state
        if items is not None:
            whole["[…]"] = list(items)
        if pairs is not None:
            whole["[…]"] = dict(pairs)
        return self.parts(_type_name(value), _cut(text), whole)

    def numpy(self, value: Any) -> Description | None:
        """Describe an array or a number of NumPy."""
        numpy = sys.modules["numpy"]
        if isinstance(value, numpy.generic):
            return _node(f"numpy.{value.dtype}", _cut(str(value)), repr(value.tolist()))
        if type(value) is not numpy.ndarray:
            return None
        shape = " × ".join(map(str, value.shape)) or "one number"
        flat = value.reshape(-1)
        firsts = {f"[{i}]": item for i, item in enumerate(flat[:PARTS].tolist())}
        content = self.describe(flat.tolist())["digest"] if value.dtype.hasobject else b""
        data = content or numpy.ascontiguousarray(value).tobytes()
        name = f"numpy.ndarray of {value.dtype}"
        return self.parts(name, shape, firsts, str(value.shape), data)

    def pandas(self, value: Any) -> Description | None:
        """Describe a data frame, a series or an index of pandas, column by column."""
        pandas = sys.modules["pandas"]
        if isinstance(value, pandas.DataFrame):
            labels, index = list(value.columns), value.index
            columns = [value.iloc[:, number] for number in range(value.shape[1])]
            parts = {f"[{label!r}]": self.series(part, part.dtype, index=False)
                     for label, part in zip(labels, columns, strict=True)}  # fmt: skip
            return self.frame("pandas.DataFrame", value.shape, labels, parts, ".index", index)
        if isinstance(value, pandas.Series):
            return self.series(value, value.dtype)
        if isinstance(value, pandas.Index):
            return self.series(value, value.dtype)
        return None

    def frame(
        self, name: str, shape: tuple[int, int], labels: list[Any],
        parts: dict[str, Description], label: str = "", rest: Any = None,
    ) -> Description:  # fmt: skip
        """Describe a data frame of columns that are described already, by their places."""
        parts = {**parts, label: self.describe(rest)} if label else parts
        digests = [part["digest"] for part in parts.values()]
        text = f"{shape[0]} rows × {shape[1]} columns ({_cut(', '.join(map(str, labels)))})"
        kept = dict(islice(parts.items(), COLUMNS))
        return {**_node(name, text, repr(labels), *digests), "parts": kept}

    def series(self, value: Any, dtype: Any, index: bool = True) -> Description:
        """Describe a series or an index of pandas."""
        pandas = sys.modules["pandas"]
        firsts = value[:PARTS].tolist() if index else value.iloc[:PARTS].tolist()
        labelled = {f"[{number}]": self.known(item) for number, item in enumerate(firsts)}
        if index and isinstance(value, pandas.Series):
            labelled[".index"] = value.index
        named = value.names if isinstance(value, pandas.Index) else [value.name]
        if dtype.kind == "O" and str(dtype) == "object":
            data: str | bytes = self.describe(list(map(self.known, value.tolist())))["digest"]
        else:
            data = pandas.util.hash_pandas_object(value, index=False).to_numpy().tobytes()
        name = f"pandas.{'Index' if isinstance(value, pandas.Index) else 'Series'} of {dtype}"
        return self.parts(name, f"{len(value)} values", labelled, repr(list(named)), data)

    def known(self, item: Any) -> Any:
        """Return a value of a column; those for "missing" that are singletons become None."""
        return None if type(item).__name__ in ("NAType", "NaTType") else item

    def polars(self, value: Any) -> Description | None:
        """Describe a data frame or a series of polars, column by column."""
        polars = sys.modules["polars"]
        if isinstance(value, polars.DataFrame):
            parts = {f"[{part.name!r}]": self.describe(part) for part in value.iter_columns()}
            return self.frame("polars.DataFrame", value.shape, value.columns, parts)
        if isinstance(value, polars.Series):
            firsts = {f"[{i}]": item for i, item in enumerate(value[:PARTS].to_list())}
            try:
                data = value.hash().to_frame().write_ipc(None).getvalue()
            except Exception:  # polars cannot hash every nested type
                data = self.describe(value.to_list())["digest"].encode()
            name = f"polars.Series of {value.dtype}"
            return self.parts(name, f"{len(value)} values", firsts, value.name, data)
        if isinstance(value, polars.LazyFrame):
            raise Incomparable("a lazy frame, which was not collected")
        return None

    def figure(self, value: Any) -> Description | None:
        """Describe a figure of matplotlib, or what is drawn in one, by the data of its axes."""
        whole = getattr(value, "get_figure", lambda: None)()
        if whole is None:
            return None
        if value is not whole:  # an axes, a line
            return self.describe(whole)
        axes = {f".axes[{number}]": _drawn(each) for number, each in enumerate(whole.axes)}
        return self.parts("matplotlib.Figure", f"a figure of {len(axes)} axes", axes)

    def chart(self, value: Any) -> Description | None:
        """Describe a chart of altair or plotly by its specification, which has its data."""
        if specify := getattr(value, "to_plotly_json", None):
            return self.mapping(_type_name(value), specify())
        if hasattr(value, "mark_point") or hasattr(value, "resolve_scale"):
            altair = sys.modules["altair"]
            theme = getattr(altair, "theme", None) or altair.themes
            # Not as Jupyter or marimo would show it.
            with altair.data_transformers.enable("default", max_rows=None), theme.enable("none"):
                shown = {**value.to_dict(), "usermeta": None}
            text = json.dumps(shown, sort_keys=True, default=str)
            # Names are counted through the process, not through the notebook.
            return self.mapping(_type_name(value), json.loads(_VIEW.sub(r"\1", text)))
        return None

    def widget(self, value: Any) -> Description | None:
        """Describe a widget of Jupyter or marimo by its value."""
        if not hasattr(value, "value"):
            return None
        return self.parts("widget", "a widget", {".value": value.value})

    def tensor(self, value: Any) -> Description | None:
        """Describe a tensor of PyTorch as an array."""
        return self.describe(value.detach().cpu().numpy()) if hasattr(value, "detach") else None


_LIBRARIES: dict[str, Callable[[_Describer, Any], Description | None]] = {
    "numpy": _Describer.numpy,
    "pandas": _Describer.pandas,
    "polars": _Describer.polars,
    "matplotlib": _Describer.figure,
    "seaborn": _Describer.figure,
    "altair": _Describer.chart,
    "plotly": _Describer.chart,
    "ipywidgets": _Describer.widget,
    "marimo": _Describer.widget,
    "torch": _Describer.tensor,
}


def _drawn(axes: Any) -> dict[str, Any]:
    """Return the data of what is drawn in one axes of matplotlib."""
    return {
        "title": axes.get_title(),
        "labels": [axes.get_xlabel(), axes.get_ylabel()],
        "lines": [line.get_xydata() for line in axes.lines],
        "bars": [patch.get_path().vertices for patch in axes.patches],
        "boxes": [getattr(patch, "get_bbox", lambda: None)() for patch in axes.patches],
        "points": [part.get_offsets().tolist() for part in axes.collections],
        "paths": [[path.vertices for path in part.get_paths()] for part in axes.collections],
        "images": [image.get_array().tolist() for image in axes.images],
        "texts": [text.get_text() for text in axes.texts],
    }


def figures_of(seen: list[Any]) -> None:
    """Add to `seen` each figure that pyplot opens from now on, if matplotlib is installed.

    They are kept: pyplot may close them before the cell ends.
    """
    try:
        Gcf = importlib.import_module("matplotlib._pylab_helpers").Gcf  # noqa: N806
    except ImportError:
        return
    original = Gcf._set_new_active_manager

    def opened(manager: Any) -> None:
        seen.append(manager.canvas.figure)
        original(manager)

    Gcf._set_new_active_manager = opened


def _node(name: str, text: str, *data: str | bytes) -> Description:
    digest = hashlib.sha256(name.encode())
    for part in data:
        encoded = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(b"%d:" % len(encoded))
        digest.update(encoded)
    return {"type": name, "text": text, "digest": digest.hexdigest()[:32]}


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else (
        f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
    )  # fmt: skip


def _shows_content(value: Any) -> bool:
    """Whether a value's own text says more than its address."""
    return getattr(type(value), "__repr__", None) is not getattr(object, "__repr__", None)


def _cut(text: str, limit: int = 80) -> str:
    text = _ADDRESS.sub("", text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
