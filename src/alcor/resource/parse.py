# SPDX-License-Identifier: Apache-2.0
"""How JSON values become field values, by the field's type, in Neutron's words where they do not.

A parser takes what JSON gave and answers the field's value, or raises ValueError with Neutron's reason. Filters in a
query string are text: `text_parser` reads them by the same type.
"""

import re
import types
import typing
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from alcor.base.errors import Invalid
from alcor.base.net import Cidr, Ip, Mac, parse_cidr, parse_ip, parse_mac

S = TypeVar("S", bound=msgspec.Struct)
Parser = Callable[[Any], Any]

_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})
_NUMBER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SHOWN_MAX = 200  # characters of a refused value that its refusal repeats
_REASON_MAX = 1_000  # characters of a reason


def shown(value: object) -> str:
    """`value` as a refusal repeats it: bounded."""
    text = str(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."


def brief(reason: str) -> str:
    """A reason of a parser that repeats what it was given, bounded."""
    return reason if len(reason) <= _REASON_MAX else reason[:_REASON_MAX] + "..."


def parse_bool(value: object) -> bool:
    """A boolean as Neutron converts one: true, "True", "1", 1, "yes" and so on. Raises ValueError."""
    if value is True or value is False:
        return value
    word = str(value).strip().lower() if isinstance(value, str | int) else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"'{shown(value)}' cannot be converted to boolean")


def parse_int(value: object) -> int:
    """A whole number, also one written as text. Raises ValueError."""
    if type(value) is int:
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError(f"'{shown(value)}' is not an integer")


def parse_text(value: object) -> str:
    """Text as it is. Raises ValueError."""
    if isinstance(value, str):
        return value
    raise ValueError(f"'{shown(value)}' is not a valid string")


def parse_uuid(value: object) -> str:
    """A UUID in its canonical form. Raises ValueError."""
    if isinstance(value, str):
        if _UUID.fullmatch(value):
            return value
        try:
            return str(uuid.UUID(value))
        except ValueError:
            pass  # what it is not is said below
    raise ValueError(f"'{shown(value)}' is not a valid UUID")


TAG_LENGTH_MAX, TAGS_MAX = 255, 50  # of a tag; of one object (Neutron's)


def parse_tag(value: object) -> str:
    """A tag. Raises ValueError."""
    tag = parse_text(value)
    if len(tag) > TAG_LENGTH_MAX:
        raise ValueError(f"'{shown(tag)}' exceeds maximum length of {TAG_LENGTH_MAX}")
    return tag


def parse_tags(value: object) -> tuple[str, ...]:
    """Tags, none twice, as many as are given. Raises ValueError."""
    if not isinstance(value, list):
        raise ValueError(f"'{shown(value)}' is not a list")
    tags = tuple(parse_tag(tag) for tag in value)
    twice = [tag for tag, count in Counter(tags).items() if count > 1]
    if twice:
        raise ValueError(f"Duplicate items in the list: '{shown(', '.join(twice))}'")
    return tags


def parse_few_tags(value: object) -> tuple[str, ...]:
    """The tags of one object. Raises ValueError, also where they are too many."""
    return few_tags(parse_tags(value))


def few_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """The tags of one object. Raises ValueError where they are too many."""
    if len(tags) > TAGS_MAX:
        raise ValueError(f"The number of tags exceed the per-resource limit of {TAGS_MAX}")
    return tags


def _mac(value: object) -> Mac:
    if not isinstance(value, str):
        raise ValueError(f"'{shown(value)}' is not a valid MAC address")
    return parse_mac(value)


def _ip(value: object) -> Ip:
    if not isinstance(value, str):
        raise ValueError(f"'{shown(value)}' is not a valid IP address")
    return parse_ip(value)


def _cidr(value: object) -> Cidr:
    if not isinstance(value, str):
        raise ValueError(f"'{shown(value)}' is not a valid IP subnet")
    return parse_cidr(value)


_BY_KIND: dict[Any, Parser] = {
    bool: parse_bool,
    int: parse_int,
    str: parse_text,
    Mac: _mac,
    Ip: _ip,
    Cidr: _cidr,
}


def split_optional(kind: Any) -> tuple[Any, bool]:
    """The type without None, and whether None belongs to it."""
    if get_origin(kind) in {types.UnionType, typing.Union}:
        rest = tuple(part for part in get_args(kind) if part is not type(None))
        if len(rest) < len(get_args(kind)):
            return (rest[0] if len(rest) == 1 else typing.Union[rest]), True  # noqa: UP007  # built at run time
    return kind, False


def by_kind(kind: Any) -> Parser:
    """The parser of a type that is not optional."""
    if (known := _BY_KIND.get(kind)) is not None:
        return known
    if get_origin(kind) is Literal:
        return _one_of(get_args(kind))
    if (base := getattr(kind, "__supertype__", None)) is not None:
        return by_kind(base)
    return _converted(kind)


def _one_of(values: Collection[Any]) -> Parser:
    def parse(value: Any) -> Any:
        if isinstance(value, str | int) and value in values:
            return value
        raise ValueError(f"'{shown(value)}' is not in {list(values)}")

    return parse


def _converted(kind: Any) -> Parser:
    def parse(value: Any) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as wrong:
            raise ValueError(f"'{shown(value)}' is not valid: {wrong}") from None

    return parse


def struct(kind: type[S], body: Mapping[str, Any]) -> S:
    """The body of an action as a struct, whose types say what may stand there. Raises Invalid."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"Invalid input for operation: {brief(str(wrong))}.", type="InvalidInput") from None


def refused_text(wrong: ValueError) -> Invalid:
    """The refusal of a filter that means nothing, in Neutron's words."""
    return Invalid(f"Invalid input for operation: {str(wrong).removesuffix('.')}.", type="InvalidInput")


def filter_truth(text: str) -> bool:
    """What a filter by a truth means. Raises Invalid."""
    try:
        return parse_bool(text)
    except ValueError as wrong:
        raise refused_text(wrong) from None


def bounded(parse: Parser, minimum: int | None, maximum: int | None) -> Parser:
    """`parse`, and then Neutron's range check."""

    def parse_bounded(value: Any) -> Any:
        number = parse(value)
        if minimum is not None and number < minimum:
            raise ValueError(f"'{shown(value)}' is too small - must be at least '{minimum}'")
        if maximum is not None and number > maximum:
            raise ValueError(f"'{shown(value)}' is too large - must be no larger than '{maximum}'")
        return number

    return parse_bounded


def short(parse: Parser, max_length: int) -> Parser:
    """`parse`, and then Neutron's length check."""

    def parse_short(value: Any) -> Any:
        text = parse(value)
        if len(text) > max_length:
            raise ValueError(f"'{shown(text)}' exceeds maximum length of {max_length}")
        return text

    return parse_short


def chosen(parse: Parser, choices: tuple[Any, ...]) -> Parser:
    """`parse`, and then a check that the value is one of `choices`."""

    def parse_chosen(value: Any) -> Any:
        parsed = parse(value)
        if parsed not in choices:
            raise ValueError(f"'{shown(value)}' is not in {list(choices)}")
        return parsed

    return parse_chosen


def or_none(parse: Parser, default: Any) -> Parser:
    """`parse`, and `default` for null."""

    def parse_or_none(value: Any) -> Any:
        return default if value is None else parse(value)

    return parse_or_none
