# SPDX-License-Identifier: Apache-2.0
"""Whatever the history, rows and interest are what would be derived from nothing: of the made-up product."""

from collections.abc import Callable

import pytest

from tests.goal import toy
from tests.goal.histories import EXPANDERS, CheckedGoal, History, random_turns
from tests.goal.toy import LAMP, LINK, RACK, ROOM, Lamp, Link, Rack, Room

RACKS = [(RACK, f"r{n}", Rack(id=f"r{n}", address=f"10.0.0.{n}")) for n in range(3)]
ROOMS = [(ROOM, f"o{n}", Room(id=f"o{n}", colour="red")) for n in range(2)]


def lamp(number: int, rack: str, room: str, tag: str = "") -> toy.Write:
    return LAMP, f"l{number}", Lamp(id=f"l{number}", rack=rack, room=room, tag=tag)


def link(tag: str, other: str) -> toy.Write:
    return LINK, f"{tag}-{other}", Link(id=f"{tag}-{other}", tag=tag, other=other)


WORLDS: dict[str, History] = {
    "one room": [RACKS, ROOMS, [lamp(1, "r0", "o0")], [lamp(2, "r1", "o0")], [lamp(3, "r1", "o0")]],
    "a lamp that moves": [
        RACKS,
        [lamp(1, "r0", "o0")],
        [lamp(1, "r1", "o0")],
        [lamp(1, "r1", "o1")],
        [lamp(1, "", "o1")],
    ],
    "a rack that changes its address": [
        RACKS,
        [lamp(1, "r0", "o0"), lamp(2, "r0", "o0"), lamp(3, "r0", "o1"), lamp(4, "r1", "o0")],
        [(RACK, "r0", Rack(id="r0", address="10.9.9.9"))],
        [(RACK, "r0", None)],
    ],
    "a chain of tags": [
        RACKS,
        [link("a", "b"), link("b", "c")],
        [lamp(1, "r0", "o0", "a")],
        [(LINK, "a-b", None)],
    ],
    "a circle of tags": [
        RACKS,
        [lamp(1, "r0", "o0", "a"), lamp(2, "r1", "o0", "b")],
        [link("a", "b")],
        [link("b", "c")],
        [link("c", "a")],
        [lamp(2, "", "o0")],
        [lamp(1, "r0", "o0")],
    ],
    "a tag that leads to itself": [
        RACKS,
        [link("a", "a")],
        [lamp(1, "r0", "o0", "a")],
        [lamp(1, "r0", "o0")],
    ],
    "two ways to one tag": [
        RACKS,
        [link("a", "c"), link("b", "c"), link("c", "d")],
        [lamp(1, "r0", "o0", "a"), lamp(2, "r0", "o0", "b")],
        [lamp(1, "r0", "o0")],
        [lamp(2, "r0", "o0")],
    ],
}


@pytest.mark.parametrize("expand", EXPANDERS, ids=lambda expander: expander.__name__)
@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS.keys())
def test_a_canned_world_is_what_is_derived_from_nothing_however_it_comes_about(
    world: History, expand: Callable[[History], History]
) -> None:
    checked = CheckedGoal(toy.SCHEMA, toy.GOAL)
    for turn in expand(world):
        checked.take(turn)


@pytest.mark.parametrize("seed", range(40))
def test_a_random_history_is_what_is_derived_from_nothing(seed: int) -> None:
    checked = CheckedGoal(toy.SCHEMA, toy.GOAL)
    for turn in random_turns(toy.random_write, seed, turns=60):
        checked.take(turn)


@pytest.mark.parametrize("seed", range(20))
def test_a_load_between_whose_slices_turns_come_is_what_is_derived_from_nothing(
    seed: int, monkeypatch
) -> None:
    monkeypatch.setattr("alcor.goal.compiler._SLICE_OBJECTS", 2)
    before = CheckedGoal(toy.SCHEMA, toy.GOAL)
    for turn in random_turns(toy.random_write, seed, turns=40):
        before.take(turn)
    loading = CheckedGoal(toy.SCHEMA, toy.GOAL)
    loading.state = before.state
    slices = loading.goal.load(loading.state.tables)
    later = random_turns(toy.random_write, seed + 1000, turns=1000)
    for _ in slices:
        step = loading.goal.apply(loading.state.tables, loading.state.take(next(later)))
        assert step.moves == ([], [])
    loading.check()
    loading.goal.apply(loading.state.tables, loading.state.take(next(later)))
    loading.check()


def test_all_that_is_kept_is_gone_when_all_objects_are() -> None:
    checked = CheckedGoal(toy.SCHEMA, toy.GOAL)
    for turn in random_turns(toy.random_write, seed=7, turns=80):
        checked.take(turn)
    tables = checked.state.tables
    checked.take([(table, found.id, None) for table in toy.SCHEMA.tables for found in tables.scan(table)])
    assert list(checked.goal.compiler.scopes()) == []
    assert checked.goal.compiler.reads() == 0
    assert checked.goal.interest.size() == 0
