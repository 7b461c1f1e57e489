# SPDX-License-Identifier: Apache-2.0
"""Which hosts need which scopes: the closure of the features' needs from each host's own scope, kept by differences.

Scopes are nodes; a row of scope S that needs scope T counts on the edge from S to T. A host's interest is what its own
scope reaches, counted by the edges that lead there. Knows no rows (`goal.compiler`) and sends nothing (`push`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from alcor.dataplane.rows import Row
from alcor.goal.compiler import RowChange
from alcor.goal.counts import Counts, Numbers
from alcor.goal.declare import GoalFeature, Need, host_scope

_OWN = host_scope("")
_NOTHING: AbstractSet[str] = frozenset()


class Moves(NamedTuple):
    """Which scopes which hosts came to need, and need no more, as (host, scope)."""

    entered: list[tuple[str, str]]
    left: list[tuple[str, str]]


class Interest:
    """The scopes of every host and the hosts of every scope. A host's own scope is always among its scopes."""

    def __init__(self, features: Sequence[GoalFeature]) -> None:
        self._needs = needs_of(features)
        self._numbers: dict[str, int] = {}
        self._nodes: list[_Node | None] = []
        self._free: list[int] = []
        self._scopes: dict[
            int, Counts
        ] = {}  # by the number of a host's own scope: what it reaches, by incoming edges
        self._moved: dict[tuple[int, int], int] = {}
        self._doubtful: set[int] = set()

    def apply(self, changes: Iterable[RowChange]) -> Moves:
        """Takes changes of rows; answers the net moves."""
        cut = []
        for (scope, target), count in self._edges(changes).items():
            start, end = self._number(scope), self._number(target)
            if count > 0 and self._connect(start, end, count):
                for host in self._hosts_of(start):
                    self._enter(host, end)
            elif count < 0:
                cut.append((start, end, -count))
        for start, end, count in cut:
            if self._cut(start, end, count):
                for host in self._hosts_of(start):
                    self._leave(host, end)
        for host in self._doubtful:
            self._collect(host)
        self._doubtful.clear()
        moves = self._named_moves()
        for start, end, _ in cut:
            self._release(end)
            self._release(start)
        return moves

    def note(self, changes: Iterable[RowChange]) -> None:
        """Takes changes of rows during a load: hosts and scopes are told only after `spread` has run to its end."""
        for (scope, target), count in self._edges(changes).items():
            start, end = self._number(scope), self._number(target)
            if count > 0:
                self._connect(start, end, count)
            elif count < 0:
                self._cut(start, end, -count)
                self._release(end)
                self._release(start)

    def spread(self) -> Iterator[None]:
        """Finds what every host needs, pausing after each; what changes meanwhile is to be applied after its end."""
        for number, node in enumerate(self._nodes):
            if node is None or not node.name.startswith(_OWN):
                continue
            reached = self._reached(number)
            incoming: dict[int, int] = {}
            for start in (number, *reached):
                for end in self._node(start).targets.all():
                    incoming[end] = incoming.get(end, 0) + 1
            self._scopes[number] = Counts(incoming)
            for scope in reached:
                self._node(scope).hosts.add(number)
            yield

    def hosts(self, scope: str) -> list[str]:
        """The hosts that need the scope."""
        if scope.startswith(_OWN):
            return [scope[len(_OWN) :]]
        number = self._numbers.get(scope)
        if number is None:
            return []
        return [self._node(host).name[len(_OWN) :] for host in self._node(number).hosts.all()]

    def scopes(self, host: str) -> list[str]:
        """The scopes that the host needs, its own last."""
        own = host_scope(host)
        number = self._numbers.get(own)
        reached = self._scopes.get(number) if number is not None else None
        return [*(self._node(scope).name for scope in reached.all()), own] if reached else [own]

    def all_hosts(self) -> list[str]:
        """The hosts that need more than their own scope."""
        return [self._node(number).name[len(_OWN) :] for number in self._scopes]

    def size(self) -> int:
        """How many scopes are known: those with needs, and those needed."""
        return len(self._numbers)

    def _edges(self, changes: Iterable[RowChange]) -> dict[tuple[str, str], int]:
        """By how much the rows on each edge, from scope to scope, become more or fewer."""
        edges: dict[tuple[str, str], int] = {}
        for change in changes:
            old, new = targets_of(self._needs, change.old_row), targets_of(self._needs, change.new_row)
            for target in old - new:
                edges[change.scope, target] = edges.get((change.scope, target), 0) - 1
            for target in new - old:
                edges[change.scope, target] = edges.get((change.scope, target), 0) + 1
        return edges

    def _connect(self, start: int, end: int, count: int) -> bool:
        """Puts rows on an edge; True if there were none."""
        is_new = self._node(start).targets.add(end, count)
        self._node(end).sources += is_new
        return is_new

    def _enter(self, host: int, scope: int) -> None:
        if self._scopes.setdefault(host, Counts()).add(scope):
            node = self._node(scope)
            node.hosts.add(host)
            for target in list(node.targets.all()):
                self._enter(host, target)
            # After what it needs, so that hosts are sent that first.
            self._moved[host, scope] = self._moved.get((host, scope), 0) + 1

    def _cut(self, start: int, end: int, count: int) -> bool:
        """Takes rows off an edge; True if there are none left."""
        is_gone = self._node(start).targets.drop(end, count)
        self._node(end).sources -= is_gone
        return is_gone

    def _leave(self, host: int, scope: int) -> None:
        if self._scopes[host].drop(scope):
            self._gone(host, scope)
            for target in list(self._node(scope).targets.all()):
                self._leave(host, target)
        elif scope in self._reached(scope):
            # What is left may be scopes that only hold one another: counting alone does not see that.
            self._doubtful.add(host)

    def _gone(self, host: int, scope: int) -> None:
        self._node(scope).hosts.remove(host)
        self._moved[host, scope] = self._moved.get((host, scope), 0) - 1

    def _reached(self, start: int) -> set[int]:
        """What edges lead to from a scope; the scope itself only by a circle."""
        reached: set[int] = set()
        ahead = list(self._node(start).targets.all())
        while ahead:
            number = ahead.pop()
            if number not in reached:
                reached.add(number)
                ahead += self._node(number).targets.all()
        return reached

    def _collect(self, host: int) -> None:
        """Drops what the host's own scope does not reach any more."""
        reached = self._reached(host)
        counts = self._scopes[host]
        stranded = [number for number in counts.all() if number not in reached]
        for number in stranded:
            for target in self._node(number).targets.all():
                if target in reached:
                    counts.drop(target)
        for number in stranded:
            counts.discard(number)
            self._gone(host, number)

    def _hosts_of(self, number: int) -> list[int]:
        node = self._node(number)
        return [number] if node.name.startswith(_OWN) else list(node.hosts.all())

    def _named_moves(self) -> Moves:
        moves = Moves([], [])
        for (host, scope), net in self._moved.items():
            if net:
                name = self._node(host).name[len(_OWN) :]
                (moves.entered if net > 0 else moves.left).append((name, self._node(scope).name))
        self._moved.clear()
        return moves

    def _number(self, scope: str) -> int:
        number = self._numbers.get(scope)
        if number is None:
            if self._free:
                number = self._free.pop()
                self._nodes[number] = _Node(scope)
            else:
                number = len(self._nodes)
                self._nodes.append(_Node(scope))
            self._numbers[scope] = number
        return number

    def _release(self, number: int) -> None:
        node = self._nodes[number]
        if node is not None and not node.sources and not len(node.targets):
            assert not len(node.hosts), f"{node.name} is needed by hosts, but no row says why"
            del self._numbers[node.name]
            self._scopes.pop(number, None)
            self._nodes[number] = None
            self._free.append(number)

    def _node(self, number: int) -> "_Node":
        node = self._nodes[number]
        assert node is not None
        return node


class _Node:
    """One scope: what its rows need, how many scopes need it, and the hosts that do."""

    __slots__ = ("hosts", "name", "sources", "targets")

    def __init__(self, name: str) -> None:
        self.name = name
        self.targets = Counts()
        self.sources = 0
        self.hosts = Numbers()


Needs = Mapping[type[Row], Sequence[Need[Any]]]


def needs_of(features: Sequence[GoalFeature]) -> Needs:
    """The needs of the features by kind of row."""
    found: dict[type[Row], list[Need[Any]]] = {}
    for feature in features:
        for need in feature.needs:
            found.setdefault(need.kind, []).append(need)
    return found


def targets_of(needs: Needs, row: Row | None) -> AbstractSet[str]:
    """The scopes that a host with this row needs. Nobody may need another host's own scope: that is asserted."""
    of_kind = needs.get(type(row)) if row else None
    if of_kind is None:
        return _NOTHING
    targets = {scope for need in of_kind for scope in need.scopes(row)}
    for target in targets:
        assert not target.startswith(_OWN), f"{row} needs a host's own scope"
    return targets


def from_scratch(
    features: Sequence[GoalFeature], rows: Mapping[str, Mapping[str, Row]]
) -> dict[str, set[str]]:
    """The scopes of every host that has rows, from nothing but the rows: what `Interest` must agree with."""
    needs = needs_of(features)
    found: dict[str, set[str]] = {}
    for own in rows:
        if not own.startswith(_OWN):
            continue
        reached = {own}
        ahead = [own]
        while ahead:
            for row in rows.get(ahead.pop(), {}).values():
                fresh = targets_of(needs, row) - reached
                reached |= fresh
                ahead += fresh
        found[own[len(_OWN) :]] = reached
    return found
