# SPDX-License-Identifier: Apache-2.0
"""JSON values become field values as Neutron converts them."""

from typing import Literal, NewType

import pytest

from alcor.base.net import Cidr, Ip, Mac
from alcor.resource import parse

Id = NewType("Id", str)


@pytest.mark.parametrize("value", [True, "true", "True", " T ", "1", 1, "on", "y", "YES"])
def test_these_are_true(value: object):
    assert parse.parse_bool(value) is True


@pytest.mark.parametrize("value", [False, "false", "f", "0", 0, "off", "n", "NO"])
def test_these_are_false(value: object):
    assert parse.parse_bool(value) is False


@pytest.mark.parametrize("value", [None, "", "maybe", 2, -1, 1.0, [], {}, ["true"]])
def test_these_are_no_booleans(value: object):
    with pytest.raises(ValueError, match="cannot be converted to boolean"):
        parse.parse_bool(value)


@pytest.mark.parametrize(("value", "number"), [(7, 7), ("7", 7), ("-7", -7), ("+7", 7), (7.0, 7), ("007", 7)])
def test_whole_numbers_are_taken_also_as_text(value: object, number: int):
    assert parse.parse_int(value) == number


@pytest.mark.parametrize(
    "value", [None, "", "x", "7.5", 7.5, True, [], "1" * 30, "٧", float("inf"), float("nan"), "1_000", " 7"]
)
def test_these_are_no_whole_numbers(value: object):
    with pytest.raises(ValueError, match="is not an integer"):
        parse.parse_int(value)


@pytest.mark.parametrize("text", ["0F0B54E6-2D5A-4A5B-8E5F-7F4F4B1A2C3D", "0f0b54e62d5a4a5b8e5f7f4f4b1a2c3d"])
def test_uuid_becomes_canonical(text: str):
    assert parse.parse_uuid(text) == "0f0b54e6-2d5a-4a5b-8e5f-7f4f4b1a2c3d"
    assert parse.parse_uuid(parse.parse_uuid(text)) == parse.parse_uuid(text)


@pytest.mark.parametrize("value", ["", "x", None, 7, "0f0b54e6"])
def test_these_are_no_uuids(value: object):
    with pytest.raises(ValueError, match="is not a valid UUID"):
        parse.parse_uuid(value)


@pytest.mark.parametrize(
    ("kind", "value", "parsed"),
    [
        (str, "x", "x"),
        (Id, "x", "x"),
        (Mac, "FA-16-3E-00-00-01", "fa:16:3e:00:00:01"),
        (Ip, "2001:DB8:0::1", "2001:db8::1"),
        (Cidr, "10.0.0.7/24", "10.0.0.0/24"),
        (Literal["a", "b"], "b", "b"),
        (tuple[str, ...], ["a", "b"], ("a", "b")),
        (dict[str, object], {"a": [1]}, {"a": [1]}),
    ],
)
def test_type_decides_how_a_value_is_read(kind: object, value: object, parsed: object):
    assert parse.by_kind(kind)(value) == parsed


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (str, 7, "'7' is not a valid string"),
        (Mac, 7, "'7' is not a valid MAC address"),
        (Mac, "zz", "'zz' is not a valid MAC address"),
        (Ip, None, "'None' is not a valid IP address"),
        (Ip, "10.0.0.256", "'10.0.0.256' is not a valid IP address"),
        (Cidr, {}, "'{}' is not a valid IP subnet"),
        (Cidr, "10.0.0.0", "is not a valid CIDR"),
        (Literal["a", "b"], "c", r"'c' is not in \['a', 'b'\]"),
        (Literal["a", "b"], ["a"], r"is not in \['a', 'b'\]"),
        (tuple[str, ...], "ab", "is not valid"),
        (tuple[str, ...], [1], "is not valid"),
    ],
)
def test_value_that_the_type_does_not_have_is_refused_with_its_reason(
    kind: object, value: object, reason: str
):
    with pytest.raises(ValueError, match=reason):
        parse.by_kind(kind)(value)


def test_refusal_repeats_a_long_value_only_in_part():
    with pytest.raises(ValueError, match="is not an integer") as refused:
        parse.parse_int("x" * 1_000_000)
    assert len(str(refused.value)) < 300
