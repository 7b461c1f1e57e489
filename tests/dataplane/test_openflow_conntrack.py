# SPDX-License-Identifier: Apache-2.0
"""What the pipeline relies on in Open vSwitch's connection tracking, shown by packets.

Every packet of a connection is judged by the tuple with which the connection began.
"""

import struct
from itertools import count

import pytest

from alcor.dataplane.values import (
    CT_EST,
    CT_INV,
    CT_NEW,
    CT_TRK,
    Action,
    Ct,
    Flow,
    Match,
    Output,
    Resubmit,
    SetField,
    match,
)
from tests.dataplane import frames
from tests.dataplane.bridge import Bridge
from tests.dataplane.frames import ACK, SYN, Path

pytestmark = pytest.mark.ovs
IPV4 = Path("10.0.0.1", "10.0.0.2")
IPV6 = Path("fd00::1", "fd00::2")
FAMILIES = pytest.mark.parametrize("path", [IPV4, IPV6], ids=["ipv4", "ipv6"])
TRACKED = {"ct_state": (CT_TRK, CT_TRK | CT_INV)}
NEW = {"ct_state": (CT_TRK | CT_NEW, CT_TRK | CT_NEW)}
INVALID = {"ct_state": (CT_TRK | CT_INV, CT_TRK | CT_INV)}
TABLE_IN, TABLE_JUDGE, TABLE_OUT = 0, 1, 2
ZONES = count(1)
IDENTS = count(1)
TOWARDS = (
    Flow(TABLE_OUT, 1, match(in_port=1), (Output(2),)),
    Flow(TABLE_OUT, 1, match(in_port=2), (Output(1),)),
)
BY_ZONE: tuple[Action, ...] = (Ct("reg5", table=TABLE_JUDGE),)


def tracking(zone: int) -> list[Flow]:
    """Everything goes through conntrack in a zone that a register names."""
    actions = (SetField("reg5", zone), *BY_ZONE)
    return [Flow(TABLE_IN, 1, match(eth_type=family), actions) for family in (0x800, 0x86DD)]


def judging(allowed: dict[str, int | tuple[int, int]]) -> list[Flow]:
    """What `allowed` matches passes, and is remembered if it is new; everything else is dropped."""
    commit: tuple[Action, ...] = (Ct("reg5", commit=True), Resubmit(TABLE_OUT))
    return [
        Flow(TABLE_JUDGE, 2, match(**{**allowed, **NEW}), commit),
        Flow(TABLE_JUDGE, 1, match(**{**allowed, **TRACKED}), (Resubmit(TABLE_OUT),)),
        *TOWARDS,
    ]


def tuple_of(path: Path, protocol: int) -> dict[str, int | tuple[int, int]]:
    """A match on the connection's first packet."""
    source, target = frames.number(path.source), frames.number(path.target)
    if path.is_ipv6:
        prefix = (target, ((1 << 64) - 1) << 64)
        return {"eth_type": 0x86DD, "ct_ipv6_src": source, "ct_ipv6_dst": prefix, "ct_nw_proto": protocol}
    return {
        "eth_type": 0x800,
        "ct_nw_src": source,
        "ct_nw_dst": (target, 0xFFFFFF00),
        "ct_nw_proto": protocol,
    }


def passes(bridge: Bridge, port: int, frame: bytes) -> bool:
    """Whether the frame reaches the other side."""
    came = bridge.send(port, frame)
    assert set(came) <= {3 - port}
    return bool(came)


@FAMILIES
def test_every_packet_of_a_tcp_connection_carries_the_tuple_of_the_first(bridge: Bridge, path: Path) -> None:
    allowed = {**tuple_of(path, 6), "ct_tp_src": 1000, "ct_tp_dst": (80, 0xFFF0)}
    assert bridge.program(*tracking(next(ZONES)), *judging(allowed)) == []
    assert passes(bridge, 1, frames.tcp(path, (1000, 80), SYN))
    assert passes(bridge, 2, frames.tcp(path.back(), (80, 1000), SYN | ACK))
    assert passes(bridge, 1, frames.tcp(path, (1000, 80), ACK))
    assert passes(bridge, 2, frames.tcp(path.back(), (80, 1000), ACK))
    assert not passes(bridge, 1, frames.tcp(path, (1001, 80), SYN))
    assert not passes(bridge, 1, frames.tcp(path, (1000, 96), SYN))


@FAMILIES
def test_a_udp_answer_and_the_error_about_a_datagram_carry_the_tuple_of_the_datagram(
    bridge: Bridge, path: Path
) -> None:
    allowed = {**tuple_of(path, 17), "ct_tp_src": 5000, "ct_tp_dst": 53}
    assert bridge.program(*tracking(next(ZONES)), *judging(allowed)) == []
    datagram = frames.udp(path, (5000, 53))
    kind, code = (1, 4) if path.is_ipv6 else (3, 3)
    error = frames.icmp(path.back(), kind, code, bytes(4) + datagram[14:])
    assert not passes(bridge, 2, error)  # related to nothing yet
    assert passes(bridge, 1, datagram)
    assert passes(bridge, 2, frames.udp(path.back(), (53, 5000)))
    assert passes(bridge, 1, datagram)
    assert passes(bridge, 2, error)
    assert not passes(bridge, 1, frames.udp(path, (5000, 54)))


@FAMILIES
def test_an_echo_and_its_answer_carry_type_and_code_of_the_request_as_ports(
    bridge: Bridge, path: Path
) -> None:
    protocol, request, answer = (58, 128, 129) if path.is_ipv6 else (1, 8, 0)
    allowed = {**tuple_of(path, protocol), "ct_tp_src": request, "ct_tp_dst": 0}
    assert bridge.program(*tracking(next(ZONES)), *judging(allowed)) == []
    assert not passes(bridge, 2, frames.icmp(path.back(), answer))
    assert passes(bridge, 1, frames.icmp(path, request))
    assert passes(bridge, 2, frames.icmp(path.back(), answer))
    assert passes(bridge, 1, frames.icmp(path, request))
    assert not passes(bridge, 1, frames.icmp(path, request, 1))


def test_a_rule_taken_away_stops_established_connections_of_that_rule_only(bridge: Bridge) -> None:
    zone = next(ZONES)
    web = {**tuple_of(IPV4, 6), "ct_tp_dst": 80}
    names = {**tuple_of(IPV4, 17), "ct_tp_dst": 53}
    assert bridge.program(*tracking(zone), *judging(web), *judging(names)[:2]) == []
    assert passes(bridge, 1, frames.tcp(IPV4, (1000, 80), SYN))
    assert passes(bridge, 2, frames.tcp(IPV4.back(), (80, 1000), SYN | ACK))
    assert passes(bridge, 1, frames.udp(IPV4, (5000, 53)))

    assert bridge.program(*tracking(zone), *judging(names)) == []
    assert not passes(bridge, 1, frames.tcp(IPV4, (1000, 80), ACK))
    assert not passes(bridge, 2, frames.tcp(IPV4.back(), (80, 1000), ACK))
    assert passes(bridge, 2, frames.udp(IPV4.back(), (53, 5000)))


def state_of(bridge: Bridge, frame: bytes) -> str:
    """How conntrack judges a frame from port 1: "new", "established" or "invalid"."""
    outcome = [
        Flow(TABLE_JUDGE, 2, match(**INVALID), (SetField("reg0", 1), Output(2))),
        Flow(TABLE_JUDGE, 1, match(**NEW), (Output(3),)),
        Flow(TABLE_JUDGE, 1, match(ct_state=(CT_EST, CT_EST)), (Output(2), Output(3))),
    ]
    assert bridge.program(*tracking(next(ZONES)), *outcome) == []
    return {(2,): "invalid", (3,): "new", (2, 3): "established"}[tuple(bridge.send(1, frame))]


# What a security group cannot allow by conntrack must be judged without: all of ICMPv6 but echo.
@pytest.mark.parametrize("kind", [129, 130, 131, 132, 133, 134, 135, 136, 137, 143])
def test_neighbour_discovery_and_multicast_listeners_are_invalid_to_conntrack(
    bridge: Bridge, kind: int
) -> None:
    assert state_of(bridge, frames.icmp(IPV6, kind, 0, bytes(20), ttl=255)) == "invalid"


@pytest.mark.parametrize(
    ("kind", "state"), [(8, "new"), (13, "new"), (15, "new"), (0, "invalid"), (9, "invalid")]
)
def test_only_requests_of_icmp_begin_a_connection(bridge: Bridge, kind: int, state: str) -> None:
    assert state_of(bridge, frames.icmp(IPV4, kind, 0, bytes(20))) == state


def test_a_tcp_connection_begins_with_a_syn_or_is_picked_up_by_whoever_sends_next(bridge: Bridge) -> None:
    """After a restart of the switch, its connections are picked up, and the sender counts as the one who began."""
    assert state_of(bridge, frames.tcp(IPV4, (1, 2), SYN)) == "new"
    assert state_of(bridge, frames.tcp(IPV4, (1, 2), ACK)) == "new"
    assert state_of(bridge, frames.tcp(IPV4, (1, 2), SYN | ACK)) == "invalid"


def test_a_wrong_checksum_is_invalid(bridge: Bridge) -> None:
    frame = bytearray(frames.tcp(IPV4, (1, 2), SYN))
    frame[14 + 20 + 16] ^= 0xFF
    assert state_of(bridge, bytes(frame)) == "invalid"


@pytest.mark.parametrize("protocol", [47, 112, 132])
def test_any_other_protocol_is_a_connection_too(bridge: Bridge, protocol: int) -> None:
    assert bridge.program(*tracking(next(ZONES)), *judging(tuple_of(IPV4, protocol))) == []
    assert passes(bridge, 1, frames.ip(IPV4, protocol, bytes(28)))
    assert passes(bridge, 2, frames.ip(IPV4.back(), protocol, bytes(28)))


def judging_fragments(allowed: dict[str, int | tuple[int, int]]) -> list[Flow]:
    """Fragments are gathered once more behind the judgement: the later ones leave only if the first was let in."""
    later = {"eth_type": allowed["eth_type"], "ip_frag": 3}
    return [
        Flow(TABLE_JUDGE, 4, match(**{**later, **NEW}), (Ct("reg5", commit=True), Resubmit(TABLE_OUT))),
        Flow(TABLE_JUDGE, 3, match(**{**later, **TRACKED}), (Ct("reg5"), Resubmit(TABLE_OUT))),
        Flow(TABLE_JUDGE, 4, match(**{**allowed, **NEW}), (Ct("reg5", commit=True), Resubmit(TABLE_OUT))),
        Flow(
            TABLE_JUDGE, 3, match(**{**allowed, **TRACKED, "ip_frag": 1}), (Ct("reg5"), Resubmit(TABLE_OUT))
        ),
    ]


@FAMILIES
@pytest.mark.parametrize("is_reversed", [False, True], ids=["in order", "last first"])
def test_fragments_pass_together_or_not_at_all(bridge: Bridge, path: Path, is_reversed: bool) -> None:
    """A later fragment tells the addresses and protocol of its connection, and no ports."""
    allowed = {**tuple_of(path, 17), "ct_tp_dst": 5000}
    flows = [*tracking(next(ZONES)), *judging(allowed)]
    order = -1 if is_reversed else 1
    assert bridge.program(*flows) == []
    assert bridge.send(1, *fragments(path, 5000)[::order]) == {}
    assert bridge.program(*flows, *judging_fragments(allowed)) == []
    for _ in ("new", "established"):
        parts = fragments(path, 5000)[::order]
        assert sorted(map(len, bridge.send(1, *parts)[2])) == sorted(map(len, parts))
    assert bridge.send(1, *fragments(path, 5001)[::order]) == {}

    other = {**allowed, "ct_tp_dst": 5001}
    assert bridge.program(*flows[:2], *judging(other), *judging_fragments(other)) == []
    assert bridge.send(1, *fragments(path, 5000)[::order]) == {}


@FAMILIES
def test_fragments_pass_where_no_ports_are_asked_for(bridge: Bridge, path: Path) -> None:
    assert bridge.program(*tracking(next(ZONES)), *judging(tuple_of(path, 17))) == []
    parts = fragments(path, 5000)
    assert sorted(map(len, bridge.send(1, *parts)[2])) == sorted(map(len, parts))


def fragments(path: Path, port: int) -> list[bytes]:
    """A datagram of 2,000 bytes in two fragments."""
    datagram = frames.udp_datagram(path, (4000, port), bytes(2000))
    ident = next(IDENTS)
    if not path.is_ipv6:
        cut = 1480
        first = frames.ip(path, 17, datagram[:cut], fragment=0x2000, ident=ident)
        return [first, frames.ip(path, 17, datagram[cut:], fragment=cut // 8, ident=ident)]
    cut = 1448
    heads = (struct.pack("!BBHI", 17, 0, 1, ident), struct.pack("!BBHI", 17, 0, cut, ident))
    return [frames.ip(path, 44, heads[0] + datagram[:cut]), frames.ip(path, 44, heads[1] + datagram[cut:])]


@pytest.mark.parametrize(
    ("unfit", "why"),
    [
        (Flow(1, 1, match(eth_type=0x800, ct_nw_src=1), ()), "OFPBMC_BAD_PREREQ"),
        (
            Flow(1, 1, match(eth_type=0x800, ct_nw_src=1, ct_state=(CT_TRK, CT_TRK | CT_NEW)), ()),
            "OFPBMC_BAD_PREREQ",
        ),
        (Flow(1, 1, match(ct_nw_src=1, **TRACKED), ()), "OFPBAC_MATCH_INCONSISTENT"),
        (Flow(1, 1, match(in_port=1), (Ct(1, table=2),)), "OFPBAC_MATCH_INCONSISTENT"),
        (Flow(1, 1, match(eth_type=0x806), (Ct(1, table=2),)), "OFPBAC_MATCH_INCONSISTENT"),
    ],
)
def test_the_tuple_needs_a_tracked_valid_packet_and_ct_needs_ip(
    bridge: Bridge, unfit: Flow, why: str
) -> None:
    (failure,) = bridge.program(unfit)
    assert failure.flow == unfit
    assert why in failure.reason


def test_the_ports_of_the_tuple_need_its_protocol() -> None:
    """Open vSwitch takes such a flow and does not give the ports back."""
    with pytest.raises(ValueError, match="need ct_nw_proto"):
        match(ct_tp_dst=80, **TRACKED)


def test_a_zone_remembers_apart_and_is_flushed_alone(bridge: Bridge) -> None:
    echo, answer = frames.icmp(IPV4, 8), frames.icmp(IPV4.back(), 0)
    one, other = next(ZONES), next(ZONES)
    rule: Match = match(eth_type=0x800, **NEW)
    flows = [
        Flow(
            TABLE_JUDGE,
            1,
            rule,
            (Ct("reg5", commit=True, nested=(SetField("ct_mark", 5),)), Resubmit(TABLE_OUT)),
        ),
        Flow(TABLE_JUDGE, 1, match(ct_state=(CT_EST, CT_EST), ct_mark=5), (Resubmit(TABLE_OUT),)),
        *TOWARDS,
    ]
    assert bridge.program(*tracking(one), *flows) == []
    assert passes(bridge, 1, echo)
    assert passes(bridge, 2, answer)
    assert bridge.program(*tracking(other), *flows) == []
    assert not passes(bridge, 2, answer)
    assert bridge.program(*tracking(one), *flows) == []
    assert passes(bridge, 2, answer)
