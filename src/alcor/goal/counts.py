# SPDX-License-Identifier: Apache-2.0
"""Small sets and multisets of numbers, packed: millions of them fit where Python's sets would not."""

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence


class Numbers:
    """A set of numbers below 2^32, 4 bytes each."""

    __slots__ = ("_sorted",)

    def __init__(self) -> None:
        self._sorted = array("I")

    def add(self, number: int) -> None:
        """Adds a number that is not in it."""
        self._sorted.insert(bisect_left(self._sorted, number), number)

    def remove(self, number: int) -> None:
        """Removes a number that is in it."""
        del self._sorted[bisect_left(self._sorted, number)]

    def all(self) -> Sequence[int]:
        """The numbers, ascending; to be copied where changes may come while it is read."""
        return self._sorted

    def __len__(self) -> int:
        return len(self._sorted)


class Counts:
    """A multiset of numbers below 2^32, 8 bytes for each that is in it."""

    __slots__ = ("_counts", "_sorted")

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._sorted = array("I", sorted(counts) if counts else ())
        self._counts = array("I", [counts[number] for number in self._sorted] if counts else ())

    def add(self, number: int, times: int = 1) -> bool:
        """Counts the number up; True if it was not in it."""
        place = bisect_left(self._sorted, number)
        if place < len(self._sorted) and self._sorted[place] == number:
            self._counts[place] += times
            return False
        self._sorted.insert(place, number)
        self._counts.insert(place, times)
        return True

    def drop(self, number: int, times: int = 1) -> bool:
        """Counts a number down that is in it at least so often; True if it is not in it any more."""
        place = bisect_left(self._sorted, number)
        is_held = place < len(self._sorted) and self._sorted[place] == number
        assert is_held, f"{number} was dropped and not there"
        assert self._counts[place] >= times, f"{number} was dropped more often than added"
        if self._counts[place] > times:
            self._counts[place] -= times
            return False
        del self._sorted[place], self._counts[place]
        return True

    def discard(self, number: int) -> None:
        """Removes the number, however often it is in it."""
        place = bisect_left(self._sorted, number)
        if place < len(self._sorted) and self._sorted[place] == number:
            del self._sorted[place], self._counts[place]

    def all(self) -> Sequence[int]:
        """The numbers, each once, ascending; to be copied where changes may come while it is read."""
        return self._sorted

    def __len__(self) -> int:
        return len(self._sorted)
