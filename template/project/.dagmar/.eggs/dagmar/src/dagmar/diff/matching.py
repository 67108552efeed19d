"""Which row of one frame is which row of the other: by keys, by position, or by their content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal

from dagmar.diff.cells import of_one_width, unequal
from dagmar.diff.tables import Table, new_positions, slices

if TYPE_CHECKING:
    import narwhals.stable.v2 as nw

MOST_CELLS = 20_000_000
MOST_ROWS = 5_000_000
# Of rows with a key, those whose hash is a multiple are looked at. A prime, because the hash of an
# integer is itself, and keys often are multiples of 2, 5 or 1000.
PRIMES = (1, 3, 7, 13, 31, 61, 127, 251, 509, 1021, 2053, 4099)
FIRST = 10


@dataclass(frozen=True)
class Matching:
    """Pairs of rows, as positions in both frames; without positions, a row's is the same in both.

    `added` and `removed` are positions of the first rows without a partner.
    """

    by: Literal["keys", "position", "content", ""]
    keys: Sequence[str] = ()
    every: int = 1
    pairs: int = 0
    before: nw.Series[Any] | None = None
    after: nw.Series[Any] | None = None
    added: int = 0
    removed: int = 0
    first_added: Sequence[int] = ()
    first_removed: Sequence[int] = ()
    remarks: Sequence[str] = ()

    @property
    def cells(self) -> bool:
        """Whether a row is known in both frames, so that its cells can be compared."""
        return self.by in ("keys", "position")

    def positions(self, at: nw.Series[Any]) -> tuple[nw.Series[Any], nw.Series[Any]]:
        """Return where the pairs with these numbers are in each frame."""
        if self.before is None or self.after is None:
            return at, at
        return self.before[at], self.after[at]

    def pair(
        self, old: nw.Series[Any], new: nw.Series[Any]
    ) -> tuple[nw.Series[Any], nw.Series[Any]]:
        """Return the cells of two columns, each next to that of the same row."""
        if self.before is None or self.after is None:
            return old, new
        # Most often nothing was removed, and then those of the first frame are in order.
        in_order = len(self.before) == len(old)
        return old if in_order else old[self.before], new[self.after]


def match(old: Table, new: Table, keys: Sequence[str]) -> Matching:
    """Match the rows of two frames of one library."""
    cells = max(old.rows * len(old.columns), new.rows * len(new.columns))
    ratio = max(cells / MOST_CELLS, old.rows / MOST_ROWS, new.rows / MOST_ROWS)
    every = next((prime for prime in PRIMES if prime >= ratio), PRIMES[-1])
    shared = [name for name in old.columns if name in new.columns]
    remarks = []
    if keys:
        reason = _no_key(old, new, keys)
        if not reason:
            return _by_keys(old, new, keys, every)
        remarks.append(f"Rows were not matched by {', '.join(keys)}: {reason}.")
    else:
        for candidate in _candidates(old, new, shared):
            matching = _by_keys(old, new, candidate, every)
            # A column that only happens to be unique would match next to nothing.
            if 2 * matching.pairs >= min(old.rows, new.rows) / every:
                return matching
    if old.rows == new.rows:
        positions = _every(old, every) if every > 1 else None
        pairs = old.rows if positions is None else len(positions)
        return Matching("position", (), every, pairs, positions, positions, remarks=remarks)
    if every == 1 and shared:
        return _by_content(old, new, shared, remarks)
    remarks.append(
        "Cells were not compared: there is no key, the number of rows differs, "
        "and there are too many rows to look for equal ones."
        if shared
        else "Cells were not compared: the frames have no column in common."
    )
    return Matching("", remarks=remarks)


def _no_key(old: Table, new: Table, keys: Sequence[str]) -> str:
    """Return why columns do not identify a row in both frames; empty if they do."""
    for name, table in (("the recorded value", old), ("the new value", new)):
        absent = [key for key in keys if key not in table.columns]
        if absent:
            return f"{name} has no column {', '.join(absent)}"
        series = [table.columns[key] for key in keys]
        if any(each.null_count() for each in series):
            return f"{name} has rows without a key"
        if not _unique(series):
            return f"{name} has a key more than once"
    for key in keys:
        a, b = old.columns[key].dtype, new.columns[key].dtype
        if a != b and not (a.is_integer() and b.is_integer()):
            return f"the type of {key} changed from {a} to {b}"
    return ""


def _unique(series: Sequence[nw.Series[Any]]) -> bool:
    import narwhals.stable.v2 as nw

    if len(series) == 1:
        return bool(series[0].n_unique() == len(series[0]))
    frame = nw.from_dict({str(i): each for i, each in enumerate(series)})
    return not frame.is_duplicated().any()


def _candidates(old: Table, new: Table, shared: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield what is unique in both: the index of pandas, or a column; those named like a key first.

    Whole numbers, texts, dates and times can be keys; what is measured cannot.
    """
    import narwhals.stable.v2 as nw

    if not old.rows or not new.rows or len(shared) < 2:
        return  # a key alone would say which rows were added and removed, and never what changed
    index = [name for name in old.index if name in shared]
    if index and not _no_key(old, new, index):
        yield index
    named = [name for name in shared if name.lower().endswith(("id", "key", "code", "name"))]
    tried = 0
    for name in dict.fromkeys([*named, *shared]):
        a, b = old.columns[name], new.columns[name]
        kinds = (a.dtype.is_integer(), a.dtype == nw.String, a.dtype.is_temporal())
        if name in index or not any(kinds):
            continue
        # Most columns that are not unique show it early.
        if any(not _unique([each.head(1000)]) for each in (a, b)):
            continue
        if not _no_key(old, new, [name]):
            yield [name]
            tried += 1
            if tried == 3:
                return


def _by_keys(old: Table, new: Table, keys: Sequence[str], every: int) -> Matching:
    import narwhals.stable.v2 as nw

    pairs_of_keys = [of_one_width(old.columns[key], new.columns[key]) for key in keys]
    sides = list(zip(*pairs_of_keys, strict=True))
    if old.rows == new.rows and not any(unequal(a, b).any() for a, b in pairs_of_keys):
        positions = _every(old, every) if every > 1 else None
        pairs = old.rows if positions is None else len(positions)
        return Matching("keys", keys, every, pairs, positions, positions)
    frames = []
    for series, place in zip(sides, ("before", "after"), strict=True):
        columns = {f"key {i}": each for i, each in enumerate(series)}
        if every > 1:
            backend = series[0].implementation
            some = (i for i, row in enumerate(_hashes(series)) if row % every == 0)
            chosen = new_positions(some, backend)
            columns = {name: each[chosen] for name, each in columns.items()}
            frame = nw.from_dict({**columns, place: chosen})
        else:
            frame = nw.from_dict(columns).with_row_index(place)
        frames.append(frame)
    on = [f"key {i}" for i in range(len(keys))]
    joined = frames[0].join(frames[1], on=on, how="inner").select("before", "after").sort("before")
    before, after = joined["before"], joined["after"]
    removed, added = (each[place] for each, place in zip(frames, ("before", "after"), strict=True))
    return Matching(
        "keys",
        keys,
        every,
        len(joined),
        before,
        after,
        len(added) - len(joined),
        len(removed) - len(joined),
        _without(added, after, new.rows),
        _without(removed, before, old.rows),
    )


def _without(rows: nw.Series[Any], matched: nw.Series[Any], total: int) -> Sequence[int]:
    """Return the first rows that are not matched."""
    if len(rows) == len(matched):
        return ()
    seen = bytearray(total)
    for position in chain.from_iterable(slices(matched)):
        seen[position] = 1
    alone = (row for row in chain.from_iterable(slices(rows)) if not seen[row])
    return list(islice(alone, FIRST))


def _every(table: Table, every: int) -> nw.Series[Any]:
    """Return every nth position."""
    backend = next(iter(table.columns.values())).implementation
    return new_positions(range(0, table.rows, every), backend)


def _hashes(series: Sequence[nw.Series[Any]]) -> Iterator[int]:
    for columns in zip(*(slices(each) for each in series), strict=True):
        for row in zip(*columns, strict=True) if len(columns) > 1 else columns[0]:
            try:
                yield hash(row)
            except TypeError:  # lists, structs
                yield hash(repr(row))


def _by_content(old: Table, new: Table, shared: Sequence[str], remarks: Sequence[str]) -> Matching:
    """Find the rows that have no equal one in the other frame, by the hash of their cells."""
    sides = [[table.columns[name] for name in shared] for table in (old, new)]
    counts: Counter[int] = Counter(_hashes(sides[0]))
    for row in _hashes(sides[1]):
        counts[row] -= 1
        if not counts[row]:
            del counts[row]
    removed, added = +counts, -counts
    firsts = []
    for series, alone in zip(sides, (removed, added), strict=True):
        left = Counter(alone)
        first = []
        for position, row in enumerate(_hashes(series) if left else ()):
            if left[row] > 0:
                left[row] -= 1
                first.append(position)
                if len(first) == FIRST:
                    break
        firsts.append(first)
    return Matching(
        "content",
        pairs=old.rows - sum(removed.values()),
        added=sum(added.values()),
        removed=sum(removed.values()),
        first_added=firsts[1],
        first_removed=firsts[0],
        remarks=remarks,
    )
