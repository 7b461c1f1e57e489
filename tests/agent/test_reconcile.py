# SPDX-License-Identifier: Apache-2.0
"""A switch is brought to what is wanted by differences, in an order that leaks nothing, touching only what it may."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from alcor.agent.derive import Change, Identity
from alcor.agent.reconcile import Reconciler, Repairs
from alcor.base.metrics import FLOW_CHANGES, FLOW_FAILURES, FLOW_REPAIRS
from alcor.base.telemetry import Meters
from alcor.dataplane.pipeline import COOKIE
from alcor.dataplane.values import Action, Flow, Output, match


@dataclass
class Failure:
    flow: Flow
    reason: str


@dataclass
class MemorySwitch:
    """Flows in a dictionary. Refuses those of a priority in `refused`."""

    flows: dict[Identity, Flow] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    sent: list[tuple[list[Flow], list[Flow]]] = field(default_factory=list)
    flushed: list[int] = field(default_factory=list)
    kept: list[set[int]] = field(default_factory=list)
    put_out: list[bytes] = field(default_factory=list)

    async def dump(self) -> list[Flow]:
        return list(self.flows.values())

    async def apply(self, adds: Sequence[Flow], deletes: Sequence[Flow]) -> Sequence[Failure]:
        self.sent.append((list(adds), list(deletes)))
        taken = [flow for flow in adds if flow.priority not in self.refused]
        self.flows.update({flow.identity: flow for flow in taken})
        for flow in deletes:
            self.flows.pop(flow.identity, None)
        return [Failure(flow, "it is too strange") for flow in adds if flow.priority in self.refused]

    async def flush_ct_zone(self, zone: int) -> None:
        self.flushed.append(zone)

    async def packet_out(self, packet: bytes, actions: Sequence[Action]) -> None:
        self.put_out.append(packet)

    async def keep_meters(self, used: Collection[int]) -> None:
        self.kept.append(set(used))


def flow(table: int, value: int, *ports: int, priority: int = 1, cookie: int = COOKIE) -> Flow:
    return Flow(table, priority, match(reg0=value), tuple(map(Output, ports)), cookie)


def by_identity(flows: Iterable[Flow]) -> dict[Identity, Flow]:
    return {each.identity: each for each in flows}


def reconciler(*wanted: Flow) -> tuple[Reconciler, Meters]:
    meters = Meters()
    return Reconciler(by_identity(wanted), meters), meters


async def test_an_empty_switch_gets_everything_from_the_last_table_to_the_first_what_drops_before_all() -> (
    None
):
    wanted = [flow(0, 1, 5), flow(70, 1, 5), flow(10, 1), flow(40, 1, 6)]
    subject, meters = reconciler(*wanted)
    switch = MemorySwitch()
    await subject.attach(switch, ())
    assert switch.flows == by_identity(wanted)
    [(adds, deletes)] = switch.sent
    assert [each.table for each in adds] == [10, 70, 40, 0]
    assert deletes == []
    assert meters.value(FLOW_CHANGES, "add") == 4


async def test_a_switch_that_has_everything_is_sent_nothing() -> None:
    wanted = [flow(0, 1, 5), flow(70, 1, 5)]
    subject, _ = reconciler(*wanted)
    switch = MemorySwitch(by_identity(wanted))
    await subject.attach(switch, ())
    await subject.settle()
    assert switch.sent == []
    assert subject.is_settled


async def test_flows_of_a_former_agent_stay_as_they_are_until_the_rows_are_complete() -> None:
    old_altered, old_gone = flow(0, 1, 9), flow(0, 2, 9)
    subject, _ = reconciler(flow(0, 1, 5), flow(0, 3, 5))
    switch = MemorySwitch(by_identity([old_altered, old_gone]))
    await subject.attach(switch, ())
    assert subject.keeps_inherited
    assert set(switch.flows.values()) == {old_altered, old_gone, flow(0, 3, 5)}

    await subject.apply(Change(by_identity([flow(0, 1, 6)]), by_identity([old_gone])))
    assert set(switch.flows.values()) == {old_altered, old_gone, flow(0, 3, 5)}

    await subject.settle()
    assert not subject.keeps_inherited
    assert switch.flows == by_identity([flow(0, 1, 5), flow(0, 3, 5)])


async def test_additions_come_before_removals_which_go_from_the_first_table_on() -> None:
    subject, _ = reconciler(flow(0, 1, 5))
    switch = MemorySwitch(by_identity([flow(0, 1, 5), flow(40, 2, 5), flow(10, 2), flow(0, 2, 5)]))
    await subject.attach(switch, ())
    await subject.settle()
    [(_, deletes)] = switch.sent
    assert [each.table for each in deletes] == [0, 40, 10]


async def test_a_restarted_switch_gets_everything_again() -> None:
    wanted = [flow(0, 1, 5), flow(70, 1, 5)]
    subject, _ = reconciler(*wanted)
    await subject.attach(MemorySwitch(), ())
    await subject.settle()
    subject.detach()
    await subject.apply(Change(by_identity([flow(0, 9, 1)])))
    restarted = MemorySwitch()
    await subject.attach(restarted, ())
    assert restarted.flows == by_identity(wanted)


async def test_what_was_altered_lost_or_added_by_others_is_mended_and_counted_by_kind() -> None:
    wanted = [flow(0, 1, 5), flow(0, 2, 5), flow(0, 3, 5)]
    subject, meters = reconciler(*wanted)
    switch = MemorySwitch()
    await subject.attach(switch, ())
    await subject.settle()
    assert await subject.audit() == Repairs()

    del switch.flows[wanted[0].identity]
    for other in (flow(0, 2, 6), flow(0, 7, 6), flow(0, 8, 6, cookie=0), flow(0, 9, 6, cookie=7)):
        switch.flows[other.identity] = other
    found = await subject.audit()
    assert found == Repairs(missing=1, altered=1, foreign=2, stale=1)
    assert found.count == 5
    assert switch.flows == by_identity(wanted)
    assert [meters.value(FLOW_REPAIRS, kind) for kind in ("missing", "altered", "foreign", "stale")] == [
        1,
        1,
        2,
        1,
    ]


async def test_an_audit_without_a_switch_finds_nothing() -> None:
    subject, _ = reconciler(flow(0, 1, 5))
    assert await subject.audit() == Repairs()
    assert not subject.is_attached


async def test_a_flow_that_the_switch_refuses_is_told_until_it_is_not_wanted_any_more() -> None:
    good, bad = flow(0, 1, 5), flow(0, 2, 5, priority=13)
    subject, meters = reconciler(good, bad)
    switch = MemorySwitch(refused={13})
    await subject.attach(switch, ())
    await subject.settle()
    assert subject.refused == {bad.identity: "it is too strange"}
    assert meters.value(FLOW_FAILURES) == 1
    assert (await subject.audit()).missing == 0, "nobody has lost it"
    assert subject.refused == {bad.identity: "it is too strange"}
    await subject.apply(Change({}, by_identity([bad])))
    assert subject.refused == {}


async def test_a_refused_flow_is_tried_again_when_it_changes() -> None:
    wanted = by_identity([flow(0, 2, 5, priority=13)])
    subject = Reconciler(wanted, Meters())
    switch = MemorySwitch(refused={13})
    await subject.attach(switch, ())
    switch.refused.clear()
    better = flow(0, 2, 6, priority=13)
    wanted[better.identity] = better
    await subject.apply(Change(by_identity([better])))
    assert subject.refused == {}
    assert switch.flows == wanted


async def test_a_refused_flow_is_tried_again_by_each_audit() -> None:
    subject, _ = reconciler(flow(0, 2, 5, priority=13))
    switch = MemorySwitch(refused={13})
    await subject.attach(switch, ())
    switch.refused.clear()
    assert (await subject.audit()).count == 0
    assert subject.refused == {}
    assert len(switch.flows) == 1


async def test_a_large_difference_goes_in_parts_additions_first() -> None:
    old, new = [flow(0, number, 5) for number in range(1500)], [flow(5, number, 5) for number in range(2500)]
    subject, _ = reconciler(*new)
    switch = MemorySwitch(by_identity(old))
    await subject.attach(switch, ())
    await subject.settle()
    assert [(len(adds), len(deletes)) for adds, deletes in switch.sent] == [
        (1000, 0),
        (1000, 0),
        (500, 0),
        (0, 1000),
        (0, 500),
    ]
    assert switch.flows == by_identity(new)


async def test_many_refusals_are_told_in_few_lines() -> None:
    subject, meters = reconciler(*(flow(0, number, 5, priority=13) for number in range(30)))
    await subject.attach(MemorySwitch(refused={13}), ())
    assert meters.value(FLOW_FAILURES) == 30


async def test_the_zone_of_a_port_is_flushed_when_the_switch_sees_it_first_and_after_another_had_it() -> None:
    known = Flow(0, 100, match(in_port=11), (Output(1),), COOKIE)
    subject, _ = reconciler(known)
    switch = MemorySwitch(by_identity([known]))
    await subject.attach(switch, [11, 12])
    assert switch.flushed == [12], "an agent's restart ends no connection"
    await subject.forget_connections([12, 13])
    assert switch.flushed == [12, 13]
    subject.unplugged(12)
    await subject.forget_connections([12])
    assert switch.flushed == [12, 13, 12]
    subject.detach()
    await subject.forget_connections([14])
    assert switch.flushed == [12, 13, 12]


async def test_the_zones_of_ports_that_went_without_an_agent_are_flushed_once_the_rows_are_complete() -> None:
    port, subport = (Flow(0, 100, match(in_port=number), (Output(1),), COOKIE) for number in (11, 12))
    stayed = Flow(0, 160, match(reg1=13), (Output(1),), COOKIE)
    gone = Flow(0, 160, match(reg1=14), (Output(1),), COOKIE)
    subject, _ = reconciler(port, stayed)
    switch = MemorySwitch(by_identity([port, subport, stayed, gone]))
    await subject.attach(switch, [11, 13])
    assert switch.flushed == []
    await subject.settle()
    assert sorted(switch.flushed) == [12, 14]
    assert switch.flows == by_identity([port, stayed])
    await subject.forget_connections([11, 13])
    assert sorted(switch.flushed) == [12, 14], "later news of a port that stayed ends no connection"
