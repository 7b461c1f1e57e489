# SPDX-License-Identifier: Apache-2.0
"""Who sees and who may change which object: the one place where that is decided, for every noun.

A gate knows its noun's declarations (owner, sharing, access) and the caller; it reads, and never writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar

from alcor.resource.context import Asked
from alcor.resource.declare import Action, Extends, QuotaLimit, Resource, Standard
from alcor.resource.policy import Node, Policy, Rights
from alcor.resource.target import ObjectTarget, ProjectTarget
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
        self.policy: Policy | None = None  # with the next three given by the engine, which knows all nouns
        self.by_name: Mapping[str, Gate[Any]] = {}
        self.by_plural: Mapping[str, Gate[Any]] = {}
        # Names in the API of all that can be shown; what an object has under such a name.
        self.names: tuple[str, ...] = ()
        self.value: Callable[[Reader, T, str], object] = lambda reader, stored, name: None
        self._rules: dict[str, str] = {}  # by verb
        assert resource.parent is not None or issubclass(resource.table.kind, Standard), (
            f"nobody owns a {resource.name}"
        )
        declared: list[Resource[T] | Extends] = [resource, *extends]
        self._sharing = [each.is_shared for each in declared if each.is_shared is not None]
        self._opens = {"shared", *(name for each in extends for name in each.opens)}
        self._shared_ids = [each.shared_ids for each in declared if each.is_shared is not None]

        self.unruled: frozenset[str] = frozenset()  # set by the shape, as are `names` and `value`

    def join(self, policy: Policy, gates: Iterable[Gate[Any]]) -> None:
        """Lets it know the policy, and the gates of all nouns."""
        self.policy = policy
        self.by_name = {gate.resource.name: gate for gate in gates}
        self.by_plural = {gate.resource.plural: gate for gate in gates}

    @property
    def is_shareable(self) -> bool:
        """Whether an object can be seen by a project that does not own it."""
        leads = (self.seen_with, self.parent and self.parent.is_shareable)
        return bool(self._sharing) or any(leads)

    def opens(self, name: str) -> bool:
        """Whether a rule asks by this attribute for what is shared with the caller."""
        return name in self._opens or (self.seen_with is not None and self.seen_with.opens(name))

    def rights(self, asked: Asked) -> Rights:
        """What the caller may, worked out once a request."""
        found = asked.rights
        if found is None:
            assert self.policy is not None, "a noun without an engine"
            found = asked.rights = self.policy.rights(asked.who)
        return found

    def rule(self, verb: str) -> str:
        """The name of the policy rule for what `verb` does."""
        found = self._rules.get(verb)
        if found is None:
            under = f"{self.parent.resource.name}_" if self.parent is not None and self.is_under else ""
            found = self._rules[verb] = f"{verb}_{under}{self.resource.name}"
        return found

    def owner(self, reader: Reader, stored: T) -> str:
        """The project that the object belongs to."""
        if self.parent is not None:
            led_by = self._led_by(reader, stored)
            return "" if led_by is None else self.parent.owner(reader, led_by)
        project_id: str = _project(stored)
        return project_id

    def is_seen(self, reader: Reader, asked: Asked, stored: T) -> bool:
        """Whether the caller may see the object."""
        verdict = self.rights(asked).verdict(self.rule("get"))
        if isinstance(verdict, bool):
            return verdict
        return verdict.holds(asked, ObjectTarget(self, reader, (asked, stored)))

    def sees(self, reader: Reader, asked: Asked) -> Callable[[T], bool] | None:
        """`is_seen` made ready for a list, once `check_parent` let it pass; None where the caller sees all."""
        verdict, parent = self.rights(asked).verdict(self.rule("get")), self.resource.parent
        under = attrgetter(parent.field) if parent is not None and parent.is_in_url else None
        if isinstance(verdict, bool):
            if not verdict:
                return lambda stored: False
            return None if under is None else lambda stored: bool(under(stored) == asked.under)
        if under is None:
            return lambda stored: verdict.holds(asked, ObjectTarget(self, reader, (asked, stored)))
        return lambda stored: (
            bool(under(stored) == asked.under)
            and verdict.holds(asked, ObjectTarget(self, reader, (asked, stored)))
        )

    def hidden(self, asked: Asked) -> tuple[frozenset[str], tuple[tuple[str, Node], ...]]:
        """Names that the caller sees of no object, and those of which the object decides."""
        rights = self.rights(asked)
        found = rights.hidden.get(self.resource.name)
        if found is None:
            rule = self.rule("get")
            verdicts = [
                (name, rights.verdict(f"{rule}:{name}"))
                for name in self.names
                if rights.has(f"{rule}:{name}")
            ]
            found = rights.hidden[self.resource.name] = (
                frozenset(name for name, verdict in verdicts if verdict is False),
                tuple((name, verdict) for name, verdict in verdicts if not isinstance(verdict, bool)),
            )
        return found

    def hidden_of(self, reader: Reader, asked: Asked, stored: T) -> frozenset[str]:
        """Names that the caller does not see of this object."""
        always, depends = self.hidden(asked)
        if not depends:
            return always
        target = ObjectTarget(self, reader, (asked, stored))
        return always.union(name for name, node in depends if not node.holds(asked, target))

    def named(self, reader: Reader, stored: T, noun: str) -> tuple[Gate[Any], Any] | None:
        """The object that this one names as its `noun`, and that noun's gate."""
        gate, named_id = self.by_name.get(noun), getattr(stored, f"{noun}_id", None)
        if gate is None or named_id is None:
            return None
        found = reader.peek(gate.resource.table, named_id)
        return None if found is None else (gate, found)

    def is_shared(self, reader: Reader, project_id: str, stored: T) -> bool:
        """Whether the object is shared with this project in any declared way."""
        if any(is_shared(reader, project_id, stored) for is_shared in self._sharing):
            return True
        if self.parent is not None:
            above = self._led_by(reader, stored)
            return above is not None and self.parent.is_shared(reader, project_id, above)
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

    def undecided(self, asked: Asked, body: Mapping[str, Any], names: Iterable[str]) -> list[str]:
        """The rules of a creation with these names, those of `body` and parts of them, that the object decides. Raises
        Forbidden where none can.
        """
        rights, rule = self.rights(asked), self.rule("create")
        verdict = rights.verdict(rule)
        if verdict is False:
            raise rights.refusal(rule)
        left = [] if verdict is True else [rule]
        restricted = rights.restricted(rule)
        for name in () if restricted.heads.isdisjoint(body) else names:
            if name in restricted.names and name not in self.unruled:
                given = f"{rule}:{name}"
                if rights.verdict(given) is False:
                    raise rights.refusal(rule, given)
                left.append(given)
        return left

    def check_create(
        self, reader: Reader, asked: Asked, new: tuple[T, Mapping[str, Any]], rules: Sequence[str]
    ) -> None:
        """Raises Forbidden where a rule does not let it be made, of that body; NotFound where it names an object that
        the caller may not even see.
        """
        rights = self.rights(asked)
        target = ObjectTarget(self, reader, (asked, new[0]), new[1])
        for rule in rules:
            if not rights.allows(rule, asked, target):
                self._check_named(reader, asked, new[0])
                create = self.rule("create")
                raise rights.refusal(create, "" if rule == create else rule)

    def check_update(
        self, reader: Reader, asked: Asked, old: T, body: tuple[Mapping[str, Any], Iterable[str]]
    ) -> None:
        """Raises Forbidden where a rule of one of the given names does not let it be changed."""
        rights, rule = self.rights(asked), self.rule("update")
        target = ObjectTarget(self, reader, (asked, old), body[0])
        for name in body[1]:
            given = f"{rule}:{name}"
            if name not in self.unruled and rights.has(given) and not rights.allows(given, asked, target):
                raise rights.refusal(rule, given)

    def check_parent(self, reader: Reader, asked: Asked, rule: str = "") -> str:
        """The owner of the parent in the URL. Raises its NotFound, and Forbidden where the rule does not hold."""
        if self.parent is None or not self.is_under:
            return ""
        owner = self.parent.owner(reader, self.parent.visible(reader, asked, asked.under))
        if rule and not self.rights(asked).allows(rule, asked, ProjectTarget(owner)):
            raise self.rights(asked).refusal(rule)
        return owner

    def acted_on(self, reader: Reader, asked: Asked, action: Action[T], id: str) -> T | None:
        """The object of an action that the caller may do. Raises NotFound and Forbidden as `changeable`."""
        rule, rights = action.rule or action.name, self.rights(asked)
        if action.of != "collection":
            return self.changeable(reader, asked, id, rule)
        owner = self.check_parent(reader, asked) or asked.project_id
        if not rights.allows(rule, asked, ProjectTarget(owner)):
            raise rights.refusal(rule)
        return None

    def changeable(self, reader: Reader, asked: Asked, id: str, rule: str) -> T:
        """The object, if the caller may change it. Raises NotFound where it may not even see it, else Forbidden."""
        stored = self.visible(reader, asked, id)
        rights = self.rights(asked)
        if not rights.allows(rule, asked, ObjectTarget(self, reader, (asked, stored))):
            is_own = self.owner(reader, stored) == asked.project_id
            if self.resource.is_change_masked and rule == self.rule("update") and not is_own:
                raise self.resource.table.not_found(id)
            raise rights.refusal(rule)
        return stored

    def visible(self, reader: Reader, asked: Asked, id: str) -> T:
        """The object. Raises the table's NotFound, also where the caller may not see it."""
        stored = self._named(reader, asked, id)
        if stored is None or not self.is_seen(reader, asked, stored):
            raise self.resource.table.not_found(id)
        return stored

    def _check_named(self, reader: Reader, asked: Asked, stored: T) -> None:
        """Raises the NotFound of what the object names and the caller may not see."""
        for noun, gate in self.by_name.items():
            if named_id := getattr(stored, f"{noun}_id", None):
                gate.visible(reader, asked, named_id)

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
        if not rights.allows(rule, asked, ProjectTarget(project_id)):
            raise rights.refusal(rule)
