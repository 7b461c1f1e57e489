# SPDX-License-Identifier: Apache-2.0
"""Connections through the fake switch: what ct_state and the original tuple say of each packet, packet by packet."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from alcor.base.net import ip_int
from alcor.dataplane.values import (
    CT_EST,
    CT_INV,
    CT_NEW,
    CT_REL,
    CT_RPL,
    CT_TRK,
    Controller,
    Ct,
    Flow,
    Move,
    Output,
    Resubmit,
    SetField,
    match,
)
from alcor.testing.fake_switch import FakeSwitch
from alcor.testing.packet import ACK, FIN, PSH, RST, SYN, Icmp, Ipv4, Ipv6, Packet, Tcp, Transport, Udp
from tests.testing.kit import (
    IP_A,
    IP_B,
    TCP_THERE,
    UDP_BACK,
    UDP_THERE,
    V6_A,
    V6_B,
    A,
    B,
    StillClock,
    back,
    new_switch,
    there,
    there6,
)

NEW, INVALID = CT_TRK | CT_NEW, CT_TRK | CT_INV
ESTABLISHED, REPLY = CT_TRK | CT_EST, CT_TRK | CT_EST | CT_RPL
RELATED = CT_TRK | CT_REL
IPV4, IPV6 = match(eth_type=0x0800), match(eth_type=0x86DD)
TELL = (Move("ct_state", "reg0", 32), Controller())


def tracker(*, commits: bool = True, clock: StillClock | None = None) -> FakeSwitch:
    """Sends IP through ct, tells the controller what ct_state says, and commits what is new where asked to."""
    switch = new_switch(clock)
    for kind in (IPV4, IPV6):
        is_new = match(eth_type=kind[0].value, ct_state=(NEW, NEW))
        commit = (Ct(5, commit=True),) if commits else ()
        switch.apply(
            [
                Flow(0, 1, kind, (Ct(5, table=1),)),
                Flow(1, 2, is_new, (*TELL, *commit)),
                Flow(1, 1, kind, TELL),
            ]
        )
    return switch


def states(switch: FakeSwitch, packets: Sequence[Packet]) -> list[int]:
    """ct_state of each packet."""
    switch.packet_ins.clear()
    for packet in packets:
        switch.receive(1, packet)
    return [each.metadata["reg0"] for each in switch.packet_ins]


def test_udp_is_new_until_it_is_answered() -> None:
    switch = tracker()
    assert states(switch, [UDP_THERE, UDP_THERE, UDP_BACK, UDP_THERE, UDP_BACK]) == [
        NEW,
        NEW,
        REPLY,
        ESTABLISHED,
        REPLY,
    ]


def test_nothing_is_remembered_without_commit() -> None:
    switch = tracker(commits=False)
    assert states(switch, [UDP_THERE, UDP_BACK, UDP_THERE]) == [NEW, NEW, NEW]
    assert switch.conntrack.connections() == []


def test_a_tcp_connection_is_opened_used_and_closed() -> None:
    switch = tracker()
    life = [
        (there(Tcp(1000, 80, 10)), NEW),
        (back(Tcp(80, 1000, 50, 11, SYN | ACK)), REPLY),
        (there(Tcp(1000, 80, 11, 51, ACK)), ESTABLISHED),
        (there(Tcp(1000, 80, 11, 51, ACK | PSH, payload=b"hello")), ESTABLISHED),
        (back(Tcp(80, 1000, 51, 16, ACK)), REPLY),
        (there(Tcp(1000, 80, 16, 51, ACK | FIN)), ESTABLISHED),
        (back(Tcp(80, 1000, 51, 17, ACK | FIN)), REPLY),
        (there(Tcp(1000, 80, 17, 52, ACK)), ESTABLISHED),
        (there(Tcp(1000, 80, 900, flags=SYN)), NEW),
    ]
    assert states(switch, [packet for packet, _ in life]) == [state for _, state in life]


def test_a_segment_outside_the_window_is_invalid() -> None:
    switch = tracker()
    opened = [
        there(Tcp(1000, 80, 10)),
        back(Tcp(80, 1000, 50, 11, SYN | ACK)),
        there(Tcp(1000, 80, 11, 51, ACK)),
    ]
    states(switch, opened)
    far = there(Tcp(1000, 80, 11 + (1 << 30), 51, ACK | PSH, payload=b"x"))
    assert states(switch, [far]) == [INVALID]


def test_a_stream_is_picked_up_in_its_middle_and_its_sender_is_the_origin() -> None:
    switch = tracker()
    assert states(switch, [back(Tcp(80, 1000, 500, 900, ACK)), there(Tcp(1000, 80, 900, 500, ACK))]) == [
        NEW,
        REPLY,
    ]


@pytest.mark.parametrize("flags", [SYN | ACK, SYN | FIN, SYN | RST, 0, FIN, PSH])
def test_what_cannot_open_a_connection_is_invalid(flags: int) -> None:
    assert states(tracker(), [there(Tcp(1000, 80, 10, flags=flags))]) == [INVALID]


def test_a_reset_ends_a_connection_within_the_closed_timeout() -> None:
    clock = StillClock()
    switch = tracker(clock=clock)
    opened = [
        there(Tcp(1000, 80, 10)),
        back(Tcp(80, 1000, 50, 11, SYN | ACK)),
        there(Tcp(1000, 80, 11, 51, ACK)),
    ]
    states(switch, opened)
    clock.at_s += 3600
    assert len(switch.conntrack.connections()) == 1
    assert states(switch, [back(Tcp(80, 1000, 51, 11, RST | ACK))]) == [REPLY]
    clock.at_s += 29
    assert len(switch.conntrack.connections()) == 1
    clock.at_s += 2
    assert switch.conntrack.connections() == []


def test_window_scaling_is_agreed_upon() -> None:
    switch = tracker()
    scale = b"\x01\x03\x03\x07"
    packets = [
        there(Tcp(1000, 80, 10, window=65535, options=scale)),
        back(Tcp(80, 1000, 50, 11, SYN | ACK, window=65535, options=scale)),
        there(Tcp(1000, 80, 11, 51, ACK, window=512)),
        back(Tcp(80, 1000, 51 + 60000, 11, ACK, payload=b"far ahead")),
    ]
    assert states(switch, packets) == [NEW, REPLY, ESTABLISHED, REPLY]
    refused = tracker()
    packets[1] = back(Tcp(80, 1000, 50, 11, SYN | ACK, window=65535))
    assert states(refused, packets[:3]) == [NEW, REPLY, ESTABLISHED]
    assert states(refused, [back(Tcp(80, 1000, 51 + 80000, 11, ACK, payload=b"too far"))]) == [INVALID]


def test_an_echo_is_known_by_its_number() -> None:
    switch = tracker()
    ask, answer = there(Icmp(8, 0, 7 << 16)), back(Icmp(0, 0, 7 << 16))
    other = back(Icmp(0, 0, 8 << 16))
    assert states(switch, [ask, ask, answer, ask, other]) == [NEW, NEW, REPLY, ESTABLISHED, INVALID]


def test_an_ipv6_echo_is_known_by_its_number() -> None:
    switch = tracker()
    answer = Packet(B, A, Ipv6(V6_B, V6_A, Icmp(129, 0, 7 << 16)))
    assert states(switch, [there6(Icmp(128, 0, 7 << 16)), answer]) == [NEW, REPLY]
    assert states(switch, [there6(Icmp(133))]) == [INVALID]


def quoting(packet: Packet, length: int = 200) -> bytes:
    return packet.build()[14 : 14 + length]


def test_an_icmp_error_is_related_to_what_it_quotes() -> None:
    switch = tracker()
    states(switch, [UDP_THERE])
    about_request, about_answer = Icmp(3, 3, 0, quoting(UDP_THERE, 28)), Icmp(11, 0, 0, quoting(UDP_BACK))
    assert states(switch, [back(about_request), there(about_answer)]) == [RELATED | CT_RPL, RELATED]
    assert states(switch, [back(Icmp(3, 3, 0, quoting(TCP_THERE)))]) == [INVALID]
    forged = Packet(B, A, Ipv4(IP_B, IP_B, about_request))
    assert states(switch, [forged]) == [INVALID]


def test_an_icmpv6_error_is_related_to_what_it_quotes() -> None:
    switch = tracker()
    question = there6(Udp(5000, 53, b"question"))
    error = Packet(B, A, Ipv6(V6_B, V6_A, Icmp(1, 4, 0, quoting(question))))
    assert states(switch, [question, error]) == [NEW, RELATED | CT_RPL]


def test_other_protocols_are_connections_of_addresses() -> None:
    gre_there, gre_back = there(b"gre", proto=47), Packet(B, A, Ipv4(IP_B, IP_A, b"gre", proto=47))
    assert states(tracker(), [gre_there, gre_back, gre_there]) == [NEW, REPLY, ESTABLISHED]


@pytest.mark.parametrize("place", [24, 41, 44])
def test_a_wrong_checksum_is_invalid(place: int) -> None:
    frame = bytearray(UDP_THERE.build())
    frame[place] ^= 1
    switch = tracker()
    switch.receive(1, bytes(frame))
    assert switch.packet_ins[0].metadata["reg0"] == INVALID


@pytest.mark.parametrize("payload", [Udp(0, 53), Tcp(1000, 0), Icmp(0), Icmp(8, 1), Icmp(42)])
def test_nonsense_is_invalid(payload: Transport) -> None:
    assert states(tracker(), [there(payload)]) == [INVALID]


def in_pieces(packet: Packet, size: int = 1208) -> list[Packet]:
    """The datagram of the packet in fragments of `size` bytes."""
    ip = packet.payload
    assert isinstance(ip, Ipv4 | Ipv6)
    frame, header = packet.build(), 34 if isinstance(ip, Ipv4) else 54
    proto, body = frame[23 if isinstance(ip, Ipv4) else 20], frame[header:]
    pieces = []
    for at in range(0, len(body), size):
        piece, more = body[at : at + size], at + size < len(body)
        if isinstance(ip, Ipv4):
            part: Ipv4 | Ipv6 = replace(ip, payload=piece, proto=proto, fragment=at // 8, more=more, ident=7)
        else:
            extension = bytes([proto, 0]) + (at | more).to_bytes(2, "big") + bytes(3) + b"\7"
            part = replace(ip, payload=piece, proto=proto, extensions=extension, first=44)
        pieces.append(replace(packet, payload=part))
    return pieces


BIG, BIG6 = there(Udp(5000, 53, bytes(3000))), there6(Udp(5000, 53, bytes(3000)))


@pytest.mark.parametrize("packet", [BIG, BIG6])
def test_fragments_wait_for_the_last_and_are_judged_as_one_datagram(packet: Packet) -> None:
    switch = tracker()
    first, second, third = in_pieces(packet, 1240)
    assert states(switch, [third]) == []
    assert switch.fragments_waiting == 1
    assert states(switch, [first]) == []
    assert states(switch, [second]) == [NEW, NEW, NEW]
    assert [each.packet for each in switch.packet_ins] == [first, second, third]
    assert switch.fragments_waiting == 0
    assert len(switch.conntrack.connections()) == 1


def test_only_the_first_fragment_tells_the_ports_of_its_connection() -> None:
    """So a rule about ports, judged by ct_tp_dst, does not let the later fragments through: OVS is like that."""
    to_dns = match(eth_type=0x0800, ct_state=(CT_TRK, CT_TRK | CT_INV), ct_nw_proto=17, ct_tp_dst=53)
    switch = new_switch()
    switch.apply(
        [Flow(0, 1, IPV4, (Ct(1, table=1),)), Flow(1, 2, to_dns, (Output(2),)), Flow(1, 1, (), (Output(3),))]
    )
    assert [each.port for packet in in_pieces(BIG) for each in switch.receive(1, packet)] == [2, 3, 3]


def test_a_fragment_that_overlaps_or_is_too_small_is_invalid() -> None:
    switch = tracker()
    first, second, _ = in_pieces(BIG)
    assert states(switch, [first, first, second, second]) == [INVALID, INVALID]
    assert states(switch, [there(bytes(8), proto=17, more=True)]) == [INVALID]
    frame = bytearray(in_pieces(BIG)[2].build())
    frame[24] ^= 1  # the header's checksum
    switch.receive(1, bytes(frame))
    assert switch.packet_ins[-1].metadata["reg0"] == INVALID


def test_fragments_that_wait_too_long_are_forgotten() -> None:
    clock = StillClock()
    switch = tracker(clock=clock)
    first, second, third = in_pieces(BIG)
    assert states(switch, [first, second]) == []
    clock.at_s += 16
    assert switch.fragments_waiting == 0
    assert states(switch, [third]) == []
    assert states(switch, [first, second]) == [NEW, NEW, NEW]


def test_zones_know_nothing_of_each_other_and_are_flushed_alone() -> None:
    switch = new_switch()
    both = [Flow(0, 1, match(eth_type=0x0800, in_port=port), (Ct(port, commit=True),)) for port in (1, 2)]
    switch.apply(both)
    for port in (1, 2):
        switch.receive(port, UDP_THERE)
    assert [len(switch.conntrack.connections(zone)) for zone in (1, 2, 3)] == [1, 1, 0]
    switch.conntrack.flush(1)
    assert [len(switch.conntrack.connections(zone)) for zone in (1, 2)] == [0, 1]


def test_a_register_names_the_zone_by_its_low_16_bits() -> None:
    switch = new_switch()
    switch.apply([Flow(0, 1, IPV4, (SetField("reg5", 0x30007), Ct("reg5", commit=True)))])
    switch.receive(1, UDP_THERE)
    assert len(switch.conntrack.connections(7)) == 1


@pytest.mark.parametrize(
    ("packets", "lasts_s"),
    [
        ([UDP_THERE], 60),
        ([UDP_THERE, UDP_BACK], 30),
        ([there(Icmp(8))], 60),
        ([there(Icmp(8)), back(Icmp(0))], 30),
        ([TCP_THERE], 30),
    ],
)
def test_a_connection_is_forgotten_after_its_rest(packets: list[Packet], lasts_s: int) -> None:
    clock = StillClock()
    switch = tracker(clock=clock)
    states(switch, packets)
    clock.at_s += lasts_s - 1
    assert len(switch.conntrack.connections()) == 1
    clock.at_s += 2
    assert switch.conntrack.connections() == []
    assert states(switch, packets[:1]) == [NEW]


def test_a_mark_is_kept_by_the_connection_and_changed_in_part() -> None:
    switch = new_switch()
    marks = (
        Ct(1, commit=True, nested=(SetField("ct_mark", 0x12345678),)),
        Ct(1, commit=True, nested=(SetField("ct_mark", 0xFF, 0xFF),)),
        Ct(1, table=1),
    )
    switch.apply([Flow(0, 1, IPV4, marks), Flow(1, 1, match(ct_mark=0x123456FF), (Output(2),))])
    assert [emission.port for emission in switch.receive(1, UDP_THERE)] == [2]
    assert [each.mark for each in switch.conntrack.connections()] == [0x123456FF]


def test_every_packet_tells_the_original_tuple() -> None:
    asked = {"eth_type": 0x0800, "ct_state": (CT_TRK, CT_TRK | CT_INV)}
    original = match(
        **asked, ct_nw_src=0x0A000001, ct_nw_dst=0x0A000002, ct_nw_proto=17, ct_tp_src=5000, ct_tp_dst=53
    )
    switch = new_switch()
    switch.apply(
        [
            Flow(0, 1, IPV4, (Ct(1, table=1),)),
            Flow(1, 2, original, (Output(2), Ct(1, commit=True))),
            Flow(1, 1, (), (Output(3),)),
        ]
    )
    error = back(Icmp(3, 3, 0, quoting(UDP_THERE)))
    packets = [UDP_THERE, UDP_BACK, error, there(Udp(5001, 53))]
    assert [[each.port for each in switch.receive(1, packet)] for packet in packets] == [[2], [2], [2], [3]]


def test_an_echo_tells_type_and_code_as_ports() -> None:
    ask = match(
        eth_type=0x86DD, ct_state=(CT_TRK, CT_TRK | CT_INV), ct_nw_proto=58, ct_tp_src=128, ct_tp_dst=0
    )
    switch = new_switch()
    switch.apply([Flow(0, 1, IPV6, (Ct(1, table=1),)), Flow(1, 1, ask, (Output(2), Ct(1, commit=True)))])
    answer = Packet(B, A, Ipv6(V6_B, V6_A, Icmp(129, 0, 3)))
    assert [len(switch.receive(1, packet)) for packet in (there6(Icmp(128, 0, 3)), answer)] == [1, 1]


def test_ct_goes_on_in_its_table_and_in_its_flow_and_the_flow_knows_nothing_of_it() -> None:
    switch = new_switch()
    switch.apply(
        [
            Flow(0, 1, IPV4, (SetField("reg1", 4), Ct(1, table=1), Resubmit(2))),
            Flow(1, 1, match(reg1=4, ct_state=(NEW, NEW)), (Output(2),)),
            Flow(2, 1, match(ct_state=0), (Output(3),)),
        ]
    )
    assert [emission.port for emission in switch.receive(1, UDP_THERE)] == [2, 3]


def test_recirculation_has_an_end() -> None:
    switch = new_switch()
    switch.apply([Flow(0, 1, IPV4, (Output(2), Ct(1, table=0)))])
    assert len(switch.receive(1, UDP_THERE)) == 7


def test_what_is_changed_before_ct_is_what_is_tracked() -> None:
    switch = new_switch()
    changed = match(eth_type=0x0800, ip_proto=17)
    switch.apply(
        [Flow(0, 1, changed, (SetField("ip_dst", 0x0B000001), SetField("udp_dst", 99), Ct(1, commit=True)))]
    )
    switch.receive(1, UDP_THERE)
    [connection] = switch.conntrack.connections()
    assert (connection.key.dst.address, connection.key.dst.port) == (0x0B000001, 99)
    assert connection.key.src.address == ip_int(IP_A)
