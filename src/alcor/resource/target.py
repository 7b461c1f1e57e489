# SPDX-License-Identifier: Apache-2.0
"""An object as policy rules ask of it, and the rules that a noun's declaration implies where a feature gives none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from alcor.resource.declare import Access, PolicyRule, Resource
from alcor.resource.policy import ADMIN, VERBS
from alcor.store.declare import Stored
from alcor.store.reader import Reader

if TYPE_CHECKING:
    from alcor.resource.gate import Gate
    from alcor.resource.policy import Caller

PARENT = "ext_parent"
_NOTHING: Mapping[str, Any] = {}


class ObjectTarget:
    """A stored object, with what a request would make of it in `given` (by names in the API)."""

    __slots__ = ("_caller", "_gate", "_given", "_reader", "_stored")

    def __init__(
        self, gate: Gate[Any], reader: Reader, of: tuple[Caller, Stored], given: Mapping[str, Any] = _NOTHING
    ) -> None:
        self._gate = gate
        self._reader = reader
        self._caller, self._stored = of
        self._given = given

    def owner(self, noun: str) -> str | None:
        """The project of the object, or of the one that it names as its `noun`."""
        if not noun or noun == PARENT:
            return self._gate.owner(self._reader, self._stored)
        named = self._gate.named(self._reader, self._stored, noun)
        return None if named is None else named[0].owner(self._reader, named[1])

    def value(self, collection: str, name: str) -> object:
        """An attribute; of the object that it names where it is not its own, such as `shared` of its network."""
        gate, resource = self._gate, self._gate.resource
        if name in self._given:
            return self._given[name]
        if collection not in {"", resource.name, resource.plural}:
            other = gate.by_plural.get(collection)
            named = gate.named(self._reader, self._stored, other.resource.name) if other is not None else None
            if named is not None:
                return ObjectTarget(named[0], self._reader, (self._caller, named[1])).value(collection, name)
        if gate.opens(name):
            return gate.is_shared(self._reader, self._caller.project_id, self._stored)
        found = gate.value(self._reader, self._stored, name)
        if found is None and gate.seen_with is not None:
            led_by = gate.named(self._reader, self._stored, gate.seen_with.resource.name)
            if led_by is not None:
                return led_by[0].value(self._reader, led_by[1], name)
        return found


class ProjectTarget:
    """What belongs to a project, or to an object of that project, and has nothing else that a rule could ask for."""

    def __init__(self, project_id: str) -> None:
        self._project_id = project_id

    def owner(self, noun: str) -> str | None:
        return self._project_id if noun in {"", PARENT} else None

    def value(self, collection: str, name: str) -> object:
        return None


def implied(gate: Gate[Any], fields: Iterable[tuple[str, Access, Access]]) -> Iterable[PolicyRule]:
    """The rules of a noun, its fields (name, who sets, who sees) and actions, as its declaration says."""
    resource: Resource[Any] = gate.resource
    whose = "rule:ext_parent_owner" if gate.parent is not None else "rule:owner"
    sees = f"{ADMIN} or (role:reader and {whose})"
    by_access = {
        "admin": (ADMIN, ADMIN),
        "owner": (f"{ADMIN} or (role:member and {whose})", sees),
        "anyone": (f"{ADMIN} or role:member", "@"),
    }
    changes = by_access[resource.access][0]
    shown = ADMIN if resource.access == "admin" else f"{sees} or field:{resource.plural}:shared=True"
    for verb in VERBS:
        yield PolicyRule(gate.rule(verb), shown if verb == "get" else changes)
    for name, set_by, seen_by in fields:
        if set_by == "admin":
            yield PolicyRule(f"{gate.rule('create')}:{name}", ADMIN)
            yield PolicyRule(f"{gate.rule('update')}:{name}", ADMIN)
        if seen_by != "anyone":
            yield PolicyRule(f"{gate.rule('get')}:{name}", by_access[seen_by][1])
    if resource.is_taggable:
        for verb in VERBS:
            yield PolicyRule(f"{gate.rule(verb)}:tags", shown if verb == "get" else changes)
    for action in resource.actions:
        is_read = action.method == "GET" and action.access != "admin"
        yield PolicyRule(action.rule or action.name, shown if is_read else by_access[action.access][0])
