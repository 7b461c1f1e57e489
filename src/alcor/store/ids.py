# SPDX-License-Identifier: Apache-2.0
"""Ordered ids and keyed sets of ids, lean enough for millions: what indexes are made of.

No call moves more than a leaf or a part, so no change stalls the loop however many ids there are.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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
        """`ids` are in order."""
        starts = range(0, len(ids), LEAF_MAX)
        self._leaves = [list(ids[start : start + LEAF_MAX]) for start in starts]
        self._greatest = [leaf[-1] for leaf in self._leaves]
        self.count = len(ids)

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
            self._split(place)

    def _split(self, place: int) -> None:
        leaf = self._leaves[place]
        half = len(leaf) // 2
        self._leaves.insert(place + 1, leaf[half:])
        del leaf[half:]
        self._greatest.insert(place, leaf[-1])

    def add_all(self, ids: Sequence[str]) -> None:
        """Adds ids, in order, that are not there: at once where they come to lie beside each other."""
        place = min(bisect_left(self._greatest, ids[0]), len(self._leaves) - 1)
        leaf = self._leaves[place] if self._leaves else []
        start = bisect_left(leaf, ids[0])
        is_room = len(leaf) > 0 and len(leaf) + len(ids) <= 2 * LEAF_MAX
        if not is_room or (start < len(leaf) and leaf[start] < ids[-1]):
            for each in ids:
                self.add(each)
            return
        leaf[start:start] = ids
        self._greatest[place] = leaf[-1]
        self.count += len(ids)
        if len(leaf) > LEAF_MAX:
            self._split(place)

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


_Bucket = str | list[str] | IdSet  # one id, few, many; after a load a list may be long until it is looked at


class KeyedIds:
    """Ids under keys, each key's in order, counted in O(1)."""

    __slots__ = ("_parts", "_shared")

    def __init__(self) -> None:
        self._parts: list[dict[Key, _Bucket]] = [{} for _ in range(_PARTS)]
        self._shared: dict[Key, Key] = {}

    def change(self, key: Key, changed: Mapping[str, bool]) -> None:
        """Adds ids that are not there under `key` (True), and removes ids that are (False)."""
        part = self._parts[hash(key) & _PART_MASK]
        if len(changed) == 1 and key not in part:  # as with most of what is new
            part[self._lean(key)] = next(iter(changed))
            return
        bucket = self._bucket(key)
        if isinstance(bucket, IdSet):
            added: Iterable[str] = changed
            if not all(changed.values()):
                added = [each for each, is_added in changed.items() if is_added]
                for each in changed.keys() - added:
                    bucket.remove(each)
            if added:
                bucket.add_all(sorted(added))
            left: _Bucket | None = bucket if bucket.count else None
        else:
            few = [] if bucket is None else [bucket] if isinstance(bucket, str) else bucket
            for each, is_added in changed.items():
                if is_added:
                    insort(few, each)
                else:
                    few.remove(each)
            left = few if len(few) > 1 else few[0] if few else None
        if left is None:
            part.pop(key, None)
        elif left is not bucket:
            part[key if bucket is not None else self._lean(key)] = left

    def extend(self, ids: Iterable[str], keys: Iterable[Key]) -> None:
        """Adds ids in order, all greater than those that are there, each under the key at its place; no pair twice."""
        parts, lean = self._parts, self._lean
        for own_id, key in zip(ids, keys, strict=True):
            part = parts[hash(key) & _PART_MASK]
            bucket = part.get(key)
            if type(bucket) is list:
                bucket.append(own_id)
            elif bucket is None:
                part[lean(key) if type(key) is tuple else key] = own_id
            elif type(bucket) is str:
                part[key] = [bucket, own_id]
            else:
                self._append(key, [own_id])

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
        bucket = self._bucket(key)
        if isinstance(bucket, IdSet):
            return bucket.after(id, limit)
        few = self.ids(key)
        start = bisect_right(few, id)
        return few[start : start + limit]

    def before(self, key: Key, id: str | None, limit: int) -> list[str]:
        """The last `limit` ids under `key` smaller than `id` (None: of all), descending."""
        bucket = self._bucket(key)
        if isinstance(bucket, IdSet):
            return bucket.before(id, limit)
        few = self.ids(key)
        end = len(few) if id is None else bisect_left(few, id)
        return few[max(0, end - limit) : end][::-1]

    def _bucket(self, key: Key) -> _Bucket | None:
        """What stands under `key`; a list that has become long is an `IdSet` from then on."""
        part = self._parts[hash(key) & _PART_MASK]
        bucket = part.get(key)
        if type(bucket) is list and len(bucket) >= _SMALL_MAX:
            part[key] = bucket = IdSet(bucket)
        return bucket

    def _append(self, key: Key, ids: list[str]) -> None:
        """Adds ids in order, all greater than those that are there."""
        part = self._parts[hash(key) & _PART_MASK]
        bucket = part.get(key)
        if bucket is None:
            part[self._lean(key)] = ids if len(ids) > 1 else ids[0]
        elif isinstance(bucket, list):
            bucket += ids
        elif isinstance(bucket, str):
            part[key] = [bucket, *ids]
        else:
            bucket.add_all(ids)

    def _lean(self, key: Key) -> Key:
        """`key` with its leading parts kept once: of a million (subnet, address) pairs only the address is new."""
        if type(key) is not tuple or len(key) < 2:
            return key
        shared = self._shared
        keep = shared.setdefault if len(shared) < _SHARED_MAX else shared.get
        if len(key) == 2:
            return keep(key[0], key[0]), key[1]
        return (*(keep(part, part) for part in key[:-1]), key[-1])


class OwnIds:
    """`KeyedIds` of an index whose one key is the object's own id: the rows say it all, so nothing is kept."""

    __slots__ = ("_row",)

    def __init__(self, row: Callable[[str], bytes | None]) -> None:
        self._row = row

    def change(self, key: Key, changed: Mapping[str, bool]) -> None:
        """The rows were, or will be, changed."""

    def extend(self, ids: Iterable[str], keys: Iterable[Key]) -> None:
        """The rows were added."""

    def count(self, key: Key) -> int:
        """How many ids stand under `key`."""
        return len(self.ids(key))

    def first(self, key: Key) -> str | None:
        """The smallest id under `key`, or None."""
        return next(iter(self.ids(key)), None)

    def ids(self, key: Key) -> list[str]:
        """All ids under `key`."""
        return [key] if isinstance(key, str) and self._row(key) is not None else []

    def after(self, key: Key, id: str, limit: int) -> list[str]:
        """The first `limit` ids under `key` greater than `id`."""
        return [each for each in self.ids(key) if each > id][:limit]

    def before(self, key: Key, id: str | None, limit: int) -> list[str]:
        """The last `limit` ids under `key` smaller than `id` (None: of all)."""
        return [each for each in self.ids(key) if id is None or each < id][:limit]
