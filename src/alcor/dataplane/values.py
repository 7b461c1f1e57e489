# SPDX-License-Identifier: Apache-2.0
"""Matches, actions and flows as frozen values, in Open vSwitch's own field names; no I/O and no encoding.

Field semantics and names are those of ovs-fields(7); `dataplane.openflow` turns values into bytes and back, and
`testing.fake_switch` executes them. All field values are unsigned integers (MAC 48 bits, IPv4 32, IPv6 128).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Field:
    """A packet or metadata field. `bits` wide; `maskable` where OVS takes a mask."""

    name: str
    bits: int
    maskable: bool = True


_FIELDS = (
    Field("in_port", 32, False),
    Field("metadata", 64),
    Field("tun_id", 64),
    Field("tun_src", 32),
    Field("tun_dst", 32),
    Field("tun_metadata0", 32),
    *(Field(f"reg{number}", 32) for number in range(16)),
    *(
        Field(f"xxreg{number}", 128) for number in range(4)
    ),  # xxregN overlaps reg4N..reg4N+3, reg4N most significant
    Field("eth_src", 48),
    Field("eth_dst", 48),
    Field("eth_type", 16, False),
    Field("vlan_tci", 16),
    Field("ip_proto", 8, False),
    Field("ip_frag", 8),
    Field("ip_dscp", 6, False),
    Field("nw_ttl", 8, False),
    Field("ip_src", 32),
    Field("ip_dst", 32),
    Field("ipv6_src", 128),
    Field("ipv6_dst", 128),
    Field("tcp_src", 16),
    Field("tcp_dst", 16),
    Field("udp_src", 16),
    Field("udp_dst", 16),
    Field("icmp_type", 8, False),
    Field("icmp_code", 8, False),
    Field("icmpv6_type", 8, False),
    Field("icmpv6_code", 8, False),
    Field("arp_op", 16, False),
    Field("arp_spa", 32),
    Field("arp_tpa", 32),
    Field("arp_sha", 48),
    Field("arp_tha", 48),
    Field("nd_target", 128),
    Field("nd_sll", 48),
    Field("nd_tll", 48),
    Field("nd_reserved", 32, False),
    Field("nd_options_type", 8, False),
    Field("ct_state", 32),
    Field("ct_zone", 16, False),
    Field("ct_mark", 32),
    Field("ct_nw_proto", 8, False),
    Field("ct_nw_src", 32),
    Field("ct_nw_dst", 32),
    Field("ct_ipv6_src", 128),
    Field("ct_ipv6_dst", 128),
    Field("ct_tp_src", 16),
    Field("ct_tp_dst", 16),
    Field("conj_id", 32, False),
)
FIELDS: dict[str, Field] = {field.name: field for field in _FIELDS}

# ct_state bits (ovs-fields(7)).
CT_NEW, CT_EST, CT_REL, CT_RPL, CT_INV, CT_TRK = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

ETH_IPV4, ETH_IPV6, ETH_ARP = 0x0800, 0x86DD, 0x0806
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58


class Term(NamedTuple):
    """One field of a match: `packet & mask == value`; `value` has no bit outside `mask`, all ones when exact."""

    field: str
    value: int
    mask: int


Match = tuple[Term, ...]  # sorted by field name, each field at most once


def match(**fields: int | tuple[int, int]) -> Match:
    """A match from field names; a tuple is (value, mask). A field whose mask is 0 is left out.

    The result is in the one form in which Open vSwitch gives it back, so that what was sent and what was read compare
    equal: xxregN becomes its four registers. Raises ValueError for an unknown field, a value out of range, a mask where
    OVS takes none, and for what OVS would accept but not give back.
    """
    terms: list[Term] = []
    for name, given in fields.items():
        field = FIELDS.get(name)
        if field is None:
            raise ValueError(f"no such field: {name}")
        full = (1 << field.bits) - 1
        value, mask = given if isinstance(given, tuple) else (given, full)
        if not 0 <= value <= full or not 0 <= mask <= full:
            raise ValueError(f"{name}={value:#x}/{mask:#x} does not fit {field.bits} bits")
        if mask != full and mask and not field.maskable:
            raise ValueError(f"{name} takes no mask")
        if mask:
            terms.append(Term(name, value & mask, mask))
    if _IN_ANOTHER_FORM.isdisjoint(fields):
        terms.sort()
        return tuple(terms)
    terms = sorted(part for term in terms for part in _as_given_back(term))
    _refuse_what_is_not_given_back(terms)
    return tuple(terms)


# What OVS may give back in another form than it was sent in.
_IN_ANOTHER_FORM = frozenset(
    (
        *(f"xxreg{number}" for number in range(4)),
        "ip_frag",
        "ct_state",
        "ct_tp_src",
        "ct_tp_dst",
        "ct_nw_proto",
        "vlan_tci",
    )
)


def _as_given_back(term: Term) -> tuple[Term, ...]:
    if term.field.startswith("xxreg"):
        first = 4 * int(term.field[5:])
        parts = ((first + word, 96 - 32 * word) for word in range(4))
        words = (
            (number, term.value >> shift & 0xFFFFFFFF, term.mask >> shift & 0xFFFFFFFF)
            for number, shift in parts
        )
        return tuple(Term(f"reg{number}", value, mask) for number, value, mask in words if mask)
    if term.field == "ip_frag" and term.mask & 3 == 3:
        return (Term("ip_frag", term.value & 3, 0xFF),)
    if term.field == "ct_state" and term.mask == 0xFFFFFFFF and term.value <= 0xFF:
        return (Term("ct_state", term.value, 0xFF),)  # a switch keeps eight of its bits
    return (term,)


def _refuse_what_is_not_given_back(terms: list[Term]) -> None:
    names = [term.field for term in terms]
    for name, following in pairwise(names):
        if name == following:
            raise ValueError(f"{name} is named twice, by itself and within an xxreg")
    if ("ct_tp_src" in names or "ct_tp_dst" in names) and "ct_nw_proto" not in names:
        raise ValueError("ct_tp_src and ct_tp_dst need ct_nw_proto beside them")
    for term in terms:
        if term.field == "ct_nw_proto" and term.value == 0:
            raise ValueError("ct_nw_proto must not be 0")
        if term.field == "vlan_tci" and not _is_vlan_term(term):
            raise ValueError(
                f"vlan_tci={term.value:#x}/{term.mask:#x} is neither untagged (0) nor a tag with bit 0x1000"
            )


def _is_vlan_term(term: Term) -> bool:
    if term.value == 0:
        return term.mask == 0xFFFF
    return bool(term.value & 0x1000) and term.mask & 0xE000 in (0, 0xE000)


@dataclass(frozen=True, slots=True)
class Output:
    """Send the packet out of a port."""

    port: int


@dataclass(frozen=True, slots=True)
class OutputField:
    """Send the packet out of the port whose number stands in the field's low 16 bits (a register)."""

    field: str


@dataclass(frozen=True, slots=True)
class InPort:
    """Send the packet out of the port that it came in by."""


@dataclass(frozen=True, slots=True)
class SetField:
    """Set a field to a constant; only the bits under `mask`, where given (never all of them: that is None)."""

    field: str
    value: int
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Copy `bits` bits between fields: dst[dst_offset..] = src[src_offset..]. `in_port` is 16 bits wide here."""

    src: str
    dst: str
    bits: int
    src_offset: int = 0
    dst_offset: int = 0


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Look the packet up in another table, then go on with the next action."""

    table: int


@dataclass(frozen=True, slots=True)
class Ct:
    """Send the packet through connection tracking (ovs-actions(7)).

    `zone` is a number, or the name of a register whose low 16 bits hold it. With `table`, processing goes on there with
    ct_* fields set; `nested` actions (SetField of ct_mark) apply to a committed connection.
    """

    zone: int | str
    commit: bool = False
    table: int | None = None
    nested: tuple[SetField, ...] = ()


@dataclass(frozen=True, slots=True)
class Meter:
    """Drop the packet if with it more came than `rate` allows, after `burst` at once; else go on.

    Only as the first action of a flow. A switch keeps meters apart from flows: whoever sends the flow makes the meter.
    """

    id: int  # 1 to METER_MAX, one flow's own
    rate: int  # kilobits, or packets, in a second
    burst: int  # kilobits, or packets
    is_packets: bool = False


METER_MAX = 1 << 18  # what a userspace datapath takes


@dataclass(frozen=True, slots=True)
class Conjunction:
    """This flow is clause `clause` (from 1) of `of` clauses of conjunction `id`."""

    id: int
    clause: int
    of: int


@dataclass(frozen=True, slots=True)
class Controller:
    """Send the packet to the agent with `userdata`."""

    userdata: bytes = b""
    max_len: int = 65535


@dataclass(frozen=True, slots=True)
class Clone:
    """Run actions on a copy of the packet and its metadata; what they change does not last."""

    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a switch does by a flow and Alcor never asks for: an unknown action or instruction, or a timeout.

    Only read, never sent: it is there so that such a flow differs from every wanted one.
    """

    raw: bytes


Action = (
    Output
    | OutputField
    | InPort
    | SetField
    | Move
    | Resubmit
    | Ct
    | Meter
    | Conjunction
    | Controller
    | Clone
    | Foreign
)


@dataclass(frozen=True, slots=True)
class Flow:
    """One OpenFlow rule. No actions: drop. (table, priority, match) is its identity in the switch."""

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]
    cookie: int = 0

    @property
    def identity(self) -> tuple[int, int, Match]:
        """What the switch holds at most one flow for."""
        return self.table, self.priority, self.match
