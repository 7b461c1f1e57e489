# SPDX-License-Identifier: Apache-2.0
"""The tables of the bridge in packet order, and the registers, each declared once; and the flows that never change.

Features build flows with `flow`, `where`, `load` and `go`, and name tables and registers, never numbers. Every table's
default is to drop, except where its declaration says otherwise: a row that is missing means deny.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from alcor.dataplane.rows import HostFacts
from alcor.dataplane.values import (
    CT_INV,
    CT_NEW,
    CT_RPL,
    CT_TRK,
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    ICMPV6,
    UDP,
    Action,
    Controller,
    Ct,
    Flow,
    InPort,
    Match,
    Move,
    Output,
    OutputField,
    Resubmit,
    SetField,
    match,
)

COOKIE = 0xA1C0000000000001  # of every flow of ours; the last digits are the generation of the pipeline


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `default` says what happens to a packet that no other flow of the table matches."""

    number: int
    name: str
    meaning: str
    default: str = "drop"


@dataclass(frozen=True, slots=True)
class Register:
    """A register by its name in `where`, `load` and the documentation. All are 0 when a packet comes in."""

    name: str
    field: str
    meaning: str


CLASSIFY = Table(
    0,
    "CLASSIFY",
    "Where the packet comes from: a local port sets network, source port and its group set; a tunnel sets the network.",
)
PORT_SECURITY = Table(
    10,
    "PORT_SECURITY",
    "A local port speaks only with its own MAC and addresses (and allowed pairs), never as a router or DHCP server.",
)
ND_SECURITY = Table(
    11,
    "ND_SECURITY",
    "Neighbour discovery of a local port names only its own addresses as target and its own MAC in options.",
    "go to ANSWER (solicitations and advertisements drop)",
)
BORROWED = Table(
    12,
    "BORROWED",
    "A local port without port security speaks as it likes, but not as a secured port of this host: other hosts tell"
    " the group set of a sender by its MAC and host.",
    "go to ANSWER",
)
SOURCE = Table(
    20,
    "SOURCE",
    "For packets from other hosts: the group set of the sender, by network, MAC and the tunnel address it comes from.",
    "go to DESTINATION with group set 0",
)
ANSWER = Table(
    30,
    "ANSWER",
    "ARP requests and neighbour solicitations of local ports for known addresses are answered here.",
    "go to DESTINATION",
)
ANSWER_ND = Table(
    31, "ANSWER_ND", "Completes a neighbour advertisement, which takes two tables, and sends it back."
)
REPLY = Table(
    32,
    "REPLY",
    "An answer goes back to who asked: to a subport with its tag.",
    "output in_port",
)
DESTINATION = Table(
    40,
    "DESTINATION",
    "To which local port by network and MAC; broadcast and multicast are flooded; else REMOTE, if not from a tunnel.",
)
REMOTE = Table(
    41,
    "REMOTE",
    "To which other host by network and MAC. Packets from other hosts never get here. Unknown unicast drops, or goes by"
    " the physical network that carries its network.",
)
LEAVE = Table(
    50,
    "LEAVE",
    "Whether leaving the local source port is judged: ARP, neighbour discovery, MLD and DHCP requests are not, nor"
    " ports without port security, nor packets from tunnels; all other IP is tracked in the port's zone.",
)
LEAVE_JUDGE = Table(
    51,
    "LEAVE_JUDGE",
    "Asks RULES_EGRESS, or for replies RULES_INGRESS, with the source port's set as own set; a fragment without ports"
    " goes with the first of its datagram.",
)
LEAVE_VERDICT = Table(
    52,
    "LEAVE_VERDICT",
    "What was allowed goes on, new connections are committed; fragments wait until all are allowed.",
)
DELIVER = Table(
    60,
    "DELIVER",
    "To all, to another host through the tunnel or by the network's physical network, or to a local port.",
    "go to ARRIVE",
)
FLOOD_TUNNELS = Table(
    61,
    "FLOOD_TUNNELS",
    "Packets of local ports to every other host with a port in the network, or once to the physical network.",
    "done",
)
FLOOD_LOCAL = Table(62, "FLOOD_LOCAL", "To every local port of the network, each by ARRIVE.", "done")
ARRIVE = Table(
    70,
    "ARRIVE",
    "The local target port: its group set; never back to the sender. Ports without port security get the packet.",
)
ARRIVE_SECURED = Table(
    71,
    "ARRIVE_SECURED",
    "ARP, neighbour discovery, router advertisements, MLD and DHCP answers get through; all other IP is tracked in the"
    " port's zone.",
)
ARRIVE_JUDGE = Table(
    72,
    "ARRIVE_JUDGE",
    "Asks RULES_INGRESS, or for replies RULES_EGRESS, with the target port's set as own set; a fragment without ports"
    " goes with the first of its datagram.",
)
ARRIVE_VERDICT = Table(
    73,
    "ARRIVE_VERDICT",
    "What was allowed is put out, new connections are committed; fragments wait until all are allowed.",
)
HAND_OVER = Table(
    75,
    "HAND_OVER",
    "What the target port may receive is held to its limits, one meter after another.",
    "go to PUT_OUT",
)
PUT_OUT = Table(
    76,
    "PUT_OUT",
    "To the interface of the target port: a subport's is its trunk's, with its tag.",
    "output target_port",
)
RULES_EGRESS = Table(
    80,
    "RULES_EGRESS",
    "Egress rules of groups as conjunctions on own set, remote and the connection's original tuple; sets the verdict.",
    "return without a verdict",
)
RULES_INGRESS = Table(
    81,
    "RULES_INGRESS",
    "Ingress rules of groups as conjunctions on own set, remote and the connection's original tuple; sets the verdict.",
    "return without a verdict",
)
TABLES = (
    CLASSIFY,
    PORT_SECURITY,
    ND_SECURITY,
    BORROWED,
    SOURCE,
    ANSWER,
    ANSWER_ND,
    REPLY,
    DESTINATION,
    REMOTE,
    LEAVE,
    LEAVE_JUDGE,
    LEAVE_VERDICT,
    DELIVER,
    FLOOD_TUNNELS,
    FLOOD_LOCAL,
    ARRIVE,
    ARRIVE_SECURED,
    ARRIVE_JUDGE,
    ARRIVE_VERDICT,
    HAND_OVER,
    PUT_OUT,
    RULES_EGRESS,
    RULES_INGRESS,
)

REGISTERS = (
    Register("vni", "reg0", "The network: its VNI, or beyond all VNIs if no tunnel carries it."),
    Register(
        "source_port",
        "reg1",
        "Local port (ofport, of a subport its number) that sent the packet, and its conntrack zone; 0: none here.",
    ),
    Register(
        "target_port",
        "reg2",
        "Port (ofport, of a subport its number) that gets the packet, and its conntrack zone; FLOOD: all.",
    ),
    Register("source_set", "reg3", "Group set of the sender; 0: none or not known."),
    Register("target_set", "reg4", "Group set of the receiver; 0: none or not known."),
    Register("own_set", "reg5", "Group set of the port whose rules are asked."),
    Register("remote_set", "reg6", "Group set of the other end."),
    Register("origin", "reg7", "1: from a local port; 2: from a tunnel or a physical network."),
    Register(
        "tunnel", "reg8", "Tunnel address of the target's host; in FLOOD_TUNNELS, which part of many hosts."
    ),
    Register(
        "verdict",
        "reg9",
        "1: a rule allows the packet; 2: and it is a fragment, tracked once more; 3: a stateless rule does.",
    ),
    Register("sent", "reg14", "How many limits of its sender the packet has passed in CLASSIFY."),
    Register(
        "received",
        "reg15",
        "How many limits of its target the packet has passed in HAND_OVER; 0 again after.",
    ),
)
_FIELD_OF = {register.name: register.field for register in REGISTERS}

_TO_TABLE = {table.number: Resubmit(table.number) for table in TABLES}

LOCAL, TUNNEL = 1, 2  # values of origin
ALLOWED, ALLOWED_STATELESS = 1, 3  # values of verdict that rules give
FLOOD = 0xFFFB  # target_port of broadcast and multicast; no port has this number

_FREE_ND = (
    133,
    135,
    136,
)  # router solicitation, neighbour solicitation and advertisement: checked before LEAVE
MLD_REPORTS = (131, 132, 143)  # MLDv1 report and done, MLDv2 report
_MLD_QUERY, ROUTER_ADVERTISEMENT, _REDIRECT = 130, 134, 137
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
_FURTHER, _FURTHER_MARK = struct.Struct(">5sII"), b"flood"  # VNI, and how many parts there are
_ANY_FRAGMENT, _LATER_FRAGMENT = (1, 1), 3  # of ip_frag


def where(**fields: int | tuple[int, int]) -> Match:
    """A match on fields and named registers; a tuple is (value, mask)."""
    return match(**{_FIELD_OF.get(name, name): wanted for name, wanted in fields.items()})


def flow(table: Table, priority: int, match: Match, *actions: Action) -> Flow:
    """One flow of ours. No actions: drop."""
    return Flow(table.number, priority, match, actions, COOKIE)


# The flows of a host have few actions that differ: those that are equal are one value, made once.
@lru_cache(maxsize=1 << 16)
def load(register: str, value: int) -> SetField:
    """Set a named register."""
    return SetField(_FIELD_OF[register], value)


def go(table: Table) -> Resubmit:
    """Look the packet up in another table."""
    return _TO_TABLE[table.number]


@cache
def copy(source: str, target: str, bits: int = 32) -> Move:
    """Copy a field or a named register, from bit 0 on."""
    return Move(_FIELD_OF.get(source, source), _FIELD_OF.get(target, target), bits)


def put_out() -> Resubmit:
    """Send the packet out of the target port, as far as what is set for the port allows."""
    return go(HAND_OVER)


def branch(table: Table) -> Ct:
    """Look a copy of an IP packet up in another table, with a passage of its own through the datapath.

    The copy is shown to the connections of the target port, and commits none.
    """
    return Ct(zone=_FIELD_OF["target_port"], table=table.number)


def out_at_once() -> Resubmit:
    """Send the packet out of the target port whatever its limits."""
    return go(PUT_OUT)


def asked_without_tracking(is_leaving: bool) -> tuple[Action, ...]:
    """Ask the rules about the packet as it is, for a port whose groups are stateless."""
    own, remote = ("source_set", "target_set") if is_leaving else ("target_set", "source_set")
    rules, verdict = (RULES_EGRESS, LEAVE_VERDICT) if is_leaving else (RULES_INGRESS, ARRIVE_VERDICT)
    return (copy(own, "own_set"), copy(remote, "remote_set"), load("verdict", 0), go(rules), go(verdict))


def static_flows(facts: HostFacts) -> Iterator[Flow]:
    """The flows that stand whatever the rows are: defaults, dispatch between tables, what no port may send."""
    yield from _defaults()
    yield from _never_from_ports()
    yield from _dispatch(facts)
    yield from _leaving()
    yield from _arriving()


def _defaults() -> Iterator[Flow]:
    onward = {
        ND_SECURITY: ANSWER,
        BORROWED: ANSWER,
        SOURCE: DESTINATION,
        ANSWER: DESTINATION,
        DELIVER: ARRIVE,
        HAND_OVER: PUT_OUT,
    }
    yield flow(REPLY, 0, where(), InPort())
    yield flow(PUT_OUT, 0, where(), OutputField(_FIELD_OF["target_port"]))
    for table in TABLES:
        if table in (REPLY, PUT_OUT):
            continue
        target = onward.get(table)
        yield flow(table, 0, where(), *((go(target),) if target else ()))


def _never_from_ports() -> Iterator[Flow]:
    # Tagged frames are matched by what is inside the tag: only networks that carry tags let them be of theirs.
    yield flow(CLASSIFY, 200, where(vlan_tci=(0x1000, 0x1000), vni=0))

    # Above whatever a port's own addresses allow.
    for kind in (ROUTER_ADVERTISEMENT, _REDIRECT):
        yield flow(PORT_SECURITY, 200, icmpv6(kind))
    yield flow(PORT_SECURITY, 200, where(eth_type=ETH_IPV4, ip_proto=UDP, udp_src=67, udp_dst=68))
    yield flow(PORT_SECURITY, 200, where(eth_type=ETH_IPV6, ip_proto=UDP, udp_src=547, udp_dst=546))
    for kind in _FREE_ND:
        # RFC 6980: neighbour discovery is never fragmented; what is could hide its options.
        yield flow(PORT_SECURITY, 200, icmpv6(kind, ip_frag=_ANY_FRAGMENT))

    for kind in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
        yield flow(ND_SECURITY, 10, icmpv6(kind))


def _dispatch(facts: HostFacts) -> Iterator[Flow]:
    # Duplicate address detection is for the owner to answer: a known address that asks for itself is no conflict.
    yield flow(ANSWER, 200, where(eth_type=ETH_ARP, arp_spa=0), go(DESTINATION))
    yield flow(ANSWER, 200, icmpv6(NEIGHBOUR_SOLICITATION, ipv6_src=0), go(DESTINATION))
    yield flow(
        ANSWER_ND,
        100,
        icmpv6(NEIGHBOUR_ADVERTISEMENT, icmpv6_code=0),
        SetField("nd_options_type", 2),
        Move("eth_src", "nd_tll", 48),
        SetField("nd_reserved", 0x60000000),  # solicited, override
        SetField("nw_ttl", 255),
        go(REPLY),
    )

    # 01:80:c2:00:00:0x is between bridges, and we are none to our ports.
    yield flow(DESTINATION, 200, where(eth_dst=(0x0180C2000000, 0xFFFFFFFFFFF0)))
    to_many = where(eth_dst=(0x010000000000, 0x010000000000))
    yield flow(DESTINATION, 100, to_many, load("target_port", FLOOD), go(LEAVE))
    yield flow(DESTINATION, 1, where(origin=LOCAL), go(REMOTE))

    through_tunnel = (copy("tunnel", "tun_dst"), copy("vni", "tun_id"), Output(facts.tunnel_ofport))
    yield flow(DELIVER, 100, where(target_port=facts.tunnel_ofport, origin=LOCAL), *through_tunnel)
    yield flow(DELIVER, 100, where(target_port=facts.tunnel_ofport, origin=TUNNEL))
    yield flow(DELIVER, 100, where(target_port=FLOOD), go(FLOOD_TUNNELS), go(FLOOD_LOCAL))


def _leaving() -> Iterator[Flow]:
    yield flow(LEAVE, 200, where(origin=TUNNEL), go(DELIVER))
    for free in _leave_free():
        yield flow(LEAVE, 50, free, go(DELIVER))
    for eth_type in (ETH_IPV4, ETH_IPV6):
        tracked = Ct(zone=_FIELD_OF["source_port"], table=LEAVE_JUDGE.number)
        yield flow(LEAVE, 10, where(eth_type=eth_type), tracked)
    yield from _judging(
        LEAVE_JUDGE, ("source_set", "target_set"), (RULES_EGRESS, RULES_INGRESS), LEAVE_VERDICT
    )
    yield from _verdict(LEAVE_VERDICT, "source_port", go(DELIVER))


def _arriving() -> Iterator[Flow]:
    for free in _arrive_free():
        yield flow(ARRIVE_SECURED, 50, free, put_out())
    for eth_type in (ETH_IPV4, ETH_IPV6):
        tracked = Ct(zone=_FIELD_OF["target_port"], table=ARRIVE_JUDGE.number)
        yield flow(ARRIVE_SECURED, 10, where(eth_type=eth_type), tracked)
    yield from _judging(
        ARRIVE_JUDGE, ("target_set", "source_set"), (RULES_INGRESS, RULES_EGRESS), ARRIVE_VERDICT
    )
    yield from _verdict(ARRIVE_VERDICT, "target_port", put_out())


def _leave_free() -> Iterator[Match]:
    """What no rule of a group judges on its way out; PORT_SECURITY did."""
    yield where(eth_type=ETH_ARP)
    for kind in (_MLD_QUERY, *MLD_REPORTS, *_FREE_ND):
        yield icmpv6(kind)
    yield where(eth_type=ETH_IPV4, ip_proto=UDP, udp_src=68, udp_dst=67)
    yield where(eth_type=ETH_IPV6, ip_proto=UDP, udp_src=546, udp_dst=547)


def _arrive_free() -> Iterator[Match]:
    """What no rule of a group judges on its way in; the sender's host did."""
    yield where(eth_type=ETH_ARP)
    for kind in (
        _MLD_QUERY,
        *MLD_REPORTS,
        ROUTER_ADVERTISEMENT,
        NEIGHBOUR_SOLICITATION,
        NEIGHBOUR_ADVERTISEMENT,
    ):
        yield icmpv6(kind)
    yield where(eth_type=ETH_IPV4, ip_proto=UDP, udp_src=67, udp_dst=68)
    yield where(eth_type=ETH_IPV6, ip_proto=UDP, udp_src=547, udp_dst=546)


def _judging(
    table: Table, sets: tuple[str, str], rules: tuple[Table, Table], verdict: Table
) -> Iterator[Flow]:
    """Ask the first of `rules` for packets in the connection's original direction, the second for the others.

    `sets` are the registers with the group set of the port itself and of the packet's other end.
    """
    own, remote = sets
    asked = (copy(own, "own_set"), copy(remote, "remote_set"), load("verdict", 0))
    mask = CT_TRK | CT_INV | CT_RPL
    for state, asking in zip((CT_TRK, CT_TRK | CT_RPL), rules, strict=True):
        yield flow(table, 100, where(ct_state=(state, mask)), *asked, go(asking), go(verdict))
    for eth_type in (ETH_IPV4, ETH_IPV6):
        # It tells no ports to judge. The verdict's table gathers the datagram: this goes on if the first fragment does.
        later = where(eth_type=eth_type, ip_frag=_LATER_FRAGMENT, ct_state=(CT_TRK, CT_TRK | CT_INV))
        yield flow(table, 110, later, load("verdict", 1), go(verdict))


def _verdict(table: Table, zone: str, onward: Action) -> Iterator[Flow]:
    field = _FIELD_OF[zone]
    fresh = (CT_TRK | CT_NEW, CT_TRK | CT_NEW | CT_INV)
    for eth_type in (ETH_IPV4, ETH_IPV6):
        # Above the other: a connection that is not committed would be new for ever, and its replies strangers.
        new = where(verdict=1, eth_type=eth_type, ct_state=fresh)
        yield flow(table, 110, new, Ct(zone=field, commit=True), onward)

        # Tracking holds fragments until their datagram is whole, so none goes on whose first is not allowed; those that
        # overlap or have waited too long come out as invalid, hence the second look.
        again, gathered = load("verdict", 2), table.number
        new_part = where(verdict=1, eth_type=eth_type, ip_frag=_ANY_FRAGMENT, ct_state=fresh)
        yield flow(table, 130, new_part, again, Ct(zone=field, table=gathered, commit=True))
        part = where(verdict=1, eth_type=eth_type, ip_frag=_ANY_FRAGMENT)
        yield flow(table, 120, part, again, Ct(zone=field, table=gathered))
    yield flow(table, 100, where(verdict=1), onward)
    yield flow(table, 100, where(verdict=ALLOWED_STATELESS), onward)
    yield flow(table, 100, where(verdict=2, ct_state=(CT_TRK, CT_TRK | CT_INV)), onward)


def icmpv6(kind: int, **fields: int | tuple[int, int]) -> Match:
    """A match on ICMPv6 of a type."""
    return where(eth_type=ETH_IPV6, ip_proto=ICMPV6, icmpv6_type=kind, **fields)


def flood_further(vni: int, parts: int) -> Controller:
    """The first part of a network's hosts gets the packet by this flow; the agent sees to the others."""
    return Controller(_FURTHER.pack(_FURTHER_MARK, vni, parts))


def flooded_further(told: bytes) -> Iterator[tuple[Action, ...]]:
    """What the agent does with a packet of which this was told: once for each of the other parts."""
    if len(told) == _FURTHER.size and told.startswith(_FURTHER_MARK):
        _, vni, parts = _FURTHER.unpack(told)
        for part in range(1, parts):
            yield load("vni", vni), load("origin", LOCAL), load("tunnel", part), go(FLOOD_TUNNELS)


def tunnel_peers(flow: Flow) -> Iterator[int]:
    """The tunnel addresses of other hosts that the flow sends packets to."""
    for action in flow.actions:
        if isinstance(action, SetField) and action.field in ("tun_dst", _FIELD_OF["tunnel"]):
            yield action.value
