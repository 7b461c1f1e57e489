# SPDX-License-Identifier: Apache-2.0
"""Where a field's bits live while a packet is processed: a list of numbers, laid out like OVS's `struct flow`.

Fields that OVS keeps in one place share a slot (tcp_src and icmp_type, arp_spa and ip_src, nd_sll and arp_sha), so
prerequisites, overlap of registers and what a write touches come out as in OVS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from alcor.dataplane.values import CT_EST, CT_INV, CT_NEW, CT_REL, CT_RPL, CT_TRK, FIELDS, Match

State = list[int]

_NAMES = (
    "in_port metadata tun_id tun_src tun_dst tun_option tun_option_present "
    "reg0 reg1 reg2 reg3 reg4 reg5 reg6 reg7 reg8 reg9 reg10 reg11 reg12 reg13 reg14 reg15 "
    "eth_src eth_dst eth_type vlan_tci vlan_tpid nw_proto nw_frag nw_ttl nw_dscp "
    "nw_src nw_dst ipv6_src ipv6_dst tp_src tp_dst "
    "arp_sha arp_tha nd_target nd_reserved nd_option "
    "ct_state ct_zone ct_mark ct_nw_proto ct_nw_src ct_nw_dst ct_ipv6_src ct_ipv6_dst ct_tp_src ct_tp_dst conj_id"
)
SLOTS = tuple(_NAMES.split())
SLOT = {name: number for number, name in enumerate(SLOTS)}

IN_PORT, TUN_ID, TUN_SRC, TUN_DST = (SLOT[name] for name in ("in_port", "tun_id", "tun_src", "tun_dst"))
TUN_OPTION, TUN_OPTION_PRESENT = SLOT["tun_option"], SLOT["tun_option_present"]
ETH_SRC, ETH_DST, ETH_TYPE = SLOT["eth_src"], SLOT["eth_dst"], SLOT["eth_type"]
VLAN_TCI, VLAN_TPID = SLOT["vlan_tci"], SLOT["vlan_tpid"]
NW_PROTO, NW_FRAG, NW_TTL, NW_DSCP, NW_SRC, NW_DST = (
    SLOT[f"nw_{name}"] for name in ("proto", "frag", "ttl", "dscp", "src", "dst")
)
IPV6_SRC, IPV6_DST, TP_SRC, TP_DST = (SLOT[name] for name in ("ipv6_src", "ipv6_dst", "tp_src", "tp_dst"))
ARP_SHA, ARP_THA = SLOT["arp_sha"], SLOT["arp_tha"]
ND_TARGET, ND_RESERVED, ND_OPTION = SLOT["nd_target"], SLOT["nd_reserved"], SLOT["nd_option"]
CT_STATE, CT_ZONE, CT_MARK, CT_NW_PROTO = (
    SLOT[f"ct_{name}"] for name in ("state", "zone", "mark", "nw_proto")
)
CT_NW_SRC, CT_NW_DST, CT_TP_SRC, CT_TP_DST = (
    SLOT[f"ct_{name}"] for name in ("nw_src", "nw_dst", "tp_src", "tp_dst")
)
CT_IPV6_SRC, CT_IPV6_DST, CONJ_ID = SLOT["ct_ipv6_src"], SLOT["ct_ipv6_dst"], SLOT["conj_id"]

HEADERS_FROM, CT_FROM = (
    ETH_SRC,
    CT_STATE,
)  # slots before HEADERS_FROM are metadata, those from CT_FROM on are conntrack's
VLAN_PRESENT = 0x1000
FRAG_ANY, FRAG_LATER = 1, 2


def new_state() -> State:
    """A state with every field zero."""
    return [0] * len(SLOTS)


@dataclass(frozen=True, slots=True)
class Part:
    """`bits` bits of a field, from bit `offset` (0 is the lowest) on, are the low bits of a slot."""

    slot: int
    bits: int
    offset: int = 0


_ELSEWHERE = {
    "tun_metadata0": ("tun_option", 32),
    "ip_proto": ("nw_proto", 8),
    "ip_frag": ("nw_frag", 2),
    "ip_dscp": ("nw_dscp", 6),
    "ct_state": ("ct_state", 8),
    "ip_src": ("nw_src", 32),
    "ip_dst": ("nw_dst", 32),
    "tcp_src": ("tp_src", 16),
    "tcp_dst": ("tp_dst", 16),
    "udp_src": ("tp_src", 16),
    "udp_dst": ("tp_dst", 16),
    "icmp_type": ("tp_src", 8),
    "icmp_code": ("tp_dst", 8),
    "icmpv6_type": ("tp_src", 8),
    "icmpv6_code": ("tp_dst", 8),
    "arp_op": ("nw_proto", 8),
    "arp_spa": ("nw_src", 32),
    "arp_tpa": ("nw_dst", 32),
    "nd_sll": ("arp_sha", 48),
    "nd_tll": ("arp_tha", 48),
    "nd_options_type": ("nd_option", 8),
}


def _parts_of(name: str, bits: int) -> tuple[Part, ...]:
    if name.startswith("xxreg"):
        first = 4 * int(name.removeprefix("xxreg"))
        return tuple(Part(SLOT[f"reg{first + place}"], 32, 96 - 32 * place) for place in range(4))
    slot, width = _ELSEWHERE.get(name, (name, bits))
    return (Part(SLOT[slot], width),)


PARTS: dict[str, tuple[Part, ...]] = {name: _parts_of(name, field.bits) for name, field in FIELDS.items()}


WIDTHS = {
    name: {"in_port": 16, "ip_frag": 2}.get(name, field.bits) for name, field in FIELDS.items()
}  # to moves


def read(state: State, field: str) -> int:
    """The field's value; zero where the packet has none."""
    return sum((state[part.slot] & (1 << part.bits) - 1) << part.offset for part in PARTS[field])


def write(state: State, field: str, value: int) -> None:
    """Set the field; what the packet's bytes become is decided when the state is committed."""
    for part in PARTS[field]:
        state[part.slot] = value >> part.offset & (1 << part.bits) - 1
    if field == "tun_metadata0":
        state[TUN_OPTION_PRESENT] = 1
    elif field == "vlan_tci" and value and not state[VLAN_TPID]:
        state[VLAN_TPID] = 0x8100


class Need(Enum):
    """What must be true of a packet, or implied by a match, for a field to exist (ovs-fields(7), "Prerequisites")."""

    NOTHING = auto()
    ARP = auto()
    IPV4 = auto()
    IPV6 = auto()
    IP = auto()
    TCP = auto()
    UDP = auto()
    ICMP = auto()
    ICMPV6 = auto()
    ND = auto()
    ND_SOLICIT = auto()
    ND_ADVERT = auto()
    CT = auto()


_NEEDS = {
    Need.ARP: "arp_op arp_spa arp_tpa arp_sha arp_tha",
    Need.IPV4: "ip_src ip_dst",
    Need.IPV6: "ipv6_src ipv6_dst",
    Need.IP: "ip_proto ip_frag ip_dscp nw_ttl",
    Need.TCP: "tcp_src tcp_dst",
    Need.UDP: "udp_src udp_dst",
    Need.ICMP: "icmp_type icmp_code",
    Need.ICMPV6: "icmpv6_type icmpv6_code",
    Need.ND: "nd_target nd_reserved nd_options_type",
    Need.ND_SOLICIT: "nd_sll",
    Need.ND_ADVERT: "nd_tll",
    Need.CT: "ct_nw_proto ct_nw_src ct_nw_dst ct_ipv6_src ct_ipv6_dst ct_tp_src ct_tp_dst",
}
NEEDS: dict[str, Need] = {field: need for need, fields in _NEEDS.items() for field in fields.split()}


def _is_ip(state: State) -> bool:
    return state[ETH_TYPE] in (0x0800, 0x86DD)


def _is_icmpv6(state: State) -> bool:
    return state[ETH_TYPE] == 0x86DD and state[NW_PROTO] == 58


def _is_nd(state: State, *types: int) -> bool:
    return _is_icmpv6(state) and state[TP_DST] == 0 and state[TP_SRC] in types


_HOLDS: dict[Need, Callable[[State], bool]] = {
    Need.NOTHING: lambda _: True,
    Need.ARP: lambda state: state[ETH_TYPE] in (0x0806, 0x8035),
    Need.IPV4: lambda state: state[ETH_TYPE] == 0x0800,
    Need.IPV6: lambda state: state[ETH_TYPE] == 0x86DD,
    Need.IP: _is_ip,
    Need.TCP: lambda state: _is_ip(state) and state[NW_PROTO] == 6 and not state[NW_FRAG] & FRAG_LATER,
    Need.UDP: lambda state: _is_ip(state) and state[NW_PROTO] == 17 and not state[NW_FRAG] & FRAG_LATER,
    Need.ICMP: lambda state: state[ETH_TYPE] == 0x0800 and state[NW_PROTO] == 1,
    Need.ICMPV6: _is_icmpv6,
    Need.ND: lambda state: _is_nd(state, 135, 136),
    Need.ND_SOLICIT: lambda state: _is_nd(state, 135),
    Need.ND_ADVERT: lambda state: _is_nd(state, 136),
    Need.CT: lambda state: bool(state[CT_STATE] & (CT_NEW | CT_EST | CT_RPL)),
}


def holds(need: Need, state: State) -> bool:
    """Whether a packet in this state has what `need` asks for."""
    return _HOLDS[need](state)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A match over slots: `state[slot] & mask == value` for each place; one pattern per set of packets."""

    slots: tuple[tuple[int, int], ...]  # (slot, mask), by slot
    values: tuple[int, ...]


def pattern_of(match: Match) -> Pattern:
    """The match as OVS keeps it: xxregs as regs, shared slots merged, and the option's presence for tun_metadata0."""
    masks: dict[int, int] = {}
    values: dict[int, int] = {}
    for term in match:
        for part in PARTS[term.field]:
            low = (1 << part.bits) - 1
            mask = term.mask >> part.offset & low
            if term.mask == (1 << FIELDS[term.field].bits) - 1 and part.slot not in (NW_FRAG, TUN_OPTION):
                mask = WHOLE[part.slot]
            if mask:
                masks[part.slot] = masks.get(part.slot, 0) | mask
                values[part.slot] = values.get(part.slot, 0) | term.value >> part.offset & low
        if term.field == "tun_metadata0":
            masks[TUN_OPTION_PRESENT] = values[TUN_OPTION_PRESENT] = 1
    order = sorted(masks)
    return Pattern(tuple((slot, masks[slot]) for slot in order), tuple(values[slot] for slot in order))


def _whole_masks() -> dict[int, int]:
    widths = {part.slot: part.bits for parts in PARTS.values() for part in parts}
    widths |= {TP_SRC: 16, TP_DST: 16}
    return {slot: (1 << bits) - 1 for slot, bits in widths.items()}


WHOLE = _whole_masks()


def implies(need: Need, pattern: Pattern) -> bool:
    """Whether every packet that the pattern matches has what `need` asks for, as OVS judges it when a flow is added."""
    state = new_state()
    for (slot, _), value in zip(pattern.slots, pattern.values, strict=True):
        state[slot] = value
    if need is not Need.CT:
        return holds(need, state)
    inv_wanted = bool(dict(pattern.slots).get(CT_STATE, 0) & CT_INV)
    tracked = bool(state[CT_STATE] & CT_TRK)
    not_invalid = tracked and inv_wanted and not state[CT_STATE] & CT_INV
    return bool(state[CT_STATE] & (CT_NEW | CT_EST | CT_REL | CT_RPL)) or not_invalid
