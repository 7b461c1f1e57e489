# SPDX-License-Identifier: Apache-2.0
"""The fake switch as its users see it: flows in, packets through, refusals. That it is like OVS is tests/contract's."""

import pytest

from alcor.base.net import Ip, mac_int
from alcor.dataplane.values import (
    CT_INV,
    CT_NEW,
    CT_TRK,
    Clone,
    Conjunction,
    Controller,
    Ct,
    Flow,
    Foreign,
    InPort,
    Match,
    Move,
    Output,
    OutputField,
    Resubmit,
    SetField,
    Term,
    match,
)
from alcor.testing.fake_switch import CONTROLLER, Emission, FakeSwitch, FlowRefused, Tunnel
from alcor.testing.packet import ADVERT, BROADCAST, SOLICIT, Arp, Icmp, Ipv4, Ipv6, Nd, Packet, Udp
from tests.testing.kit import (
    IP_A,
    IP_B,
    LOCAL_IP,
    PEER_IP,
    TCP_THERE,
    TUNNEL,
    UDP_THERE,
    V6_A,
    V6_B,
    A,
    B,
    new_switch,
    there,
    there6,
)

IPV4 = {"eth_type": 0x0800}
ND_IN = {"eth_type": 0x86DD, "ip_proto": 58, "icmpv6_code": 0}


def ports(switch: FakeSwitch, packet: Packet = UDP_THERE, port: int = 1) -> list[int]:
    return [emission.port for emission in switch.receive(port, packet)]


def loaded(*flows: Flow) -> FakeSwitch:
    switch = new_switch()
    switch.apply(flows)
    return switch


def test_a_packet_that_no_flow_matches_is_dropped() -> None:
    assert ports(new_switch()) == []
    assert ports(loaded(Flow(0, 1, (), (Resubmit(7), Output(2))))) == [2]


def test_the_highest_priority_wins() -> None:
    switch = loaded(
        Flow(0, 1, (), (Output(2),)),
        Flow(0, 5, match(**IPV4, ip_src=(0x0A000000, 0xFF000000)), (Output(3),)),
        Flow(0, 9, match(**IPV4, ip_proto=6), (Output(4),)),
    )
    assert ports(switch) == [3]
    assert ports(switch, TCP_THERE) == [4]
    assert ports(switch, Packet(A, B, b"other", 0x88CC)) == [2]


def test_flows_are_dumped_counted_replaced_and_deleted_by_identity() -> None:
    to_two, to_three = (Flow(0, 1, match(in_port=1), (Output(port),), cookie=port) for port in (2, 3))
    switch = loaded(to_two)
    ports(switch)
    ports(switch)
    assert switch.dump() == [to_two]
    assert switch.packets(*to_two.identity) == 2

    switch.apply([to_three])
    assert switch.dump() == [to_three]
    assert switch.packets(*to_three.identity) == 0
    assert ports(switch) == [3]

    switch.apply(deletes=[to_two])
    switch.apply(deletes=[to_two])
    assert switch.dump() == []
    with pytest.raises(KeyError):
        switch.packets(*to_two.identity)


def test_an_xxreg_is_its_four_registers() -> None:
    whole = Flow(0, 2, match(xxreg1=5 << 96 | 7), (Output(2),))
    switch = loaded(
        Flow(1, 2, whole.match, whole.actions),
        Flow(0, 1, (), (SetField("reg4", 5), SetField("reg7", 7), Resubmit(1))),
    )
    assert ports(switch) == [2]
    assert switch.dump()[1].match == match(reg4=5, reg5=0, reg6=0, reg7=7)


def test_a_bundle_with_one_bad_flow_changes_nothing() -> None:
    switch = loaded(Flow(0, 1, (), (Output(2),)))
    bad = Flow(0, 7, (Term("tcp_dst", 80, 0xFFFF),), (Output(3),))
    with pytest.raises(FlowRefused, match="BAD_PREREQ"):
        switch.apply([Flow(0, 5, (), (Output(4),)), bad], deletes=switch.dump())
    assert ports(switch) == [2]


TCP_MATCH = match(**IPV4, ip_proto=6)
REFUSED: list[tuple[Flow, str]] = [
    (Flow(254, 1, (), ()), "BAD_TABLE_ID"),
    (Flow(0, 1 << 16, (), ()), "priority"),
    (Flow(0, 1, (Term("no_field", 1, 1),), ()), "BAD_FIELD"),
    (Flow(0, 1, match(ip_src=1), ()), "BAD_PREREQ"),
    (Flow(0, 1, match(ct_nw_proto=6, **IPV4), ()), "BAD_PREREQ"),
    (Flow(0, 1, match(ct_nw_src=1, ct_state=(CT_TRK | CT_NEW, 0x21), eth_type=0x86DD), ()), "INCONSISTENT"),
    (Flow(0, 1, (Term("in_port", 0, 1),), ()), "BAD_MASK"),
    (Flow(0, 1, (Term("reg0", 2, 1),), ()), "BAD_WILDCARDS"),
    (Flow(0, 1, (Term("in_port", 1 << 16, (1 << 32) - 1),), ()), "BAD_VALUE"),
    (Flow(0, 1, (Term("reg1", 2, 2), Term("xxreg0", 1, 1)), ()), "DUP_FIELD"),
    (Flow(0, 1, (Term("reg1", 0, 0),), ()), "BAD_MASK"),
    (Flow(0, 1, (), (Output(0xFF05),)), "BAD_OUT_PORT"),
    (Flow(0, 1, (), (Resubmit(255),)), "BAD_TABLE_ID"),
    (Flow(0, 1, (), (SetField("tcp_dst", 1),)), "INCONSISTENT"),
    (Flow(0, 1, TCP_MATCH, (SetField("tcp_dst", 3, 1),)), "BAD_SET_ARGUMENT"),
    (Flow(0, 1, match(**IPV4), (SetField("nw_ttl", 1, 1),)), "BAD_SET_MASK"),
    (Flow(0, 1, TCP_MATCH, (SetField("ip_proto", 17),)), "BAD_SET_ARGUMENT"),
    (Flow(0, 1, TCP_MATCH, (SetField("ct_mark", 17),)), "BAD_SET_ARGUMENT"),
    (Flow(0, 1, (), (Move("reg0", "ct_mark", 32),)), "BAD_SET_ARGUMENT"),
    (Flow(0, 1, (), (Move("reg0", "reg1", 8, 30),)), "BAD_ARGUMENT"),
    (Flow(0, 1, (), (Move("nothing", "reg1", 8),)), "no field"),
    (Flow(0, 1, (), (OutputField("tcp_dst"),)), "INCONSISTENT"),
    (Flow(0, 1, (), (Ct(1),)), "INCONSISTENT"),
    (Flow(0, 1, match(**IPV4, ct_state=(CT_TRK | CT_INV, 0x30)), (Ct(1, commit=True),)), "INCONSISTENT"),
    (Flow(0, 1, TCP_MATCH, (Ct(1 << 16),)), "zone"),
    (Flow(0, 1, TCP_MATCH, (Ct(1, table=254),)), "BAD_TABLE_ID"),
    (Flow(0, 1, TCP_MATCH, (Ct(1, nested=(SetField("ct_mark", 1),)),)), "commit"),
    (Flow(0, 1, TCP_MATCH, (Ct(1, commit=True, nested=(SetField("reg0", 1),)),)), "BAD_SET_ARGUMENT"),
    (Flow(0, 1, (), (Conjunction(1, 1, 1),)), "BAD_CONJUNCTION"),
    (Flow(0, 1, (), (Conjunction(1, 1, 2), Output(1))), "BAD_CONJUNCTION"),
    (Flow(0, 1, (), (Clone((SetField("tcp_dst", 1),)),)), "INCONSISTENT"),
    (Flow(0, 1, (), (Foreign(b"\0\1"),)), "BAD_TYPE"),
]


@pytest.mark.parametrize(("flow", "why"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_ovs_refuses_is_refused(flow: Flow, why: str) -> None:
    with pytest.raises(FlowRefused, match=why):
        new_switch().apply([flow])


def test_equal_priorities_that_a_packet_meets_are_reported() -> None:
    switch = loaded(
        Flow(0, 5, match(in_port=1), (Output(2),)),
        Flow(0, 5, match(**IPV4), (Output(3),)),
        Flow(0, 5, match(in_port=2), (Output(4),)),
        Flow(0, 5, match(eth_src=mac_int(B)), (Output(4),)),
    )
    assert ports(switch, Packet(A, B, b"", 0x88CC)) == [2]
    assert ports(switch, Packet(B, A, b"", 0x88CC), port=2) == [4]
    assert switch.ambiguities == []
    ports(switch)
    assert len(switch.ambiguities) == 1
    assert {flow.actions for flow in switch.ambiguities[0].flows} == {(Output(2),), (Output(3),)}


def test_a_packet_does_not_go_back_by_output_but_by_in_port() -> None:
    assert ports(loaded(Flow(0, 1, (), (Output(1), Output(2))))) == [2]
    assert ports(loaded(Flow(0, 1, (), (InPort(),)))) == [1]
    assert ports(loaded(Flow(0, 1, (), (SetField("in_port", 0), Output(1))))) == [1]


def test_a_port_that_is_not_there_gets_nothing() -> None:
    switch = loaded(Flow(0, 1, (), (Output(2), Output(77), Output(3))))
    switch.remove_port(2)
    assert ports(switch) == [3]


def test_a_register_says_where_to_send() -> None:
    actions = (SetField("reg3", 0x10002), OutputField("reg3"), SetField("reg3", 0xFFF8), OutputField("reg3"))
    assert ports(loaded(Flow(0, 1, (), actions))) == [2, 1]


def test_fields_are_set_whole_in_part_and_moved() -> None:
    actions = (
        SetField("ip_dst", 0x0B000000, 0xFF000000),
        Move("eth_src", "eth_dst", 48),
        Move("udp_src", "udp_dst", 8, 0, 8),
        SetField("nw_ttl", 9),
        Output(2),
    )
    [emission] = loaded(Flow(0, 1, match(**IPV4, ip_proto=17), actions)).receive(
        1, there(Udp(0x1234, 0x5678))
    )
    udp = Udp(0x1234, 0x3478)
    assert emission.packet == Packet(A, A, Ipv4(IP_A, Ip("11.0.0.2"), udp, ttl=9))


def test_each_copy_is_sent_as_it_is_at_that_moment() -> None:
    actions = (Output(2), SetField("vlan_tci", 0x1005), Output(3), SetField("vlan_tci", 0), Output(4))
    tags = [emission.packet.vlan for emission in loaded(Flow(0, 1, (), actions)).receive(1, UDP_THERE)]
    assert tags == [None, 5, None]


def test_what_a_clone_changes_does_not_last() -> None:
    inner = (SetField("eth_src", 5), SetField("reg0", 3), Output(2))
    switch = loaded(Flow(0, 1, (), (Clone(inner), OutputField("reg0"), Output(4))))
    emissions = switch.receive(1, UDP_THERE)
    assert [emission.port for emission in emissions] == [2, 4]
    assert [emission.packet.src for emission in emissions] == ["00:00:00:00:00:05", A]


def test_resubmit_comes_back() -> None:
    switch = loaded(
        Flow(0, 1, (), (Resubmit(1), Output(4))),
        Flow(1, 1, (), (SetField("eth_src", 7), Output(3))),
    )
    emissions = switch.receive(1, UDP_THERE)
    assert [(emission.port, emission.packet.src[-2:]) for emission in emissions] == [(3, "07"), (4, "07")]


def test_a_packet_that_goes_round_in_circles_is_dropped_and_counted() -> None:
    switch = loaded(Flow(0, 1, (), (Output(2), Resubmit(0))))
    assert ports(switch) == []
    assert switch.abandoned == 1


def test_the_controller_gets_the_packet_and_what_the_pipeline_knew() -> None:
    heard = []
    switch = loaded(
        Flow(3, 1, (), (Controller(b"why"),), cookie=8), Flow(0, 1, (), (SetField("reg2", 6), Resubmit(3)))
    )
    switch.on_packet_in = heard.append
    ports(switch)
    [packet_in] = switch.packet_ins
    assert heard == [packet_in]
    assert (packet_in.table, packet_in.cookie, packet_in.userdata) == (3, 8, b"why")
    assert packet_in.metadata == {"in_port": 1, "reg2": 6}
    assert packet_in.packet == UDP_THERE


def test_a_packet_that_is_put_out_takes_its_own_actions_and_leaves_none_of_them_behind() -> None:
    switch = loaded(
        Flow(0, 1, (), (Output(3),)), Flow(4, 1, match(reg4=8, in_port=CONTROLLER), (Output(2), Output(3)))
    )
    before = switch.dump()
    out = switch.packet_out(UDP_THERE.build(), (SetField("reg4", 8), Resubmit(4), Output(1)))
    assert [(emission.port, emission.packet) for emission in out] == [(port, UDP_THERE) for port in (2, 3, 1)]
    assert switch.dump() == before
    with pytest.raises(FlowRefused):
        switch.packet_out(UDP_THERE.build(), (Output(-1),))
    assert switch.dump() == before


def conjunctive(extra: tuple[Flow, ...] = ()) -> FakeSwitch:
    """(source A or B) and (UDP to 53, or TCP to 80), with two priorities around it."""
    sources = [match(**IPV4, ip_src=number) for number in (0x0A000001, 0x0A000002)]
    services: list[Match] = [match(**IPV4, ip_proto=17, udp_dst=53), match(**IPV4, ip_proto=6, tcp_dst=80)]
    flows = [Flow(0, 50, each, (Conjunction(7, 1, 2),)) for each in sources]
    flows += [Flow(0, 50, each, (Conjunction(7, 2, 2),)) for each in services]
    return loaded(*flows, Flow(0, 10, match(conj_id=7), (Output(2),)), Flow(0, 20, (), (Output(3),)), *extra)


def test_a_conjunction_matches_when_every_clause_does() -> None:
    switch = conjunctive()
    assert ports(switch) == [3]  # what conj_id leads to is looked up with the others: priority 20 is above 10
    switch.apply(deletes=[Flow(0, 20, (), ())])
    assert ports(switch) == [2]
    assert ports(switch, TCP_THERE) == [2]
    assert ports(switch, there(Udp(1, 54))) == []
    assert ports(switch, Packet(A, B, Ipv4(Ip("10.0.0.9"), IP_B, Udp(1, 53)))) == []


def test_a_conjunction_that_is_not_complete_falls_through() -> None:
    assert ports(conjunctive(), there(Udp(1, 54))) == [3]


def test_a_conjunction_competes_by_the_priority_of_its_clauses() -> None:
    above = conjunctive((Flow(0, 60, match(in_port=1), (Output(4),)),))
    assert ports(above) == [4]
    below = conjunctive((Flow(0, 40, match(in_port=1), (Output(4),)),))
    below.apply(deletes=[Flow(0, 20, (), ())])
    assert ports(below) == [4]  # found first by its clauses, then overruled where conj_id is looked up
    below.apply([Flow(0, 45, match(conj_id=7), (Output(2),))])
    assert ports(below) == [2]


def test_a_flow_may_be_a_clause_of_several_conjunctions() -> None:
    both = (Conjunction(1, 1, 2), Conjunction(2, 1, 2))
    switch = loaded(
        Flow(0, 50, match(in_port=1), both),
        Flow(0, 50, match(**IPV4, ip_proto=17), (Conjunction(1, 2, 2),)),
        Flow(0, 50, match(**IPV4, ip_proto=6), (Conjunction(2, 2, 2),)),
        Flow(0, 50, match(conj_id=1), (Output(2),)),
        Flow(0, 50, match(conj_id=2), (Output(3),)),
    )
    assert (ports(switch), ports(switch, TCP_THERE)) == ([2], [3])
    assert switch.ambiguities == []


def test_two_conjunctions_at_once_that_do_different_things_are_reported() -> None:
    switch = loaded(
        Flow(0, 50, match(in_port=1), (Conjunction(1, 1, 2), Conjunction(2, 1, 2))),
        Flow(0, 50, match(**IPV4), (Conjunction(1, 2, 2), Conjunction(2, 2, 2))),
        Flow(0, 50, match(conj_id=1), (Output(2),)),
        Flow(0, 50, match(conj_id=2), (Output(3),)),
    )
    assert ports(switch) in ([2], [3])
    assert len(switch.ambiguities) == 1


def test_an_arp_question_is_answered() -> None:
    match_question = match(eth_type=0x0806, arp_op=1, arp_tpa=0x0A000002)
    actions = (
        Move("eth_src", "eth_dst", 48),
        SetField("eth_src", mac_int(B)),
        SetField("arp_op", 2),
        Move("arp_sha", "arp_tha", 48),
        SetField("arp_sha", mac_int(B)),
        Move("arp_spa", "arp_tpa", 32),
        SetField("arp_spa", 0x0A000002),
        InPort(),
    )
    question = Packet(A, BROADCAST, Arp(1, A, IP_A, BROADCAST, IP_B))
    [emission] = loaded(Flow(0, 1, match_question, actions)).receive(1, question)
    assert (emission.port, emission.packet) == (1, Packet(B, A, Arp(2, B, IP_B, A, IP_A)))


def test_a_neighbour_solicitation_is_answered_with_right_checksums() -> None:
    ask = match(**ND_IN, icmpv6_type=SOLICIT, nd_options_type=1)
    answer = match(**ND_IN, icmpv6_type=ADVERT)
    switch = loaded(
        Flow(
            0,
            1,
            ask,
            (
                Move("eth_src", "eth_dst", 48),
                SetField("eth_src", mac_int(B)),
                Move("ipv6_src", "ipv6_dst", 128),
                Move("nd_target", "ipv6_src", 128),
                SetField("icmpv6_type", ADVERT),
                Resubmit(1),
            ),
        ),
        Flow(
            1,
            1,
            answer,
            (
                SetField("nd_options_type", 2),
                Move("eth_src", "nd_tll", 48),
                SetField("nd_reserved", 0x60000000),
                InPort(),
            ),
        ),
    )
    question = there6(Nd(SOLICIT, V6_B, source_mac=A))
    [emission] = switch.receive(1, question)
    advertisement = Nd(ADVERT, V6_B, target_mac=B, flags=0x60000000)
    assert emission.packet == Packet(B, A, Ipv6(V6_B, V6_A, advertisement, ttl=255))
    assert switch.out_of_bounds == 0


def test_an_option_type_set_where_no_option_is_gets_counted() -> None:
    flow = Flow(0, 1, match(**ND_IN, icmpv6_type=SOLICIT), (SetField("nd_options_type", 2), Output(2)))
    switch = loaded(flow)
    switch.receive(1, there6(Nd(SOLICIT, V6_B)))
    assert switch.out_of_bounds == 1


def test_a_cut_arp_message_keeps_its_length() -> None:
    frame = Packet(A, BROADCAST, Arp(1, A, IP_A, BROADCAST, IP_B)).build()[:25]
    switch = loaded(
        Flow(0, 1, match(eth_type=0x0806), (SetField("arp_op", 2), SetField("arp_sha", 5), Output(2)))
    )
    [emission] = switch.receive(1, frame)
    assert emission.frame == frame[:20] + b"\0\2" + bytes(3)
    assert switch.out_of_bounds == 1


def test_a_tunnel_carries_key_addresses_and_option() -> None:
    actions = (
        SetField("tun_dst", PEER_IP),
        SetField("tun_id", 77),
        SetField("tun_metadata0", 5),
        Output(TUNNEL),
    )
    assert loaded(Flow(0, 1, (), actions)).receive(1, UDP_THERE) == [
        Emission(TUNNEL, UDP_THERE.build(), Tunnel(77, LOCAL_IP, PEER_IP, 5))
    ]


def test_what_a_tunnel_header_says_can_be_matched() -> None:
    switch = loaded(
        Flow(0, 2, match(tun_id=7, tun_src=PEER_IP, tun_metadata0=0), (Output(2),)),
        Flow(0, 1, match(tun_dst=LOCAL_IP), (Output(3),)),
    )
    given = [Tunnel(7, PEER_IP, LOCAL_IP, option) for option in (0, 1, None)]
    assert [switch.receive(TUNNEL, UDP_THERE, tunnel)[0].port for tunnel in given] == [2, 3, 3]


def test_a_tunnel_needs_a_destination_and_never_leads_back_to_the_sender() -> None:
    assert loaded(Flow(0, 1, (), (Output(TUNNEL),))).receive(1, UDP_THERE) == []
    assert loaded(Flow(0, 1, (), (InPort(),))).receive(TUNNEL, UDP_THERE, Tunnel(7, PEER_IP, LOCAL_IP)) == []


def test_fragments_are_marked_and_have_no_ports() -> None:
    whole, first, later = (
        there(Udp(1, 53)),
        there(bytes(8), proto=17, more=True),
        there(bytes(8), proto=17, fragment=1),
    )
    switch = loaded(
        Flow(0, 3, match(**IPV4, ip_proto=17, udp_dst=53), (Output(2),)),
        Flow(0, 2, match(**IPV4, ip_frag=3), (Output(4),)),
        Flow(0, 1, match(**IPV4, ip_frag=(1, 1)), (Output(3),)),
    )
    assert [ports(switch, packet) for packet in (whole, first, later)] == [[2], [3], [4]]


def test_damaged_frames_are_carried_as_they_are() -> None:
    frames = [UDP_THERE.build()[:length] for length in (14, 20, 34, 38)]
    switch = loaded(Flow(0, 1, (), (SetField("eth_src", 1), Output(2))))
    for frame in frames:
        [emission] = switch.receive(1, frame)
        assert emission.frame == frame[:6] + bytes(5) + b"\1" + frame[12:]


def test_icmp_type_and_code_can_be_changed() -> None:
    flow = Flow(0, 1, match(**IPV4, ip_proto=1, icmp_type=8), (SetField("icmp_type", 0), Output(2)))
    [emission] = loaded(flow).receive(1, there(Icmp(8, 0, 7, b"ping")))
    assert emission.packet == there(Icmp(0, 0, 7, b"ping"))


def test_a_cleared_switch_has_lost_everything() -> None:
    switch = loaded(Flow(0, 1, match(**IPV4), (Ct(1, commit=True), Output(2))))
    ports(switch)
    assert len(switch.conntrack.connections()) == 1
    switch.clear()
    assert (switch.dump(), switch.conntrack.connections(), ports(switch)) == ([], [], [])
