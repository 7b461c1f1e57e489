# SPDX-License-Identifier: Apache-2.0
"""Encoded objects in order of id, and scans that see one moment whatever changes meanwhile."""

import gc
from random import Random

import pytest

from alcor.store.rows import Rows


def _change(rows: Rows, plain: dict[str, bytes], random: Random, many: int) -> None:
    name = f"{random.randrange(many):06}"
    if name in plain and random.random() < 0.5:
        rows.remove(name)
        del plain[name]
    else:
        row = random.randbytes(4)
        rows.put(name, row)
        plain[name] = row


@pytest.mark.parametrize("many", [3, 300, 30_000])
def test_rows_and_their_pages_equal_a_plain_dict(many: int) -> None:
    random = Random(many)
    rows, plain = Rows(), dict[str, bytes]()
    for _ in range(10_000):
        _change(rows, plain, random, many)
    ordered = sorted(plain.items())
    assert sorted(rows) == sorted(plain.values())
    assert rows.count == len(plain)
    for _ in range(50):
        mark, limit = f"{random.randrange(many):06}", random.randrange(1, 1000)
        assert rows.get(mark) == plain.get(mark)
        assert rows.after(mark, limit) == [row for row in ordered if row[0] > mark][:limit]
        assert rows.before(mark, limit) == [row for row in ordered if row[0] < mark][::-1][:limit]
    assert rows.before(None, many) == ordered[::-1]


@pytest.mark.parametrize("limit", [1, 7, 500, 100_000])
def test_a_scan_sees_the_moment_when_it_began(limit: int) -> None:
    random = Random(limit)
    rows, plain = Rows(), dict[str, bytes]()
    for _ in range(2500):
        _change(rows, plain, random, 3000)
    expected = [row for _, row in sorted(plain.items())]
    scans = [rows.scan() for _ in range(3)]
    seen: list[list[bytes]] = [[], [], []]
    while part := scans[0].take(limit):
        seen[0] += part
        for _ in range(random.randrange(12)):
            _change(rows, plain, random, 3000)
    for place in (1, 2):
        while part := scans[place].take(limit):
            seen[place] += part
    assert seen == [expected] * 3


def test_a_scan_of_a_table_that_is_emptied_still_gives_it_all() -> None:
    rows = Rows()
    names = [f"{number:05}" for number in range(2000)]
    for name in names:
        rows.put(name, name.encode())
    scan = rows.scan()
    found = scan.take(10)
    for name in names:
        rows.remove(name)
    while part := scan.take(10):
        found += part
    assert found == [name.encode() for name in names]


def test_a_scan_that_ended_or_was_dropped_costs_changes_nothing() -> None:
    rows = Rows()
    rows.put("a", b"1")
    ended, dropped = rows.scan(), rows.scan()
    ended.end()
    del dropped
    gc.collect()
    rows.put("a", b"2")
    assert ended.take(5) == []
    assert not rows._scans


def test_a_scan_that_is_collected_as_garbage_while_a_change_looks_at_it_disturbs_no_change() -> None:
    usual = gc.get_threshold()
    try:
        for allocations in range(1, 60):  # so many after which the collection falls due
            rows = Rows()
            rows.put("a", b"1")
            kept = rows.scan()
            gc.collect(0)
            gc.disable()
            dropped: list[object] = [rows.scan()]
            dropped.append(dropped)  # a circle, which only a collection frees
            del dropped
            gc.set_threshold(allocations)
            gc.enable()
            rows.put("b", b"2")
            gc.set_threshold(*usual)
            assert kept.take(5) == [b"1"]
    finally:
        gc.enable()
        gc.set_threshold(*usual)
