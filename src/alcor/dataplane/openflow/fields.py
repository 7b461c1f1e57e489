# SPDX-License-Identifier: Apache-2.0
"""How a field and its value stand in OpenFlow's extensible match (OXM), and a match as a whole.

Numbers are those of ovs-fields(7). A field that Alcor does not know is kept under a name that says its bytes, so that a
flow of somebody else can at least be named and deleted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter

from alcor.dataplane.values import FIELDS, Match, Term

_NXM_OF, _NXM_NX, _OXM, _ERICSSON = 0x0000, 0x0001, 0x8000, 0x1000  # OXM classes
_PACKET_TYPE = bytes.fromhex(
    "80005804"
)  # OVS tells of every match without Ethernet fields that it is for Ethernet
_CACHED_TERMS = 1 << 16


class Malformed(ValueError):
    """Bytes that are not what OpenFlow says they should be; the message says where."""


@dataclass(frozen=True, slots=True)
class _Number:
    """A field's number in OXM: in matches and set-field `oxm`; in moves and register references `nxm`."""

    oxm: tuple[int, int]
    nxm: tuple[int, int]


def _both(name: str, oxm: int, nxm_class: int, nxm: int) -> tuple[str, _Number]:
    return name, _Number((_OXM, oxm), (nxm_class, nxm))


def _only(name: str, oxm_class: int, number: int) -> tuple[str, _Number]:
    return name, _Number((oxm_class, number), (oxm_class, number))


# In the order of prerequisites: each field stands after those that it needs (eth_type before ip_proto before tcp_dst).
_NUMBERS = (
    _both("in_port", 0, _NXM_OF, 0),
    _both("eth_src", 4, _NXM_OF, 2),
    _both("eth_dst", 3, _NXM_OF, 1),
    _both("eth_type", 5, _NXM_OF, 3),
    _only("vlan_tci", _NXM_OF, 4),
    _only("ip_frag", _NXM_NX, 26),
    _only("ip_dscp", _OXM, 8),
    _both("ip_proto", 10, _NXM_OF, 6),
    _only("nw_ttl", _NXM_NX, 29),
    _both("ip_src", 11, _NXM_OF, 7),
    _both("ip_dst", 12, _NXM_OF, 8),
    _both("ipv6_src", 26, _NXM_NX, 19),
    _both("ipv6_dst", 27, _NXM_NX, 20),
    _both("tcp_src", 13, _NXM_OF, 9),
    _both("tcp_dst", 14, _NXM_OF, 10),
    _both("udp_src", 15, _NXM_OF, 11),
    _both("udp_dst", 16, _NXM_OF, 12),
    _both("icmp_type", 19, _NXM_OF, 13),
    _both("icmp_code", 20, _NXM_OF, 14),
    _both("icmpv6_type", 29, _NXM_NX, 21),
    _both("icmpv6_code", 30, _NXM_NX, 22),
    _both("nd_target", 31, _NXM_NX, 23),
    _both("nd_sll", 32, _NXM_NX, 24),
    _both("nd_tll", 33, _NXM_NX, 25),
    _only("nd_reserved", _ERICSSON, 1),
    _only("nd_options_type", _ERICSSON, 2),
    _both("arp_op", 21, _NXM_OF, 15),
    _both("arp_spa", 22, _NXM_OF, 16),
    _both("arp_tpa", 23, _NXM_OF, 17),
    _both("arp_sha", 24, _NXM_NX, 17),
    _both("arp_tha", 25, _NXM_NX, 18),
    _both("tun_id", 38, _NXM_NX, 16),
    _only("tun_src", _NXM_NX, 31),
    _only("tun_dst", _NXM_NX, 32),
    _only("tun_metadata0", _NXM_NX, 40),
    *(_only(f"reg{number}", _NXM_NX, number) for number in range(16)),
    *(_only(f"xxreg{number}", _NXM_NX, 111 + number) for number in range(4)),
    _only("ct_state", _NXM_NX, 105),
    _only("ct_zone", _NXM_NX, 106),
    _only("ct_mark", _NXM_NX, 107),
    _only("ct_nw_src", _NXM_NX, 120),
    _only("ct_nw_dst", _NXM_NX, 121),
    _only("ct_ipv6_src", _NXM_NX, 122),
    _only("ct_ipv6_dst", _NXM_NX, 123),
    _only("ct_nw_proto", _NXM_NX, 119),
    _only("ct_tp_src", _NXM_NX, 124),
    _only("ct_tp_dst", _NXM_NX, 125),
    _only("metadata", _OXM, 2),
    _only("conj_id", _NXM_NX, 37),
)
_VLAN_VID, _VLAN_PCP = bytes.fromhex("80000c02"), bytes.fromhex("80000e01")
_VLAN_VID_MASKED = bytes.fromhex("80000d04")
_TUN_METADATA0 = bytes.fromhex("00015004")
_UNKNOWN_RANK = 1 << 10  # a field we do not know comes last: its prerequisites are among those that we do


def _header(number: tuple[int, int], size: int, has_mask: bool = False) -> bytes:
    return struct.pack(">HBB", number[0], number[1] << 1 | has_mask, size << has_mask)


@dataclass(frozen=True, slots=True)
class _Form:
    """What is precomputed for one field."""

    rank: int  # its place among the terms of a match
    exact: bytes  # header without mask
    masked: bytes  # header with mask
    size: int  # bytes of the value
    full: int  # the mask of an exact match
    reference: bytes  # header by which moves, register references and connection-tracking zones name it
    constant: bytes  # header by which set-field names it
    width: int  # bits, as moves see it


def _form(rank: int, name: str, number: _Number) -> _Form:
    bits = FIELDS[name].bits
    size = (bits + 7) // 8
    # Actions know in_port by its 16-bit number only.
    moved = 2 if name == "in_port" else size
    reference = _header(number.nxm, moved)
    return _Form(
        rank=rank,
        exact=_header(number.oxm, size),
        masked=_header(number.oxm, size, has_mask=True),
        size=size,
        full=(1 << bits) - 1,
        reference=reference,
        constant=reference if name == "in_port" else _header(number.oxm, size),
        width=min(bits, moved * 8),
    )


_FORMS = {name: _form(rank, name, number) for rank, (name, number) in enumerate(_NUMBERS)}
# Header without mask -> field, bytes of the value. OVS uses either header, by version and kind of action.
_NAMES = {
    header: (name, header[3])
    for name, form in _FORMS.items()
    for header in (form.exact, form.constant, form.reference)
}

_field_of = attrgetter("field")
_NO_TERMS = bytes.fromhex("0001000400000000")


def encode_match(match: Iterable[Term]) -> bytes:
    """A match as struct ofp_match, padded, in the order of prerequisites. Raises ValueError where that cannot be."""
    terms = []
    for term in match:
        form = _FORMS.get(term.field)
        if form is None or term.field == "vlan_tci":
            terms.append(_encode_special(term))
        elif term.mask == form.full:
            terms.append((form.rank, form.exact + term.value.to_bytes(form.size, "big")))
        else:
            size = form.size
            terms.append(
                (form.rank, form.masked + term.value.to_bytes(size, "big") + term.mask.to_bytes(size, "big"))
            )
    if not terms:
        return _NO_TERMS
    terms.sort()
    body = b"".join([encoded for _, encoded in terms])
    length = 4 + len(body)
    return b"\0\1" + length.to_bytes(2, "big") + body + bytes(-length % 8)


def _encode_special(term: Term) -> tuple[int, bytes]:
    if term.field == "vlan_tci":
        return _FORMS["vlan_tci"].rank, _encode_vlan(term)
    if not term.field.startswith("oxm:"):
        raise ValueError(f"no such field: {term.field}")
    header, vendor = _unknown_parts(term.field)
    size = header[3] - len(vendor)
    value = vendor + term.value.to_bytes(size, "big")
    if term.mask == (1 << 8 * size) - 1:
        return _UNKNOWN_RANK, header + value
    masked = header[:2] + bytes((header[2] | 1, header[3] + size))
    return _UNKNOWN_RANK, masked + value + term.mask.to_bytes(size, "big")


def _unknown_parts(name: str) -> tuple[bytes, bytes]:
    header, _, vendor = name.removeprefix("oxm:").partition(".")
    return bytes.fromhex(header), bytes.fromhex(vendor)


def _encode_vlan(term: Term) -> bytes:
    """OpenFlow splits the tag: 12 bits of id with "a tag is present", and the priority, which needs a tag."""
    if term.value == 0 and term.mask == 0xFFFF:
        return _VLAN_VID + b"\0\0"
    if not term.value & 0x1000 or term.mask & 0xE000 not in (0, 0xE000):
        raise ValueError(
            f"vlan_tci={term.value:#x}/{term.mask:#x} is neither untagged (0) nor a tag with bit 0x1000"
        )
    value, mask = (term.value & 0x1FFF).to_bytes(2, "big"), term.mask & 0x1FFF
    encoded = _VLAN_VID + value if mask == 0x1FFF else _VLAN_VID_MASKED + value + mask.to_bytes(2, "big")
    return encoded + _VLAN_PCP + bytes((term.value >> 13,)) if term.mask & 0xE000 else encoded


def decode_match(raw: bytes, start: int) -> tuple[Match, int]:
    """The struct ofp_match at `start`, and the offset behind its padding. Raises Malformed."""
    kind, length = _MATCH_HEADER.unpack_from(raw, start) if start + 4 <= len(raw) else (0, 0)
    end = start + length
    if kind != 1 or length < 4 or end > len(raw):
        raise Malformed(f"no OXM match at byte {start} of {len(raw)}")
    return decode_terms(raw, start + 4, end), end + -length % 8


_MATCH_HEADER = struct.Struct(">HH")


def decode_terms(raw: bytes, start: int, end: int) -> Match:
    """The OXM fields between two offsets, in order of field name. Raises Malformed."""
    terms = []
    has_vlan = False
    while start < end:
        stop = start + 4 + raw[start + 3] if start + 4 <= end else end + 1
        if stop > end:
            raise Malformed(f"a match field at byte {start} is cut off at {end}")
        term = _decode_term(raw[start:stop])
        if term is not None:
            has_vlan = has_vlan or term.field == "vlan_tci"
            terms.append(term)
        start = stop
    terms.sort(key=_field_of)
    return _with_whole_vlan(terms) if has_vlan else tuple(terms)


# Pure, so a cache only saves work: most terms of a table are alike, and equal ones then share memory.
@lru_cache(_CACHED_TERMS)
def _decode_term(raw: bytes) -> Term | None:
    header, has_mask = bytes((raw[0], raw[1], raw[2] & 0xFE, raw[3] >> (raw[2] & 1))), bool(raw[2] & 1)
    if header == _PACKET_TYPE:
        return None
    if header in (_VLAN_VID, _VLAN_PCP):
        return _decode_vlan(raw, header, has_mask)
    name, size = _NAMES.get(header, ("", 0))
    if raw[:2] == _TUN_METADATA0[:2] and raw[2] & 0xFE == _TUN_METADATA0[2] and header[3] <= 4:
        name, size = "tun_metadata0", header[3]  # OVS leaves leading zeros out
    if not name:
        return _decode_unknown(raw, has_mask)
    value = int.from_bytes(raw[4 : 4 + size], "big")
    full = _FORMS[name].full
    if not has_mask:
        return Term(name, value & full, full)
    if len(raw) != 4 + 2 * size:
        raise Malformed(f"a mask of {name} is cut off: {raw.hex()}")
    mask = int.from_bytes(raw[4 + size :], "big") & full
    return Term(name, value & mask, mask)


def _decode_unknown(raw: bytes, has_mask: bool) -> Term:
    vendor = raw[4:8] if raw[:2] == b"\xff\xff" else b""
    body = raw[4 + len(vendor) :]
    size = len(body) >> has_mask
    if len(body) % (1 + has_mask):
        raise Malformed(f"a match field of no sensible length: {raw.hex()}")
    header = bytes((raw[0], raw[1], raw[2] & 0xFE, size + len(vendor)))
    name = f"oxm:{header.hex()}" + (f".{vendor.hex()}" if vendor else "")
    mask = int.from_bytes(body[size:], "big") if has_mask else (1 << 8 * size) - 1
    return Term(name, int.from_bytes(body[:size], "big") & mask, mask)


def _decode_vlan(raw: bytes, header: bytes, has_mask: bool) -> Term:
    if header == _VLAN_PCP:
        if has_mask:
            raise Malformed(f"vlan_pcp takes no mask: {raw.hex()}")
        return Term("vlan_tci", raw[4] << 13 & 0xE000, 0xE000)
    value = int.from_bytes(raw[4:6], "big") & 0x1FFF
    mask = int.from_bytes(raw[6:8], "big") & 0x1FFF if has_mask else 0x1FFF
    return Term("vlan_tci", value & mask, mask)


def _with_whole_vlan(terms: list[Term]) -> Match:
    parts = [term for term in terms if term.field == "vlan_tci"]
    value, mask = 0, 0
    for part in parts:
        value, mask = value | part.value, mask | part.mask
    if value == 0 and mask == 0x1FFF:
        mask = 0xFFFF  # no tag, so no priority either
    at = terms.index(parts[0])
    return (*terms[:at], Term("vlan_tci", value, mask), *terms[at + len(parts) :])


def encode_constant(name: str, value: int, mask: int | None) -> bytes:
    """A field with its value, and with a mask where given, as set-field and register-load actions carry it."""
    form = _form_in_action(name)
    size = form.constant[3]
    full = form.full & (1 << 8 * size) - 1
    if not 0 <= value <= full:
        raise ValueError(f"{name}={value:#x} does not fit {8 * size} bits")
    if mask is None:
        return form.constant + value.to_bytes(size, "big")
    if not 0 < mask < full or value & ~mask or not FIELDS[name].maskable:
        raise ValueError(
            f"{name}={value:#x}/{mask:#x}: a mask covers the value, less than the whole field, and not {name}"
        )
    return form.masked + value.to_bytes(size, "big") + mask.to_bytes(size, "big")


def decode_constant(raw: bytes) -> Term:
    """The OXM field with which `raw` begins; what follows must be zeros. Raises Malformed."""
    stop = 4 + raw[3] if len(raw) >= 4 else 5
    if stop > len(raw) or any(raw[stop:]):
        raise Malformed(f"not one field with its value: {raw.hex()}")
    term = _decode_term(raw[:stop])
    if term is None or raw[:4] in (_VLAN_VID, _VLAN_PCP):
        return _decode_unknown(raw[:stop], has_mask=False)
    return term


def reference(name: str) -> bytes:
    """The header by which moves, outputs and zones name a field. Raises ValueError for an unknown one."""
    return _form_in_action(name).reference


def width(name: str) -> int:
    """How many bits of a field an action can reach."""
    return _form_in_action(name).width


def _form_in_action(name: str) -> _Form:
    form = _FORMS.get(name)
    if form is None:
        raise ValueError(f"no such field: {name}")
    return form


def field_of(header: bytes) -> str | None:
    """The field that a 4-byte header names, or None."""
    return _NAMES.get(header, (None, 0))[0]
