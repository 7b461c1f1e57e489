# SPDX-License-Identifier: Apache-2.0
"""Which numbers of a pool are held, as bits in small chunks, and where the lowest free one may be.

An allocation touches one chunk: everything below the hint of its range is known to be held.
"""

from collections.abc import Iterable

from bitarray import bitarray
from bitarray.util import zeros

from alcor.store.declare import Key

_CHUNK_BITS = 10
_CHUNK = 1 << _CHUNK_BITS
_HINTS_MAX = 64  # ranges of one pool key whose low water is remembered


class Numbers:
    """The held numbers of one pool key. A chunk with one held number is that number; empty chunks are absent."""

    __slots__ = ("_chunks", "_low_water")

    def __init__(self) -> None:
        self._chunks: dict[int, int | bitarray] = {}
        self._low_water: dict[int, int] = {}  # first number of a range -> none below this, in it, is free

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def is_held(self, number: int) -> bool:
        """Whether the number is held."""
        chunk = self._chunks.get(number >> _CHUNK_BITS)
        if chunk is None:
            return False
        if isinstance(chunk, int):
            return chunk == number
        return bool(chunk[number % _CHUNK])

    def hold(self, number: int) -> None:
        """Marks a free number as held."""
        place = number >> _CHUNK_BITS
        chunk = self._chunks.get(place)
        if chunk is None:
            self._chunks[place] = number
            return
        if isinstance(chunk, int):
            bits = zeros(_CHUNK)
            bits[chunk % _CHUNK] = True
            self._chunks[place] = chunk = bits
        chunk[number % _CHUNK] = True

    def free(self, number: int) -> None:
        """Marks a held number as free."""
        place = number >> _CHUNK_BITS
        chunk = self._chunks[place]
        if isinstance(chunk, int):
            del self._chunks[place]
        else:
            chunk[number % _CHUNK] = False
            if not chunk.any():
                del self._chunks[place]
        for first, hint in self._low_water.items():
            if first <= number < hint:
                self._low_water[first] = number

    def lowest_free(self, first: int, last: int, start: int) -> int | None:
        """The lowest free number of `first..last` that is not below `start`, or None."""
        hint = self._low_water.get(first, first)
        number = self._seek(max(start, hint), last)
        if start <= hint:
            if len(self._low_water) >= _HINTS_MAX and first not in self._low_water:
                self._low_water.clear()
            self._low_water[first] = last + 1 if number is None else number
        return number

    def _seek(self, start: int, last: int) -> int | None:
        number = start
        while number <= last:
            chunk = self._chunks.get(number >> _CHUNK_BITS)
            if chunk is None:
                return number
            if isinstance(chunk, int):
                if chunk != number:
                    return number
                number += 1
                continue
            offset = chunk.find(0, number % _CHUNK)
            if offset >= 0:
                number = (number >> _CHUNK_BITS << _CHUNK_BITS) + offset
                return number if number <= last else None
            number = ((number >> _CHUNK_BITS) + 1) << _CHUNK_BITS
        return None


class HeldNumbers:
    """The held numbers of one pool, by pool key."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[Key, Numbers] = {}

    def is_held(self, key: Key, number: int) -> bool:
        """Whether the number is held under `key`."""
        numbers = self._by_key.get(key)
        return numbers is not None and numbers.is_held(number)

    def change(self, key: Key, freed: Iterable[int], taken: Iterable[int]) -> None:
        """Marks held numbers as free, and then free ones as held."""
        numbers = self._by_key.get(key)
        if numbers is None:
            numbers = self._by_key[key] = Numbers()
        for number in freed:
            numbers.free(number)
        for number in taken:
            numbers.hold(number)
        if not numbers:
            del self._by_key[key]

    def hold_all(self, numbers: Iterable[tuple[Key, int]]) -> None:
        """Marks free numbers as held, each under its key."""
        by_key = self._by_key
        for key, number in numbers:
            under = by_key.get(key)
            if under is None:
                under = by_key[key] = Numbers()
            under.hold(number)

    def lowest_free(self, key: Key, first: int, last: int, start: int) -> int | None:
        """The lowest free number of `first..last` that is not below `start`, or None."""
        numbers = self._by_key.get(key)
        if numbers is None:
            return start if start <= last else None
        return numbers.lowest_free(first, last, start)
