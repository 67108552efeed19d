"""The difference between two values that are not frames, by rules for each kind."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from numbers import Number

from dagmar.diff.model import Change, Difference, in_words

MOST_CHANGES = 50
MOST_LINES = 200
MOST_TEXT = 200_000
"""Characters beyond which only the differing middle of two texts is compared line by line."""


def compare_numbers(before: Number, after: Number) -> Difference:
    """Compare two numbers; NaN is equal to itself."""
    if same(before, after):
        return Difference("number", equal=True)
    change = Change("", in_words(_plain(before)), in_words(_plain(after)))
    return Difference("number", equal=False, remarks=_by_how_much(before, after), changes=[change])


def compare_texts(before: str, after: str) -> Difference:
    """Compare two texts line by line."""
    if before == after:
        return Difference("text", equal=True)
    old, new = before.splitlines(), after.splitlines()
    if old == new:
        return Difference("text", equal=False, remarks=["Only the ends of lines differ."])
    skipped = 0
    if len(before) + len(after) > MOST_TEXT:
        # difflib is quadratic, so what both begin and end with is left out.
        most = min(len(old), len(new))
        while skipped < most and old[skipped] == new[skipped]:
            skipped += 1
        tail = 0
        while tail < most - skipped and old[-1 - tail] == new[-1 - tail]:
            tail += 1
        old, new = old[skipped : len(old) - tail], new[skipped : len(new) - tail]
    remarks = [f"The first {skipped} lines are equal."] if skipped else []
    if len(old) + len(new) > MOST_LINES * 20:
        remarks.append("Only the first lines that differ were compared.")
        old, new = old[: MOST_LINES * 10], new[: MOST_LINES * 10]
    lines = [in_words(line) for line in difflib.unified_diff(old, new, n=2, lineterm="")]
    return Difference(
        "text", equal=False, remarks=remarks, lines=lines[:MOST_LINES], total=len(lines)
    )


def compare_nested(
    before: object, after: object, compare: Callable[[object, object], Difference]
) -> Difference:
    """Compare mappings, lists and objects by their parts; `compare` is for those without parts."""
    changes: list[Change] = []
    remarks: list[str] = []
    total = 0
    for change, reason in _changes(before, after, "", compare, ()):
        total += 1
        if total <= MOST_CHANGES:
            changes.append(change)
            if reason:
                remarks.append(f"{change.place} cannot be compared: {reason}")
    return Difference("mapping", equal=not total, remarks=remarks, changes=changes, total=total)


def same(before: object, after: object) -> bool:
    """Whether two values are equal; NaN is equal to itself.

    Raises what comparing them raises, and TypeError if that does not answer yes or no.
    """
    if before is after:
        return True
    answer = before == after
    if hasattr(answer, "all") and not isinstance(answer, bool):
        answer = (
            getattr(before, "shape", None) == getattr(after, "shape", None)
            and (answer | ((before != before) & (after != after))).all()
        )
    if not answer and before != before and after != after:
        return True
    return bool(answer)


def parts(value: object) -> dict[str, object] | None:
    """Return the parts of a mapping, list or object by their place in it; None if it has none."""
    if isinstance(value, Mapping):
        return {
            f".{key}" if isinstance(key, str) else f"[{key!r}]": each for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return {f"[{index}]": each for index, each in enumerate(value)}
    if type(value).__eq__ is object.__eq__ and hasattr(value, "__dict__") and not callable(value):
        return {f".{name}": each for name, each in vars(value).items()}
    return None


def _changes(
    before: object,
    after: object,
    place: str,
    compare: Callable[[object, object], Difference],
    within: tuple[int, ...],
) -> Iterator[tuple[Change, str]]:
    """Yield what is different, and why it cannot be compared if so."""
    if before is after or id(before) in within:
        return
    old, new = parts(before), parts(after)
    if old is None or new is None or type(before) is not type(after):
        found = compare(before, after)
        if not found.equal:
            yield Change(place, in_words(before), in_words(after)), found.reason
        return
    for name in dict.fromkeys([*old, *new]):
        where = f"{place}{name}".removeprefix(".")
        if name not in new:
            yield Change(where, in_words(old[name]), None), ""
        elif name not in old:
            yield Change(where, None, in_words(new[name])), ""
        else:
            yield from _changes(old[name], new[name], where, compare, (*within, id(before)))


def _plain(number: Number) -> object:
    """Return a number of numpy as one of Python, whose text has no type in it."""
    return number.item() if hasattr(number, "item") else number


def _by_how_much(before: Number, after: Number) -> list[str]:
    try:
        more = after - before  # type: ignore[operator]
        share = f" ({more / abs(before):+.2%})" if before else ""  # type: ignore[arg-type]
        return [f"{_plain(more):+}{share}"]
    except Exception:  # a complex number, a decimal and a float, infinity
        return []
