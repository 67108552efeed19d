"""Values of flags: what is read, and what is said of a malformed one."""

from __future__ import annotations

import pytest
from dagmar.errors import UsageError
from dagmar.flags import parse_number, parse_pairs, parse_port, parse_tags, parse_whole


def test_a_flag_that_was_left_out_has_no_value() -> None:
    assert (parse_number("--timeout", "", 600), parse_whole("--keep", "", 10)) == (None, None)
    assert parse_port("--dagster-port", "") is None


def test_a_number_may_have_a_fraction() -> None:
    assert parse_number("--older-than", "0.5", 30) == 0.5


@pytest.mark.parametrize("text", ["soon", "1d", "0", "-1", "nan", "inf"])
def test_a_number_that_is_malformed_or_too_small_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_number("--timeout", text, 600, 0.1, "seconds")
    assert caught.value.message == (
        f"--timeout takes a number of seconds, 0.1 or more, not '{text}'"
    )
    assert caught.value.hint == "For example: --timeout 600"


@pytest.mark.parametrize("text", ["0", "two", "1.5", "nan", "inf", "٣", "9" * 5000])
def test_what_is_not_a_whole_number_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--workers takes a whole number, 1 or more"):
        parse_whole("--workers", text, 4)


@pytest.mark.parametrize("text", ["0", "65536", "abc", "-1", "3000.0", "٣"])
def test_what_is_not_a_port_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--dagster-port takes a port from 1 to 65535"):
        parse_port("--dagster-port", text)


def test_ports_are_read() -> None:
    assert parse_port("--dagster-port", "65535") == 65535


@pytest.mark.parametrize(
    ("texts", "tags"),
    [
        ([], ()),
        (["a=b"], (("a", "b"),)),
        (["a=b=c", "x/y="], (("a", "b=c"), ("x/y", ""))),
    ],
)
def test_tags_are_split_at_the_first_equals_sign(texts: list[str], tags: object) -> None:
    assert parse_tags(texts) == tags


@pytest.mark.parametrize("text", ["tier", "=gold", ""])
def test_a_malformed_tag_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--tag takes KEY=VALUE") as caught:
        parse_tags(["a=b", text])
    assert caught.value.hint == "For example: --tag tier=gold"


def test_a_key_can_be_limited() -> None:
    assert parse_pairs("--set", ["width=full"], "width=full", is_key=str.isidentifier)
    with pytest.raises(UsageError, match="--set takes NAME=VALUE, not 'no name=x'"):
        parse_pairs("--set", ["no name=x"], "width=full", "NAME=VALUE", str.isidentifier)
