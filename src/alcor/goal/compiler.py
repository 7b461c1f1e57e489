# SPDX-License-Identifier: Apache-2.0
"""Objects to rows in scopes, kept by differences: a change derives again exactly what read the changed object.

Keeps rows as encoded bytes and nothing per object: what an object placed before is derived once more from the state
before, since derivations are pure. Does not know who is interested (`goal.interest`) or how rows travel (`push`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from alcor.base.wire.digest import digest_moved
from alcor.dataplane.rows import Row
from alcor.goal.declare import Derivation, GoalFeature, Placed
from alcor.goal.reads import Readers
from alcor.store.declare import Change, Stored, Table
from alcor.store.reader import Reader

T = TypeVar("T", bound=Stored)

_ALIKE_MAX = 16_384  # encoded rows remembered, so that equal rows in many scopes share their bytes
_SLICE_OBJECTS = 100  # derived between two pauses of a load: some 4 ms

encode_row = msgspec.msgpack.Encoder().encode  # a row as it is kept and travels


class Source(Reader, Protocol):
    """What a load reads: the state, and its tables in pages."""

    def page(self, table: Table[T], after: str | None, limit: int) -> list[T]:
        """Up to `limit` objects with ids greater than `after` (None: from the first), in order of id."""


class RowChange(NamedTuple):
    """A row that came, changed or went: its bytes and itself, before and after."""

    scope: str
    key: str
    old: bytes | None
    new: bytes | None
    old_row: Row | None
    new_row: Row | None
    request: str = ""  # id of the REST request behind it; "" if there was none


class Compiler:
    """The rows of all scopes. Changes by `apply`, in log order; fills by `load`."""

    def __init__(self, features: Sequence[GoalFeature]) -> None:
        self._derivations = derivations_of(features)
        self._by_table: dict[str, list[int]] = {}
        for number, derivation in enumerate(self._derivations):
            self._by_table.setdefault(derivation.table.name, []).append(number)
        self._scopes: dict[str, _Scope] = {}
        self._readers = Readers()
        self._alike: dict[bytes, bytes] = {}
        self._loaded_to: tuple[int, str] | None = None  # None: everything; else the last (derivation, id)
        self.derived = 0  # objects whose rows were derived, or derived again
        self.changed = 0  # rows that came, changed or went

    def load(self, source: Source) -> Iterator[list[RowChange]]:
        """Derives everything, in slices between which `apply` may be called; each answers the rows that it brought."""
        assert not self._scopes, "a compiler is loaded once, before anything else"
        self._loaded_to = (0, "")
        return self._load(source)

    def apply(self, reader: Reader, changes: Iterable[Change]) -> list[RowChange]:
        """Takes committed changes, `reader` showing the state right after them. Answers what rows changed."""
        before: dict[tuple[str, str], Any] = {}
        asked_by: dict[tuple[str, str], str] = {}
        for change in changes:
            before.setdefault((change.table, change.id), change.old)
            asked_by[change.table, change.id] = change.request
        past = _Past(reader, before)
        touched = _Touched()
        for (number, found), request in self._concerned(asked_by).items():
            touched.request = request
            self._derive_again(touched, number, found, (past, reader))
        return self._settle(touched)

    def rows(self, scope: str) -> Mapping[str, bytes]:
        """The encoded rows of a scope by key."""
        held = self._scopes.get(scope)
        return held.rows if held else {}

    def digest(self, scope: str) -> int:
        """The digest of a scope, as `base.wire.digest` defines it."""
        held = self._scopes.get(scope)
        return held.digest if held else 0

    def scopes(self) -> Iterable[str]:
        """The names of all scopes that have rows."""
        return self._scopes.keys()

    def reads(self) -> int:
        """How many reads are noted."""
        return self._readers.count

    def _load(self, source: Source) -> Iterator[list[RowChange]]:
        for number, derivation in enumerate(self._derivations):
            self._loaded_to = (number, "")
            while page := source.page(derivation.table, self._loaded_to[1], _SLICE_OBJECTS):
                touched = _Touched()
                for found in page:
                    placed, reads = derived(derivation, source, found)
                    self._note(number, found.id, (), reads)
                    touched.add(placed)
                self.derived += len(page)
                self._loaded_to = (number, page[-1].id)
                yield self._settle(touched)
        self._loaded_to = None
        self._alike.clear()

    def _concerned(self, asked_by: Mapping[tuple[str, str], str]) -> dict[tuple[int, str], str]:
        """What is to be derived again, as (derivation, object id), each once, and the request behind it."""
        found: dict[tuple[int, str], str] = {}
        for (table, changed_id), request in asked_by.items():
            for number in self._by_table.get(table, ()):
                found[number, changed_id] = request
            for number, reader in self._readers.of(table, changed_id):
                found.setdefault((number, reader), request)
        if self._loaded_to is not None:
            loaded_to = self._loaded_to
            found = {who: request for who, request in found.items() if who <= loaded_to}
        return found

    def _derive_again(self, touched: _Touched, number: int, id: str, states: tuple[_Past, Reader]) -> None:
        derivation = self._derivations[number]
        past, present = states
        old, new = past.peek(derivation.table, id), present.peek(derivation.table, id)
        placed_old, reads_old = derived(derivation, past, old)
        placed_new, reads_new = derived(derivation, present, new)
        self._note(number, id, reads_old, reads_new)
        self.derived += 1
        if placed_old != placed_new:
            touched.remove(placed_old)
            touched.add(placed_new)

    def _note(self, number: int, id: str, old: _Reads, new: _Reads) -> None:
        if old == new:
            return
        for table, read in set(old) - set(new):
            self._readers.remove(table, read, number, id)
        for table, read in set(new) - set(old):
            self._readers.add(table, read, number, id)

    def _settle(self, touched: _Touched) -> list[RowChange]:
        """Counts contributions, and answers what changed of the rows themselves."""
        changes = []
        for (scope, key), touch in touched.rows.items():
            held = self._scopes.get(scope)
            if held is None:
                held = self._scopes[scope] = _Scope()
            old = held.rows.get(key)
            left = (held.count(key) if old is not None else 0) - touch.removed
            assert left >= 0, f"{key} in {scope} lost more contributions than it had"
            new = self._body(touch.new_row) if touch.added else old if left else None
            assert not left or new == old, f"objects place different rows under {key} in {scope}"
            held.put(key, old, new, left + touch.added)
            if new != old:
                changes.append(RowChange(scope, key, old, new, touch.old_row, touch.new_row, touch.request))
            if not held.rows:
                del self._scopes[scope]
        self.changed += len(changes)
        return changes

    def _body(self, row: Row | None) -> bytes:
        body = encode_row(row)
        if len(self._alike) >= _ALIKE_MAX:
            self._alike.clear()
        return self._alike.setdefault(body, body)


def derivations_of(features: Sequence[GoalFeature]) -> tuple[Derivation[Any], ...]:
    """All derivations of the features, in their order. Observed tables are no input of goal: that is asserted."""
    found = tuple(derivation for feature in features for derivation in feature.derivations)
    for derivation in found:
        assert not derivation.table.observed, (
            f"{derivation.table.name} is observed, so goal may not derive from it"
        )
    return found


_Reads = Sequence[tuple[str, str]]  # (table, id) of what a derivation read


class _Peek(Protocol):
    def peek(self, table: Table[T], id: str) -> T | None: ...


class _Past:
    """The state before some changes."""

    def __init__(self, present: _Peek, before: Mapping[tuple[str, str], Any]) -> None:
        self._present = present
        self._before = before

    def peek(self, table: Table[T], id: str) -> T | None:
        """The object as it was, or None."""
        place = (table.name, id)
        if place in self._before:
            return self._before[place]  # type: ignore[no-any-return]  # Change.old of this table
        return self._present.peek(table, id)


class _View:
    """Fulfils `goal.declare.View`."""

    __slots__ = ("_state", "reads")

    def __init__(self, state: _Peek) -> None:
        self._state = state
        self.reads: list[tuple[str, str]] = []

    def peek(self, table: Table[T], id: str) -> T | None:
        """The object, or None; the read is recorded."""
        assert not table.observed, f"{table.name} is observed, so goal may not read it"
        self.reads.append((table.name, id))
        return self._state.peek(table, id)


def derived(derivation: Derivation[Any], state: _Peek, found: Stored | None) -> tuple[list[Placed], _Reads]:
    """The rows that an object stands for in `state`, and what was read for them. An absent object stands for none."""
    if found is None:
        return [], ()
    view = _View(state)
    placed = list(derivation.derive(view, found))
    return placed, view.reads


class _Touch:
    """What happens to one row in one turn: contributions that went and came."""

    __slots__ = ("added", "new_row", "old_row", "removed", "request")

    def __init__(self, request: str) -> None:
        self.request = request
        self.removed = 0
        self.added = 0
        self.old_row: Row | None = None
        self.new_row: Row | None = None


class _Touched:
    """All rows touched in one turn."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], _Touch] = {}
        self.request = ""  # behind what is touched next

    def remove(self, placed: Iterable[Placed]) -> None:
        """Counts contributions that went."""
        for scope, key, row in placed:
            touch = self._touch(scope, key)
            touch.removed += 1
            touch.old_row = row

    def add(self, placed: Iterable[Placed]) -> None:
        """Counts contributions that came; they must agree."""
        for scope, key, row in placed:
            touch = self._touch(scope, key)
            assert not touch.added or touch.new_row == row, (
                f"objects place different rows under {key} in {scope}"
            )
            touch.added += 1
            touch.new_row = row

    def _touch(self, scope: str, key: str) -> _Touch:
        touch = self.rows.get((scope, key))
        if touch is None:
            touch = self.rows[scope, key] = _Touch(self.request)
        return touch


class _Scope:
    """The rows of one scope."""

    __slots__ = ("digest", "rows", "shared")

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.shared: dict[str, int] | None = None  # how many objects contribute, where it is more than one
        self.digest = 0

    def count(self, key: str) -> int:
        """How many objects contribute to a row that is there."""
        return self.shared.get(key, 1) if self.shared else 1

    def put(self, key: str, old: bytes | None, new: bytes | None, count: int) -> None:
        """Sets the row (None: removes it) and how many objects contribute to it."""
        if new is None:
            self.rows.pop(key, None)
        elif new != old:
            self.rows[key] = new
        if new != old:
            self.digest = digest_moved(self.digest, key, old, new)
        if count > 1:
            if self.shared is None:
                self.shared = {}
            self.shared[key] = count
        elif self.shared:
            self.shared.pop(key, None)


def from_scratch(features: Sequence[GoalFeature], reader: Reader) -> dict[str, dict[str, Row]]:
    """All rows by scope and key, derived from nothing but the state: what the compiler must agree with."""
    rows: dict[str, dict[str, Row]] = {}
    for derivation in derivations_of(features):
        for found in reader.scan(derivation.table):
            for scope, key, row in derived(derivation, reader, found)[0]:
                other = rows.setdefault(scope, {}).setdefault(key, row)
                assert other == row, f"objects place different rows under {key} in {scope}"
    return rows
