# SPDX-License-Identifier: Apache-2.0
"""A noun's fields made ready: how a body becomes field values, and how an object becomes an answer.

Everything is worked out once from the annotations of the stored struct; a request only looks it up. The order of
refusals is Neutron's: unknown attributes, then attributes not allowed and missing ones, then bad values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec

from alcor.base.errors import Invalid
from alcor.resource import parse
from alcor.resource.added import Addition, Part
from alcor.resource.attribute import Attribute, attributes_of
from alcor.resource.declare import Access, Api, Computed, Extends, Resource
from alcor.resource.gate import Gate
from alcor.resource.tags import FILTERS, TAGS
from alcor.store.declare import Index, Stored
from alcor.store.plan import reader_of
from alcor.store.reader import Reader

T = TypeVar("T", bound=Stored)

PROJECT, TENANT = "project_id", "tenant_id"  # one attribute under Neutron's two names for it
_VIEWS_MAX = 256  # choices of `fields` that stay compiled per noun

# What an object is answered with. A struct costs half of what a dict does, to make and to encode.
Shown = msgspec.Struct


@dataclass(frozen=True)
class View(Generic[T]):
    """Which wire fields an answer has, and where each comes from."""

    make: Callable[..., Shown]  # of the values in the order of `read`, of `added`, then of `computed`
    read: Callable[[T], tuple[Any, ...]]
    answers: tuple[tuple[int, Callable[[Any], Any]], ...]  # by place in `read`
    added: tuple[Part[T], ...]
    defaults: tuple[Any, ...] | None  # of all that is added; None where they depend on the object
    computed: tuple[Callable[[Reader, T], Any], ...]
    told: tuple[
        tuple[int, Callable[[Reader, str, T], Any]], ...
    ] = ()  # by place in `read`: differs by who asks

    def answer(self, reader: Reader, project_id: str, stored: T, kept: frozenset[str] | None = None) -> Shown:
        """The object as it is answered; JSON names its fields as the wire does.

        `project_id` is that which asks. `kept`: the tables in which other features keep something with it, where
        the caller knows that already.
        """
        values = self.read(stored)
        if self.answers:
            turned = list(values)
            for place, turn in self.answers:
                turned[place] = turn(turned[place])
            values = tuple(turned)
        for place, tell in self.told:
            values = (*values[:place], tell(reader, project_id, stored), *values[place + 1 :])
        if self.added:
            if kept is not None and not kept and self.defaults is not None:
                values += self.defaults
            else:
                for part in self.added:
                    is_plain = kept is not None and part.table not in kept
                    is_known = is_plain and part.default is not None
                    values += part.default or () if is_known else part.values(reader, stored)
        return self.make(*values, *[value(reader, stored) for value in self.computed])

    def answer_all(
        self, reader: Reader, project_id: str, many: Sequence[T], kept: frozenset[str]
    ) -> list[Shown]:
        """As `answer` for each of them, column by column."""
        if self.answers or self.told:
            return [self.answer(reader, project_id, one, kept) for one in many]
        pieces: list[Iterable[tuple[Any, ...]]] = [map(self.read, many)]
        if kept or self.defaults is None:
            for part in self.added:
                is_plain = part.table not in kept and part.default is not None
                pieces.append(
                    repeat(part.default or ()) if is_plain else [part.values(reader, one) for one in many]
                )
        else:
            pieces.append(repeat(self.defaults))
        if self.computed:
            pieces.append(
                zip(*[[value(reader, one) for one in many] for value in self.computed], strict=True)
            )
        return [self.make(*chain(*row)) for row in zip(*pieces)]  # noqa: B905 (defaults repeat without end)


class Shape(Generic[T]):
    """What one noun takes and answers."""

    def __init__(self, resource: Resource[T], extends: Sequence[Extends] = ()) -> None:
        self.resource = resource
        self.extends = extends
        self.gate = Gate(resource, extends)
        self.kind = resource.table.kind
        self.additions: tuple[Addition[T], ...] = tuple(
            Addition(one) for one in extends if one.table is not None
        )
        self.attributes = (
            *_own(resource),
            *(attribute for addition in self.additions for attribute in addition.attributes),
        )
        self.always = [one for one in self.additions if one.is_always]
        self._told = {field: tell for one in extends for field, tell in one.answers.items()}
        self._added = {field: addition for addition in self.additions for field in addition.fields}
        self.computed = (*resource.computed, *(each for one in extends for each in one.computed))
        self.by_name = {attribute.name: attribute for attribute in self.attributes}
        assert len(self.by_name) == len({one.field for one in self.attributes}) == len(self.attributes), (
            f"two fields of {resource.name} have one name"
        )
        self.is_standard = PROJECT in self.by_name
        if self.is_standard:
            self.by_name[TENANT] = self.by_name[PROJECT]
        self.tag_filters = FILTERS if resource.is_taggable else ()
        self.computed_by_name = {computed.name: computed for computed in self.computed}
        self.related: dict[str, Shape[Any]] = {}  # computed name -> the noun that its values are objects of
        self._required = tuple(attribute for attribute in self.attributes if attribute.is_required)
        self._views: dict[tuple[frozenset[str] | None, frozenset[str]], View[T]] = {}
        self.gate.names = tuple(name for name in (*self.by_name, *self.computed_by_name) if name != TENANT)
        self.gate.unruled = frozenset(one.name for one in self.attributes if not one.api.is_ruled)
        self.gate.value = self._value

    def created(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The field values that a POST gives. Raises Invalid."""
        by_name = self.by_name
        for name in body:
            attribute = by_name.get(name)
            if attribute is None or not attribute.api.post:
                raise self._refused(body, is_create=True)
        for attribute in self._required:
            if attribute.name not in body:
                raise self._refused(body, is_create=True)
        return self._parsed(body)

    def updated(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The field values that a PUT gives. Raises Invalid."""
        by_name = self.by_name
        for name in body:
            attribute = by_name.get(name)
            if attribute is None or not attribute.api.put:
                raise self._refused(body, is_create=False)
        return self._parsed(body)

    def taken_out(self, given: dict[str, Any]) -> dict[str, Any]:
        """Takes the fields out of `given` that other features keep, and answers them."""
        if not self._added or given.keys().isdisjoint(self._added):
            return {}
        return {field: given.pop(field) for field in self._added if field in given}

    def touched(self, added: Mapping[str, Any]) -> list[Addition[T]]:
        """The other features that a write with these added fields concerns."""
        if not added:
            return self.always
        return [one for one in self.additions if one.is_always or not one.fields.isdisjoint(added)]

    def read(self, attribute: Attribute, reader: Reader, project_id: str) -> Callable[[T], Any]:
        """How a field is read of an object for the project that asks, whoever keeps it."""
        tell = self._told.get(attribute.field)
        if tell is not None:
            return lambda stored: tell(reader, project_id, stored)
        addition = self._added.get(attribute.field)
        value = attrgetter(attribute.field)
        return value if addition is None else lambda stored: value(addition.row(reader, stored))

    def told(self, computed: Computed[T], reader: Reader, project_id: str) -> Callable[[T], Any]:
        """How a computed field is worked out of an object for the project that asks."""
        tell = self._told.get(computed.name)
        if tell is not None:
            return lambda stored: tell(reader, project_id, stored)
        return lambda stored: computed.value(reader, stored)

    def index_of(self, field: str) -> tuple[Index[Any] | None, bool]:
        """The index of exact values of a field, and whether it is of the noun's own table."""
        addition = self._added.get(field)
        if addition is None:
            return self.resource.by_field.get(field), True
        return addition.extends.by_field.get(field), False

    def decided(self, body: Mapping[str, Any], created: Mapping[str, Any] | None = None) -> Iterator[str]:
        """The names in a body of which policy may decide, with `name:part` for the parts of lists and objects.

        What is created with a value that it would have anyway is nobody's business, as in Neutron.
        """
        for name, value in body.items():
            if name in {PROJECT, TENANT}:
                continue
            attribute = self.by_name[name]
            if created is not None and created[attribute.field] == attribute.default:
                continue
            yield name
            if isinstance(value, list | dict):
                parts = (
                    [value] if isinstance(value, dict) else [each for each in value if isinstance(each, dict)]
                )
                yield from sorted({f"{name}:{part}" for each in parts for part in each})

    def access(self) -> Iterator[tuple[str, Access, Access]]:
        """Each field's name, who may set and who may see it, as declared."""
        for attribute in self.attributes:
            if attribute.name != PROJECT:
                yield attribute.name, attribute.api.set_by, attribute.api.seen_by
        for computed in self.computed:
            yield computed.name, "anyone", computed.seen_by

    def view(self, fields: Iterable[str], hidden: frozenset[str]) -> View[T]:
        """The view with these wire fields (none named: all) but for hidden ones. Unknown names are ignored."""
        wanted = frozenset(fields) or None
        key = (wanted, hidden)
        view = self._views.get(key)
        if view is None:
            if len(self._views) >= _VIEWS_MAX:
                self._views.clear()
            view = self._views[key] = self._compiled(wanted, hidden)
        return view

    def _value(self, reader: Reader, stored: T, name: str) -> object:
        attribute = self.by_name.get(name)
        if attribute is not None:
            return self.read(attribute, reader, "")(stored)
        computed = self.computed_by_name.get(name)
        return None if computed is None else computed.value(reader, stored)

    def _parsed(self, body: Mapping[str, Any]) -> dict[str, Any]:
        by_name = self.by_name
        given: dict[str, Any] = {}
        name = ""
        try:
            for name, value in body.items():
                attribute = by_name[name]
                given[attribute.field] = attribute.parse(value)
        except ValueError as wrong:
            reason = parse.brief(str(wrong)).removesuffix(".")
            raise Invalid(f"Invalid input for {name}. Reason: {reason}.") from None
        if TENANT in body and PROJECT in body and body[TENANT] != body[PROJECT]:
            raise Invalid("'project_id' and 'tenant_id' do not match")
        return given

    def _refused(self, body: Mapping[str, Any], *, is_create: bool) -> Invalid:
        """What is wrong with the names of `body`."""
        if TENANT in body and PROJECT in body and body[TENANT] != body[PROJECT]:
            return Invalid("'project_id' and 'tenant_id' do not match")
        unknown = sorted(parse.shown(name) for name in body if name not in self.by_name)
        # Neutron has an attribute that is only answered in its map too, and so names it as not allowed.
        answered = [name for name in unknown if name in self.computed_by_name]
        unknown = [name for name in unknown if name not in self.computed_by_name]
        if unknown:
            return Invalid(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
        refused = answered + [
            name for name in body if name not in answered and not self._is_allowed(name, is_create=is_create)
        ]
        if refused and is_create:
            return Invalid(f"Attribute '{refused[0]}' not allowed in POST")
        if refused:
            return Invalid(f"Cannot update read-only attribute {refused[0]}")
        missing = [attribute.name for attribute in self._required if attribute.name not in body]
        return Invalid(f"Failed to parse request. Required attribute '{missing[0]}' not specified")

    def _is_allowed(self, name: str, *, is_create: bool) -> bool:
        api = self.by_name[name].api
        return api.post if is_create else api.put

    def _compiled(self, wanted: frozenset[str] | None, hidden: frozenset[str]) -> View[T]:
        visible = [
            (name, attribute)
            for name, attribute in self._visible()
            if (wanted is None or name in wanted) and attribute.name not in hidden
        ]
        shown = [(name, attribute) for name, attribute in visible if attribute.field not in self._added]
        parts = [
            addition.part([one for _, one in visible if one.field in addition.fields])
            for addition in self.additions
        ]
        parts = [part for part in parts if part.names]
        defaults = [part.default for part in parts]
        computed = [
            (one.name, self._value_of(one, hidden))
            for one in self.computed
            if one.visible and (wanted is None or one.name in wanted) and one.name not in hidden
        ]
        turns = enumerate(attribute.api.answer for _, attribute in shown)
        return View(
            _maker_of(
                [
                    *(name for name, _ in shown),
                    *(name for part in parts for name in part.names),
                    *(name for name, _ in computed),
                ]
            ),
            reader_of(tuple(attribute.field for _, attribute in shown)),
            tuple((place, turn) for place, turn in turns if turn),
            tuple(parts),
            None if None in defaults else tuple(value for values in defaults for value in values or ()),
            tuple(value for _, value in computed),
            tuple(
                (place, self._told[attribute.field])
                for place, (_, attribute) in enumerate(shown)
                if attribute.field in self._told
            ),
        )

    def _visible(self) -> list[tuple[str, Attribute]]:
        shown = [(one.name, one) for one in self.attributes if one.api.visible]
        is_owned = self.is_standard and self.by_name[PROJECT].api.visible
        return [*shown, (TENANT, self.by_name[PROJECT])] if is_owned else shown

    def _value_of(self, one: Computed[T], hidden: frozenset[str]) -> Callable[[Reader, T], Any]:
        related = self.related.get(one.name)
        if related is None:
            return one.value
        view = related.view(
            (), frozenset(name for name in related.gate.names if f"{one.name}.{name}" in hidden)
        )
        return lambda reader, stored: [view.answer(reader, "", other) for other in one.value(reader, stored)]


_RECORDED = frozenset({"description", "created_at", "updated_at", "revision_number"})


def _own(resource: Resource[Any]) -> Iterable[Attribute]:
    """The noun's own fields: without the id where another key stands for it, and with tags as it declares them."""
    is_keyed = resource.parent is not None and bool(resource.parent.key)
    for one in attributes_of(resource.table.kind):
        if (is_keyed and one.field == "id") or (resource.is_plain and one.field in _RECORDED):
            yield replace(one, api=Api(post=False, visible=False, filter=False, sort=False))
        elif one.field == TAGS:
            if resource.is_taggable:
                yield replace(one, api=replace(one.api, post=resource.is_tagged_at_create))
        else:
            yield one


def _maker_of(names: Sequence[str]) -> type[Shown]:
    """A struct that is encoded with these names, some of which are none to Python."""
    fields = [f"value{number}" for number in range(len(names))]
    typed = [(field, object) for field in fields]
    return msgspec.defstruct("Shown", typed, rename=dict(zip(fields, names, strict=True)), gc=False)
