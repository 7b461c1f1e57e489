# SPDX-License-Identifier: Apache-2.0
"""The committed state in memory: encoded objects, indexes, reverse references and pools.

Decides nothing: what may be written is checked in `store.txn`, and what was written comes from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import lt
from typing import Any, Generic, NamedTuple, TypeVar

from alcor.store.declare import Index, Key, Pool, Position, Schema, Stored, Table, own_id
from alcor.store.ids import KeyedIds, OwnIds
from alcor.store.plan import distinct, plans_of
from alcor.store.pools import HeldNumbers
from alcor.store.rows import Rows, Scan

T = TypeVar("T", bound=Stored)

START = Position(0, "")  # of a log in which nothing was written
_DECODED_MAX = 8192  # objects of one table that are kept decoded; all are dropped when more were read


class Slice(NamedTuple):
    """Current objects of one table as the log has them, in order of id."""

    table: str
    ids: Sequence[str]
    rows: Sequence[bytes]


@dataclass(frozen=True)
class Under(Generic[T]):
    """The objects under one key of an index."""

    index: Index[T]
    key: Key


@dataclass(frozen=True)
class Net:
    """What one or several turns change in sum: nothing that they did and took back."""

    ids: Mapping[Index[Any], Mapping[Key, Mapping[str, bool]]]  # by index and key: added (True) or removed
    numbers: Mapping[tuple[Pool[Any], Key], tuple[Iterable[int], Iterable[int]]]  # freed, taken
    rows: Mapping[tuple[str, str], bytes | None]  # by table's name and id; None: not there any more
    objects: Mapping[str, Mapping[str, Any]]  # by table's name, then id: what the rows encode


class Held:
    """Everything that the tables keep; replaced as one by a load."""

    def __init__(self, tables: Sequence[Table[Any]], table_of: dict[Index[Any], Table[Any]]) -> None:
        self.rows = {table.name: Rows() for table in tables}
        self.decoded: dict[str, dict[str, Any]] = {table.name: {} for table in tables}
        self.indexes: dict[Index[Any], KeyedIds | OwnIds] = {
            index: OwnIds(self.rows[table.name].get) if index.keys is own_id else KeyedIds()
            for index, table in table_of.items()
        }
        self.pools = {pool: HeldNumbers() for table in tables for pool in table.pools}


class Tables:
    """Reader over committed state. Fulfils `store.reader.Reader`; changes by `take` and `load` only."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.plans = plans_of(schema)
        self.position = START
        self._table_of = {index: plan.table for plan in self.plans.values() for index in plan.indexes}
        self._held = self._empty()

    @property
    def revision(self) -> int:
        """The revision at which everything read here is true."""
        return self.position.revision

    def get(self, table: Table[T], id: str) -> T:
        """The object. Raises the table's NotFound."""
        found = self.peek(table, id)
        if found is None:
            raise table.not_found(id)
        return found

    def peek(self, table: Table[T], id: str) -> T | None:
        """The object, or None."""
        rows = self._held.rows[table.name]
        if not rows.count:  # as of most of what features keep with another's objects
            return None
        decoded = self._held.decoded[table.name]
        found = decoded.get(id)
        if found is None:
            row = rows.get(id)
            if row is None:
                return None
            found = self.plans[table.name].decode(row)
            if len(decoded) >= _DECODED_MAX:
                decoded.clear()
            decoded[id] = found
        return found  # type: ignore[no-any-return]  # the decoder of this table made it

    def find(self, table: Table[T], index: Index[T], key: Key) -> Sequence[T]:
        """The objects under `key`, in order of id."""
        return [self.get(table, each) for each in self._held.indexes[index].ids(key)]

    def first(self, table: Table[T], index: Index[T], key: Key) -> T | None:
        """The object under `key` with the smallest id, or None."""
        if not self._held.rows[table.name].count:
            return None
        found = self._held.indexes[index].first(key)
        return None if found is None else self.get(table, found)

    def count(self, table: Table[T], index: Index[T], key: Key) -> int:
        """How many objects stand under `key`, in O(1)."""
        return self._held.indexes[index].count(key)

    def is_held(self, pool: Pool[T], key: Key, number: int) -> bool:
        """Whether an object holds this number of the pool."""
        return self._held.pools[pool].is_held(key, number)

    def scan(self, table: Table[T]) -> Iterator[T]:
        """All objects, in no particular order. The tables must not change meanwhile."""
        decode = self.plans[table.name].decode
        return map(decode, self._held.rows[table.name])

    def size(self, table: Table[T]) -> int:
        """How many objects the table has."""
        return self._held.rows[table.name].count

    def page(self, table: Table[T], after: str | None, limit: int, *, reverse: bool = False) -> list[T]:
        """Up to `limit` objects next to id `after` (None: from the end) in order of id, or backwards."""
        rows = self._held.rows[table.name]
        decode = self.plans[table.name].decode
        found = rows.before(after, limit) if reverse else rows.after(after or "", limit)
        return [decode(row) for _, row in found]

    def index_range(
        self, under: Under[T], after: str | None, limit: int, *, reverse: bool = False
    ) -> list[T]:
        """As `page`, of the objects under one key."""
        ids = self._held.indexes[under.index]
        table = self._table_of[under.index]
        found = ids.before(under.key, after, limit) if reverse else ids.after(under.key, after or "", limit)
        return [self.get(table, each) for each in found]

    def snapshot_scan(self, table: Table[T], slice_rows: int = 500) -> SnapshotScan[T]:
        """All objects as they are at this revision, in order of id, in slices between which the tables may change."""
        return SnapshotScan(self._held.rows[table.name].scan(), self.plans[table.name].decode, slice_rows)

    # What `store.txn` stands on.

    @property
    def held(self) -> Held:
        """What they keep; another after a load."""
        return self._held

    def ids(self, index: Index[Any], key: Key, limit: int | None = None) -> list[str]:
        """The first `limit` ids under `key` (None: all), in order."""
        ids = self._held.indexes[index]
        return ids.ids(key) if limit is None else ids.after(key, "", limit)

    def lowest_free(self, pool: Pool[Any], key: Key, bounds: tuple[int, int], start: int) -> int | None:
        """The lowest free number within `bounds` that is not below `start`, or None."""
        return self._held.pools[pool].lowest_free(key, *bounds, start)

    def row(self, table: str, id: str) -> bytes | None:
        """The object as it is stored, or None."""
        return self._held.rows[table].get(id)

    # Changes.

    def take(self, net: Net, position: Position) -> None:
        """Takes what turns have changed in sum, in O(that); everything then is as it was at `position`."""
        held = self._held
        for index, by_key in net.ids.items():
            into = held.indexes[index]
            for key, changed in by_key.items():
                into.change(key, changed)
        for (pool, key), (freed, taken) in net.numbers.items():
            held.pools[pool].change(key, freed, taken)
        for (name, place), row in net.rows.items():
            rows, decoded = held.rows[name], held.decoded[name]
            if row is not None:
                rows.put(place, row)
                if len(decoded) >= _DECODED_MAX:
                    decoded.clear()
                decoded[place] = net.objects[name][place]  # who follows looks at what has changed
            elif rows.get(place) is not None:  # else it came and went
                rows.remove(place)
                decoded.pop(place, None)
        self.position = position

    def load(self, slices: Iterable[Slice], position: Position = START) -> None:
        """Replaces everything."""
        loading = self.loading()
        for each in slices:
            loading.add(each)
        loading.finish(position)

    def loading(self) -> Loading:
        """A load in slices: everything stays as it is until it is finished. Objects of unknown tables are skipped."""
        return Loading(self, self._empty())

    def replace(self, held: Held, position: Position) -> None:
        """Takes what a load has built."""
        self._held = held
        self.position = position

    def _empty(self) -> Held:
        return Held(self.schema.tables, self._table_of)


class Loading:
    """A load under way."""

    def __init__(self, tables: Tables, held: Held) -> None:
        self._tables = tables
        self._held = held
        self._last: dict[str, str] = {}  # the greatest id of each table so far

    def add(self, some: Slice) -> None:
        """Adds objects. Those of one table come in order of id, also from call to call."""
        plan = self._tables.plans.get(some.table)
        if plan is None or not some.ids:
            return
        held, ids = self._held, some.ids
        assert all(map(lt, [self._last.get(plan.name, ""), *ids], ids)), "a load out of order"
        self._last[plan.name] = ids[-1]
        held.rows[plan.name].extend(zip(ids, some.rows, strict=True))
        if not plan.is_looked_into:
            return
        decode = plan.decode
        stored = [decode(row) for row in some.rows]
        columns = zip(*map(plan.read_fields, stored), strict=True)
        for (index, skip_empty), column in zip(plan.fields, columns, strict=True):
            if not skip_empty or all(column):
                held.indexes[index].extend(ids, column)
            elif any(column):
                self._extend(index, ids, ((key,) if key else () for key in column))
        for index, read in plan.others:
            self._extend(index, ids, map(read, stored))
        for pool in plan.table.pools:
            held.pools[pool].hold_all(chain.from_iterable(map(pool.holds, stored)))

    def _extend(self, index: Index[Any], ids: Sequence[str], keys_of_each: Iterable[Any]) -> None:
        into = self._held.indexes[index]
        keys = list(map(tuple, keys_of_each))
        counts = set(map(len, keys))
        if counts == {1}:
            into.extend(ids, chain.from_iterable(keys))
        elif counts != {0}:
            pairs = [(own_id, key) for own_id, each in zip(ids, keys, strict=True) for key in distinct(each)]
            into.extend(*zip(*pairs, strict=True))

    def finish(self, position: Position) -> None:
        """Makes it the state."""
        self._tables.replace(self._held, position)


class SnapshotScan(Iterator[list[T]]):
    """Slices of a scan. To be closed, or dropped, when it is not read to its end."""

    def __init__(self, scan: Scan, decode: Any, slice_rows: int) -> None:
        self._scan = scan
        self._decode = decode
        self._slice_rows = slice_rows

    def __iter__(self) -> SnapshotScan[T]:
        return self

    def __next__(self) -> list[T]:
        rows = self._scan.take(self._slice_rows)
        if not rows:
            raise StopIteration
        decode = self._decode
        return [decode(row) for row in rows]

    def close(self) -> None:
        """Ends the scan: the tables save nothing more for it."""
        self._scan.end()
