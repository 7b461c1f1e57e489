# SPDX-License-Identifier: Apache-2.0
"""Ordered ids and keyed sets of ids, lean enough for millions: what indexes are made of.

No call moves more than a leaf or a part, so no change stalls the loop however many ids there are.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence

from alcor.store.declare import Key

LEAF_MAX = 1024  # ids in one leaf of an ordered set
_SMALL_MAX = 256  # ids under one key that stay one sorted list
_PARTS = 256  # (a power of two) dicts that one index is spread over: a million keys resize 4,000 at a time
_PART_MASK = _PARTS - 1
_SHARED_MAX = 65_536  # key parts that are kept once for all keys with them


class IdSet:
    """Many ids in order: leaves of at most `LEAF_MAX`, found by the greatest id of each."""

    __slots__ = ("_greatest", "_leaves", "count")

    def __init__(self, ids: Sequence[str] = ()) -> None:
        self._leaves: list[list[str]] = []
        self._greatest: list[str] = []
        self.count = 0
        self.extend(ids)

    def __iter__(self) -> Iterator[str]:
        for leaf in self._leaves:
            yield from leaf

    def add(self, id: str) -> None:
        """Adds an id that is not there."""
        self.count += 1
        place = bisect_left(self._greatest, id)
        if place == len(self._leaves):
            if not place or len(self._leaves[-1]) >= LEAF_MAX:
                self._leaves.append([id])
                self._greatest.append(id)
            else:
                self._leaves[-1].append(id)
                self._greatest[-1] = id
            return
        leaf = self._leaves[place]
        insort(leaf, id)
        if len(leaf) > LEAF_MAX:
            half = len(leaf) // 2
            self._leaves.insert(place + 1, leaf[half:])
            del leaf[half:]
            self._greatest.insert(place, leaf[-1])

    def extend(self, ids: Sequence[str]) -> None:
        """Adds ids in order, all greater than those that are there."""
        self.count += len(ids)
        start = 0
        if self._leaves and ids:
            last = self._leaves[-1]
            start = LEAF_MAX - len(last)
            last += ids[:start]
            self._greatest[-1] = last[-1]
        for place in range(start, len(ids), LEAF_MAX):
            leaf = list(ids[place : place + LEAF_MAX])
            self._leaves.append(leaf)
            self._greatest.append(leaf[-1])

    def remove(self, id: str) -> None:
        """Removes an id that is there."""
        self.count -= 1
        place = bisect_left(self._greatest, id)
        leaf = self._leaves[place]
        index = bisect_left(leaf, id)
        assert leaf[index] == id
        del leaf[index]
        if not leaf:
            del self._leaves[place], self._greatest[place]
        elif index == len(leaf):
            self._greatest[place] = leaf[-1]

    def after(self, id: str, limit: int) -> list[str]:
        """The first `limit` ids greater than `id`, ascending."""
        found: list[str] = []
        for place in range(bisect_right(self._greatest, id), len(self._leaves)):
            leaf = self._leaves[place]
            start = bisect_right(leaf, id)
            found += leaf[start : start + limit - len(found)]
            if len(found) >= limit:
                break
        return found

    def before(self, id: str | None, limit: int) -> list[str]:
        """The last `limit` ids smaller than `id` (None: of all), descending."""
        found: list[str] = []
        last = len(self._leaves) - 1 if id is None else bisect_left(self._greatest, id)
        for place in range(min(last, len(self._leaves) - 1), -1, -1):
            leaf = self._leaves[place]
            end = len(leaf) if id is None else bisect_left(leaf, id)
            found += reversed(leaf[max(0, end - limit + len(found)) : end])
            if len(found) >= limit:
                break
        return found


_Bucket = str | list[str] | IdSet  # one id, few, many


def _bucket(ids: list[str]) -> _Bucket:
    return ids if len(ids) <= _SMALL_MAX else IdSet(ids)


class KeyedIds:
    """Ids under keys, each key's in order, counted in O(1)."""

    __slots__ = ("_parts", "_shared")

    def __init__(self) -> None:
        self._parts: list[dict[Key, _Bucket]] = [{} for _ in range(_PARTS)]
        self._shared: dict[Key, Key] = {}

    def add(self, key: Key, id: str) -> None:
        """Adds an id that is not there under `key`."""
        part = self._parts[hash(key) & _PART_MASK]
        bucket = part.get(key)
        if bucket is None:
            part[self._lean(key)] = id
        elif type(bucket) is str:
            part[key] = [bucket, id] if bucket < id else [id, bucket]
        elif type(bucket) is list:
            insort(bucket, id)
            if len(bucket) > _SMALL_MAX:
                part[key] = IdSet(bucket)
        else:
            bucket.add(id)  # type: ignore[union-attr]  # what is neither a str nor a list is an IdSet

    def extend(self, ids: Iterable[str], keys_of_each: Iterable[Iterable[Key]]) -> None:
        """Adds ids in order, all greater than those that are there, each under its keys."""
        grouped: dict[Key, list[str]] = {}
        for own_id, keys in zip(ids, keys_of_each, strict=True):
            for key in keys:
                some = grouped.get(key)
                if some is None:
                    grouped[key] = [own_id]
                elif some[-1] is not own_id:
                    some.append(own_id)
        parts = self._parts
        for key, some in grouped.items():
            part = parts[hash(key) & _PART_MASK]
            if len(some) == 1 and key not in part:
                part[self._lean(key)] = some[0]
                continue
            bucket = part.get(key)
            if isinstance(bucket, IdSet):
                bucket.extend(some)
            elif bucket is None:
                part[self._lean(key)] = _bucket(some)
            elif isinstance(bucket, str):
                part[key] = _bucket([bucket, *some])
            else:
                bucket += some
                if len(bucket) > _SMALL_MAX:
                    part[key] = IdSet(bucket)

    def extend_unique(self, ids: Iterable[str], keys_of_each: Iterable[Iterable[Key]]) -> None:
        """As `extend`, where no two objects have one key."""
        parts, lean = self._parts, self._lean
        for own_id, keys in zip(ids, keys_of_each, strict=True):
            for key in keys:
                parts[hash(key) & _PART_MASK][lean(key)] = own_id

    def remove(self, key: Key, id: str) -> None:
        """Removes an id that is there under `key`."""
        part = self._parts[hash(key) & _PART_MASK]
        bucket = part[key]
        if isinstance(bucket, str):
            assert bucket == id
            del part[key]
            return
        if isinstance(bucket, list):
            bucket.remove(id)
        else:
            bucket.remove(id)
        if not (len(bucket) if isinstance(bucket, list) else bucket.count):
            del part[key]

    def count(self, key: Key) -> int:
        """How many ids stand under `key`."""
        bucket = self._parts[hash(key) & _PART_MASK].get(key)
        if bucket is None:
            return 0
        if isinstance(bucket, str):
            return 1
        return len(bucket) if isinstance(bucket, list) else bucket.count

    def first(self, key: Key) -> str | None:
        """The smallest id under `key`, or None."""
        bucket = self._parts[hash(key) & _PART_MASK].get(key)
        if bucket is None or isinstance(bucket, str):
            return bucket
        return bucket[0] if isinstance(bucket, list) else next(iter(bucket))

    def ids(self, key: Key) -> list[str]:
        """All ids under `key`, in order."""
        bucket = self._parts[hash(key) & _PART_MASK].get(key)
        if bucket is None:
            return []
        return [bucket] if isinstance(bucket, str) else list(bucket)

    def after(self, key: Key, id: str, limit: int) -> list[str]:
        """The first `limit` ids under `key` greater than `id`, ascending."""
        bucket = self._parts[hash(key) & _PART_MASK].get(key)
        if isinstance(bucket, IdSet):
            return bucket.after(id, limit)
        few = self.ids(key)
        start = bisect_right(few, id)
        return few[start : start + limit]

    def before(self, key: Key, id: str | None, limit: int) -> list[str]:
        """The last `limit` ids under `key` smaller than `id` (None: of all), descending."""
        bucket = self._parts[hash(key) & _PART_MASK].get(key)
        if isinstance(bucket, IdSet):
            return bucket.before(id, limit)
        few = self.ids(key)
        end = len(few) if id is None else bisect_left(few, id)
        return few[max(0, end - limit) : end][::-1]

    def _lean(self, key: Key) -> Key:
        """`key` with its leading parts kept once: of a million (subnet, address) pairs only the address is new."""
        if type(key) is not tuple or len(key) < 2:
            return key
        shared = self._shared
        keep = shared.setdefault if len(shared) < _SHARED_MAX else shared.get
        if len(key) == 2:
            return keep(key[0], key[0]), key[1]
        return (*(keep(part, part) for part in key[:-1]), key[-1])
