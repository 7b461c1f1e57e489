# SPDX-License-Identifier: Apache-2.0
"""The objects of a list, in order, in slices that never hold the loop long, each answered as it is found.

A page in order of id seeks by index. Another order looks at every candidate: with a limit it keeps the best `limit`,
without one it sorts slice by slice and merges. A list without order or page is a scan of one revision; a sorted list
that takes several slices leaves out what was deleted meanwhile.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import total_ordering
from time import monotonic
from typing import Any, Generic, TypeVar

from alcor.resource.context import Asked
from alcor.resource.match import ById, ByIndex, Candidates, Predicate, candidates, predicates
from alcor.resource.query import Query
from alcor.resource.shape import Shape
from alcor.store.declare import Stored
from alcor.store.tables import Tables, Under

T = TypeVar("T", bound=Stored)

SLICE_ROWS = 128  # objects between two looks at the clock
IDS_MAX = 50_000  # ids that a list takes from an index at once; above, it walks along the index


class Breath:
    """Gives the loop to others once a slice of time is used up."""

    def __init__(self, slice_s: float) -> None:
        self._slice_s = slice_s
        self._until = monotonic() + slice_s

    async def take(self) -> None:
        """Waits one turn of the loop if the slice is over."""
        if monotonic() >= self._until:
            await asyncio.sleep(0)
            self._until = monotonic() + self._slice_s


@dataclass(frozen=True)
class Listing(Generic[T]):
    """One list under way."""

    shape: Shape[T]
    query: Query
    tables: Tables
    found: Candidates[T]
    tests: list[Predicate[T]]
    breath: Breath

    @property
    def is_scan(self) -> bool:
        """Whether it may look at every object of the table."""
        return self.found is None

    async def slices(self) -> AsyncIterator[list[T]]:
        """The listed objects, in order."""
        query = self.query
        if query.limit is None and not query.sorts:
            slices = self._all()
        elif query.limit is not None and _is_by_id(query):
            slices = self._page_by_id(query.limit)
        elif query.limit is not None:
            slices = self._page_sorted(query.limit)
        else:
            slices = self._sorted()
        async for found in slices:
            yield found

    def marked(self) -> T | None:
        """The object that the marker names. Raises the table's NotFound."""
        marker = self.query.marker
        if marker is None:
            return None
        table = self.shape.resource.table
        marked = self.tables.peek(table, marker)
        if marked is None or not self.tests[0](marked):
            raise table.not_found(marker)
        return marked

    async def _all(self) -> AsyncIterator[list[T]]:
        for rows in self._rows():
            yield [stored for stored in rows if self._is_listed(stored)]
            await self.breath.take()

    async def _page_by_id(self, limit: int) -> AsyncIterator[list[T]]:
        """Neutron's page: after the marker, or before it, in the asked order of ids."""
        query = self.query
        is_descending = bool(query.sorts) and query.sorts[0][1]
        backwards = is_descending != query.page_reverse
        found: list[T] = []
        for rows in self._steps(query.marker, backwards=backwards, limit=limit):
            found += (stored for stored in rows if self._is_listed(stored))
            if len(found) >= limit:
                break
            await self.breath.take()
        del found[limit:]
        yield found[::-1] if query.page_reverse else found

    def _steps(self, marker: str | None, *, backwards: bool, limit: int) -> Iterator[list[T]]:
        """Candidates beyond the marker in order of id, a slice at a time."""
        step = min(max(limit, 1), SLICE_ROWS)
        if isinstance(self.found, ById):
            ids = self.found.ids[::-1] if backwards else self.found.ids
            if marker is not None:
                ids = [one for one in ids if (one < marker if backwards else one > marker)]
            yield from self._by_ids(ids)
            return
        while True:
            rows = self._range(marker, step, backwards=backwards)
            yield rows
            if len(rows) < step:
                return
            marker = rows[-1].id
            step = SLICE_ROWS

    def _range(self, marker: str | None, step: int, *, backwards: bool) -> list[T]:
        table, found = self.shape.resource.table, self.found
        if isinstance(found, ByIndex):
            return self.tables.index_range(Under(found.index, found.key), marker, step, reverse=backwards)
        return self.tables.page(table, marker, step, reverse=backwards)

    async def _page_sorted(self, limit: int) -> AsyncIterator[list[T]]:
        query, key = self.query, self._key(reverse=self.query.page_reverse)
        marked = self.marked()
        after = None if marked is None else key(marked)
        best: list[tuple[Any, T]] = []
        for rows in self._rows():
            keyed = [(key(stored), stored) for stored in rows if self._is_listed(stored)]
            if after is not None:
                keyed = [pair for pair in keyed if pair[0] > after]
            best = heapq.nsmallest(limit, best + keyed, key=_first)
            await self.breath.take()
        found = [stored for _, stored in best]
        yield found[::-1] if query.page_reverse else found

    async def _sorted(self) -> AsyncIterator[list[T]]:
        key = self._key(reverse=False)
        runs: list[list[tuple[Any, str]]] = []
        for rows in self._rows():
            if run := sorted((key(stored), stored.id) for stored in rows if self._is_listed(stored)):
                runs.append(run)
            await self.breath.take()
        table = self.shape.resource.table
        found: list[T] = []
        for _, key_id in heapq.merge(*runs):
            if (stored := self.tables.peek(table, key_id)) is not None:
                found.append(stored)
            if len(found) == SLICE_ROWS:
                yield found
                found = []
                await self.breath.take()
        yield found

    def _rows(self) -> Iterator[list[T]]:
        """The candidates, a slice at a time, in order of id."""
        table, found = self.shape.resource.table, self.found
        if isinstance(found, ById):
            yield from self._by_ids(found.ids)
        elif isinstance(found, ByIndex):
            if self.tables.count(table, found.index, found.key) > IDS_MAX:
                yield from self._steps(None, backwards=False, limit=SLICE_ROWS)
            else:
                yield from self._by_ids(self.tables.ids(found.index, found.key))
        else:
            scan = self.tables.snapshot_scan(table, SLICE_ROWS)
            try:
                yield from scan
            finally:
                scan.close()

    def _by_ids(self, ids: Sequence[str]) -> Iterator[list[T]]:
        table = self.shape.resource.table
        for start in range(0, len(ids), SLICE_ROWS):
            rows = [self.tables.peek(table, one) for one in ids[start : start + SLICE_ROWS]]
            yield [stored for stored in rows if stored is not None]

    def _is_listed(self, stored: T) -> bool:
        return all(test(stored) for test in self.tests)

    def _key(self, *, reverse: bool) -> Callable[[T], Any]:
        """The order of the list as a key; ids decide between equals, as in Neutron."""
        parts = [
            (self._reader(name), is_descending != reverse)
            for name, is_descending in (*self.query.sorts, ("id", False))
        ]

        def key(stored: T) -> Any:
            return tuple(
                _Descending((value is not None, value)) if is_descending else (value is not None, value)
                for read, is_descending in parts
                for value in (read(stored),)
            )

        return key

    def _reader(self, name: str) -> Callable[[T], Any]:
        attribute = self.shape.by_name.get(name)
        if attribute is not None:
            field = attribute.field
            return lambda stored: getattr(stored, field)
        computed = self.shape.computed_by_name[name]
        return lambda stored: computed.value(self.tables, stored)


def listing(shape: Shape[T], asked: Asked, query: Query, tables: Tables, slice_s: float) -> Listing[T]:
    """The list that `query` asks for. Raises Invalid for values without meaning, and NotFound for an unknown marker."""
    made = Listing(
        shape,
        query,
        tables,
        candidates(shape, asked, query, tables),
        predicates(shape, asked, query, tables),
        Breath(slice_s),
    )
    made.marked()
    return made


def _is_by_id(query: Query) -> bool:
    return not query.sorts or query.sorts[0][0] == "id"


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]


@total_ordering
class _Descending:
    """A value that orders the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.value == other.value

    def __lt__(self, other: _Descending) -> bool:
        return bool(other.value < self.value)

    __hash__ = None  # type: ignore[assignment]  # orders, is never looked up
