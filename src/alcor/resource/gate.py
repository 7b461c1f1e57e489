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
from alcor.resource.declare import Action, Extends, QuotaLimit, Resource, Standard
from alcor.resource.policy import Policy
from alcor.store.declare import Stored, Table
from alcor.store.reader import Reader

T = TypeVar("T", bound=Stored)

_project = attrgetter("project_id")


class Gate(Generic[T]):
    """The decisions about the objects of one noun."""

    def __init__(self, resource: Resource[T], extends: Sequence[Extends] = ()) -> None:
        self.resource = resource
        self.seen_with: Gate[Any] | None = None  # of the noun whose sharing this one follows
        self.parent: Gate[Any] | None = None
        self.is_under = resource.parent is not None and resource.parent.is_in_url  # the URL names a parent
        assert resource.parent is not None or issubclass(resource.table.kind, Standard), (
            f"nobody owns a {resource.name}"
        )
        declared: list[Resource[T] | Extends] = [resource, *extends]
        self._sharing = [each.is_shared for each in declared if each.is_shared is not None]
        self._shared_ids = [each.shared_ids for each in declared if each.is_shared is not None]

    @property
    def is_shareable(self) -> bool:
        """Whether an object can be seen by a project that does not own it."""
        leads = (self.seen_with, self.parent and self.parent.is_shareable)
        return bool(self._sharing) or any(leads)

    def rule(self, verb: str) -> str:
        """The name of the policy rule for what `verb` does."""
        under = f"{self.parent.resource.name}_" if self.parent is not None else ""
        return f"{verb}_{under}{self.resource.name}"

    def owner(self, reader: Reader, stored: T) -> str:
        """The project that the object belongs to."""
        if self.parent is not None:
            led_by = self._led_by(reader, stored)
            return "" if led_by is None else self.parent.owner(reader, led_by)
        project_id: str = _project(stored)
        return project_id

    def is_seen(self, reader: Reader, asked: Asked, stored: T) -> bool:
        """Whether the caller may see the object."""
        if asked.is_admin:
            return True
        if not asked.can_read or self.resource.access == "admin":
            return False
        if self.parent is not None:
            led_by = self._led_by(reader, stored)
            return led_by is not None and self.parent.is_seen(reader, asked, led_by)
        project_id = asked.project_id
        return self.owner(reader, stored) == project_id or self.is_shared(reader, project_id, stored)

    def sees(self, reader: Reader, asked: Asked) -> Callable[[T], bool] | None:
        """`is_seen` made ready for a list, once `check_parent` let it pass; None where the caller sees all."""
        parent = self.resource.parent
        if not asked.is_admin and (not asked.can_read or self.resource.access == "admin"):
            return lambda stored: False
        if parent is not None and parent.is_in_url:
            field, under = attrgetter(parent.field), asked.under
            return lambda stored: bool(field(stored) == under)
        if asked.is_admin:
            return None
        if self.is_shareable or parent is not None:
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
            raise forbidden(self.rule("create"))
        if guarded:
            raise forbidden(f"{self.rule('create')}:{guarded}")

    def check_parent(self, reader: Reader, asked: Asked, rule: str = "") -> str:
        """The owner of the parent in the URL. Raises its NotFound; Forbidden by `rule` for all but its owner."""
        if self.parent is None or not self.is_under:
            return ""
        owner = self.parent.owner(reader, self.parent.visible(reader, asked, asked.under))
        if rule and not asked.is_admin and owner != asked.project_id:
            raise forbidden(rule)
        return owner

    def acted_on(self, reader: Reader, asked: Asked, action: Action[T], id: str) -> T | None:
        """The object of an action that the caller may do. Raises NotFound and Forbidden as `changeable`."""
        rule, is_read = action.rule or action.name, action.method == "GET"
        is_barred = not (asked.can_read if is_read else asked.can_write) or action.access == "admin"
        if action.of == "collection":
            self.check_parent(reader, asked, "" if is_read else rule)
            if is_barred and not asked.is_admin:
                raise forbidden(rule)
            return None
        if action.access == "owner" and not is_read:
            return self.changeable(reader, asked, id, rule)
        stored = self.visible(reader, asked, id)
        if is_barred and not asked.is_admin:
            raise forbidden(rule)
        return stored

    def changeable(self, reader: Reader, asked: Asked, id: str, rule: str) -> T:
        """The object, if the caller may change it. Raises NotFound where it may not even see it, else Forbidden."""
        stored = self.visible(reader, asked, id)
        if not asked.is_admin and not (asked.can_write and self.owner(reader, stored) == asked.project_id):
            raise forbidden(rule)
        return stored

    def visible(self, reader: Reader, asked: Asked, id: str) -> T:
        """The object. Raises the table's NotFound, also where the caller may not see it."""
        stored = self._named(reader, asked, id)
        if stored is None or not self.is_seen(reader, asked, stored):
            raise self.resource.table.not_found(id)
        return stored

    def _named(self, reader: Reader, asked: Asked, id: str) -> T | None:
        """The object that the URL names."""
        table, parent = self.resource.table, self.resource.parent
        if parent is None or not parent.is_in_url:
            return reader.peek(table, id)
        self.check_parent(reader, asked)
        if parent.by_key is not None:
            return reader.first(table, parent.by_key, (asked.under, id))
        stored = reader.peek(table, id)
        return stored if stored is not None and getattr(stored, parent.field) == asked.under else None

    def _led_by(self, reader: Reader, stored: T) -> Stored | None:
        assert self.parent is not None
        assert self.resource.parent is not None
        led_by: Stored | None = reader.peek(
            self.parent.resource.table, getattr(stored, self.resource.parent.field)
        )
        return led_by


class Rulebook:
    """What the declarations of all nouns tell a rule: who sees what of another noun, how much a project may have."""

    def __init__(self, gates: Iterable[Gate[Any]], limits: Sequence[QuotaLimit], policy: Policy) -> None:
        self.policy = policy
        self._gates: dict[str, Gate[Any]] = {}
        self._bounded: dict[str, Resource[Any]] = {}
        for gate in gates:
            self._gates.setdefault(gate.resource.table.name, gate)
            if gate.resource.quota:
                self._bounded[gate.resource.quota] = gate.resource
        self.quotas = tuple(self._bounded)
        self._limits = limits

    def visible(self, reader: Reader, asked: Asked, table: Table[T], id: str) -> T:
        """As `Gate.visible`, of the noun with this table and wherever its objects stand."""
        stored = reader.peek(table, id)
        if stored is None or not self._gates[table.name].is_seen(reader, asked, stored):
            raise table.not_found(id)
        return stored

    def quota_limit(self, reader: Reader, asked: Asked, project_id: str, name: str) -> int:
        """What a feature says, else the settings' default; -1 is no bound."""
        for limit in self._limits:
            found = limit(reader, project_id, name)
            if found is not None:
                return found
        return asked.settings.quota(name)

    def quota_used(self, reader: Reader, project_id: str, name: str) -> int:
        """How many objects the project has of those that the quota bounds."""
        resource = self._bounded[name]
        return reader.count(resource.table, resource.by_field["project_id"], project_id)

    def require(self, asked: Asked, rule: str, project_id: str) -> None:
        """Raises Forbidden where the rule does not let the caller act on what belongs to this project."""
        rights = self.policy.rights(asked.who)
        if not rights.allows(rule, asked, _OfProject(project_id)):
            raise rights.refusal(rule)


class _OfProject:
    """What belongs to a project, and has nothing else that a rule could ask for."""

    def __init__(self, project_id: str) -> None:
        self._project_id = project_id

    def owner(self, noun: str) -> str | None:
        return None if noun else self._project_id

    def value(self, collection: str, name: str) -> object:
        return None


def forbidden(rule: str) -> Forbidden:
    """The refusal of what a policy rule does not allow."""
    return Forbidden(f"rule:{rule} is disallowed by policy", type="PolicyNotAuthorized")
