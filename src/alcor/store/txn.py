# SPDX-License-Identifier: Apache-2.0
"""A view of the state with changes over it: what a request, and a turn of requests, writes before the log has it.

Every check is made when a write is asked for, before it changes anything: a refused write leaves the overlay as it was,
and each intermediate state is valid. So what refers is deleted before what it refers to. A guard sees the state before
the write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from alcor.base.errors import Conflict
from alcor.store.declare import Index, Key, Pool, Reference, Stored, Table
from alcor.store.plan import TablePlan, Write
from alcor.store.tables import Tables

T = TypeVar("T", bound=Stored)


class _Ids:
    """The ids that the overlay adds and removes under one key."""

    __slots__ = ("added", "removed")

    def __init__(self) -> None:
        self.added: set[str] = set()
        self.removed: set[str] = set()

    def add(self, id: str) -> None:
        if id in self.removed:
            self.removed.discard(id)
        else:
            self.added.add(id)

    def remove(self, id: str) -> None:
        if id in self.added:
            self.added.discard(id)
        else:
            self.removed.add(id)


class _Numbers:
    """The numbers that the overlay holds and frees under one pool key."""

    __slots__ = ("answered", "answered_below", "freed", "held", "low_water")

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.freed: set[int] = set()
        self.answered: set[int] = set()  # by `allocate`, so not to be answered again
        # By the first number of a range: none below this, in it, is free here; or is free and not yet answered.
        self.low_water: dict[int, int] = {}
        self.answered_below: dict[int, int] = {}

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
        self.answered.discard(number)
        for waters in (self.low_water, self.answered_below):
            for first, water in waters.items():
                if first <= number < water:
                    waters[first] = number


class Overlay:
    """Fulfils `store.reader.Txn`. The base must not change while an overlay stands on it."""

    def __init__(self, base: Tables | Overlay) -> None:
        self.plans: dict[str, TablePlan] = base.plans
        self.writes: list[Write] = []  # in the order in which they were made
        self._base = base
        self._objects: dict[str, dict[str, Stored | None]] = {}
        self._ids: dict[tuple[Index[Any], Key], _Ids] = {}
        self._numbers: dict[tuple[Pool[Any], Key], _Numbers] = {}

    def get(self, table: Table[T], id: str) -> T:
        """The object. Raises the table's NotFound."""
        found = self.peek(table, id)
        if found is None:
            raise table.not_found(id)
        return found

    def peek(self, table: Table[T], id: str) -> T | None:
        """The object, or None."""
        own = self._objects.get(table.name)
        if own is not None and id in own:
            return own[id]  # type: ignore[return-value]  # only objects of this table are put there
        return self._base.peek(table, id)

    def find(self, table: Table[T], index: Index[T], key: Key) -> Sequence[T]:
        """The objects under `key`, in order of id."""
        return [self.get(table, each) for each in self.ids(index, key)]

    def first(self, table: Table[T], index: Index[T], key: Key) -> T | None:
        """Some object under `key`, or None."""
        found = self.first_id(index, key)
        return None if found is None else self.get(table, found)

    def count(self, table: Table[T], index: Index[T], key: Key) -> int:
        """How many objects stand under `key`, in O(1)."""
        return self.count_ids(index, key)

    def is_held(self, pool: Pool[T], key: Key, number: int) -> bool:
        """Whether an object holds this number of the pool."""
        own = self._numbers.get((pool, key))
        if own is not None:
            if number in own.held:
                return True
            if number in own.freed:
                return False
        return self._base.is_held(pool, key, number)

    def scan(self, table: Table[T]) -> Iterator[T]:
        """All objects, in no particular order."""
        own = self._objects.get(table.name, {})
        for found in self._base.scan(table):
            if found.id not in own:
                yield found
        for new in own.values():
            if new is not None:
                yield new  # type: ignore[misc]  # only objects of this table are put there

    def insert(self, table: Table[T], new: T) -> None:
        """Adds an object. Raises what unique indexes, pools, references and guards refuse."""
        plan = self.plans[table.name]
        if self.peek(table, new.id) is not None:
            noun = table.name.replace("_", " ")
            raise Conflict(f"There is already a {noun} with the id {new.id}.")
        self._write(plan, None, new)

    def update(self, table: Table[T], new: T) -> None:
        """Replaces the object with `new.id`. Raises the table's NotFound, or as `insert`."""
        self._write(self.plans[table.name], self.get(table, new.id), new)

    def delete(self, table: Table[T], id: str) -> None:
        """Removes the object, and before it what cascades from it. Raises NotFound, `in_use`, or a guard's veto."""
        plan = self.plans[table.name]
        old = self.get(table, id)
        if not any(reference.in_use is None for reference, *_ in plan.referrers):
            self._delete(plan, old)
            return
        together = Overlay(self)  # all of the cascade, or nothing
        together._delete(plan, old)
        self.merge(together)

    def allocate(self, pool: Pool[T], key: Key, ranges: Sequence[tuple[int, int]]) -> int | None:
        """The lowest free number of the first of `ranges` (inclusive bounds) that has one, or None if all are held."""
        own = self._pool(pool, key)
        for bounds in ranges:
            if bounds[0] > bounds[1]:
                continue
            start = own.answered_below.get(bounds[0], bounds[0])
            number = self.lowest_free(pool, key, bounds, start)
            while number is not None and number in own.answered:
                number = self.lowest_free(pool, key, bounds, number + 1)
            own.answered_below[bounds[0]] = bounds[1] + 1 if number is None else number + 1
            if number is not None:
                own.answered.add(number)
                return number
        return None

    def merge(self, child: Overlay) -> None:
        """Takes everything that an overlay on this one has written."""
        for write in child.writes:
            self._put(write)

    # What an overlay on this one stands on.

    def ids(self, index: Index[Any], key: Key, limit: int | None = None) -> list[str]:
        """The first `limit` ids under `key` (None: all), in order."""
        own = self._ids.get((index, key))
        if own is None:
            return self._base.ids(index, key, limit)
        found = self._base.ids(index, key, None if limit is None else limit + len(own.removed))
        if own.removed:
            found = [each for each in found if each not in own.removed]
        found = sorted([*found, *own.added]) if own.added else found
        return found[:limit]

    def first_id(self, index: Index[Any], key: Key) -> str | None:
        """The smallest id under `key`, or None."""
        if (index, key) not in self._ids:
            return self._base.first_id(index, key)
        found = self.ids(index, key, 1)
        return found[0] if found else None

    def count_ids(self, index: Index[Any], key: Key) -> int:
        """How many ids stand under `key`."""
        own = self._ids.get((index, key))
        delta = 0 if own is None else len(own.added) - len(own.removed)
        return self._base.count_ids(index, key) + delta

    def lowest_free(self, pool: Pool[Any], key: Key, bounds: tuple[int, int], start: int) -> int | None:
        """The lowest free number within `bounds` that is not below `start`, or None."""
        own = self._numbers.get((pool, key))
        if own is None:
            return self._base.lowest_free(pool, key, bounds, start)
        first, last = bounds
        water = own.low_water.get(first, first)
        begin = max(start, water)
        number = self._base.lowest_free(pool, key, bounds, begin)
        while number is not None and number in own.held:
            number = self._base.lowest_free(pool, key, bounds, number + 1)
        freed = min((free for free in own.freed if begin <= free <= last), default=None)
        if number is None or (freed is not None and freed < number):
            number = freed
        if start <= water:
            own.low_water[first] = last + 1 if number is None else number
        return number

    def _write(self, plan: TablePlan, old: Stored | None, new: Stored | None) -> None:
        assert new is None or type(new) is plan.table.kind, f"{plan.name} does not store {type(new).__name__}"
        if new == old:
            return
        write = Write(plan, old, new)
        if new is not None:
            self._check_new(write, new)
        for guard in plan.guards:
            guard.check(self, old, new)
        self._put(write)

    def _delete(self, plan: TablePlan, old: Stored) -> None:
        # A table is declared after those that it references, so a cascade never comes back to where it was.
        for reference, _, reverse in plan.referrers:
            if reference.in_use is not None and self.count_ids(reverse, old.id):
                raise reference.in_use(old)
        for reference, table, reverse in plan.referrers:
            if reference.in_use is None:
                for each in self.ids(reverse, old.id):
                    self._delete(self.plans[table.name], self.get(table, each))
        self._write(plan, old, None)

    def _check_new(self, write: Write, new: Stored) -> None:
        plan = write.plan
        for index, _, entered in write.moves:
            if index in plan.uniques:
                for key in entered:
                    if self.first_id(index, key) is not None:
                        assert index.taken is not None
                        raise index.taken(new, key)
            for reference in plan.references.get(index, ()):
                for target_id in entered:
                    self._check_target(reference, str(target_id))
        for pool, _, held in write.holdings:
            for key, number in held:
                if self.is_held(pool, key, number):
                    raise pool.taken(new, key, number)

    def _check_target(self, reference: Reference[Any], id: str) -> None:
        if self.peek(reference.target, id) is None:
            raise reference.missing(id) if reference.missing else reference.target.not_found(id)

    def _put(self, write: Write) -> None:
        own_id = write.id
        self._objects.setdefault(write.plan.name, {})[own_id] = write.new
        for index, left, entered in write.moves:
            for key in left:
                self._key(index, key).remove(own_id)
            for key in entered:
                self._key(index, key).add(own_id)
        for pool, freed, held in write.holdings:
            for key, number in freed:
                self._pool(pool, key).free(number)
            for key, number in held:
                self._pool(pool, key).hold(number)
        self.writes.append(write)

    def _key(self, index: Index[Any], key: Key) -> _Ids:
        own = self._ids.get((index, key))
        if own is None:
            own = self._ids[index, key] = _Ids()
        return own

    def _pool(self, pool: Pool[Any], key: Key) -> _Numbers:
        own = self._numbers.get((pool, key))
        if own is None:
            own = self._numbers[pool, key] = _Numbers()
        return own
