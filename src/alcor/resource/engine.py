# SPDX-License-Identifier: Apache-2.0
"""Every REST noun's create, show, list, update and delete, from its declaration.

Names, values and policy are settled before the turn; what `create`, `update` and `delete` answer is a function for
`store.submit` that decides on current state inside the turn. HTTP belongs to `api`; what a noun may be, to its feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from alcor.base.config import Settings
from alcor.base.errors import Conflict, Invalid, PreconditionFailed, TooLarge
from alcor.resource import tags
from alcor.resource.context import Asked
from alcor.resource.declare import (
    Action,
    Call,
    Extends,
    Extension,
    PolicyRule,
    Resource,
    RestFeature,
    Standard,
    revised,
)
from alcor.resource.gate import Rulebook
from alcor.resource.listing import Listing, listing
from alcor.resource.policy import BASE, Policy, shared_rules
from alcor.resource.query import Query
from alcor.resource.shape import PROJECT, TENANT, Shape, Shown
from alcor.resource.target import implied
from alcor.store.declare import Stored, Table
from alcor.store.reader import Reader, Txn
from alcor.store.tables import Tables

T = TypeVar("T", bound=Stored)

Answer = dict[str, Any]


class Engine:
    """All nouns by their path (with `{NOUN_id}` for a parent's), and the extensions that they make whole."""

    def __init__(self, features: Sequence[RestFeature], settings: Settings | None = None) -> None:
        settings = settings or Settings()
        extended: dict[str, list[Extends]] = {}
        for feature in features:
            by_settings = feature.extends_by(settings) if feature.extends_by is not None else ()
            for extends in (*feature.extends, *by_settings):
                extended.setdefault(extends.noun, []).append(extends)
        resources = [resource for feature in features for resource in feature.resources]
        unknown = set(extended) - {resource.name for resource in resources}
        assert not unknown, f"fields are added to nouns that nobody declares: {unknown}"
        shapes = {resource.name: Shape(resource, extended.get(resource.name, ())) for resource in resources}
        assert len(shapes) == len(resources), "two nouns have one name"
        limits = [feature.quota_limit for feature in features if feature.quota_limit is not None]
        _relate(shapes)
        self.policy = Policy(_rules(features, shapes).values())
        rulebook = Rulebook((shape.gate for shape in shapes.values()), limits, self.policy)
        self.calls = [Called(call, rulebook) for feature in features for call in feature.calls]
        nouns = [Noun(shape, _path(shape.resource, shapes), rulebook) for shape in shapes.values()]
        self.nouns = {noun.path: noun for noun in nouns}
        self.extensions: tuple[Extension, ...] = tuple(
            extension for feature in features for extension in feature.extensions
        ) + tags.extensions(resources)
        aliases = {alias for resource in resources for alias in resource.aliases}
        missing = aliases - {extension.alias for extension in self.extensions}
        assert not missing, f"nouns have extensions that nobody declares: {missing}"
        for shape in shapes.values():
            shape.gate.join(self.policy, [other.gate for other in shapes.values()])


class Noun(Generic[T]):
    """One REST noun made ready."""

    def __init__(self, shape: Shape[T], path: str, rulebook: Rulebook) -> None:
        resource = shape.resource
        self.resource = resource
        self.shape = shape
        self.path = path
        self.actions = resource.actions + (tags.actions(resource) if resource.is_taggable else ())
        key = resource.parent.key if resource.parent is not None else ""
        self.called = f"{resource.name}_{key or 'id'}"  # what names an object in a URL
        self.gate = shape.gate
        self._rulebook = rulebook
        self.table: Table[T] = resource.table
        after_create = (resource.after_create, *(each.after_create for each in shape.extends))
        self._afterwards = tuple(each for each in after_create if each is not None)
        self._by_project = resource.by_field.get(PROJECT)
        assert not resource.quota or self._by_project, (
            f"{resource.name} has a quota and no index of project_id"
        )

    def path_of(self, action: Action[T]) -> str:
        """The path of an action, in `{...}` the names of what stands there."""
        path = (self.resource.tags_at or self.path) if action.name == tags.TAGS else self.path
        if action.of == "collection":
            return f"{path}/{action.name}"
        of_one = f"{path}/{{{self.called}}}/{action.name}"
        return of_one if action.of == "member" else f"{of_one}/{{{action.name}_id}}"

    def create(self, asked: Asked, body: object) -> Callable[[Txn], Answer]:
        """The creation that the body of a POST asks for, one or a bulk of them. Raises what is wrong with it."""
        name, plural = self.resource.name, self.resource.plural
        asked.rulebook = self._rulebook
        envelope = _envelope(body)
        if plural not in envelope or (plural == name and isinstance(envelope[name], dict)):
            _, make = self._one(asked, _enclosed(envelope, name))
            return lambda txn: {name: make(txn)}

        many = self._many(asked, envelope[plural])
        makes = [self._one(asked, each) for each in many]
        if self.resource.on_bulk is not None:
            self.resource.on_bulk([new for new, _ in makes])
        return lambda txn: {plural: [make(txn) for _, make in makes]}

    def update(self, asked: Asked, id: str, body: object, revision: int | None) -> Callable[[Txn], Answer]:
        """The update that the body of a PUT asks for. `revision` is If-Match's. Raises what is wrong with the body."""
        resource = self.resource
        on_update = resource.on_update
        assert on_update is not None, "the table of URLs offers PUT only where it is declared"
        envelope = _envelope(body)
        if resource.plural in envelope and resource.plural != resource.name:
            raise Invalid("Bulk operation not supported")
        enclosed = _enclosed(envelope, resource.name)
        changes = self.shape.updated(enclosed)
        asked.rulebook = self._rulebook
        asked.given = frozenset(changes)
        decided = list(self.shape.decided(enclosed))
        added = self.shape.taken_out(changes)
        touched = self.shape.touched(added)
        afterwards = [each.on_update for each in self.shape.extends if each.on_update is not None]

        def turn(txn: Txn) -> Answer:
            rule = self.gate.rule("update")
            old = self.gate.changeable(txn, asked, id, rule)
            self.gate.check_update(txn, asked, old, (enclosed, decided))
            self._check_revision(old, revision)
            self._prepare(txn, asked)
            new = self._changed(asked, old, changes)
            new = on_update(txn, asked, old, new)
            if not added and isinstance(old, Standard) and new == revised(asked, old):
                return {resource.name: self._answer(txn, asked, old)}  # nothing changed: no new revision
            txn.update(self.table, new)
            for addition in touched:
                addition.write(txn, asked, (new, old), added)
            for each in afterwards:
                each(txn, asked, old, new)
            return {resource.name: self._answer(txn, asked, new)}

        return turn

    def delete(self, asked: Asked, id: str, revision: int | None) -> Callable[[Txn], None]:
        """The deletion of the object. `revision` is If-Match's."""
        on_delete = self.resource.on_delete
        assert on_delete is not None, "the table of URLs offers DELETE only where it is declared"

        asked.rulebook = self._rulebook
        beforehand = [each.on_delete for each in self.shape.extends if each.on_delete is not None]

        def turn(txn: Txn) -> None:
            old = self.gate.changeable(txn, asked, id, self.gate.rule("delete"))
            self._check_revision(old, revision)
            for each in beforehand:
                each(txn, asked, old)
            on_delete(txn, asked, old)
            txn.delete(self.table, old.id)

        return turn

    def show(self, asked: Asked, id: str, fields: Sequence[str], reader: Reader) -> Answer:
        """The object. Raises NotFound, also where the caller may not see it."""
        stored = self.gate.visible(reader, asked, id)
        return {self.resource.name: self._answer(reader, asked, stored, fields)}

    def find(self, asked: Asked, query: Query, tables: Tables) -> Listing[T]:
        """The list that the query asks for. Raises what is wrong with the query."""
        self.gate.check_parent(tables, asked)
        return listing(self.shape, asked, query, tables)

    def answers(
        self, asked: Asked, fields: Sequence[str], reader: Tables, stored: Sequence[T]
    ) -> list[Shown]:
        """These objects as such a caller sees them."""
        shape, gate, project_id = self.shape, self.gate, asked.project_id
        tables = [addition.table for addition in shape.additions]
        kept = frozenset(table.name for table in tables if reader.size(table))
        always, depends = gate.hidden(asked)
        if not depends:
            return shape.view(fields, always).answer_all(reader, project_id, stored, kept)
        return [
            shape.view(fields, gate.hidden_of(reader, asked, one)).answer(reader, project_id, one, kept)
            for one in stored
        ]

    def perform(
        self, asked: Asked, action: Action[T], named: tuple[str, int | None], body: Mapping[str, Any]
    ) -> Callable[[Txn], Any]:
        """What the action does in its turn, and answers. `named`: the object's id, and If-Match's revision."""
        asked.rulebook = self._rulebook
        afterwards = [each.on_update for each in self.shape.extends if each.on_update is not None]

        def turn(txn: Txn) -> Any:
            self._prepare(txn, asked)
            stored = self.gate.acted_on(txn, asked, action, named[0])
            if stored is None:
                return action.perform(txn, asked, stored, body)
            self._check_revision(stored, named[1])
            answer = action.perform(txn, asked, stored, body)
            changed = txn.peek(self.table, stored.id) if afterwards else None
            if changed is not None and changed is not stored:
                for each in afterwards:
                    each(txn, asked, stored, changed)
            return answer

        return turn

    def look(
        self, asked: Asked, action: Action[T], id: str, tables: Tables
    ) -> Callable[[Mapping[str, Any]], Any]:
        """What an action that only reads answers to a query."""
        asked.rulebook = self._rulebook
        reader = Looking(tables)
        stored = self.gate.acted_on(reader, asked, action, id)
        return lambda query: action.perform(reader, asked, stored, query)

    def prepared(self, asked: Asked, tables: Tables) -> Callable[[Txn], None] | None:
        """What a turn must write before this caller may read, or None when nothing is missing."""
        before = self.resource.before
        if before is None:
            return None
        asked.rulebook = self._rulebook
        try:
            before(Looking(tables), asked)
        except _WouldWriteError:
            return lambda txn: before(txn, asked)
        return None

    def _many(self, asked: Asked, many: object) -> list[Mapping[str, Any]]:
        name = self.resource.name
        if not isinstance(many, list):
            raise Invalid("Body contains invalid data")
        if not many:
            raise Invalid("Resources required")
        most = asked.settings.bulk_max
        if len(many) > most:
            raise TooLarge(
                f"A bulk request creates at most {most} {self.resource.plural} at once, not {len(many)}:"
                " send them in several requests."
            )
        return [
            _enclosed(each if isinstance(each, dict) and name in each else {name: each}, name)
            for each in many
        ]

    def _one(self, asked: Asked, body: Mapping[str, Any]) -> tuple[T, Callable[[Txn], Shown]]:
        """The new object as the body has it, and the turn that makes it."""
        resource, table = self.resource, self.table
        on_create, afterwards = resource.on_create, self._afterwards
        shape, gate, quota, is_under = self.shape, self.gate, resource.quota, self.gate.is_under
        assert on_create is not None, "the table of URLs offers POST only where it is declared"
        values = self._completed(asked, body)
        rules = gate.undecided(asked, body, shape.decided(body, values))
        given = frozenset(values)
        added = shape.taken_out(values)
        touched = shape.touched(added)
        kept = None if afterwards else frozenset([one.table.name for one in touched])
        if shape.is_standard:
            values.setdefault(PROJECT, asked.project_id)
            values["created_at"] = values["updated_at"] = asked.now
            values["revision_number"] = 1
        if is_under and resource.parent is not None:
            values[resource.parent.field] = asked.under
        new = shape.kind(**values, id=asked.new_id())

        def turn(txn: Txn) -> Shown:
            asked.given = given
            self._prepare(txn, asked)
            made = self._under(txn, asked, new) if is_under else new
            if rules:
                gate.check_create(txn, asked, (made, body), rules)
            if quota:
                self._check_quota(txn, asked, made)
            made = on_create(txn, asked, made)
            txn.insert(table, made)
            for addition in touched:
                addition.write(txn, asked, (made, None), added)
            for after_create in afterwards:
                after_create(txn, asked, made)
            view = shape.view((), gate.hidden_of(txn, asked, made))
            return view.answer(txn, asked.project_id, made, kept)

        return new, turn

    def _completed(self, asked: Asked, body: Mapping[str, Any]) -> dict[str, Any]:
        """The field values of a POST."""
        own = asked.project_id
        is_other = body.get(PROJECT, own) != own or body.get(TENANT, own) != own
        if is_other and not self.gate.rights(asked).may_name_project:
            raise Invalid(
                "Specifying 'project_id' other than the authenticated project in request is not allowed for the"
                " current user."
            )
        return self.shape.created(body)

    def _prepare(self, txn: Txn, asked: Asked) -> None:
        if self.resource.before is not None:
            self.resource.before(txn, asked)

    def _under(self, txn: Txn, asked: Asked, new: T) -> T:
        """The new object in the project of its parent's owner, who alone may make it."""
        owner = self.gate.check_parent(txn, asked)
        return msgspec.structs.replace(new, project_id=owner) if self.shape.is_standard else new

    def _changed(self, asked: Asked, old: T, changes: Mapping[str, Any]) -> T:
        if isinstance(old, Standard):
            return revised(asked, old, **changes)
        return msgspec.structs.replace(old, **changes)

    def _check_quota(self, txn: Txn, asked: Asked, new: T) -> None:
        quota, index = self.resource.quota, self._by_project
        assert index is not None
        project_id = self.gate.owner(txn, new)
        most = asked.quota_limit(txn, project_id, quota)
        if 0 <= most <= txn.count(self.table, index, project_id):
            raise Conflict(f"Quota exceeded for resources: ['{quota}'].", type="OverQuota")

    def _check_revision(self, stored: Stored, revision: int | None) -> None:
        if revision is None:
            return
        if not isinstance(stored, Standard):
            raise unmatched(self.resource.plural)
        current = stored.revision_number
        if current != revision:
            raise PreconditionFailed(f"Constrained to {revision}, but current revision is {current}")

    def _answer(self, reader: Reader, asked: Asked, stored: T, fields: Sequence[str] = ()) -> Shown:
        view = self.shape.view(fields, self.gate.hidden_of(reader, asked, stored))
        return view.answer(reader, asked.project_id, stored)


def _path(resource: Resource[Any], shapes: Mapping[str, Shape[Any]]) -> str:
    parent = resource.parent
    if parent is None or not parent.is_in_url:
        return resource.path
    above = shapes[parent.noun].resource
    assert above.parent is None, f"{resource.name} stands under what stands under another noun"
    return f"{above.path}/{{{above.name}_id}}/{resource.path}"


def _relate(shapes: Mapping[str, Shape[Any]]) -> None:
    """Lets a noun know the others that its declaration names.

    A computed list of another noun's objects is answered as that noun answers them, and sharing follows sharing.
    """
    for shape in shapes.values():
        if shape.resource.parent is not None:
            shape.gate.parent = shapes[shape.resource.parent.noun].gate
        if shape.resource.seen_with is not None:
            shape.gate.seen_with = shapes[shape.resource.seen_with.noun].gate
        for computed in shape.computed:
            named = str(computed.schema.get("items", {}).get("$ref", "")).rpartition("/")[2]
            if named in shapes:
                shape.related[computed.name] = shapes[named]


def _rules(features: Sequence[RestFeature], shapes: Mapping[str, Shape[Any]]) -> dict[str, PolicyRule]:
    """The rules by which everything is decided; a feature's own stand in place of those that declarations imply."""
    rules = {rule.name: rule for rule in shared_rules(BASE)}
    for shape in shapes.values():
        rules |= {rule.name: rule for rule in implied(shape.gate, shape.access())}
    for feature in features:
        rules |= {rule.name: rule for rule in feature.policies}
    return rules


class Called:
    """A URL of a feature that stands for no noun."""

    def __init__(self, call: Call, rulebook: Rulebook) -> None:
        self.call = call
        self._rulebook = rulebook

    def perform(self, asked: Asked, names: tuple[str, ...], body: Mapping[str, Any]) -> Callable[[Txn], Any]:
        """What it does in its turn, and answers."""
        asked.rulebook = self._rulebook
        return lambda txn: self.call.perform(txn, asked, names, body)

    def look(self, asked: Asked, names: tuple[str, ...], query: Mapping[str, Any], tables: Tables) -> Any:
        """What one that only reads answers."""
        asked.rulebook = self._rulebook
        return self.call.perform(Looking(tables), asked, names, query)


class _WouldWriteError(Exception):
    """Raised by `Looking` where a turn is needed."""


class Looking:
    """A Txn that reads committed state and may not write: for what only reads, and to see whether a turn is needed."""

    def __init__(self, tables: Tables) -> None:
        self.get, self.peek, self.find = tables.get, tables.peek, tables.find
        self.first, self.count = tables.first, tables.count
        self.is_held, self.lowest_free, self.scan = tables.is_held, tables.lowest_free, tables.scan

    def insert(self, table: Table[Any], new: Any) -> None:
        raise _WouldWriteError

    def update(self, table: Table[Any], new: Any) -> None:
        raise _WouldWriteError

    def delete(self, table: Table[Any], id: str) -> None:
        raise _WouldWriteError

    def allocate(self, pool: Any, key: Any, ranges: Any) -> int | None:
        raise _WouldWriteError


def unmatched(collection: str) -> Invalid:
    """The refusal of an If-Match for what has no revision."""
    return Invalid(
        f"Bad {collection} request: Revision matching not supported for this resource.", type="BadRequest"
    )


def _envelope(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise Invalid("Body contains invalid data")
    if not body:
        raise Invalid("Resource body required")
    return body


def _enclosed(envelope: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    enclosed = envelope.get(name)
    if enclosed is None:
        raise Invalid(f"Unable to find '{name}' in request body")
    if not isinstance(enclosed, dict):
        raise Invalid(f"Object '{name}' contains invalid data")
    return enclosed
