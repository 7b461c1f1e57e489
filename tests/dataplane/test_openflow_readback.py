# SPDX-License-Identifier: Apache-2.0
"""What Open vSwitch gives back of a flow is the flow that was sent, and ovs-ofctl reads it as it was meant."""

import asyncio
import random
import re
from collections.abc import Iterable

import pytest

from alcor.agent.switch import Switch
from alcor.dataplane.values import (
    FIELDS,
    Clone,
    Conjunction,
    Controller,
    Ct,
    Flow,
    Foreign,
    Match,
    Meter,
    Move,
    Output,
    OutputField,
    Resubmit,
    SetField,
    Term,
    match,
)
from tests.dataplane.bridge import Bridge
from tests.dataplane.flows import (
    ACTIONS,
    ADVERT,
    ARP,
    IP_ACTIONS,
    IPV4,
    IPV6,
    METERS,
    SOLICIT,
    TRACKED,
    exact,
    masked,
)

pytestmark = pytest.mark.ovs
SEED = 20260301
RANDOM_FLOWS = 2_000


@pytest.fixture(autouse=True, scope="module")
def tunnel_option(bridge: Bridge) -> None:
    """`tun_metadata0` needs a Geneve option that it stands for."""
    bridge.ofctl("add-tlv-map", "{class=0xffff,type=0x41,len=4}->tun_metadata0")


def in_order(flows: Iterable[Flow]) -> list[Flow]:
    """Flows by identity."""
    return sorted(flows, key=lambda flow: repr(flow.identity))


def test_every_field_is_given_back_as_it_was_sent(bridge: Bridge) -> None:
    wanted = {match_ for name in FIELDS for match_ in (exact(name), masked(name)) if match_ is not None}
    flows = in_order(Flow(3, 7, match_, (Output(1),), cookie=5) for match_ in wanted)
    assert bridge.program(*flows) == []
    assert bridge.read() == flows


def test_every_action_is_given_back_as_it_was_sent(bridge: Bridge) -> None:
    flows = [Flow(3, number, (), actions) for number, actions in enumerate(ACTIONS.values())]
    flows += [Flow(4, number, match(**IPV4), actions) for number, actions in enumerate(IP_ACTIONS.values())]
    families = (
        (ARP, "arp_"),
        (IPV4, "ip_src ip_dst"),
        (IPV6, "ipv6_ nw_ttl ip_dscp"),
        (SOLICIT, "nd_target nd_sll"),
    )
    families += ((ADVERT, "nd_tll nd_reserved nd_options_type icmpv6_"), ({**IPV4, "ip_proto": 1}, "icmp_"))
    families += (({**IPV4, "ip_proto": 6}, "tcp_"), ({**IPV6, "ip_proto": 17}, "udp_"))
    settable = {
        name: needs for needs, starts in families for name in FIELDS if name.startswith(tuple(starts.split()))
    }
    for number, (name, needs) in enumerate(settable.items()):
        flows.append(Flow(5, number, match(**needs), (SetField(name, 5),)))
    flows.append(Flow(6, 1, (), (Move("reg0", "tun_metadata0", 32), Output(1))))
    for value in (0, 9, 0x1234, 0x12345678):
        parts = (SetField("tun_metadata0", value), SetField("tun_metadata0", value & 0xF0, 0xF0))
        flows.append(Flow(6, value & 0xFF, match(tun_metadata0=value), (*parts, Output(1))))
        flows.append(Flow(7, value & 0xFF, match(tun_metadata0=(value, 0xFFFF)), (Output(1),)))
    assert bridge.program(*flows) == []
    assert bridge.read() == in_order(flows)


def test_meters_are_given_back_as_they_were_sent_and_as_they_were_changed(bridge: Bridge) -> None:
    flows = [Flow(3, number, (), actions) for number, actions in enumerate(METERS.values())]
    assert bridge.program(*flows) == []
    assert bridge.read() == in_order(flows)
    faster = Flow(3, 0, (), (Meter(1, 9_000, 900), Output(2)))
    assert bridge.program(faster, flows[1]) == []
    assert bridge.read() == in_order([faster, flows[1]])
    assert "rate=9000 burst_size=900" in bridge.ofctl("dump-meters")


def test_a_flow_whose_meter_cannot_be_is_refused_alone(bridge: Bridge) -> None:
    meters = Meter(5, 10, 10), Meter(0, 10, 10)
    good, bad = (Flow(3, priority, (), (meter, Output(2))) for priority, meter in enumerate(meters, 90))
    [failure] = bridge.program(good, bad)
    assert failure.flow == bad
    assert "a meter has a number that cannot be" in failure.reason
    assert bridge.read() == [good]


def test_meters_that_nobody_uses_are_deleted_when_told_which_are_used(bridge: Bridge) -> None:
    kept, gone = (Flow(3, number, (), (Meter(number, 10, 10), Output(2))) for number in (5, 6))
    assert bridge.program(kept, gone) == []

    async def keep() -> None:
        switch = await Switch.connect(bridge.socket)
        await switch.keep_meters({5})
        await switch.close()

    asyncio.run(keep())
    assert bridge.read() == [kept]  # a meter takes its flows along


def random_match(chance: random.Random) -> Match:
    """A match that some packet could have."""
    kinds: list[tuple[dict[str, int | tuple[int, int]], tuple[str, ...]]] = [
        ({}, ("eth_type",)),
        (ARP, ("arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha")),
        (IPV4, ("ip_proto", "nw_ttl", "ip_src", "ip_dst", "ip_frag")),
        (IPV6, ("ip_proto", "nw_ttl", "ipv6_src", "ipv6_dst", "ip_frag")),
        ({**IPV4, "ip_proto": 6}, ("ip_src", "ip_dst", "tcp_src", "tcp_dst")),
        ({**IPV6, "ip_proto": 17}, ("ipv6_src", "ipv6_dst", "udp_src", "udp_dst")),
        ({**IPV4, "ip_proto": 1}, ("ip_src", "icmp_type", "icmp_code")),
        (SOLICIT, ("ipv6_src", "nd_target", "nd_sll")),
        (ADVERT, ("ipv6_dst", "nd_target", "nd_tll", "nd_reserved", "nd_options_type")),
        (
            {**IPV4, **TRACKED, "ct_nw_proto": 6},
            ("ct_nw_src", "ct_nw_dst", "ct_tp_src", "ct_tp_dst", "ip_src"),
        ),
        (
            {**IPV6, **TRACKED, "ct_nw_proto": 58},
            ("ct_ipv6_src", "ct_ipv6_dst", "ct_tp_src", "ct_tp_dst", "ct_mark"),
        ),
    ]
    anywhere = (
        "in_port",
        "metadata",
        "tun_id",
        "tun_src",
        "tun_dst",
        "eth_src",
        "eth_dst",
        "ct_zone",
        "conj_id",
    )
    registers = tuple(
        f"{kind}{number}" for kind, number in (("reg", 0), ("reg", 15), ("xxreg", 1), ("xxreg", 2))
    )
    needed, possible = chance.choice(kinds)
    given = dict(needed)
    others = (*possible, *anywhere, *registers)
    for name in chance.sample(others, chance.randrange(min(5, len(others)))):
        bits = FIELDS[name].bits
        value = chance.choice((0, 1, (1 << bits) - 1, chance.getrandbits(bits)))
        special = {
            "ip_frag": chance.choice((0, 1, 3)),
            "in_port": chance.randrange(1, 0xFF00),
            "eth_type": 0x88CC,
        }
        is_masked = FIELDS[name].maskable and name != "ip_frag" and chance.random() < 0.4
        given[name] = (
            (value, chance.getrandbits(bits))
            if is_masked
            else special.get(name, value & 0x7F if bits == 16 else value)
        )
    return match(**given)


def test_random_flows_are_given_back_as_they_were_sent(bridge: Bridge) -> None:
    chance = random.Random(SEED)
    flows: dict[object, Flow] = {}
    everywhere = list(ACTIONS.values())
    while len(flows) < RANDOM_FLOWS:
        numbers = (chance.randrange(1, 250), chance.randrange(65536))
        flow = Flow(*numbers, random_match(chance), chance.choice(everywhere), chance.getrandbits(64))
        flows[flow.identity] = flow
    assert bridge.program(*flows.values()) == []
    assert bridge.read() == in_order(flows.values())


def test_the_order_of_a_match_does_not_matter_to_the_switch(bridge: Bridge) -> None:
    wanted = match(eth_type=0x800, ip_proto=6, tcp_dst=80, ct_state=(0x20, 0x30), ct_nw_proto=6, ct_tp_dst=80)
    assert bridge.program(Flow(0, 1, wanted[::-1], (Output(1),))) == []
    assert bridge.read() == [Flow(0, 1, wanted, (Output(1),))]


def test_ovs_ofctl_reads_what_was_meant(bridge: Bridge) -> None:
    tracked = match(
        **IPV4, **TRACKED, ct_nw_proto=6, ct_nw_src=(0x0A000000, 0xFF000000), ct_tp_dst=(0x50, 0xFFF0)
    )
    flows = [
        Flow(
            0,
            1,
            match(in_port=2, vlan_tci=0x1005),
            (SetField("reg0", 7), SetField("reg1", 8, 0xF), Resubmit(3)),
        ),
        Flow(0, 2, match(vlan_tci=0), (OutputField("reg7"), Controller(b"\1\2", 100))),
        Flow(0, 3, tracked, (Ct("reg5", True, None, (SetField("ct_mark", 1),)), Ct(9, table=4))),
        Flow(0, 4, tracked, (Conjunction(10, 1, 3), Conjunction(11, 2, 2))),
        Flow(0, 5, match(conj_id=10, reg3=(1, 3)), (Clone((Move("eth_src", "eth_dst", 48), Output(3))),)),
        Flow(
            0, 6, match(**ADVERT), (SetField("nd_tll", 0x020000000002), SetField("nd_reserved", 0x60000000))
        ),
        Flow(
            0, 7, match(tun_id=5, tun_dst=1), (SetField("tun_dst", 0x0A630002), SetField("tun_metadata0", 9))
        ),
    ]
    assert bridge.program(*flows) == []
    texts = [re.sub(r"^table=0, ", "", line) for line in bridge.dumped()]
    assert texts == [
        "priority=1,in_port=2,dl_vlan=5,dl_vlan_pcp=0 actions=set_field:0x7->reg0,set_field:0x8/0xf->reg1,resubmit(,3)",
        "priority=2,vlan_tci=0x0000/0x1fff actions=output:NXM_NX_REG7[0..15],controller(max_len=100,userdata=01.02)",
        (
            "priority=3,ct_state=-inv+trk,ct_nw_src=10.0.0.0/8,ct_nw_proto=6,ct_tp_dst=0x50/0xfff0,ip "
            "actions=ct(commit,zone=NXM_NX_REG5[0..15],exec(set_field:0x1->ct_mark)),ct(table=4,zone=9)"
        ),
        (
            "priority=4,ct_state=-inv+trk,ct_nw_src=10.0.0.0/8,ct_nw_proto=6,ct_tp_dst=0x50/0xfff0,ip "
            "actions=conjunction(10,1/3),conjunction(11,2/2)"
        ),
        "priority=5,conj_id=10,reg3=0x1/0x3 actions=clone(move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],output:3)",
        (
            "priority=6,icmp6,icmp_type=136,icmp_code=0 "
            "actions=set_field:02:00:00:00:00:02->nd_tll,set_field:1610612736->nd_reserved"
        ),
        "priority=7,tun_id=0x5,tun_dst=0.0.0.1 actions=set_field:10.99.0.2->tun_dst,set_field:0x9->tun_metadata0",
    ]


def test_flows_of_others_are_read_and_can_be_deleted(bridge: Bridge) -> None:
    bridge.program()
    for text in (
        "table=1,priority=1,tcp,tcp_flags=+syn,actions=output:1",
        "table=1,priority=2,pkt_mark=0x5/0xff,actions=load:5->NXM_NX_REG0[4..7],load:1->NXM_NX_REG1[]",
        "table=1,priority=3,actions=goto_table:7",
        "table=1,priority=4,idle_timeout=60,actions=output:1",
        "table=1,priority=5,ip,actions=dec_ttl,output:2",
        "table=1,priority=6,ip,actions=ct(nat,zone=3)",
    ):
        bridge.ofctl("add-flow", text)
    flows = bridge.read()
    assert [flow.priority for flow in flows] == [1, 2, 3, 4, 5, 6]
    assert flows[0].match[-1] == Term("oxm:ffff5406.4f4e4600", 2, 2)
    assert flows[1].actions == (SetField("reg0", 0x50, 0xF0), SetField("reg1", 1))
    assert [any(isinstance(action, Foreign) for action in flow.actions) for flow in flows] == [False] * 2 + [
        True
    ] * 4
    assert bridge.program() == []
    assert bridge.read() == []


def test_refusals_say_why_in_words(bridge: Bridge) -> None:
    refused = {
        match(tcp_dst=80): "a field of the match needs another one that is not given",
        match(eth_type=0x800, ct_state=(0x21, 0x21), ct_nw_src=1): "",
        match(eth_type=0x800, ct_state=(0x20, 0x21), ct_nw_src=1): "OFPBMC_BAD_PREREQ",
    }
    failures = bridge.program(*(Flow(0, 1, match_, (Output(1),)) for match_ in refused))
    assert {failure.flow.match for failure in failures} == {match_ for match_, why in refused.items() if why}
    assert all(refused[failure.flow.match] in failure.reason for failure in failures)
    unfit = Flow(0, 2, match(reg0=1), (SetField("tcp_dst", 1),))
    (failure,) = bridge.program(unfit)
    assert failure.flow == unfit
    assert "an action needs a field that the match does not fix" in failure.reason
