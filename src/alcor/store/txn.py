# SPDX-License-Identifier: Apache-2.0
"""A view of the state with changes over it: what a request, and a turn of requests, writes before the log has it.

Every check is made when a write is asked for, before it changes anything: a refused write leaves the overlay as it was,
and each intermediate state is valid. So what refers is deleted before what it refers to. A guard sees the state before
the write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from alcor.base.errors import Conflict, Refusal
from alcor.store.declare import Index, Key, Pool, Stored, Table
from alcor.store.plan import TablePlan, Write
from alcor.store.tables import Net, Tables

T = TypeVar("T", bound=Stored)


class _Ids(dict[str, bool]):
    """The ids that the overlay adds (True) and removes (False) under one key."""

    __slots__ = ("net",)

    net: int  # how many more that makes


_UNTOUCHED = object()  # an object of which the overlay says nothing


class _Numbers:
    """The numbers that the overlay holds and frees under one pool key."""

    __slots__ = ("freed", "held", "low_water")

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.freed: set[int] = set()
        self.low_water: dict[int, int] = {}  # first number of a range -> none below this, in it, is free here

    def hold(self, number: int) -> None:
        if number in self.freed:
            self.freed.discard(number)
        else:
            self.held.add(number)

    def free(self, number: int) -> None:
        if number in self.held:
            self.held.discard(number)
        else:
            self.freed.add(number)
        _lower(self.low_water, number)


class _Answers:
    """The numbers of one pool key that `allocate` has answered to one request."""

    __slots__ = ("below", "numbers")

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.below: dict[
            int, int
        ] = {}  # first number of a range -> none below this, in it, is free and unanswered


def _lower(waters: dict[int, int], number: int) -> None:
    for first, water in waters.items():
        if first <= number < water:
            waters[first] = number


class Overlay:
    """Fulfils `store.reader.Txn`. The tables must not change while an overlay stands on them.

    One overlay serves the requests of a turn, one after another: `begin` marks where a request starts, and `undo` takes
    back what was written since.
    """

    def __init__(self, tables: Tables) -> None:
        self.writes: list[Write] = []  # in the order in which they were made
        self._tables = tables
        held = tables.held
        self._rows, self._decoded, self._indexes, self._pools = (
            held.rows,
            held.decoded,
            held.indexes,
            held.pools,
        )
        self._plans = tables.plans
        self._objects: dict[str, dict[str, Stored | None]] = {name: {} for name in tables.plans}
        self._ids: defaultdict[Index[Any], dict[Key, _Ids]] = defaultdict(dict)
        self._numbers: dict[tuple[Pool[Any], Key], _Numbers] = {}
        self._answers: dict[tuple[Pool[Any], Key], _Answers] = {}

    def net(self, rows: Mapping[tuple[str, str], bytes | None]) -> Net:
        """What the tables have to take; `rows` are the objects as this overlay leaves them."""
        numbers = {place: (own.freed, own.held) for place, own in self._numbers.items()}
        return Net(self._ids, numbers, rows, self._objects)

    def book(self, write: Write) -> None:
        """Takes a write that needs no check."""
        self._shift(write)
        self.writes.append(write)

    def begin(self) -> int:
        """The mark of a new request: to it, numbers that were answered before and not held are free."""
        self._answers.clear()
        return len(self.writes)

    def undo(self, mark: int) -> None:
        """Takes back every write since `begin` answered `mark`."""
        for write in reversed(self.writes[mark:]):
            self._shift(write.reversed())
        del self.writes[mark:]

    def get(self, table: Table[T], id: str) -> T:
        """The object. Raises the table's NotFound."""
        found = self.peek(table, id)
        if found is None:
            raise table.not_found(id)
        return found

    def peek(self, table: Table[T], id: str) -> T | None:
        """The object, or None."""
        name = table.name
        found = self._objects[name].get(id, _UNTOUCHED)
        if found is _UNTOUCHED:
            found = self._decoded[name].get(id)
            if (
                found is None and self._rows[name].count
            ):  # most of what features keep with others' objects has none
                return self._tables.peek(table, id)
        return found  # type: ignore[return-value]  # only objects of this table are put there

    def find(self, table: Table[T], index: Index[T], key: Key) -> Sequence[T]:
        """The objects under `key`, in order of id."""
        return [self.get(table, each) for each in self.ids(index, key)]

    def first(self, table: Table[T], index: Index[T], key: Key) -> T | None:
        """Some object under `key`, or None."""
        found = self.first_id(index, key)
        return None if found is None else self.peek(table, found)

    def count(self, table: Table[T], index: Index[T], key: Key) -> int:
        """How many objects stand under `key`, in O(1)."""
        own = self._ids[index].get(key)
        return self._indexes[index].count(key) + (0 if own is None else own.net)

    def is_held(self, pool: Pool[T], key: Key, number: int) -> bool:
        """Whether an object holds this number of the pool."""
        own = self._numbers.get((pool, key))
        if own is not None:
            if number in own.held:
                return True
            if number in own.freed:
                return False
        return self._pools[pool].is_held(key, number)

    def scan(self, table: Table[T]) -> Iterator[T]:
        """All objects, in no particular order."""
        own = self._objects[table.name]
        for found in self._tables.scan(table):
            if found.id not in own:
                yield found
        for new in own.values():
            if new is not None:
                yield new  # type: ignore[misc]  # only objects of this table are put there

    def insert(self, table: Table[T], new: T) -> None:
        """Adds an object. Raises what unique indexes, pools, references and guards refuse."""
        plan = self._plans[table.name]
        if self.peek(table, new.id) is not None:
            noun = table.name.replace("_", " ")
            raise Conflict(f"There is already a {noun} with the id {new.id}.")
        self._write(plan, None, new)

    def update(self, table: Table[T], new: T) -> None:
        """Replaces the object with `new.id`. Raises the table's NotFound, or as `insert`."""
        self._write(self._plans[table.name], self.get(table, new.id), new)

    def delete(self, table: Table[T], id: str) -> None:
        """Removes the object, and before it what cascades from it. Raises NotFound, `in_use`, or a guard's veto."""
        plan = self._plans[table.name]
        old = self.get(table, id)
        mark = len(self.writes)
        try:
            self._delete(plan, old)
        except Refusal:
            self.undo(mark)  # all of a cascade, or nothing
            raise

    def allocate(self, pool: Pool[T], key: Key, ranges: Sequence[tuple[int, int]]) -> int | None:
        """The lowest free number of the first of `ranges` (inclusive bounds) that has one, or None if all are held."""
        own = self._answers.get((pool, key))
        if own is None:
            own = self._answers[pool, key] = _Answers()
        for bounds in ranges:
            first, last = bounds
            if first > last:
                continue
            number = self.lowest_free(pool, key, bounds, own.below.get(first, first))
            while number is not None and number in own.numbers:
                number = self.lowest_free(pool, key, bounds, number + 1)
            own.below[first] = last + 1 if number is None else number + 1
            if number is not None:
                own.numbers.add(number)
                return number
        return None

    def ids(self, index: Index[Any], key: Key, limit: int | None = None) -> list[str]:
        """The first `limit` ids under `key` (None: all), in order."""
        own = self._ids[index].get(key)
        if own is None and limit is None:
            return self._indexes[index].ids(key)
        changes: Mapping[str, bool] = own or {}
        found = self._tables.ids(index, key, None if limit is None else limit + len(changes))
        removed = {changed for changed, is_added in changes.items() if not is_added}
        added = [changed for changed, is_added in changes.items() if is_added]
        if removed:
            found = [each for each in found if each not in removed]
        return sorted([*found, *added])[:limit] if added else found[:limit]

    def first_id(self, index: Index[Any], key: Key) -> str | None:
        """The smallest id under `key`, or None."""
        if key not in self._ids[index]:
            return self._indexes[index].first(key)
        found = self.ids(index, key, 1)
        return found[0] if found else None

    def lowest_free(self, pool: Pool[Any], key: Key, bounds: tuple[int, int], start: int) -> int | None:
        """The lowest free number within `bounds` that is not below `start`, or None."""
        own = self._numbers.get((pool, key))
        if own is None:
            return self._pools[pool].lowest_free(key, *bounds, start)
        first, last = bounds
        water = own.low_water.get(first, first)
        begin = max(start, water)
        free = self._pools[pool].lowest_free
        number = free(key, first, last, begin)
        while number is not None and number in own.held:
            number = free(key, first, last, number + 1)
        if own.freed:
            freed = min((each for each in own.freed if begin <= each <= last), default=None)
            if number is None or (freed is not None and freed < number):
                number = freed
        if start <= water:
            own.low_water[first] = last + 1 if number is None else number
        return number

    def _write(self, plan: TablePlan, old: Stored | None, new: Stored | None) -> None:
        assert new is None or type(new) is plan.table.kind, f"{plan.name} does not store {type(new).__name__}"
        if old is not None and new == old:
            return
        write = Write(plan, old, new)
        if new is not None:
            self._check_new(write, new)
        for guard in plan.guards:
            guard.check(self, old, new)
        self.book(write)

    def _delete(self, plan: TablePlan, old: Stored) -> None:
        # A table is declared after those that it references, so a cascade never comes back to where it was.
        for reference, _, reverse in plan.referrers:
            if reference.in_use is not None and self.count(plan.table, reverse, old.id):
                raise reference.in_use(old)
        for reference, table, reverse in plan.referrers:
            if reference.in_use is None:
                for each in self.ids(reverse, old.id):
                    self._delete(self._plans[table.name], self.get(table, each))
        self._write(plan, old, None)

    def _check_new(self, write: Write, new: Stored) -> None:
        checked = write.plan.checked
        for index, key in write.entered:
            references = checked.get(index)
            if references is None:
                continue
            if index.unique and self.first_id(index, key) is not None:
                assert index.taken is not None
                raise index.taken(new, key)
            for reference in references:
                named: str = key  # type: ignore[assignment]  # the keys of a reference are ids
                if self.peek(reference.target, named) is None:
                    missing = reference.missing or reference.target.not_found
                    raise missing(named)
        for pool, key, number in write.held:
            if self.is_held(pool, key, number):
                raise pool.taken(new, key, number)

    def _shift(self, write: Write) -> None:
        own_id = write.id
        self._objects[write.plan.name][own_id] = write.new
        for places, is_added, more in ((write.left, False, -1), (write.entered, True, 1)):
            for index, key in places:
                by_key = self._ids[index]
                own = by_key.get(key)
                if own is None:
                    own = by_key[key] = _Ids()
                    own.net = 0
                own.net += more
                if own_id in own:  # it is again as in the tables
                    del own[own_id]
                else:
                    own[own_id] = is_added
        for pool, key, number in write.freed:
            self._pool(pool, key).free(number)
            if (answers := self._answers.get((pool, key))) is not None:
                answers.numbers.discard(number)
                _lower(answers.below, number)
        for pool, key, number in write.held:
            self._pool(pool, key).hold(number)

    def _pool(self, pool: Pool[Any], key: Key) -> _Numbers:
        own = self._numbers.get((pool, key))
        if own is None:
            own = self._numbers[pool, key] = _Numbers()
        return own
