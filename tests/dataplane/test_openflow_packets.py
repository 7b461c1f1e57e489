# SPDX-License-Identifier: Apache-2.0
"""What the pipeline relies on in Open vSwitch's actions, shown by packets: responders, flooding, tunnels."""

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from alcor.dataplane.values import (
    CT_NEW,
    CT_TRK,
    Action,
    Clone,
    Ct,
    Flow,
    InPort,
    Move,
    Output,
    OutputField,
    Resubmit,
    SetField,
    match,
)
from tests.dataplane import frames
from tests.dataplane.bridge import GENEVE, TUNNEL_IP, VXLAN, Bridge, drain
from tests.dataplane.frames import Path

pytestmark = pytest.mark.ovs
PATH = Path("10.0.0.1", "10.0.0.2")
PATH6 = Path("fd00::1", "fd00::2")
OWNER = int.from_bytes(frames.mac(2), "big")  # of the addresses that are answered for
TO_SENDER = (Move("eth_src", "eth_dst", 48), SetField("eth_src", OWNER))


@pytest.fixture(scope="module")
def far(bridge: Bridge) -> Iterator[socket.socket]:
    """The network between hosts, and `tun_metadata0` standing for a Geneve option."""
    end = bridge.with_tunnels()
    bridge.ofctl("add-tlv-map", "{class=0xffff,type=0x41,len=4}->tun_metadata0")
    yield end
    end.close()


def test_arp_is_answered_by_flows(bridge: Bridge) -> None:
    address = frames.number("10.0.0.2")
    answer: tuple[Action, ...] = (*TO_SENDER, SetField("arp_op", 2), Move("arp_sha", "arp_tha", 48))
    answer += (
        SetField("arp_sha", OWNER),
        Move("arp_spa", "arp_tpa", 32),
        SetField("arp_spa", address),
        InPort(),
    )
    assert bridge.program(Flow(0, 1, match(eth_type=0x806, arp_op=1, arp_tpa=address), answer)) == []
    assert bridge.send(1, frames.arp(PATH)) == {1: [frames.arp(PATH.back(), 2)]}
    assert bridge.send(1, frames.arp(Path("10.0.0.1", "10.0.0.3"))) == {}


def neighbour_flows() -> list[Flow]:
    """Two tables: what only advertisements have may only be set where the match says that it is one."""
    wanted = frames.number("fd00::2")
    kind = {"eth_type": 0x86DD, "ip_proto": 58, "icmpv6_code": 0}
    turn: tuple[Action, ...] = (*TO_SENDER, Move("ipv6_src", "ipv6_dst", 128), SetField("ipv6_src", wanted))
    turn += (SetField("icmpv6_type", 136), Resubmit(1))
    tell: tuple[Action, ...] = (SetField("nd_options_type", 2), Move("eth_src", "nd_tll", 48))
    tell += (SetField("nd_reserved", 0x60000000), SetField("nw_ttl", 255), InPort())
    return [
        Flow(0, 1, match(**kind, icmpv6_type=135, nd_target=wanted), turn),
        Flow(1, 1, match(**kind, icmpv6_type=136), tell),
    ]


def test_a_neighbour_solicitation_is_answered_by_flows_with_a_right_checksum(bridge: Bridge) -> None:
    assert bridge.program(*neighbour_flows()) == []
    (advert,) = bridge.send(1, frames.solicitation(PATH6, "fd00::2"))[1]
    solicited_override = struct.pack("!I", 0x60000000)
    option = b"\x02\x01" + frames.mac(2)
    body = solicited_override + frames.packed("fd00::2") + option
    assert advert == frames.icmp(PATH6.back(), 136, 0, body, ttl=255)
    assert bridge.send(1, frames.solicitation(PATH6, "fd00::3")) == {}


def test_a_solicitation_without_an_option_is_answered_without_one(bridge: Bridge) -> None:
    """Open vSwitch adds no option: who needs the MAC must have given its own, as Linux does."""
    assert bridge.program(*neighbour_flows()) == []
    (advert,) = bridge.send(1, frames.icmp(PATH6, 135, 0, bytes(4) + frames.packed("fd00::2"), ttl=255))[1]
    assert len(advert) == 14 + 40 + 24


def test_what_an_advertisement_has_cannot_be_set_in_the_table_that_turns_it(bridge: Bridge) -> None:
    kind = match(eth_type=0x86DD, ip_proto=58, icmpv6_type=135, icmpv6_code=0)
    unfit = Flow(0, 1, kind, (SetField("icmpv6_type", 136), SetField("nd_tll", 1)))
    (failure,) = bridge.program(unfit)
    assert "OFPBAC_MATCH_INCONSISTENT" in failure.reason


def test_what_a_clone_changes_does_not_last(bridge: Bridge) -> None:
    changed = Clone((SetField("reg0", 9), SetField("eth_src", OWNER), Resubmit(1)))
    flows = [
        Flow(0, 1, match(in_port=1), (SetField("reg0", 1), changed, Resubmit(1))),
        Flow(1, 1, match(reg0=9), (Output(2), Output(3))),
        Flow(1, 1, match(reg0=1), (Output(2),)),
    ]
    assert bridge.program(*flows) == []
    frame = frames.udp(PATH, (1, 2))
    copy = frame[:6] + frames.mac(2) + frame[12:]
    assert bridge.send(1, frame) == {2: [copy, frame], 3: [copy]}


def test_each_clone_has_its_own_connection_tracking(bridge: Bridge) -> None:
    new = match(eth_type=0x800, ct_state=(CT_TRK | CT_NEW, CT_TRK | CT_NEW))
    flows = [
        Flow(
            0, 1, match(eth_type=0x800, in_port=1), (Clone((Ct(7001, table=1),)), Clone((Ct(7002, table=2),)))
        ),
        Flow(1, 1, new, (Ct(7001, commit=True), Output(2))),
        Flow(2, 1, new, (Ct(7002, commit=True), Output(3))),
    ]
    assert bridge.program(*flows) == []
    frame = frames.udp(PATH, (1, 2))
    assert bridge.send(1, frame) == {2: [frame], 3: [frame]}


def test_a_thousand_copies_leave_by_one_flow(bridge: Bridge) -> None:
    flood = Flow(0, 1, match(in_port=1), tuple(Clone((Resubmit(1),)) for _ in range(1000)))
    assert bridge.program(flood, Flow(1, 1, (), (Output(2),))) == []
    assert len(bridge.send(1, frames.udp(PATH, (1, 2)))[2]) == 1000


def test_a_packet_goes_back_only_by_inport_or_when_its_port_is_forgotten(bridge: Bridge) -> None:
    frame = frames.udp(PATH, (1, 2))
    for actions, ports in (
        ((Output(1), Output(2)), {2}),
        ((InPort(), Output(2)), {1, 2}),
        ((SetField("in_port", 0), Output(1), Output(2)), {1, 2}),
        ((SetField("in_port", 0), Resubmit(1)), {3}),
    ):
        later = (Flow(1, 2, match(in_port=1), (Output(2),)), Flow(1, 1, (), (Output(3),)))
        assert bridge.program(Flow(0, 1, match(in_port=1), actions), *later) == []
        assert set(bridge.send(1, frame)) == ports


def test_registers_carry_fields_between_tables(bridge: Bridge) -> None:
    moves = (Move("in_port", "reg1", 16), Move("eth_src", "xxreg1", 48, 0, 64), Move("reg1", "reg7", 4))
    flows = [
        Flow(0, 1, match(in_port=2), (*moves, SetField("reg7", 0x10000, 0xFFFF0000), Resubmit(1))),
        Flow(
            1,
            1,
            match(reg1=2, xxreg1=(OWNER - 1 << 64, ((1 << 48) - 1) << 64)),
            (SetField("reg7", 3, 0xF), OutputField("reg7")),
        ),
    ]
    assert bridge.program(*flows) == []
    frame = frames.udp(PATH, (1, 2))
    assert bridge.send(2, frame) == {3: [frame]}


def outside(bridge: Bridge, far: socket.socket, frame: bytes) -> list[bytes]:
    """The IPv4 packets that leave the host when `frame` comes in by port 1."""
    drain(far)
    bridge.send(1, frame)
    return [packet[14:] for packet in drain(far) if packet[12:14] == b"\x08\x00"]


def test_one_flow_sends_copies_to_several_hosts(bridge: Bridge, far: socket.socket) -> None:
    hosts = [frames.number(f"10.99.0.{last}") for last in (2, 3)]
    copies: tuple[Action, ...] = (SetField("tun_id", 5001), SetField("tun_dst", hosts[0]), Output(VXLAN))
    copies += (SetField("tun_dst", hosts[1]), Output(VXLAN), Output(2))
    assert bridge.program(Flow(0, 1, match(in_port=1), copies)) == []
    frame = frames.udp(PATH, (1, 2))
    packets = outside(bridge, far, frame)
    assert [int.from_bytes(packet[16:20], "big") for packet in packets] == hosts
    for packet in packets:
        assert packet[12:16] == frames.packed(TUNNEL_IP)
        assert struct.unpack("!H", packet[22:24]) == (4789,)
        assert packet[28:36] == struct.pack("!II", 0x08000000, 5001 << 8)
        assert packet[36:] == frame


def geneve(network: int, option: bytes) -> bytes:
    """A Geneve header (RFC 8926) around Ethernet."""
    return struct.pack("!BBHI", len(option) // 4, 0, 0x6558, network << 8) + option


def test_a_register_travels_in_a_geneve_option(bridge: Bridge, far: socket.socket) -> None:
    actions: tuple[Action, ...] = (SetField("reg4", 0x11223344), SetField("tun_id", 5002))
    actions += (SetField("tun_dst", frames.number("10.99.0.2")), Move("reg4", "tun_metadata0", 32))
    actions += (SetField("reg7", GENEVE), OutputField("reg7"))
    assert bridge.program(Flow(0, 1, match(in_port=1), actions)) == []
    frame = frames.udp(PATH, (1, 2))
    (packet,) = outside(bridge, far, frame)
    option = bytes.fromhex("ffff4101 11223344")
    assert struct.unpack("!H", packet[22:24]) == (6081,)
    assert packet[28:] == geneve(5002, option) + frame


def arrive(bridge: Bridge, far: socket.socket, port: int, content: bytes) -> list[int]:
    """By which ports a packet leaves that comes from host 10.99.0.2 to this UDP port."""
    link = bridge.vsctl("get", "interface", "br-phy", "mac_in_use").strip().strip('"')
    outer = frames.udp_datagram(path := Path("10.99.0.2", TUNNEL_IP), (12345, port), content)
    packet = bytes.fromhex(link.replace(":", "")) + frames.ip(path, 17, outer)[6:]
    for end in bridge.sockets.values():
        drain(end)
    far.send(packet)
    deadline = time.monotonic() + 2
    came: list[int] = []
    while not came and time.monotonic() < deadline:
        time.sleep(0.02)
        came = [number for number, end in bridge.sockets.items() if drain(end)]
    return came


def test_what_arrives_by_a_tunnel_is_matched_by_network_host_and_option(
    bridge: Bridge, far: socket.socket
) -> None:
    frame = frames.udp(PATH, (1, 2))
    sender = frames.number("10.99.0.2")
    flows = [
        Flow(
            0,
            2,
            match(in_port=VXLAN, tun_id=5001, tun_src=sender, tun_dst=frames.number(TUNNEL_IP)),
            (Output(1),),
        ),
        Flow(0, 2, match(in_port=GENEVE, tun_id=5001, tun_metadata0=0x11223344), (Output(2),)),
        Flow(0, 1, match(in_port=GENEVE), (Move("tun_metadata0", "reg3", 32), Resubmit(1))),
        Flow(1, 1, match(reg3=0), (Output(3),)),
    ]
    assert bridge.program(*flows) == []
    assert arrive(bridge, far, 4789, struct.pack("!II", 0x08000000, 5001 << 8) + frame) == [1]
    assert arrive(bridge, far, 6081, geneve(5001, bytes.fromhex("ffff4101 11223344")) + frame) == [2]
    assert arrive(bridge, far, 6081, geneve(5001, b"") + frame) == [3]


def test_one_packet_reaches_about_780_hosts_and_no_more(bridge: Bridge, far: socket.socket) -> None:
    """The datapath takes 65,535 bytes of actions for one packet and silently leaves out the rest."""
    sent = {}
    for hosts in (700, 1000):
        copies: list[Action] = [SetField("tun_id", 1)]
        for number in range(hosts):
            copies += [SetField("tun_dst", frames.number("10.99.0.2") + number % 2), Output(VXLAN)]
        assert bridge.program(Flow(0, 1, match(in_port=1), tuple(copies))) == []
        sent[hosts] = len(outside(bridge, far, frames.udp(PATH, (1, 2))))
    assert sent[700] == 700
    assert 700 < sent[1000] < 1000
