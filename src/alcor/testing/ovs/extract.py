# SPDX-License-Identifier: Apache-2.0
"""Bytes to fields, as OVS's `miniflow_extract` does it: what is truncated or malformed leaves its fields zero."""

from __future__ import annotations

from dataclasses import dataclass

from alcor.testing.ovs.state import (
    ARP_SHA,
    ARP_THA,
    CT_FROM,
    ETH_DST,
    ETH_SRC,
    ETH_TYPE,
    FRAG_ANY,
    FRAG_LATER,
    HEADERS_FROM,
    IPV6_DST,
    IPV6_SRC,
    ND_OPTION,
    ND_RESERVED,
    ND_TARGET,
    NW_DSCP,
    NW_DST,
    NW_FRAG,
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

_NO_TYPE = 0x05FF  # an 802.2 frame that names no Ethernet type
_EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options: one layout
_AH, FRAGMENT = 51, 44
_HEADER_BYTES = {
    1: 8,
    6: 20,
    17: 8,
    58: 8,
}  # by protocol: what must be there for ports or type and code to be read


@dataclass(slots=True)
class Layout:
    """Where the headers start in a frame; -1 where there is none. Padding follows the IP datagram's `end`."""

    l3: int = -1
    l4: int = -1
    end: int = 0
    proto: int = 0  # the transport protocol that extraction found (for IPv6, behind extension headers)


def extract(frame: bytes | bytearray, state: State) -> Layout:
    """Fill the state's packet fields from the frame; its metadata and conntrack fields stay."""
    for slot in range(HEADERS_FROM, CT_FROM):
        state[slot] = 0
    layout = Layout(end=len(frame))
    if len(frame) < 14:
        return layout
    state[ETH_DST] = int.from_bytes(frame[0:6], "big")
    state[ETH_SRC] = int.from_bytes(frame[6:12], "big")
    at = _vlan(frame, state)
    kind, at = _ethernet_type(frame, at)
    state[ETH_TYPE] = kind
    layout.l3 = at
    if kind == 0x0800:
        _ipv4(frame, state, layout)
    elif kind == 0x86DD:
        _ipv6(frame, state, layout)
    elif kind in (0x0806, 0x8035):
        _arp(frame, at, state)
    return layout


def _vlan(frame: bytes | bytearray, state: State) -> int:
    tpid = int.from_bytes(frame[12:14], "big")
    if tpid in (0x8100, 0x88A8) and len(frame) >= 18:
        state[VLAN_TPID] = tpid
        state[VLAN_TCI] = int.from_bytes(frame[14:16], "big") | VLAN_PRESENT
        return 16
    return 12


def _ethernet_type(frame: bytes | bytearray, at: int) -> tuple[int, int]:
    kind, at = int.from_bytes(frame[at : at + 2], "big"), at + 2
    if kind >= 0x600:
        return kind, at
    if len(frame) - at < 8 or bytes(frame[at : at + 6]) != b"\xaa\xaa\x03\0\0\0":
        return _NO_TYPE, at
    snap = int.from_bytes(frame[at + 6 : at + 8], "big")
    return (snap if snap >= 0x600 else _NO_TYPE), at + 8


def _arp(frame: bytes | bytearray, at: int, state: State) -> None:
    if len(frame) - at < 28 or bytes(frame[at : at + 6]) != b"\0\x01\x08\0\x06\x04":
        return
    operation = int.from_bytes(frame[at + 6 : at + 8], "big")
    state[NW_PROTO] = operation if operation <= 0xFF else 0
    state[ARP_SHA] = int.from_bytes(frame[at + 8 : at + 14], "big")
    state[NW_SRC] = int.from_bytes(frame[at + 14 : at + 18], "big")
    state[ARP_THA] = int.from_bytes(frame[at + 18 : at + 24], "big")
    state[NW_DST] = int.from_bytes(frame[at + 24 : at + 28], "big")


def _ipv4(frame: bytes | bytearray, state: State, layout: Layout) -> None:
    at = layout.l3
    size = len(frame) - at
    if size < 20:
        return
    header = (frame[at] & 15) * 4
    total = int.from_bytes(frame[at + 2 : at + 4], "big")
    if header < 20 or size < header or total > size or header > total:
        return
    layout.end = at + total
    state[NW_SRC] = int.from_bytes(frame[at + 12 : at + 16], "big")
    state[NW_DST] = int.from_bytes(frame[at + 16 : at + 20], "big")
    state[NW_TTL], state[NW_PROTO], state[NW_DSCP] = frame[at + 8], frame[at + 9], frame[at + 1] >> 2
    fragment = int.from_bytes(frame[at + 6 : at + 8], "big") & 0x3FFF
    if fragment:
        state[NW_FRAG] = FRAG_ANY | (FRAG_LATER if fragment & 0x1FFF else 0)
    layout.l4, layout.proto = at + header, frame[at + 9]
    _transport(frame, state, layout)


def _ipv6(frame: bytes | bytearray, state: State, layout: Layout) -> None:
    at = layout.l3
    if len(frame) - at < 40:
        return
    length = int.from_bytes(frame[at + 4 : at + 6], "big")
    if length + 40 > len(frame) - at:
        return
    layout.end = at + 40 + length
    state[IPV6_SRC] = int.from_bytes(frame[at + 8 : at + 24], "big")
    state[IPV6_DST] = int.from_bytes(frame[at + 24 : at + 40], "big")
    behind = skip_extensions(frame, at + 40, layout.end, frame[at + 6])
    if behind is None:
        return
    layout.l4, layout.proto, state[NW_FRAG] = behind
    state[NW_TTL], state[NW_PROTO] = frame[at + 7], layout.proto
    state[NW_DSCP] = int.from_bytes(frame[at : at + 2], "big") >> 6 & 0x3F
    _transport(frame, state, layout)


def skip_extensions(frame: bytes | bytearray, at: int, end: int, proto: int) -> tuple[int, int, int] | None:
    """(offset, protocol, fragment bits) of what follows the IPv6 extension headers; None if they are cut off."""
    fragment = 0
    while proto in (*_EXTENSIONS, _AH, FRAGMENT):
        if end - at < 8:
            return None
        if proto == FRAGMENT:
            proto, place = frame[at], int.from_bytes(frame[at + 2 : at + 4], "big")
            at += 8
            if place:
                fragment = FRAG_ANY
                if place & 0xFFF8:
                    return at, FRAGMENT, FRAG_ANY | FRAG_LATER
            continue
        length = (frame[at + 1] + 2) * 4 if proto == _AH else (frame[at + 1] + 1) * 8
        if length > end - at:
            return None
        proto, at = frame[at], at + length
    return at, proto, fragment


def _transport(frame: bytes | bytearray, state: State, layout: Layout) -> None:
    at, proto, size = layout.l4, layout.proto, layout.end - layout.l4
    if state[NW_FRAG] & FRAG_LATER or size < _HEADER_BYTES.get(proto, 1 << 16):
        return
    if proto == 6 and not 20 <= (frame[at + 12] >> 4) * 4 <= size:
        return
    if proto in (6, 17):
        state[TP_SRC] = int.from_bytes(frame[at : at + 2], "big")
        state[TP_DST] = int.from_bytes(frame[at + 2 : at + 4], "big")
        return
    state[TP_SRC], state[TP_DST] = frame[at], frame[at + 1]
    if proto == 58 and frame[at + 1] == 0 and frame[at] in (135, 136):
        _neighbour_discovery(frame, state, layout)


def _neighbour_discovery(frame: bytes | bytearray, state: State, layout: Layout) -> None:
    at, end = layout.l4, layout.end
    state[ND_RESERVED] = int.from_bytes(frame[at + 4 : at + 8], "big")
    if end - at < 24:
        return
    addresses = {1: 0, 2: 0}
    place = at + 24
    while end - place >= 8:
        kind, length = frame[place], frame[place + 1] * 8
        if not length or length > end - place:
            break
        if kind in addresses and length == 8:
            if addresses[kind]:  # the same option twice: OVS believes neither, nor the target
                return
            addresses[kind] = int.from_bytes(frame[place + 2 : place + 8], "big")
            state[ND_OPTION] = state[ND_OPTION] or kind
        place += length
    state[ND_TARGET] = int.from_bytes(frame[at + 8 : at + 24], "big")
    state[ARP_SHA], state[ARP_THA] = addresses[1], addresses[2]
