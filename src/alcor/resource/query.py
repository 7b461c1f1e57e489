# SPDX-License-Identifier: Apache-2.0
"""What a query string asks of a list: fields, filters, order and page, read once and refused in Neutron's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from alcor.base.errors import Invalid
from alcor.resource.parse import shown
from alcor.resource.shape import PROJECT, TENANT, Shape

CHANGED_SINCE = "changed_since"
PARAMETERS_MAX = 4_096  # in one query string: a client that filters by many ids sends as many


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A list request. Filters of one name are alternatives; those of different names must all hold."""

    fields: tuple[str, ...] = ()
    filters: dict[str, tuple[str, ...]] = {}  # by wire name
    sorts: tuple[tuple[str, bool], ...] = ()  # wire name, whether descending
    limit: int | None = None
    marker: str | None = None
    page_reverse: bool = False
    parameters: tuple[tuple[str, str], ...] = ()  # all of them, for the links to other pages


EVERYTHING = Query()


def parse_query(shape: Shape[Any], text: bytes, page_max: int) -> Query:
    """The query. Raises Invalid for unknown filters and sort keys, and for values that mean nothing."""
    if not text:
        return Query(limit=page_max) if page_max > 0 else EVERYTHING
    return _parsed(
        parameters_of(text),
        page_max,
        lambda taken: _filters(shape, taken),
        lambda key: _is_sortable(shape, key),
    )


def parse_call(
    asked: Mapping[str, Sequence[str]], page_max: int, filters: Sequence[str] | None, key: str = ""
) -> Query:
    """As `parse_query`, of a call that knows these filters (None: it heeds none, and refuses none) and one sort key."""
    parameters = [(name, value) for name, values in asked.items() for value in values]

    def known(taken: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        if filters is not None:
            check_filters(taken, filters)
        return {name: tuple(values) for name, values in taken.items()}

    return _parsed(parameters, page_max, known, lambda name: name == key)


def _parsed(
    parameters: Sequence[tuple[str, str]],
    page_max: int,
    filters: Callable[[dict[str, list[str]]], dict[str, tuple[str, ...]]],
    is_sortable: Callable[[str], bool],
) -> Query:
    taken: dict[str, list[str]] = {}
    for name, value in parameters:
        taken.setdefault(name, []).append(value)
    fields = taken.pop("fields", [])
    keys, directions = taken.pop("sort_key", []), taken.pop("sort_dir", [])
    limit = _limit(taken.pop("limit", ["0"])[-1], page_max)
    marker = taken.pop("marker", [""])[-1]
    reverse = taken.pop("page_reverse", ["False"])[-1]
    return Query(
        fields=tuple(field for field in fields if field),
        filters=filters(taken),
        sorts=_sorts(is_sortable, [key for key in keys if key], [word for word in directions if word]),
        limit=limit,
        marker=marker or None if limit else None,
        page_reverse=reverse.lower() == "true",
        parameters=tuple(parameters),
    )


def parameters_of(text: bytes) -> list[tuple[str, str]]:
    """The parameters in order. Raises Invalid for text that is no query string."""
    try:
        return parse_qsl(
            text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX
        )
    except UnicodeDecodeError:
        raise Invalid("The query string is not UTF-8 with percent-encoding.") from None
    except ValueError:
        raise Invalid(f"The query string has more than {PARAMETERS_MAX} parameters.") from None


_NO_FILTERS = ("fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse")


def sifted(
    rows: Iterable[Mapping[str, object]], asked: Mapping[str, Sequence[str]], filters: Sequence[str]
) -> list[dict[str, object]]:
    """The few rows of a call's list that a query leaves, with the fields that it names; a marker is of the first
    filter. Raises Invalid for a filter that is none of `filters`, and for a limit that is none.
    """
    check_filters(asked, filters)
    fields, marker, limit = (asked.get(name, ()) for name in ("fields", "marker", "limit"))
    left = [row for row in rows if all(str(row[name]) in asked[name] for name in filters if name in asked)]
    if marker:
        ends = (place for place, row in enumerate(left, 1) if row[filters[0]] == marker[-1])
        left = left[next(ends, 0) :]
    if limit:
        left = left[: _limit(limit[-1], 0)]
    return [{name: value for name, value in row.items() if not fields or name in fields} for row in left]


def check_filters(asked: Iterable[str], filters: Sequence[str]) -> None:
    """Raises Invalid for a parameter that is none of `filters`, and not of a page."""
    unknown = [shown(name) for name in asked if name not in filters and name not in _NO_FILTERS]
    if unknown:
        raise Invalid(f"{unknown} is invalid attribute for filtering")


def _filters(shape: Shape[Any], taken: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    unknown = []
    for name, values in taken.items():
        if name == TENANT and PROJECT in shape.by_name:
            name = PROJECT
        attribute, computed = shape.by_name.get(name), shape.computed_by_name.get(name)
        is_known = (
            attribute.api.filter and attribute.api.visible if attribute else computed and computed.filter
        )
        is_known = is_known or name in shape.tag_filters
        if is_known or (name == CHANGED_SINCE and _UPDATED in shape.by_name):
            found[name] = (*found.get(name, ()), *values)
        else:
            unknown.append(shown(name))
    if unknown:
        raise Invalid(f"{unknown} is invalid attribute for filtering")
    if CHANGED_SINCE in found:
        found[CHANGED_SINCE] = tuple(map(_moment, found[CHANGED_SINCE]))
    return found


def _moment(text: str) -> str:
    """A moment as it is written in objects: in whole seconds of UTC, which it is in unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        reason = f"The input {CHANGED_SINCE} must be in the following format: YYYY-MM-DDTHH:MM:SSZ"
        raise Invalid(f"Invalid input for operation: {reason}.", type="InvalidInput") from None
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


_UPDATED = "updated_at"


def _sorts(
    is_sortable: Callable[[str], bool], keys: list[str], directions: list[str]
) -> tuple[tuple[str, bool], ...]:
    if len(keys) != len(directions):
        raise Invalid("The number of sort_keys and sort_dirs must be same")
    absent = [shown(key) for key in keys if not is_sortable(key)]
    if absent:
        raise Invalid(f"{absent} is invalid attribute for sort_keys")
    wrong = [shown(word) for word in directions if word not in {"asc", "desc"}]
    if wrong:
        raise Invalid(f"{wrong} is invalid value for sort_dirs, valid value is 'asc' and 'desc'")
    return tuple((key, word == "desc") for key, word in zip(keys, directions, strict=True))


def _is_sortable(shape: Shape[Any], key: str) -> bool:
    attribute, computed = shape.by_name.get(key), shape.computed_by_name.get(key)
    if attribute is not None:
        return attribute.api.sort and attribute.api.visible
    return computed is not None and computed.sort


def _limit(text: str, page_max: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Invalid(
            f"Bad limit request: Limit must be an integer 0 or greater and not '{shown(text)}'.",
            type="BadRequest",
        )
    limit = int(text)
    if page_max > 0:
        return min(limit, page_max) or page_max
    return limit or None
