"""Fuzz tests of what is typed into a flag or a file: coverage guides the values of hypothesis.

    uv run --group fuzz python tests/fuzz.py -max_total_time=300    # any option of libFuzzer

It ends with the first value that breaks one of the properties, prints the bytes that choose it, and
keeps them as `crash-…`, a file to give as an argument.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

TESTS = Path(__file__).parent


def properties(file: Path) -> list[Callable[[bytes], bytes | None]]:
    """Return the properties in a file of tests, as functions of the bytes that choose values."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [test for name, test in vars(module).items() if name.startswith("test_")]
    return [test.hypothesis.fuzz_one_input for test in tests if hasattr(test, "hypothesis")]


def main() -> None:
    sys.path.insert(0, str(TESTS))
    with atheris.instrument_imports(include=["dagmar"]):
        found = properties(TESTS / "unit/test_input_properties.py")
    print(f"{len(found)} properties", flush=True)

    def one(data: bytes) -> None:
        """Let the first byte choose the property, and the others its values."""
        if data:
            found[data[0] % len(found)](data[1:])

    # From the start as long as they may be: a few bytes choose no value.
    atheris.Setup([sys.argv[0], "-len_control=0", *sys.argv[1:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
