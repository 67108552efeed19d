"""Jupyter notebooks as people have them, one for each rule and for mixtures of rules.

Each is run and compared in the nightly profile, unless it `needs` what tests do not install.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from support.jupyter import Cell, code, markdown

PICTURE = {"one.png": {"image/png": base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()}}
MARK = re.compile(r"^# %%(?!\S)(?: \[(markdown|raw)\])?(.*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Sample:
    """A Jupyter notebook; `by_hand` are the cells that need a hand, `runs` whether both can run.

    `needs` are packages that tests do not install; `differs` is why a run differs from the next.
    """

    cells: Sequence[Cell | str]
    by_hand: Collection[int] = ()
    runs: bool = True
    needs: Collection[str] = ()
    differs: str = ""


def sample(text: str, **fields: object) -> Sample:
    """Return a notebook from a text: `# %%` begins a cell, `[markdown]` and tags may follow."""
    first, *rest = MARK.split(text.removeprefix("\n") + "\n")
    parts = [("", "", first), *zip(rest[::3], rest[1::3], rest[2::3], strict=True)]
    make = {"markdown": markdown, "raw": raw}
    cells = [
        make[kind](source.rstrip("\n")) if kind else code(source.rstrip("\n"), *tags.split())
        for kind, tags, source in parts
        if source
    ]
    return Sample(cells, **fields)  # type: ignore[arg-type]


def raw(text: str) -> Cell:
    """Return a raw cell of nbformat 4."""
    return {"cell_type": "raw", "source": text, "metadata": {}}


SAMPLES: dict[str, Sample] = {
    "plain": sample("""
x = 1
# %%
y = x + 1
print(y)
# %%
y
"""),
    "empty_cells": Sample(["", "x = 1", "  \n", markdown(""), raw("")]),
    "only_markdown": sample("""
# %% [markdown]
# Title

Text with `code`.
# %% [markdown]
- a
- b
""", runs=False),
    "latex": sample(r"""
# %% [markdown]
$$\begin{align}\\ \alpha &= \frac{1}{2}\end{align}$$
# %%
x = 1
"""),
    "quotes_in_markdown": Sample([markdown("""'hi\"\"\" '''ho''' \\ and {x}"""), "x = 1"]),
    "raw_cell": sample(r"""
# %% [raw]
\documentclass{article}
```
code
```
# %%
x = 1
"""),
    "attachment": Sample([markdown("![one](attachment:one.png)", attachments=PICTURE), "x = 1"]),
    "comments_only": sample("""
# nothing
# here
# %%
x = 1  # one
"""),
    "docstrings": sample('''
"""A text

of lines."""
# %%
def f():
    """Do.

    More."""
    return 1
# %%
value = f()
'''),
    "multi_line_strings": sample('''
text = """a
  b
	c
"""
print(text)
# %%
size = len(text)
'''),
    "unicode": sample("""
größe = 'ÄÖ ☃ 🎉'
print(größe)
# %%
länge = len(größe)
"""),
    "tabs": sample("""
def f(x):
	if x:
		return 1
	return 2
# %%
a = f(0)
b = f(1)
"""),
    "decorators_and_classes": sample("""
import functools

@functools.lru_cache
def fib(n):
    return n if n < 2 else fib(n-1)+fib(n-2)
# %%
class Order:
    total = 0
    def __init__(self, price):
        self.price = price
# %%
order = Order(fib(10))
price = order.price
"""),
    "future_import": sample("""
from __future__ import annotations
import dataclasses
# %%
@dataclasses.dataclass
class A:
    x: int
# %%
a = A(1)
"""),
    "await_at_top": sample("""
import asyncio
# %%
async def f():
    await asyncio.sleep(0)
    return 3
# %%
x = await f()
# %%
print(x)
"""),
    "star_import": sample("""
from math import *
# %%
x = sqrt(16)
y = floor(2.5)
"""),
    "invalid_python": sample("""
x = 1
# %%
print 'old'
# %%
y = 2
""", by_hand=[2], runs=False),
    "assigned_twice": sample("""
x = 1
# %%
print(x)
# %%
x = 2
# %%
print(x)
# %%
y = x
"""),
    "function_keeps_its_value": sample("""
x = 10
# %%
x = 20
def double(x):
    return x * 2
# %%
z = double(3)
# %%
print(x)
"""),
    "function_reads_later_value": sample("""
rate = 1
# %%
def tax(price):
    return price * rate
# %%
a = tax(10)
# %%
rate = 2
# %%
b = tax(10)
"""),
    "augmented": sample("""
total = 0
# %%
total += 5
# %%
total += 7
print(total)
"""),
    "mutated_in_place": sample("""
items = [1]
# %%
items.append(2)
# %%
items.sort(reverse=True)
items
"""),
    "loop_variable": sample("""
for i in range(3):
    last = i
# %%
for i in range(5):
    pass
# %%
k = i
"""),
    "comprehension_scopes": sample("""
x = 5
# %%
squares = [x * x for x in range(3)]
# %%
x = x + 1
# %%
y = x
"""),
    "class_scopes": sample("""
x = 1
# %%
class A:
    x = x + 1
    def get(self):
        return x
# %%
x = 5
# %%
a = A.x
b = A().get()
"""),
    "global_statement": sample("""
count = 0
# %%
def bump():
    global count
    count += 1
# %%
bump()
bump()
# %%
final = count
"""),
    "deleted": sample("""
a = 1
b = 2
# %%
del a
# %%
a = 3
# %%
c = a + b
"""),
    "underscore_names": sample("""
_tmp = 3
# %%
x = _tmp + 1
# %%
_tmp = 10
y = _tmp
"""),
    "imported_twice": sample("""
import os
# %%
import os
import os.path as path
# %%
here = path.basename('a/b')
"""),
    "walrus_and_with": sample("""
import io
# %%
with io.StringIO('a') as f:
    t = f.read()
# %%
with io.StringIO('bc') as f:
    t = f.read()
# %%
n = (m := len(t)) + 1
# %%
m
"""),
    "try_except": sample("""
try:
    1/0
except ZeroDivisionError as e:
    error = str(e)
# %%
try:
    int('x')
except ValueError as e:
    other = str(e)
"""),
    "tuple_targets": sample("""
a, (b, *c) = 1, (2, 3, 4)
# %%
a, b = b, a
# %%
d = [a, b, c]
"""),
    "conditional": sample("""
flag = True
# %%
if flag:
    mode = 'x'
else:
    mode = 'y'
# %%
flag = False
# %%
mode = mode + '!'
"""),
    "reassigned_frame": sample("""
import pandas as pd
df = pd.DataFrame({'a': [1, 2, 3]})
# %%
df = df[df.a > 1]
# %%
df['b'] = df.a * 2
# %%
df = df.reset_index(drop=True)
# %%
df.head()
# %%
total = int(df.b.sum())
"""),
    "time_magics": sample("""
%%time
x = sum(range(10))
# %%
%time y = x + 1
# %%
%timeit -n1 -r1 x + 1
# %%
z = x + y
""", differs='timing is printed'),
    "only_time": Sample(["%%time", "x = 1", "%%time\n", "y = x"], runs=False),
    "matplotlib_inline": sample("""
%matplotlib inline
%config InlineBackend.figure_format = 'retina'
x = 1
# %%
y = x
""", needs=["matplotlib"]),
    "autoreload": sample("""
%load_ext autoreload
%autoreload 2
import os
# %%
x = os.sep
"""),
    "shell": sample("""
!echo one
# %%
out = !echo two; echo three
# %%
words = [w for w in out]
# %%
!exit 0
"""),
    "shell_with_variables": sample("""
name = 'eu'
# %%
!echo {name} and $name
# %%
x = 1
"""),
    "bash_cell": sample("""
%%bash
echo one
echo two
# %%
x = 1
"""),
    "bash_fails": sample("""
x = 1
# %%
%%bash
exit 3
# %%
y = 2
""", differs='a failing cell'),
    "pip": sample("""
!pip install pandas
x = 1
# %%
%pip install -q polars
# %%
y = x
""", runs=False),
    "env": sample("""
import os
# %%
%env DAGMAR_SAMPLE=hello
# %%
x = os.environ['DAGMAR_SAMPLE']
# %%
%env DAGMAR_OTHER world
"""),
    "cd": sample("""
import os
# %%
%cd -q ..
# %%
x = 1
""", by_hand=[0], differs='directories differ'),
    "writefile": Sample(
        [
            "%%writefile helper_sample.py\nvalue = 42\n",
            "x = open('helper_sample.py').read()",
            "%cat helper_sample.py",
        ],
        by_hand=[2],
        differs="the whole path is printed",
    ),
    "help": sample("""
x = [1]
# %%
x?
# %%
?len
# %%
x.append??
# %%
y = 1
"""),
    "semicolon": sample("""
x = [3, 1, 2]
# %%
sorted(x);
# %%
y = sorted(x);
# %%
'a;b'
"""),
    "magic_in_a_line": sample("""
if True:
    %time x = 1
y = x
# %%
for n in range(2):
    !echo {n}
""", differs="a time is printed"),
    "capture": sample("""
%%capture
print('hidden')
x = 1
# %%
%%capture caught
print('kept')
# %%
y = x
""", by_hand=[2], differs="what was captured is printed"),
    "other_languages": sample("""
%%R
x <- 1
# %%
%%javascript
alert(1)
# %%
%%html
<b>x</b>
# %%
%%latex
$x$
# %%
y = 1
""", by_hand=[1, 2], runs=False),
    "unknown_magics": sample("""
%load_ext secret_ext
# %%
%secret 1
# %%
%%secret_cell a
b
# %%
y = 1
""", by_hand=[2, 3], runs=False),
    "who_and_other_line_magics": sample("""
x = 1
# %%
%who
# %%
%pwd
# %%
%precision 3
# %%
%reset -f
# %%
y = 2
""", by_hand=[5], runs=False),
    "run_script": sample("""
%run other.py
# %%
x = 1
""", by_hand=[1], runs=False),
    "sql": sample("""
%load_ext sql
# %%
%sql sqlite://
# %%
%%sql
select 1 as one
# %%
%%sql result <<
select 2 as two
# %%
n = %sql select 3 as three
""", by_hand=[2, 3, 4, 5], runs=False),
    "ipython_api": sample("""
from IPython.display import display, HTML, Markdown, Image
# %%
display(HTML('<b>x</b>'))
# %%
display([1, 2], {'a': 1})
# %%
x = 1
display(x)
y = 2
"""),
    "get_ipython": sample("""
get_ipython().run_line_magic('matplotlib', 'inline')
x = 1
# %%
ip = get_ipython()
""", by_hand=[1, 2], runs=False),
    "input_history": sample("""
x = 1
x
# %%
y = _ + 1
# %%
z = Out[1]
""", by_hand=[2, 3], runs=False),
    "input": sample("""
name = input('Name: ')
# %%
import getpass
p = getpass.getpass()
""", runs=False),
    "parameters": sample("""
# %% parameters
rows = 10
region = 'eu'
# %%
total = rows * 2
print(region, total)
"""),
    "injected": sample("""
# %% parameters
rows = 10
# %% injected-parameters
rows = 20
# %%
total = rows * 2
"""),
    "papermill_calls": sample("""
# %% parameters
day = '2026-01-01'
# %%
import papermill as pm
# %%
pm.execute_notebook('a.ipynb', 'b.ipynb', parameters={'day': day})
""", by_hand=[3], runs=False),
    "dagstermill_op": sample("""
import dagstermill
# %% parameters
context = dagstermill.get_context(op_config=3)
# %%
rows = context.op_config * 2
# %%
dagstermill.yield_result(rows, 'rows')
""", by_hand=[4], runs=False),
    "dagstermill_asset": sample("""
import dagstermill as dm
import dagster as dg
# %%
context = dm.get_context()
# %%
context.log.info('start')
# %%
dm.yield_event(dg.AssetMaterialization('orders'))
# %%
dm.yield_result(value=5, output_name='total')
""", by_hand=[4, 5], runs=False),
    "raises_exception": sample("""
x = 1
# %% raises-exception
1/0
# %%
y = 2
"""),
    "ipywidgets": sample("""
import ipywidgets as widgets
# %%
slider = widgets.IntSlider(min=0, max=9, value=3)
slider
# %%
x = slider.value * 2
# %%
@widgets.interact(n=(0, 5))
def show(n):
    print(n)
""", by_hand=[4], runs=False),
    "matplotlib": sample("""
%matplotlib inline
import matplotlib.pyplot as plt
# %%
plt.plot([1, 2, 3], [2, 4, 8])
plt.title('x')
plt.show()
# %%
fig, ax = plt.subplots()
ax.bar(['a', 'b'], [1, 2])
# %%
fig, ax = plt.subplots(1, 2)
ax[0].scatter([1], [2]);
""", needs=["matplotlib"]),
    "altair": sample("""
import altair as alt, pandas as pd
# %%
df = pd.DataFrame({'a': [1, 2], 'b': [3, 4]})
# %%
chart = alt.Chart(df).mark_line().encode(x='a', y='b')
chart
"""),
    "plotly": sample("""
import plotly.express as px, pandas as pd
# %%
df = pd.DataFrame({'a': [1, 2], 'b': [3, 4]})
# %%
fig = px.line(df, x='a', y='b')
fig.show()
# %%
fig
"""),
    "pandas_eda": sample(r"""
# %% [markdown]
# EDA
# %%
import pandas as pd
import numpy as np
import io
import warnings
warnings.filterwarnings('ignore')
# %%
df = pd.read_csv(io.StringIO('day,region,price\n2026-01-01,eu,10\n2026-01-02,us,20'))
df.head()
# %%
df.info()
# %%
df.describe()
# %%
df.shape
# %%
df['day'] = pd.to_datetime(df['day'])
# %%
df = df.assign(double=df.price * 2)
# %%
by = df.groupby('region').price.agg(['sum', 'mean'])
by
# %%
for column in df.columns:
    print(column, df[column].nunique())
# %%
df = df.dropna()
df.isna().sum()
# %%
top = df.sort_values('price').iloc[-1].price
print(f'top {top}')
"""),
    "polars_pipeline": sample(r"""
import polars as pl
import io
# %%
lf = pl.read_csv(io.StringIO('day,region,price\n2026-01-01,eu,10\n2026-01-02,us,20')).lazy()
# %%
lf = lf.filter(pl.col('price') > 10)
# %%
df = lf.collect()
df
# %%
df = df.sort('price')
total = df['price'].sum()
"""),
    "numpy_training": sample("""
import numpy as np
rng = np.random.default_rng(0)
# %%
X = rng.normal(size=(50, 2))
y = X @ [1.0, -2.0] + 0.5
# %%
w = np.zeros(2)
b = 0.0
losses = []
# %%
for epoch in range(20):
    p = X @ w + b
    e = p - y
    w = w - 0.1 * X.T @ e / len(y)
    b = b - 0.1 * e.mean()
    losses.append(float((e**2).mean()))
# %%
print(f'loss {losses[-1]:.3f}')
# %%
def predict(X):
    return X @ w + b
# %%
predict(X[:2])
"""),
    "sklearn_training": sample("""
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split
import numpy as np
# %%
X = np.arange(20).reshape(-1, 1)
y = X.ravel() * 2.0
# %%
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
# %%
model = LinearRegression()
model.fit(X_train, y_train)
# %%
score = model.score(X_test, y_test)
score
""", needs=['sklearn']),
    "report": Sample(
        [
            raw("---\ntitle: x\n---"),
            markdown("# Report\n![](attachment:one.png)", attachments=PICTURE),
            code("region = 'eu'\nyear = 2026", "parameters"),
            code("region = 'us'", "injected-parameters"),
            "%%time\nimport json\ndata = {'region': region, 'year': year}",
            "print(json.dumps(data))",
            "data['n'] = 3\ndata",
            "data = dict(sorted(data.items()))\ndata;",
            markdown("Done: $\\checkmark$"),
        ],
        differs="a time is printed",
    ),
}  # fmt: skip
CI = ("report",)
"""Those that run in every CI, and not only at night."""
