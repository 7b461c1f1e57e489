# SPDX-License-Identifier: Apache-2.0
"""Who sees and who may change which object: the one place where that is decided, for every noun.

A gate knows its noun's declarations (owner, sharing, access) and the caller; it reads, and never writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar

from alcor.base.errors import Forbidden
from alcor.resource.context import Asked
from alcor.resource.declare import Extends, QuotaLimit, Resource
from alcor.store.declare import Stored, Table
from alcor.store.reader import Reader

T = TypeVar("T", bound=Stored)

_project = attrgetter("project_id")


class Gate(Generic[T]):
    """The decisions about the objects of one noun."""

    def __init__(self, resource: Resource[T], extends: Sequence[Extends] = ()) -> None:
        self.resource = resource
        self.seen_with: Gate[Any] | None = None  # of the noun whose sharing this one follows
        declared: list[Resource[T] | Extends] = [resource, *extends]
        self._sharing = [each.is_shared for each in declared if each.is_shared is not None]
        self._shared_ids = [each.shared_ids for each in declared if each.is_shared is not None]

    @property
    def is_shareable(self) -> bool:
        """Whether an object can be seen by a project that does not own it."""
        return bool(self._sharing) or self.seen_with is not None

    def owner(self, reader: Reader, stored: T) -> str:
        """The project that the object belongs to."""
        project_id: str = _project(stored)
        return project_id

    def is_seen(self, reader: Reader, asked: Asked, stored: T) -> bool:
        """Whether the caller may see the object."""
        if asked.is_admin:
            return True
        if not asked.can_read or self.resource.access == "admin":
            return False
        project_id = asked.project_id
        return self.owner(reader, stored) == project_id or self.is_shared(reader, project_id, stored)

    def sees(self, reader: Reader, asked: Asked) -> Callable[[T], bool] | None:
        """`is_seen` made ready for a list; None where the caller sees all."""
        if asked.is_admin:
            return None
        if not asked.can_read or self.resource.access == "admin":
            return lambda stored: False
        if self.is_shareable:
            return lambda stored: self.is_seen(reader, asked, stored)
        return lambda stored: self.owner(reader, stored) == asked.project_id

    def is_shared(self, reader: Reader, project_id: str, stored: T) -> bool:
        """Whether the object is shared with this project in any declared way."""
        if any(is_shared(reader, project_id, stored) for is_shared in self._sharing):
            return True
        follows = self.resource.seen_with
        if follows is None or self.seen_with is None:
            return False
        led_by = reader.peek(self.seen_with.resource.table, getattr(stored, follows.field))
        return led_by is not None and self.seen_with.is_shared(reader, project_id, led_by)

    def shared_ids(self, reader: Reader, project_id: str) -> set[str] | None:
        """The ids of all that are shared with this project; None where no index knows them."""
        found: set[str] = set()
        for shared_ids in self._shared_ids:
            if shared_ids is None:
                return None
            found.update(shared_ids(reader, project_id))
        follows = self.resource.seen_with
        if follows is not None and self.seen_with is not None:
            leaders = self.seen_with.shared_ids(reader, project_id)
            if leaders is None:
                return None
            table = self.resource.table
            found.update(one.id for leader in leaders for one in reader.find(table, follows.index, leader))
        return found

    def check_create(self, asked: Asked, guarded: str) -> None:
        """Raises Forbidden for a caller that may not create, or not with the field `guarded` (wire name)."""
        if asked.is_admin:
            return
        if not asked.can_write or self.resource.access == "admin":
            raise forbidden(f"create_{self.resource.name}")
        if guarded:
            raise forbidden(f"create_{self.resource.name}:{guarded}")

    def changeable(self, reader: Reader, asked: Asked, id: str, rule: str) -> T:
        """The object, if the caller may change it. Raises NotFound where it may not even see it, else Forbidden."""
        stored = self.visible(reader, asked, id)
        if not asked.is_admin and not (asked.can_write and self.owner(reader, stored) == asked.project_id):
            raise forbidden(rule)
        return stored

    def visible(self, reader: Reader, asked: Asked, id: str) -> T:
        """The object. Raises the table's NotFound, also where the caller may not see it."""
        table = self.resource.table
        stored = reader.peek(table, id)
        if stored is None or not self.is_seen(reader, asked, stored):
            raise table.not_found(id)
        return stored


class Rulebook:
    """What the declarations of all nouns tell a rule: who sees what of another noun, how much a project may have."""

    def __init__(self, gates: Iterable[Gate[Any]], limits: Sequence[QuotaLimit]) -> None:
        self._gates: dict[str, Gate[Any]] = {}
        for gate in gates:
            self._gates.setdefault(gate.resource.table.name, gate)
        self._limits = limits

    def visible(self, reader: Reader, asked: Asked, table: Table[T], id: str) -> T:
        """As `Gate.visible`, of the noun with this table."""
        gate: Gate[T] = self._gates[table.name]
        return gate.visible(reader, asked, id)

    def quota_limit(self, reader: Reader, asked: Asked, project_id: str, name: str) -> int:
        """What a feature says, else the settings' default; -1 is no bound."""
        for limit in self._limits:
            found = limit(reader, project_id, name)
            if found is not None:
                return found
        return asked.settings.quota(name)


def forbidden(rule: str) -> Forbidden:
    """The refusal of what a policy rule does not allow."""
    return Forbidden(f"rule:{rule} is disallowed by policy", type="PolicyNotAuthorized")
