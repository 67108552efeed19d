"""The difference between two values of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Number

from dagmar.diff.model import Change, Difference, Kind, in_words, type_name
from dagmar.diff.values import compare_nested, compare_numbers, compare_texts, parts, same


def compare(before: object, after: object, keys: Sequence[str] = ()) -> Difference:
    """Return how a value differs from an earlier one; it never raises.

    `keys` are columns that identify a row of a frame. Without them, a column that is unique in both
    frames is used.
    """
    try:
        return _compare(before, after, keys)
    except Exception as error:  # whatever a user's class or a library raises
        why = " ".join(str(error).split()) or "no message"
        reason = f"comparing them failed with {type(error).__name__}: {in_words(why)}"
        return _different(before, after, reason)


def _compare(before: object, after: object, keys: Sequence[str]) -> Difference:
    from dagmar.diff.frames import compare_frames
    from dagmar.diff.tables import read_table

    if before is after:
        # Small numbers and the like always are.
        plain = isinstance(before, Number | str | bytes) or before is None
        remarks = [] if plain else ["Both are the same object."]
        return Difference(_kind(before), equal=True, remarks=remarks)
    old, new = read_table(before), read_table(after)
    if old and new:
        return compare_frames(old, new, keys)
    kind = _kind(before)
    apart = kind == "mapping" and type(before) is not type(after)
    if apart or kind != _kind(after) or old or new:
        types = f"The type changed from {type_name(before)} to {type_name(after)}."
        return _different(before, after, remarks=[types])
    if isinstance(before, Number) and isinstance(after, Number):
        return compare_numbers(before, after)
    if isinstance(before, str) and isinstance(after, str):
        return compare_texts(before, after)
    if kind == "mapping":
        return compare_nested(before, after, compare)
    if same(before, after):
        return Difference("other", equal=True)
    # Two objects of such a class are never equal, not even one and its copy.
    only_itself = type(before).__eq__ is object.__eq__
    reason = f"{type_name(before)} does not define when two are equal" if only_itself else ""
    return _different(before, after, reason=reason)


def _different(
    before: object, after: object, reason: str = "", remarks: Sequence[str] = ()
) -> Difference:
    change = Change("", in_words(before), in_words(after))
    return Difference("other", False, reason, remarks, changes=[change], total=1)


def _kind(value: object) -> Kind:
    if isinstance(value, Number):  # and a boolean
        return "number"
    if isinstance(value, str):
        return "text"
    return "mapping" if parts(value) is not None else "other"
