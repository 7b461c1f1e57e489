# SPDX-License-Identifier: Apache-2.0
"""Every REST noun's create, show, list, update and delete, from its declaration.

Names, values and policy are settled before the turn; what `create`, `update` and `delete` answer is a function for
`store.submit` that decides on current state inside the turn. HTTP belongs to `api`; what a noun may be, to its feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from alcor.base.errors import Conflict, Forbidden, Invalid, PreconditionFailed, TooLarge
from alcor.resource.context import Asked
from alcor.resource.declare import Extension, Resource, RestFeature, Standard
from alcor.resource.listing import Listing, listing
from alcor.resource.query import Query
from alcor.resource.shape import PROJECT, TENANT, Shape, Shown
from alcor.store.declare import Table
from alcor.store.reader import Reader, Txn
from alcor.store.tables import Tables

T = TypeVar("T", bound=Standard)

Answer = dict[str, Any]


class Engine:
    """All nouns by their path, and the extensions that they make whole."""

    def __init__(self, features: Sequence[RestFeature]) -> None:
        extended: dict[str, list[Any]] = {}
        for feature in features:
            for extends in feature.extends:
                extended.setdefault(extends.noun, []).extend(extends.computed)
        resources = [resource for feature in features for resource in feature.resources]
        unknown = set(extended) - {resource.name for resource in resources}
        assert not unknown, f"fields are added to nouns that nobody declares: {unknown}"
        self.nouns = {
            resource.path: Noun(resource, Shape(resource, extended.get(resource.name, ())))
            for resource in resources
        }
        self.extensions: tuple[Extension, ...] = tuple(
            extension for feature in features for extension in feature.extensions
        )
        aliases = {alias for resource in resources for alias in resource.aliases}
        missing = aliases - {extension.alias for extension in self.extensions}
        assert not missing, f"nouns have extensions that nobody declares: {missing}"
        self._relate()

    def _relate(self) -> None:
        """Lets a computed list of another noun's objects be answered as that noun answers them."""
        shapes = {noun.resource.name: noun.shape for noun in self.nouns.values()}
        for shape in shapes.values():
            for computed in shape.computed:
                named = str(computed.schema.get("items", {}).get("$ref", "")).rpartition("/")[2]
                if named in shapes:
                    shape.related[computed.name] = shapes[named]


class Noun(Generic[T]):
    """One REST noun made ready."""

    def __init__(self, resource: Resource[T], shape: Shape[T]) -> None:
        self.resource = resource
        self.shape = shape
        self.table: Table[T] = resource.table
        self._by_project = resource.by_field.get(PROJECT)
        assert not resource.quota or self._by_project, (
            f"{resource.name} has a quota and no index of project_id"
        )

    def create(self, asked: Asked, body: object) -> Callable[[Txn], Answer]:
        """The creation that the body of a POST asks for, one or a bulk of them. Raises what is wrong with it."""
        name, plural = self.resource.name, self.resource.plural
        envelope = _envelope(body)
        if plural not in envelope:
            make = self._one(asked, _enclosed(envelope, name))
            return lambda txn: {name: make(txn)}

        many = self._many(asked, envelope[plural])
        makes = [self._one(asked, each) for each in many]
        return lambda txn: {plural: [make(txn) for make in makes]}

    def update(self, asked: Asked, id: str, body: object, revision: int | None) -> Callable[[Txn], Answer]:
        """The update that the body of a PUT asks for. `revision` is If-Match's. Raises what is wrong with the body."""
        resource = self.resource
        on_update = resource.on_update
        assert on_update is not None, "the table of URLs offers PUT only where it is declared"
        envelope = _envelope(body)
        if resource.plural in envelope:
            raise Invalid("Bulk operation not supported")
        enclosed = _enclosed(envelope, resource.name)
        changes = self.shape.updated(enclosed)
        asked = asked.with_given(frozenset(changes))
        guarded = "" if asked.is_admin else self.shape.guarded(changes, is_create=False)

        def turn(txn: Txn) -> Answer:
            old = self._writable(txn, asked, id, "update")
            if guarded:
                raise _forbidden(f"update_{resource.name}:{guarded}")
            _check_revision(old, revision)
            self._prepare(txn, asked)
            new = msgspec.structs.replace(
                old, **changes, revision_number=old.revision_number + 1, updated_at=asked.now
            )
            new = on_update(txn, asked, old, new)
            txn.update(self.table, new)
            return {resource.name: self._answer(txn, asked, new)}

        return turn

    def delete(self, asked: Asked, id: str, revision: int | None) -> Callable[[Txn], None]:
        """The deletion of the object. `revision` is If-Match's."""
        on_delete = self.resource.on_delete
        assert on_delete is not None, "the table of URLs offers DELETE only where it is declared"

        def turn(txn: Txn) -> None:
            old = self._writable(txn, asked, id, "delete")
            _check_revision(old, revision)
            on_delete(txn, asked, old)
            txn.delete(self.table, id)

        return turn

    def show(self, asked: Asked, id: str, fields: Sequence[str], reader: Reader) -> Answer:
        """The object. Raises NotFound, also where the caller may not see it."""
        stored = reader.peek(self.table, id)
        if stored is None or not self._is_seen(reader, asked, stored):
            raise self.table.not_found(id)
        return {self.resource.name: self._answer(reader, asked, stored, fields)}

    def find(self, asked: Asked, query: Query, tables: Tables) -> Listing[T]:
        """The list that the query asks for. Raises what is wrong with the query."""
        return listing(self.shape, asked, query, tables)

    def answers(
        self, asked: Asked, fields: Sequence[str], reader: Reader, stored: Sequence[T]
    ) -> list[Shown]:
        """These objects as such a caller sees them."""
        own = self.shape.view(fields, is_admin=asked.is_admin, is_owner=True)
        if asked.is_admin or self.resource.is_shared is None:
            return [own.answer(reader, one) for one in stored]
        other = self.shape.view(fields, is_admin=False, is_owner=False)
        return [(own if one.project_id == asked.project_id else other).answer(reader, one) for one in stored]

    def prepared(self, asked: Asked, tables: Tables) -> Callable[[Txn], None] | None:
        """What a turn must write before this caller may read, or None when nothing is missing."""
        before = self.resource.before
        if before is None:
            return None
        try:
            before(_Looking(tables), asked)
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

    def _one(self, asked: Asked, body: Mapping[str, Any]) -> Callable[[Txn], Shown]:
        resource, table = self.resource, self.table
        on_create, after_create = resource.on_create, resource.after_create
        assert on_create is not None, "the table of URLs offers POST only where it is declared"
        values = self._completed(asked, body)
        asked = asked.with_given(frozenset(values))
        values.setdefault(PROJECT, asked.project_id)
        new = self.shape.kind(
            **values, id=asked.new_id(), created_at=asked.now, updated_at=asked.now, revision_number=1
        )

        def turn(txn: Txn) -> Shown:
            self._prepare(txn, asked)
            self._check_quota(txn, asked, new.project_id)
            made = on_create(txn, asked, new)
            txn.insert(table, made)
            if after_create is not None:
                after_create(txn, asked, made)
            return self._answer(txn, asked, made)

        return turn

    def _completed(self, asked: Asked, body: Mapping[str, Any]) -> dict[str, Any]:
        """The field values of a POST, after policy."""
        is_other = not asked.is_admin and any(
            body.get(name, asked.project_id) != asked.project_id for name in (PROJECT, TENANT)
        )
        if is_other:
            raise Invalid(
                "Specifying 'project_id' other than the authenticated project in request is not allowed for the"
                " current user."
            )
        values = self.shape.created(body)
        if not asked.is_admin:
            if not asked.can_write or self.resource.access == "admin":
                raise _forbidden(f"create_{self.resource.name}")
            if guarded := self.shape.guarded(values, is_create=True):
                raise _forbidden(f"create_{self.resource.name}:{guarded}")
        return values

    def _prepare(self, txn: Txn, asked: Asked) -> None:
        if self.resource.before is not None:
            self.resource.before(txn, asked)

    def _check_quota(self, txn: Txn, asked: Asked, project_id: str) -> None:
        quota, index = self.resource.quota, self._by_project
        if not quota or index is None:
            return
        most = asked.settings.quota(quota)
        if 0 <= most <= txn.count(self.table, index, project_id):
            raise Conflict(f"Quota exceeded for resources: ['{quota}'].", type="OverQuota")

    def _writable(self, txn: Txn, asked: Asked, id: str, verb: str) -> T:
        """The object, if the caller may change it. Raises NotFound where it may not even see it, else Forbidden."""
        stored = txn.peek(self.table, id)
        if stored is None or not self._is_seen(txn, asked, stored):
            raise self.table.not_found(id)
        if not asked.is_admin and not (asked.can_write and stored.project_id == asked.project_id):
            raise _forbidden(f"{verb}_{self.resource.name}")
        return stored

    def _is_seen(self, reader: Reader, asked: Asked, stored: T) -> bool:
        if asked.is_admin:
            return True
        if not asked.can_read or self.resource.access == "admin":
            return False
        is_shared = self.resource.is_shared
        return stored.project_id == asked.project_id or (is_shared is not None and is_shared(reader, stored))

    def _answer(self, reader: Reader, asked: Asked, stored: T, fields: Sequence[str] = ()) -> Shown:
        is_owner = stored.project_id == asked.project_id
        return self.shape.view(fields, is_admin=asked.is_admin, is_owner=is_owner).answer(reader, stored)


class _WouldWriteError(Exception):
    """Raised by `_Looking` where a turn is needed."""


class _Looking:
    """A Txn that reads committed state and may not write: it finds out whether a turn is needed."""

    def __init__(self, tables: Tables) -> None:
        self.get, self.peek, self.find = tables.get, tables.peek, tables.find
        self.first, self.count = tables.first, tables.count
        self.is_held, self.scan = tables.is_held, tables.scan

    def insert(self, table: Table[Any], new: Any) -> None:
        raise _WouldWriteError

    def update(self, table: Table[Any], new: Any) -> None:
        raise _WouldWriteError

    def delete(self, table: Table[Any], id: str) -> None:
        raise _WouldWriteError

    def allocate(self, pool: Any, key: Any, ranges: Any) -> int | None:
        raise _WouldWriteError


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


def _forbidden(rule: str) -> Forbidden:
    return Forbidden(f"rule:{rule} is disallowed by policy", type="PolicyNotAuthorized")


def _check_revision(stored: Standard, revision: int | None) -> None:
    if revision is not None and stored.revision_number != revision:
        raise PreconditionFailed(
            f"Constrained to {revision}, but current revision is {stored.revision_number}"
        )
