# SPDX-License-Identifier: Apache-2.0
"""The encoded objects of one table, in order of id, and scans of them that changes do not disturb."""

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from weakref import ref

_LEAF_MAX = 340  # a dict of 341 entries still fits 512 slots


class Rows:
    """Encoded objects by id: dicts of at most `_LEAF_MAX`, found by the lower bound of each."""

    __slots__ = ("__weakref__", "_leaves", "_lower", "_scans", "count")

    def __init__(self) -> None:
        self._leaves: list[dict[str, bytes]] = [{}]
        self._lower: list[str] = [""]
        self._scans: set[ref[Scan]] = set()  # those that are looked at by somebody
        self.count = 0

    def get(self, id: str) -> bytes | None:
        """The encoded object, or None."""
        return self._leaves[bisect_right(self._lower, id) - 1].get(id)

    def put(self, id: str, row: bytes) -> None:
        """Adds or replaces."""
        place = bisect_right(self._lower, id) - 1
        leaf = self._leaves[place]
        old = leaf.get(id)
        if self._scans:
            self._save(id, old)
        leaf[id] = row
        if old is None:
            self.count += 1
            if len(leaf) > _LEAF_MAX:
                self._split(place, id)

    def extend(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Adds rows in order of id, all greater than those that are there; no scan may be open."""
        leaf = self._leaves[-1]
        for key_id, row in rows:
            if len(leaf) >= _LEAF_MAX:
                leaf = {}
                self._leaves.append(leaf)
                self._lower.append(key_id)
            leaf[key_id] = row
            self.count += 1

    def remove(self, id: str) -> None:
        """Removes an object that is there."""
        place = bisect_right(self._lower, id) - 1
        leaf = self._leaves[place]
        if self._scans:
            self._save(id, leaf[id])
        del leaf[id]
        self.count -= 1
        if not leaf and len(self._leaves) > 1:
            del self._leaves[place], self._lower[place]
            self._lower[0] = ""

    def after(self, id: str, limit: int) -> list[tuple[str, bytes]]:
        """The first `limit` rows with ids greater than `id`, ascending."""
        found: list[tuple[str, bytes]] = []
        for place in range(bisect_right(self._lower, id) - 1, len(self._leaves)):
            ordered = sorted(self._leaves[place].items())
            found += ordered[bisect_right(ordered, id, key=_id) :] if place == 0 or not found else ordered
            if len(found) >= limit:
                break
        return found[:limit]

    def before(self, id: str | None, limit: int) -> list[tuple[str, bytes]]:
        """The last `limit` rows with ids smaller than `id` (None: of all), descending."""
        found: list[tuple[str, bytes]] = []
        last = len(self._leaves) if id is None else bisect_right(self._lower, id)
        for place in range(last - 1, -1, -1):
            ordered = sorted(self._leaves[place].items(), reverse=True)
            found += ordered if id is None else (row for row in ordered if row[0] < id)
            if len(found) >= limit:
                break
        return found[:limit]

    def __iter__(self) -> Iterator[bytes]:
        """All rows; the table must not change meanwhile."""
        for leaf in self._leaves:
            yield from leaf.values()

    def scan(self) -> "Scan":
        """A scan of the rows as they are, whatever changes while it runs."""
        scan = Scan(self)
        self._scans.add(ref(scan, self._scans.discard))
        return scan

    def end(self, scan: "Scan") -> None:
        """Saves nothing more for this scan."""
        self._scans.discard(ref(scan))

    def _save(self, id: str, old: bytes | None) -> None:
        # A list of them first: while a comprehension goes on, a collection of garbage may end some.
        for each in list(self._scans):
            if (scan := each()) is not None:
                scan.save(id, old)

    def _split(self, place: int, id: str) -> None:
        leaf = self._leaves[place]
        ids = sorted(leaf)
        # Ids that arrive in order, as at load, leave full leaves behind them.
        half = len(ids) - 1 if place == len(self._leaves) - 1 and ids[-1] == id else len(ids) // 2
        self._lower.insert(place + 1, ids[half])
        self._leaves.insert(place + 1, {moved: leaf.pop(moved) for moved in ids[half:]})


def _id(row: tuple[str, bytes]) -> str:
    return row[0]


class Scan:
    """Where a scan stands, and the old rows of what was changed ahead of it."""

    __slots__ = ("__weakref__", "_ahead", "_cursor", "_is_over", "_rows", "_saved")

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._cursor = ""
        self._saved: dict[str, bytes | None] = {}
        self._ahead: list[str] = []  # the ids in _saved, in order
        self._is_over = False

    def save(self, id: str, old: bytes | None) -> None:
        """Keeps the row that a change replaces (None: it adds one)."""
        if id > self._cursor and id not in self._saved:
            self._saved[id] = old
            insort(self._ahead, id)

    def take(self, limit: int) -> list[bytes]:
        """The next rows in order of id: at least one, unless the scan is over; about `limit` at most."""
        found: list[bytes] = []
        while not found and not self._is_over:
            found = self._step(limit)
        return found

    def _step(self, limit: int) -> list[bytes]:
        live = self._rows.after(self._cursor, limit)
        if len(live) < limit:
            passed, self._ahead = self._ahead, []
            self.end()
        else:
            self._cursor = live[-1][0]
            cut = bisect_right(self._ahead, self._cursor)
            passed, self._ahead = self._ahead[:cut], self._ahead[cut:]
        if not passed:
            return [row for _, row in live]
        merged = dict(live)
        for changed in passed:
            old = self._saved.pop(changed)
            if old is None:
                merged.pop(changed, None)
            else:
                merged[changed] = old
        return [row for _, row in sorted(merged.items())]

    def end(self) -> None:
        """Stops the scan; nothing is saved for it any more."""
        self._is_over = True
        self._rows.end(self)
