# SPDX-License-Identifier: Apache-2.0
"""What a change costs, and what the compiler refuses."""

from collections.abc import Iterator

import pytest

from alcor.goal.compiler import Compiler, from_scratch
from alcor.goal.declare import Derivation, GoalFeature, Placed, View
from alcor.goal.state import Goal
from tests.goal import toy
from tests.goal.histories import State
from tests.goal.toy import GLOW, LAMP, RACK, ROOM, Glow, Lamp, PresenceRow, Rack, Room


@pytest.fixture
def state() -> State:
    """Three racks with ten lamps each, all shining on one room."""
    state = State(toy.SCHEMA)
    racks = [Rack(id=f"r{n}", address=f"10.0.0.{n}") for n in range(3)]
    state.take([(RACK, rack.id, rack) for rack in racks])
    lamps = [Lamp(id=f"l{n}", rack=f"r{n % 3}", room="o0") for n in range(30)]
    state.take([(LAMP, lamp.id, lamp) for lamp in lamps])
    state.take([(ROOM, "o0", Room(id="o0", colour="red"))])
    return state


@pytest.fixture
def goal(state: State) -> Goal:
    goal = Goal(toy.GOAL)
    for _ in goal.load(state.tables):
        pass
    return goal


def derived_by(goal: Goal, state: State, *turn: toy.Write) -> int:
    """How many objects a turn derives again."""
    before = goal.compiler.derived
    goal.apply(state.tables, state.take(turn))
    return goal.compiler.derived - before


def test_a_load_derives_each_object_once(goal: Goal) -> None:
    assert goal.compiler.derived == 31  # racks stand for no rows


def test_a_change_derives_the_object_and_those_that_read_it_and_no_other(goal: Goal, state: State) -> None:
    assert derived_by(goal, state, (RACK, "r1", Rack(id="r1", address="10.9.9.9"))) == 10
    assert derived_by(goal, state, (LAMP, "l0", Lamp(id="l0", rack="r1", room="o0"))) == 1
    assert derived_by(goal, state, (RACK, "r1", Rack(id="r1", address="10.9.9.8"))) == 11
    assert derived_by(goal, state, (ROOM, "o0", Room(id="o0", colour="blue"))) == 1
    assert derived_by(goal, state, (LAMP, "l30", Lamp(id="l30", rack="", room="o0"))) == 1
    assert derived_by(goal, state, (RACK, "r9", Rack(id="r9", address="10.0.0.9"))) == 0


def test_what_is_observed_derives_nothing(goal: Goal, state: State) -> None:
    assert derived_by(goal, state, (GLOW, "l0", Glow(id="l0", watts=60))) == 0


def test_a_change_of_what_was_absent_derives_whoever_looked_for_it(goal: Goal, state: State) -> None:
    assert derived_by(goal, state, (LAMP, "l30", Lamp(id="l30", rack="r9", room="o0"))) == 1
    assert goal.compiler.rows("beams:o0").keys() == {f"l{n}" for n in range(30)}
    assert derived_by(goal, state, (RACK, "r9", Rack(id="r9", address="10.0.0.9"))) == 1
    assert goal.compiler.rows("beams:o0").keys() == {f"l{n}" for n in range(31)}


def test_a_row_behind_many_objects_changes_only_with_the_first_and_the_last(goal: Goal, state: State) -> None:
    def rows_changed(*turn: toy.Write) -> set[str]:
        step = goal.apply(state.tables, state.take(turn))
        return {change.key for change in step.rows if change.scope == "racks:o0"}

    for n in range(0, 27, 3):
        assert rows_changed((LAMP, f"l{n}", None)) == set()
    assert rows_changed((LAMP, "l27", None)) == {"r0"}
    assert goal.compiler.rows("racks:o0").keys() == {"r1", "r2"}


def test_equal_rows_share_their_bytes(state: State) -> None:
    state.take([(LAMP, "x", Lamp(id="x", rack="r0", room="o1"))])
    compiler = Compiler(toy.GOAL)
    for _ in compiler.load(state.tables):
        pass
    assert compiler.rows("racks:o0")["r0"] is compiler.rows("racks:o1")["r0"]


def test_a_load_pauses_between_few_objects(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alcor.goal.compiler._SLICE_OBJECTS", 7)
    goal = Goal(toy.GOAL)
    derived = [goal.compiler.derived for _ in goal.load(state.tables)]
    steps = [after - before for before, after in zip([0, *derived], derived, strict=False)]
    assert max(steps) == 7
    assert sum(steps) == 31


def _clashing(view: View, lamp: Lamp) -> Iterator[Placed]:
    yield Placed("racks:all", "rack", PresenceRow(address=lamp.rack))


CLASHING = (GoalFeature(name="clashing", derivations=(Derivation(LAMP, _clashing),)),)


def test_objects_that_place_different_rows_under_one_key_are_a_fault(state: State) -> None:
    with pytest.raises(AssertionError, match="different rows under rack in racks:all"):
        list(Compiler(CLASHING).load(state.tables))
    with pytest.raises(AssertionError, match="different rows"):
        from_scratch(CLASHING, state.tables)

    state = State(toy.SCHEMA)
    compiler = Compiler(CLASHING)
    compiler.apply(state.tables, state.take([(LAMP, "a", Lamp(id="a", rack="r0", room="o0"))]))
    with pytest.raises(AssertionError, match="different rows"):
        compiler.apply(state.tables, state.take([(LAMP, "b", Lamp(id="b", rack="r1", room="o0"))]))


def test_goal_may_not_stand_on_what_is_observed(state: State) -> None:
    def reads_glow(view: View, lamp: Lamp) -> Iterator[Placed]:
        view.peek(GLOW, lamp.id)
        return iter(())

    with pytest.raises(AssertionError, match="glow is observed"):
        Compiler((GoalFeature(name="of", derivations=(Derivation(GLOW, lambda view, glow: ()),)),))
    with pytest.raises(AssertionError, match="glow is observed"):
        list(
            Compiler((GoalFeature(name="by", derivations=(Derivation(LAMP, reads_glow),)),)).load(
                state.tables
            )
        )
