# SPDX-License-Identifier: Apache-2.0
"""Ordered ids and keyed sets of ids against plain sets."""

from random import Random

import pytest

from alcor.store.ids import IdSet, KeyedIds


def _name(random: Random, many: int) -> str:
    return f"{random.randrange(many):06}"


@pytest.mark.parametrize("many", [5, 400, 20_000])
def test_ids_stay_in_order_through_random_changes(many: int) -> None:
    random = Random(many)
    ids, plain = IdSet(), set[str]()
    for _ in range(12_000):
        name = _name(random, many)
        if name in plain:
            ids.remove(name)
            plain.discard(name)
        else:
            ids.add(name)
            plain.add(name)
    assert list(ids) == sorted(plain)
    assert ids.count == len(plain)


def test_ids_added_in_order_and_then_removed_leave_nothing() -> None:
    names = [f"{number:05}" for number in range(5000)]
    ids = IdSet()
    for name in names:
        ids.add(name)
    for name in names:
        ids.remove(name)
    assert (list(ids), ids.count, ids.after("", 3), ids.before(None, 3)) == ([], 0, [], [])


@pytest.mark.parametrize("many", [1, 3, 200, 6000])
def test_pages_of_ids_under_a_key_begin_anywhere_and_go_both_ways(many: int) -> None:
    random = Random(many)
    ids = KeyedIds()
    plain = sorted({_name(random, 10 * many) for _ in range(many)})
    for name in random.sample(plain, len(plain)):
        ids.change(("net", 1), {name: True})
    for _ in range(200):
        mark, limit = _name(random, 10 * many), random.randrange(1, 700)
        assert ids.after(("net", 1), mark, limit) == [name for name in plain if name > mark][:limit]
        assert ids.before(("net", 1), mark, limit) == [name for name in plain if name < mark][::-1][:limit]
    assert ids.before(("net", 1), None, many) == plain[::-1]
    assert ids.ids(("net", 1)) == plain
    assert ids.first(("net", 1)) == plain[0]


def test_keys_hold_few_and_many_ids_and_forget_those_that_are_gone() -> None:
    random = Random(7)
    ids, plain = KeyedIds(), dict[object, set[str]]()
    for _ in range(30_000):
        key: object = random.choice(["one", ("two", 2), 3, ("four", "x", "y")])
        name = _name(random, 2 if key == 3 else 900)
        under = plain.setdefault(key, set())
        if name in under:
            under.discard(name)
            ids.change(key, {name: False})
        else:
            under.add(name)
            ids.change(key, {name: True})
    for key, under in plain.items():
        assert (ids.ids(key), ids.count(key)) == (sorted(under), len(under))
        for name in sorted(under):
            ids.change(key, {name: False})
        assert (ids.ids(key), ids.count(key), ids.first(key)) == ([], 0, None)


@pytest.mark.parametrize("many", [1, 40, 5000])
def test_ids_added_many_at_a_time_are_as_if_added_one_by_one(many: int) -> None:
    random = Random(many)
    names = [f"{number:05}" for number in range(many)]
    keys_of = {
        name: tuple(random.choice(["few", ("many", 1)]) for _ in range(random.randrange(4))) for name in names
    }
    one_by_one, together = KeyedIds(), KeyedIds()
    for name in names:
        for key in dict.fromkeys(keys_of[name]):
            one_by_one.change(key, {name: True})
    start = 0
    while start < many:
        some = names[start : start + random.randrange(1, 400)]
        pairs = [(name, key) for name in some for key in dict.fromkeys(keys_of[name])]
        together.extend([name for name, _ in pairs], [key for _, key in pairs])
        start += len(some)
    for key in ("few", ("many", 1)):
        assert together.ids(key) == one_by_one.ids(key)
        assert together.count(key) == one_by_one.count(key)
        assert together.after(key, "00100", 7) == one_by_one.after(key, "00100", 7)


def test_ids_under_many_keys_are_added_many_at_a_time() -> None:
    ids = KeyedIds()
    ids.extend(["a", "a", "b"], [("net", 1), ("net", 2), ("net", 3)])
    ids.extend(["c"], [("net", 3)])
    assert [ids.ids(("net", number)) for number in range(1, 5)] == [["a"], ["a"], ["b", "c"], []]


def test_ids_that_lie_together_are_added_at_once_wherever_they_belong() -> None:
    random = Random(7)
    ids, plain = IdSet(), set()
    for _ in range(400):
        start = random.randrange(10**6)
        some = [
            each for number in range(random.randrange(1, 60)) if (each := f"{start + number:08}") not in plain
        ]
        if some:
            ids.add_all(some)
            plain.update(some)
    ids.add_all(late := [f"{10**7 + number}" for number in range(3000)])
    plain.update(late)
    assert (list(ids), ids.count) == (sorted(plain), len(plain))
    for each in random.sample(sorted(plain), 500):
        ids.remove(each)
        plain.remove(each)
    assert (list(ids), ids.count) == (sorted(plain), len(plain))
