# SPDX-License-Identifier: Apache-2.0
"""The objects of a list, in order, in slices of bounded work, so that whoever reads them can breathe between two.

A page in order of id seeks by index. Another order looks at every candidate: a page keeps the best so far, a list
without limit is sorted slice by slice and merged. A list without order or page is a scan of one revision; a sorted
list that takes several slices leaves out what was deleted meanwhile.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec

from alcor.resource.context import Asked
from alcor.resource.match import ById, Candidates, Predicate, candidates, predicates
from alcor.resource.order import Order, order_of
from alcor.resource.query import Query
from alcor.resource.shape import Shape
from alcor.store.declare import Stored
from alcor.store.tables import Tables, Under

T = TypeVar("T", bound=Stored)

SLICE_ROWS = 128  # objects between two looks at the clock
IDS_MAX = 50_000  # ids that a list takes from an index at once; above, it walks along the index
KEPT_MAX = 5_000  # objects that a sorted page keeps while it looks; a longer page is sorted like a whole list


@dataclass(frozen=True)
class Listing(Generic[T]):
    """One list under way."""

    shape: Shape[T]
    query: Query
    tables: Tables
    found: Candidates[T]
    tests: list[Predicate[T]]
    marked: T | None  # the object that the marker names

    @property
    def is_scan(self) -> bool:
        """Whether it may look at every object of the table."""
        return self.found is None and not (self.query.limit is not None and self._is_by_id)

    def slices(self) -> Iterator[list[T]]:
        """The listed objects, in order. A slice may be empty: after each the loop may do something else."""
        query = self.query
        if query.limit is not None and self._is_by_id:
            return self._page_by_id(query.limit)
        if not query.sorts:
            return (self._listed(rows) for rows in self._rows())
        if query.limit is not None and query.limit <= KEPT_MAX:
            return self._page_sorted(query.limit)
        return self._sorted()

    @property
    def _is_by_id(self) -> bool:
        return not self.query.sorts or self.query.sorts[0][0] == "id"

    def _page_by_id(self, limit: int) -> Iterator[list[T]]:
        """Neutron's page: after the marker, or before it, in the asked order of ids."""
        query = self.query
        is_descending = bool(query.sorts) and query.sorts[0][1]
        count, kept = 0, []
        for rows in self._steps(query.marker, backwards=is_descending != query.page_reverse, limit=limit):
            found = self._listed(rows)[: limit - count]
            count += len(found)
            if query.page_reverse:
                kept.append(found[::-1])
            yield [] if query.page_reverse else found
            if count == limit:
                break
        yield from reversed(kept)

    def _page_sorted(self, limit: int) -> Iterator[list[T]]:
        order, marked = self._order()
        best: list[tuple[Any, T]] = []
        last: Any = None  # the key of the last that can still be on the page
        for rows in self._rows():
            for stored in self._listed(rows):
                key = order.key(stored)
                is_late = last is not None and order.is_beyond(key, last)
                if not is_late and (marked is None or order.is_beyond(key, marked)):
                    best.append((key, stored))
            if len(best) >= 2 * limit + SLICE_ROWS:
                best.sort(key=_first, reverse=order.is_reverse)
                del best[limit:]
                last = best[-1][0]
            yield []
        best.sort(key=_first, reverse=order.is_reverse)
        found = [stored for _, stored in best[:limit]]
        yield found[::-1] if self.query.page_reverse else found

    def _sorted(self) -> Iterator[list[T]]:
        order, marked = self._order()
        runs: list[list[tuple[Any, ...]]] = []
        for rows in self._rows():
            run = [order.key(stored) for stored in self._listed(rows)]
            if marked is not None:
                run = [key for key in run if order.is_beyond(key, marked)]
            run.sort(reverse=order.is_reverse)
            runs.append(run)
            yield []
        merged = (key[-1] for key in heapq.merge(*runs, reverse=order.is_reverse))
        ids = merged if self.query.limit is None else islice(merged, self.query.limit)
        kept: list[list[T]] = []
        while some := list(islice(ids, SLICE_ROWS)):
            found = self._present(some)
            if self.query.page_reverse:
                kept.append(found[::-1])
            yield [] if self.query.page_reverse else found
        yield from reversed(kept)

    def _order(self) -> tuple[Order[T], Any]:
        """The order, and the marker's key in it."""
        order = order_of(self.shape, self.query.sorts, self.tables, is_flipped=self.query.page_reverse)
        return order, None if self.marked is None else order.key(self.marked)

    def _steps(self, marker: str | None, *, backwards: bool, limit: int) -> Iterator[list[T]]:
        """Candidates beyond the marker in order of id, a slice at a time."""
        if isinstance(self.found, ById):
            ids = self.found.ids[::-1] if backwards else self.found.ids
            if marker is not None:
                ids = [one for one in ids if (one < marker if backwards else one > marker)]
            yield from self._by_ids(ids)
            return
        step = min(limit, SLICE_ROWS)
        while True:
            rows = self._range(marker, step, backwards=backwards)
            yield rows
            if len(rows) < step:
                return
            marker = rows[-1].id
            step = SLICE_ROWS

    def _range(self, marker: str | None, step: int, *, backwards: bool) -> list[T]:
        table, found = self.shape.resource.table, self.found
        if isinstance(found, Under):
            return self.tables.index_range(found, marker, step, reverse=backwards)
        return self.tables.page(table, marker, step, reverse=backwards)

    def _rows(self) -> Iterator[list[T]]:
        """The candidates, a slice at a time, in order of id."""
        table, found = self.shape.resource.table, self.found
        if isinstance(found, ById):
            yield from self._by_ids(found.ids)
        elif isinstance(found, Under):
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
        for start in range(0, len(ids), SLICE_ROWS):
            yield self._present(ids[start : start + SLICE_ROWS])

    def _present(self, ids: Sequence[str]) -> list[T]:
        table = self.shape.resource.table
        rows = [self.tables.peek(table, one) for one in ids]
        return [stored for stored in rows if stored is not None]

    def _listed(self, rows: list[T]) -> list[T]:
        for test in self.tests:
            rows = [stored for stored in rows if test(stored)]
        return rows


def listing(shape: Shape[T], asked: Asked, query: Query, tables: Tables) -> Listing[T]:
    """The list that `query` asks for. Raises Invalid for values without meaning, and NotFound for an unknown marker
    where the noun needs it: elsewhere, as in Neutron, the list begins at its start.
    """
    marked = _marked(shape, asked, query.marker, tables)
    if marked is None and query.marker is not None:
        query = msgspec.structs.replace(query, marker=None)
    return Listing(
        shape,
        query,
        tables,
        candidates(shape, asked, query, tables),
        predicates(shape, asked, query, tables),
        marked,
    )


def _marked(shape: Shape[T], asked: Asked, marker: str | None, tables: Tables) -> T | None:
    if marker is None:
        return None
    table = shape.resource.table
    marked = tables.peek(table, marker)
    sees = shape.gate.sees(tables, asked)
    if marked is not None and (sees is None or sees(marked)):
        return marked
    if shape.resource.is_marker_needed:
        raise table.not_found(marker)
    return None


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]
