# SPDX-License-Identifier: Apache-2.0
"""Held numbers against a plain set, and what an allocation touches."""

from random import Random

import pytest

from alcor.store.pools import HeldNumbers, Numbers

RANGES = [(1, 1), (1, 40), (30, 5000), (1020, 1030), (4000, 2**24), (2**64, 2**64 + 2**60)]


@pytest.mark.parametrize("seed", range(4))
def test_the_lowest_free_number_is_found_through_random_changes(seed: int) -> None:
    random = Random(seed)
    numbers, plain = HeldNumbers(), set[int]()
    for _ in range(6000):
        first, last = random.choice(RANGES)
        start = random.choice([first, first, min(last, first + random.randrange(50))])
        found = numbers.lowest_free("key", first, last, start)
        expected = next((n for n in range(start, min(last, start + 9000) + 1) if n not in plain), None)
        assert found == expected
        if found is not None and random.random() < 0.8:
            numbers.change("key", (), [found])
            plain.add(found)
        if plain and random.random() < 0.4:
            freed = random.choice(sorted(plain)[:100])
            numbers.change("key", [freed], ())
            plain.discard(freed)
    assert all(numbers.is_held("key", number) for number in plain)
    numbers.change("key", plain, ())
    assert not any(numbers.is_held("key", number) for number in plain)


def test_a_full_range_answers_none_without_looking_again() -> None:
    numbers = HeldNumbers()
    numbers.change("key", (), range(10, 5001))
    assert numbers.lowest_free("key", 10, 5000, 10) is None
    assert numbers.lowest_free("key", 10, 5001, 10) == 5001
    numbers.change("key", [77], ())
    assert numbers.lowest_free("key", 10, 5000, 10) == 77


def test_ranges_beyond_the_remembered_ones_are_still_right() -> None:
    numbers = Numbers()
    for number in range(200):
        numbers.hold(number)
    assert [numbers.lowest_free(first, 300, first) for first in range(150)] == [200] * 150


def test_a_lone_number_takes_no_chunk_of_bits() -> None:
    numbers = Numbers()
    numbers.hold(2**100 + 5)
    assert numbers.is_held(2**100 + 5)
    assert not numbers.is_held(2**100 + 6)
    assert numbers.lowest_free(2**100 + 5, 2**101, 2**100 + 5) == 2**100 + 6
    numbers.free(2**100 + 5)
    assert not numbers
