"""Texts that people and programs write, for hypothesis: plain values, YAML, asset keys."""

from __future__ import annotations

from dagmar.asset_key import AssetKey
from hypothesis import strategies as st

TEXTS = (
    st.text()
    | st.text(st.sampled_from("ab=.|/\\@:'\"#-_ 0\n\t\x00é\ud800"), max_size=12)
    | st.text("x", min_size=300, max_size=5_000)
)
"""Any text, of characters that mean something, or long. Half of a surrogate pair comes from file
names that are not UTF-8."""
KEYS = st.lists(
    st.text(min_size=1) | st.text("ab/\\.é'\"* ", min_size=1, max_size=5), min_size=1, max_size=4
).map(AssetKey.from_parts)
PIECES = (
    "[", "]", "{", "}", "- ", "? ", ": ", "\n", "\n  ", ",", "&a ", "*a", "<<: *a", "!!bool x",
    "!!int ", "!!float x", "!!timestamp 2020-13-45", "!!binary é", "!!set {a, b}", "!!omap [a]",
    "!!python/name:os.system", "!x y", "2020-01-01", "12:30:45", "0o17", "1_0", ".inf", ".nan",
    "1e999", "~", "null", "no", "'", '"', "|\n", ">\n", "%YAML 1.1", "---", "...", "#", "@", "`",
    "\t", "\x00", "\x85", "\ufeff", "a", "ops", "config", "é", "[" * 500, "{a: " * 200, "9" * 5000,
)  # fmt: skip
YAML = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=8).map("".join)
"""YAML that is mostly broken."""
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text("abc-é ", max_size=5), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
"""What YAML and JSON can both hold."""
