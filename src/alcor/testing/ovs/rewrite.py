# SPDX-License-Identifier: Apache-2.0
"""Changed fields to changed bytes, in OVS's order and with its checksum arithmetic (RFC 1624).

`pending` says which changes OVS would commit before an output, `rewrite` makes them in a frame. A change that OVS
has no way to write (a port of a protocol without ports) stays in the state and never reaches the bytes.
"""

from __future__ import annotations

from typing import NamedTuple

from alcor.testing.ovs.extract import FRAGMENT, Layout
from alcor.testing.ovs.state import (
    ARP_SHA,
    ARP_THA,
    CT_FROM,
    ETH_DST,
    ETH_SRC,
    ETH_TYPE,
    HEADERS_FROM,
    IPV6_DST,
    IPV6_SRC,
    ND_OPTION,
    ND_RESERVED,
    ND_TARGET,
    NW_DSCP,
    NW_DST,
    NW_PROTO,
    NW_SRC,
    NW_TTL,
    TP_DST,
    TP_SRC,
    VLAN_PRESENT,
    VLAN_TCI,
    VLAN_TPID,
    State,
)

Changes = list[tuple[int, int]]  # (slot, value), in the order in which they are made

_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58
_ND = (ND_RESERVED, ND_OPTION, ND_TARGET, ARP_SHA, ARP_THA)  # the option's type first, then its address
_CHECKSUMS = {_TCP: (16, 20), _UDP: (6, 8), _ICMPV6: (2, 4)}  # where it stands, bytes that must be there
_WITH_PORTS = {0x0800: (_TCP, _UDP, _ICMP), 0x86DD: (_TCP, _UDP, _ICMPV6)}
_BY_TYPE = {
    0x0800: (NW_SRC, NW_DST, NW_DSCP, NW_TTL),
    0x86DD: (IPV6_SRC, IPV6_DST, NW_DSCP, NW_TTL),
    0x0806: (NW_SRC, NW_DST, NW_PROTO, ARP_SHA, ARP_THA),
}


def pending(base: State, state: State) -> Changes:
    """The changes that lead from the packet as it is (`base`) to `state`; `base` takes them over."""
    if base[HEADERS_FROM:CT_FROM] == state[HEADERS_FROM:CT_FROM]:
        return []
    slots = [ETH_SRC, ETH_DST]
    if state[NW_PROTO]:
        kind = base[ETH_TYPE]
        slots += _BY_TYPE.get(kind, ())
        if kind == 0x86DD and base[NW_PROTO] == _ICMPV6:
            slots += _ND
        if state[NW_PROTO] in _WITH_PORTS.get(kind, ()):
            slots += (TP_SRC, TP_DST)
    changes = [(slot, state[slot]) for slot in slots if base[slot] != state[slot]]
    if state[NW_PROTO] in (_ICMP, _ICMPV6) and any(slot in (TP_SRC, TP_DST) for slot, _ in changes):
        changes = [each for each in changes if each[0] not in (TP_SRC, TP_DST)]
        changes += [(TP_SRC, state[TP_SRC]), (TP_DST, state[TP_DST])]  # type and code are written as one
    if (base[VLAN_TCI], base[VLAN_TPID]) != (state[VLAN_TCI], state[VLAN_TPID]):
        changes += _retagging(base, state)
    for slot in (*slots, VLAN_TCI, VLAN_TPID):
        base[slot] = state[slot]
    return changes


def _retagging(base: State, state: State) -> Changes:
    """Take the tag off, put another on; a TCI without its present bit means no tag."""
    changes = [(VLAN_TCI, 0)] if base[VLAN_TCI] & VLAN_PRESENT else []
    if state[VLAN_TCI] & VLAN_PRESENT:
        changes += [(VLAN_TPID, state[VLAN_TPID]), (VLAN_TCI, state[VLAN_TCI])]
    return changes


class _Span(NamedTuple):
    """A place in a frame."""

    at: int
    size: int


def rewrite(frame: bytearray, layout: Layout, changes: Changes) -> None:
    """Make the changes in the frame; a change of the VLAN tag moves the layout."""
    tpid = 0
    for slot, value in changes:
        if slot == ETH_DST:
            frame[0:6] = value.to_bytes(6, "big")
        elif slot == ETH_SRC:
            frame[6:12] = value.to_bytes(6, "big")
        elif slot == VLAN_TCI:
            _tag(frame, layout, value, tpid)
        elif slot == VLAN_TPID:
            tpid = value
        elif layout.l3 >= 0:
            kind = int.from_bytes(frame[layout.l3 - 2 : layout.l3], "big")
            if kind == 0x0806:
                _set_arp(frame, layout.l3, slot, value)
            elif slot in _ND:
                _set_nd(frame, layout, slot, value)
            elif slot in (TP_SRC, TP_DST):
                _set_transport(frame, layout, slot, value)
            else:
                _set_network(frame, layout, slot, value)


def _tag(frame: bytearray, layout: Layout, tci: int, tpid: int) -> None:
    if tci & VLAN_PRESENT:
        frame[12:12] = tpid.to_bytes(2, "big") + (tci & ~VLAN_PRESENT).to_bytes(2, "big")
        moved = 4
    else:
        del frame[12:16]
        moved = -4
    layout.l3 += moved
    layout.end += moved
    if layout.l4 >= 0:
        layout.l4 += moved


def _set_arp(frame: bytearray, at: int, slot: int, value: int) -> None:
    offset, size = {NW_PROTO: (6, 2), ARP_SHA: (8, 6), NW_SRC: (14, 4), ARP_THA: (18, 6), NW_DST: (24, 4)}[
        slot
    ]
    value = 0xFFFF if (slot, value) == (NW_PROTO, 0xFF) else value  # to OVS's writer 255 means "any"
    there = max(0, min(size, len(frame) - at - offset))  # of a frame that is cut, what is there
    frame[at + offset : at + offset + there] = value.to_bytes(size, "big")[:there]


def _set_network(frame: bytearray, layout: Layout, slot: int, value: int) -> None:
    at = layout.l3
    if slot in (NW_SRC, NW_DST):
        place = at + (12 if slot == NW_SRC else 16)
        span = _Span(place, 4)
        _update_transport_checksum(frame, layout, span, value)
        _replace(frame, span, value, at + 10)
    elif slot in (IPV6_SRC, IPV6_DST):
        place = at + (8 if slot == IPV6_SRC else 24)
        if _ipv6_checksum_follows(frame, layout):
            _update_transport_checksum(frame, layout, _Span(place, 16), value)
        frame[place : place + 16] = value.to_bytes(16, "big")
    elif slot == NW_DSCP:
        _set_dscp(frame, at, value)
    elif frame[at - 2 : at] == b"\x08\0":
        _replace(frame, _Span(at + 8, 2), value << 8 | frame[at + 9], at + 10)
    else:
        frame[at + 7] = value


def _set_dscp(frame: bytearray, at: int, value: int) -> None:
    word = int.from_bytes(frame[at : at + 2], "big")
    if frame[at - 2 : at] == b"\x08\0":
        _replace(frame, _Span(at, 2), word & 0xFF03 | value << 2, at + 10)
    else:
        frame[at : at + 2] = (word & 0xF03F | value << 6).to_bytes(2, "big")


def _ipv6_checksum_follows(frame: bytearray, layout: Layout) -> bool:
    """Whether OVS updates the transport checksum: not under a live routing header, of fragments only in the first."""
    at, proto = layout.l3 + 40, frame[layout.l3 + 6]
    while proto in (0, 43, 51, 60, FRAGMENT) and at < layout.l4:
        if proto == 43 and frame[at + 3]:
            return False
        if proto == FRAGMENT:
            place = int.from_bytes(frame[at + 2 : at + 4], "big")
            if place & 0xFFF8 or not place & 1:
                return False
            length = 8
        else:
            length = (frame[at + 1] + 2) * 4 if proto == 51 else (frame[at + 1] + 1) * 8
        proto, at = frame[at], at + length
    return True


def _update_transport_checksum(frame: bytearray, layout: Layout, address: _Span, value: int) -> None:
    """Let the transport checksum follow an IP address that is about to become `value`."""
    is_ipv4 = address.size == 4
    proto = frame[layout.l3 + 9] if is_ipv4 else layout.proto
    place, size_min = _CHECKSUMS.get(proto, (0, 1 << 16))
    if layout.end - layout.l4 < size_min or (is_ipv4 and proto == _ICMPV6):
        return
    place += layout.l4
    checksum = int.from_bytes(frame[place : place + 2], "big")
    if proto == _UDP and not checksum:
        return
    old = bytes(frame[address.at : address.at + address.size])
    checksum = _adjusted(checksum, old, value.to_bytes(address.size, "big"))
    if proto == _UDP and not checksum:
        checksum = 0xFFFF
    frame[place : place + 2] = checksum.to_bytes(2, "big")


def _set_transport(frame: bytearray, layout: Layout, slot: int, value: int) -> None:
    at, size, proto = layout.l4, layout.end - layout.l4, layout.proto
    if proto == _TCP and 20 <= (frame[at + 12] >> 4 if size >= 20 else 0) * 4 <= size:
        _replace(frame, _Span(at + (0 if slot == TP_SRC else 2), 2), value, at + 16)
    elif proto == _UDP and size >= 8:
        place = at + (0 if slot == TP_SRC else 2)
        if frame[at + 6 : at + 8] == b"\0\0":
            frame[place : place + 2] = value.to_bytes(2, "big")
            return
        _replace(frame, _Span(place, 2), value, at + 6)
        if frame[at + 6 : at + 8] == b"\0\0":
            frame[at + 6 : at + 8] = b"\xff\xff"
    elif proto in (_ICMP, _ICMPV6) and size >= 8:
        word = (value & 0xFF) << 8 | frame[at + 1] if slot == TP_SRC else frame[at] << 8 | value & 0xFF
        _replace(frame, _Span(at, 2), word, at + 2)


def _set_nd(frame: bytearray, layout: Layout, slot: int, value: int) -> None:
    at, end = layout.l4, layout.end
    if end - at < 24:
        return
    if slot == ND_TARGET:
        _replace(frame, _Span(at + 8, 16), value, at + 2)
    elif slot in (ND_RESERVED, ND_OPTION):
        if slot == ND_RESERVED:
            frame[at + 4 : at + 8] = value.to_bytes(4, "big")
        elif at + 24 < len(frame):  # OVS writes the type even where no option is: into the padding
            frame[at + 24] = value
        frame[at + 2 : at + 4] = b"\0\0"
        frame[at + 2 : at + 4] = icmpv6_checksum(frame, layout).to_bytes(2, "big")
    else:
        _set_link_address(frame, layout, 1 if slot == ARP_SHA else 2, value)


def _set_link_address(frame: bytearray, layout: Layout, kind: int, value: int) -> None:
    place = layout.l4 + 24
    while layout.end - place >= 8 and frame[place + 1]:
        if frame[place] in (1, 2) and frame[place + 1] == 1:
            if frame[place] == kind:  # OVS looks at the first link-layer address only
                _replace(frame, _Span(place + 2, 6), value, layout.l4 + 2)
            return
        place += frame[place + 1] * 8


def _replace(frame: bytearray, span: _Span, value: int, checksum_at: int) -> None:
    old, new = bytes(frame[span.at : span.at + span.size]), value.to_bytes(span.size, "big")
    checksum = _adjusted(int.from_bytes(frame[checksum_at : checksum_at + 2], "big"), old, new)
    frame[checksum_at : checksum_at + 2] = checksum.to_bytes(2, "big")
    frame[span.at : span.at + span.size] = new


def _adjusted(checksum: int, old: bytes, new: bytes) -> int:
    for place in range(0, len(old), 2):
        total = checksum ^ 0xFFFF
        total += int.from_bytes(old[place : place + 2], "big") ^ 0xFFFF
        total += int.from_bytes(new[place : place + 2], "big")
        checksum = _folded(total) ^ 0xFFFF
    return checksum


def _folded(total: int) -> int:
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ones_sum(chunk: bytes | bytearray) -> int:
    """The ones' complement sum of the 16-bit words of `chunk` (RFC 1071), zero-padded."""
    total = int.from_bytes(bytes(chunk) + b"\0" * (len(chunk) & 1), "big")
    return total % 0xFFFF or (0xFFFF if total else 0)


def icmpv6_checksum(frame: bytes | bytearray, layout: Layout) -> int:
    """The checksum that the ICMPv6 message should have, its own field read as it stands."""
    length = layout.end - layout.l4
    pseudo = bytes(frame[layout.l3 + 8 : layout.l3 + 40]) + length.to_bytes(4, "big") + b"\0\0\0\x3a"
    return _folded(ones_sum(pseudo) + ones_sum(frame[layout.l4 : layout.end])) ^ 0xFFFF
