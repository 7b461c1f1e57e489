# SPDX-License-Identifier: Apache-2.0
"""Filters of a list as predicates on objects, and the indexes that spare looking at all objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeVar, get_origin

import msgspec

from alcor.resource import tags
from alcor.resource.attribute import Attribute
from alcor.resource.context import Asked
from alcor.resource.declare import Computed
from alcor.resource.parse import filter_truth, parse_bool, parse_int, refused_text
from alcor.resource.policy import ways
from alcor.resource.query import CHANGED_SINCE, Query
from alcor.resource.shape import PROJECT, Shape
from alcor.store.declare import Index, Key, Stored
from alcor.store.tables import Tables, Under

T = TypeVar("T", bound=Stored)
Predicate = Callable[[T], bool]


@dataclass(frozen=True)
class ById:
    """Candidates by id, each once, ascending."""

    ids: Sequence[str]


OWNED_MAX = (
    50_000  # ids that a list takes from the indexes of what others own; above, it looks at all objects
)

Candidates = ById | Under[T] | None  # None: every object of the table


def predicates(shape: Shape[T], asked: Asked, query: Query, tables: Tables) -> list[Predicate[T]]:
    """What an object must fulfil to be listed, visibility first. Raises Invalid for a value that has no meaning."""
    sees = shape.gate.sees(tables, asked)
    found = [sees] if sees is not None else []
    of_parts: dict[str, list[Predicate[Any]]] = {}
    for name, texts in query.filters.items():
        attribute, computed = shape.by_name.get(name), shape.computed_by_name.get(name)
        if name == CHANGED_SINCE:
            found.append(_since(texts))
        elif name in shape.tag_filters:
            found.append(tags.fulfils(name, texts))
        elif attribute is not None and attribute.api.parts:
            of_part = _matches(attribute, attrgetter(attribute.field), texts)
            of_parts.setdefault(attribute.api.parts, []).append(of_part)
        elif attribute is not None:
            found.append(_matches(attribute, shape.read(attribute, tables, asked.project_id), texts))
        elif computed is not None:
            found.append(_computed(computed, shape.told(computed, tables, asked.project_id), texts))
    found += [_has_part(attrgetter(name), tests) for name, tests in of_parts.items()]
    always, depends = shape.gate.hidden(asked)
    named = {tags.TAGS if name in shape.tag_filters else name for name in query.filters}
    if not named.isdisjoint((*always, *(name for name, _ in depends))):
        # As in Neutron they find, but nothing of others: who asks could learn by them what it is not shown.
        gate = shape.gate
        found.append(
            lambda stored: (
                gate.owner(tables, stored) == asked.project_id
                or named.isdisjoint(gate.hidden_of(tables, asked, stored))
            )
        )
    return found


def candidates(shape: Shape[T], asked: Asked, query: Query, tables: Tables) -> Candidates[T]:
    """The fewest objects among which all that match are found by an index."""
    table = shape.resource.table
    best: Candidates[T] = None
    fewest = tables.size(table)
    for found in _offers(shape, asked, query, tables):
        count = len(found.ids) if isinstance(found, ById) else tables.count(table, found.index, found.key)
        if count < fewest or (best is None and count <= fewest):
            best, fewest = found, count
    return best


def _offers(shape: Shape[T], asked: Asked, query: Query, tables: Tables) -> Iterable[ById | Under[T]]:
    """Every index that serves this list, cheapest to ask first."""
    resource = shape.resource
    if resource.parent is not None and resource.parent.is_in_url:
        yield Under(resource.parent.index, asked.under)
    if ids := query.filters.get("id"):
        yield ById(sorted(set(ids)))
    for name, texts in query.filters.items():
        if name in shape.tag_filters:
            yield from _tag_offers(resource.by_field.get(tags.TAGS), name, texts, tables)
            continue
        attribute, computed = shape.by_name.get(name), shape.computed_by_name.get(name)
        if attribute is not None:
            index, is_own = shape.index_of(attribute.field)
            keys = {_converted(attribute, text) for text in texts} if index is not None else set()
            if index is not None and all(keys):  # an index need not hold what is empty, zero or false
                yield _under(index, keys, tables) if is_own else _among(index, keys, tables)
        if attribute is not None:
            yield from _nested_offers(shape, attribute, texts, tables)
        if computed is not None and computed.index is not None:
            answers = [computed.index(tables, text) for text in texts]
            if all(ids is not None for ids in answers):
                yield ById(sorted({one for ids in answers for one in ids or ()}))
    yield from _seen_offers(shape, asked, tables)


def _seen_offers(shape: Shape[T], asked: Asked, tables: Tables) -> Iterable[ById | Under[T]]:
    """What the caller may see, where indexes know."""
    gate, index = shape.gate, shape.resource.by_field.get(PROJECT)
    verdict = gate.rights(asked).verdict(gate.rule("get"))
    found = None if isinstance(verdict, bool) else ways(verdict)
    if found is None or index is None or gate.parent is not None:
        return
    ids: set[str] = set()
    for way in found - {""}:
        more = (
            gate.shared_ids(tables, asked.project_id)
            if way == "shared"
            else _of_owned(shape, asked, way, tables)
        )
        if more is None:
            return
        ids |= more
    if ids:
        yield ById(sorted(ids.union(tables.ids(index, asked.project_id)) if "" in found else sorted(ids)))
    elif "" in found:
        yield Under(index, asked.project_id)


def _of_owned(shape: Shape[T], asked: Asked, noun: str, tables: Tables) -> set[str] | None:
    """The ids of those whose `noun` is the caller's project's; None where no index knows, or they are too many."""
    resource, owner = shape.resource, shape.gate.by_name.get(noun)
    index = resource.by_field.get(f"{noun}_id")
    owned = owner.resource.by_field.get(PROJECT) if owner is not None else None
    if index is None or owned is None:
        return None
    found: set[str] = set()
    for owner_id in tables.ids(owned, asked.project_id):
        if len(found) + tables.count(resource.table, index, owner_id) > OWNED_MAX:
            return None
        found.update(tables.ids(index, owner_id))
    return found


def _tag_offers(
    index: Index[T] | None, name: str, texts: Sequence[str], tables: Tables
) -> Iterable[ById | Under[T]]:
    wanted = tags.wanted(texts)
    if index is None or name.startswith("not-"):
        return
    if name == tags.TAGS:
        yield from (Under(index, tag) for tag in sorted(wanted))
    else:
        yield _under(index, set(wanted), tables)


def _nested_offers(
    shape: Shape[T], attribute: Attribute, texts: Sequence[str], tables: Tables
) -> Iterable[ById | Under[T]]:
    """Indexes named for a part of a field: `fixed_ips.ip_address` serves `fixed_ips=ip_address=10.0.0.3`."""
    parts: dict[str, set[Key]] = {}
    for text in texts:
        part, equals, wanted = text.partition("=")
        if equals and wanted:
            parts.setdefault(part, set()).add(wanted)
    for part, keys in parts.items():
        if (index := shape.resource.by_field.get(f"{attribute.field}.{part}")) is not None:
            yield _under(index, keys, tables)


def _under(index: Index[T], keys: set[Key], tables: Tables) -> ById | Under[T]:
    if len(keys) == 1:
        return Under(index, next(iter(keys)))
    return _among(index, keys, tables)


def _among(index: Index[Any], keys: set[Key], tables: Tables) -> ById:
    return ById(sorted({one for key in keys for one in tables.ids(index, key)}))


def _matches(attribute: Attribute, read: Callable[[Any], Any], texts: Sequence[str]) -> Predicate[Any]:
    matches = attribute.api.matches
    if matches is not None:
        is_read = attribute.api.of_filter is not None
        return _grouped(read, matches, [_converted(attribute, text) for text in texts] if is_read else texts)
    if _is_many(attribute.kind):
        wanted = frozenset(texts)
        return lambda stored: any(_as_text(value) in wanted for value in read(stored))
    values = {_converted(attribute, text) for text in texts}
    if "" in texts:
        values |= {"", None}
    return lambda stored: read(stored) in values


def _has_part(parts: Callable[[Any], Iterable[Any]], tests: Sequence[Predicate[Any]]) -> Predicate[Any]:
    return lambda stored: any(all(test(part) for test in tests) for part in parts(stored))


def _grouped(
    read: Callable[[Any], Any], matches: Callable[[Any, str], bool], texts: Sequence[str]
) -> Predicate[Any]:
    """Texts `key=value` of one key are alternatives, and so are plain texts; those of different keys must all hold."""
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(text.partition("=")[0] if "=" in text else "", []).append(text)
    choices = list(groups.values())

    def fulfils(stored: Any) -> bool:
        value = read(stored)
        return all(any(matches(value, text) for text in choice) for choice in choices)

    return fulfils


def _computed(computed: Computed[T], read: Callable[[T], Any], texts: Sequence[str]) -> Predicate[T]:
    wanted = frozenset(_as_text(_truth(computed, text)) for text in texts)

    def fulfils(stored: T) -> bool:
        value = read(stored)
        if isinstance(value, list | tuple):
            return any(_as_text(one) in wanted for one in value)
        return _as_text(value) in wanted

    return fulfils


def _truth(computed: Computed[Any], text: str) -> str | bool:
    """The text, or the truth that it stands for where the field is one. Raises Invalid."""
    return filter_truth(text) if computed.schema.get("type") == "boolean" else text


def _since(texts: Sequence[str]) -> Predicate[Any]:
    since = max(texts)
    return lambda stored: stored.updated_at >= since


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    return str(value)


def _converted(attribute: Attribute, text: str) -> Any:
    """The value that a filter's text means for a field. Raises Invalid."""
    api, kind = attribute.api, attribute.kind
    try:
        if api.of_filter is not None:
            return api.of_filter(text)
        if kind is bool:
            return parse_bool(text)
        if kind is int:
            return parse_int(text)
        return text if kind is str or not text else attribute.parse(text)
    except ValueError as wrong:
        # As in the reference, which converts what it is given, and not what it counts itself.
        if api.of_filter is not None or kind is bool or (kind is int and (api.post or api.put)):
            raise refused_text(wrong) from None
        return text  # a text that no object can have: it matches nothing


def _is_many(kind: Any) -> bool:
    return get_origin(kind) in {tuple, list, frozenset} or (
        isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    )
