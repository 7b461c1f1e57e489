# SPDX-License-Identifier: Apache-2.0
"""What security groups rely on in Open vSwitch's conjunctive matches, shown by packets."""

from itertools import count

import pytest

from alcor.dataplane.values import (
    CT_INV,
    CT_NEW,
    CT_TRK,
    Action,
    Conjunction,
    Ct,
    Flow,
    Output,
    Resubmit,
    SetField,
    match,
)
from tests.dataplane import frames
from tests.dataplane.bridge import Bridge
from tests.dataplane.frames import ACK, SYN, Path

pytestmark = pytest.mark.ovs
TRACKED: dict[str, int | tuple[int, int]] = {"eth_type": 0x800, "ct_state": (CT_TRK, CT_TRK | CT_INV)}
NEW: dict[str, int | tuple[int, int]] = {"eth_type": 0x800, "ct_state": (CT_TRK | CT_NEW, CT_TRK | CT_NEW)}
ZONES = count(1_000)
NEAR, FAR = Path("10.0.0.1", "10.0.0.2"), Path("10.0.1.5", "10.0.0.2")
PRIORITY = 100


def clause(given: dict[str, int | tuple[int, int]], *actions: Conjunction) -> Flow:
    """A clause of one or more conjunctions."""
    return Flow(1, PRIORITY, match(**{**TRACKED, **given}), actions)


WEB = {"ct_nw_proto": 6, "ct_tp_dst": (80, 0xFFF0)}
NEAR_ADDRESSES = {"ct_nw_src": (frames.number("10.0.0.0"), 0xFFFFFF00)}
FAR_ADDRESSES = {"ct_nw_src": (frames.number("10.0.1.0"), 0xFFFFFF00)}
CLAUSES = [
    clause({"reg2": 1}, Conjunction(10, 1, 3), Conjunction(11, 1, 3)),
    clause({"reg2": 2}, Conjunction(10, 1, 3)),
    clause(NEAR_ADDRESSES, Conjunction(10, 2, 3)),
    clause(FAR_ADDRESSES, Conjunction(11, 2, 3)),
    clause(WEB, Conjunction(10, 3, 3), Conjunction(11, 3, 3)),
    clause({"ct_nw_proto": 6, "ct_tp_dst": 443}, Conjunction(11, 3, 3)),
]


def world(*judges: Flow, priority: int = PRIORITY) -> list[Flow]:
    """Tracking with the in-port's number in reg2, judges, and what a satisfied conjunction does at `priority`."""
    zone = next(ZONES)
    enter = [
        Flow(
            0,
            1,
            match(eth_type=0x800, in_port=port),
            (SetField("reg2", port), SetField("reg5", zone), Ct("reg5", table=1)),
        )
        for port in (1, 2, 3)
    ]
    commit: tuple[Action, ...] = (Ct("reg5", commit=True), Resubmit(2))
    satisfied = [Flow(1, priority, match(**NEW, conj_id=rule), commit) for rule in (10, 11)]
    satisfied += [Flow(1, priority - 1, match(**TRACKED, conj_id=rule), (Resubmit(2),)) for rule in (10, 11)]
    towards = [Flow(2, 1, match(in_port=port), (Output(2 if port != 2 else 1),)) for port in (1, 2, 3)]
    return [*enter, *judges, *satisfied, *towards]


def passes(bridge: Bridge, port: int, path: Path, ports: tuple[int, int], flags: int = SYN) -> bool:
    """Whether a TCP packet gets through."""
    return bool(bridge.send(port, frames.tcp(path, ports, flags)))


@pytest.mark.parametrize("priority", [PRIORITY, PRIORITY + 50, PRIORITY - 50])
def test_what_satisfies_all_clauses_passes_in_both_directions(bridge: Bridge, priority: int) -> None:
    """The flow for a satisfied conjunction may stand above, among or below its clauses."""
    assert bridge.program(*world(*CLAUSES, priority=priority)) == []
    assert passes(bridge, 1, NEAR, (1000, 80))
    assert passes(bridge, 2, NEAR.back(), (80, 1000), SYN | ACK)
    assert passes(bridge, 1, FAR, (1000, 443))
    assert not passes(bridge, 1, NEAR, (1000, 443))
    assert not passes(bridge, 2, FAR, (1001, 443))
    assert not passes(bridge, 3, NEAR, (1001, 80))


def test_a_clause_taken_away_stops_established_connections(bridge: Bridge) -> None:
    wanted = world(*CLAUSES)
    assert bridge.program(*wanted) == []
    assert passes(bridge, 1, NEAR, (1000, 80))
    assert passes(bridge, 2, NEAR.back(), (80, 1000), SYN | ACK)
    assert bridge.program(*(flow for flow in wanted if flow.match != clause(NEAR_ADDRESSES).match)) == []
    assert not passes(bridge, 1, NEAR, (1000, 80), ACK)
    assert not passes(bridge, 2, NEAR.back(), (80, 1000), ACK)


def test_a_conjunction_competes_with_other_flows_by_the_priority_of_its_clauses(bridge: Bridge) -> None:
    from_near = match(**TRACKED, ct_nw_src=frames.number("10.0.0.1"))
    assert bridge.program(*world(*CLAUSES, Flow(1, PRIORITY + 1, from_near, ()))) == []
    assert not passes(bridge, 1, NEAR, (1000, 80))
    assert bridge.program(*world(*CLAUSES, Flow(1, PRIORITY - 1, from_near, ()))) == []
    assert passes(bridge, 1, NEAR, (1000, 80))


def test_an_unsatisfied_conjunction_leaves_the_packet_to_lower_priorities(bridge: Bridge) -> None:
    below = Flow(1, PRIORITY - 20, match(**TRACKED), (Resubmit(2),))
    assert bridge.program(*world(*CLAUSES, below)) == []
    assert passes(bridge, 1, NEAR, (1000, 443))


def test_overlapping_matches_of_one_clause_and_two_satisfied_conjunctions_pass(bridge: Bridge) -> None:
    wider = clause(
        {"ct_nw_src": (frames.number("10.0.0.0"), 0xFFFF0000)}, Conjunction(10, 2, 3), Conjunction(11, 2, 3)
    )
    assert bridge.program(*world(*CLAUSES, wider)) == []
    assert passes(bridge, 1, NEAR, (1000, 80))
    assert passes(bridge, 1, NEAR, (1000, 443))


def test_one_flow_can_be_a_clause_of_a_thousand_conjunctions(bridge: Bridge) -> None:
    shared = Flow(
        1, PRIORITY, match(**TRACKED), tuple(Conjunction(number, 1, 2) for number in range(1, 1001))
    )
    last = clause(WEB, Conjunction(10, 2, 2))
    assert bridge.program(*world(shared, last)) == []
    assert shared in bridge.read()
    assert passes(bridge, 1, NEAR, (1000, 80))


def test_a_clause_beside_other_actions_is_refused(bridge: Bridge) -> None:
    unfit = Flow(1, 1, match(**TRACKED), (Conjunction(1, 1, 2), Output(1)))
    (failure,) = bridge.program(unfit)
    assert "a conjunction stands beside other actions" in failure.reason
