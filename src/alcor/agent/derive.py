# SPDX-License-Identifier: Apache-2.0
"""From a host's rows and interfaces to the flows that its switch should have, incrementally.

Every read of a flow function is recorded; when something changes, exactly the rows that read it are derived again.
Does not hold the rows (`agent.rows` does) and does not talk to the switch (`agent.reconcile` does).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from alcor.dataplane.pipeline import COOKIE
from alcor.dataplane.rows import FlowRule, HostFacts, HostFeature, HostView, Interface, Row, RowIndex
from alcor.dataplane.values import Action, Conjunction, Flow, Match

R = TypeVar("R", bound=Row)
V = TypeVar("V", int, str)

Identity = tuple[int, int, Match]  # of a flow: table, priority, match
Place = tuple[str, str]  # of a row: scope, key
HeldRows = Mapping[str, Mapping[str, Row]]  # scope -> key -> row


@dataclass(slots=True)
class Change:
    """What the switch needs: `adds` are new or altered flows, `deletes` flows that nobody wants any more."""

    adds: dict[Identity, Flow] = field(default_factory=dict)
    deletes: dict[Identity, Flow] = field(default_factory=dict)

    def follow(self, later: Change) -> None:
        """Takes in what changed after this."""
        for identity, flow in later.adds.items():
            self.adds[identity] = flow
            self.deletes.pop(identity, None)
        for identity, flow in later.deletes.items():
            self.adds.pop(identity, None)
            self.deletes[identity] = flow


class Deriver:
    """The flows wanted of the switch, as a function of rows, interfaces and facts.

    `wanted` is by identity; `derived` counts how often a row was derived.
    """

    def __init__(self, features: Sequence[HostFeature], rows: HeldRows, facts: HostFacts) -> None:
        self.wanted: dict[Identity, Flow] = {}
        self.derived = 0
        self._features = features
        self._rules = [rule for feature in features for rule in feature.rules]
        self._rules_of: dict[type[Row], list[int]] = {}
        for number, rule in enumerate(self._rules):
            self._rules_of.setdefault(rule.kind, []).append(number)
        self._rows = rows
        self._facts = facts
        self._interfaces: dict[str, Interface] = {}
        self._indexes = _Indexes([index for feature in features for index in feature.indexes])
        self._kinds: dict[Place, type[Row]] = {}
        self._owners: dict[tuple[int, str, str], _Owner] = {}
        self._readers: dict[Hashable, _Owner | set[_Owner]] = {}
        self._failing: dict[_Owner, None] = {}
        self._claims = _Claims(self.wanted)
        self._claims.stand(self._static())

    def apply(
        self,
        places: Iterable[Place],
        interfaces: Iterable[Interface | str] = (),
        facts: HostFacts | None = None,
    ) -> Change:
        """What follows from changed rows at `places`, and from interfaces: as each is now, or the id of one gone.

        With other facts everything is derived again.
        """
        stale: set[_Owner] = set()
        if facts is not None and facts != self._facts:
            self._facts = facts
            self._claims.stand(self._static())
            stale.update(self._owners.values())
        for place in places:
            self._row_changed(place, stale)
        for interface in interfaces:
            self._interface_changed(interface, stale)
        return self._run(stale)

    def owners(self, identity: Identity) -> Sequence[Place]:
        """The rows for whose sake the flow is wanted; none for a static flow."""
        return [(owner.scope, owner.key) for owner in self._claims.owners(identity) if owner.rule >= 0]

    def flows(self, place: Place) -> list[Flow]:
        """The flows that a row stands for, those included that it shares with others."""
        owners = (self._owners.get((number, *place)) for number in range(len(self._rules)))
        return [self.wanted[identity] for owner in owners if owner is not None for identity in owner.flows]

    @property
    def failed(self) -> dict[Place, str]:
        """Rows that stand for no flows, or not for all that they should, with the reason."""
        return {(owner.scope, owner.key): owner.reason for owner in self._failing}

    def interface(self, iface_id: str) -> Interface | None:
        """The plugged interface, or None."""
        return self._interfaces.get(iface_id)

    def interfaces(self) -> Iterable[Interface]:
        """All plugged interfaces."""
        return self._interfaces.values()

    def _static(self) -> Iterator[Flow]:
        for feature in self._features:
            if feature.static:
                yield from feature.static(self._facts)

    def _row_changed(self, place: Place, stale: set[_Owner]) -> None:
        scope, key = place
        row = self._rows.get(scope, {}).get(key)
        kind_before = self._kinds.get(place)
        kind = type(row) if row is not None else None
        for read in self._indexes.put(scope, key, kind_before, row):
            self._stale_readers(read, stale)
        self._stale_readers(place, stale)
        for changed in {kind_before, kind} - {None}:
            self._stale_readers((changed, scope), stale)
            for number in self._rules_of.get(changed, ()):  # type: ignore[arg-type]  # None was taken out
                owner = self._owners.setdefault((number, scope, key), _Owner(number, scope, key))
                stale.add(owner)
        if kind is None:
            self._kinds.pop(place, None)
        else:
            self._kinds[place] = kind

    def _interface_changed(self, interface: Interface | str, stale: set[_Owner]) -> None:
        iface_id = interface if isinstance(interface, str) else interface.iface_id
        if isinstance(interface, str):
            self._interfaces.pop(iface_id, None)
        else:
            self._interfaces[iface_id] = interface
        self._stale_readers((Interface, iface_id), stale)

    def _stale_readers(self, read: Hashable, stale: set[_Owner]) -> None:
        readers = self._readers.get(read)
        if isinstance(readers, _Owner):
            stale.add(readers)
        elif readers:
            stale |= readers

    def _run(self, stale: set[_Owner]) -> Change:
        """Derives all of `stale`, then moves their claims together, so that a flow may change hands."""
        stale |= self._claims.refused  # whoever is in their way may have gone
        view = _View(self._rows, self._indexes, self._interfaces, self._facts)
        derived = {owner: self._derive(owner, view) for owner in stale}
        for owner, (reads, flows) in derived.items():
            self._forget_reads(owner, reads)
            self._claims.release(owner, flows)
        for owner, (reads, flows) in derived.items():
            owner.reason = owner.reason or self._claims.claim(owner, flows)
            self._remember_reads(owner, reads)
            if not self._rows.get(owner.scope, {}).get(owner.key):
                self._owners.pop((owner.rule, owner.scope, owner.key), None)
            self._failing.pop(owner, None)
            if owner.reason:
                self._failing[owner] = None
        return self._claims.settle()

    def _derive(self, owner: _Owner, view: _View) -> tuple[tuple[Hashable, ...], dict[Identity, Flow]]:
        rule: FlowRule[Any] = self._rules[owner.rule]
        row = self._rows.get(owner.scope, {}).get(owner.key)
        owner.reason = ""
        view.reads = {}
        if not isinstance(row, rule.kind):
            return (), {}
        self.derived += 1
        try:
            flows = _by_identity(rule.derive(view, owner.scope, row))
        except Exception as error:  # noqa: BLE001  # a row is the unit of failure: it denies and holds up no other
            owner.reason = f"{type(error).__name__}: {error}"
            flows = {}
        return tuple(view.reads), flows

    def _forget_reads(self, owner: _Owner, kept: tuple[Hashable, ...]) -> None:
        for read in set(owner.reads).difference(kept):
            readers = self._readers[read]
            if isinstance(readers, set):
                readers.discard(owner)
                if readers:
                    continue
            del self._readers[read]

    def _remember_reads(self, owner: _Owner, reads: tuple[Hashable, ...]) -> None:
        # Most things are read by one row only, and a set for each would cost more than the flows.
        for read in set(reads).difference(owner.reads):
            readers = self._readers.setdefault(read, owner)
            if isinstance(readers, set):
                readers.add(owner)
            elif readers is not owner:
                self._readers[read] = {readers, owner}
        owner.reads = reads


class _Owner:
    """One row under one flow rule: what it read, and the flows that it claims."""

    __slots__ = ("flows", "key", "reads", "reason", "rule", "scope")

    def __init__(self, rule: int, scope: str, key: str) -> None:
        self.rule = rule
        self.scope = scope
        self.key = key
        self.reads: tuple[Hashable, ...] = ()
        self.flows: tuple[Identity, ...] = ()
        self.reason = ""


class _View(HostView):
    """The host's world for flow functions; what is read is written into `reads`."""

    def __init__(
        self,
        rows: HeldRows,
        indexes: _Indexes,
        interfaces: Mapping[str, Interface],
        facts: HostFacts,
    ) -> None:
        self.reads: dict[Hashable, None] = {}
        self._rows = rows
        self._indexes = indexes
        self._interfaces = interfaces
        self._facts = facts

    @property
    def facts(self) -> HostFacts:
        return self._facts

    def row(self, kind: type[R], scope: str, key: str) -> R | None:
        self.reads[scope, key] = None
        row = self._rows.get(scope, {}).get(key)
        return row if isinstance(row, kind) else None

    def rows(self, kind: type[R], scope: str) -> Sequence[R]:
        self.reads[kind, scope] = None
        return [row for _, row in sorted(self._rows.get(scope, {}).items()) if isinstance(row, kind)]

    def local(self, kind: type[R]) -> Sequence[R]:
        return self.rows(kind, f"host:{self._facts.host}")

    def find(self, index: RowIndex[R, V], place: Hashable) -> Sequence[V]:
        self.reads[index, place] = None
        return self._indexes.find(index, place)

    def interface(self, iface_id: str) -> Interface | None:
        self.reads[Interface, iface_id] = None
        return self._interfaces.get(iface_id)


class _Indexes:
    """The declared indexes over all rows; a value counts how many rows give it."""

    def __init__(self, declared: Sequence[RowIndex[Any, Any]]) -> None:
        self._places: dict[RowIndex[Any, Any], dict[Hashable, Counter[Any]]] = {i: {} for i in declared}
        self._of_kind: dict[type[Row], list[RowIndex[Any, Any]]] = {}
        for index in declared:
            self._of_kind.setdefault(index.kind, []).append(index)
        self._entries: dict[Place, dict[RowIndex[Any, Any], list[tuple[Hashable, Any]]]] = {}

    def find(self, index: RowIndex[R, V], place: Hashable) -> Sequence[V]:
        return sorted(self._places[index].get(place, ()))

    def put(self, scope: str, key: str, before: type[Row] | None, row: Row | None) -> set[Hashable]:
        """Puts the row, or None, in the place of what was there; answers the reads that are not true any more."""
        entries = {
            index: list(dict.fromkeys(index.entries(scope, key, row)))
            for index in (self._of_kind.get(type(row), ()) if row is not None else ())
        }
        old = self._entries.pop((scope, key), {}) if before is not None else {}
        if entries:
            self._entries[scope, key] = entries
        changed: set[Hashable] = set()
        for index in {**old, **entries}:
            was, now = old.get(index, []), entries.get(index, [])
            if was != now:
                changed |= self._count(index, was, now)
        return changed

    def _count(
        self,
        index: RowIndex[Any, Any],
        was: Iterable[tuple[Hashable, Any]],
        now: Iterable[tuple[Hashable, Any]],
    ) -> set[Hashable]:
        places = self._places[index]
        moved: Counter[tuple[Hashable, Any]] = Counter(now)
        moved.subtract(Counter(was))
        changed: set[Hashable] = set()
        for (place, value), by in moved.items():
            counts = places.setdefault(place, Counter())
            had = counts[value]
            counts[value] = had + by
            if not counts[value]:
                del counts[value]
                if not counts:
                    del places[place]
            if bool(had) != bool(had + by):
                changed.add((index, place))
        return changed


class _Claims:
    """Who wants which flow: one owner, or several whose conjunctions are merged; else the later is refused."""

    def __init__(self, wanted: dict[Identity, Flow]) -> None:
        self.refused: set[_Owner] = set()
        self._wanted = wanted
        self._sole: dict[Identity, _Owner] = {}
        self._shared: dict[Identity, dict[_Owner, tuple[Action, ...]]] = {}
        self._touched: dict[Identity, Flow | None] = {}  # identity -> what was wanted before
        self._static = _Owner(-1, "the pipeline", "static")

    def stand(self, flows: Iterable[Flow]) -> None:
        """Puts the static flows in the place of those that stood."""
        standing = {flow.identity: flow for flow in flows}
        self.release(self._static, standing)
        self._static.reason = self.claim(self._static, standing)
        assert not self._static.reason, self._static.reason

    def owners(self, identity: Identity) -> Sequence[_Owner]:
        if sole := self._sole.get(identity):
            return [sole]
        return list(self._shared.get(identity, ()))

    def release(self, owner: _Owner, kept: Mapping[Identity, Flow]) -> None:
        """Gives up what the owner claimed and does not claim again in `kept`."""
        self.refused.discard(owner)
        for identity in owner.flows:
            again = kept.get(identity)
            if again is not None and _is_shared(again) == (identity in self._shared):
                continue
            self._touched.setdefault(identity, self._wanted.get(identity))
            if self._sole.get(identity) is owner:
                del self._sole[identity], self._wanted[identity]
            elif sharing := self._shared.get(identity):
                del sharing[owner]

    def claim(self, owner: _Owner, flows: Mapping[Identity, Flow]) -> str:
        """Claims the flows; answers why one could not be claimed, or nothing."""
        refusals = [self._claim_one(owner, identity, flow) for identity, flow in flows.items()]
        reason = next(filter(None, refusals), "")
        if reason:
            self.refused.add(owner)
            flows = {identity: flow for identity, flow in flows.items() if owner in self.owners(identity)}
        owner.flows = tuple(flows)
        return reason

    def _claim_one(self, owner: _Owner, identity: Identity, flow: Flow) -> str:
        is_shared = _is_shared(flow)
        others = [other for other in self.owners(identity) if other is not owner]
        if others and not (is_shared and identity in self._shared):
            names = " and ".join(f"{rival.scope} {rival.key}" for rival in (others[0], owner))
            return f"Two rows want table {flow.table} priority {flow.priority} {flow.match}: {names}"

        if is_shared:
            sharing = self._shared.setdefault(identity, {})
            if sharing.get(owner) != flow.actions:
                self._touched.setdefault(identity, self._wanted.get(identity))
                sharing[owner] = flow.actions
        else:
            self._sole[identity] = owner
            self._shared.pop(identity, None)  # nobody is left there
            before = self._wanted.get(identity)
            if before != flow:
                self._touched.setdefault(identity, before)
                self._wanted[identity] = flow
        return ""

    def settle(self) -> Change:
        """Merges what is shared; answers which flows are new or other than before, and which are gone."""
        change = Change()
        for identity, before in self._touched.items():
            sharing = self._shared.get(identity)
            if sharing:
                actions = dict.fromkeys(action for actions in sharing.values() for action in actions)
                merged = tuple(sorted(actions, key=_conjunction_order))
                self._wanted[identity] = Flow(*identity, merged, COOKIE)
            elif sharing is not None:
                del self._shared[identity]
                self._wanted.pop(identity, None)
            wanted = self._wanted.get(identity)
            if wanted is None:
                if before is not None:
                    change.deletes[identity] = before
            elif wanted != before:
                change.adds[identity] = wanted
        self._touched = {}
        return change


def _by_identity(flows: Iterable[Flow]) -> dict[Identity, Flow]:
    """The flows of one row; those that are clauses of several conjunctions with the same match become one."""
    found: dict[Identity, Flow] = {}
    for flow in flows:
        twin = found.setdefault(flow.identity, flow)
        if twin is flow:
            continue
        assert _is_shared(twin), f"one row wants two flows: {twin} and {flow}"
        assert _is_shared(flow), f"one row wants two flows: {twin} and {flow}"
        actions = tuple(dict.fromkeys((*twin.actions, *flow.actions)))
        found[flow.identity] = Flow(*flow.identity, actions, COOKIE)
    return found


def _is_shared(flow: Flow) -> bool:
    return bool(flow.actions) and all(isinstance(action, Conjunction) for action in flow.actions)


def _conjunction_order(action: Action) -> tuple[int, int]:
    assert isinstance(action, Conjunction), f"{action} cannot be shared"
    return action.id, action.clause
