# SPDX-License-Identifier: Apache-2.0
"""Who needs what: order of moves, what a host may never need, and that interest is packed."""

import pytest

from alcor.dataplane.rows import Row
from alcor.goal.compiler import RowChange
from alcor.goal.counts import Counts, Numbers
from alcor.goal.declare import GoalFeature, Need
from alcor.goal.interest import Interest
from tests.goal import toy
from tests.goal.toy import LampRow, LinkRow


def came(scope: str, key: str, row: Row) -> RowChange:
    return RowChange(scope, key, None, b"", None, row)


def went(scope: str, key: str, row: Row) -> RowChange:
    return RowChange(scope, key, b"", None, row, None)


def test_a_host_enters_what_a_scope_needs_before_that_scope() -> None:
    interest = Interest(toy.GOAL)
    interest.apply([came("tag:a", "1", LinkRow(other="b")), came("tag:b", "1", LinkRow(other="c"))])
    moves = interest.apply([came("host:h", "l", LampRow(room="o", tag="a"))])
    order = [scope for _, scope in moves.entered]
    assert order.index("tag:c") < order.index("tag:b") < order.index("tag:a")
    assert set(order) == {"room:o", "beams:o", "racks:o", "tag:a", "tag:b", "tag:c"}
    assert moves.left == []


def test_a_hosts_own_scope_is_always_its_and_comes_last() -> None:
    interest = Interest(toy.GOAL)
    assert interest.scopes("h") == ["host:h"]
    assert interest.hosts("host:h") == ["h"]
    interest.apply([came("host:h", "l", LampRow(room="o"))])
    assert interest.scopes("h")[-1] == "host:h"
    assert interest.hosts("room:o") == ["h"]
    assert interest.hosts("room:other") == []


def test_a_row_that_moves_within_one_turn_neither_leaves_nor_enters_what_it_still_needs() -> None:
    interest = Interest(toy.GOAL)
    interest.apply([came("host:h", "l", LampRow(room="o", tag="a"))])
    old, new = LampRow(room="o", tag="a"), LampRow(room="o", tag="b")
    moves = interest.apply([RowChange("host:h", "l", b"", b"", old, new)])
    assert moves == ([("h", "tag:b")], [("h", "tag:a")])
    moves = interest.apply([went("host:h", "l", new), came("host:h", "m", new)])
    assert moves == ([], [])


def test_no_row_may_lead_to_a_hosts_own_scope() -> None:
    peeping = GoalFeature(name="peeping", needs=(Need(LampRow, lambda row: (f"host:{row.room}",)),))
    with pytest.raises(AssertionError, match="own scope"):
        Interest((peeping,)).apply([came("host:h", "l", LampRow(room="other"))])


def test_packed_sets_count_and_keep_order() -> None:
    counts, numbers = Counts(), Numbers()
    assert [counts.add(n) for n in (5, 3, 5, 9)] == [True, True, False, True]
    assert list(counts.all()) == [3, 5, 9]
    assert [counts.drop(n) for n in (5, 5, 3)] == [False, True, True]
    counts.discard(4)
    counts.discard(9)
    assert len(counts) == 0
    for number in (7, 1, 4):
        numbers.add(number)
    numbers.remove(4)
    assert list(numbers.all()) == [1, 7]
    with pytest.raises(AssertionError):
        Counts().drop(1)
